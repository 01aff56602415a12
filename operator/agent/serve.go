package agent

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vdi-platform/vdi-platform/operator/httpserver"
)

const (
	// MaxHeaderBytes is how long the head of a visitor's request may be.
	MaxHeaderBytes = 32 << 10
	// shutdownGrace is for short exchanges; streams are told goodbye before.
	shutdownGrace = 5 * time.Second
)

// Listeners are where an agent serves. TURN is nil where the desktop does not
// stream over WebRTC, Local where no goodbye can be taken.
type Listeners struct{ Session, Status, Local, TURN net.Listener }

// Serve answers until the context ends, then tells the viewers and lets short
// exchanges finish.
func (a *Agent) Serve(ctx context.Context, l Listeners) error {
	servers := map[*httpserver.Server]net.Listener{
		a.newServer(a.Session()): l.Session,
		a.newServer(a.Status()):  l.Status,
	}
	if l.Local != nil {
		servers[a.newServer(a.Local())] = l.Local
	}
	if l.TURN != nil {
		servers[a.newServer(a.TURN())] = l.TURN
	}
	group, ctx := errgroup.WithContext(ctx)
	for server, listener := range servers {
		group.Go(func() error { return ended(server.Serve(listener)) })
	}
	group.Go(func() error {
		<-ctx.Done()
		return a.shutDown(servers)
	})
	return group.Wait()
}

func ended(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (a *Agent) shutDown(servers map[*httpserver.Server]net.Listener) error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	a.Goodbye(ctx)
	var errs []error
	for server := range servers {
		if err := server.Shutdown(ctx); err != nil {
			errs = append(errs, server.Close()) // what is left is cut
		}
	}
	return errors.Join(errs...)
}

func (a *Agent) newServer(h http.Handler) *httpserver.Server {
	return httpserver.New(h, a.log, MaxHeaderBytes)
}
