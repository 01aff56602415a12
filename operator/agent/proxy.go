package agent

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"time"

	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/operator/web"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// httpBuffer is the size of the buffers that bodies pass through, in bytes.
const httpBuffer = 32 << 10

// errDesktopLogin means that the desktop's own login and the Secret differ.
var errDesktopLogin = errors.New("the desktop refused the agent's login")

// newProxy passes requests on and answers back, each part at once.
func (a *Agent) newProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: a.rewrite, Transport: a.desktop,
		FlushInterval: -1, BufferPool: newBuffers(),
		ModifyResponse: a.checkResponse, ErrorHandler: a.proxyError,
		ErrorLog: newErrorLog(a.log),
	}
}

// rewrite makes the desktop's request from the visitor's. The host stays: the
// desktop compares it with the origin.
func (a *Agent) rewrite(p *httputil.ProxyRequest) {
	p.Out.URL.Scheme, p.Out.URL.Host = "http", a.config.Desktop
	p.Out.Trailer = nil // would be headers that nobody looked at
	forDesktop(p.Out.Header, a.credentials.Get())
	p.Out.Header.Set(wire.HeaderForwardedFor, web.ClientIP(p.In))
	p.Out.Header.Set(wire.HeaderForwardedHost, p.In.Host)
	p.Out.Header.Set(wire.HeaderForwardedProto, "https")
}

// checkResponse keeps the desktop from asking visitors for a login that the agent
// would strip, from setting cookies of others, from taking TLS back, and from
// giving files away where none may leave.
func (a *Agent) checkResponse(answer *http.Response) error {
	challenge := strings.Join(answer.Header["Www-Authenticate"], ",")
	if answer.StatusCode == http.StatusUnauthorized && strings.Contains(strings.ToLower(challenge), "basic") {
		return errDesktopLogin
	}
	cookiesForVisitor(answer.Header)
	httpserver.Strict(answer.Header)
	if err := checkDownload(answer, a.config.FileTransfer); err != nil {
		return err
	}
	a.asAttachment(answer)
	return nil
}

// proxyError answers the visitor when the desktop did not; the error is for the log.
func (a *Agent) proxyError(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, errDownload) {
		a.metrics.denied.WithLabelValues(reasonFiles).Inc()
		a.pages.message(w, r, http.StatusForbidden, noDownload)
		return
	}
	if r.Context().Err() == nil {
		a.log.Error("the desktop did not answer", "error", err.Error())
	}
	a.pages.message(w, r, http.StatusBadGateway, "The desktop does not answer yet. This page tries again by itself.")
}

// forward hands a visitor's request to the desktop, and stays as long as the
// answer or the WebSocket lasts.
func (a *Agent) forward(e *exchange) {
	socket := web.IsWebSocket(e.request.Header)
	if !socket {
		// Nothing but WebSockets may take the connection over.
		e.request.Header.Del("Upgrade")
	}
	a.exchanges.add(e)
	defer a.exchanges.remove(e)
	// From here on a change of password or key, or a logout, ends this exchange;
	// one that came in between has not seen it.
	if _, denied := a.visitorOf(e.request); denied != nil {
		a.refuse(e, denied)
		return
	}
	httpserver.LetIn(e) // an upload may take its time, and errors are the desktop's
	if a.input != nil && !web.IsSafe(e.request.Method) {
		a.activity.recordUse() // an upload, for example
	}
	a.activity.enter()
	defer a.activity.leave()
	if a.stopping.Load() { // a goodbye came in between and has not seen this one
		e.end(goodbye())
	}
	timer := time.AfterFunc(e.visitor.until.Sub(a.config.Now()), func() { e.end(ending{closePolicy, "your login has ended"}) })
	defer timer.Stop()
	e.opened = func(conn net.Conn, early *bufio.Reader) *stream { return a.open(e, conn, early) }
	defer a.closed(e)
	a.proxy.ServeHTTP(e, e.request.WithContext(withVisitor(e.request.Context(), e.visitor.key)))
}

// open makes the visitor's end of a WebSocket.
func (a *Agent) open(e *exchange, conn net.Conn, early *bufio.Reader) *stream {
	var message func(byte, []byte)
	if a.input != nil {
		message = func(opcode byte, head []byte) {
			if a.input(opcode, head) {
				a.activity.recordUse()
			}
		}
	}
	a.activity.connect(e.visitor.key)
	a.logOpened(e)
	s := newStream(conn, early, &e.counts, message, a.activity.lost)
	s.page = a.farewellAt(e.request)
	return s
}

// closed accounts for the end of a WebSocket, if it was one.
func (a *Agent) closed(e *exchange) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stream != nil {
		a.activity.disconnect(e.visitor.key, e.stream.lost.Load())
	}
}

// Goodbye sends all viewers the end of the desktop, lets nobody else in from now
// on, and returns when all have gone, at the latest when the context ends. It
// returns how many viewers there were.
func (a *Agent) Goodbye(ctx context.Context) int {
	viewers := a.activity.openStreams()
	if !a.stopping.Swap(true) {
		a.log.Info("goodbye", "streams", viewers)
	}
	a.exchanges.end(everybody, goodbye())
	a.exchanges.drained(ctx)
	return viewers
}

func goodbye() ending { return ending{closeGoingAway, stoppingSentence} }

// buffers implements httputil.BufferPool.
type buffers struct{ pool sync.Pool }

func newBuffers() *buffers {
	return &buffers{sync.Pool{New: func() any { b := make([]byte, httpBuffer); return &b }}}
}

func (b *buffers) Get() []byte  { return *b.pool.Get().(*[]byte) }
func (b *buffers) Put(p []byte) { b.pool.Put(&p) }
