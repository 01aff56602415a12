package run

import (
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// renewDeadline is how long ago a leader's lease may have been renewed for it to be the only
// one: others take it over when it is 15 s old (controller-runtime's defaults).
const renewDeadline = 10 * time.Second

// lease notices when the lease of this process was last renewed. A leader that was paused may
// go on while another one leads already.
type lease struct {
	all, one string // the ends of the addresses of all leases and of this one
	start    time.Time
	last     atomic.Int64 // since the start, by the monotonic clock; 0: never
	wall     atomic.Int64 // by the clock that people set, which goes on while a machine sleeps
}

func newLease(namespace, name string) *lease {
	all := "/namespaces/" + namespace + "/leases"
	return &lease{all: all, one: all + "/" + name, start: time.Now()}
}

// isFresh reports whether it was renewed so lately that nobody else leads.
func (l *lease) isFresh() bool {
	last, now := time.Duration(l.last.Load()), time.Now()
	return last > 0 && now.Sub(l.start)-last < renewDeadline && now.UnixNano()-l.wall.Load() < int64(renewDeadline)
}

type transport func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(request *http.Request) (*http.Response, error) { return t(request) }

// listen returns a transport that notices writes of the lease. What counts is when it was
// sent.
func (l *lease) listen(next http.RoundTripper) http.RoundTripper {
	return transport(func(request *http.Request) (*http.Response, error) {
		sent, wall := time.Since(l.start), time.Now().UnixNano()
		answer, err := next.RoundTrip(request)
		path := request.URL.Path
		renews := request.Method == http.MethodPut && strings.HasSuffix(path, l.one) || request.Method == http.MethodPost && strings.HasSuffix(path, l.all)
		if renews && err == nil && answer.StatusCode < http.StatusMultipleChoices {
			l.last.Store(int64(sent))
			l.wall.Store(wall)
		}
		return answer, err
	})
}
