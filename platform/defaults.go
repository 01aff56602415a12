package platform

import (
	"strings"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Defaults of Config.
const (
	DefaultCertResolver = "letsencrypt"
	DefaultDNSNamespace = "kube-system"
	DefaultDNSPort      = 53
	DefaultAgentImage   = "docker.io/vdi-platform/vdi-operator:dev"
	DefaultNamespace    = "vdi-system"
	DefaultCAKey        = "ca.crt"
)

// WithDefaults fills in what is not set. It changes no map or list of its
// argument.
func (c Config) WithDefaults() Config {
	s := &c.Sessions
	s.HostTemplate = s.hostTemplate()
	s.TLS = s.TLS.withDefaults()
	s.VerifyRoute = orTrue(s.VerifyRoute)
	if s.Agent.Image == "" {
		s.Agent.Image = DefaultAgentImage
	}
	s.Operator = s.Operator.withDefaults()
	s.Proxy = s.Proxy.withDefaults()
	s.Network = s.Network.withDefaults()
	s.TURN = s.TURN.withDefaults()
	s.Egress = s.Egress.withDefaults()
	if s.ExternalPort == 0 {
		s.ExternalPort = 443
	}
	c.TimeSlicing = c.TimeSlicing.withDefaults()
	c.Access = c.Access.withDefaults(s.Operator)
	if c.Access.Mode == wire.AccessLocal && s.PortalLabel == "" {
		s.PortalLabel = DefaultPortalLabel
	}
	return c
}

func orTrue(b *bool) *bool {
	if b != nil {
		return b
	}
	yes := true
	return &yes
}

func (t TLS) withDefaults() TLS {
	if t.Mode == "" {
		t.Mode = TLSWildcard
	}
	if t.Mode == TLSCertResolver && t.CertResolver == "" {
		t.CertResolver = DefaultCertResolver
	}
	return t
}

func (p Peer) withDefaults() Peer {
	if p.Namespace == "" {
		p.Namespace = DefaultNamespace
	}
	if len(p.PodLabels) == 0 {
		p.PodLabels = map[string]string{wire.LabelName: wire.Operator}
	}
	return p
}

func (p Proxy) withDefaults() Proxy {
	if p.Namespace == "" {
		p.Namespace = p.addressNamespace()
	}
	if len(p.PodLabels) == 0 {
		p.PodLabels = map[string]string{wire.LabelName: "traefik"}
	}
	return p
}

// addressNamespace is the namespace in a cluster address such as
// "vdi-traefik.vdi-system.svc:443".
func (p Proxy) addressNamespace() string {
	host, _, _ := strings.Cut(p.Address, ":")
	labels := strings.Split(host, ".")
	if len(labels) >= 3 && labels[2] == "svc" && isLabel(labels[1]) {
		return labels[1]
	}
	return DefaultNamespace
}

func (n Network) withDefaults() Network {
	n.Internet = orTrue(n.Internet)
	if n.DNSNamespace == "" {
		n.DNSNamespace = DefaultDNSNamespace
	}
	if len(n.DNSPorts) == 0 {
		n.DNSPorts = []int32{DefaultDNSPort}
	}
	return n
}

func (e Egress) withDefaults() Egress {
	if e.CABundle.ConfigMap != "" && e.CABundle.Key == "" {
		e.CABundle.Key = DefaultCAKey
	}
	return e
}

// IsSliced says whether a GPU resource is shared by time slices, so that two of
// them are not twice a GPU.
func (g GPUSharing) IsSliced(resource string) bool {
	for _, sliced := range g.Sliced {
		if sliced == resource {
			return true
		}
	}
	return false
}
