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
	if !isEnd(p.decision) {
		return nil
	}
	confirmed, err := r.ServerTime(ctx)
	if err != nil {
		return fmt.Errorf("confirm the end against the API server's time: %w", err)
	}
	p.now = confirmed // by which the state is described, too
	p.decide(p.now)
	switch p.decision.want {
	case wantEnd:
		return r.endSession(ctx, p)
	case wantSuspend:
		return r.suspend(ctx, p)
	default:
		return nil // our clock was ahead
	}
}

// endSession records why before it deletes: a session so marked keeps its
// home whatever its policy says. A change that arrives in between (somebody
// extended the run) makes the delete fail and is looked at first.
func (r *Reconciler) endSession(ctx context.Context, p *pass) error {
	if err := r.record(ctx, p, p.decision.reason, p.decision.reason); err != nil {
		return err
	}
	uid, version := p.session.UID, p.session.ResourceVersion
	err := r.Client.Delete(ctx, p.session, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete session: %w", err)
	}
	logf.FromContext(ctx).Info("ended", "reason", p.decision.reason)
	p.ended = true
	return errEnded
}

// suspend turns the wish itself, so that one field tells whether the desktop
// should run and turning it back resumes it.
func (r *Reconciler) suspend(ctx context.Context, p *pass) error {
	if err := r.record(ctx, p, p.decision.reason, ""); err != nil {
		return err
	}
	if err := r.setRunPolicy(ctx, p, vdi.RunPolicySuspended); err != nil {
		return err
	}
	logf.FromContext(ctx).Info("suspended", "reason", p.decision.reason)
	p.decision.want = wantStop
	return nil
}

// reconsider takes an idle stop back when the desktop was used before its pod
// was deleted. Nobody but the operator turned the wish, so it may turn it back.
func (r *Reconciler) reconsider(ctx context.Context, p *pass) error {
	stopped := p.decision.want == wantStop && p.session.Status.StopReason == vdi.StopIdle
	if !stopped || !p.seen.podLives() || !r.usedMeanwhile(ctx, p) {
		return nil
	}
	if err := r.setRunPolicy(ctx, p, vdi.RunPolicyRunning); err != nil {
		return err
	}
	logf.FromContext(ctx).Info("used again before it stopped")
	if err := r.record(ctx, p, "", ""); err != nil {
		return err
	}
	p.decide(p.now)
	if isEnd(p.decision) { // it is confirmed and written down first, by the next pass
		p.decision = decideByPerson(p.session)
		p.look(cacheLag)
	}
	return nil
}

func (r *Reconciler) setRunPolicy(ctx context.Context, p *pass, policy vdi.RunPolicy) error {
	before := p.session.DeepCopy()
	p.session.Spec.RunPolicy = policy
	status := p.session.Status
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, p.session, patch, client.FieldOwner(FieldOwner)); err != nil {
		return fmt.Errorf("turn spec.runPolicy to %s: %w", policy, err)
	}
	p.wrote(before.ResourceVersion)
	p.session.Status = status // the answer carries the stored one
	return nil
}

// record writes why a run stops, and why the session ends if it does, before
// either happens.
func (r *Reconciler) record(ctx context.Context, p *pass, stop, end vdi.StopReason) error {
	st := &p.session.Status
	if st.StopReason == stop && st.EndReason == end {
		return nil
	}
	before, activity := p.session.DeepCopy(), st.Activity
	st.StopReason, st.EndReason = stop, end
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	r.written.store(client.ObjectKeyFromObject(p.session), r.Clock.Now())
	if err := r.Client.Status().Patch(ctx, p.session, patch, client.FieldOwner(FieldOwner)); err != nil {
		return fmt.Errorf("record stop reason: %w", err)
	}
	p.wrote(before.ResourceVersion)
	p.session.Status.Activity = activity // the answer carries the stored one
	return nil
}
