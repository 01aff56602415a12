package frontdoor

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
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

// publisher publishes the statement keys at the start and whenever they are others.
type publisher struct {
	client  client.Client
	store   StatementKeysStore
	keys    func() Keys
	changed chan struct{}
	log     *slog.Logger
}

// enqueue asks for another look at the keys. It never waits.
func (p *publisher) enqueue() {
	select {
	case p.changed <- struct{}{}:
	default: // one look is due anyway
	}
}

// run publishes the keys until the context ends. What does not work is tried again,
// less and less often: people can be let in meanwhile.
func (p *publisher) run(ctx context.Context) error {
	for {
		backoff := wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.1, Steps: 1 << 30, Cap: time.Minute}
		err := wait.ExponentialBackoffWithContext(ctx, backoff, func(ctx context.Context) (bool, error) {
			err := p.keys().Publish(ctx, p.client, p.store)
			if err != nil && ctx.Err() == nil {
				p.log.Error("the statement keys cannot be published to the operator", "configMap", p.store.Name, "error", err.Error())
			}
			return err == nil, nil
		})
		if err != nil {
			return nil //nolint:nilerr // the context has ended
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.changed:
		}
	}
}
