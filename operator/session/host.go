package session

import (
	"context"
	"errors"

	"github.com/vdi-platform/vdi-platform/operator/hosts"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform"
)

// claimHost makes sure that this session alone answers under its host, before it starts
// and before that is reported.
func (r *Reconciler) claimHost(ctx context.Context, p *plan.Pass) error {
	unreported := p.Seen.PodLives() && p.Decision.Want == plan.Run && p.Session.Status.Host == ""
	if !platform.HostNeedsClaim(r.Config.Sessions) || !p.Starting() && !unreported {
		return nil
	}
	err := r.hosts().Take(ctx, p.Session, p.Host)
	p.HasHost = err == nil
	var h *verdict.Verdict
	if unreported && errors.As(err, &h) {
		p.Refuse(h) // the desktop is looked after all the same
		return nil
	}
	return err
}

// releaseHost frees the host for the same person's next session.
func (r *Reconciler) releaseHost(ctx context.Context, p *plan.Pass) error {
	host := p.Session.Status.Host
	if host == "" || !platform.HostNeedsClaim(r.Config.Sessions) {
		return nil
	}
	claim, err := r.hosts().HeldBy(ctx, p.Session, host)
	if err != nil || claim == nil {
		return err
	}
	if err := r.confirm(ctx, p); err != nil {
		return err
	}
	return r.hosts().Release(ctx, claim)
}

// hosts are the claims of hosts.
func (r *Reconciler) hosts() hosts.Claims {
	return hosts.Claims{Objects: r.objects(), Namespace: r.Namespace}
}
