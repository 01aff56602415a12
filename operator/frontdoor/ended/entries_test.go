package ended

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func (w *world) bind(r *replica, person, entry string) bool {
	w.t.Helper()
	theirs, err := r.Bind(w.t.Context(), person, entry)
	require.NoError(w.t, err)
	return theirs
}

func (w *world) settle(r *replica, entries map[string]string) func(person string) bool {
	w.t.Helper()
	changed, err := r.Settle(w.t.Context(), entries)
	require.NoError(w.t, err)
	return changed
}

// Whoever has another entry now, or none, is out in all replicas, whoever's clock their
// logins were stamped by; a replica that does not know it yet lets nobody in by the old
// entry, and everybody else goes on.
func TestSettle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 30*time.Second)
	here, ahead := w.replicas[0], w.replicas[1]
	for _, person := range []string{"alice", "bob", "carol"} {
		require.True(t, w.bind(here, person, "old"))
	}
	require.True(t, w.pin(here, "dave", account))
	w.sync(here, ahead)
	logins := map[string]Login{}
	for _, person := range []string{"alice", "bob", "carol", "dave"} {
		logins[person] = w.login(ahead, person)
	}

	now := map[string]string{"alice": "old", "bob": "new", "erin": "new"}
	writes := w.writes.Load()
	changed := w.settle(here, now)
	for person, out := range map[string]bool{"alice": false, "bob": true, "carol": true, "dave": false, "erin": false} {
		assert.Equal(t, out, changed(person), person)
	}
	assert.LessOrEqual(t, w.writes.Load()-writes, int64(2), "one for each ConfigMap at most")
	w.sync(here, ahead)
	for person, login := range logins {
		for _, r := range []*replica{here, ahead} {
			assert.Equal(t, changed(person), w.ended(r, login), person)
		}
	}
	assert.False(t, w.bind(ahead, "bob", "old"), "the replica that is late")
	assert.False(t, w.bind(ahead, "carol", "old"))
	assert.True(t, w.bind(ahead, "bob", "new"))
	assert.False(t, w.ended(here, w.login(here, "bob")), "a login that begins afterwards")

	changed = w.settle(ahead, now)
	for person := range logins {
		assert.False(t, changed(person), "again changes nothing: %s", person)
	}
	now["carol"] = "old"
	assert.True(t, w.settle(here, now)("carol"))
	assert.True(t, w.bind(here, "carol", "old"), "back on the list")
	assert.True(t, w.ended(here, logins["carol"]), "what came by the login before stays ended")
	assert.True(t, w.pin(here, "dave", account))
	assert.False(t, w.pin(here, "dave", another), "accounts at a provider are left alone")
}

// What cannot be written for one keeps nobody else in, and whose logins have ended is
// reported all the same.
func TestSettleWithoutOnePart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	r := w.replicas[0]
	people := []string{"alice", "bob", "carol", "dave", "eve"}
	logins := map[string]Login{}
	for _, person := range people {
		require.True(t, w.bind(r, person, "old"))
		logins[person] = w.login(r, person)
	}
	w.refused = r.partOf("alice").key.Name
	changed, err := r.Settle(t.Context(), nil)
	require.ErrorContains(t, err, w.refused)
	elsewhere := 0
	for _, person := range people {
		if r.partOf(person) != r.partOf("alice") {
			elsewhere++
			assert.True(t, changed(person), person)
			assert.True(t, w.ended(r, logins[person]), person)
		}
	}
	require.Positive(t, elsewhere)
	assert.False(t, w.ended(r, logins["alice"]))

	w.refused = ""
	assert.True(t, w.settle(r, nil)("alice"))
	assert.True(t, w.ended(r, logins["alice"]))
}

// A name that was bound otherwise is one's own again when every replica must have the same
// list: a replica that was late, and has gone, keeps nobody out.
func TestBindIsLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	r := w.replicas[0]
	require.True(t, w.bind(r, "alice", "old"))
	login := w.login(r, "alice")
	for _, c := range []struct {
		wait          time.Duration
		bound, lately bool
	}{{0, true, true}, {ListLag - time.Second, true, true}, {time.Second, true, false}} {
		w.now = w.now.Add(c.wait)
		bound, lately, err := r.IsBound(t.Context(), "alice", "old")
		require.NoError(t, err)
		assert.Equal(t, c.bound, bound)
		assert.Equal(t, c.lately, lately, c.wait)
		assert.Equal(t, !c.lately, w.bind(r, "alice", "new"), "%s", c.wait)
		assert.Equal(t, !c.lately, w.ended(r, login), "%s: what came by the old entry", c.wait)
	}
	assert.False(t, w.ended(r, w.login(r, "alice")), "a login that begins afterwards")
	w.now = w.now.Add(-2 * ListLag)
	assert.True(t, w.bind(r, "alice", "newer"), "a clock far ahead keeps nobody out")
	w.now = w.now.Add(2 * ListLag)
	forgotten, err := Forget(t.Context(), w.api, "test", store, "alice", w.now, lifetime)
	require.NoError(t, err)
	assert.True(t, forgotten)
	w.sync(r)
	assert.True(t, w.bind(r, "alice", "any"))
	bound, _, err := r.IsBound(t.Context(), "alice", "old")
	require.NoError(t, err)
	assert.False(t, bound)
	bound, _, err = r.IsBound(t.Context(), "nobody", "")
	require.NoError(t, err)
	assert.False(t, bound)
}
