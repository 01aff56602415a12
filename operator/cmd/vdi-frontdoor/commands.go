package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/vdi-platform/vdi-platform/operator/frontdoor"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/ended"
	"github.com/vdi-platform/vdi-platform/operator/program"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

func makeKeys(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("vdi-frontdoor make-keys", flag.ContinueOnError)
	namespace := flags.String("namespace", os.Getenv(wire.EnvNamespace), "namespace of the Secret (default: environment POD_NAMESPACE)")
	name := flags.String("name", "", "name of the Secret")
	if err := program.Parse(flags, args, usage); err != nil {
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
