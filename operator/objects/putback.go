package objects

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/csaupgrade"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

// PutBack makes a live object as rendered, also removing fields that are no longer
// rendered or that somebody else added to the spec. It returns the object as it is then,
// nil where that is not known, and whether anything was changed, also with an error.
func (s Store) PutBack(ctx context.Context, rendered, live *unstructured.Unstructured) (now *unstructured.Unstructured, changed bool, err error) {
	found := live.GetResourceVersion()
	defer func() {
		if changed {
			logf.FromContext(ctx).Info("put back", "kind", rendered.GetKind(), "name", rendered.GetName())
		}
	}()
	if err := s.removeAdded(ctx, rendered, live); err != nil {
		return nil, false, err
	}
	changed = live.GetResourceVersion() != found
	if err := s.upgradeOwnership(ctx, live); err != nil {
		return nil, changed, err
	}
	wanted := rendered.DeepCopy()
	wanted.SetUID(live.GetUID()) // never an object that took this one's place meanwhile
	if err := s.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(wanted), s.Owner, client.ForceOwnership); err != nil {
		return nil, changed, err
	}
	return wanted, changed || wanted.GetResourceVersion() != found, nil
}

// removeAdded removes from the spec what was not rendered. The apply that
// follows cannot: the fields belong to somebody else, and where a whole map is
// left empty (the route's "tls: {}") the API server would make it null.
func (s Store) removeAdded(ctx context.Context, rendered, live *unstructured.Unstructured) error {
	if !hasMore(rendered.Object, live.Object) {
		return nil
	}
	before := live.DeepCopy()
	live.Object[contentField(rendered.Object)] = runtime.DeepCopyJSON(specWithServerFields(rendered.Object, live.Object))
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	return s.Client.Patch(ctx, live, patch, s.Owner)
}

// upgradeOwnership makes the fields of the first creation ours to remove: they
// belong to an "Update" entry, which has to become an "Apply" entry.
func (s Store) upgradeOwnership(ctx context.Context, live *unstructured.Unstructured) error {
	owner := string(s.Owner)
	patch, err := csaupgrade.UpgradeManagedFieldsPatch(live, sets.New(owner), owner)
	if err == nil && patch != nil {
		err = s.Client.Patch(ctx, live, client.RawPatch(types.JSONPatchType, patch))
	}
	if err != nil {
		return &OwnershipError{err}
	}
	return nil
}

// OwnershipError says that the fields of an object are not ours yet; it passes by itself.
type OwnershipError struct{ Err error }

// Error says what failed.
func (e *OwnershipError) Error() string { return fmt.Sprintf("upgrade field ownership: %v", e.Err) }

// Unwrap is the API server's answer.
func (e *OwnershipError) Unwrap() error { return e.Err }
