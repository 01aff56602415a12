// vdi-frontdoor logs people in, tells the proxy whose session is whose, and shows
// the page of sessions whose desktop does not answer. `vdi-frontdoor make-keys`
// makes the Secret with its keys, once; it never prints one. `vdi-frontdoor
// forget-account NAME` lets a name pass to another account at the identity provider.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/go-logr/logr"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/vdi-platform/vdi-platform/operator/frontdoor"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/ended"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

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
		}
	}
	return serve(ctx, args)
}

func serve(ctx context.Context, args []string) error {
	f := frontdoor.Flags{Namespace: os.Getenv(wire.EnvNamespace)}
	flags := flag.NewFlagSet(wire.FrontDoor, flag.ContinueOnError)
	f.Register(flags)
	if err := parse(flags, args); err != nil {
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

func makeKeys(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("vdi-frontdoor make-keys", flag.ContinueOnError)
	namespace := flags.String("namespace", os.Getenv(wire.EnvNamespace), "namespace of the Secret (default: environment POD_NAMESPACE)")
	name := flags.String("name", "", "name of the Secret")
	if err := parse(flags, args); err != nil {
		return err
	}
	if *namespace == "" || *name == "" {
		return errors.New("make-keys: --namespace and --name are required")
	}
	cluster, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the cluster: %w", err)
	}
	core, err := typedcorev1.NewForConfig(cluster)
	if err != nil {
		return fmt.Errorf("build client: %w", err)
	}
	made, err := frontdoor.MakeKeys(ctx, core.Secrets(*namespace), *name, time.Now())
	switch {
	case err != nil:
		return err
	case made:
		fmt.Printf("Secret %q made\n", *name)
	default:
		fmt.Printf("Secret %q is there and stays as it is\n", *name)
	}
	return nil
}

func forgetAccount(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("vdi-frontdoor forget-account", flag.ContinueOnError)
	namespace := flags.String("namespace", os.Getenv(wire.EnvNamespace), "namespace of the front door (default: environment POD_NAMESPACE)")
	logins := flags.String("ended-logins", frontdoor.DefaultEndedLogins, "begins the names of its ConfigMaps, as its own flag says")
	lifetime := flags.Duration("login-lifetime", 24*time.Hour, "how long a login may hold, at most")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *namespace == "" || flags.NArg() != 1 {
		return errors.New("forget-account: give --namespace and one name, as in spec.user of the sessions: forget-account alice@example.com")
	}
	cluster, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the cluster: %w", err)
	}
	store := ended.Store{Namespace: *namespace, Name: *logins}
	forgotten, err := frontdoor.ForgetAccount(ctx, cluster, store, flags.Arg(0), *lifetime)
	switch {
	case err != nil:
		return err
	case forgotten:
		fmt.Printf("the next account that logs in as %q gets this name, with its desktops and homes; all logins by it have ended\n", flags.Arg(0))
	default:
		fmt.Printf("no account has logged in as %q yet; nothing is to be forgotten\n", flags.Arg(0))
	}
	return nil
}

// parse refuses words that are no flags: a misspelt subcommand must not start a
// front door.
func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q is no command; give flags, make-keys or forget-account", flags.Arg(0))
	}
	return nil
}
