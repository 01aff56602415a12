package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/session/desktop"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
)

// end carries out an end that the lifecycle decided.
func (r *Reconciler) end(ctx context.Context, p *plan.Pass) error {
	switch p.Decision.Want {
	case plan.DeleteSession:
		return r.endSession(ctx, p)
	case plan.SuspendNow:
		return r.suspend(ctx, p)
	default:
		return nil
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

// Bounds of the wait before a pod that ended by itself is replaced.
const (
	firstRestart = 10 * time.Second
	lastRestart  = 5 * time.Minute
)

// clearFailed removes a pod that ended by itself: evicted, refused by a device
// plugin, or lost with its node. Containers that crash are the kubelet's to
// restart and never come here. The session goes on with a new pod on the same
// home; each failure in a row makes the wait longer.
func (r *Reconciler) clearFailed(ctx context.Context, p *plan.Pass) error {
	if p.Decision.Want != plan.Run || p.Seen.Pod == nil || p.Seen.Pod.DeletionTimestamp != nil || !desktop.Ended(p.Seen.Pod) {
		return nil
	}
	if wait := restartAfter(p.Failures) - r.endedPods.age(p); wait > 0 {
		p.LookAgainAfter(wait)
		return nil
	}
	if err := r.objects().Remove(ctx, p.Seen.Pod); err != nil {
		return err
	}
	p.Failures++
	return nil
}

// restartAfter is how long a pod that ended stays before it is replaced.
func restartAfter(failures int32) time.Duration {
	if failures < 5 { // 10 s, 20 s, 40 s, 80 s, 160 s
		return firstRestart << failures
	}
	return lastRestart
}

// stop deletes the desktop of a session that should not run. It comes before
// everything that could be refused.
func (r *Reconciler) stop(ctx context.Context, p *plan.Pass) error {
	if p.Decision.Want == plan.Run {
		return nil
	}
	if err := r.stopDesktop(ctx, p); err != nil || p.Seen.Pod != nil || p.Session.Status.Phase == vdi.PhaseSuspended {
		return err
	}
	return r.removeUnseen(ctx, p)
}

// removeUnseen looks, once in a stop, whether the API server has a way in that the cache
// does not show: one that has lost its labels is not watched.
func (r *Reconciler) removeUnseen(ctx context.Context, p *plan.Pass) error {
	for _, c := range r.compared(p.Session.Name) {
		kind, err := r.Client.GroupVersionKindFor(c.object)
		if err != nil {
			return fmt.Errorf("look for what is left of the desktop: %w", err)
		}
		if !plan.RunsOnly(kind.Kind) || p.Seen.Others[plan.Key{Kind: kind.Kind, Name: c.name}] != nil {
			continue
		}
		left := objects.Metadata(kind, c.name)
		there, err := r.readLive(ctx, p.Session, left)
		if err != nil {
			return err
		}
		if !there || !metav1.IsControlledBy(left, p.Session) || left.DeletionTimestamp != nil {
			continue
		}
		if err := r.confirm(ctx, p); err != nil {
			return err
		}
		if err := r.objects().Remove(ctx, left); err != nil && !objects.IsRefusal(err) {
			return err
		}
	}
	return nil
}

// stopDesktop takes the way in away first, so that the URL dies at once, and the
// pod whatever became of that. What the cluster does not let go leads nowhere
// then, and is the session's to the end.
func (r *Reconciler) stopDesktop(ctx context.Context, p *plan.Pass) error {
	ways := p.Seen.Which(func(o *unstructured.Unstructured) bool {
		return plan.RunsOnly(o.GetKind()) && o.GetDeletionTimestamp() == nil
	})
	runs := p.Seen.Pod != nil && p.Seen.Pod.DeletionTimestamp == nil
	if len(ways) == 0 && !runs {
		return nil
	}
	if err := r.confirm(ctx, p); err != nil {
		return err
	}
	var failed []error
	for _, o := range ways {
		switch err := r.objects().Remove(ctx, o); {
		case err == nil:
			delete(p.Seen.Others, plan.KeyOf(o))
		case objects.IsRefusal(err):
			p.Refuse(verdict.Denied(o.GetKind(), err))
		default:
			failed = append(failed, err)
		}
	}
	if runs {
		failed = append(failed, r.objects().Remove(ctx, p.Seen.Pod))
	}
	return errors.Join(failed...)
}
