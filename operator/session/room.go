package session

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/fairshare"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// askForRoom asks the ledger, and wakes who may go on because of the answer.
func (a asker) askForRoom(ctx context.Context, p *plan.Pass) (err error) {
	if a.leads != nil && !a.leads() {
		return errLease
	}
	request := p.RoomRequest()
	if request.Home > 0 && a.share.LimitsStorage(request.Session) {
		if request.Homes, err = a.storageOf(ctx, p.Session, request.NewHome); err != nil {
			return err
		}
	}
	answer, woken := a.share.Ask(request)
	p.Room = answer
	a.wake(ctx, woken)
	return nil
}

// errLease ends a pass of an operator that was paused, perhaps: another one may lead by now,
// and two that decide would give the same room twice.
var errLease = errors.New("this operator has not renewed its lease lately: it lets nobody in before it has")

// storageOf is what the homes of a person have by namespace, in bytes, those that their
// sessions have left included.
// Of a home that is to be made, the cache may show more by now than the pass has seen.
func (c cached) storageOf(ctx context.Context, s *vdi.VDISession, isNew bool) (map[string]int64, error) {
	claims := &corev1.PersistentVolumeClaimList{}
	err := c.client.List(ctx, claims, client.MatchingLabels{wire.LabelUser: platform.Identity(s.Spec.User)}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("list homes: %w", err)
	}
	homes := map[string]int64{}
	for i := range claims.Items {
		claim := &claims.Items[i]
		if isNew && claim.Namespace == s.Namespace && claim.Name == renderer.HomeClaimName(s.Name) {
			continue
		}
		homes[claim.Namespace] += plan.Size(claim)
	}
	return homes, nil
}

// readQuotas gives the ledger the quotas as the cache has them, and returns who may go on.
func (c cached) readQuotas(ctx context.Context) ([]types.NamespacedName, error) {
	began := c.quotaReads.Add(1)
	quotas := &vdi.VDIQuotaList{}
	if err := c.client.List(ctx, quotas); err != nil {
		return nil, fmt.Errorf("list quotas: %w", err)
	}
	return c.share.SetQuotas(quotas.Items, began), nil
}

// openLedger enters what runs and who waits, before the first session is looked at: this
// operator has just begun to lead, and what another one has let in counts, whatever the
// quotas say now.
func (c cached) openLedger(ctx context.Context, queue platform.Queue, now time.Time) error {
	window := fairshare.Window{Pods: int64(queue.Window), Patience: platform.DefaultPatience}
	if queue.Patience != nil {
		window.Patience = queue.Patience.Duration
	}
	c.share.SetWindow(window)
	sessions, pods := &vdi.VDISessionList{}, &corev1.PodList{}
	for _, list := range []client.ObjectList{sessions, pods} {
		if err := c.client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return fmt.Errorf("list what runs: %w", err)
		}
	}
	desktops := map[types.NamespacedName]*corev1.Pod{}
	for i := range pods.Items {
		desktops[client.ObjectKeyFromObject(&pods.Items[i])] = &pods.Items[i]
	}
	usages := &vdi.VDIUsageList{}
	if err := c.client.List(ctx, usages); err != nil {
		return fmt.Errorf("list what was used: %w", err)
	}
	for i := range usages.Items {
		c.share.SetUsage(usages.Items[i].Spec.User, &usages.Items[i])
	}
	for i := range sessions.Items {
		s := &sessions.Items[i]
		p := plan.NewPass(s, s.CreationTimestamp.Time, &platform.Config{})
		if pod := desktops[client.ObjectKeyFromObject(s)]; pod != nil && plan.IsOurs(s, pod) {
			p.Seen.Pod = pod
		}
		seen := p.RoomSeen(nil)
		p.Now = now
		seen.Over = p.OverRun()
		if seen.Run == nil && plan.RunGoesOn(s) {
			seen.Run = asked(s) // the platform starts it again
		}
		c.share.See(seen)
	}
	if _, err := c.readQuotas(ctx); err != nil {
		return err
	}
	for i := range sessions.Items {
		s := &sessions.Items[i]
		if q := s.Status.Queue; q != nil && q.Key != nil && s.DeletionTimestamp == nil {
			c.share.Wait(plan.SessionOf(s), asked(s), *q)
		}
	}
	return nil
}

// opened is whether the ledger was opened. No lock is held over a request: who comes
// meanwhile comes again.
type opened struct{ state atomic.Int32 }

const (
	ledgerOpening = 1
	ledgerOpen    = 2
)

// once opens it once, and reports whether it is open.
func (o *opened) once(open func() error) (bool, error) {
	switch {
	case o.state.Load() == ledgerOpen:
		return true, nil
	case !o.state.CompareAndSwap(0, ledgerOpening):
		return false, nil
	}
	if err := open(); err != nil {
		o.state.Store(0)
		return false, err
	}
	o.state.Store(ledgerOpen)
	return true, nil
}

// asked is what a session asks for that waits, as its status says.
func asked(s *vdi.VDISession) fairshare.Amounts {
	a := fairshare.Amounts{fairshare.Running: 1}
	if r := s.Status.Resources; r != nil {
		if r.GPU != nil {
			a[fairshare.GPUSlices] = int64(*r.GPU)
		}
		a[fairshare.CPU] = fairshare.Measure(fairshare.CPU, r.CPU)
		a[fairshare.Memory] = fairshare.Measure(fairshare.Memory, r.Memory)
	}
	return a
}

// countRoom lets the ledger know what the pass saw, and wakes who may go on because of that.
// Room is given to others once the pod is gone: of one that was made and that the cache has
// never shown, the API server knows.
func (a asker) countRoom(ctx context.Context, p *plan.Pass, failed error) {
	if !p.Gathered {
		return // nothing is known of its desktop
	}
	seen := p.RoomSeen(failed)
	if seen.Run == nil && a.share.Assumes(seen.NamespacedName) {
		there, err := a.readLive(ctx, p.Session, objects.Metadata(corev1.SchemeGroupVersion.WithKind(wire.KindPod), p.Session.Name))
		if seen.Gone = err == nil && !there; !seen.Gone {
			p.LookAgainAfter(plan.LateAppearance)
		}
	}
	a.wake(ctx, a.share.See(seen))
	if seen.Placed != fairshare.Placed {
		p.LookAgainAfter(a.share.Stuck(seen.NamespacedName, seen.Since, seen.Now))
	}
}

// open opens the ledger, unless it is open. It reports whether it is.
func (r *Reconciler) open(ctx context.Context) (bool, error) {
	return r.opened.once(func() error { return r.cached().openLedger(ctx, r.Config.Queue, r.Clock.Now()) })
}

// QuotaUse is what the sessions have that a quota selects; not known while the ledger is being
// opened.
func (r *Reconciler) QuotaUse(ctx context.Context, name string) (use fairshare.Use, known bool, err error) {
	if known, err = r.open(ctx); !known {
		return use, false, err
	}
	return r.share.Use(name), true, nil
}

// wake makes the controller look at sessions that may go on.
func (m *memory) wake(ctx context.Context, sessions []types.NamespacedName) {
	if m.moved == nil {
		return
	}
	for _, key := range sessions {
		s := &vdi.VDISession{}
		s.Namespace, s.Name = key.Namespace, key.Name
		select {
		case m.moved <- event.GenericEvent{Object: s}:
		case <-ctx.Done():
			return
		}
	}
}

// watchRoom wakes who may go on because others ended.
func (r *Reconciler) watchRoom(sessions watcher) error {
	r.moved = make(chan event.GenericEvent)
	return sessions.Watch(namedSource{source.Channel(r.moved, &handler.EnqueueRequestForObject{}), "room in the quotas"})
}

// ofQuotas are the sessions that may go on by the quotas as they are now.
func (r *Reconciler) ofQuotas(ctx context.Context, _ client.Object) (requests []reconcile.Request) {
	woken, err := r.cached().readQuotas(ctx)
	if err != nil {
		return nil // the cache answers; it fails only while it is shutting down
	}
	for _, key := range woken {
		requests = append(requests, reconcile.Request{NamespacedName: key})
	}
	return requests
}
