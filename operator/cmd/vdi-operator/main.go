// vdi-operator turns VDISessions into desktops. With words before its flags it
// does one of the short tasks of package maintain instead.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/vdi-platform/vdi-platform/operator/maintain"
	"github.com/vdi-platform/vdi-platform/operator/run"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// refused is the exit status by which Kubernetes' Jobs know that a second try cannot help
// (charts/vdi-operator/templates/_hooks.tpl).
const refused = 2

func main() {
	err := start()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "vdi-operator:", err)
	if errors.Is(err, maintain.ErrRefused) {
		os.Exit(refused)
	}
	os.Exit(1)
}

func start() error {
	ctx, namespace := ctrl.SetupSignalHandler(), os.Getenv(wire.EnvNamespace)
	if args := os.Args[1:]; len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		return maintain.Run(ctx, args, namespace, os.Stdout)
	}
	o := run.Options{Namespace: namespace}
	o.Register(flag.CommandLine)
	flag.Parse()
	saveMemory()
	return run.Run(ctx, o)
}
