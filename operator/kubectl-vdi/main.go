// Kubectl-vdi is for people in a terminal: one word for each thing that is done with desktops,
// and an answer to why one does not run. kubectl finds it as its plugin vdi; under the name
// vdi it does the same alone.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // logins of clouds

	"github.com/vdi-platform/vdi-platform/operator/kubectl-vdi/command"
)

// version is set when the program is built.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // whoever asks twice is obeyed at once
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	code := command.Run(ctx, streams, version, os.Args)
	stop()
	os.Exit(code)
}
