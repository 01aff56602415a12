package agent

import (
	"encoding/json"
	"net/http"

	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Status is the handler of the listener for the operator, the kubelet and
// Prometheus: GET /activity, /ready and /metrics.
func (a *Agent) Status() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+wire.PathActivity, a.serveActivity)
	mux.HandleFunc("GET "+wire.PathReady, a.serveReady)
	mux.Handle("GET "+wire.PathMetrics, a.metrics.handler())
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
