package frontdoor

import (
	"bytes"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

var (
	wireTime = flag.Duration("wire", 2*time.Second, "how long bytes are made up and sent through the proxy")
	wireSeed = flag.Uint64("wire-seed", 0, "what they are made from; 0: another each time")
)

const (
	wireSenders = 8
	// wireWait is how long a sender waits for more: a proxy keeps connections open.
	wireWait = 100 * time.Millisecond
	// evilPath is what no owner asks for.
	evilPath = "/api/files/evil.desktop"
)

// wiretap is the real proxy before the real agent and the real front door, and what was
// found while strangers sent it whatever they liked.
type wiretap struct {
	*shared
	sent         atomic.Int64
	asked        atomic.Int64 // names what the owner asks for
	byOne, byTwo atomic.Int64 // answers to strangers, by either protocol

	mu       sync.Mutex
	findings []string
}

func (w *wiretap) find(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.findings = append(w.findings, fmt.Sprintf(format, args...))
}

func (w *wiretap) found() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string{}, w.findings...)
}

// Write takes what the servers log: a panic is a finding.
func (w *wiretap) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("panic")) {
		w.find("a panic: %s", line)
	}
	return len(line), nil
}

func newWire(t *testing.T, program string, guard func(http.Handler) http.Handler) *wiretap {
	t.Helper()
	w := &wiretap{shared: &shared{newBareEdge(t, wire.AccessOIDC), &noted{}}}
	serve := func(h http.Handler) string {
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		server := httpserver.New(guard(h), slog.New(slog.NewTextHandler(w, nil)), 64<<10)
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(func() { require.NoError(t, server.Close()) })
		return listener.Addr().String()
	}
	desktop := httptest.NewServer(w.desktop)
	t.Cleanup(desktop.Close)
	a, err := passwordAgent(desktop.Listener.Addr().String(), visitorSecret(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	w.alice = serve(a.Session())
	w.runPlainProxy(program, serve(w.pages()))
	return w
}

// TestNothingOnTheWire: whatever bytes strangers send through the real proxy, by
// either protocol and several requests at once, the owner and other visitors get the
// answers to their own requests, nobody reaches the desktop without a login, a
// request is answered once, and nothing panics. -wire says for how long.
func TestNothingOnTheWire(t *testing.T) {
	w := newWire(t, safeProxy, as)
	seed := w.run(t, *wireTime, func() bool { return false })
	t.Logf("%d conversations from seed %d: %d answers by HTTP/1.1, %d by HTTP/2", w.sent.Load(), seed, w.byOne.Load(), w.byTwo.Load())
	require.Empty(t, w.found(), "seed %d", seed)
	require.True(t, w.byOne.Load() > 0 && w.byTwo.Load() > 0, "both protocols were understood")
}

// TestWireFindsWhatIsThere: the same finds the hole of a proxy and of servers without
// their guard.
func TestWireFindsWhatIsThere(t *testing.T) {
	w := newWire(t, unsafeProxy, unguarded)
	w.run(t, time.Minute, func() bool { return len(w.found()) > 0 })
	require.NotEmpty(t, w.found(), "after %d conversations", w.sent.Load())
	t.Logf("after %d conversations: %.300s", w.sent.Load(), w.found()[0])
}

// run sends until the time is over or enough was seen.
func (w *wiretap) run(t *testing.T, limit time.Duration, enough func() bool) (seed uint64) {
	t.Helper()
	seed = *wireSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	owner, visitor := w.logIn(), w.browser()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var senders sync.WaitGroup
	for i := range wireSenders {
		m := maker{rand.New(rand.NewPCG(seed, uint64(i)))} //nolint:gosec // not a secret
		senders.Go(func() {
			for ctx.Err() == nil && !enough() {
				was := w.converse(t.Context(), m)
				w.sent.Add(1)
				w.askAs(t.Context(), owner, visitor, was)
			}
		})
	}
	senders.Wait()
	for _, seen := range w.desktop.requests() {
		if seen != "GET /" && !strings.HasPrefix(seen, "GET /mine-") {
			w.find("the desktop was asked %s", seen)
		}
	}
	return seed
}

// askAs asks as the owner and as somebody who is nobody yet; was is what was sent
// last, for who reads the finding.
func (w *wiretap) askAs(ctx context.Context, owner, visitor *browser, was string) {
	path := "/mine-" + strconv.FormatInt(w.asked.Add(1), 10)
	if got := answerTo(ctx, owner, w.url(aliceHost)+path); got != "a desktop at "+path {
		w.find("the owner asked for %s and got %q after\n%s", path, got, was)
	}
	if got := answerTo(ctx, visitor, w.url("auth."+domain)+"/"); !strings.Contains(got, "You are not logged in") {
		w.find("a visitor of the front door got %q after\n%s", got, was)
	}
}

func answerTo(ctx context.Context, b *browser, url string) string {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err.Error()
	}
	r.Header.Set("Accept", "text/html")
	answer, err := b.Do(r)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}

// converse sends something made up and judges the answers; it returns what was sent.
func (w *wiretap) converse(ctx context.Context, m maker) (sent string) {
	protocol := []string{"http/1.1", "h2"}[m.IntN(2)]
	dialer := tls.Dialer{Config: &tls.Config{ServerName: m.host(), NextProtos: []string{protocol}, InsecureSkipVerify: true}} //nolint:gosec // the test's own server
	conn, err := dialer.DialContext(ctx, "tcp", w.address)
	if err != nil {
		w.find("the proxy is gone: %v", err)
		return ""
	}
	defer conn.Close()
	var got []byte
	if protocol == "h2" {
		sent, got = w.frames(conn, m)
	} else {
		sent = m.requests()
		_, _ = io.WriteString(conn, sent) // the proxy may have answered and gone
		got = listen(conn)
		answers, asked := len(answerLine.FindAll(got, -1)), strings.Count(sent, "HTTP/1")
		w.byOne.Add(int64(answers))
		if answers > asked+1 {
			w.find("%d answers to %d requests at most:\n%q\n%q", answers, asked, sent, got)
		}
	}
	switch {
	case bytes.Contains(got, []byte("a desktop at ")):
		w.find("the desktop without a login:\n%q\n%q", sent, got)
	case loginSet.Match(got):
		w.find("a login:\n%q\n%q", sent, got)
	}
	return fmt.Sprintf("%s %q", protocol, sent)
}

var (
	answerLine = regexp.MustCompile(`(?m)^HTTP/1\.[01] [2-5]\d\d `)
	loginSet   = regexp.MustCompile(`(?i)set-cookie: __Host-vdi(-login)?=[^;\s]`)
)

// listen reads what comes until nothing comes any more.
func listen(conn net.Conn) (all []byte) {
	part := make([]byte, 32<<10)
	for conn.SetReadDeadline(time.Now().Add(wireWait)) == nil {
		n, err := conn.Read(part)
		all = append(all, part[:n]...)
		if err != nil {
			break
		}
	}
	return all
}

// frames is a conversation in HTTP/2: some streams, open at once. What it returns as
// got are the headers and the bodies of the answers as text.
func (w *wiretap) frames(conn net.Conn, m maker) (sent string, got []byte) {
	var out, notes bytes.Buffer
	out.WriteString(http2.ClientPreface)
	framer := http2.NewFramer(&out, conn)
	framer.AllowIllegalWrites = true
	_ = framer.WriteSettings() // into memory, as all that follows
	for i := range 1 + m.IntN(3) {
		id, fields, body := uint32(2*i+1), m.fields(), m.bodies()
		var block bytes.Buffer
		encoder := hpack.NewEncoder(&block)
		for _, f := range fields {
			_ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		alone := m.IntN(4) == 0
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: alone})
		if !alone {
			_ = framer.WriteData(id, m.IntN(3) > 0, []byte(body))
		}
		fmt.Fprintf(&notes, "%d %q alone %t, then %q\n", id, fields, alone, body)
	}
	raw := out.Bytes()
	if m.IntN(8) == 0 {
		raw = m.mutated(raw)
	}
	_, _ = conn.Write(raw) // the proxy may have gone
	return notes.String(), w.readFrames(conn, framer, notes.String())
}

// readFrames reads until nothing comes any more; a stream has one answer.
func (w *wiretap) readFrames(conn net.Conn, framer *http2.Framer, sent string) []byte {
	var got bytes.Buffer
	answers := map[uint32]int{}
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for conn.SetReadDeadline(time.Now().Add(wireWait)) == nil {
		frame, err := framer.ReadFrame()
		if err != nil {
			break
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			status := frame.PseudoValue("status")
			if status >= "200" {
				answers[frame.StreamID]++
			}
			for _, f := range frame.RegularFields() {
				fmt.Fprintf(&got, "%s: %s\n", f.Name, f.Value)
			}
		case *http2.DataFrame:
			got.Write(frame.Data())
		}
	}
	w.byTwo.Add(int64(len(answers)))
	for id, n := range answers {
		if n > 1 {
			w.find("%d answers on stream %d:\n%s", n, id, sent)
		}
	}
	return got.Bytes()
}
