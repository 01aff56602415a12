package frontdoor

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/operator/agent"
	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
)

// container is one run of an agent's container in Alice's pod.
type container struct {
	*insider
	stateDir string
	local    net.Addr
	stop     func()
}

// startContainer starts an agent; stateDir is its folder that outlives it, if it has
// one. Its desktop is up.
func startContainer(t *testing.T, stateDir string) *container {
	t.Helper()
	desktop := httptest.NewServer(&streamer{streams: map[string]bool{}})
	t.Cleanup(desktop.Close)
	a, err := agent.New(agent.Config{
		Desktop: desktop.Listener.Addr().String(), CredentialsDir: visitorSecret(t), StateDir: stateDir, Host: aliceHost,
		Session: "team/alice-1", SessionUID: "uid of alice-1", Mode: wire.AccessPassword, Input: "selkies",
		Endpoints: platform.EndpointsSelkies, MaxSessionAge: time.Hour, Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	open := func() net.Listener {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		return l
	}
	local, err := agent.ListenLocal(t.Context(), stateDir, "127.0.0.1:0")
	require.NoError(t, err)
	at := agent.Listeners{Session: open(), Status: open(), Local: local}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Serve(ctx, at) }()
	var stopped bool
	c := &container{insider: &insider{t: t, address: at.Session.Addr().String()}, stateDir: stateDir, local: local.Addr()}
	c.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(t, <-done)
			require.NoError(t, a.Close())
		}
	}
	t.Cleanup(c.stop)
	return c
}

// form is a form of the desktop's own page, with a cookie.
func (c *container) form(path, cookie string, fields url.Values) *http.Response {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, "http://"+c.address+path, strings.NewReader(fields.Encode()))
	require.NoError(c.t, err)
	r.Host = aliceHost
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", aliceURL)
	r.Header.Set("Cookie", cookie)
	answer, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(c.t, err)
	require.NoError(c.t, answer.Body.Close())
	return answer
}

// TestA42LogoutForgotten: a stolen cookie of a login that has ended opens nothing when
// the agent's container has started again, as strangers may have made it.
func TestA42LogoutForgotten(t *testing.T) {
	attempt := func(t *testing.T, stateDir string) ledger.Outcome {
		first := startContainer(t, stateDir)
		set := first.form("/.vdi/login", "", url.Values{"password": {visitorPassword}}).Cookies()
		require.Len(t, set, 1)
		stolen := set[0].Name + "=" + set[0].Value
		first.form("/.vdi/logout", stolen, nil)
		first.stop()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+startContainer(t, stateDir).address+"/", nil)
		require.NoError(t, err)
		r.Host = aliceHost
		r.Header.Set("Cookie", stolen)
		answer, err := http.DefaultTransport.RoundTrip(r)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		return ledger.Judge(answer.StatusCode == http.StatusOK, ledger.Runtime, "answered "+answer.Status)
	}
	ledger.Try(t, "a cookie of before the logout, after a restart",
		func(t *testing.T) ledger.Outcome { return attempt(t, "") },
		func(t *testing.T) ledger.Outcome { return attempt(t, t.TempDir()) })
}

// TestA42GoodbyeFromTheDesktop: a program in the desktop, which shares the pod's network
// and none of the agent's volumes, does not lock its owner out.
func TestA42GoodbyeFromTheDesktop(t *testing.T) {
	attempt := func(t *testing.T, stateDir string) ledger.Outcome {
		c := startContainer(t, stateDir)
		require.Equal(t, http.StatusOK, c.ask(http.MethodGet, "/", "").StatusCode)
		words := "no port takes it"
		if c.local.Network() == "tcp" {
			require.NoError(t, agent.SendGoodbye(t.Context(), "tcp", c.local.String()))
		} else {
			for _, port := range []string{c.address, "127.0.0.1:8092"} {
				require.Error(t, agent.SendGoodbye(t.Context(), "tcp", port))
			}
		}
		outcome := ledger.Judge(c.ask(http.MethodGet, "/", "").StatusCode != http.StatusOK, ledger.Runtime, words)
		if stateDir != "" { // the hook of its own container still does it
			network, address := agent.LocalAddress(stateDir, "")
			require.NoError(t, agent.SendGoodbye(t.Context(), network, address))
			require.Equal(t, http.StatusServiceUnavailable, c.ask(http.MethodGet, "/", "").StatusCode)
		}
		return outcome
	}
	ledger.Try(t, "a goodbye by a program in the desktop",
		func(t *testing.T) ledger.Outcome { return attempt(t, "") },
		func(t *testing.T) ledger.Outcome { return attempt(t, t.TempDir()) })
}

// TestA42ServiceWorker: a program that took the place of Selkies leaves none of its own
// in the browser, which would see the next run's login.
func TestA42ServiceWorker(t *testing.T) {
	registers := func(i *insider, path string) ledger.Outcome {
		answer := i.ask(http.MethodGet, path, "", "Service-Worker", "script")
		return ledger.Judge(answer.StatusCode == http.StatusOK, ledger.Runtime, "answered "+answer.Status)
	}
	for name, path := range map[string]string{"a script of the page": "/sw.js", "a script among the files": "/api/files/sw.js"} {
		ledger.Try(t, name,
			func(t *testing.T) ledger.Outcome { return registers(behindProxy(t), path) },
			func(t *testing.T) ledger.Outcome { return registers(behindAgent(t, vdi.FileTransferBoth), path) })
	}
	ledger.Try(t, "what the page has stored, after a logout", func(t *testing.T) ledger.Outcome {
		return forgets(behindProxy(t).ask(http.MethodPost, "/.vdi/logout", ""))
	}, func(t *testing.T) ledger.Outcome {
		return forgets(behindAgent(t, vdi.FileTransferBoth).ask(http.MethodPost, "/.vdi/logout", ""))
	})
}

func forgets(answer *http.Response) ledger.Outcome {
	clears := answer.Header.Get("Clear-Site-Data")
	return ledger.Judge(!strings.Contains(clears, `"storage"`), ledger.Runtime, "the browser forgets it")
}

// TestA42StreamsFromElsewhere: a page of another desktop, in its user's browser, uses up
// no stream of a session's page.
func TestA42StreamsFromElsewhere(t *testing.T) {
	ask := func(t *testing.T, h http.Handler, cookies []*http.Cookie) ledger.Outcome {
		ctx, stop := context.WithCancel(t.Context())
		stop() // one look is enough
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "https://"+aliceHost+"/.vdi/events", nil)
		for name, value := range map[string]string{"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Accept": "text/event-stream"} {
			r.Header.Set(name, value)
		}
		for _, c := range cookies {
			r.AddCookie(c)
		}
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r)
		return ledger.Judge(answer.Code == http.StatusOK, ledger.Runtime, "answered "+http.StatusText(answer.Code))
	}
	w := newWorld(t, wire.AccessOIDC)
	w.suspend(aliceHost)
	b := w.browser()
	require.Contains(t, w.enter(b), "is suspended")
	at, err := url.Parse(aliceURL)
	require.NoError(t, err)
	cookies := b.Jar.Cookies(at)
	ledger.Try(t, "a stream from a sibling host", func(t *testing.T) ledger.Outcome {
		return ask(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // it looks at the login alone
			if len(r.Cookies()) == 0 {
				w.WriteHeader(http.StatusUnauthorized)
			}
		}), cookies)
	}, func(t *testing.T) ledger.Outcome { return ask(t, w.doors[0].Pages(), cookies) })
}
