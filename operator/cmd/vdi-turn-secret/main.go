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

	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/clientcmd"
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
			return runCreate(ctx, args[1:])
		case "config":
			return runConfig(ctx, args[1:])
		}
	}
	return errors.New("say what to do: create or config")
}

func runCreate(ctx context.Context, args []string) error {
	var namespace, name string
	flags := flag.NewFlagSet("vdi-turn-secret create", flag.ContinueOnError)
	flags.StringVar(&namespace, "namespace", "", "namespace of the Secret")
	flags.StringVar(&name, "name", "", "name of the Secret")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if namespace == "" || name == "" {
		return errors.New("create: --namespace and --name are required")
	}
	core, err := connect()
	if err != nil {
		return err
	}
	return create(ctx, core.Secrets(namespace), name)
}

// connect finds the cluster as kubectl does, and inside a pod by its account.
func connect() (*corev1.CoreV1Client, error) {
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil)
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	return corev1.NewForConfig(config)
}
