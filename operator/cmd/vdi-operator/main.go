// vdi-operator turns VDISessions into desktops. With words before its flags it
// does one of the short tasks of package maintain instead.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"github.com/KimMachineGun/automemlimit/memlimit"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/vdi-platform/vdi-platform/operator/maintain"
	"github.com/vdi-platform/vdi-platform/operator/run"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// refused tells Kubernetes' Jobs that a second try cannot help
// (charts/vdi-operator/templates/_hooks.tpl).
const refused = 2

// garbagePercent is how much garbage may gather beside the live heap.
const garbagePercent = 50

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
	opts := run.Options{Namespace: namespace}
	opts.Register(flag.CommandLine)
	flag.Parse()
	saveMemory()
	cluster, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the cluster: %w", err)
	}
	return run.Run(ctx, cluster, opts)
}

// saveMemory trades processor time, of which an operator at rest has plenty, for
// a smaller heap, unless the environment says otherwise (GOGC, GOMEMLIMIT), and keeps
// garbage from filling the container. Without a limit there is nothing to fill.
func saveMemory() {
	_, _ = memlimit.Set()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
}
