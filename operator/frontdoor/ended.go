package frontdoor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// EndedStore is the ConfigMap where all replicas keep logins that were ended
// before their time. The chart makes it; the front door changes only its data.
type EndedStore client.ObjectKey

// Ended knows logins that were ended before their time, in every replica.
type Ended interface {
	// Ended says whether a login was ended.
	Ended(ctx context.Context, login string) (bool, error)
	// End ends a login, which would hold until a time.
	End(ctx context.Context, login string, until time.Time) error
}

// maxEnded bounds the ConfigMap, which may have 1 MiB. More logouts than that
// within the life of a login push out those that would expire first.
const maxEnded = 8000

// ending writes ended logins to the ConfigMap and reads them from the watch.
type ending struct {
	*Watched
	client client.Client
	now    func() time.Time
}

// NewEnded returns the list of ended logins. Its client must not read from a
// cache.
func NewEnded(w *Watched, c client.Client, now func() time.Time) Ended { return ending{w, c, now} }

// endedKey keeps the login's name out of the ConfigMap: who can read that
// learns nothing to use.
func endedKey(login string) string {
	sum := sha256.Sum256([]byte(login))
	return hex.EncodeToString(sum[:16])
}

// End adds one key by a merge patch, so that replicas never meet, and removes
// keys that have served their time.
func (e ending) End(ctx context.Context, login string, until time.Time) error {
	list := &corev1.ConfigMap{}
	if err := e.cache.Get(ctx, client.ObjectKey(e.Watched.ended), list); err != nil {
		return fmt.Errorf("read ended logins: %w", err)
	}
	data := expired(list.Data, e.now(), maxEnded)
	data[endedKey(login)] = strconv.FormatInt(until.Unix(), 10)
	patch, err := json.Marshal(map[string]any{"data": data})
	if err != nil {
		return err
	}
	target := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: list.Name, Namespace: list.Namespace}}
	if err := e.client.Patch(ctx, target, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(fieldOwner)); err != nil {
		return fmt.Errorf("write ended login: %w", err)
	}
	return nil
}

// expired returns a merge patch that removes logins that would have expired by
// themselves, and enough of those that will soon that there is room for one more.
func expired(data map[string]string, now time.Time, room int) map[string]any {
	patch := map[string]any{}
	soonest, left := "", 0
	for key, text := range data {
		until, err := strconv.ParseInt(text, 10, 64)
		if err != nil || !now.Before(time.Unix(until, 0)) {
			patch[key] = nil
			continue
		}
		left++
		if soonest == "" || text < data[soonest] {
			soonest = key
		}
	}
	if left >= room {
		patch[soonest] = nil
	}
	return patch
}
