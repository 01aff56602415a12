package frontdoor

import (
	"context"
	"hash/maphash"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/vdi-platform/vdi-platform/operator/frontdoor/people"
	"github.com/vdi-platform/vdi-platform/operator/web"
)

const (
	// guessEvery is how often somebody may guess one name's password after the first few:
	// people choose passwords that are no 160 bits long.
	guessEvery = 10 * time.Second
	// turnPatience is how long somebody waits until their password is compared.
	turnPatience = 10 * time.Second
	// waitingPerSource is how many do so from one source, turnSources how many sources are
	// told apart. Some share one, by chance.
	waitingPerSource = 64
	turnSources      = 1 << 10
)

// guess is one try to log in: for whose name, from where, and in which browser, where that
// name has logged in there before.
type guess struct{ name, source, browser string }

// guessOf is the guess of a visitor.
func (d *Door) guessOf(v visit, name string) guess {
	g := guess{name: digest(people.Fold(name)), source: sourceOfVisit(v)}
	if known, has := d.ticketIn(v, knownCookie, forKnown); has && known.User == g.name {
		g.browser = known.ID
	}
	return g
}

// sourceOfVisit is the network that counts as one: an address, of IPv6 what one site has
// (RFC 6177).
func sourceOfVisit(v visit) string {
	at, err := netip.ParseAddr(v.from)
	if err != nil || at.Unmap().Is4() {
		return v.from
	}
	site, err := at.WithZone("").Prefix(64)
	if err != nil {
		return v.from
	}
	return site.String()
}

// guesses keep people from guessing passwords, and from keeping others out by that: what
// comes from elsewhere counts against nobody. In browsers where somebody has logged in
// before, not even what comes from their own network does
// (https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies).
// Comparing is costly on purpose, so only a few are compared at a time.
type guesses struct {
	wrong *web.Attempts
	all   *semaphore.Weighted
	each  int64
	seed  maphash.Seed

	mu      sync.Mutex
	sources map[uint64]*source
}

// source is where some visitors come from. No source has all turns.
type source struct {
	turns   *semaphore.Weighted
	waiting int
}

func newGuesses(now func() time.Time) *guesses {
	turns := int64(max(2, runtime.GOMAXPROCS(0)))
	return &guesses{
		wrong: web.NewAttempts(now, guessEvery), all: semaphore.NewWeighted(turns), each: max(1, turns/2),
		seed: maphash.MakeSeed(), sources: map[uint64]*source{},
	}
}

// key is what wrong passwords count for.
func (g guess) key() string {
	if g.browser != "" {
		return "browser " + g.browser
	}
	return "name " + g.name + " from " + g.source
}

func (t *guesses) left(g guess) bool { return t.wrong.Left(g.key()) }

// count counts a guess before it is compared, and reports whether it may be: of many at a
// time no more than of one after another. Who knew the password gets it back.
func (t *guesses) count(g guess) bool { return t.wrong.Allow(g.key()) }

func (t *guesses) giveBack(g guess) { t.wrong.Return(g.key()) }

// turn waits until a password may be compared; done ends that. Errors are errBusy.
func (t *guesses) turn(ctx context.Context, g guess) (done func(), err error) {
	from, free := t.enter(g.source)
	if !free {
		return nil, errBusy
	}
	ctx, cancel := context.WithTimeout(ctx, turnPatience)
	defer cancel()
	if from.turns.Acquire(ctx, 1) != nil {
		t.leave(from)
		return nil, errBusy
	}
	if t.all.Acquire(ctx, 1) != nil {
		from.turns.Release(1)
		t.leave(from)
		return nil, errBusy
	}
	return func() {
		t.all.Release(1)
		from.turns.Release(1)
		t.leave(from)
	}, nil
}

func (t *guesses) enter(name string) (s *source, free bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	of := maphash.String(t.seed, name) % turnSources
	if t.sources[of] == nil {
		t.sources[of] = &source{turns: semaphore.NewWeighted(t.each)}
	}
	s = t.sources[of]
	if s.waiting >= waitingPerSource {
		return nil, false
	}
	s.waiting++
	return s, true
}

func (t *guesses) leave(s *source) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.waiting--
}
