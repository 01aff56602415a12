package agent

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// exchange is one request with its answer, or one WebSocket: who, what, how much.
type exchange struct {
	http.ResponseWriter
	request *http.Request
	started time.Time
	visitor visitor // zero: nobody has been let in
	refused string  // reason of the refusal
	status  int
	counts  counts
	cancel  context.CancelFunc
	// opened makes the visitor's end of a WebSocket from its connection; nil: the
	// request was not handed to the desktop.
	opened func(net.Conn, *bufio.Reader) *stream

	mu     sync.Mutex
	stream *stream
	ending *ending // it is to end, and why
}

// counts are bytes on the visitor's side; total is the whole agent's.
type counts struct {
	in, out atomic.Int64
	total   *counts
}

func (c *counts) read(n int) {
	c.in.Add(int64(n))
	if c.total != nil {
		c.total.in.Add(int64(n))
	}
}

func (c *counts) wrote(n int) {
	c.out.Add(int64(n))
	if c.total != nil {
		c.total.out.Add(int64(n))
	}
}

// ending is the code and reason of the close frame that a viewer gets.
type ending struct {
	code   uint16
	reason string
}

func (a *Agent) begin(w http.ResponseWriter, r *http.Request) *exchange {
	ctx, cancel := context.WithCancel(r.Context())
	e := &exchange{ResponseWriter: w, started: a.config.Now(), cancel: cancel}
	e.counts.total = &a.metrics.bytes
	e.request = r.WithContext(ctx)
	if r.Body != nil && r.Body != http.NoBody {
		e.request.Body = countedBody{r.Body, &e.counts}
	}
	return e
}

// finish is called when everything is answered, also after a panic of
// net/http's own (http.ErrAbortHandler).
func (a *Agent) finish(e *exchange) {
	e.cancel()
	a.logExchange(e)
}

// countedBody is a request's body.
type countedBody struct {
	io.ReadCloser
	counts *counts
}

func (b countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.counts.read(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (e *exchange) Unwrap() http.ResponseWriter { return e.ResponseWriter }

// WriteHeader implements http.ResponseWriter; hints (1xx) are not the answer, and
// pass nothing that looks at cookies.
func (e *exchange) WriteHeader(status int) {
	if status < http.StatusOK && status != http.StatusSwitchingProtocols {
		e.Header().Del("Set-Cookie")
	}
	if e.status == 0 && status >= http.StatusOK {
		e.status = status
	}
	e.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (e *exchange) Write(p []byte) (int, error) {
	if e.status == 0 {
		e.status = http.StatusOK
	}
	n, err := e.ResponseWriter.Write(p)
	e.counts.wrote(n)
	return n, err
}

// Hijack implements http.Hijacker. The reverse proxy calls it when the desktop
// has agreed to a WebSocket; what it gets is the visitor's end that counts.
func (e *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(e.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	e.status = http.StatusSwitchingProtocols
	s := e.opened(conn, buffered.Reader)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stream = s
	if e.ending != nil { // it came to an end during the handshake
		e.closeStream(*e.ending)
	}
	return s, buffered, nil
}

// end closes a WebSocket with a close frame, and anything else without.
func (e *exchange) end(why ending) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ending = &why
	switch {
	case e.stream != nil:
		e.closeStream(why)
	case why.code != closeGoingAway: // what is short may finish before the desktop stops
		e.cancel()
		// A visitor who reads nothing would hold it for ever. Fails only where there is
		// no connection.
		_ = http.NewResponseController(e.ResponseWriter).SetWriteDeadline(time.Unix(1, 0))
	}
}

// closeStream does not wait for the viewer, nor for a desktop that reads nothing.
func (e *exchange) closeStream(why ending) {
	e.stream.end(why)
	time.AfterFunc(closeGrace, e.cancel)
}

// exchanges are those with the desktop that are under way.
type exchanges struct {
	mu  sync.Mutex
	all map[*exchange]struct{}
	// left is signalled whenever one is over.
	left *sync.Cond
}

func newExchanges() *exchanges {
	x := &exchanges{all: map[*exchange]struct{}{}}
	x.left = sync.NewCond(&x.mu)
	return x
}

func (x *exchanges) add(e *exchange) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.all[e] = struct{}{}
}

func (x *exchanges) remove(e *exchange) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.all, e)
	x.left.Broadcast()
}

func everybody(*exchange) bool { return true }

// end ends the exchanges that match.
func (x *exchanges) end(match func(*exchange) bool, why ending) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for e := range x.all {
		if match(e) {
			e.end(why)
		}
	}
}

// drained returns when no WebSocket is open any more, or the context ends.
func (x *exchanges) drained(ctx context.Context) {
	stop := context.AfterFunc(ctx, x.wake)
	defer stop()
	x.mu.Lock()
	defer x.mu.Unlock()
	for ctx.Err() == nil && x.streams() > 0 {
		x.left.Wait()
	}
}

func (x *exchanges) wake() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.left.Broadcast()
}

// streams counts open WebSockets; the caller holds mu.
func (x *exchanges) streams() (n int) {
	for e := range x.all {
		e.mu.Lock()
		if e.stream != nil {
			n++
		}
		e.mu.Unlock()
	}
	return n
}
