package session

import (
	"encoding/json"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The proxy's kinds that sessions are made of, as the cache holds them. Traefik's
// own Go types would bring all of Traefik into the operator.
type (
	ingressRoute = rawObject[isIngressRoute]
	middleware   = rawObject[isMiddleware]

	isIngressRoute struct{}
	isMiddleware   struct{}
)

// rawObject is an object whose spec stays the text that the API server sent, which
// is smaller than maps. K distinguishes kinds.
type rawObject[K any] struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec json.RawMessage `json:"spec,omitempty"`
}

// DeepCopyObject implements runtime.Object.
func (o *rawObject[K]) DeepCopyObject() runtime.Object {
	return &rawObject[K]{TypeMeta: o.TypeMeta, ObjectMeta: *o.ObjectMeta.DeepCopy(), Spec: slices.Clone(o.Spec)}
}

// rawList is a list of them.
type rawList[K any] struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []rawObject[K] `json:"items"`
}

// DeepCopyObject implements runtime.Object.
func (l *rawList[K]) DeepCopyObject() runtime.Object {
	c := &rawList[K]{TypeMeta: l.TypeMeta, ListMeta: *l.ListMeta.DeepCopy()}
	for i := range l.Items {
		c.Items = append(c.Items, *l.Items[i].DeepCopyObject().(*rawObject[K]))
	}
	return c
}

// AddToScheme registers the proxy's kinds as the operator reads them.
func AddToScheme(s *runtime.Scheme) {
	addKind[isIngressRoute](s, routeKind)
	addKind[isMiddleware](s, middlewareKind)
	metav1.AddToGroupVersion(s, routeKind.GroupVersion())
}

func addKind[K any](s *runtime.Scheme, kind schema.GroupVersionKind) {
	s.AddKnownTypeWithName(kind, &rawObject[K]{})
	s.AddKnownTypeWithName(kind.GroupVersion().WithKind(kind.Kind+"List"), &rawList[K]{})
}

// proxyKinds are the proxy's kinds that this operator's sessions are made of.
func (r *Reconciler) proxyKinds() []client.Object {
	if r.isOIDC() {
		return []client.Object{&ingressRoute{}, &middleware{}}
	}
	return []client.Object{&ingressRoute{}}
}
