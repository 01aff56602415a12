package frontdoor

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
)

const (
	// strangers are as many as were needed to fill an agent's container.
	strangers = 6000
	// limit of an agent's memory in the chart, in bytes.
	limit = 128 << 20
	// room is how much an agent may grow: it has 14 MiB at rest, and this program more.
	room = limit - 14<<20
	// padding makes a stranger's headers large, in bytes: half of what an agent reads.
	padding = 16 << 10
	// fields make them larger than they are, once they are parsed.
	fields = 200
)

// agentVariable holds a [child]'s settings.
const agentVariable = "VDI_TEST_AGENT"

// child is an agent that is this test's program once more, so that it has a memory of
// its own.
type child struct {
	Desktop, Secret string
	// Bounded is what is attacked; without it the agent serves as the first ones did.
	Bounded bool
}

// be serves until whoever started it has gone. Its first line is its address.
func (c child) be() error {
	a, err := passwordAgent(c.Desktop, c.Secret)
	if err != nil {
		return err
	}
	debug.SetMemoryLimit(limit / 10 * 9) // as the program itself does in a container
	boundless := unguarded(a.Session())
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { //nolint:gosec // no time limit, to show what comes of it
		if len(r.Header["Upgrade"]) > 0 {
			a.Session().ServeHTTP(w, r)
			return
		}
		boundless.ServeHTTP(w, r)
	})}
	if c.Bounded {
		return c.serve(httpserver.New(a.Session(), slog.New(slog.DiscardHandler), 32<<10))
	}
	return c.serve(server)
}

func (child) serve(server interface {
	Serve(net.Listener) error
	Close() error
},
) error {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	return server.Serve(listener)
}

func TestMain(m *testing.M) {
	settings, is := os.LookupEnv(agentVariable)
	if !is {
		os.Exit(ledger.Main(m))
	}
	c := child{}
	if err := json.Unmarshal([]byte(settings), &c); err != nil {
		panic(err)
	}
	fmt.Fprintln(os.Stderr, "the agent has ended:", c.be())
}

// besieged is Alice's agent, a process of its own behind the real proxy.
type besieged struct {
	*edge
	pid int
}

func newBesieged(t *testing.T, bounded bool) *besieged {
	t.Helper()
	b := &besieged{edge: newBareEdge(t, wire.AccessOIDC)}
	desktop := httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(desktop.Close)
	settings, err := json.Marshal(child{desktop.Listener.Addr().String(), visitorSecret(t), bounded})
	require.NoError(t, err)
	program, err := os.Executable()
	require.NoError(t, err)
	process := exec.Command(program)
	process.Env = append(os.Environ(), agentVariable+"="+string(settings))
	process.Stderr = &bytes.Buffer{}
	_, err = process.StdinPipe() // closed when this process ends
	require.NoError(t, err)
	said, err := process.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, process.Start())
	t.Cleanup(func() {
		require.NoError(t, process.Process.Kill())
		_ = process.Wait() // killed
		if t.Failed() {
			t.Log(process.Stderr)
		}
	})
	address, err := bufio.NewReader(said).ReadString('\n')
	require.NoError(t, err)
	b.pid, b.alice = process.Process.Pid, strings.TrimSpace(address)
	b.runPlainProxy(safeProxy, b.serve(b.pages()))
	return b
}

var inKiB = regexp.MustCompile(`(?m)^(VmRSS|VmHWM):\s+(\d+) kB$`)

// memory is how much the agent uses, and used at most, in bytes.
func (b *besieged) memory() (now, most int64) {
	b.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.pid))
	require.NoError(b.t, err)
	for _, found := range inKiB.FindAllStringSubmatch(string(status), -1) {
		kib, err := strconv.ParseInt(found[2], 10, 64)
		require.NoError(b.t, err)
		if found[1] == "VmRSS" {
			now = kib << 10
		} else {
			most = kib << 10
		}
	}
	return now, most
}

// files is how many the agent has open: a connection is one.
func (b *besieged) files() int {
	b.t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", b.pid))
	require.NoError(b.t, err)
	return len(all)
}

// letsIn shows whether the right password opens the desktop, at the second try at the
// latest. The agent cuts connections that nobody uses, and the proxy may just have taken
// one for this form: it cannot send a form twice, and answers 500 (as HTTP/1.1 has it, see
// RFC 9112, section 9.3.1). Whoever is kept out by strangers is so however often they try.
func (b *besieged) letsIn(who *browser) error {
	first := b.triesPassword(who)
	if first == nil {
		return nil
	}
	b.t.Log("tried again:", first)
	if err := b.triesPassword(who); err != nil {
		return fmt.Errorf("twice: %w, then %w", first, err)
	}
	return nil
}

func (b *besieged) triesPassword(who *browser) error {
	home := b.url(aliceHost)
	form := url.Values{"password": {visitorPassword}, "next": {"/"}}.Encode()
	answer := who.staying().do(http.MethodPost, home+"/.vdi/login", form, "Origin", home)
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusSeeOther {
		return fmt.Errorf("the right password: %s", answer.Status)
	}
	return nil
}

// says shows whether a stream is alive.
func says(ctx context.Context, stream *websocket.Conn) error {
	if err := stream.Write(ctx, websocket.MessageText, []byte("still here")); err != nil {
		return err
	}
	_, _, err := stream.Read(ctx)
	return err
}

// besiege lets strangers come who hold what they can, until the agent has no room left or
// is rid of them: that it has their connections does not mean that it has read what they
// sent. Meanwhile the owner's stream goes on, and people log in.
func (b *besieged) besiege(t *testing.T, stranger func(ctx context.Context, number int)) ledger.Outcome {
	t.Helper()
	owner := b.browser()
	require.NoError(t, b.letsIn(owner))
	stream, _ := b.stream(owner, aliceHost, b.url(aliceHost))
	require.NotNil(t, stream)
	atRest, _ := b.memory()
	files := b.files()

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var gone atomic.Int64
	for i := range strangers {
		go func() {
			defer gone.Add(1)
			stranger(ctx, i)
		}()
	}
	var harm error
	most, peak, rid, began, next := 0, int64(0), false, time.Now(), time.NewTicker(100*time.Millisecond)
	defer next.Stop()
	for ; peak-atRest <= room && !rid && harm == nil; <-next.C {
		require.Less(t, time.Since(began), 5*time.Minute, "%d MiB more, at most %d files, %d gone", (peak-atRest)>>20, most, gone.Load())
		if harm = says(ctx, stream); harm == nil {
			harm = b.letsIn(b.browser())
		}
		now := b.files()
		most = max(most, now)
		_, peak = b.memory()
		rid = gone.Load() > strangers/2 && now < files+10 // the proxy may hold the rest
	}
	words := fmt.Sprintf("%d MiB more, at most %d files, %v", (peak-atRest)>>20, most, harm)
	t.Log(words)
	return ledger.Judge(harm != nil || peak-atRest > room, ledger.Runtime, words)
}

// slowly is the path and the content type of a POST whose rest never comes.
func slowly(number int) (path, kind string) {
	switch number % 3 {
	case 0:
		return "/.vdi/login", "application/x-www-form-urlencoded"
	case 1:
		return "/.vdi/logout", "text/plain"
	default:
		return "/.vdi/nowhere", "text/plain"
	}
}

// TestA35SlowStrangers: whoever has shown nothing fills no agent, and keeps nobody out.
func TestA35SlowStrangers(t *testing.T) {
	pad, short := strings.Repeat("x", padding), ""
	for n := range fields {
		short += fmt.Sprintf("X%d:\r\n", n)
	}
	for name, do := range map[string]func(b *besieged) func(ctx context.Context, number int){
		"requests that never end": func(b *besieged) func(context.Context, int) {
			return func(ctx context.Context, number int) {
				conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", b.alice)
				if err != nil {
					return
				}
				defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
				path, kind := slowly(number)
				sent := "POST " + path + " HTTP/1.1\r\nHost: " + aliceHost + "\r\nContent-Type: " + kind + "\r\nContent-Length: 100\r\nOrigin: https://" + aliceHost + "\r\n" + short + "X-Pad: " + pad
				if number%2 == 0 { // else not even the head ends
					sent += "\r\n\r\nx"
				}
				if _, err := io.WriteString(conn, sent); err == nil {
					_, _ = io.Copy(io.Discard, conn)
				}
			}
		},
		"requests that never end, through the proxy by HTTP/2": func(b *besieged) func(context.Context, int) {
			protocols := new(http.Protocols)
			protocols.SetHTTP2(true)
			transport := &http.Transport{
				Protocols: protocols, TLSClientConfig: &tls.Config{ServerName: aliceHost, InsecureSkipVerify: true}, //nolint:gosec // the test's own server
			}
			b.t.Cleanup(transport.CloseIdleConnections)
			return func(ctx context.Context, number int) {
				path, kind := slowly(number)
				body, rest := io.Pipe()
				defer context.AfterFunc(ctx, func() { _ = rest.Close() })()
				r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+b.address+path, body)
				if err != nil {
					return
				}
				r.Host, r.ContentLength = aliceHost, 100
				r.Header.Set("Content-Type", kind)
				r.Header.Set("Origin", "https://"+aliceHost)
				r.Header.Set("X-Pad", pad)
				if answer, err := transport.RoundTrip(r); err == nil {
					_ = answer.Body.Close()
				}
			}
		},
	} {
		siege := func(bounded bool) ledger.Attempt {
			return func(t *testing.T) ledger.Outcome {
				t.Helper()
				b := newBesieged(t, bounded)
				return b.besiege(t, do(b))
			}
		}
		ledger.Try(t, name, siege(false), siege(true))
	}
}

// TestKnownPeopleAmongStrangers: the form of somebody with a login may come late, however
// many strangers hold what they can.
func TestKnownPeopleAmongStrangers(t *testing.T) {
	e, host := newEdge(t), "alice-2."+domain
	e.known.add("alice-2", alice, vdi.PhaseSuspended)
	e.suspend(host)
	b := e.browser()
	form := formOf(t, text(t, b.open(e.url(host)+"/", alice)))
	cookies := ""
	at, err := url.Parse(e.url(host))
	require.NoError(t, err)
	for _, c := range b.Jar.Cookies(at) {
		cookies += c.Name + "=" + c.Value + "; "
	}
	post := func(cookies string) net.Conn {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", e.people)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		_, err = fmt.Fprintf(conn, "POST /.vdi/resume HTTP/1.1\r\nHost: %s\r\nOrigin: %s\r\nCookie: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n",
			host, e.url(host), cookies, len(form))
		require.NoError(t, err)
		return conn
	}
	hers, stranger := post(cookies), post("")
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = io.Copy(io.Discard, stranger)
	}()
	for { // until strangers are cut for others
		post("")
		select {
		case <-over:
			_, err = io.WriteString(hers, form)
			require.NoError(t, err)
			answer, err := http.ReadResponse(bufio.NewReader(hers), nil)
			require.NoError(t, err)
			require.NoError(t, answer.Body.Close())
			require.Equal(t, http.StatusSeeOther, answer.StatusCode)
			require.Equal(t, []string{"resume alice-2"}, e.known.done())
			return
		default:
		}
	}
}
