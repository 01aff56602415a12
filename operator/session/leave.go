package session

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// leaveHome marks the home that a session leaves behind, and for how long it is
// to be kept; package homes does the rest. A mark stays as it is: it was made by
// an earlier look at this end, or by the session that had the home last. The same
// write releases the home.
func (r *Reconciler) leaveHome(ctx context.Context, p *plan.Pass) error {
	claim := &corev1.PersistentVolumeClaim{}
	key := client.ObjectKey{Namespace: p.Session.Namespace, Name: renderer.HomeClaimName(p.Session.Name)}
	err := r.Live.Get(ctx, key, claim)
	if apierrors.IsNotFound(err) {
		p.Seen.Claim = nil
		return nil
	}
	if err != nil {
		return fmt.Errorf("read home: %w", err)
	}
	p.Seen.Claim = claim // what follows sees what was written
	if !homes.MadeFor(p.Session, claim) || claim.DeletionTimestamp != nil || homes.Left(claim) {
		return nil // releaseHomes releases it
	}
	named, err := namedByOther(ctx, r.Client, p.Session, claim.Name, r.onClaim(claim.Namespace, claim.Name)...)
	if err != nil || named != "" {
		return err // it is not left, but another session's
	}
	var keep time.Duration // a home that was switched off before is kept for ever
	if homes.WasHomeOf(p.Session, claim) {
		keep, err = r.retainFor(ctx, p.Session)
	}
	if err != nil {
		return err
	}
	if err := r.confirm(ctx, p); err != nil {
		return err
	}
	now, err := r.ServerTime(ctx)
	if err != nil {
		return fmt.Errorf("ask for the API server's time: %w", err)
	}
	logf.FromContext(ctx).Info("home left behind", "claim", claim.Name, "retainFor", keep)
	before := claim.DeepCopy()
	homes.Leave(claim, now, keep)
	if homes.HolderOf(claim) == p.Session.UID {
		homes.Release(claim)
	}
	err = r.releaseBy(ctx, p.Session, before, claim)
	if objects.IsRefusal(err) && keep == 0 {
		logf.FromContext(ctx).Error(err, "a home is not marked; it is listed later", "claim", claim.Name)
		p.Seen.Claim = before
		return nil
	}
	if objects.IsRefusal(err) {
		return verdict.Denied(wire.KindPersistentVolumeClaim, err) // nobody else knows how long it is to be kept
	}
	return err
}

// namedByOther is the name of a session of the same user, other than this one, that names
// the claim as its existing one; "" for none. A stranger's could not use it.
func namedByOther(ctx context.Context, from client.Reader, s *vdi.VDISession, claim string, which ...client.ListOption) (string, error) {
	list := &vdi.VDISessionList{}
	if err := from.List(ctx, list, which...); err != nil {
		return "", fmt.Errorf("list sessions that name home %q: %w", claim, err)
	}
	i := slices.IndexFunc(list.Items, func(other vdi.VDISession) bool {
		return other.UID != s.UID && other.Spec.User == s.Spec.User && other.Spec.Persistence.ExistingClaim == claim
	})
	if i < 0 {
		return "", nil
	}
	return list.Items[i].Name, nil
}

// retainFor reads the template for its default. A template that is gone has none.
func (r *Reconciler) retainFor(ctx context.Context, s *vdi.VDISession) (time.Duration, error) {
	t := &vdi.VDITemplate{}
	err := r.Client.Get(ctx, client.ObjectKey{Name: s.Spec.Template}, t)
	if err != nil && !apierrors.IsNotFound(err) {
		return 0, fmt.Errorf("read template %q: %w", s.Spec.Template, err)
	}
	return homes.RetainFor(s.Spec, t.Spec.Lifecycle), nil
}

// takeHome removes the mark from a home that its user's session has again, also
// while no desktop starts on it: whoever was about to delete it finds it changed.
func (r *Reconciler) takeHome(ctx context.Context, p *plan.Pass) error {
	claim := p.Seen.Claim
	if homes.ClaimName(p.Session) != claim.Name || !homes.Left(claim) || !homes.MadeByOperator(claim) {
		return nil
	}
	logf.FromContext(ctx).Info("home taken back", "claim", claim.Name)
	before := claim.DeepCopy()
	homes.Take(claim)
	return r.patchClaim(ctx, before, claim)
}
