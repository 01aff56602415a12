package frontdoor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/portal"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// errGone: the session that a visitor looked at is not there any more.
var errGone = errors.New("the session is gone")

// fieldOwner names the front door in managed fields.
const fieldOwner = wire.FrontDoor

// writePatience bounds how long an act may take at an API server that does not answer.
const writePatience = 10 * time.Second

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
	return p.change(ctx, s, func(now *vdi.VDISession) (fields, error) {
		spec := map[string]any{}
		switch {
		case now.Spec.RunPolicy == vdi.RunPolicySuspended:
			spec["runPolicy"] = vdi.RunPolicyRunning
		case !waitsForGroups(now):
			return fields{}, nil
		}
		if groups != nil && !sameGroups(now.Spec.Groups, groups) {
			spec["groups"] = groups
		}
		return fields{spec: spec}, nil
	})
}

// KeepAlive never brings an end nearer.
func (p patcher) KeepAlive(ctx context.Context, s *vdi.VDISession, until time.Time) error {
	return p.change(ctx, s, func(now *vdi.VDISession) (fields, error) {
		if now.Spec.KeepAliveUntil != nil && !now.Spec.KeepAliveUntil.Time.Before(until) {
			return fields{}, nil
		}
		return fields{spec: map[string]any{"keepAliveUntil": metav1.NewTime(until.UTC().Truncate(time.Second))}}, nil
	})
}

// Suspend also ends a wait for a start.
func (p patcher) Suspend(ctx context.Context, s *vdi.VDISession) error {
	return p.change(ctx, s, func(now *vdi.VDISession) (fields, error) {
		if now.Spec.RunPolicy == vdi.RunPolicySuspended {
			return fields{}, nil
		}
		return requested(now, map[string]any{"runPolicy": vdi.RunPolicySuspended}), nil
	})
}

// Rename changes what people see.
func (p patcher) Rename(ctx context.Context, s *vdi.VDISession, name string) error {
	return p.change(ctx, s, func(now *vdi.VDISession) (fields, error) {
		if now.Spec.DisplayName == name {
			return fields{}, nil
		}
		return requested(now, map[string]any{"displayName": name}), nil
	})
}

// Grow never makes a home smaller.
func (p patcher) Grow(ctx context.Context, s *vdi.VDISession, size vdi.Quantity) error {
	return p.change(ctx, s, func(now *vdi.VDISession) (fields, error) {
		if !portal.IsLarger(size, now.Spec.Persistence.Size) {
			return fields{}, nil
		}
		return requested(now, map[string]any{"persistence": map[string]any{"size": size}}), nil
	})
}

// KeepHome changes the claim in the very state in which it was looked at.
func (p patcher) KeepHome(ctx context.Context, claim types.NamespacedName, version string, keep time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	var value any // none: for ever
	if keep > 0 {
		value = keep.String()
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": version, "annotations": map[string]any{wire.AnnotationRetainFor: value},
	}})
	if err != nil {
		return err
	}
	target := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: claim.Name, Namespace: claim.Namespace}}
	err = p.client.Patch(ctx, target, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(fieldOwner))
	if apierrors.IsConflict(err) {
		return nil // its desktop is back, or the operator has marked it: the page shows that
	}
	return gone(err)
}

// Create makes a session.
func (p patcher) Create(ctx context.Context, s *vdi.VDISession) error {
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	if err := p.client.Create(ctx, s, client.FieldOwner(fieldOwner)); err != nil {
		return fmt.Errorf("make the session: %w", err)
	}
	return nil
}

// Delete writes first for whom it is, and then deletes exactly what it has judged: whatever
// changes in between is judged again.
func (p patcher) Delete(ctx context.Context, s *vdi.VDISession, allowed func(now *vdi.VDISession) error) error {
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	for try := 1; ; try++ {
		now, err := p.changed(ctx, s, func(now *vdi.VDISession) (fields, error) {
			if err := allowed(now); err != nil || now.Annotations[wire.AnnotationRequestedBy] == now.Spec.User {
				return fields{}, err
			}
			return requested(now, nil), nil
		})
		if err != nil {
			return err
		}
		err = p.client.Delete(ctx, now, client.Preconditions{UID: &now.UID, ResourceVersion: &now.ResourceVersion})
		if !apierrors.IsConflict(err) || try == maxTries {
			return gone(err)
		}
		if s, err = p.newest(ctx, s); err != nil {
			return err
		}
	}
}

// fields are what a decision changes; none where there is nothing to do.
type fields struct{ spec, annotations map[string]any }

// requested are fields of a session that change for its user.
func requested(s *vdi.VDISession, spec map[string]any) fields {
	return fields{spec: spec, annotations: map[string]any{wire.AnnotationRequestedBy: s.Spec.User}}
}

func (p patcher) change(ctx context.Context, s *vdi.VDISession, decide func(now *vdi.VDISession) (fields, error)) error {
	_, err := p.changed(ctx, s, decide)
	return err
}

// changed patches fields of exactly the session that was looked at, in the very state in
// which the decision was made, and returns it as it is then. After a conflict the decision is
// made again on the newest state.
func (p patcher) changed(ctx context.Context, s *vdi.VDISession, decide func(now *vdi.VDISession) (fields, error)) (*vdi.VDISession, error) {
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	now := s
	for try := 1; ; try++ {
		change, err := decide(now)
		if err != nil || len(change.spec)+len(change.annotations) == 0 {
			return now, err
		}
		after, err := p.patch(ctx, now, change)
		if !apierrors.IsConflict(err) || try == maxTries {
			return after, gone(err)
		}
		if now, err = p.newest(ctx, s); err != nil {
			return nil, err
		}
	}
}

// newest is a session as it is now, as long as it is the same one and is not being deleted.
func (p patcher) newest(ctx context.Context, s *vdi.VDISession) (*vdi.VDISession, error) {
	now := &vdi.VDISession{}
	if err := p.client.Get(ctx, client.ObjectKeyFromObject(s), now); err != nil {
		return nil, gone(err)
	}
	if now.UID != s.UID || now.DeletionTimestamp != nil {
		return nil, errGone
	}
	return now, nil
}

func (p patcher) patch(ctx context.Context, s *vdi.VDISession, change fields) (*vdi.VDISession, error) {
	metadata, body := map[string]any{"uid": s.UID, "resourceVersion": s.ResourceVersion}, map[string]any{}
	if len(change.annotations) > 0 {
		metadata["annotations"] = change.annotations
	}
	if len(change.spec) > 0 {
		body["spec"] = change.spec
	}
	body["metadata"] = metadata
	patch, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	target := &vdi.VDISession{ObjectMeta: metav1.ObjectMeta{Name: s.Name, Namespace: s.Namespace}}
	err = p.client.Patch(ctx, target, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(fieldOwner))
	return target, err
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
