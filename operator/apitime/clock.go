// Package apitime is the API server's time, learned from the answers that come
// anyway. Deadlines are counted by it, so that a node's wrong clock neither
// shortens nor prolongs what people were promised.
package apitime

import (
	"net/http"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// resolution is that of the header Date (RFC 9110, section 6.6.1), which is cut
// to whole seconds.
const resolution = time.Second

// Clock shows the API server's time. In between two answers it goes by the
// monotonic clock, which nobody sets; before the first one it is this machine's.
type Clock struct {
	start time.Time

	mutex sync.RWMutex
	ahead time.Duration // of the API server before this clock's start
}

var _ clock.PassiveClock = (*Clock)(nil)

// New returns a clock that has heard nothing yet.
func New() *Clock { return &Clock{start: time.Now()} }

// Now is the API server's time, within a second.
func (c *Clock) Now() time.Time {
	c.mutex.RLock()
	defer c.mutex.RUnlock()
	return c.at(c.elapsed() + c.ahead)
}

// Since is how long ago t was.
func (c *Clock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// Listen returns a transport that sends requests through next and sets the clock
// by their answers.
func (c *Clock) Listen(next http.RoundTripper) http.RoundTripper {
	return transport(func(request *http.Request) (*http.Response, error) {
		sent := c.elapsed()
		answer, err := next.RoundTrip(request)
		if err != nil {
			return answer, err
		}
		if said, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
			c.learn(said, sent, c.elapsed())
		}
		return answer, nil
	})
}

type transport func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(request *http.Request) (*http.Response, error) { return t(request) }

// learn takes in that the API server's clock showed said, cut to the second, at
// some moment between sent and received. What is known already is changed no
// further than that calls for.
func (c *Clock) learn(said time.Time, sent, received time.Duration) {
	least := said.Sub(c.at(received))
	most := said.Add(resolution).Sub(c.at(sent))
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.ahead = min(max(c.ahead, least), most)
}

// elapsed is the time since the start by the monotonic clock.
func (c *Clock) elapsed() time.Duration { return time.Since(c.start) }

// at is a moment without a monotonic reading, which would hide what was learned.
func (c *Clock) at(elapsed time.Duration) time.Time { return c.start.Round(0).Add(elapsed) }
