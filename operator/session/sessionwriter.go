package session

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// sessionWriter writes the session itself.
type sessionWriter struct {
	client client.Client
	live   client.Reader
	clock  clock.PassiveClock
	*memory
}

// addFinalizer comes before anything exists whose end must be orderly.
func (w *sessionWriter) addFinalizer(ctx context.Context, p *plan.Pass) error {
	err := w.patchSession(ctx, p, func(s *vdi.VDISession) { controllerutil.AddFinalizer(s, wire.Finalizer) })
	if err != nil {
		return fmt.Errorf("add finalizer: %w", err)
	}
	return nil
}

// removeFinalizer lets the session go.
func (w *sessionWriter) removeFinalizer(ctx context.Context, p *plan.Pass) error {
	err := w.patchSession(ctx, p, func(s *vdi.VDISession) { controllerutil.RemoveFinalizer(s, wire.Finalizer) })
	switch {
	case apierrors.IsNotFound(err):
		controllerutil.RemoveFinalizer(p.Session, wire.Finalizer) // it has just gone
	case err != nil:
		return fmt.Errorf("remove finalizer: %w", err)
	default:
		p.LetGo = true
	}
	return nil
}

// endSession deletes the session. A change that arrives after the decision (somebody
// extended the run) makes the delete fail and is looked at first.
func (w *sessionWriter) endSession(ctx context.Context, p *plan.Pass) error {
	uid, version := p.Session.UID, p.Session.ResourceVersion
	err := w.client.Delete(ctx, p.Session, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete session: %w", err)
	}
	logf.FromContext(ctx).Info("ended", "reason", p.Decision.Reason)
	p.Ended = true
	return nil
}

func (w *sessionWriter) setRunPolicy(ctx context.Context, p *plan.Pass, policy vdi.RunPolicy) error {
	err := w.patchSession(ctx, p, func(s *vdi.VDISession) { s.Spec.RunPolicy = policy })
	if err != nil {
		return fmt.Errorf("turn spec.runPolicy to %s: %w", policy, err)
	}
	logf.FromContext(ctx).Info("turned spec.runPolicy", "to", policy, "reason", p.Session.Status.StopReason)
	return nil
}

// record writes why a run stops, and why the session ends if it does, before
// either happens.
func (w *sessionWriter) record(ctx context.Context, p *plan.Pass, note plan.Record) error {
	before := p.Session.DeepCopy()
	p.Session.Status.StopReason, p.Session.Status.EndReason = note.Stop, note.End
	if err := w.patchStatus(ctx, before, p.Session); err != nil {
		*p.Session = *before // it is as it was
		return fmt.Errorf("record stop reason: %w", err)
	}
	p.Wrote(before, p.Session)
	return nil
}

// patchSession changes metadata or spec of exactly the session that the pass knows.
func (w *sessionWriter) patchSession(ctx context.Context, p *plan.Pass, change func(*vdi.VDISession)) error {
	before := p.Session.DeepCopy()
	change(p.Session)
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := w.client.Patch(ctx, p.Session, patch, client.FieldOwner(FieldOwner)); err != nil {
		*p.Session = *before // it is as it was
		return err
	}
	p.Wrote(before, p.Session)
	return nil
}

// patchStatus writes what differs between two states of a session's status.
func (w *sessionWriter) patchStatus(ctx context.Context, before, after *vdi.VDISession) error {
	w.written.Store(client.ObjectKeyFromObject(after), w.clock.Now())
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	return w.client.Status().Patch(ctx, after, patch, client.FieldOwner(FieldOwner))
}

// confirm makes sure, once in a pass, that the session is what the cache shows, before
// something of it is taken away: caches may be late, and after a restore of the API
// server each of them takes up in its own time. A pass that has written the session
// knows it.
func (w *sessionWriter) confirm(ctx context.Context, p *plan.Pass) error {
	if p.Confirmed || len(p.Replaced) > 0 {
		return nil
	}
	if _, err := w.current(ctx, p); err != nil {
		logf.FromContext(ctx).Info("nothing is taken away yet", "because", err.Error())
		return err
	}
	p.Confirmed = true
	return nil
}

// current is the session as the API server has it, if that is what the pass builds on.
func (w *sessionWriter) current(ctx context.Context, p *plan.Pass) (*vdi.VDISession, error) {
	s := &vdi.VDISession{}
	err := w.live.Get(ctx, client.ObjectKeyFromObject(p.Session), s)
	switch {
	case apierrors.IsNotFound(err):
		return nil, errOutdated
	case err != nil:
		return nil, fmt.Errorf("make sure of the session: %w", err)
	case s.UID == p.Session.UID && s.ResourceVersion == p.Session.ResourceVersion:
		return s, nil // the same, also where another definition gives it other defaults
	case s.UID != p.Session.UID || (s.DeletionTimestamp == nil) != (p.Session.DeletionTimestamp == nil) || !equality.Semantic.DeepEqual(s.Spec, p.Session.Spec):
		return nil, errOutdated
	default:
		return s, nil
	}
}
