package web

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

const (
	burst = 10
	every = time.Second
)

// Wrong passwords are answered at once for a while, then one per second; whoever tries
// from elsewhere waits for nobody.
func TestAttempts(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	a := NewAttempts(func() time.Time { return now }, burst, every)
	other := "192.0.2.2"
	for a.limitOf(other) == a.limitOf("192.0.2.1") { // by chance
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
	assert.True(t, a.Left("192.0.2.1"))
	assert.Equal(t, burst, allowed("192.0.2.1", 3*burst), "at once")
	assert.False(t, a.Left("192.0.2.1"))
	assert.True(t, a.Left(other))
	assert.Equal(t, burst, allowed(other, 3*burst), "another source")
	now = now.Add(every - time.Millisecond)
	assert.Zero(t, allowed("192.0.2.1", 3), "too early")
	now = now.Add(time.Millisecond)
	assert.True(t, a.Left("192.0.2.1"), "and it counts nothing")
	assert.Equal(t, 1, allowed("192.0.2.1", 3), "one per second after")
	now = now.Add(time.Hour)
	assert.Equal(t, burst, allowed("192.0.2.1", 3*burst), "after a pause")
}

// What is given back is there again, and never more than at the beginning.
func TestAttemptsReturn(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	a := NewAttempts(func() time.Time { return now }, burst, every)
	for range 3 * burst {
		assert.True(t, a.Allow("192.0.2.1"))
		a.Return("192.0.2.1")
	}
	now = now.Add(time.Hour)
	a.Return("192.0.2.1")
	for range burst {
		assert.True(t, a.Allow("192.0.2.1"))
	}
	assert.False(t, a.Allow("192.0.2.1"))
	a.Return("192.0.2.1")
	assert.True(t, a.Allow("192.0.2.1"))
	assert.False(t, a.Allow("192.0.2.1"))
}

// TestAttemptsAreBounded: those of a few thousand addresses, or hosts, take nothing from
// others.
func TestAttemptsAreBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	a := NewAttempts(func() time.Time { return now }, burst, every)
	for i := range 3000 {
		for range burst {
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
	now = now.Add(every)
	assert.True(t, a.Allow("0"))
	for i := range 5 * attemptLimits {
		a.Allow(fmt.Sprint(i))
	}
	assert.LessOrEqual(t, len(a.limits), attemptLimits)
}
