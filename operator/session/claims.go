package session

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// hold makes the session the holder of the claim on which it starts.
func (e *executor) hold(ctx context.Context, p *plan.Pass, claim *corev1.PersistentVolumeClaim) error {
	own, err := e.homes.Hold(ctx, p.Session, claim)
	if own != nil {
		return e.found(p, own)
	}
	return err
}

// errPodFound ends a start whose desktop is there already: only the API server knew.
var errPodFound = errors.New("the desktop is there already")

func (e *executor) found(p *plan.Pass, pod *corev1.Pod) error {
	e.seePod(p, pod)
	return errPodFound
}

// makeHome makes the home where there is none.
func (e *executor) makeHome(ctx context.Context, p *plan.Pass, w plan.MakeHome) error {
	claim, err := e.homes.Make(ctx, p.Session, w.Claim, w.Held)
	switch {
	case apierrors.IsAlreadyExists(err):
		return e.findHome(ctx, p, w)
	case err != nil:
		return verdict.OfWrite(w.Claim.GetKind(), err)
	}
	p.Seen.Claim, p.HomeSeen = claim, true
	return nil
}

// findHome looks at a claim that the cache does not show.
func (e *executor) findHome(ctx context.Context, p *plan.Pass, w plan.MakeHome) error {
	claim, err := e.homes.Read(ctx, p.Session.Namespace, w.Claim.GetName())
	switch {
	case err != nil:
		return err
	case claim == nil:
		return errOutdated // it has just gone
	}
	if err := homes.Usable(p.Session, claim); err != nil {
		return err
	}
	if !w.Held {
		p.Seen.Claim, p.HomeSeen = claim, true
		return e.homes.TakeBack(ctx, p.Session, claim)
	}
	if err := e.takeFound(ctx, p, claim); err != nil {
		return err // what was not taken is not recorded as the session's
	}
	p.Seen.Claim, p.HomeSeen = claim, true
	return nil
}

// takeFound makes the session the holder of such a claim.
func (e *executor) takeFound(ctx context.Context, p *plan.Pass, claim *corev1.PersistentVolumeClaim) error {
	if err := homes.Mountable(claim); err != nil {
		return err
	}
	use, err := e.homes.UseOf(ctx, p.Session, claim)
	switch {
	case use.Own != nil:
		return e.found(p, use.Own)
	case err != nil:
		return err
	}
	if err := use.Verdict(p.Session, claim); err != nil || use.Held {
		return err
	}
	return e.hold(ctx, p, claim)
}

// growHome raises the home's request, if the cluster lets it.
func (e *executor) growHome(ctx context.Context, p *plan.Pass, w plan.GrowHome) error {
	grown, err := e.homes.Grow(ctx, p.Seen.Claim, w.To)
	switch {
	case err == nil:
		p.Seen.Claim = grown
	case objects.IsRefusal(err):
		current := p.Seen.Claim.Spec.Resources.Requests[corev1.ResourceStorage]
		p.SizeRefused = &verdict.Verdict{
			Reason:  vdi.ReasonHomeGrowthRefused,
			Message: fmt.Sprintf("The home stays at %s: the cluster refused to let it grow to %s (spec.persistence.size): %s", current.String(), w.To.String(), objects.Words(err)),
		}
		p.LookAgainAfter(verdict.DeniedRetry)
		return nil
	}
	return err
}

// deleteHome deletes a home with its session, if both still are what was decided about:
// somebody may have thought better of it, and another operator may know of an end that is no
// person's wish.
func (e *executor) deleteHome(ctx context.Context, p *plan.Pass, w plan.DeleteHome) error {
	current, err := e.current(ctx, p)
	if err != nil {
		return err
	}
	if !plan.MayDeleteHome(current) || w.Claim.UID != current.Status.Home.UID {
		return errOutdated
	}
	if err := e.objects.Remove(ctx, w.Claim); err != nil {
		return err
	}
	p.Seen.Claim = nil // what follows has none to look after
	logf.FromContext(ctx).Info("home deleted as its policy says", "claim", w.Claim.Name)
	return nil
}

// leaveHome marks the home that a session leaves behind, and releases it.
func (e *executor) leaveHome(ctx context.Context, p *plan.Pass, w plan.LeaveHome) error {
	if err := e.confirm(ctx, p); err != nil {
		return err
	}
	err := e.homes.Leave(ctx, p.Session, w.Claim, w.At, w.Keep)
	switch {
	case !objects.IsRefusal(err):
		return err
	case w.Keep == 0:
		logf.FromContext(ctx).Error(err, "a home is not marked; it is listed later", "claim", w.Claim.Name)
		e.releaseHome(ctx, p, plan.Release{Name: w.Claim.Name, Claim: w.Claim})
		return nil
	default:
		return verdict.Denied(wire.KindPersistentVolumeClaim, err) // nobody else knows how long it is to be kept
	}
}

// releaseAll makes all claims of a session free.
func (e *executor) releaseAll(ctx context.Context, p *plan.Pass) {
	for _, w := range p.Releases("") {
		e.releaseHome(ctx, p, w)
	}
}

// releaseHome makes a claim free. Nothing depends on it: what fails is tried again, and a
// claim whose holder is gone is free.
func (e *executor) releaseHome(ctx context.Context, p *plan.Pass, w plan.Release) {
	switch err := e.release(ctx, p, w); {
	case err == nil:
	case apierrors.IsConflict(err):
		p.LookAgainAfter(cacheLag)
	case errors.Is(err, errOutdated):
		p.LookAgainAfter(longestLag)
	default:
		logf.FromContext(ctx).Error(err, "a home is not released", "claim", w.Name)
		p.LookAgainAfter(verdict.DeniedRetry)
	}
}

func (e *executor) release(ctx context.Context, p *plan.Pass, w plan.Release) error {
	claim := w.Claim
	if claim == nil { // it is not watched
		var err error
		if claim, err = e.homes.Read(ctx, p.Session.Namespace, w.Name); err != nil {
			return err
		}
		if claim == nil || homes.HolderOf(claim) != p.Session.UID {
			e.homes.Known.LetGo(p.Session, w.Name, "")
			return nil
		}
	}
	if !homes.IsHeld(p.Session, claim) {
		return nil
	}
	if err := e.confirm(ctx, p); err != nil { // is it really to run on it no longer?
		return err
	}
	return e.homes.Release(ctx, p.Session, claim)
}
