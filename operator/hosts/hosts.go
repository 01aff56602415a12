// Package hosts ties a host to a person for good, and to the one session that uses it now,
// by a ConfigMap in the operator's namespace: a host claim.
//
// A claim exists only for host templates without {id}, whose hosts are not unique by
// themselves. It outlives sessions, so that a host never passes to another person.
package hosts

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

const (
	claimHost     = "host"
	claimIdentity = "identity"
	claimHolder   = "holder" // namespace/name/uid of the session; empty when free
)

// Claims are the claims of hosts.
type Claims struct {
	// Objects writes and reads objects.
	Objects objects.Store
	// Namespace is the operator's own.
	Namespace string
}

// Take makes the session the one that answers under its host. It returns a verdict where
// another has it.
func (c Claims) Take(ctx context.Context, s *vdi.VDISession, host string) error {
	claim := &corev1.ConfigMap{}
	err := c.Objects.Live.Get(ctx, c.keyOf(host), claim)
	if apierrors.IsNotFound(err) {
		return c.create(ctx, s, host)
	}
	if err != nil {
		return fmt.Errorf("read host claim: %w", err)
	}
	return c.take(ctx, s, host, claim)
}

func (c Claims) create(ctx context.Context, s *vdi.VDISession, host string) error {
	key := c.keyOf(host)
	claim := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name: key.Name, Namespace: key.Namespace,
			Labels: map[string]string{wire.LabelManagedBy: wire.Operator, wire.LabelName: "vdi-host-claim"},
		},
		Data: map[string]string{
			claimHost: host, claimIdentity: platform.Identity(s.Spec.User), claimHolder: holderOf(s),
		},
	}
	if err := c.Objects.Client.Create(ctx, claim, c.Objects.Owner); err != nil {
		return fmt.Errorf("claim host %q: %w", host, err) // somebody was faster: look again
	}
	return nil
}

// take lets the same person's next session use the host once the former one is gone.
func (c Claims) take(ctx context.Context, s *vdi.VDISession, host string, claim *corev1.ConfigMap) error {
	if claim.Data[claimIdentity] != platform.Identity(s.Spec.User) {
		return refused(vdi.ReasonHostOfAnotherUser, fmt.Sprintf("The host %s belongs to another user for good. An administrator can add {id} to sessions.hostTemplate", host))
	}
	holder := claim.Data[claimHolder]
	if holder == holderOf(s) {
		return nil
	}
	alive, err := c.holderLives(ctx, holder)
	if err != nil {
		return err
	}
	if alive {
		return refused(vdi.ReasonHostInUse, fmt.Sprintf("The host %s is in use by this user's session %s; end that one first", host, holder[:strings.LastIndex(holder, "/")]))
	}
	claim.Data[claimHolder] = holderOf(s)
	if err := c.Objects.Client.Update(ctx, claim, c.Objects.Owner); err != nil {
		return fmt.Errorf("take host %q: %w", host, err)
	}
	return nil
}

func (c Claims) holderLives(ctx context.Context, holder string) (bool, error) {
	parts := strings.Split(holder, "/")
	if len(parts) != 3 {
		return false, nil
	}
	s := &vdi.VDISession{}
	err := c.Objects.Live.Get(ctx, types.NamespacedName{Namespace: parts[0], Name: parts[1]}, s)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read session that holds the host: %w", err)
	}
	return string(s.UID) == parts[2], nil
}

// HeldBy is the claim of a host that a session holds; nil when it does not.
func (c Claims) HeldBy(ctx context.Context, s *vdi.VDISession, host string) (*corev1.ConfigMap, error) {
	claim := &corev1.ConfigMap{}
	err := c.Objects.Live.Get(ctx, c.keyOf(host), claim)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read host claim: %w", err)
	case claim.Data[claimHolder] != holderOf(s):
		return nil, nil
	default:
		return claim, nil
	}
}

// Release frees a host for the same person's next session.
func (c Claims) Release(ctx context.Context, claim *corev1.ConfigMap) error {
	claim.Data[claimHolder] = ""
	if err := c.Objects.Client.Update(ctx, claim, c.Objects.Owner); err != nil {
		return fmt.Errorf("release host %q: %w", claim.Data[claimHost], err)
	}
	return nil
}

func (c Claims) keyOf(host string) types.NamespacedName {
	label, _, _ := strings.Cut(host, ".")
	return types.NamespacedName{Namespace: c.Namespace, Name: "vdi-host-" + label}
}

func holderOf(s *vdi.VDISession) string {
	return s.Namespace + "/" + s.Name + "/" + string(s.UID)
}

func refused(reason, message string) *verdict.Verdict {
	return &verdict.Verdict{
		Condition: vdi.ConditionAccepted, Reason: reason, Message: message,
		Phase: vdi.PhaseFailed, Stalled: true, Retry: verdict.DeniedRetry,
	}
}
