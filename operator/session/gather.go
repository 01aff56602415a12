package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// Kinds of children that have rules of their own.
var (
	routeKind      = childKind(wire.KindIngressRoute)
	middlewareKind = childKind(wire.KindMiddleware)
)

func childKind(name string) schema.GroupVersionKind {
	k := wire.ChildKind(name)
	return schema.GroupVersionKind{Group: k.Group, Version: k.Version, Kind: k.Name}
}

// child is an object to look for by name.
type child struct {
	object client.Object
	name   string
}

// cached is what the cache knows of sessions.
type cached struct {
	client        client.Client
	logsIn        bool
	statementKeys StatementKeys
	*memory
}

func (r *Reconciler) cached() cached {
	return cached{r.Client, r.logsIn(), r.StatementKeys, &r.memory}
}

// compared are the children that are compared field by field with the rendered
// objects. The cache holds them as Go types, which take a fraction of the memory
// of unstructured ones.
func (c cached) compared(session string) []child {
	children := []child{
		{&networkingv1.NetworkPolicy{}, session},
		{&corev1.Service{}, session},
		{&policyv1.PodDisruptionBudget{}, session},
		{&ingressRoute{}, session},
	}
	if c.logsIn {
		children = append(children,
			child{&corev1.ConfigMap{}, renderer.StatementKeysName(session)},
			child{&middleware{}, renderer.ForwardAuthName(session)})
	}
	return children
}

// children are the same by kind and name.
func (c cached) children(session string) (all []*metav1.PartialObjectMetadata, err error) {
	for _, of := range c.compared(session) {
		kind, err := c.client.GroupVersionKindFor(of.object)
		if err != nil {
			return nil, err
		}
		all = append(all, objects.Metadata(kind, of.name))
	}
	return all, nil
}

// gather reads what the cache knows of the session, and what the operator remembers of it.
func (c cached) gather(ctx context.Context, p *plan.Pass) error {
	if err := c.observePod(ctx, p); err != nil {
		return err
	}
	if err := c.observeClaim(ctx, p); err != nil {
		return err
	}
	p.Seen.Others = map[plan.Key]*unstructured.Unstructured{}
	for _, of := range c.compared(p.Session.Name) {
		if err := c.observeOther(ctx, p, of); err != nil {
			return err
		}
	}
	p.Released, p.Gathered = c.homesKnown.Released(p.Session), true
	p.Budgets = c.share.Budgets(plan.SessionOf(p.Session), p.Now)
	p.Accounts = p.Platform.Accounting.Enabled || c.share.LimitsHours() || (p.Session.Status.Run != nil && len(p.Session.Status.Run.Quotas) > 0)
	p.ByQuota, p.Limited = c.share.Limits(plan.SessionOf(p.Session))
	if p.Session.DeletionTimestamp != nil {
		return nil
	}
	if c.logsIn && c.statementKeys != nil {
		p.StatementKeys = c.statementKeys.Get()
	}
	return c.resolveTemplate(ctx, p)
}

func (c cached) observePod(ctx context.Context, p *plan.Pass) error {
	pod := &corev1.Pod{}
	err := c.client.Get(ctx, client.ObjectKeyFromObject(p.Session), pod)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read pod: %w", err)
	}
	if plan.IsOurs(p.Session, pod) {
		c.seePod(p, pod)
	}
	return nil
}

func (c cached) observeClaim(ctx context.Context, p *plan.Pass) error {
	claim := &corev1.PersistentVolumeClaim{}
	key := client.ObjectKey{Namespace: p.Session.Namespace, Name: renderer.HomeClaimName(p.Session.Name)}
	err := c.client.Get(ctx, key, claim)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read home: %w", err)
	}
	p.Seen.Claim, p.HomeCached = claim, plan.Size(claim)
	return nil
}

func (c cached) observeOther(ctx context.Context, p *plan.Pass, of child) error {
	o := of.object
	err := c.client.Get(ctx, client.ObjectKey{Namespace: p.Session.Namespace, Name: of.name}, o)
	if apierrors.IsNotFound(err) || objects.IsKindMissing(err) || isNotWatched(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %T: %w", o, err)
	}
	if !plan.IsOurs(p.Session, o) {
		return nil
	}
	u, err := c.asUnstructured(o)
	if err != nil {
		return err
	}
	p.Seen.Others[plan.KeyOf(u)] = u
	return nil
}

func (c cached) asUnstructured(o client.Object) (*unstructured.Unstructured, error) {
	kind, err := c.client.GroupVersionKindFor(o)
	if err != nil {
		return nil, fmt.Errorf("read %T: %w", o, err)
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", kind.Kind, err)
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(kind)
	return u, nil
}

// isNotWatched reports whether the kind is not in the cache: the proxy's kinds
// are watched only once they are installed.
func isNotWatched(err error) bool {
	var missing *cache.ErrResourceNotCached
	return errors.As(err, &missing)
}

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
func (c cached) proxyKinds() []client.Object {
	if c.logsIn {
		return []client.Object{&ingressRoute{}, &middleware{}}
	}
	return []client.Object{&ingressRoute{}}
}

func (c cached) resolveTemplate(ctx context.Context, p *plan.Pass) error {
	t := &vdi.VDITemplate{}
	err := c.client.Get(ctx, client.ObjectKey{Name: p.Session.Spec.Template}, t)
	if apierrors.IsNotFound(err) {
		return nil // nothing starts without it; what runs goes on, and ends
	}
	if err != nil {
		return fmt.Errorf("read template %q: %w", p.Session.Spec.Template, err)
	}
	p.Template = t
	return nil
}
