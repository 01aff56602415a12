package httpserver

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
)

const (
	// maxWaiting is how many connections may wait for the rest of a request, or for their
	// answer to be read, at a time.
	// Each costs some 20 KiB, and the head of a request up to its limit besides.
	maxWaiting = 512
	// maxIdle is how many connections may wait for their next request. Traefik keeps
	// 200 by default.
	maxIdle = 256
)

// crowd bounds what people can hold who have shown nothing: connections that wait for
// bytes, or for somebody to read an answer. Where there are too many, the one that has waited longest ends. Whoever sends a
// whole request at once, as people's browsers do through a proxy, never waits so long,
// and whoever was let in ([LetIn]) is not counted.
type crowd struct {
	mu            sync.Mutex
	waiting, idle queue
	guests        map[net.Conn]*guest
}

// queue has who has waited longest in front.
type queue struct {
	list.List
	max int
}

// guest is one connection.
type guest struct {
	crowd *crowd
	conn  net.Conn

	in  *queue // nil: it is served
	at  *list.Element
	cut bool // it is about to end
}

type guestKey struct{}

func newCrowd() *crowd {
	c := &crowd{guests: map[net.Conn]*guest{}}
	c.waiting.max, c.idle.max = maxWaiting, maxIdle
	return c
}

// watch makes a server report its connections.
func (c *crowd) watch(s *http.Server) {
	s.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		g := &guest{crowd: c, conn: conn}
		c.mu.Lock()
		c.guests[conn] = g
		c.mu.Unlock()
		return context.WithValue(ctx, guestKey{}, g)
	}
	s.ConnState = func(conn net.Conn, state http.ConnState) {
		c.mu.Lock()
		g := c.guests[conn]
		if state == http.StateClosed || state == http.StateHijacked {
			delete(c.guests, conn)
		}
		c.mu.Unlock()
		switch state {
		case http.StateNew, http.StateActive:
			g.wait(&c.waiting)
		case http.StateIdle:
			g.wait(&c.idle)
		default:
			g.serve()
		}
	}
}

// guestOf is the connection of a request; nil where it came by none of our servers.
func guestOf(r *http.Request) *guest {
	g, _ := r.Context().Value(guestKey{}).(*guest)
	return g
}

// wait puts a connection at the end of a queue, and ends the one in front where there
// are too many.
func (g *guest) wait(in *queue) {
	if longest := g.enqueue(in); longest != nil {
		_ = longest.conn.Close() // whoever serves it finds out
	}
}

func (g *guest) enqueue(in *queue) (longest *guest) {
	g.crowd.mu.Lock()
	defer g.crowd.mu.Unlock()
	g.dequeue()
	if g.cut {
		return nil
	}
	g.in, g.at = in, in.PushBack(g)
	if in.Len() <= in.max {
		return nil
	}
	longest = in.Front().Value.(*guest)
	longest.dequeue()
	longest.cut = true
	return longest
}

// take waits for an answer to be read.
func (g *guest) take() {
	if g != nil {
		g.wait(&g.crowd.waiting)
	}
}

// serve takes a connection out of its queue: its request is there, or it was let in.
func (g *guest) serve() {
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
