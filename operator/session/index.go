package session

import (
	"context"
	"errors"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes"
)

// sessionIndex finds sessions in the cache.
type sessionIndex struct {
	client  client.Client
	indexed *atomic.Bool // the cache finds sessions and pods by claim
}

func (r *Reconciler) sessions() sessionIndex { return sessionIndex{r.Client, &r.indexed} }

// personOf is the user of a session in the cache. It never waits: while the cache is
// being filled, and of what is gone, nobody knows.
func (x sessionIndex) personOf(request reconcile.Request) string {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	s := &vdi.VDISession{}
	if err := x.client.Get(now, request.NamespacedName, s, client.UnsafeDisableDeepCopy); err != nil {
		return ""
	}
	return s.Spec.User
}

// index makes the cache answer without looking through all sessions and pods.
func (x sessionIndex) index(ctx context.Context, indexer client.FieldIndexer) error {
	err := errors.Join(
		indexer.IndexField(ctx, &vdi.VDISession{}, TemplateIndex, func(o client.Object) []string {
			return []string{o.(*vdi.VDISession).Spec.Template}
		}),
		indexer.IndexField(ctx, &vdi.VDISession{}, claimIndex, func(o client.Object) []string {
			return []string{homes.ClaimName(o.(*vdi.VDISession))}
		}),
		indexer.IndexField(ctx, &corev1.Pod{}, claimIndex, func(o client.Object) []string {
			return homes.ClaimsOf(o.(*corev1.Pod))
		}),
	)
	x.indexed.Store(err == nil)
	return err
}

// onClaim selects what may use a claim. Without an index it selects everything
// in the namespace, so that the caller looks again.
func (x sessionIndex) onClaim(namespace, claim string) []client.ListOption {
	options := []client.ListOption{client.InNamespace(namespace), client.UnsafeDisableDeepCopy}
	if x.indexed.Load() {
		options = append(options, client.MatchingFields{claimIndex: claim})
	}
	return options
}

// ofTemplate wakes all sessions of a template: waiting ones heal,
// running ones learn that an update is pending.
func (x sessionIndex) ofTemplate(ctx context.Context, o client.Object) []reconcile.Request {
	return x.requests(ctx, client.MatchingFields{TemplateIndex: o.GetName()})
}

func (x sessionIndex) requests(ctx context.Context, opts ...client.ListOption) []reconcile.Request {
	list := &vdi.VDISessionList{}
	if err := x.client.List(ctx, list, append(opts, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil // the cache answers; it fails only while it is shutting down
	}
	requests := make([]reconcile.Request, len(list.Items))
	for i := range list.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&list.Items[i])
	}
	return requests
}

// waitForHomeOf are the other sessions that have the pod's home or wait for it.
func (x sessionIndex) waitForHomeOf(ctx context.Context, o client.Object) []reconcile.Request {
	pod := o.(*corev1.Pod)
	var waiting []reconcile.Request
	for _, claim := range homes.ClaimsOf(pod) {
		waiting = append(waiting, x.sessionsOn(ctx, pod.Namespace, claim, func(s *vdi.VDISession) bool { return s.Name != pod.Name })...)
	}
	return waiting
}

// sessionsOn are the sessions whose home is the claim, and of which that holds.
func (x sessionIndex) sessionsOn(ctx context.Context, namespace, claim string, which func(*vdi.VDISession) bool) []reconcile.Request {
	list := &vdi.VDISessionList{}
	if err := x.client.List(ctx, list, x.onClaim(namespace, claim)...); err != nil {
		return nil // the cache answers; it fails only while it is shutting down
	}
	var found []reconcile.Request
	for i := range list.Items {
		if s := &list.Items[i]; homes.ClaimName(s) == claim && which(s) {
			found = append(found, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(s)})
		}
	}
	return found
}

// waitForClaim are the sessions that wait for a claim which was released.
func (x sessionIndex) waitForClaim(ctx context.Context, o client.Object) []reconcile.Request {
	claim := o.(*corev1.PersistentVolumeClaim)
	return x.sessionsOn(ctx, claim.Namespace, claim.Name, func(s *vdi.VDISession) bool { return s.UID != homes.HolderOf(claim) })
}
