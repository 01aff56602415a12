package session

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// A host claim is a ConfigMap in the operator's namespace that ties a host to a
// person for good, and to the one session that uses it now. It exists only for
// host templates without {id}, whose hosts are not unique by themselves. It
// outlives sessions, so that a host never passes to another person.
const (
	claimHost     = "host"
	claimIdentity = "identity"
	claimHolder   = "holder" // namespace/name/uid of the session; empty when free
)

// claimHost makes sure that this session alone answers under its host, before it starts
// and before that is reported.
func (r *Reconciler) claimHost(ctx context.Context, p *plan.Pass) error {
	unreported := p.Seen.PodLives() && p.Decision.Want == plan.Run && p.Session.Status.Host == ""
	if !platform.HostNeedsClaim(r.Config.Sessions) || !p.Starting() && !unreported {
		return nil
	}
	err := r.becomeHolder(ctx, p)
	p.HasHost = err == nil
	var h *verdict.Verdict
	if unreported && errors.As(err, &h) {
		p.Refuse(h) // the desktop is looked after all the same
		return nil
	}
	return err
}

func (r *Reconciler) becomeHolder(ctx context.Context, p *plan.Pass) error {
	claim := &corev1.ConfigMap{}
	err := r.Live.Get(ctx, r.hostClaimKey(p.Host), claim)
	if apierrors.IsNotFound(err) {
		return r.createHostClaim(ctx, p)
	}
	if err != nil {
		return fmt.Errorf("read host claim: %w", err)
	}
	return r.takeHost(ctx, p, claim)
}

func (r *Reconciler) createHostClaim(ctx context.Context, p *plan.Pass) error {
	key := r.hostClaimKey(p.Host)
	claim := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name: key.Name, Namespace: key.Namespace,
			Labels: map[string]string{wire.LabelManagedBy: wire.Operator, wire.LabelName: "vdi-host-claim"},
		},
		Data: map[string]string{
			claimHost: p.Host, claimIdentity: platform.Identity(p.Session.Spec.User), claimHolder: holderOf(p.Session),
		},
	}
	if err := r.Client.Create(ctx, claim, client.FieldOwner(FieldOwner)); err != nil {
		return fmt.Errorf("claim host %q: %w", p.Host, err) // somebody was faster: look again
	}
	return nil
}

// takeHost lets the same person's next session use the host once the former one is gone.
func (r *Reconciler) takeHost(ctx context.Context, p *plan.Pass, claim *corev1.ConfigMap) error {
	if claim.Data[claimIdentity] != platform.Identity(p.Session.Spec.User) {
		return hostHalt(vdi.ReasonHostOfAnotherUser, fmt.Sprintf("The host %s belongs to another user for good. An administrator can add {id} to sessions.hostTemplate", p.Host))
	}
	holder := claim.Data[claimHolder]
	if holder == holderOf(p.Session) {
		return nil
	}
	alive, err := r.holderLives(ctx, holder)
	if err != nil {
		return err
	}
	if alive {
		return hostHalt(vdi.ReasonHostInUse, fmt.Sprintf("The host %s is in use by this user's session %s; end that one first", p.Host, holder[:strings.LastIndex(holder, "/")]))
	}
	claim.Data[claimHolder] = holderOf(p.Session)
	if err := r.Client.Update(ctx, claim, client.FieldOwner(FieldOwner)); err != nil {
		return fmt.Errorf("take host %q: %w", p.Host, err)
	}
	return nil
}

func (r *Reconciler) holderLives(ctx context.Context, holder string) (bool, error) {
	parts := strings.Split(holder, "/")
	if len(parts) != 3 {
		return false, nil
	}
	s := &vdi.VDISession{}
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: parts[0], Name: parts[1]}, s)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read session that holds the host: %w", err)
	}
	return string(s.UID) == parts[2], nil
}

// releaseHost frees the host for the same person's next session.
func (r *Reconciler) releaseHost(ctx context.Context, p *plan.Pass) error {
	host := p.Session.Status.Host
	if host == "" || !platform.HostNeedsClaim(r.Config.Sessions) {
		return nil
	}
	claim := &corev1.ConfigMap{}
	err := r.Live.Get(ctx, r.hostClaimKey(host), claim)
	if apierrors.IsNotFound(err) || (err == nil && claim.Data[claimHolder] != holderOf(p.Session)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read host claim: %w", err)
	}
	if err := r.confirm(ctx, p); err != nil {
		return err
	}
	claim.Data[claimHolder] = ""
	if err := r.Client.Update(ctx, claim, client.FieldOwner(FieldOwner)); err != nil {
		return fmt.Errorf("release host %q: %w", host, err)
	}
	return nil
}

func (r *Reconciler) hostClaimKey(host string) types.NamespacedName {
	label, _, _ := strings.Cut(host, ".")
	return types.NamespacedName{Namespace: r.Namespace, Name: "vdi-host-" + label}
}

func holderOf(s *vdi.VDISession) string {
	return s.Namespace + "/" + s.Name + "/" + string(s.UID)
}

func hostHalt(reason, message string) *verdict.Verdict {
	return &verdict.Verdict{
		Condition: vdi.ConditionAccepted, Reason: reason, Message: message,
		Phase: vdi.PhaseFailed, Stalled: true, Retry: verdict.DeniedRetry,
	}
}
