// Package platform holds what the platform knows about itself and its world as
// pure functions: settings, host names, identities, streamers, GPUs. It reads no
// cluster, clock, file or network.
package platform

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Config is the operator's configuration file (YAML), written by the operator
// chart from its values. Unknown keys are refused.
type Config struct {
	// Sessions are settings of every session.
	Sessions Sessions `json:"sessions"`
	// TimeSlicing says how the device plugin shares the cluster's GPUs by time.
	TimeSlicing TimeSlicing `json:"gpuSharing,omitempty"`
	// Encoder says how the platform knows which GPUs can encode video.
	Encoder Encoder `json:"encoder,omitempty"`
	// Access says how people show that a desktop is theirs.
	Access Access `json:"access,omitempty"`
	// Admission says what bounds the operator's own account.
	Admission Admission `json:"admission,omitempty"`
	// Queue says how sessions wait for room in the cluster.
	Queue Queue `json:"queue,omitempty"`
	// Accounting says whether what people use is written down.
	Accounting Accounting `json:"accounting,omitempty"`
}

// Accounting says whether what people use is written down, in one VDIUsage for each. Where a
// VDIQuota limits GPU-hours it is, anyhow.
type Accounting struct {
	// Enabled writes down each run that ends.
	Enabled bool `json:"enabled,omitempty"`
	// TimeZone by whose calendar days and months are counted, by its IANA name, such as
	// Europe/Berlin. Default UTC.
	TimeZone string `json:"timeZone,omitempty"`
	// Months that are kept after the days of the last two. Default 13.
	Months int `json:"months,omitempty"`
}

// Zone is the time zone. Validate has found it.
func (a Accounting) Zone() *time.Location {
	zone, err := TimeZone(a.TimeZone)
	if err != nil {
		return time.UTC
	}
	return zone
}

// MonthsKept are the months that are kept after the days.
func (a Accounting) MonthsKept() int {
	if a.Months == 0 {
		return defaultMonths
	}
	return a.Months
}

const defaultMonths = 13

// Queue says how sessions wait for room in the cluster.
type Queue struct {
	// Window is how many desktops of a kind (the same GPUs, the same nodes) may wait at the
	// scheduler at a time; the others wait in order. 0 means 1.
	Window int32 `json:"window,omitempty"`
	// Patience is how long the first may find no room before the next is offered, too.
	// Default "5m"; "0s" means for ever.
	Patience *metav1.Duration `json:"patience,omitempty"`
}

// DefaultPatience is the queue's.
const DefaultPatience = 5 * time.Minute

// Admission says what bounds the operator's own account.
type Admission struct {
	// Enabled says that the chart's admission policies are installed. They answer
	// whose a Secret is; without them the operator reads it.
	Enabled bool `json:"enabled,omitempty"`
}

// Sessions are settings of every session.
type Sessions struct {
	// Domain under which every session gets a host, such as "vdi.example.com".
	Domain string `json:"domain"`
	// HostTemplate of the label before the domain. Placeholders: {user} (readable
	// slug), {id} (from the session's UID), {session}, {namespace}. Default
	// "{user}-{id}".
	HostTemplate string `json:"hostTemplate,omitempty"`
	// PortalLabel begins the host below Domain where people log in in mode Local; no
	// session can have it. Default "portal"; in other modes there is none.
	PortalLabel string `json:"portalLabel,omitempty"`
	// ExternalPort is the port in URLs when it is not 443.
	ExternalPort int32 `json:"externalPort,omitempty"`
	// TLS says which certificate the proxy shows.
	TLS TLS `json:"tls,omitempty"`
	// VerifyRoute sends one request through the proxy before a session is called
	// Running. Default true.
	VerifyRoute *bool `json:"verifyRoute,omitempty"`
	// Agent is the program beside every desktop that lets visitors in.
	Agent Agent `json:"agent,omitempty"`
	// Operator says where the operator runs; sessions admit its requests.
	Operator Peer `json:"operator,omitempty"`
	// Proxy is the proxy that carries the sessions.
	Proxy Proxy `json:"proxy,omitempty"`
	// Network holds the ranges of the sessions' network policy.
	Network Network `json:"network,omitempty"`
	// TURN is the relay of desktops that stream over WebRTC.
	TURN TURN `json:"turn,omitempty"`
	// Images are site-wide image settings.
	Images Images `json:"images,omitempty"`
	// Egress is how programs in desktops reach the world outside.
	Egress Egress `json:"egress,omitempty"`
	// Labels are added to every object of a session.
	Labels map[string]string `json:"labels,omitempty"`
	// Annotations are added to every object of a session.
	Annotations map[string]string `json:"annotations,omitempty"`
	// Values override the session chart's defaults for all templates.
	Values map[string]any `json:"values,omitempty"`
	// Overlay patches rendered objects, in order, before the security floor.
	Overlay []Overlay `json:"overlay,omitempty"`
	// Allowed lists what templates may name beyond a session's own objects.
	Allowed Allowed `json:"allowed,omitempty"`
	// GPUSharing is what sessions must know of that, so that wishes that cannot work
	// are refused in words.
	GPUSharing GPUSharing `json:"gpuSharing,omitempty"`
}

// TLS says which certificate the proxy shows for a session.
type TLS struct {
	// Mode: Wildcard (default; the proxy's default certificate), CertResolver
	// (the proxy gets one certificate per host) or Secret (a Secret of the
	// session's namespace).
	Mode TLSMode `json:"mode,omitempty"`
	// CertResolver of mode CertResolver. Default "letsencrypt".
	CertResolver string `json:"certResolver,omitempty"`
	// SecretName of mode Secret.
	SecretName string `json:"secretName,omitempty"`
}

// TLSMode says where a session's certificate comes from.
type TLSMode string

// Words of TLSMode.
const (
	TLSWildcard     TLSMode = "Wildcard"
	TLSCertResolver TLSMode = "CertResolver"
	TLSSecret       TLSMode = "Secret"
)

// Agent is the program beside every desktop that lets visitors in.
type Agent struct {
	// Image that holds it: the operator's own. Default: the one that "make
	// docker-build" names.
	Image string `json:"image,omitempty"`
}

// Peer is a set of pods that may reach the sessions.
type Peer struct {
	// Namespace of the pods.
	Namespace string `json:"namespace,omitempty"`
	// PodLabels of the pods.
	PodLabels map[string]string `json:"podLabels,omitempty"`
}

// Proxy is the proxy that carries the sessions.
type Proxy struct {
	// Address is the proxy's TLS entry point inside the cluster as host:port, for
	// the route check, such as "vdi-traefik.vdi-system.svc:443".
	Address string `json:"address,omitempty"`
	// Namespace of the proxy's pods; sessions admit traffic from there only.
	Namespace string `json:"namespace,omitempty"`
	// PodLabels of the proxy's pods.
	PodLabels map[string]string `json:"podLabels,omitempty"`
	// Ranges are CIDRs from which the proxy reaches the sessions where no pod labels
	// select it: nodes whose network it shares, or a load balancer that sends to pods.
	Ranges []string `json:"ranges,omitempty"`
}

// Network holds the ranges of the sessions' network policy.
type Network struct {
	// Internet lets desktops reach public addresses. Default true.
	Internet *bool `json:"internet,omitempty"`
	// DeniedRanges are CIDRs that are taken out of the public addresses beside the
	// floor (DefaultDeniedRanges): nodes or an API server with public addresses.
	DeniedRanges []string `json:"deniedRanges,omitempty"`
	// OpenRanges are ranges of the floor, as they are written there, that are public
	// here. Metadata services in them stay closed.
	OpenRanges []string `json:"openRanges,omitempty"`
	// AllowedRanges are CIDRs that desktops may reach in addition, such as a license
	// server. Metadata services in them stay closed.
	AllowedRanges []string `json:"allowedRanges,omitempty"`
	// DNSNamespace is where the cluster's DNS pods run. Default "kube-system".
	DNSNamespace string `json:"dnsNamespace,omitempty"`
	// DNSRanges are CIDRs of DNS servers outside the pod network, such as a node-local cache.
	DNSRanges []string `json:"dnsRanges,omitempty"`
	// DNSPorts are the ports of these servers, each for UDP and TCP, as their pods
	// listen: OpenShift's on 5353. Default [53].
	DNSPorts []int32 `json:"dnsPorts,omitempty"`
}

// Images are site-wide image settings.
type Images struct {
	// Rewrite maps image prefixes to others, longest first, such as
	// {"ghcr.io": "registry.example.com/ghcr"}.
	Rewrite map[string]string `json:"rewrite,omitempty"`
	// PullSecrets are Secrets of the session's namespace added to every pod.
	PullSecrets []string `json:"pullSecrets,omitempty"`
}

// Overlay patches the rendered objects of one kind. Give merge or jsonPatch.
type Overlay struct {
	// Kind of the objects, such as Pod.
	Kind string `json:"kind"`
	// Merge is a JSON merge patch (RFC 7386).
	Merge *runtime.RawExtension `json:"merge,omitempty"`
	// JSONPatch is a JSON patch (RFC 6902): a list of operations.
	JSONPatch []map[string]any `json:"jsonPatch,omitempty"`
}

// GPUSharing is what sessions must know of how GPUs are shared.
type GPUSharing struct {
	// Sliced resource names, such as nvidia.com/gpu: more than one of them per
	// session is refused, because two slices are not twice a GPU.
	Sliced []string `json:"sliced,omitempty"`
	// Dedicated are keys of the sharing configuration that keep GPUs whole: nodes
	// labelled nvidia.com/device-plugin.config with one of them may give a session
	// more than one GPU.
	Dedicated []string `json:"dedicated,omitempty"`
}

// Encoder says how the platform knows which GPUs can encode video.
type Encoder struct {
	// ReadNodes lets the operator read the nodes: the labels of those with GPUs, so
	// that encoder Auto of a template takes NVENC where all of them have it, and what
	// they offer, so that a GPU that no node has is reported. Without it Auto takes what
	// works everywhere.
	ReadNodes bool `json:"readNodes,omitempty"`
}

// Egress is how programs in desktops reach the world outside where a site's
// rules stand in between.
type Egress struct {
	// HTTPProxy is the proxy for http, such as "http://proxy.example.com:3128".
	HTTPProxy string `json:"httpProxy,omitempty"`
	// HTTPSProxy is the proxy for https.
	HTTPSProxy string `json:"httpsProxy,omitempty"`
	// NoProxy are hosts that are reached without a proxy, comma-separated. Where a
	// proxy is set, localhost, 127.0.0.1 and ::1 are added.
	NoProxy string `json:"noProxy,omitempty"`
	// CABundle are the certificate authorities that programs trust.
	CABundle CABundle `json:"caBundle,omitempty"`
}

// CABundle is a ConfigMap with certificate authorities in every session namespace.
type CABundle struct {
	// ConfigMap in the session's namespace; empty means the image's own authorities.
	ConfigMap string `json:"configMap,omitempty"`
	// Key in the ConfigMap. Default "ca.crt".
	Key string `json:"key,omitempty"`
}
