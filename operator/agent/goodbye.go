package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

const (
	pathGoodbye = "/goodbye"
	// socketGoodbye is the local listener below --state-dir.
	socketGoodbye = "goodbye.sock"
	// goodbyeHeader must come with a goodbye. A page in the desktop's own browser
	// reaches a local port, but cannot send a header of this name there without
	// asking first (https://fetch.spec.whatwg.org/#cors-preflight-fetch).
	goodbyeHeader = "Vdi-Agent"
)

// LocalAddress is where the agent takes a goodbye: a socket in the folder that the
// agent alone mounts. Without one it is a port, which every program in the pod reaches.
func LocalAddress(stateDir, port string) (network, address string) {
	if stateDir == "" {
		return "tcp", port
	}
	return "unix", filepath.Join(stateDir, socketGoodbye)
}

// ListenLocal opens the listener for a goodbye.
func ListenLocal(ctx context.Context, stateDir, port string) (net.Listener, error) {
	network, address := LocalAddress(stateDir, port)
	if network == "tcp" && !IsLoopback(address) {
		return nil, fmt.Errorf("%w: --local-listen is %q; give a loopback address, since whoever reaches it can end the session's streams", ErrConfig, address)
	}
	if network == "unix" { // an earlier container of this pod has left it
		if err := os.Remove(address); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("--state-dir: %w", err)
		}
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("listen for a goodbye: %w", err)
	}
	return listener, nil
}

// IsLoopback reports whether a listener's address can be reached from this pod only.
func IsLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

// Local is the handler of the listener for a goodbye: POST /goodbye.
func (a *Agent) Local() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathGoodbye, a.serveGoodbye)
	return httpserver.Guard(mux)
}

// serveGoodbye answers with the number of viewers when they have gone.
func (a *Agent) serveGoodbye(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() || r.Header.Get(goodbyeHeader) == "" {
		http.Error(w, "only the agent's own command may say this", http.StatusForbidden)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*closeGrace)
	defer cancel()
	_, _ = w.Write([]byte(strconv.Itoa(a.Goodbye(ctx)) + "\n"))
}

// SendGoodbye asks the agent at a [LocalAddress] to say goodbye, and returns when
// the viewers have gone.
func SendGoodbye(ctx context.Context, network, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*closeGrace)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+wire.AgentLocalAddress()+pathGoodbye, nil)
	if err != nil {
		return err
	}
	request.Header.Set(goodbyeHeader, "goodbye")
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return fmt.Errorf("reach the agent: %w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxForm))
	if err != nil {
		return fmt.Errorf("read the agent's answer: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the agent answered %s: %s", answer.Status, strings.TrimSpace(string(text)))
	}
	return nil
}
