// Package retry says when work is done again: what failed, and what changes often.
package retry

import (
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Bounds of the time between two tries of a piece of work that fails; it doubles
// with each failure in a row. An outage is over for everybody a minute after it.
const (
	First = 5 * time.Millisecond
	Last  = time.Minute
)

// Limiter is what the operator's controllers wait by. Each needs one of its own.
func Limiter() workqueue.TypedRateLimiter[reconcile.Request] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](First, Last)
}
