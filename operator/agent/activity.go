package agent

import (
	"sync"
	"time"
)

// Activity is the answer of /activity, a superset of a VDISession's
// status.activity (operator/api/v1alpha1, ActivityStatus).
type Activity struct {
	// LastActivityTime is when the desktop was last used, in UTC and whole
	// seconds (RFC 3339); absent: unknown, which is never idle.
	LastActivityTime *time.Time `json:"lastActivityTime,omitempty"`
	// Clients is the number of visitors with an open WebSocket.
	Clients int32 `json:"clients"`
	// Known is false while an open connection cannot be read.
	Known bool `json:"known"`
}

// activity counts who is there and remembers when the desktop was last used.
type activity struct {
	now func() time.Time
	// byPresence is for streamers whose input nobody here knows.
	byPresence bool

	mu sync.Mutex
	// last begins with the agent's start: the desktop was not used later than
	// what is known here, and a restarted agent errs towards use.
	last       time.Time
	open       int            // exchanges under way
	viewers    map[string]int // visitors' keys → open WebSockets
	streams    int
	unreadable int // WebSockets whose frames cannot be followed
}

func newActivity(byPresence bool, now func() time.Time) *activity {
	return &activity{now: now, byPresence: byPresence, last: now(), viewers: map[string]int{}}
}

// recordUse is called for everything that a person did.
func (a *activity) recordUse() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = a.now()
}

// enter and leave frame one exchange with the desktop.
func (a *activity) enter() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open++
}

func (a *activity) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open--
	if a.byPresence {
		a.last = a.now()
	}
}

// connect and disconnect frame one WebSocket of a visitor.
func (a *activity) connect(visitor string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.viewers[visitor]++
	a.streams++
}

func (a *activity) disconnect(visitor string, unreadable bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.viewers[visitor]--; a.viewers[visitor] == 0 {
		delete(a.viewers, visitor)
	}
	a.streams--
	if unreadable { // whatever it was may have been use
		a.unreadable--
		a.last = a.now()
	}
}

// lost is called once for a WebSocket whose frames cannot be followed any more.
func (a *activity) lost() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unreadable++
}

// status returns what is known now.
func (a *activity) status() Activity {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Activity{Clients: int32(len(a.viewers)), Known: a.byPresence || a.unreadable == 0}
	if !s.Known {
		return s
	}
	last := a.last
	if a.byPresence && a.open > 0 {
		last = a.now()
	}
	last = last.UTC().Truncate(time.Second)
	s.LastActivityTime = &last
	return s
}

// openStreams is the number of open WebSockets.
func (a *activity) openStreams() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.streams
}

// clients is the number of visitors with an open WebSocket.
func (a *activity) clients() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.viewers)
}
