package session

import (
	"context"
	"errors"
	"fmt"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/hosts"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/secrets"
	"github.com/vdi-platform/vdi-platform/operator/session/cause"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/turnlogin"
	"github.com/vdi-platform/vdi-platform/operator/usage"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
)

// carryOut makes the writes of the plan in order, and notes what comes of them. The first
// that is refused or fails ends it; else it is looked at last what keeps the desktop, and
// whether the proxy leads to it.
func (r *Reconciler) carryOut(ctx context.Context, e *executor, p *plan.Pass) error {
	err := e.write(ctx, p)
	var v *verdict.Verdict
	switch {
	case errors.As(err, &v):
		p.StoppedBy = v
		p.LookAgainAfter(v.Retry)
		if v.Condition == vdi.ConditionAccepted && p.Starting() { // who is not accepted keeps no home from others
			p.Released = e.homes.Known.Released(p.Session)
			e.releaseAll(ctx, p)
		}
		return nil
	case err != nil || p.Gone():
		return err
	}
	err = cause.Finder{Nodes: r.Nodes, Live: r.Live, Events: &r.events}.Find(ctx, p)
	r.verifyRoute(ctx, p)
	return err
}

// executor makes the writes of plans.
type executor struct {
	*sessionWriter
	objects objects.Store
	secrets secrets.Store
	homes   homes.Claims
	hosts   hosts.Claims
	turn    turnlogin.Logins
	usage   usage.Store
	ask     asker
}

// write makes the writes, and comes to the end that the plan has then.
func (e *executor) write(ctx context.Context, p *plan.Pass) error {
	for _, w := range p.Writes {
		switch w.Action.(type) {
		case plan.MakeTURNLogin, plan.MakeCredentials:
			p.HomeSeen = true // of a start that has its host and its home
		}
		err := e.do(ctx, p, w.Action)
		var v *verdict.Verdict
		if errors.As(err, &v) && w.MayLack {
			p.Refuse(v)
			continue
		}
		if err != nil {
			return err
		}
	}
	if p.Verdict != nil {
		return p.Verdict
	}
	return p.Err
}

// do makes one write.
func (e *executor) do(ctx context.Context, p *plan.Pass, a plan.Action) error {
	switch a := a.(type) {
	case plan.AddFinalizer:
		return e.addFinalizer(ctx, p)
	case plan.Record:
		return e.record(ctx, p, a)
	case plan.SetRunPolicy:
		return e.suspend(ctx, p, a.To)
	case plan.UnlessUsed:
		return e.unlessUsed(ctx, p)
	case plan.EndSession:
		return e.endSession(ctx, p)
	case plan.CountRun:
		return e.countRun(ctx, p, a)
	case plan.RemoveFinalizer:
		return e.removeFinalizer(ctx, p)
	case plan.StopDesktop:
		return e.stopDesktop(ctx, p, a)
	case plan.RemoveWay:
		return e.removeWay(ctx, p, a)
	case plan.ClearFailed:
		return e.clearFailed(ctx, p, a)
	case plan.Prune:
		return e.prune(ctx, p, a)
	case plan.DeleteHome:
		return e.deleteHome(ctx, p, a)
	case plan.LeaveHome:
		return e.leaveHome(ctx, p, a)
	case plan.Release:
		e.releaseHome(ctx, p, a)
		return nil
	case plan.ReleaseHost:
		return e.releaseHost(ctx, p, a)
	case plan.AdoptOrphans:
		return e.adoptOrphans(ctx, p)
	case plan.Label:
		return e.label(ctx, p, a.Object)
	case plan.TakeHost:
		return e.takeHost(ctx, p, a)
	case plan.Hold:
		return e.hold(ctx, p, a.Claim)
	case plan.MakeHome:
		return e.makeHome(ctx, p, a)
	case plan.TakeHomeBack:
		return e.homes.TakeBack(ctx, p.Session, p.Seen.Claim)
	case plan.GrowHome:
		return e.growHome(ctx, p, a)
	case plan.MakeTURNLogin:
		return e.makeTURNLogin(ctx, p)
	case plan.KeepTURNLogin:
		return e.keepTURNLogin(ctx, p)
	case plan.MakeCredentials:
		return e.makeCredentials(ctx, p)
	case plan.Create:
		return e.createChild(ctx, p, a.Object)
	case plan.PutBack:
		return e.putBack(ctx, p, a.Object)
	default:
		return fmt.Errorf("nobody carries out: %s", a)
	}
}
