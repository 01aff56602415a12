package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vdi-platform/vdi-platform/operator/httpserver"
)

const (
	maxHeaderBytes = 32 << 10
	// shutdownGrace is for short exchanges; streams are told goodbye before.
	shutdownGrace = 5 * time.Second
)

// Listeners are where an agent serves. TURN is nil where the desktop does not
// stream over WebRTC.
type Listeners struct{ Session, Status, Local, TURN net.Listener }

// Serve answers until the context ends, then tells the viewers and lets short
// exchanges finish.
func (a *Agent) Serve(ctx context.Context, l Listeners) error {
	servers := map[*httpserver.Server]net.Listener{
		a.newServer(a.Session()): l.Session,
		a.newServer(a.Status()):  l.Status,
		a.newServer(a.Local()):   l.Local,
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
	return httpserver.New(h, a.log, maxHeaderBytes)
}

// IsLoopback says whether a listener's address can be reached from this pod only.
func IsLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

// SendGoodbye asks the agent at a local address to say goodbye, and returns when
// the viewers have gone.
func SendGoodbye(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*closeGrace)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+pathGoodbye, nil)
	if err != nil {
		return err
	}
	request.Header.Set(goodbyeHeader, "goodbye")
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return fmt.Errorf("reach the agent: %w", err)
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(io.LimitReader(answer.Body, maxForm))
	if err != nil {
		return fmt.Errorf("read the agent's answer: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the agent answered %s: %s", answer.Status, strings.TrimSpace(string(said)))
	}
	return nil
}
