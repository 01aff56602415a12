package web

import (
	"hash/maphash"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// attemptLimits is how many limits there are. Nobody uses all of them up, as by made-up
// addresses or, at the front door, hosts: that takes many times as many passwords in the
// time in which so many are allowed again. 80 bytes each, where somebody has tried.
const attemptLimits = 1 << 14

// Attempts limits wrong passwords by where they come from. Some share a limit, by chance.
type Attempts struct {
	now    func() time.Time
	burst  int
	every  time.Duration
	seed   maphash.Seed
	mu     sync.Mutex
	limits map[uint64]*rate.Limiter
}

// NewAttempts begins with nobody having tried: a burst may come at once, then one every so
// often.
func NewAttempts(now func() time.Time, burst int, every time.Duration) *Attempts {
	return &Attempts{now: now, burst: burst, every: every, seed: maphash.MakeSeed(), limits: map[uint64]*rate.Limiter{}}
}

// Allow counts one wrong password, and reports whether not too many came from there.
func (a *Attempts) Allow(from string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	of := a.limitOf(from)
	if a.limits[of] == nil {
		a.limits[of] = rate.NewLimiter(rate.Every(a.every), a.burst)
	}
	return a.limits[of].AllowN(a.now(), 1)
}

// Return takes back what [Attempts.Allow] has just counted: it was no wrong password.
func (a *Attempts) Return(from string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.limits[a.limitOf(from)].AllowN(a.now(), -1) // the burst still bounds what there is
}

// Left reports whether one more would be allowed, and counts none.
func (a *Attempts) Left(from string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	limit := a.limits[a.limitOf(from)]
	return limit == nil || limit.TokensAt(a.now()) >= 1
}

func (a *Attempts) limitOf(from string) uint64 { return maphash.String(a.seed, from) % attemptLimits }
