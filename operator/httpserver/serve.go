package httpserver

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// shutdownGrace is for short exchanges when a program ends.
const shutdownGrace = 5 * time.Second

// Listening is a server with its listener.
type Listening struct {
	*Server
	Listener net.Listener
}

// Serve answers on all listeners until the context ends, or one of them fails. Then drain,
// which may be nil, ends what would last, and short exchanges finish; both together have
// shutdownGrace, and what is left is cut.
func Serve(ctx context.Context, all []Listening, drain func(context.Context)) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, l := range all {
		group.Go(func() error {
			if err := l.Server.Serve(l.Listener); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	group.Go(func() error {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		if drain != nil {
			drain(grace)
		}
		return shutDown(grace, all)
	})
	return group.Wait()
}

// shutDown stops all at once: none takes connections while it waits for another.
func shutDown(ctx context.Context, all []Listening) error {
	var group errgroup.Group
	for _, l := range all {
		group.Go(func() error {
			if l.Shutdown(ctx) != nil {
				return l.Close() // what is left is cut
			}
			return nil
		})
	}
	return group.Wait()
}
