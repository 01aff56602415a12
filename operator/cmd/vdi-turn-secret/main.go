// vdi-turn-secret keeps the shared secret of the TURN relay out of templates,
// arguments and environments: `create` makes it once and never changes it,
// `config` writes the relay's configuration file inside the relay's own pod.
// It never prints a secret.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/vdi-platform/vdi-platform/operator/relaysecret"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "vdi-turn-secret:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "create":
			return create(ctx, args[1:])
		case "config":
			return config(ctx, args[1:])
		}
	}
	return errors.New("say what to do: create or config")
}

func create(ctx context.Context, args []string) error {
	var o relaysecret.CreateOptions
	flags := flag.NewFlagSet("vdi-turn-secret create", flag.ContinueOnError)
	o.Register(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	return relaysecret.Create(ctx, o)
}

func config(ctx context.Context, args []string) error {
	var o relaysecret.ConfigOptions
	flags := flag.NewFlagSet("vdi-turn-secret config", flag.ContinueOnError)
	o.Register(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	return relaysecret.WriteConfig(ctx, o)
}
