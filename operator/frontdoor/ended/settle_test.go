package ended

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func (w *world) settle(r *replica, now map[string]Account) func(person string) bool {
	w.t.Helper()
	changed, err := r.Settle(w.t.Context(), account.Provider, now)
	require.NoError(w.t, err)
	return changed
}

// Whoever has another account now, or none, is out in all replicas, whoever's clock their
// logins were stamped by; a replica that does not know it yet lets nobody in by the old
// account, and everybody else goes on.
func TestSettle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 30*time.Second)
	here, ahead := w.replicas[0], w.replicas[1]
	elsewhere := Account{Provider: "https://other.example.com", Subject: "1"}
	for person, a := range map[string]Account{"alice": account, "bob": account, "carol": account, "dave": elsewhere} {
		require.True(t, w.pin(here, person, a))
	}
	w.sync(here, ahead)
	logins := map[string]Login{}
	for _, person := range []string{"alice", "bob", "carol", "dave"} {
		logins[person] = w.login(ahead, person)
	}

	now := map[string]Account{"alice": account, "bob": another, "new": another}
	writes := w.writes.Load()
	changed := w.settle(here, now)
	for person, out := range map[string]bool{"alice": false, "bob": true, "carol": true, "dave": false, "new": false} {
		assert.Equal(t, out, changed(person), person)
	}
	assert.LessOrEqual(t, w.writes.Load()-writes, int64(2), "one for each ConfigMap at most")
	w.sync(here, ahead)
	for person, login := range logins {
		for _, r := range []*replica{here, ahead} {
			assert.Equal(t, changed(person), w.ended(r, login), person)
		}
	}
	assert.False(t, w.pin(ahead, "bob", account), "the replica that is late")
	assert.False(t, w.pin(ahead, "carol", account))
	assert.True(t, w.pin(ahead, "bob", another))
	assert.False(t, w.ended(here, w.login(here, "bob")), "a login that begins afterwards")

	changed = w.settle(ahead, now)
	for person := range logins {
		assert.False(t, changed(person), "again changes nothing: %s", person)
	}
	now["carol"] = account
	assert.True(t, w.settle(here, now)("carol"))
	assert.True(t, w.pin(here, "carol", account), "back on the list")
	assert.True(t, w.ended(here, logins["carol"]), "what came by the login before stays ended")
}
