package agent

import (
	"context"
	"net"
	"net/http"

	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/operator/web"
)

// Listeners are where an agent serves. TURN is nil where the desktop does not
// stream over WebRTC, Local where no goodbye can be taken.
type Listeners struct{ Session, Status, Local, TURN net.Listener }

// Serve answers until the context ends, then says goodbye to the viewers and lets short
// exchanges finish.
func (a *Agent) Serve(ctx context.Context, l Listeners) error {
	all := []httpserver.Listening{a.listening(a.Session(), l.Session), a.listening(a.Status(), l.Status)}
	if l.Local != nil {
		all = append(all, a.listening(a.Local(), l.Local))
	}
	if l.TURN != nil {
		all = append(all, a.listening(a.TURN(), l.TURN))
	}
	return httpserver.Serve(ctx, all, func(ctx context.Context) { a.Goodbye(ctx) })
}

func (a *Agent) listening(h http.Handler, l net.Listener) httpserver.Listening {
	return httpserver.Listening{Server: httpserver.New(h, a.log, web.MaxHeaderBytes), Listener: l}
}
