package frontdoor

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
)

// newNaiveEdge is an older proxy, which keeps underscores in the names of headers,
// before two desktops as many are put online: the proxy asks whether somebody has logged in, not whose desktop it is, leaves a public
// path alone, and the desktop believes the headers that name its visitor.
func newNaiveEdge(t *testing.T) *edge {
	t.Helper()
	e := newBareEdge(t, wire.AccessPassword)
	serve := func(h http.HandlerFunc) string {
		server := httptest.NewServer(h)
		t.Cleanup(server.Close)
		return server.Listener.Addr().String()
	}
	e.alice, e.bob = serve(naiveDesktop(alice)), serve(naiveDesktop(bob))
	pages := serve(func(http.ResponseWriter, *http.Request) {})
	auth := serve(func(out http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie("login"); err != nil {
			out.WriteHeader(http.StatusUnauthorized)
		}
	})
	e.runProxy(unsafeProxy, fmt.Sprintf(`
http:
  routers:
    alice: {rule: "Host(`+"`%s`"+`)", priority: 100, service: alice, middlewares: [door], tls: {}}
    bob: {rule: "Host(`+"`%s`"+`)", priority: 100, service: bob, middlewares: [door], tls: {}}
    public: {rule: "PathPrefix(`+"`/public/`"+`)", priority: 200, service: bob, tls: {}}
    headers: {rule: "Host(`+"`headers.%s`"+`)", priority: 100, service: bob, tls: {}}
    others: {rule: "HostRegexp(`+"`^auth[.]`"+`)", priority: 1, service: pages, tls: {}}
  middlewares:
    door: {forwardAuth: {address: "http://%s/"}}
  services:
    alice: {loadBalancer: {servers: [{url: "http://%s"}]}}
    bob: {loadBalancer: {servers: [{url: "http://%s"}]}}
    pages: {loadBalancer: {servers: [{url: "http://%s"}]}}
`, aliceHost, bobHost, domain, auth, e.alice, e.bob, pages))
	return e
}

// naiveDesktop lets in whoever a proxy seems to name, reads header names as CGI does,
// and knows where it is mounted from a header.
func naiveDesktop(owner string) http.HandlerFunc {
	return func(out http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			echo(out, r)
			return
		}
		for name, values := range r.Header {
			switch strings.ReplaceAll(strings.ToUpper(name), "_", "-") {
			case "X-FORWARDED-USER", "REMOTE-USER", "X-AUTH-REQUEST-EMAIL", "X-FORWARDED-EMAIL":
				if values[0] == owner {
					fmt.Fprint(out, "a desktop at /, welcome ", owner)
					return
				}
			case "X-FORWARDED-PREFIX":
				fmt.Fprintf(out, "a desktop at /, <base href=%q>", values[0])
				return
			}
		}
		if _, err := r.Cookie("login"); err == nil || strings.HasPrefix(path.Clean(r.URL.Path), "/private") {
			fmt.Fprint(out, "a desktop at ", r.URL.Path)
			return
		}
		out.WriteHeader(http.StatusUnauthorized)
	}
}

// reaches judges an answer: Worked when it is the desktop's.
func (e *edge) reaches(answer *http.Response) ledger.Outcome {
	e.t.Helper()
	body := text(e.t, answer)
	return ledger.Judge(answer.StatusCode == http.StatusOK && strings.Contains(body, "a desktop at"), ledger.Runtime, "answered "+answer.Status)
}

// TestA21ForwardedHeaders: headers in which proxies tell who a visitor is, and paths
// that are read in two ways, let nobody in.
func TestA21ForwardedHeaders(t *testing.T) {
	naive, e := newNaiveEdge(t), newEdge(t)
	stolen := e.login(t)
	for name, headers := range map[string][]string{
		"X-Forwarded-User":     {"X-Forwarded-User", bob},
		"with underscores":     {"X_Forwarded_User", bob},
		"with one underscore":  {"X-Forwarded_User", bob},
		"twice":                {"X-Forwarded-User", bob, "X-Forwarded-User", bob},
		"Remote-User":          {"Remote-User", bob},
		"REMOTE_USER":          {"REMOTE_USER", bob},
		"X-Auth-Request-Email": {"X-Auth-Request-Email", bob},
		"X_Forwarded_Prefix":   {"X_Forwarded_Prefix", "https://evil.example.com"},
	} {
		ledger.Try(t, name, func(t *testing.T) ledger.Outcome {
			return naive.reaches(naive.browser().staying().get(naive.url("headers."+domain)+"/", headers...))
		}, func(t *testing.T) ledger.Outcome {
			nobody := e.reaches(e.browser().staying().get(e.url(bobHost)+"/", append(headers, "Accept", "*/*")...))
			if nobody.Stage == "" {
				return nobody
			}
			// Nor does a desktop see them whose owner is logged in.
			answer := e.browser().staying().get(e.url(aliceHost)+"/", append(headers, "Accept", "*/*", "Cookie", stolen)...)
			body := text(t, answer)
			require.Contains(t, []int{http.StatusOK, http.StatusBadRequest}, answer.StatusCode)
			return ledger.Judge(strings.Contains(body, headers[1]), ledger.Runtime, nobody.Words+", and its own desktop does not see it")
		})
	}
	for name, at := range map[string]string{
		"a path with encoded slashes": "/public/..%2fprivate",
	} {
		ledger.Try(t, name, func(t *testing.T) ledger.Outcome {
			return naive.reaches(naive.raw(t, bobHost, at))
		}, func(t *testing.T) ledger.Outcome {
			for _, at := range []string{at, strings.Replace(at, "public", ".vdi", 1), strings.Replace(at, "public", ".vdi/login", 1)} {
				if got := e.reaches(e.raw(t, bobHost, at)); got.Stage == "" {
					return got
				}
			}
			return ledger.Blocked(ledger.Runtime, "every path needs a login")
		})
	}
}

// login is the cookie of Alice's login at her desktop.
func (e *edge) login(t *testing.T) string {
	t.Helper()
	home, b := e.url(aliceHost), e.browser()
	require.Contains(t, text(t, b.open(home+"/", alice)), "a desktop at")
	return "__Host-vdi=" + b.cookie(home, "__Host-vdi")
}

// raw asks for a path exactly as it is written.
func (e *edge) raw(t *testing.T, host, at string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.url(host)+"/", nil)
	require.NoError(t, err)
	r.URL.Opaque = at
	answer, err := e.browser().staying().Do(r)
	require.NoError(t, err)
	return answer
}

// TestA22OthersSession: a valid login leads to nobody else's desktop.
func TestA22OthersSession(t *testing.T) {
	naive, e := newNaiveEdge(t), newEdge(t)
	stolen := e.login(t)
	stream := func(e *edge, host, origin, cookie string) ledger.Outcome {
		_, status := e.stream(e.browser(), host, origin, cookie)
		return ledger.Judge(status == http.StatusSwitchingProtocols, ledger.Runtime, "answered "+strconv.Itoa(status))
	}
	ledger.Try(t, "its page", func(*testing.T) ledger.Outcome {
		return naive.reaches(naive.browser().get(naive.url(bobHost)+"/", "Cookie", "login=alice"))
	}, func(t *testing.T) ledger.Outcome {
		b := e.browser()
		require.Contains(t, text(t, b.open(e.url(aliceHost)+"/", alice)), "a desktop at")
		return e.reaches(b.get(e.url(bobHost) + "/"))
	})
	ledger.Try(t, "its page, with one's own cookie", func(*testing.T) ledger.Outcome {
		return naive.reaches(naive.browser().get(naive.url(bobHost)+"/", "Cookie", "login=alice"))
	}, func(*testing.T) ledger.Outcome {
		return e.reaches(e.browser().staying().get(e.url(bobHost)+"/", "Cookie", stolen, "Accept", "*/*"))
	})
	ledger.Try(t, "its stream", func(*testing.T) ledger.Outcome {
		return stream(naive, bobHost, naive.url(bobHost), "login=alice")
	}, func(*testing.T) ledger.Outcome {
		return stream(e, bobHost, e.url(bobHost), stolen)
	})
	ledger.Try(t, "its stream, from a page elsewhere in its owner's browser", func(*testing.T) ledger.Outcome {
		return stream(naive, aliceHost, "https://evil.example.com", "login=alice")
	}, func(*testing.T) ledger.Outcome {
		return stream(e, aliceHost, "https://evil.example.com", stolen)
	})
	ledger.Try(t, "its stream, from one's own desktop in its owner's browser", func(*testing.T) ledger.Outcome {
		return stream(naive, aliceHost, naive.url(bobHost), "login=alice")
	}, func(*testing.T) ledger.Outcome {
		return stream(e, aliceHost, e.url(bobHost), stolen)
	})
	ledger.Try(t, "its page, without a login", func(*testing.T) ledger.Outcome {
		return naive.reaches(naive.browser().get(naive.url("headers."+domain)+"/", "X-Forwarded-User", bob))
	}, func(*testing.T) ledger.Outcome {
		return e.reaches(e.browser().staying().get(e.url(bobHost)+"/", "Accept", "*/*"))
	})
}

// TestA23DirectPath: a pod that is reached past the proxy asks for a statement all the
// same, and the only other port leads to the same agent (A18, renderer's guard).
func TestA23DirectPath(t *testing.T) {
	naive, e := newNaiveEdge(t), newEdge(t)
	stolen := e.login(t)
	good := e.statement(stolen)
	for name, c := range map[string]struct {
		address, host string
		headers       []string
	}{
		"with nothing":                      {e.bob, bobHost, nil},
		"with the name of its owner":        {e.bob, bobHost, []string{"X-Forwarded-User", bob}},
		"with one's own cookie":             {e.alice, aliceHost, []string{"Cookie", stolen}},
		"with one's own statement":          {e.bob, bobHost, []string{wire.HeaderStatement, good}},
		"with one's own statement and host": {e.bob, aliceHost, []string{wire.HeaderStatement, good}},
		"with a statement twice":            {e.alice, aliceHost, []string{wire.HeaderStatement, good, wire.HeaderStatement, good}},
		"with a statement cut short":        {e.alice, aliceHost, []string{wire.HeaderStatement, good[:len(good)-2]}},
		"by its address":                    {e.alice, "127.0.0.1", []string{wire.HeaderStatement, good}},
	} {
		ledger.Try(t, name, func(*testing.T) ledger.Outcome {
			return ledger.Judge(naive.direct(naive.bob, bobHost, "X-Forwarded-User", bob) == http.StatusOK, ledger.Runtime, "refused")
		}, func(t *testing.T) ledger.Outcome {
			require.Equal(t, http.StatusOK, e.direct(e.alice, aliceHost, wire.HeaderStatement, good), "its owner comes in that way")
			status := e.direct(c.address, c.host, c.headers...)
			return ledger.Judge(status == http.StatusOK, ledger.Runtime, "answered "+strconv.Itoa(status))
		})
	}
	ledger.Try(t, "a stream", func(t *testing.T) ledger.Outcome {
		return dialed(t, naive.bob, nil)
	}, func(t *testing.T) ledger.Outcome {
		return dialed(t, e.bob, http.Header{wire.HeaderStatement: {good}})
	})
}

// dialed opens a WebSocket past the proxy.
func dialed(t *testing.T, address string, header http.Header) ledger.Outcome {
	t.Helper()
	stream, answer, err := websocket.Dial(t.Context(), "ws://"+address+"/ws", &websocket.DialOptions{Host: bobHost, HTTPHeader: header})
	if err == nil {
		_ = stream.CloseNow()
		return ledger.Worked()
	}
	require.NotNil(t, answer, "%v", err)
	return ledger.Blocked(ledger.Runtime, "answered "+answer.Status)
}
