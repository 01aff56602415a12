package agent

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strconv"

	"github.com/vdi-platform/vdi-platform/operator/httpserver"
)

// Paths of the status and local listeners.
const (
	pathActivity = "/activity"
	pathReady    = "/ready"
	pathMetrics  = "/metrics"
	pathGoodbye  = "/goodbye"
)

// goodbyeHeader must come with a goodbye. A page in the desktop's own browser
// reaches the local listener, but cannot send a header of this name there
// without asking first (https://fetch.spec.whatwg.org/#cors-preflight-fetch).
const goodbyeHeader = "Vdi-Agent"

// Status is the handler of the listener for the operator, the kubelet and
// Prometheus: GET /activity, /ready and /metrics.
func (a *Agent) Status() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathActivity, a.serveActivity)
	mux.HandleFunc("GET "+pathReady, a.serveReady)
	mux.Handle("GET "+pathMetrics, a.metrics.handler())
	return httpserver.Guard(mux)
}

// Local is the handler of the listener that only this pod reaches: POST /goodbye.
func (a *Agent) Local() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathGoodbye, a.serveGoodbye)
	return httpserver.Guard(mux)
}

func (a *Agent) serveActivity(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a.activity.status()) // fails only when the reader has gone
}

// serveReady answers 200 only if the desktop answers right now.
func (a *Agent) serveReady(w http.ResponseWriter, r *http.Request) {
	if a.stopping.Load() {
		http.Error(w, stoppingSentence, http.StatusServiceUnavailable)
		return
	}
	if err := a.desktop.ready(r.Context()); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("the desktop answers\n"))
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
