package ended

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

const lifetime = 20 * time.Minute

var (
	store = Store{Namespace: "vdi", Name: "ended"}
	noon  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

// world is one API server and replicas of the front door.
type world struct {
	t        *testing.T
	api      client.Client
	now      time.Time
	replicas []*replica
	writes   atomic.Int64
	names    int
	// refused is the name of a ConfigMap that cannot be written.
	refused string
}

// replica has a clock of its own, and sees the API server's state of some time ago.
type replica struct {
	*List
	views []*view
}

// view is a watch that is late until it is synced.
type view struct {
	api  client.Client
	key  client.ObjectKey
	seen *corev1.ConfigMap
}

func (v *view) sync(t *testing.T) {
	v.seen = &corev1.ConfigMap{}
	require.NoError(t, v.api.Get(t.Context(), v.key, v.seen))
}

// Get implements client.Reader.
func (v *view) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	v.seen.DeepCopyInto(into.(*corev1.ConfigMap))
	return nil
}

// List implements client.Reader.
func (v *view) List(context.Context, client.ObjectList, ...client.ListOption) error {
	panic("not used")
}

func newWorld(t *testing.T, skews ...time.Duration) *world {
	w := &world{t: t, now: noon}
	keys := []client.ObjectKey{client.ObjectKey(store)}
	for n := range Parts {
		keys = append(keys, store.Part(n))
	}
	build := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			w.writes.Add(1)
			if o.GetName() == w.refused {
				return errors.New("the write is refused")
			}
			return c.Patch(ctx, o, p, opts...)
		},
	})
	for _, key := range keys {
		build = build.WithObjects(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: key.Name, Namespace: key.Namespace}})
	}
	w.api = build.Build()
	for _, skew := range skews {
		r := &replica{List: &List{
			client: w.api, owner: "test", lifetime: lifetime, now: func() time.Time { return w.now.Add(skew) },
			waiting: map[string]*batch{}, written: map[string]time.Time{},
		}}
		for _, key := range keys {
			r.views = append(r.views, &view{api: w.api, key: key})
		}
		r.old = &part{key: keys[0], client: w.api, watch: r.views[0]}
		for n := range r.parts {
			r.parts[n] = &part{key: keys[n+1], client: w.api, watch: r.views[n+1]}
		}
		w.replicas = append(w.replicas, r)
		w.sync(r)
	}
	return w
}

func (w *world) sync(replicas ...*replica) {
	for _, r := range replicas {
		for _, v := range r.views {
			v.sync(w.t)
		}
	}
}

// login begins a login at a replica.
func (w *world) login(r *replica, person string) Login {
	issued, err := r.Stamp(w.t.Context(), person)
	require.NoError(w.t, err)
	w.names++
	return Login{Person: person, Name: fmt.Sprint("login-", w.names), Issued: issued, Until: r.now().Add(lifetime)}
}

func (w *world) ended(r *replica, l Login) bool {
	is, err := r.Ended(w.t.Context(), l)
	require.NoError(w.t, err)
	return is
}

// keys is how many keys there are in all ConfigMaps.
func (w *world) keys() (n int) {
	for i := range Parts {
		found := &corev1.ConfigMap{}
		require.NoError(w.t, w.api.Get(w.t.Context(), store.Part(i), found))
		n += len(found.Data)
	}
	return n
}

// TestLives: whatever replicas do, whose clocks differ and whose watches are late,
// nobody comes in with a login that was ended, everybody comes in with a new one, and
// what is kept is bounded by people.
func TestLives(t *testing.T) {
	t.Parallel()
	people := []string{"alice", "bob", "carol"}
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t, -time.Minute, -time.Minute, 0, time.Minute)
		observer, replicas := w.replicas[0], w.replicas[1:]
		open, closed := map[string][]Login{}, map[string][]Login{}
		for step := range 120 {
			r := replicas[random.IntN(len(replicas))]
			person := people[random.IntN(len(people))]
			switch random.IntN(5) {
			case 0, 1:
				l := w.login(r, person)
				for range 2 {
					for _, other := range w.replicas {
						require.False(t, w.ended(other, l), "seed %d step %d: a new login holds everywhere", seed, step)
					}
					w.sync(replicas[random.IntN(len(replicas))], observer)
				}
				open[person] = append(open[person], l)
			case 2, 3:
				if len(open[person]) > 0 {
					l := open[person][0]
					require.NoError(t, r.end(t.Context(), person, map[string]Login{l.Name: l}))
					require.True(t, w.ended(r, l), "who has ended it knows at once")
					open[person], closed[person] = open[person][1:], append(closed[person], l)
				}
			default:
				w.now = w.now.Add(time.Duration(random.IntN(60)) * time.Second)
				w.sync(r)
			}
			w.sync(observer)
			for _, person := range people {
				open[person], closed[person] = w.sweep(observer, seed, step, open[person], closed[person])
			}
		}
		require.LessOrEqual(t, w.keys(), len(people)*len(replicas)*(maxSingle+1))
	}
}

// sweep looks with the eyes of a replica that is in time: what was ended stays ended as
// long as it would hold, and so does what was ended together with it.
func (w *world) sweep(observer *replica, seed uint64, step int, open, closed []Login) (still, gone []Login) {
	w.t.Helper()
	for _, l := range closed {
		if l.Until.After(observer.now()) {
			require.True(w.t, w.ended(observer, l), "seed %d step %d: %s stays ended", seed, step, l.Name)
			gone = append(gone, l)
		}
	}
	for _, l := range open {
		if w.ended(observer, l) {
			gone = append(gone, l)
		} else {
			still = append(still, l)
		}
	}
	return still, gone
}

// TestEndAll: the seventeenth logout within a login's life ends what began before.
func TestEndAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	r := w.replicas[0]
	other, stranger := w.login(r, "alice"), w.login(r, "bob")
	for range maxSingle {
		l := w.login(r, "alice")
		require.NoError(t, r.end(t.Context(), "alice", map[string]Login{l.Name: l}))
	}
	require.False(t, w.ended(r, other), "each for itself")
	require.Equal(t, maxSingle, w.keys())
	last := w.login(r, "alice")
	require.NoError(t, r.end(t.Context(), "alice", map[string]Login{last.Name: last}))
	require.True(t, w.ended(r, other))
	require.False(t, w.ended(r, stranger))
	require.Equal(t, 1, w.keys())
	require.True(t, w.ended(r, Login{Person: "alice", Name: "of an earlier version"}), "a ticket that does not say when")

	again := w.login(r, "alice")
	require.True(t, again.Issued.After(w.now), "after the moment that ended all")
	require.False(t, w.ended(r, again))

	w.now = w.now.Add(lifetime + slack + time.Second)
	next := w.login(r, "alice")
	require.NoError(t, r.end(t.Context(), "alice", map[string]Login{next.Name: next}))
	require.Equal(t, 1, w.keys(), "what has served its time is forgotten")
}

// TestEarlierVersions: what they wrote still counts.
func TestEarlierVersions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	l := w.login(w.replicas[0], "alice")
	sum := sha256.Sum256([]byte(l.Name))
	list := &corev1.ConfigMap{}
	require.NoError(t, w.api.Get(t.Context(), client.ObjectKey(store), list))
	list.Data = map[string]string{hex.EncodeToString(sum[:16]): fmt.Sprint(l.Until.Unix())}
	require.NoError(t, w.api.Update(t.Context(), list))
	w.sync(w.replicas...)
	require.True(t, w.ended(w.replicas[0], l))
	require.False(t, w.ended(w.replicas[0], w.login(w.replicas[0], "alice")))
}

// TestPace: a person's logouts are written once a second, and each returns when its own
// is written.
func TestPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0)
		r, began := w.replicas[0], time.Now()
		for range 50 {
			l := w.login(r, "alice")
			go func() {
				assert.NoError(t, r.End(t.Context(), l))
				assert.True(t, w.ended(r, l))
			}()
			time.Sleep(100 * time.Millisecond)
		}
		other := w.login(r, "bob")
		before := time.Now()
		require.NoError(t, r.End(t.Context(), other))
		require.Equal(t, before, time.Now(), "nobody waits for another person")
		require.NoError(t, r.End(t.Context(), other))
		synctest.Wait()
		time.Sleep(2 * time.Second)
		require.LessOrEqual(t, w.writes.Load(), int64(time.Since(began)/time.Second)+2)
		require.Empty(t, r.waiting)
		require.LessOrEqual(t, w.keys(), maxSingle+2)
	})
}

// TestLateWatch: what a replica has written itself stays, however late its watch is, unless
// the API server was put back to an earlier state.
func TestLateWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0)
		r := w.replicas[0]
		first, second := w.login(r, "alice"), w.login(r, "alice")
		require.NoError(t, r.End(t.Context(), first))
		early := &corev1.ConfigMap{}
		key := r.partOf("alice").key
		require.NoError(t, w.api.Get(t.Context(), key, early))
		time.Sleep(every)
		require.NoError(t, r.End(t.Context(), second))
		for range 5 {
			require.True(t, w.ended(r, second))
			time.Sleep(patience)
		}
		require.NoError(t, w.api.Delete(t.Context(), early))
		r.partOf("alice").client = fake.NewClientBuilder().WithObjects(early).Build() // keeps the version
		time.Sleep(patience)
		require.False(t, w.ended(r, second))
		require.True(t, w.ended(r, first))
	})
}

// TestShorterLifetime: a logout that was covered by a moment outlives it, where logins
// held longer when it began.
func TestShorterLifetime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0)
		r := w.replicas[0]
		long := w.login(r, "alice")
		long.Until = w.now.Add(24 * lifetime)
		for range maxSingle + 1 {
			l := w.login(r, "alice")
			require.NoError(t, r.end(t.Context(), "alice", map[string]Login{l.Name: l}))
		}
		require.True(t, w.ended(r, long))
		writes := w.writes.Load()
		require.NoError(t, r.End(t.Context(), long))
		require.NoError(t, r.End(t.Context(), long))
		require.Equal(t, writes+1, w.writes.Load())
		w.now = w.now.Add(lifetime + slack + time.Second)
		last := w.login(r, "alice")
		require.NoError(t, r.end(t.Context(), "alice", map[string]Login{last.Name: last})) // forgets the moment
		require.True(t, w.ended(r, long))
	})
}

// TestStamps: logins share requests, each of which begins after they have asked, and wait
// for no API server that hangs.
func TestStamps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0)
		r, p := w.replicas[0], w.replicas[0].partOf("alice")
		var requests atomic.Int64
		answers := time.Second / 2
		p.client = interceptor.NewClient(w.api.(client.WithWatch), interceptor.Funcs{
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
				requests.Add(1)
				err := c.Get(ctx, key, o, opts...) // what it says is as old as the request
				select {
				case <-time.After(answers):
					return err
				case <-ctx.Done():
					return ctx.Err()
				}
			},
		})
		begun, wait := make(chan struct{}), sync.WaitGroup{}
		wait.Go(func() {
			close(begun)
			_, err := r.Stamp(t.Context(), "alice")
			assert.NoError(t, err)
		})
		<-begun
		synctest.Wait() // the first request is under way
		moment := w.now.Add(time.Hour)
		list := &corev1.ConfigMap{}
		require.NoError(t, w.api.Get(t.Context(), p.key, list))
		list.Data = map[string]string{hash("alice") + allKey + fmt.Sprint(moment.UnixMilli()): fmt.Sprint(moment.Add(lifetime).Unix())}
		require.NoError(t, w.api.Update(t.Context(), list))
		for range 2000 {
			wait.Go(func() {
				issued, err := r.Stamp(t.Context(), "alice")
				assert.NoError(t, err)
				assert.True(t, issued.After(moment))
			})
		}
		wait.Wait()
		require.Equal(t, int64(2), requests.Load())

		answers = time.Hour
		began := time.Now()
		_, err := r.Stamp(t.Context(), "alice")
		require.NoError(t, err)
		require.Equal(t, glance, time.Since(began))
	})
}

// TestKeys: names are hashes, and fit into a ConfigMap.
func TestKeys(t *testing.T) {
	t.Parallel()
	l := Login{Person: "alice@example.com", Name: "secret", Issued: noon, Until: noon.Add(lifetime)}
	patch := known{}.end(l.Person, map[string]Login{l.Name: l}, noon, lifetime)
	require.Len(t, patch, 1)
	for key, value := range patch {
		require.Len(t, key, 33)
		require.NotContains(t, key, "alice")
		require.Equal(t, fmt.Sprintf("%d.%d", noon.UnixMilli(), noon.Add(lifetime).Unix()), value)
		require.True(t, parse(map[string]string{key: value.(string)}).has(l))
	}
	require.Empty(t, parse(map[string]string{"x": "1", "a.b": "1", "a.b.c": "x.y", "a.all.x": "1", strings.Repeat("y", 9): ""}))
}

// TestOneMoment: the moment that ends all covers everything that was ended before it,
// for as long, and is forgotten when no replica's clock could let anybody in again.
func TestOneMoment(t *testing.T) {
	t.Parallel()
	moment := func(t time.Time) string { return hash("alice") + allKey + fmt.Sprint(t.UnixMilli()) }
	data := map[string]string{moment(noon.Add(time.Minute)): fmt.Sprint(noon.Add(3 * time.Hour).Unix())}
	logins := map[string]Login{}
	for n := range maxSingle + 1 {
		name := fmt.Sprint(n)
		logins[name] = Login{Person: "alice", Name: name, Issued: noon.Add(-time.Hour), Until: noon.Add(2 * time.Hour)}
	}
	k := parse(data)
	require.Equal(t, map[string]any{moment(noon.Add(time.Minute)): fmt.Sprint(noon.Add(3 * time.Hour).Unix())}, k.end("alice", logins, noon, lifetime))
	require.Equal(t, fmt.Sprint(noon.Add(2*time.Hour).Unix()), known{}.end("alice", logins, noon, lifetime)[moment(noon)])
	require.Equal(t, fmt.Sprint(noon.Add(9*time.Hour).Unix()), known{}.end("alice", logins, noon, 9*time.Hour)[moment(noon)])
	require.Empty(t, k.forget(noon.Add(3*time.Hour+5*time.Minute)))
	require.Len(t, k.forget(noon.Add(3*time.Hour+slack+time.Second)), 1)
}
