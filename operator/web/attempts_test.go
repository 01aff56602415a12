package web

import (
	"fmt"
	"hash/maphash"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// Wrong passwords are answered at once for a while, then one per second; whoever tries
// from elsewhere waits for nobody.
func TestAttempts(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	a := NewAttempts(func() time.Time { return now })
	limit := func(from string) uint64 { return maphash.String(a.seed, from) % attemptLimits }
	other := "192.0.2.2"
	for limit(other) == limit("192.0.2.1") { // by chance
		other += "0"
	}
	allowed := func(from string, tries int) (n int) {
		for range tries {
			if a.Allow(from) {
				n++
			}
		}
		return n
	}
	assert.Equal(t, attemptBurst, allowed("192.0.2.1", 3*attemptBurst), "at once")
	assert.Equal(t, attemptBurst, allowed(other, 3*attemptBurst), "another source")
	now = now.Add(attemptEvery - time.Millisecond)
	assert.Zero(t, allowed("192.0.2.1", 3), "too early")
	now = now.Add(time.Millisecond)
	assert.Equal(t, 1, allowed("192.0.2.1", 3), "one per second after")
	now = now.Add(time.Hour)
	assert.Equal(t, attemptBurst, allowed("192.0.2.1", 3*attemptBurst), "after a pause")
}

// TestAttemptsAreBounded: those of a few thousand addresses, or hosts, take nothing from
// others.
func TestAttemptsAreBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	a := NewAttempts(func() time.Time { return now })
	for i := range 3000 {
		for range attemptBurst {
			a.Allow(fmt.Sprint(i))
		}
	}
	allowed := 0
	for i := range 1000 {
		if a.Allow(fmt.Sprint("other ", i)) {
			allowed++
		}
	}
	assert.Greater(t, allowed, 700, "who has not tried before")
	assert.False(t, a.Allow("0"))
	now = now.Add(attemptEvery)
	assert.True(t, a.Allow("0"))
	for i := range 5 * attemptLimits {
		a.Allow(fmt.Sprint(i))
	}
	assert.LessOrEqual(t, len(a.limits), attemptLimits)
}
