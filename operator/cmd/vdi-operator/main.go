// vdi-operator turns VDISessions into desktops.
package main

import (
	"flag"
	"fmt"
	"os"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/vdi-platform/vdi-platform/operator/run"
)

func main() {
	if err := start(); err != nil {
		fmt.Fprintln(os.Stderr, "vdi-operator:", err)
		os.Exit(1)
	}
}

func start() error {
	opts := run.Options{Namespace: os.Getenv("POD_NAMESPACE")}
	opts.Register(flag.CommandLine)
	flag.Parse()
	cluster, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the cluster: %w", err)
	}
	return run.Run(ctrl.SetupSignalHandler(), cluster, opts)
}
