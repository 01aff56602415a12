package session

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
)

// end carries out an end that the lifecycle decided, after the API server's own
// clock has confirmed it.
func (r *Reconciler) end(ctx context.Context, p *plan.Pass) error {
	if !plan.IsEnd(p.Decision) {
		return nil
	}
	confirmed, err := r.ServerTime(ctx)
	if err != nil {
		return fmt.Errorf("confirm the end against the API server's time: %w", err)
	}
	p.Now = confirmed // by which the state is described, too
	p.Decide(p.Now)
	switch p.Decision.Want {
	case plan.DeleteSession:
		return r.endSession(ctx, p)
	case plan.SuspendNow:
		return r.suspend(ctx, p)
	default:
		return nil // our clock was ahead
	}
}

// endSession records why before it deletes: a session so marked keeps its
// home whatever its policy says. A change that arrives in between (somebody
// extended the run) makes the delete fail and is looked at first.
func (r *Reconciler) endSession(ctx context.Context, p *plan.Pass) error {
	if err := r.record(ctx, p, p.Decision.Reason, p.Decision.Reason); err != nil {
		return err
	}
	uid, version := p.Session.UID, p.Session.ResourceVersion
	err := r.Client.Delete(ctx, p.Session, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete session: %w", err)
	}
	logf.FromContext(ctx).Info("ended", "reason", p.Decision.Reason)
	p.Ended = true
	return errEnded
}

// suspend turns the wish itself, so that one field says whether the desktop
// should run and turning it back resumes it.
func (r *Reconciler) suspend(ctx context.Context, p *plan.Pass) error {
	if err := r.record(ctx, p, p.Decision.Reason, ""); err != nil {
		return err
	}
	if err := r.setRunPolicy(ctx, p, vdi.RunPolicySuspended); err != nil {
		return err
	}
	logf.FromContext(ctx).Info("suspended", "reason", p.Decision.Reason)
	p.Decision.Want = plan.StayStopped
	return nil
}

// reconsider takes an idle stop back when the desktop was used before its pod
// was deleted. Nobody but the operator turned the wish, so it may turn it back.
func (r *Reconciler) reconsider(ctx context.Context, p *plan.Pass) error {
	stopped := p.Decision.Want == plan.StayStopped && p.Session.Status.StopReason == vdi.StopIdle
	if !stopped || !p.Seen.PodLives() || !r.usedMeanwhile(ctx, p) {
		return nil
	}
	if err := r.setRunPolicy(ctx, p, vdi.RunPolicyRunning); err != nil {
		return err
	}
	logf.FromContext(ctx).Info("used again before it stopped")
	if err := r.record(ctx, p, "", ""); err != nil {
		return err
	}
	p.Decide(p.Now)
	if plan.IsEnd(p.Decision) { // it is confirmed and written down first, by the next pass
		p.Decision = plan.DecideByPerson(p.Session)
		p.LookAgainAfter(cacheLag)
	}
	return nil
}

func (r *Reconciler) setRunPolicy(ctx context.Context, p *plan.Pass, policy vdi.RunPolicy) error {
	err := r.patchSession(ctx, p, func(s *vdi.VDISession) { s.Spec.RunPolicy = policy })
	if err != nil {
		return fmt.Errorf("turn spec.runPolicy to %s: %w", policy, err)
	}
	return nil
}

// record writes why a run stops, and why the session ends if it does, before
// either happens.
func (r *Reconciler) record(ctx context.Context, p *plan.Pass, stop, end vdi.StopReason) error {
	st := &p.Session.Status
	if st.StopReason == stop && st.EndReason == end {
		return nil
	}
	before := p.Session.DeepCopy()
	st.StopReason, st.EndReason = stop, end
	if err := r.patchStatus(ctx, before, p.Session); err != nil {
		*p.Session = *before // it is as it was
		return fmt.Errorf("record stop reason: %w", err)
	}
	p.Wrote(before, p.Session)
	return nil
}
