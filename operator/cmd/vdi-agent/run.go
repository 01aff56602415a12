package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/vdi-platform/vdi-platform/operator/agent"
	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// options are the flags of a serving agent.
type options struct {
	config    agent.Config
	addresses addresses
}

// addresses of the listeners; turn is used with --turn-dir only.
type addresses struct{ session, status, local, turn string }

// serve lets visitors in until the context ends.
func serve(ctx context.Context, o options) error {
	c, at := o.config, o.addresses
	c.Log = slog.New(slog.NewJSONHandler(os.Stdout, nil)).With("session", c.Session)
	// Garbage must not fill the container. Without a limit there is nothing to fill.
	_, _ = memlimit.Set()
	a, err := agent.New(c)
	if err != nil {
		return err
	}
	defer a.Close()
	if c.TURNDir == "" {
		at.turn = ""
	}
	listeners, err := listen(ctx, at, c.StateDir, c.Log)
	if err != nil {
		return err
	}
	c.Log.Info("ready for visitors", "mode", c.Mode, "host", c.Host, "listen", at.session)
	return a.Serve(ctx, listeners)
}

func (o *options) register(flags *flag.FlagSet) {
	c, at := &o.config, &o.addresses
	flags.StringVar(&at.session, "listen", fmt.Sprintf(":%d", wire.AgentVisitorPort), "address for visitors, plain HTTP behind the proxy's TLS")
	flags.StringVar(&at.status, "status-listen", fmt.Sprintf(":%d", wire.AgentStatusPort), "address for the operator, the kubelet and Prometheus")
	flags.StringVar(&at.local, "local-listen", wire.AgentLocalAddress(), "address for a goodbye, for this pod alone; used without --state-dir")
	flags.StringVar(&c.StateDir, "state-dir", "", "folder that the agent alone mounts and that outlives its container: ended logins, and a socket for a goodbye; empty: neither")
	flags.StringVar(&c.Desktop, "desktop", "127.0.0.1:8080", "address of the desktop")
	flags.StringVar(&c.DesktopHealth, "desktop-health", "/api/health", "path that answers below 400 when the desktop is up; empty: an open port has to do")
	flags.StringVar(&c.CredentialsDir, "credentials-dir", "/etc/vdi/credentials", "folder with the files username, password, cookie-key, desktop-username and desktop-password")
	flags.StringVar(&c.Host, "host", "", "the session's host, without a port")
	flags.StringVar(&c.Session, "session", "", "the session's NAMESPACE/NAME")
	flags.StringVar(&c.SessionUID, "session-uid", "", "the session's metadata.uid")
	flags.Func("mode", "how visitors show who they are: Password (default) or OIDC", func(text string) error {
		c.Mode = wire.AccessMode(text)
		return nil
	})
	flags.StringVar(&c.StatementKeysDir, "statement-keys-dir", "", "folder with the front door's public keys (OIDC)")
	flags.StringVar(&c.TURNDir, "turn-dir", "", "folder with the session's login at the TURN relay; empty: the desktop does not stream over WebRTC")
	flags.StringVar(&at.turn, "turn-listen", wire.TURNRestAddress, "address where the desktop asks for that login")
	flags.StringVar(&c.Input, "input", wire.InputSelkies, "rule for what counts as use: selkies, or none where only presence can be seen")
	flags.StringVar(&c.Endpoints, "endpoints", platform.EndpointsAny, "what visitors may ask of the desktop: the list selkies, or any where there is no list")
	flags.Func("file-transfer", "directions in which files may pass: Both (default), Upload, Download or None", func(text string) error {
		c.FileTransfer = vdi.FileTransferPolicy(text)
		return nil
	})
	flags.DurationVar(&c.MaxSessionAge, "max-session-age", 12*time.Hour, "how long one login holds")
	c.Mode = wire.AccessPassword
}

func listen(ctx context.Context, at addresses, stateDir string, log *slog.Logger) (l agent.Listeners, err error) {
	if at.turn != "" && !agent.IsLoopback(at.turn) {
		return l, fmt.Errorf("%w: --turn-listen is %q; give a loopback address, since whoever reaches it can use the TURN relay", agent.ErrConfig, at.turn)
	}
	var config net.ListenConfig
	if l.TURN, err = listenTURN(ctx, config, at.turn); err != nil {
		return l, err
	}
	if l.Local, err = agent.ListenLocal(ctx, stateDir, at.local); err != nil {
		if stateDir == "" {
			return l, err
		}
		// A full disk is no reason to keep people out; a signal says goodbye, too.
		log.Error("the socket for a goodbye cannot be made; the agent serves without it", "error", err.Error())
	}
	if l.Session, err = config.Listen(ctx, "tcp", at.session); err != nil {
		return l, fmt.Errorf("--listen: %w", err)
	}
	if l.Status, err = config.Listen(ctx, "tcp", at.status); err != nil {
		return l, fmt.Errorf("--status-listen: %w", err)
	}
	return l, nil
}

// listenTURN comes before the other listeners: the pod's startup probe asks one
// of those, and the desktop, which starts after it, asks this one at once.
func listenTURN(ctx context.Context, config net.ListenConfig, address string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--turn-listen: %w", err)
	}
	return l, nil
}
