package frontdoor

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Wrong passwords count for one name from one network, and in a browser that the name has
// logged in from for that one alone.
func TestGuessesCount(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	g := newGuesses(func() time.Time { return now })
	attacker := guess{name: "alice", source: "192.0.2.1"}
	tries := 0
	for ; g.left(attacker); tries++ {
		g.count(attacker)
	}
	assert.Equal(t, 10, tries)
	for who, other := range map[string]guess{
		"another name":    {name: "bob", source: "192.0.2.1"},
		"another network": {name: "alice", source: "192.0.2.2"},
		"her own browser": {name: "alice", source: "192.0.2.1", browser: "1"},
	} {
		assert.True(t, g.left(other), who)
	}
	now = now.Add(guessEvery)
	assert.True(t, g.left(attacker))
	g.count(attacker)
	assert.False(t, g.left(attacker))
}

// One source never has all turns, and waits for its own.
func TestTurns(t *testing.T) {
	g := newGuesses(time.Now)
	var done []func()
	for range g.each {
		end, err := g.turn(t.Context(), guess{source: "192.0.2.1"})
		require.NoError(t, err)
		done = append(done, end)
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := g.turn(short, guess{source: "192.0.2.1"})
	require.ErrorIs(t, err, errBusy, "all its turns are taken")
	end, err := g.turn(t.Context(), guess{source: "192.0.2.2"})
	require.NoError(t, err, "another source has one")
	end()
	done[0]()
	end, err = g.turn(t.Context(), guess{source: "192.0.2.1"})
	require.NoError(t, err)
	end()
}

// However many come, only so many wait.
func TestTurnsAreBounded(t *testing.T) {
	g := newGuesses(time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	ends := make(chan error)
	const tries = 2 * waitingPerSource
	for range tries {
		go func() {
			_, err := g.turn(ctx, guess{source: "192.0.2.1"})
			ends <- err
		}()
	}
	for range tries - waitingPerSource { // at once
		if err := <-ends; err != nil {
			require.ErrorIs(t, err, errBusy)
		}
	}
	cancel()
	for range waitingPerSource {
		<-ends
	}
}

// An IPv6 site counts as one.
func TestSourceOfVisit(t *testing.T) {
	for from, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "::ffff:192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "2001:db8:1:2::1": "2001:db8:1:2::/64",
		"fe80::1%eth0": "fe80::/64", "": "",
	} {
		assert.Equal(t, want, sourceOfVisit(visit{from: from}), from)
	}
}
