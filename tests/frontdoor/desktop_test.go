package frontdoor

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/operator/agent"
	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
)

// streamer plays Selkies behind an agent: it has its endpoints, and takes one stream
// from an address.
type streamer struct {
	mu      sync.Mutex
	took    []string        // bodies
	cookies []string        // that it saw
	streams map[string]bool // by address
}

func (s *streamer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(body) > 0 {
		s.took = append(s.took, string(body))
	}
	s.cookies = append(s.cookies, r.Header["Cookie"]...)
	switch {
	case r.Header.Get("Upgrade") != "":
		s.stream(w, r)
	case strings.HasPrefix(r.URL.Path, "/api/files/"):
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<script>")
	default:
		w.Header().Set("Set-Cookie", "bomb=x; Domain="+domain)
		_, _ = io.WriteString(w, "done")
	}
}

func (s *streamer) stream(w http.ResponseWriter, r *http.Request) {
	from, _, _ := net.SplitHostPort(r.RemoteAddr)
	if s.streams[from] {
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	s.streams[from] = true
	if c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}); err == nil {
		go func() { <-c.CloseRead(r.Context()).Done() }()
	}
}

func (s *streamer) saw(cookie string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(strings.Join(s.cookies, ";"), cookie)
}

// insider is who has a login at the streamer's agent, or at a plain proxy.
type insider struct {
	t        *testing.T
	address  string
	streamer *streamer
}

// behindProxy is the streamer behind a proxy that hands on everything.
func behindProxy(t *testing.T) *insider {
	t.Helper()
	return beside(t, func(desktop string) http.Handler {
		return httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: desktop})
	})
}

// behindAgent is the streamer behind the real agent.
func behindAgent(t *testing.T, files vdi.FileTransferPolicy) *insider {
	t.Helper()
	return beside(t, func(desktop string) http.Handler {
		a, err := agent.New(agent.Config{
			Desktop: desktop, CredentialsDir: visitorSecret(t), Host: aliceHost, Session: "team/alice-1", SessionUID: "uid of alice-1",
			Mode: wire.AccessPassword, Input: "selkies", Endpoints: platform.EndpointsSelkies, FileTransfer: files,
			MaxSessionAge: time.Hour, Log: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, a.Close()) })
		return a.Session()
	})
}

func beside(t *testing.T, door func(desktop string) http.Handler) *insider {
	t.Helper()
	s := &streamer{streams: map[string]bool{}}
	desktop := httptest.NewServer(s)
	t.Cleanup(desktop.Close)
	server := httptest.NewServer(door(desktop.Listener.Addr().String()))
	t.Cleanup(server.Close)
	return &insider{t, server.Listener.Addr().String(), s}
}

// ask is a request with the login, from an address.
func (i *insider) ask(method, path, body string, headers ...string) *http.Response {
	i.t.Helper()
	r, err := http.NewRequestWithContext(i.t.Context(), method, "http://"+i.address+path, strings.NewReader(body))
	require.NoError(i.t, err)
	r.Host = aliceHost
	r.SetBasicAuth("desktop", visitorPassword)
	for n := 0; n < len(headers); n += 2 {
		r.Header.Set(headers[n], headers[n+1])
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(i.t, err)
	i.t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

// opens says whether a stream opens, with more headers.
func (i *insider) opens(headers ...string) bool {
	i.t.Helper()
	answer := i.ask(http.MethodGet, "/api/websockets", "", append(headers, "Connection", "Upgrade", "Upgrade", "websocket",
		"Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")...)
	return answer.StatusCode == http.StatusSwitchingProtocols
}

// TestA36StreamerEndpoints: what Selkies can do beside its page gets around no policy.
func TestA36StreamerEndpoints(t *testing.T) {
	served := func(method, path string) func(*insider) ledger.Outcome {
		return func(i *insider) ledger.Outcome {
			answer := i.ask(method, path, "")
			return ledger.Judge(answer.StatusCode == http.StatusOK, ledger.Runtime, "answered "+answer.Status)
		}
	}
	for name, c := range map[string]struct {
		files vdi.FileTransferPolicy
		do    func(*insider) ledger.Outcome
	}{
		"a screenshot where no file may leave":        {vdi.FileTransferNone, served(http.MethodGet, "/api/screenshot")},
		"a recording where files only come in":        {vdi.FileTransferUpload, served(http.MethodPost, "/api/recording")},
		"a recording, written in another way":         {vdi.FileTransferBoth, served(http.MethodPost, "/api/files/../recording")},
		"logins for others":                           {vdi.FileTransferBoth, served(http.MethodPost, "/api/tokens")},
		"a file in a request that asks for something": {vdi.FileTransferNone, carried},
		"a page of scripts among the files": {vdi.FileTransferBoth, func(i *insider) ledger.Outcome {
			shown := i.ask(http.MethodGet, "/api/files/evil.html", "").Header.Get("Content-Disposition")
			return ledger.Judge(shown == "", ledger.Runtime, "an "+shown)
		}},
	} {
		ledger.Try(t, name,
			func(t *testing.T) ledger.Outcome { return c.do(behindProxy(t)) },
			func(t *testing.T) ledger.Outcome { return c.do(behindAgent(t, c.files)) })
	}
}

// carried sends a file with a GET.
func carried(i *insider) ledger.Outcome {
	answer := i.ask(http.MethodGet, "/take", "malware.exe")
	return ledger.Judge(len(i.streamer.took) > 0, ledger.Runtime, "answered "+answer.Status)
}

// TestA37ForeignCookies: a program in the desktop gets no login at another
// application of the domain, and leaves no cookie there.
func TestA37ForeignCookies(t *testing.T) {
	const foreign = "sso=canary-of-another-application"
	for name, do := range map[string]func(*insider) ledger.Outcome{
		"with a page": func(i *insider) ledger.Outcome {
			i.ask(http.MethodGet, "/", "", "Cookie", foreign)
			return ledger.Judge(i.streamer.saw("canary"), ledger.Runtime, "not handed on")
		},
		"with a stream": func(i *insider) ledger.Outcome {
			require.True(i.t, i.opens("Cookie", "a=1; "+foreign))
			return ledger.Judge(i.streamer.saw("canary"), ledger.Runtime, "not handed on")
		},
		"one for all hosts": func(i *insider) ledger.Outcome {
			set := i.ask(http.MethodGet, "/", "").Header.Get("Set-Cookie")
			return ledger.Judge(strings.Contains(set, "Domain"), ledger.Runtime, set)
		},
	} {
		ledger.Try(t, name,
			func(t *testing.T) ledger.Outcome { return do(behindProxy(t)) },
			func(t *testing.T) ledger.Outcome { return do(behindAgent(t, vdi.FileTransferBoth)) })
	}
}

// TestA38CrowdedAddress: one visitor's stream does not keep another's out.
func TestA38CrowdedAddress(t *testing.T) {
	do := func(i *insider) ledger.Outcome {
		require.True(i.t, i.opens("X-Forwarded-For", "192.0.2.1"))
		return ledger.Judge(!i.opens("X-Forwarded-For", "192.0.2.2"), ledger.Runtime, "both streams open")
	}
	ledger.Try(t, "a stream beside another visitor's",
		func(t *testing.T) ledger.Outcome { return do(behindProxy(t)) },
		func(t *testing.T) ledger.Outcome { return do(behindAgent(t, vdi.FileTransferBoth)) })
}
