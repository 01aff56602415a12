package agent

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"

	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// turnAnswer is what a desktop gets who asks for its login at the TURN relay
// (draft-uberti-behave-turn-rest-00 §2.2; Selkies' addons/turn-rest/app.py).
type turnAnswer struct {
	Username string `json:"username"`
	Password string `json:"password"`
	// TTL in seconds.
	TTL  int64    `json:"ttl"`
	URIs []string `json:"uris"`
}

// readTURNLogin reads the mounted Secret NAME-turn.
func readTURNLogin(dir fs.FS) (platform.TURNLogin, error) {
	data, err := fs.ReadFile(dir, wire.KeyTURNLogin)
	if err != nil {
		return platform.TURNLogin{}, err
	}
	login, err := platform.ParseTURNLogin(data)
	if err != nil {
		return platform.TURNLogin{}, fmt.Errorf("%w: file %s: %w", ErrConfig, wire.KeyTURNLogin, err)
	}
	return login, nil
}

// TURN is the handler of the listener for the desktop alone: GET /v1/turn. It is
// nil where the desktop does not stream over WebRTC.
func (a *Agent) TURN() http.Handler {
	if a.turn == nil {
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+wire.TURNRestPath, a.serveTURN)
	return httpserver.Guard(mux)
}

// serveTURN answers with the session's login at the relay. It is the same for
// every user name, transport and TLS flag that is asked with: whom the login is
// for and what the relay offers is the platform's to say. A page in the desktop's
// browser that reaches this port under a name of its own (DNS rebinding) gets nothing.
func (a *Agent) serveTURN(w http.ResponseWriter, r *http.Request) {
	if host, _, err := net.SplitHostPort(r.Host); err != nil || !net.ParseIP(host).IsLoopback() {
		http.Error(w, "ask by the loopback address", http.StatusForbidden)
		return
	}
	if r.URL.Query().Get("service") != "turn" {
		http.Error(w, "there is no other service than turn: ask with service=turn", http.StatusBadRequest)
		return
	}
	login := a.turn.Get()
	left := login.Expires - a.config.Now().Unix()
	if left <= 0 {
		http.Error(w, "the login at the TURN relay has expired and no new one has come yet", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(turnAnswer{login.Username, login.Password, left, login.URIs}) // fails only when the reader has gone
}

// turnChanged logs that a login came; not which.
func (a *Agent) turnChanged(before, after platform.TURNLogin) {
	if before.Expires != after.Expires {
		a.log.Info("new login at the TURN relay", "expires", after.Expires)
	}
}
