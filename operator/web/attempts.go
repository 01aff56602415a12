package web

import (
	"hash/maphash"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// attemptBurst wrong passwords are answered at once, then one per attemptEvery.
	attemptBurst = 10
	attemptEvery = time.Second
	// attemptLimits is how many limits there are. Nobody uses all of them up, as by made-up
	// addresses or, at the front door, hosts: that takes attemptBurst times as many
	// passwords in attemptBurst seconds. 80 bytes each, where somebody has tried.
	attemptLimits = 1 << 14
)

// Attempts limits wrong passwords by where they come from. Some share a limit, by chance.
type Attempts struct {
	now    func() time.Time
	seed   maphash.Seed
	mu     sync.Mutex
	limits map[uint64]*rate.Limiter
}

// NewAttempts begins with nobody having tried.
func NewAttempts(now func() time.Time) *Attempts {
	return &Attempts{now: now, seed: maphash.MakeSeed(), limits: map[uint64]*rate.Limiter{}}
}

// Allow counts one wrong password, and reports whether not too many came from there.
func (a *Attempts) Allow(from string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	of := maphash.String(a.seed, from) % attemptLimits
	if a.limits[of] == nil {
		a.limits[of] = rate.NewLimiter(rate.Every(attemptEvery), attemptBurst)
	}
	return a.limits[of].AllowN(a.now(), 1)
}
