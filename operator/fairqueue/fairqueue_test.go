package fairqueue

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/vdi-platform/vdi-platform/operator/retry"
)

// personOf reads the person from names such as alice-3.
func personOf(r reconcile.Request) string {
	var person string
	for i, c := range r.Name {
		if c == '-' {
			person = r.Name[:i]
		}
	}
	return person
}

func desk(namespace, name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}
}

func newTestQueue(t *testing.T) priorityqueue.PriorityQueue[reconcile.Request] {
	t.Helper()
	q := New("", retry.Limiter(), personOf)
	t.Cleanup(q.ShutDown)
	return q
}

// take works at n requests, one after another.
func take(t *testing.T, q priorityqueue.PriorityQueue[reconcile.Request], n int) (names []string) {
	t.Helper()
	for range n {
		item, _, down := q.GetWithPriority()
		require.False(t, down)
		q.Done(item)
		names = append(names, item.Namespace+"/"+item.Name)
	}
	return names
}

func TestNamespacesTakeTurns(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	for i := range 10_000 {
		q.Add(desk("flood", fmt.Sprintf("mallory%d-0", i))) // as many people as sessions
	}
	q.Add(desk("quiet", "alice-0"))
	q.Add(desk("quiet", "alice-1"))
	q.Add(desk("calm", "bob-0"))
	require.Equal(t, []string{"flood/mallory0-0", "quiet/alice-0", "calm/bob-0", "flood/mallory1-0", "quiet/alice-1", "flood/mallory2-0", "flood/mallory3-0"}, take(t, q, 7))
	require.Equal(t, 10_003-7, q.Len())
}

func TestPeopleTakeTurns(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	for i := range 10_000 {
		q.Add(desk("shared", fmt.Sprintf("mallory-%d", i)))
	}
	q.Add(desk("shared", "alice-0"))
	q.Add(desk("shared", "bob-0"))
	require.Equal(t, []string{"shared/mallory-0", "shared/alice-0", "shared/bob-0", "shared/mallory-1", "shared/mallory-2"}, take(t, q, 5))
}

func TestWhatIsDueWaitsItsTurn(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	for i := range 100 {
		q.AddAfter(desk("flood", fmt.Sprintf("mallory-%d", i)), time.Microsecond)
	}
	require.Eventually(t, func() bool { return q.Len() == 100 }, time.Minute, time.Millisecond)
	q.Add(desk("quiet", "alice-0"))
	require.Equal(t, "quiet/alice-0", take(t, q, 2)[1])
}

func TestOneAtATimeAndAgain(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	q.Add(desk("a", "alice-0"))
	q.Add(desk("a", "alice-0"))
	item, _, _ := q.GetWithPriority()
	require.Zero(t, q.Len(), "it waits once")
	q.Add(item)
	require.Zero(t, q.Len(), "nobody works at it twice at a time")
	q.Done(item)
	require.Equal(t, []string{"a/alice-0"}, take(t, q, 1))
}

// TestStart: what is there when an operator starts lets pass whatever happens meanwhile.
func TestStart(t *testing.T) {
	t.Parallel()
	q, low := newTestQueue(t), priorityqueue.AddOpts{Priority: new(handler.LowPriority)}
	for i := range 100 {
		q.AddWithOpts(low, desk("a", fmt.Sprintf("person%d-0", i)))
	}
	q.Add(desk("a", "new-0"))
	q.Add(desk("a", "person50-0")) // something has happened to it
	require.Equal(t, []string{"a/new-0", "a/person50-0", "a/person0-0"}, take(t, q, 3))
	require.Equal(t, 98, q.Len())

	q.AddWithOpts(low, desk("a", "new-0"))
	q.AddWithOpts(priorityqueue.AddOpts{}, desk("a", "newer-0"))
	require.Equal(t, []string{"a/newer-0"}, take(t, q, 1))
	seen := map[string]int{}
	for _, name := range take(t, q, q.Len()) {
		seen[name]++
	}
	require.Len(t, seen, 99, "nothing is lost")
	require.Equal(t, 1, seen["a/new-0"])
	require.Zero(t, seen["a/person50-0"], "and nothing is there twice")
	require.Zero(t, q.Len())
}

// TestWantedWhileWorkedAt: what happens to a session during its pass is not put behind what
// was there at the start by an event of that kind.
func TestWantedWhileWorkedAt(t *testing.T) {
	t.Parallel()
	q, low := newTestQueue(t), priorityqueue.AddOpts{Priority: new(handler.LowPriority)}
	q.Add(desk("a", "alice-0"))
	item, _, _ := q.GetWithPriority()
	q.Add(item)
	q.AddWithOpts(low, item)
	q.AddWithOpts(low, desk("a", "bob-0"))
	q.Done(item)
	require.Equal(t, []string{"a/alice-0", "a/bob-0"}, take(t, q, 2))
	q.AddWithOpts(low, desk("a", "bob-0"), item)
	q.Add(desk("a", "carol-0"))
	require.Equal(t, []string{"a/carol-0", "a/bob-0", "a/alice-0"}, take(t, q, 3), "once alone")
}

// TestDueAmongThoseOfTheStart: what comes due while it waits among those that were there at
// the start goes before them, as what is new does.
func TestDueAmongThoseOfTheStart(t *testing.T) {
	t.Parallel()
	clock, low := clocktesting.NewFakeClock(time.Now()), priorityqueue.AddOpts{Priority: new(handler.LowPriority)}
	q := newQueue("", retry.Limiter(), personOf, clock)
	t.Cleanup(q.ShutDown)
	q.AddWithOpts(low, desk("a", "alice-0"), desk("a", "bob-0"), desk("a", "carol-0"))
	q.AddAfter(desk("a", "carol-0"), time.Second)
	q.AddAfter(desk("a", "new-0"), 2*time.Second) // when it is there, carol's has come due
	require.Eventually(t, clock.HasWaiters, time.Minute, time.Millisecond)
	clock.Step(2 * time.Second)
	require.Eventually(t, func() bool { return q.Len() == 4 }, time.Minute, time.Millisecond)
	require.Equal(t, []string{"a/carol-0", "a/new-0", "a/alice-0", "a/bob-0"}, take(t, q, 4))
	require.Zero(t, q.Len())
}

// TestTriedAgainAmongThoseOfTheStart: so does what is to be tried again at once.
func TestTriedAgainAmongThoseOfTheStart(t *testing.T) {
	t.Parallel()
	q, low := newTestQueue(t), priorityqueue.AddOpts{Priority: new(handler.LowPriority)}
	q.AddWithOpts(low, desk("a", "alice-0"), desk("a", "bob-0"))
	q.AddAfter(desk("a", "bob-0"), 0)
	require.Equal(t, []string{"a/bob-0", "a/alice-0"}, take(t, q, 2))
}

// TestRaisedOnce: an event leaves no mark behind that would raise the next one.
func TestRaisedOnce(t *testing.T) {
	t.Parallel()
	q, low := newTestQueue(t), priorityqueue.AddOpts{Priority: new(handler.LowPriority)}
	q.Add(desk("a", "alice-0"))
	require.Equal(t, []string{"a/alice-0"}, take(t, q, 1))
	q.AddWithOpts(low, desk("a", "bob-0"), desk("a", "alice-0"))
	q.Add(desk("a", "new-0"))
	require.Equal(t, []string{"a/new-0", "a/bob-0", "a/alice-0"}, take(t, q, 3))
}

func TestTriesAgainLater(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	q.AddWithOpts(priorityqueue.AddOpts{RateLimited: true, Priority: new(0)}, desk("a", "alice-0"))
	require.Equal(t, 1, q.NumRequeues(desk("a", "alice-0")))
	require.Equal(t, []string{"a/alice-0"}, take(t, q, 1))
	q.AddWithOpts(priorityqueue.AddOpts{After: time.Millisecond, Priority: new(0)}, desk("a", "alice-0"))
	require.Equal(t, []string{"a/alice-0"}, take(t, q, 1))
}

func BenchmarkQueue(b *testing.B) {
	q := New("", retry.Limiter(), personOf)
	defer q.ShutDown()
	for i := range 10_000 {
		q.Add(desk("flood", fmt.Sprintf("mallory-%d", i)))
	}
	for b.Loop() {
		q.Add(desk("quiet", "alice-0"))
		item, _, _ := q.GetWithPriority()
		q.Done(item)
		q.Add(item)
	}
}
