package frontdoor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// errGone: the session that a visitor looked at is not there any more.
var errGone = errors.New("the session is gone")

// fieldOwner names the front door in managed fields.
const fieldOwner = wire.FrontDoor

// maxTries bounds the writes of one request: the operator writes the same
// object, but not for ever.
const maxTries = 5

// patcher writes sessions at the API server.
type patcher struct{ client client.Client }

// NewChanger returns what writes sessions. Its client must not read from a
// cache: after a conflict only the newest state counts.
func NewChanger(c client.Client) Changer { return patcher{c} }

// Resume also writes the groups. Where an admission policy of an earlier release does not let
// it, for the time of an upgrade, the resume does without: the operator judges by those that
// stand there.
func (p patcher) Resume(ctx context.Context, s *vdi.VDISession, groups []string) error {
	err := p.resume(ctx, s, groups)
	if groups != nil && apierrors.IsForbidden(err) {
		return p.resume(ctx, s, nil)
	}
	return err
}

func (p patcher) resume(ctx context.Context, s *vdi.VDISession, groups []string) error {
	return p.change(ctx, s, func(now *vdi.VDISession) map[string]any {
		spec := map[string]any{}
		switch {
		case now.Spec.RunPolicy == vdi.RunPolicySuspended:
			spec["runPolicy"] = vdi.RunPolicyRunning
		case !waitsForGroups(now):
			return nil
		}
		if groups != nil && !sameGroups(now.Spec.Groups, groups) {
			spec["groups"] = groups
		}
		return spec
	})
}

// KeepAlive never brings an end nearer.
func (p patcher) KeepAlive(ctx context.Context, s *vdi.VDISession, until time.Time) error {
	return p.change(ctx, s, func(now *vdi.VDISession) map[string]any {
		if now.Spec.KeepAliveUntil != nil && !now.Spec.KeepAliveUntil.Time.Before(until) {
			return nil
		}
		return map[string]any{"keepAliveUntil": metav1.NewTime(until.UTC().Truncate(time.Second))}
	})
}

// change patches fields of exactly the session that was looked at, in the very
// state in which the decision was made; no fields mean that nothing is to be
// done. After a conflict the decision is made again on the newest state.
func (p patcher) change(ctx context.Context, s *vdi.VDISession, decide func(now *vdi.VDISession) map[string]any) error {
	now, uid := s, s.UID
	for try := 1; ; try++ {
		spec := decide(now)
		if len(spec) == 0 {
			return nil
		}
		err := p.patch(ctx, now, spec)
		if !apierrors.IsConflict(err) || try == maxTries {
			return gone(err)
		}
		now = &vdi.VDISession{}
		if err := p.client.Get(ctx, client.ObjectKeyFromObject(s), now); err != nil {
			return gone(err)
		}
		if now.UID != uid || now.DeletionTimestamp != nil {
			return errGone
		}
	}
}

func (p patcher) patch(ctx context.Context, s *vdi.VDISession, spec map[string]any) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": s.UID, "resourceVersion": s.ResourceVersion},
		"spec":     spec,
	})
	if err != nil {
		return err
	}
	target := &vdi.VDISession{ObjectMeta: metav1.ObjectMeta{Name: s.Name, Namespace: s.Namespace}}
	return p.client.Patch(ctx, target, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(fieldOwner))
}

func gone(err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err):
		return errGone
	}
	return fmt.Errorf("change the session: %w", err)
}
