package agent

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// attemptBurst wrong passwords are answered at once, then one per attemptEvery.
	attemptBurst = 10
	attemptEvery = time.Second
	// maxAddresses bounds the memory for addresses that tried; all others share
	// one limit.
	maxAddresses = 1024
)

// attempts limits wrong passwords by the address they come from.
type attempts struct {
	now     func() time.Time
	mu      sync.Mutex
	byFrom  map[string]*rate.Limiter
	theRest *rate.Limiter
}

func newAttempts(now func() time.Time) *attempts {
	return &attempts{now: now, byFrom: map[string]*rate.Limiter{}, theRest: newAttemptLimiter()}
}

func newAttemptLimiter() *rate.Limiter {
	return rate.NewLimiter(rate.Every(attemptEvery), attemptBurst)
}

// allow counts one wrong password, and says whether the address has not sent too
// many of them.
func (a *attempts) allow(address string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.limiter(address).AllowN(a.now(), 1)
}

func (a *attempts) limiter(address string) *rate.Limiter {
	if l, found := a.byFrom[address]; found {
		return l
	}
	if len(a.byFrom) >= maxAddresses {
		a.forget()
	}
	if len(a.byFrom) >= maxAddresses {
		return a.theRest
	}
	l := newAttemptLimiter()
	a.byFrom[address] = l
	return l
}

// forget drops addresses that have been quiet long enough to start anew.
func (a *attempts) forget() {
	for address, l := range a.byFrom {
		if l.TokensAt(a.now()) >= attemptBurst {
			delete(a.byFrom, address)
		}
	}
}
