// vdi-agent is the way into one desktop: it stands before the desktop in the
// session's pod (package agent). `vdi-agent goodbye` signals a running agent that
// the pod is about to stop; it is the sidecar's preStop command.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/vdi-platform/vdi-platform/operator/agent"
	"github.com/vdi-platform/vdi-platform/operator/program"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// usage is what may be given, see [program.Parse].
const usage = "flags, or goodbye"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "vdi-agent:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "goodbye" {
		return sayGoodbye(ctx, args[1:])
	}
	var o options
	flags := flag.NewFlagSet(wire.Agent, flag.ContinueOnError)
	o.register(flags)
	if err := program.Parse(flags, args, usage); err != nil {
		return err
	}
	return serve(ctx, o)
}

func sayGoodbye(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("vdi-agent goodbye", flag.ContinueOnError)
	stateDir := flags.String("state-dir", "", "the running agent's --state-dir")
	local := flags.String("local-listen", wire.AgentLocalAddress(), "the running agent's --local-listen; used without --state-dir")
	if err := program.Parse(flags, args, usage); err != nil {
		return err
	}
	network, address := agent.LocalAddress(*stateDir, *local)
	return agent.SendGoodbye(ctx, network, address)
}
