package wire

import "slices"

// Kinds of a session's objects.
const (
	KindNetworkPolicy         = "NetworkPolicy"
	KindConfigMap             = "ConfigMap" // the statement keys, in modes OIDC and Local
	KindPersistentVolumeClaim = "PersistentVolumeClaim"
	KindUsage                 = "VDIUsage"
	KindService               = "Service"
	KindPodDisruptionBudget   = "PodDisruptionBudget"
	KindPod                   = "Pod"
	KindMiddleware            = "Middleware" // forward auth, in modes OIDC and Local
	KindIngressRoute          = "IngressRoute"
)

const (
	// KindSecret is no object that is rendered: what is secret is never in a rendering.
	KindSecret = "Secret"
	// KindSession owns them all.
	KindSession = "VDISession"
)

// Kind is a kind of object that a session consists of.
type Kind struct{ Group, Version, Name string }

// APIVersion of its objects.
func (k Kind) APIVersion() string {
	if k.Group == "" {
		return k.Version
	}
	return k.Group + "/" + k.Version
}

// GroupProxy and VersionProxy are the API of the proxy, Traefik.
const (
	GroupProxy   = "traefik.io"
	VersionProxy = "v1alpha1"
)

// Children are the kinds of objects that a session's chart renders, in install order:
// the policy before the pod, the route last.
func Children() []Kind {
	return []Kind{
		{"networking.k8s.io", "v1", KindNetworkPolicy},
		{"", "v1", KindConfigMap},
		{"", "v1", KindPersistentVolumeClaim},
		{"", "v1", KindService},
		{"policy", "v1", KindPodDisruptionBudget},
		{"", "v1", KindPod},
		{GroupProxy, VersionProxy, KindMiddleware},
		{GroupProxy, VersionProxy, KindIngressRoute},
	}
}

// Kinds are the names of Children.
func Kinds() []string {
	children := Children()
	names := make([]string, len(children))
	for i, kind := range children {
		names[i] = kind.Name
	}
	return names
}

// ChildKind is the one of Children with a name; empty where there is none.
func ChildKind(name string) Kind {
	children := Children()
	if i := slices.IndexFunc(children, func(k Kind) bool { return k.Name == name }); i >= 0 {
		return children[i]
	}
	return Kind{}
}
