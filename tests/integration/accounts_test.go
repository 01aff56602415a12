package integration

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/operator/frontdoor"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/ended"
)

// TestNamesStayWithAccounts: with its own rights, each replica of the front door binds a
// name to the account that first came by it, ends an account's logins, and lets a name
// go when an administrator says so.
func TestNamesStayWithAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cluster := w.asFrontDoor()
	store := ended.Store{Namespace: w.ns, Name: frontdoor.DefaultEndedLogins}
	replica := func() *ended.List {
		c, err := client.New(cluster, client.Options{})
		require.NoError(t, err)
		list, err := ended.NewList(cluster, c, doorName, store, time.Hour, time.Now)
		require.NoError(t, err)
		go func() { assert.NoError(t, list.Start(w.ctx)) }()
		require.True(t, list.Ready(w.ctx))
		return list
	}
	one, two := replica(), replica()
	const person = "user alice@example.com" // as the front door names people
	account := ended.Account{Provider: "https://login.example.com", Subject: "1"}
	other := ended.Account{Provider: account.Provider, Subject: "2"}
	pin := func(l *ended.List, a ended.Account) bool {
		t.Helper()
		same, err := l.Pin(w.ctx, person, a, true)
		require.NoError(t, err)
		return same
	}
	assert.True(t, pin(one, account))
	assert.False(t, pin(two, other))
	assert.True(t, pin(two, account))

	login := func(name string) ended.Login {
		t.Helper()
		issued, err := two.Stamp(w.ctx, person)
		require.NoError(t, err)
		return ended.Login{Person: person, Name: name, Issued: issued, Until: time.Now().Add(time.Hour)}
	}
	isEnded := func(l *ended.List, login ended.Login) bool {
		t.Helper()
		is, err := l.Ended(w.ctx, login)
		require.NoError(t, err)
		return is
	}
	before := login("before")
	assert.False(t, isEnded(one, before))
	until := time.Now().Add(time.Minute)
	for _, first := range []bool{true, false} {
		wrote, err := one.EndAccount(w.ctx, account, until)
		require.NoError(t, err)
		assert.Equal(t, first, wrote)
	}
	assert.True(t, isEnded(one, before))
	w.eventually(func() bool { return isEnded(two, before) }, "the other replica's watch has it")
	after := login("after")
	assert.False(t, isEnded(one, after))

	forgotten, err := frontdoor.ForgetAccount(w.ctx, cluster, store, "alice@example.com", time.Hour)
	require.NoError(t, err)
	assert.True(t, forgotten)
	w.eventually(func() bool { return pin(two, other) }, "its next account has the name")
	assert.True(t, isEnded(two, after))
}
