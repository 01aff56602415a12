package frontdoor

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// StatementKeysStore is the ConfigMap where the front door publishes its statement keys:
// file name to PEM. The chart makes it, the operator hands its content to the
// agents of all sessions. Nobody needs to read the Secret with the private ones.
type StatementKeysStore client.ObjectKey

// Publish makes the ConfigMap hold exactly the statement keys of k, also those that
// are not used yet: agents must know a key before the first statement comes.
func (k Keys) Publish(ctx context.Context, c client.Client, store StatementKeysStore) error {
	found := &corev1.ConfigMap{}
	if err := c.Get(ctx, client.ObjectKey(store), found); err != nil {
		return fmt.Errorf("read the statement keys published before: %w", err)
	}
	if maps.Equal(found.Data, k.statementKeys) {
		return nil
	}
	data := map[string]any{}
	for name := range found.Data {
		data[name] = nil
	}
	for name, text := range k.statementKeys {
		data[name] = text
	}
	patch, err := json.Marshal(map[string]any{"data": data})
	if err != nil {
		return err
	}
	target := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: found.Name, Namespace: found.Namespace}}
	if err := c.Patch(ctx, target, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(fieldOwner)); err != nil {
		return fmt.Errorf("publish the statement keys: %w", err)
	}
	return nil
}

// newPublisher publishes the statement keys at the start and whenever they are others.
func newPublisher(store StatementKeysStore, keys func() Keys, c client.Client, log *slog.Logger) *follower {
	return newFollower(
		func(ctx context.Context) error { return keys().Publish(ctx, c, store) },
		func(err error) {
			log.Error("the statement keys cannot be published to the operator", "configMap", store.Name, "error", err.Error())
		},
	)
}
