package attacks

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/vdi-platform/vdi-platform/renderer"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
)

// place is an end of a connection: a pod, or an address outside the pod network.
type place struct {
	namespace string
	labels    map[string]string
	ports     map[string]int32 // names of a pod's ports
	address   string
}

func (p place) isPod() bool { return p.labels != nil }

// connection is what a policy judges.
type connection struct {
	from, to place
	port     int32
	protocol corev1.Protocol
}

// passes says whether policies let a connection through, by the rules of
// networking.k8s.io/v1: a pod that no policy selects is open in that direction, else
// one rule of one policy must admit it. Both ends have a say.
func passes(policies []networkingv1.NetworkPolicy, c connection) bool {
	return admitted(policies, c, c.to, networkingv1.PolicyTypeIngress) && admitted(policies, c, c.from, networkingv1.PolicyTypeEgress)
}

func admitted(policies []networkingv1.NetworkPolicy, c connection, at place, direction networkingv1.PolicyType) bool {
	selected := false
	for _, p := range policies {
		if !at.isPod() || p.Namespace != at.namespace || !selects(&p.Spec.PodSelector, at.labels) || !has(p.Spec.PolicyTypes, direction) {
			continue
		}
		selected = true
		if direction == networkingv1.PolicyTypeIngress {
			for _, rule := range p.Spec.Ingress {
				if onPort(rule.Ports, c, c.to) && isPeer(rule.From, c.from, p.Namespace) {
					return true
				}
			}
			continue
		}
		for _, rule := range p.Spec.Egress {
			if onPort(rule.Ports, c, c.to) && isPeer(rule.To, c.to, p.Namespace) {
				return true
			}
		}
	}
	return !selected
}

func has(types []networkingv1.PolicyType, one networkingv1.PolicyType) bool {
	for _, t := range types {
		if t == one {
			return true
		}
	}
	return false
}

func selects(selector *metav1.LabelSelector, set map[string]string) bool {
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && s.Matches(labels.Set(set))
}

func onPort(ports []networkingv1.NetworkPolicyPort, c connection, to place) bool {
	if len(ports) == 0 {
		return true
	}
	for _, p := range ports {
		number := int32(0)
		if p.Port != nil {
			number = p.Port.IntVal
			if p.Port.Type == intstr.String {
				number = to.ports[p.Port.StrVal]
			}
		}
		sameProtocol := p.Protocol == nil && c.protocol == corev1.ProtocolTCP || p.Protocol != nil && *p.Protocol == c.protocol
		end := number
		if p.EndPort != nil {
			end = *p.EndPort
		}
		if sameProtocol && (p.Port == nil || number != 0 && number <= c.port && c.port <= end) {
			return true
		}
	}
	return false
}

// isPeer: an empty list means everybody. An address block may hold pods' addresses,
// too: network plugins differ, so the model takes the wider reading.
func isPeer(peers []networkingv1.NetworkPolicyPeer, who place, namespace string) bool {
	if len(peers) == 0 {
		return true
	}
	for _, p := range peers {
		if p.IPBlock != nil {
			if inBlock(p.IPBlock, who.address) {
				return true
			}
			continue
		}
		sameNamespace := p.NamespaceSelector == nil && who.namespace == namespace
		namespaceFits := p.NamespaceSelector != nil && selects(p.NamespaceSelector, map[string]string{corev1.LabelMetadataName: who.namespace})
		if who.isPod() && (sameNamespace || namespaceFits) && (p.PodSelector == nil || selects(p.PodSelector, who.labels)) {
			return true
		}
	}
	return false
}

func inBlock(block *networkingv1.IPBlock, address string) bool {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return false
	}
	if !netip.MustParsePrefix(block.CIDR).Contains(ip) {
		return false
	}
	for _, except := range block.Except {
		if netip.MustParsePrefix(except).Contains(ip) {
			return false
		}
	}
	return true
}

// desktopPlace is the pod of a session as it is rendered, and the policies that are
// rendered with it.
func desktopPlace(t *testing.T, name, address string) (place, []networkingv1.NetworkPolicy) {
	t.Helper()
	in := aSession()
	in.Session.Name = name
	got, err := newRenderer(t).Render(in)
	require.NoError(t, err)
	pod := podIn(t, got)
	p := place{namespace: pod.Namespace, labels: pod.Labels, address: address, ports: map[string]int32{}}
	for _, c := range pod.Spec.Containers { // not every network plugin finds those of sidecars
		for _, port := range c.Ports {
			p.ports[port.Name] = port.ContainerPort
		}
	}
	return p, policiesIn(t, got)
}

func policiesIn(t *testing.T, got renderer.Rendered) (policies []networkingv1.NetworkPolicy) {
	t.Helper()
	for _, o := range got.Objects {
		if o.GetKind() == "NetworkPolicy" {
			p := networkingv1.NetworkPolicy{}
			require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &p))
			policies = append(policies, p)
		}
	}
	require.NotEmpty(t, policies)
	return policies
}

// TestA18Network checks the rendered policies against a model of Kubernetes' rules: no
// network plugin of the tests enforces them.
func TestA18Network(t *testing.T) {
	alice, policies := desktopPlace(t, "desk", "10.244.1.7")
	bob, bobs := desktopPlace(t, "bob", "10.244.2.9")
	policies = append(policies, bobs...)
	proxy := place{namespace: "vdi-system", labels: map[string]string{"app.kubernetes.io/name": "traefik"}, address: "10.244.0.3"}
	operator := place{namespace: "vdi-system", labels: map[string]string{"app.kubernetes.io/name": "vdi-operator"}, address: "10.244.0.4"}
	dns := place{namespace: "kube-system", labels: map[string]string{"k8s-app": "kube-dns"}, address: "10.244.0.2"}
	stranger := place{namespace: "team", labels: map[string]string{"app": "tool"}, address: "10.244.3.3"}
	twin := place{namespace: "team-b", labels: proxy.labels, address: "10.244.3.4"} // looks like the proxy, lives elsewhere
	outside := func(address string) place { return place{address: address} }
	const agent, status, desktop = 8090, 8091, 8080

	for name, c := range map[string]connection{
		"the proxy to the agent":     {proxy, alice, agent, corev1.ProtocolTCP},
		"the operator to the status": {operator, alice, status, corev1.ProtocolTCP},
		"names":                      {alice, dns, 53, corev1.ProtocolUDP},
		"the web":                    {alice, outside("93.184.216.34"), 443, corev1.ProtocolTCP},
		"the web in IPv6":            {alice, outside("2606:2800:220:1::1"), 443, corev1.ProtocolTCP},
	} {
		require.True(t, passes(policies, c), "%s passes, or the model refuses everything", name)
	}
	for name, c := range map[string]connection{
		"another's desktop, past its agent":  {bob, alice, desktop, corev1.ProtocolTCP},
		"another's agent":                    {bob, alice, agent, corev1.ProtocolTCP},
		"another's status":                   {bob, alice, status, corev1.ProtocolTCP},
		"a desktop past its agent, by proxy": {proxy, alice, desktop, corev1.ProtocolTCP},
		"the status, by proxy":               {proxy, alice, status, corev1.ProtocolTCP},
		"the agent, by the operator":         {operator, alice, agent, corev1.ProtocolTCP},
		"a desktop from its namespace":       {stranger, alice, agent, corev1.ProtocolTCP},
		"a pod that looks like the proxy":    {twin, alice, agent, corev1.ProtocolTCP},
		"a desktop from outside":             {outside("198.51.100.7"), alice, agent, corev1.ProtocolTCP},
		"the API server's Service":           {alice, outside("10.96.0.1"), 443, corev1.ProtocolTCP},
		"the API server's address":           {alice, outside("192.168.1.10"), 6443, corev1.ProtocolTCP},
		"metadata":                           {alice, outside("169.254.169.254"), 80, corev1.ProtocolTCP},
		"metadata in IPv6":                   {alice, outside("fd00:ec2::254"), 80, corev1.ProtocolTCP},
		"metadata of Azure":                  {alice, outside("168.63.129.16"), 80, corev1.ProtocolTCP},
		"metadata of Alibaba":                {alice, outside("100.100.100.200"), 80, corev1.ProtocolTCP},
		"a kubelet":                          {alice, outside("10.0.0.5"), 10250, corev1.ProtocolTCP},
		"a kubelet in 172.16/12":             {alice, outside("172.20.0.5"), 10250, corev1.ProtocolTCP},
		"the operator's metrics":             {alice, operator, 8080, corev1.ProtocolTCP},
		"the proxy's own ports":              {alice, proxy, 8443, corev1.ProtocolTCP},
		"a pod of its namespace":             {alice, stranger, 5432, corev1.ProtocolTCP},
		"the cluster's DNS on another port":  {alice, dns, 9153, corev1.ProtocolTCP},
		"the node's loopback":                {alice, outside("127.0.0.1"), 10248, corev1.ProtocolTCP},
		"multicast":                          {alice, outside("224.0.0.251"), 5353, corev1.ProtocolUDP},
		"a link-local neighbour":             {alice, outside("fe80::1"), 80, corev1.ProtocolTCP},
		"a private address through NAT64":    {alice, outside("64:ff9b::a00:5"), 80, corev1.ProtocolTCP},
	} {
		ledger.Try(t, name, func(*testing.T) ledger.Outcome {
			return ledger.Judge(passes(nil, c), ledger.Runtime, "")
		}, func(*testing.T) ledger.Outcome {
			return ledger.Judge(passes(policies, c), ledger.Runtime, "no rule admits it")
		})
	}
}
