package frontdoor

import (
	"log/slog"
	"net/http"

	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/operator/web"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// statusRecorder remembers what was answered, and to whom.
type statusRecorder struct {
	http.ResponseWriter
	status   int
	identity string
}

// WriteHeader implements http.ResponseWriter.
func (w *statusRecorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusRecorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets streams be flushed.
func (w *statusRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// recordIdentity notes for the access log whose request it was; never by name.
func recordIdentity(w http.ResponseWriter, login ticket) {
	if answer, ok := w.(*statusRecorder); ok && login.User != "" {
		answer.identity = platform.Identity(login.User)
	}
}

// logged writes one line for each request: who, from where, what. It never holds
// a query, a header or a body: they may carry secrets. What the proxy asks
// before every request of a desktop is logged at debug level where it was allowed.
func (d *Door) logged(serve http.HandlerFunc) http.Handler {
	return httpserver.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, began := &statusRecorder{ResponseWriter: w}, d.Now()
		serve(answer, r)
		v, question := forwardedVisit(r)
		level := slog.LevelInfo
		if !question {
			v = directVisit(r)
		}
		if answer.Header().Get(wire.HeaderStatement) != "" {
			level = slog.LevelDebug
		}
		d.Log.LogAttrs(r.Context(), level, "request",
			slog.String("from", v.from), slog.String("method", web.Truncate(v.method)), slog.String("host", web.Truncate(v.host)), slog.String("path", web.Truncate(v.path)),
			slog.Int("status", answer.status), slog.String("identity", answer.identity), slog.Duration("duration", d.Now().Sub(began)),
		)
	}))
}
