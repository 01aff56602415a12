// vdi-frontdoor logs people in, answers the proxy whose session is whose, and shows
// the page of sessions whose desktop does not answer. `vdi-frontdoor make-keys`
// makes the Secret with its keys, once; it never prints one. `vdi-frontdoor
// forget-account NAME` lets a name pass to another account at the identity provider.
// `vdi-frontdoor hash NAME` makes an entry for the list of people of mode Local, and
// `vdi-frontdoor check FILE` says what is wrong with such a list.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/vdi-platform/vdi-platform/operator/frontdoor"
	"github.com/vdi-platform/vdi-platform/operator/program"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// usage is what may be given, see [program.Parse].
const usage = "flags, make-keys, forget-account, hash or check"

func main() {
	ctrl.SetLogger(logr.Discard()) // the front door has a log of its own
	if err := run(ctrl.SetupSignalHandler(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "vdi-frontdoor:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "make-keys":
			return makeKeys(ctx, args[1:])
		case "forget-account":
			return forgetAccount(ctx, args[1:])
		case "hash":
			return hash(ctx, args[1:], standardConsole())
		case "check":
			return check(args[1:], standardConsole())
		}
	}
	return serve(ctx, args)
}

func serve(ctx context.Context, args []string) error {
	f := frontdoor.Flags{Namespace: os.Getenv(wire.EnvNamespace)}
	flags := flag.NewFlagSet(wire.FrontDoor, flag.ContinueOnError)
	f.Register(flags)
	if err := program.Parse(flags, args, usage); err != nil {
		return err
	}
	// Garbage must not fill the container. Without a limit there is nothing to fill.
	_, _ = memlimit.Set()
	cluster, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the cluster: %w", err)
	}
	return frontdoor.Run(ctx, cluster, f)
}
