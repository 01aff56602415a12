package frontdoor

import (
	"context"
	"strconv"
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
	assert.Equal(t, guessBurst, tries)
	for who, other := range map[string]guess{
		"another name":    {name: "bob", source: "192.0.2.1"},
		"another network": {name: "alice", source: "192.0.2.2"},
		"her own browser": {name: "alice", source: "192.0.2.1", browser: "1"},
	} {
		assert.True(t, g.left(other), who)
	}
	now = now.Add(guessEvery)
	assert.True(t, g.left(attacker))
	assert.True(t, g.count(attacker))
	assert.False(t, g.left(attacker))
	assert.False(t, g.count(attacker), "as of many who asked at a time")
	g.giveBack(attacker)
	assert.True(t, g.left(attacker), "who knew the password")
}

// From one network there are many names, and not without end; who is known goes on.
func TestGuessesOfANetwork(t *testing.T) {
	g := newGuesses(func() time.Time { return time.Unix(1_800_000_000, 0) })
	for n := range networkBurst {
		assert.True(t, g.count(guess{name: strconv.Itoa(n), source: "192.0.2.1"}), n)
	}
	assert.False(t, g.left(guess{name: "alice", source: "192.0.2.1"}))
	assert.False(t, g.count(guess{name: "alice", source: "192.0.2.1"}))
	assert.True(t, g.left(guess{name: "alice", source: "192.0.2.1", browser: "1"}))
	assert.True(t, g.left(guess{name: "alice", source: "192.0.2.2"}))
	for range 2 * guessBurst { // refused by the network: nothing is counted for the name
		g.count(guess{name: "alice", source: "192.0.2.1"})
	}
	assert.True(t, g.wrong.Left(guess{name: "alice", source: "192.0.2.1"}.key()))
}

// One source never has all turns, and waits for its own.
func TestTurns(t *testing.T) {
	g := newGuessesOf(time.Now, 4)
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
	end, err = g.turn(t.Context(), guess{source: "192.0.2.1", browser: "1"})
	require.NoError(t, err, "a browser that is known")
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
	const tries = 4 * waitingPerSource
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

// One at a time, too, no source keeps another from its turn.
func TestOneTurn(t *testing.T) {
	g := newGuessesOf(time.Now, 1)
	ends := make(chan string)
	first, err := g.turn(t.Context(), guess{source: "192.0.2.1"})
	require.NoError(t, err)
	for _, from := range []string{"192.0.2.1", "192.0.2.1", "192.0.2.2"} {
		go func() {
			done, err := g.turn(t.Context(), guess{source: from})
			if err == nil {
				defer done()
			}
			ends <- from
		}()
	}
	first()
	assert.ElementsMatch(t, []string{"192.0.2.1", "192.0.2.1", "192.0.2.2"}, []string{<-ends, <-ends, <-ends})
}

// An IPv6 site counts as one.
func TestSourceOfVisit(t *testing.T) {
	for from, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "::ffff:192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1::/56", "2001:db8:1:2::1": "2001:db8:1::/56",
		"fe80::1%eth0": "fe80::/56", "": "",
	} {
		assert.Equal(t, want, sourceOfVisit(visit{from: from}), from)
	}
}
