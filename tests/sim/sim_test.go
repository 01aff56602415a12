package sim

import (
	"flag"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	cases = flag.Uint64("cases", 4500, "how many cases, of two to three lives each")
	first = flag.Uint64("first", 0, "the first seed")
	only  = flag.Uint64("seed", 0, "the one seed that is lived again; with -v its whole history is shown")
)

// TestMain lets the garbage collector wait: there is little to keep, and much to make.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	os.Exit(m.Run())
}

// show is the end of a history that went wrong.
func show(w *world, lines int) string {
	return strings.Join(w.history[max(0, len(w.history)-lines):], "\n")
}

// count is what was lived.
type count struct {
	mutex                                                    sync.Mutex
	cases, lives, short, steps, acts, faults, writes, failed int
}

func (c *count) add(w *world) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.cases++
	c.steps += w.steps
	for _, l := range w.people.lived {
		c.acts += l.acts
		if l.full() {
			c.lives++
		} else {
			c.short++
		}
	}
	c.faults += w.faulty
	c.writes += int(w.server.revision % restored)
	if len(w.broken) > 0 {
		c.failed++
	}
}

// TestLives lets sessions live, each case by its own seed.
func TestLives(t *testing.T) {
	began, total, seeds, all := time.Now(), &count{}, make(chan uint64), sync.WaitGroup{}
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for seed := range seeds {
				w := live(t, seeded(seed))
				total.add(w)
				if len(w.broken) > 0 {
					t.Errorf("seed %d: %s\n%s\nlive it again: go test ./sim -run TestOneLife -v -seed %d", seed, strings.Join(w.broken, "; "), show(w, 150), seed)
				}
			}
		})
	}
	for seed := *first; seed < *first+*cases && total.goesOn(); seed++ {
		seeds <- seed
	}
	close(seeds)
	all.Wait()
	t.Logf("%d lives (and %d too short to count) in %d cases from seed %d: %d acts, %d faults, %d steps, %d writes; %d cases failed; %s",
		total.lives, total.short, total.cases, *first, total.acts, total.faults, total.steps, total.writes, total.failed, time.Since(began).Round(time.Second))
}

// TestOneLife shows what happens in the case of one seed.
func TestOneLife(t *testing.T) {
	w := live(t, seeded(*only))
	t.Log("\n" + strings.Join(w.history, "\n"))
	require.Empty(t, w.broken)
}

// goesOn reports whether more cases would show more.
func (c *count) goesOn() bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.failed < 5
}

// The same choices make the same history.
func TestSameChoicesSameHistory(t *testing.T) {
	for seed := range uint64(20) {
		once, again := live(t, seeded(seed)), live(t, seeded(seed))
		require.Equal(t, strings.Join(once.history, "\n"), strings.Join(again.history, "\n"), "seed %d", seed)
		require.Equal(t, once.hash(), again.hash())
	}
}

// FuzzLives lets bytes be found that break a rule.
func FuzzLives(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, given []byte) {
		w := live(t, &choices{given: given})
		require.Empty(t, w.broken, show(w, 150))
	})
}
