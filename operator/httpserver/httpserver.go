// Package httpserver serves HTTP/1.1 behind a proxy that shares its connections
// to us among all visitors. There, bytes that one visitor sends and that we do not
// read would be taken for the beginning of another visitor's request, with that
// one's cookies behind them (request smuggling, CWE-444; CVE-2026-71324 is an
// instance). So a connection is used again only after a request that has been read
// to its end and that was one of ours to answer.
//
// What people hold who have shown nothing is bounded in time and number, whichever
// address they come from: behind a proxy that may be one for all.
package httpserver

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// headerTimeout is how long the head of a request may take to arrive.
	headerTimeout = 10 * time.Second
	// BodyTimeout is how long the body of a request may take to arrive, unless its
	// handler lets it in ([LetIn]). What is not read is not waited for any longer
	// either.
	BodyTimeout = 10 * time.Second
	// maxRest is how much of a body that a handler left is read before the answer begins,
	// in bytes: more than any form or program of ours sends.
	maxRest = 1 << 20
	// PauseTimeout is how long somebody who was let in may send nothing of a body.
	PauseTimeout = time.Minute
	// idleTimeout is longer than proxies keep idle connections (Traefik: 90 s), so
	// that they close first and never send into a closed one.
	idleTimeout = 3 * time.Minute
)

// Methods are those that are served. All others are refused, by whoever is behind
// [Guard], and end their connection.
func Methods() []string {
	return []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut,
		http.MethodPatch, http.MethodDelete, http.MethodOptions,
	}
}

// Serves reports whether a method is one of [Methods].
func Serves(method string) bool { return slices.Contains(Methods(), method) }

// Server is a server that bounds its connections.
type Server struct {
	*http.Server
	limiter *connLimiter
}

// New returns a server for a handler that [Guard] made. It has no limit for whole
// answers: a stream lasts as long as somebody watches.
func New(guarded http.Handler, errorLog *slog.Logger, maxHeaderBytes int) *Server {
	return &Server{&http.Server{
		Handler: guarded, ErrorLog: slog.NewLogLogger(errorLog.Handler(), slog.LevelWarn),
		DisableGeneralOptionsHandler: true, // "OPTIONS *" is a request like any other
		// The deadline stands before the first byte is looked at: what net/http
		// refuses by itself, such as unknown expectations, never gets to a handler.
		ReadHeaderTimeout: headerTimeout, ReadTimeout: BodyTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ConnContext: withConn, ConnState: follow,
	}, newConnLimiter(maxHeaderBytes)}
}

// Serve is http.Server's.
func (s *Server) Serve(l net.Listener) error { return s.Server.Serve(newLimitedListener(l, s.limiter)) }

// Guard bounds how long whoever has not been let in ([LetIn]) may take to send a body and
// to take the answer, and ends the connection, by "Connection: close", behind every request
//   - whose body has not been read to its end when the answer begins,
//   - whose method is not served ([Methods]),
//   - that asked for another protocol and did not get it,
//   - that is refused (400 and above) by a handler that has not let it in.
//
// The answer to whoever has not been let in begins when the rest of a body has arrived: a
// proxy made with net/http that gets an answer before throws that rest away, calls the
// request failed, and cuts the answer. It begins without it where the rest is larger than
// maxRest, is late, or is sent only when asked for ("Expect: 100-continue").
//
// CONNECT, behind which anything may follow, never gets the connection back, see
// refuseTunnel.
func Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect {
			refuseTunnel(w, r, next)
			return
		}
		// A switch of protocols takes the connection over and begins no answer here.
		a := &responseWriter{ResponseWriter: w, conn: connOf(r), last: !Serves(r.Method) || len(r.Header["Upgrade"]) > 0}
		if r.Body != nil && r.Body != http.NoBody {
			// It ends with the body: net/http takes it away there.
			setReadDeadline(w, time.Now().Add(BodyTimeout))
			a.body = &body{
				from: r.Body, deadline: func(t time.Time) { setReadDeadline(w, t) },
				sent: r.ContentLength <= maxRest && len(r.Header["Expect"]) == 0,
			}
			r = r.WithContext(r.Context()) // a copy: net/http looks at the body of its own
			r.Body = a.body
		}
		next.ServeHTTP(a, r)
		a.begin(http.StatusOK) // net/http writes the head of an answer that nobody began
		if a.body != nil {
			a.body.leave()
		}
	})
}

// LetIn is for the requests of those who may: the body may take any time as long as it
// goes on, so may the answer, an answer that is an error ends no connection, and nothing
// that others send does. The writer is the one that [Guard] gave to the handler, or wraps
// it.
func LetIn(w http.ResponseWriter) {
	if a := writerIn(w); a != nil {
		a.release()
	}
}

// LoggedIn is for the requests of those who have a login: what people without one do does
// not end them. They have no more time than others.
func LoggedIn(w http.ResponseWriter) {
	if a := writerIn(w); a != nil && a.conn != nil {
		a.conn.enter(&a.conn.limiter.known)
	}
}

// writerIn is what [Guard] gave to the handler; nil in tests of a handler alone.
func writerIn(w http.ResponseWriter) *responseWriter {
	for {
		switch inner := w.(type) {
		case *responseWriter:
			return inner
		case interface{ Unwrap() http.ResponseWriter }:
			w = inner.Unwrap()
		default:
			return nil
		}
	}
}

func setReadDeadline(w http.ResponseWriter, t time.Time) {
	// Fails only where there is no connection, as in tests of a handler alone.
	_ = http.NewResponseController(w).SetReadDeadline(t)
}

// responseWriter decides, when it begins, whether the connection ends with it.
type responseWriter struct {
	http.ResponseWriter
	conn       *trackedConn
	last       bool  // whatever is answered
	authorized bool  // errors are not ours
	body       *body // nil: there is none
	begun      bool
}

func (a *responseWriter) release() {
	a.authorized = true
	a.conn.leave()
	if a.body != nil && !a.body.complete.Load() {
		a.body.letIn.Store(true)
		a.body.deadline(time.Now().Add(PauseTimeout))
	}
}

// begin must come before the head of the answer is written; only the first counts.
func (a *responseWriter) begin(status int) {
	if a.begun {
		return
	}
	a.begun = true
	left := a.body != nil && !a.body.whole()
	if !a.authorized {
		if left {
			a.body.readRest()
		}
		// Fails only where there is no connection; net/http takes it away in the end.
		_ = http.NewResponseController(a.ResponseWriter).SetWriteDeadline(time.Now().Add(answerTimeout))
	}
	refused := status >= http.StatusBadRequest && !a.authorized
	if a.last || refused || left {
		a.Header().Set("Connection", "close")
	}
}

// WriteHeader implements http.ResponseWriter; hints (1xx) are not the answer.
func (a *responseWriter) WriteHeader(status int) {
	if status >= http.StatusOK || status == http.StatusSwitchingProtocols {
		a.begin(status)
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *responseWriter) Write(p []byte) (int, error) {
	a.begin(http.StatusOK)
	return a.ResponseWriter.Write(p)
}

// FlushError is for http.ResponseController: to flush begins the answer.
func (a *responseWriter) FlushError() error {
	a.begin(http.StatusOK)
	return http.NewResponseController(a.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController.
func (a *responseWriter) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// body is a request's. A reverse proxy reads it beside the answer, and may go on for a
// moment when the answer is over.
type body struct {
	from     io.Reader
	deadline func(time.Time)
	sent     bool // it is on its way, and may be short enough to wait for
	letIn    atomic.Bool
	complete atomic.Bool
	spoiled  atomic.Bool // a read was ended by force, and with it the connection
	leaving  sync.Once

	reading sync.Mutex
	left    bool // nobody reads on
	failed  bool // it did not come, in time or at all
}

// Read implements io.Reader. A body of known length says that it ends together
// with its last bytes, so whoever passes all of them on knows it before an answer
// can come. Its end stays: net/http closes a body when the answer begins, and the
// transport of a reverse proxy, which looks once more behind the last byte, would
// take that for a failed request and cut the answer.
func (b *body) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if b.complete.Load() {
		return 0, io.EOF
	}
	if b.left {
		return 0, http.ErrBodyReadAfterClose
	}
	if b.letIn.Load() && !b.complete.Load() { // the deadline behind the end is net/http's
		b.deadline(time.Now().Add(PauseTimeout))
	}
	n, err := b.from.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		b.complete.Store(true)
	case err != nil:
		b.failed = true
	}
	return n, err
}

// Close implements io.Closer. To close net/http's own body would wait for whoever
// reads it; net/http does so itself in the end.
func (b *body) Close() error {
	b.leave()
	return nil
}

// whole reports whether nothing of it can come behind the answer.
func (b *body) whole() bool { return b.complete.Load() && !b.spoiled.Load() }

// readRest throws away what nobody has read, if that is short and comes in time.
func (b *body) readRest() {
	if b.sent {
		_, _ = io.CopyN(io.Discard, b, maxRest) // what does not come is its sender's loss
	}
}

// leave ends all reading of a body that is not complete. What is left of it is thrown
// away by net/http, and waited for no longer than other bodies.
func (b *body) leave() {
	if b.complete.Load() {
		return
	}
	b.leaving.Do(func() {
		b.spoiled.Store(true)       // the end may come at this very moment
		b.deadline(time.Unix(1, 0)) // ends a read that is under way
		b.reading.Lock()
		defer b.reading.Unlock()
		b.left = true
		if !b.failed {
			b.deadline(time.Now().Add(BodyTimeout))
		}
	})
}
