package ended

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

var (
	account = Account{Provider: "https://login.example.com", Subject: "1"}
	another = Account{Provider: account.Provider, Subject: "2"}
)

func (w *world) pin(r *replica, person string, a Account) bool {
	w.t.Helper()
	same, err := r.Pin(w.t.Context(), person, a, true)
	require.NoError(w.t, err)
	return same
}

// A name stays with the account that first came by it, whichever replica is asked and
// however late its watch is, until it is forgotten.
func TestPin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 0)
	one, two := w.replicas[0], w.replicas[1]
	assert.True(t, w.pin(one, "alice", account))
	assert.False(t, w.pin(two, "alice", another), "its watch has not seen the pin yet")
	assert.True(t, w.pin(two, "alice", account))
	assert.True(t, w.pin(one, "alice", account))
	assert.True(t, w.pin(one, "bob", another))
	assert.EqualValues(t, 3, w.writes.Load(), "one for each person, and one that came too late")

	old := w.login(one, "alice")
	forgotten, err := Forget(t.Context(), w.api, "test", store, "alice", w.now, lifetime)
	require.NoError(t, err)
	assert.True(t, forgotten)
	w.sync(one, two)
	assert.True(t, w.ended(one, old), "who had the name is out")
	assert.True(t, w.pin(one, "alice", another))
	assert.False(t, w.pin(two, "alice", account))
	assert.False(t, w.ended(two, w.login(two, "alice")))
	forgotten, err = Forget(t.Context(), w.api, "test", store, "nobody", w.now, lifetime)
	require.NoError(t, err)
	assert.False(t, forgotten)
}

// Another provider, or another client of it, names everybody otherwise: nobody is
// locked out by that.
func TestPinOfAnotherProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	r := w.replicas[0]
	assert.True(t, w.pin(r, "alice", account))
	later := Account{Provider: "https://other.example.com", Subject: "x"}
	assert.True(t, w.pin(r, "alice", later))
	assert.False(t, w.pin(r, "alice", Account{Provider: later.Provider, Subject: account.Subject}))
	assert.Equal(t, 1, w.keys())
}

// All logins of an account end, whoever's clock they were stamped by, and those that
// begin afterwards hold.
func TestEndAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 30*time.Second)
	here, ahead := w.replicas[0], w.replicas[1]
	require.True(t, w.pin(here, "alice", account))
	require.True(t, w.pin(here, "alice@work", account)) // the claim has changed meanwhile
	require.True(t, w.pin(here, "bob", another))
	w.sync(here, ahead)
	logins := []Login{w.login(here, "alice"), w.login(ahead, "alice"), w.login(here, "alice@work")}
	others := w.login(here, "bob")
	ended := w.now.Add(time.Minute)
	for n, r := range []*replica{here, ahead, here} { // a message that comes again
		wrote, err := r.EndAccount(t.Context(), account, ended)
		require.NoError(t, err)
		assert.Equal(t, n == 0, wrote)
	}
	w.sync(here, ahead)
	for _, r := range w.replicas {
		for _, l := range logins {
			assert.True(t, w.ended(r, l), l.Name)
		}
		assert.False(t, w.ended(r, others))
		assert.False(t, w.ended(r, w.login(r, "alice")))
	}
	assert.Equal(t, 5, w.keys(), "three pins and two moments")
	single := w.login(here, "alice")
	require.NoError(t, here.end(t.Context(), "alice", map[string]Login{single.Name: single}))
	holds, err := here.Holds(t.Context(), "alice", account)
	require.NoError(t, err)
	assert.True(t, holds, "logouts leave pins alone")

	w.now = w.now.Add(lifetime + slack + time.Hour)
	last := w.login(here, "alice")
	require.NoError(t, here.end(t.Context(), "alice", map[string]Login{last.Name: last}))
	wrote, err := here.EndAccount(t.Context(), another, w.now)
	require.NoError(t, err)
	assert.True(t, wrote)
	assert.True(t, w.pin(here, "alice", account), "a pin is for good")
	list := &corev1.ConfigMap{}
	require.NoError(t, w.api.Get(t.Context(), here.partOf("alice").key, list))
	for key := range list.Data {
		assert.NotContains(t, key, "alice", "keys are hashes")
	}
}

// What is not to be kept is compared all the same, and writes nothing.
func TestPinThatIsNotKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	r := w.replicas[0]
	for _, a := range []Account{account, another} {
		same, err := r.Pin(t.Context(), "nobody", a, false)
		require.NoError(t, err)
		assert.True(t, same)
	}
	assert.Zero(t, w.writes.Load())
	assert.True(t, w.pin(r, "alice", account))
	for a, want := range map[Account]bool{account: true, another: false} {
		same, err := r.Pin(t.Context(), "alice", a, false)
		require.NoError(t, err)
		assert.Equal(t, want, same)
	}
}

// A logout may come at once behind the login that binds a name, at another replica.
func TestEndAccountThatWasJustPinned(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 0)
	here, late := w.replicas[0], w.replicas[1]
	require.True(t, w.pin(here, "alice", account))
	wrote, err := late.EndAccount(t.Context(), account, w.now.Add(time.Minute))
	require.NoError(t, err)
	assert.True(t, wrote, "its watch has not seen the pin yet")
	holds, err := late.Holds(t.Context(), "alice", account)
	require.NoError(t, err)
	assert.True(t, holds)
}
