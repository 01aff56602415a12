package httpserver

import (
	"container/list"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// maxWaiting is how many connections with a request of somebody who was not let in
	// there may be. Each costs some 20 KiB, and up to three times the limit of a head.
	maxWaiting = 512
	// maxIdle is how many connections may wait for their next request. Traefik keeps 200
	// by default, and there may be more than one.
	maxIdle = 512
	// grace is how long everybody may take for a first request before they make room
	// for others: what is busy may be slow without doing wrong. It bounds how many
	// strangers in a second are got rid of, too, since newcomers wait behind them.
	grace = 200 * time.Millisecond
	// silentGrace is the same before the first byte. A busy proxy opens a connection and
	// may need a while to send a request.
	silentGrace = time.Second
)

// connLimiter bounds what people can hold who have shown nothing: connections with a request
// that is incomplete, or whose answer is, counted until they are let in ([LetIn]). Where
// there are too many, the oldest one ends, and nobody before a moment has passed:
// meanwhile newcomers wait in the kernel. Whoever sends a whole request at once, as
// people's browsers do through a proxy, is answered before.
type connLimiter struct {
	maxHead int // bytes

	mu sync.Mutex
	// waiting have begun a request. Silent have not: they are cut when there is nobody else,
	// because a proxy may keep such a connection for whoever comes next.
	waiting, silent queue
	known           queue // have a login
	idle            queue // are between requests
	// left has a value when somebody has left since it was last empty.
	left chan struct{}
}

// queue has the oldest one in front.
type queue struct {
	list.List
	grace time.Duration
	limit *limit
}

// limit is how many there may be in some queues together; those of the first are cut
// first.
type limit struct {
	max    int
	queues []*queue
}

func newConnLimiter(maxHead int) *connLimiter {
	c := &connLimiter{maxHead: maxHead, left: make(chan struct{}, 1)}
	c.waiting.grace, c.known.grace, c.silent.grace = grace, grace, silentGrace
	limited(maxWaiting, &c.waiting, &c.silent)
	limited(maxWaiting, &c.known)
	limited(maxIdle, &c.idle)
	return c
}

func limited(max int, queues ...*queue) {
	l := &limit{max, queues}
	for _, q := range queues {
		q.limit = l
	}
}

// over is by how many there are too many, with some more.
func (l *limit) over(more int) int {
	for _, q := range l.queues {
		more += q.Len()
	}
	return more - l.max
}

// next is who may be cut; nil: nobody yet, and somebody after a while.
func (l *limit) next() (oldest *trackedConn, after time.Duration) {
	after = silentGrace
	for _, q := range l.queues {
		front := q.Front()
		if front == nil {
			continue
		}
		g := front.Value.(*trackedConn)
		rest := g.grace() - time.Since(g.since)
		if rest <= 0 {
			return g, 0
		}
		after = min(after, rest)
	}
	return nil, after
}

// limitedListener is a listener whose connections are tracked and limited in number.
type limitedListener struct {
	net.Listener
	limiter *connLimiter
	closed  chan struct{}
	close   sync.Once
}

func newLimitedListener(l net.Listener, c *connLimiter) *limitedListener {
	return &limitedListener{Listener: l, limiter: c, closed: make(chan struct{})}
}

// Close implements net.Listener.
func (e *limitedListener) Close() error {
	e.close.Do(func() { close(e.closed) })
	return e.Listener.Close()
}

// Accept implements net.Listener. It returns when there is room.
func (e *limitedListener) Accept() (net.Conn, error) {
	conn, err := e.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if !e.waitForRoom() {
		return nil, errors.Join(net.ErrClosed, conn.Close())
	}
	g := &trackedConn{Conn: conn, limiter: e.limiter}
	g.head.begin()
	g.enter(&e.limiter.silent)
	return g, nil
}

// waitForRoom waits until there is room for one more, or somebody may be cut for it; it
// reports whether the listener is still open.
func (e *limitedListener) waitForRoom() bool {
	for {
		full, after := e.limiter.full()
		if !full {
			return true
		}
		select {
		case <-time.After(after):
		case <-e.limiter.left:
		case <-e.closed:
			return false
		}
	}
}

// full reports whether there is neither room for one more nor somebody who may be cut for
// it, and after which time there will be at the latest.
func (c *connLimiter) full() (full bool, after time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	oldest, after := c.silent.limit.next()
	return c.silent.limit.over(1) > 0 && oldest == nil, after
}

// trackedConn is one connection.
type trackedConn struct {
	net.Conn
	limiter *connLimiter
	head    head

	// Guarded by the limiter's lock.
	in      *queue // nil: nobody counts it
	at      *list.Element
	since   time.Time // that it is in the queue
	again   bool      // it has been idle
	closing bool      // it is about to end
}

// grace is for the first request only: whoever comes again and again could else keep
// everybody else waiting.
func (g *trackedConn) grace() time.Duration {
	if g.again {
		return 0
	}
	return g.in.grace
}

type connKey struct{}

// withConn is a server's ConnContext, for [connOf].
func withConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// connOf is the connection of a request; nil where it came by none of our servers.
func connOf(r *http.Request) *trackedConn {
	g, _ := r.Context().Value(connKey{}).(*trackedConn)
	return g
}

// follow is a server's ConnState.
func follow(conn net.Conn, state http.ConnState) {
	g := conn.(*trackedConn)
	switch state {
	case http.StateNew: // see limitedListener
	case http.StateActive: // its head is there
		g.head.end()
		g.begin()
	case http.StateIdle:
		g.head.begin()
		g.enter(&g.limiter.idle)
	default:
		g.leave()
	}
}

// Read implements net.Conn.
func (g *trackedConn) Read(p []byte) (int, error) {
	if !g.head.under.Load() {
		return g.Conn.Read(p)
	}
	n, err := g.Conn.Read(p)
	if n > 0 {
		g.begin()
		if !g.head.takes(p[:n]) {
			return 0, errHead
		}
	}
	return n, err
}

// Write implements net.Conn.
func (g *trackedConn) Write(p []byte) (int, error) {
	if len(p) != len(tooLarge) || string(p) != tooLarge || g.head.cookieBytes() <= g.limiter.maxHead/2 {
		return g.Conn.Write(p)
	}
	n, err := g.Conn.Write(forgetCookies())
	return min(n, len(p)), err
}

// CloseWrite ends what is sent, and not what is received.
func (g *trackedConn) CloseWrite() error {
	if half, can := g.Conn.(interface{ CloseWrite() error }); can {
		return half.CloseWrite()
	}
	return nil
}

// begin is the begin of a request.
func (g *trackedConn) begin() {
	g.limiter.mu.Lock()
	begins := g.in == &g.limiter.idle || g.in == &g.limiter.silent
	g.limiter.mu.Unlock()
	if begins {
		g.enter(&g.limiter.waiting)
	}
}

// enter puts a connection at the end of a queue, and ends those in front where there are
// too many.
func (g *trackedConn) enter(in *queue) {
	if g == nil {
		return
	}
	for _, oldest := range g.enqueue(in) {
		_ = oldest.Conn.Close() // whoever serves it finds out
	}
}

func (g *trackedConn) enqueue(in *queue) (closing []*trackedConn) {
	g.limiter.mu.Lock()
	defer g.limiter.mu.Unlock()
	g.dequeue()
	if g.closing {
		return nil
	}
	g.in, g.at, g.since = in, in.PushBack(g), time.Now()
	g.again = g.again || in == &g.limiter.idle
	for in.limit.over(0) > 0 {
		oldest, _ := in.limit.next()
		if oldest == nil {
			break
		}
		oldest.dequeue()
		oldest.closing = true
		closing = append(closing, oldest)
	}
	return closing
}

// leave takes a connection out of its queue: it was let in, or is over.
func (g *trackedConn) leave() {
	if g == nil {
		return
	}
	g.limiter.mu.Lock()
	defer g.limiter.mu.Unlock()
	g.dequeue()
}

// dequeue is called with the limiter locked.
func (g *trackedConn) dequeue() {
	if g.in != nil {
		g.in.Remove(g.at)
		g.in, g.at = nil, nil
		select {
		case g.limiter.left <- struct{}{}:
		default:
		}
	}
}
