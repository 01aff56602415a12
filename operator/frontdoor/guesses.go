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
	// guessBurst wrong passwords of one name from one network are answered at once, then one
	// each guessEvery: people choose passwords that are no 160 bits long. From one network,
	// for all names, it is networkBurst and networkEvery: many people may come from there.
	guessBurst   = 10
	guessEvery   = 10 * time.Second
	networkBurst = 100
	networkEvery = 2 * time.Second
	// turnPatience is how long somebody waits until their password is compared.
	turnPatience = 10 * time.Second
	// waitingPerSource is how many do so from one source, waitingInAll from all: fewer than
	// connections of strangers. turnSources is how many sources are distinguished. Some share
	// one, by chance.
	waitingPerSource = 32
	waitingInAll     = 128
	turnSources      = 1 << 10
)

// guess is one try to log in: for whose name, from where, and in which browser, where that
// person has logged in there before.
type guess struct{ name, source, browser string }

// guessOf is the guess of a visitor.
func (d *Door) guessOf(v visit, name string) guess {
	g := guess{name: digest(people.Fold(name)), source: sourceOfVisit(v)}
	known, has := d.ticketIn(v, knownCookie, forKnown)
	if !has {
		return g
	}
	p, listed := d.People().ByUser(known.User)
	if listed && p.Account() == known.Entry && people.Fold(p.Name) == people.Fold(name) {
		g.browser = known.ID
	}
	return g
}

// siteBits is how much of an IPv6 address a home commonly has for itself (RFC 6177 §2).
const siteBits = 56

// sourceOfVisit is the network that counts as one: an address, or an IPv6 site.
func sourceOfVisit(v visit) string {
	at, err := netip.ParseAddr(v.from)
	if err != nil || at.Unmap().Is4() {
		return v.from
	}
	site, err := at.WithZone("").Prefix(siteBits)
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
	wrong, byNetwork *web.Attempts
	// all are the turns of strangers, known the one of browsers that are known.
	all, known *semaphore.Weighted
	each       int64
	seed       maphash.Seed

	mu      sync.Mutex
	waiting int
	sources map[uint64]*source
}

// source is where some visitors come from. No source has all turns.
type source struct {
	turns   *semaphore.Weighted
	waiting int
}

// newGuesses leaves half of the processor to those who are logged in: the proxy asks this
// program before each of their requests.
func newGuesses(now func() time.Time) *guesses {
	return newGuessesOf(now, int64(max(1, runtime.GOMAXPROCS(0)/2)))
}

func newGuessesOf(now func() time.Time, turns int64) *guesses {
	return &guesses{
		wrong: web.NewAttempts(now, guessBurst, guessEvery), byNetwork: web.NewAttempts(now, networkBurst, networkEvery),
		all: semaphore.NewWeighted(turns), known: semaphore.NewWeighted(1), each: max(1, turns/2), seed: maphash.MakeSeed(), sources: map[uint64]*source{},
	}
}

// key is what wrong passwords count for.
func (g guess) key() string {
	if g.browser != "" {
		return "browser " + g.browser
	}
	return "name " + g.name + " from " + g.source
}

func (t *guesses) left(g guess) bool {
	return t.wrong.Left(g.key()) && (g.browser != "" || t.byNetwork.Left(g.source))
}

// count counts a guess before it is compared, and reports whether it may be: of many at a
// time no more than of one after another. Who knew the password gets it back.
func (t *guesses) count(g guess) bool {
	if g.browser == "" && !t.byNetwork.Allow(g.source) {
		return false
	}
	if !t.wrong.Allow(g.key()) {
		t.giveBackToNetwork(g)
		return false
	}
	return true
}

func (t *guesses) giveBack(g guess) {
	t.wrong.Return(g.key())
	t.giveBackToNetwork(g)
}

func (t *guesses) giveBackToNetwork(g guess) {
	if g.browser == "" {
		t.byNetwork.Return(g.source)
	}
}

// turn waits until a password may be compared; done ends that. Errors are errBusy.
func (t *guesses) turn(ctx context.Context, g guess) (done func(), err error) {
	if g.browser != "" { // a flood from elsewhere keeps nobody out who is known
		ctx, cancel := context.WithTimeout(ctx, turnPatience)
		defer cancel()
		if t.known.Acquire(ctx, 1) != nil {
			return nil, errBusy
		}
		return func() { t.known.Release(1) }, nil
	}
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
	if s.waiting >= waitingPerSource || t.waiting >= waitingInAll {
		return nil, false
	}
	s.waiting++
	t.waiting++
	return s, true
}

func (t *guesses) leave(s *source) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.waiting--
	t.waiting--
}
