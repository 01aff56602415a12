package agent

import (
	"context"
	"log"
	"log/slog"
	"net/http"

	"github.com/vdi-platform/vdi-platform/operator/web"
)

// logExchange writes one line of the access log: who, from where, what, how
// much. It never holds a query, a header or a body: they may carry secrets.
func (a *Agent) logExchange(e *exchange) {
	message := "request"
	if e.status == http.StatusSwitchingProtocols {
		message = "stream closed"
	}
	attrs := append(whoAndWhat(e),
		slog.Int("status", e.status),
		slog.Int64("bytesIn", e.counts.in.Load()),
		slog.Int64("bytesOut", e.counts.out.Load()),
		slog.Float64("seconds", a.config.Now().Sub(e.started).Seconds()),
	)
	if e.refused != "" {
		attrs = append(attrs, slog.String("refused", e.refused))
	}
	a.log.LogAttrs(context.Background(), slog.LevelInfo, message, attrs...)
}

// logOpened writes a line when a WebSocket begins: it may last for days.
func (a *Agent) logOpened(e *exchange) {
	a.log.LogAttrs(context.Background(), slog.LevelInfo, "stream opened", whoAndWhat(e)...)
}

func whoAndWhat(e *exchange) []slog.Attr {
	r := e.request
	attrs := []slog.Attr{
		slog.String("from", web.ClientIP(r)), slog.String("peer", web.Peer(r)),
		slog.String("method", web.Truncate(r.Method)), slog.String("path", web.Truncate(r.URL.EscapedPath())),
	}
	if e.visitor.login != "" {
		attrs = append(attrs, slog.String("login", e.visitor.login), slog.String("who", e.visitor.name))
	}
	return attrs
}

// newErrorLog takes what net/http has to say.
func newErrorLog(to *slog.Logger) *log.Logger { return slog.NewLogLogger(to.Handler(), slog.LevelWarn) }
