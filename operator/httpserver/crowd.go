package httpserver

import (
	"container/list"
	"context"
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
	// courtesy is how long everybody may take before they make room for others. A busy
	// proxy opens a connection and may need a while to send the request of somebody who
	// does nothing wrong.
	courtesy = time.Second
)

// crowd bounds what people can hold who have shown nothing: connections with a request
// that is incomplete, or whose answer is, counted until they are let in ([LetIn]). Where
// there are too many, the oldest one ends, and nobody before a second has passed:
// meanwhile newcomers wait in the kernel. Whoever sends a whole request at once, as
// people's browsers do through a proxy, is answered long before.
type crowd struct {
	mu sync.Mutex
	// waiting have shown nothing, known have a login, idle are between requests.
	waiting, known, idle queue
}

// queue has the oldest one in front.
type queue struct {
	list.List
	max      int
	courtesy time.Duration
}

func newCrowd() *crowd {
	c := &crowd{}
	c.waiting.max, c.waiting.courtesy = maxWaiting, courtesy
	c.known.max, c.known.courtesy = maxWaiting, courtesy
	c.idle.max = maxIdle
	return c
}

// left is how long it takes until somebody may be cut to make room for one more; zero:
// there is room, or somebody may be.
func (q *queue) left() time.Duration {
	if q.Len() < q.max {
		return 0
	}
	return q.courtesy - time.Since(q.Front().Value.(*guest).since)
}

// entrance is a listener whose connections are guests.
type entrance struct {
	net.Listener
	crowd *crowd
}

// Accept implements net.Listener. It returns when there is room.
func (e entrance) Accept() (net.Conn, error) {
	conn, err := e.Listener.Accept()
	if err != nil {
		return nil, err
	}
	g := &guest{Conn: conn, crowd: e.crowd}
	g.head.begin()
	e.crowd.room()
	g.enter(&e.crowd.waiting)
	return g, nil
}

func (c *crowd) room() {
	for {
		c.mu.Lock()
		left := c.waiting.left()
		c.mu.Unlock()
		if left <= 0 {
			return
		}
		time.Sleep(left)
	}
}

// guest is one connection.
type guest struct {
	net.Conn
	crowd *crowd
	head  head

	// Guarded by the crowd's lock.
	in    *queue // nil: nobody counts it
	at    *list.Element
	since time.Time // that it is in the queue
	cut   bool      // it is about to end
}

type guestKey struct{}

// withGuest is a server's ConnContext, for [guestOf].
func withGuest(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, guestKey{}, conn)
}

// guestOf is the connection of a request; nil where it came by none of our servers.
func guestOf(r *http.Request) *guest {
	g, _ := r.Context().Value(guestKey{}).(*guest)
	return g
}

// follow is a server's ConnState.
func follow(conn net.Conn, state http.ConnState) {
	g := conn.(*guest)
	switch state {
	case http.StateNew: // see entrance
	case http.StateActive: // its head is there
		g.head.end()
		g.begin()
	case http.StateIdle:
		g.head.begin()
		g.enter(&g.crowd.idle)
	default:
		g.leave()
	}
}

// Read implements net.Conn.
func (g *guest) Read(p []byte) (int, error) {
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

// CloseWrite ends what is sent, and not what is received.
func (g *guest) CloseWrite() error {
	if half, can := g.Conn.(interface{ CloseWrite() error }); can {
		return half.CloseWrite()
	}
	return nil
}

// begin is the end of idleness.
func (g *guest) begin() {
	g.crowd.mu.Lock()
	idle := g.in == &g.crowd.idle
	g.crowd.mu.Unlock()
	if idle {
		g.enter(&g.crowd.waiting)
	}
}

// enter puts a connection at the end of a queue, and ends those in front where there are
// too many.
func (g *guest) enter(in *queue) {
	if g == nil {
		return
	}
	for _, oldest := range g.enqueue(in) {
		_ = oldest.Conn.Close() // whoever serves it finds out
	}
}

func (g *guest) enqueue(in *queue) (cut []*guest) {
	g.crowd.mu.Lock()
	defer g.crowd.mu.Unlock()
	g.dequeue()
	if g.cut {
		return nil
	}
	g.in, g.at, g.since = in, in.PushBack(g), time.Now()
	for in.Len() > in.max && in.left() <= 0 {
		oldest := in.Front().Value.(*guest)
		oldest.dequeue()
		oldest.cut = true
		cut = append(cut, oldest)
	}
	return cut
}

// leave takes a connection out of its queue: it was let in, or is over.
func (g *guest) leave() {
	if g == nil {
		return
	}
	g.crowd.mu.Lock()
	defer g.crowd.mu.Unlock()
	g.dequeue()
}

// dequeue is called with the crowd locked.
func (g *guest) dequeue() {
	if g.in != nil {
		g.in.Remove(g.at)
		g.in, g.at = nil, nil
	}
}
