package session

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// errEnded ends a pass whose session the operator has just deleted.
var errEnded = errors.New("session ended")

// end carries out an end that the lifecycle decided, after the API server's own
// clock has confirmed it.
func (r *Reconciler) end(ctx context.Context, p *pass) error {
	if p.decision.want != wantEnd && p.decision.want != wantSuspend {
		return nil
	}
	confirmed, err := r.ServerTime(ctx)
	if err != nil {
		return fmt.Errorf("confirm the end against the API server's time: %w", err)
	}
	p.decision = decide(p.session, p.lifecycleRules(), confirmed)
	p.look(p.decision.lookAgain)
	switch p.decision.want {
	case wantEnd:
		return r.deleteExpired(ctx, p)
	case wantSuspend:
		return r.suspend(ctx, p)
	default:
		return nil // our clock was ahead
	}
}

// deleteExpired records why before it deletes: a session so marked keeps its
// home whatever its policy says. A change that arrives in between (somebody
// extended the run) makes the delete fail and is looked at first.
func (r *Reconciler) deleteExpired(ctx context.Context, p *pass) error {
	if err := r.recordStop(ctx, p); err != nil {
		return err
	}
	uid, version := p.session.UID, p.session.ResourceVersion
	err := r.Client.Delete(ctx, p.session, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete expired session: %w", err)
	}
	logf.FromContext(ctx).Info("ended", "reason", p.decision.reason)
	p.ended = true
	return errEnded
}

// suspend turns the wish itself, so that one field tells whether the desktop
// should run and turning it back resumes it.
func (r *Reconciler) suspend(ctx context.Context, p *pass) error {
	if err := r.recordStop(ctx, p); err != nil {
		return err
	}
	before := p.session.DeepCopy()
	p.session.Spec.RunPolicy = vdi.RunPolicySuspended
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, p.session, patch, client.FieldOwner(FieldOwner)); err != nil {
		return fmt.Errorf("suspend expired session: %w", err)
	}
	logf.FromContext(ctx).Info("suspended", "reason", p.decision.reason)
	p.decision.want = wantStop
	return nil
}

func (r *Reconciler) recordStop(ctx context.Context, p *pass) error {
	if p.session.Status.StopReason == p.decision.reason {
		return nil
	}
	before := p.session.DeepCopy()
	p.session.Status.StopReason = p.decision.reason
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Status().Patch(ctx, p.session, patch, client.FieldOwner(FieldOwner)); err != nil {
		return fmt.Errorf("record stop reason: %w", err)
	}
	return nil
}
