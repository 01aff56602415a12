package session

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/renderer"
)

// Kinds of the children that are compared with what was rendered.
var (
	serviceKind = schema.GroupVersionKind{Version: "v1", Kind: "Service"}
	policyKind  = schema.GroupVersionKind{Group: "networking.k8s.io", Version: "v1", Kind: "NetworkPolicy"}
	routeKind   = schema.GroupVersionKind{Group: "traefik.io", Version: "v1alpha1", Kind: "IngressRoute"}
)

// ComparedKinds are read as they are on the wire, because they are compared
// field by field with the rendered objects.
func ComparedKinds() []schema.GroupVersionKind {
	return []schema.GroupVersionKind{policyKind, serviceKind, routeKind}
}

// observe reads the session's objects from the cache.
func (r *Reconciler) observe(ctx context.Context, p *pass) error {
	if err := r.observePod(ctx, p); err != nil {
		return err
	}
	if err := r.observeClaim(ctx, p); err != nil {
		return err
	}
	p.seen.others = map[objectKey]*unstructured.Unstructured{}
	for _, kind := range ComparedKinds() {
		if err := r.observeOther(ctx, p, kind); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reconciler) observePod(ctx context.Context, p *pass) error {
	pod := &corev1.Pod{}
	err := r.Client.Get(ctx, client.ObjectKeyFromObject(p.session), pod)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read pod: %w", err)
	}
	if metav1.IsControlledBy(pod, p.session) {
		p.seen.pod = pod
	}
	return nil
}

func (r *Reconciler) observeClaim(ctx context.Context, p *pass) error {
	claim := &corev1.PersistentVolumeClaim{}
	key := client.ObjectKey{Namespace: p.session.Namespace, Name: renderer.HomeClaimName(p.session.Name)}
	err := r.Client.Get(ctx, key, claim)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read home: %w", err)
	}
	p.seen.claim = claim
	return nil
}

func (r *Reconciler) observeOther(ctx context.Context, p *pass, kind schema.GroupVersionKind) error {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(kind)
	err := r.Client.Get(ctx, client.ObjectKeyFromObject(p.session), o)
	if apierrors.IsNotFound(err) || isRouteKindMissing(err) || isNotWatched(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", kind.Kind, err)
	}
	if metav1.IsControlledBy(o, p.session) {
		p.seen.others[keyOf(o)] = o
	}
	return nil
}

// isNotWatched tells whether the kind is not in the cache: the proxy's kinds
// are watched only once they are installed.
func isNotWatched(err error) bool {
	var missing *cache.ErrResourceNotCached
	return errors.As(err, &missing)
}
