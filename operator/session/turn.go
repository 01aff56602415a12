package session

import (
	"context"
	"errors"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/turnlogin"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// startTURNLogin gives a desktop that is about to start a login at the relay,
// where it needs one.
func (r *Reconciler) startTURNLogin(ctx context.Context, p *plan.Pass) error {
	if !platform.UsesRelay(p.Template.Spec) {
		return nil
	}
	renewIn, err := r.turn().Make(ctx, p.Session, p.Now)
	p.LookAgainAfter(renewIn)
	return err
}

// renewTURNLogin sees to the login of a living desktop, whatever became of its
// template. It stops with the run: after that the relay takes nobody in for
// longer than the last login holds. A desktop is not disturbed by a login that
// cannot be made; it says so.
func (r *Reconciler) renewTURNLogin(ctx context.Context, p *plan.Pass) error {
	if p.Decision.Want != plan.Run || !p.Seen.PodLives() || p.Seen.Pod.Annotations[wire.AnnotationTransport] != string(vdi.TransportWebRTC) {
		return nil
	}
	renewIn, err := r.turn().Keep(ctx, p.Session, p.Now)
	p.LookAgainAfter(renewIn)
	var v *verdict.Verdict
	if errors.As(err, &v) {
		p.Refuse(v)
		return nil
	}
	return err
}

func (r *Reconciler) turn() turnlogin.Logins {
	return turnlogin.Logins{Secrets: r.secrets(), TURN: r.Config.Sessions.TURN, Relay: r.Relay, Known: &r.turnLogins}
}

// watchRelay wakes all sessions when the relay's secret changes: those that run
// get logins that it accepts, those that wait for it start.
func (r *Reconciler) watchRelay(sessions watcher) error {
	if r.Relay == nil {
		return nil
	}
	return r.wakeAll(sessions, r.Relay.Changed(), "TURN relay's secret")
}
