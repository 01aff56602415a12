// vdi-frontdoor logs people in, tells the proxy whose session is whose, and shows
// the page of sessions whose desktop does not answer.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/vdi-platform/vdi-platform/operator/frontdoor"
)

func main() {
	if err := start(); err != nil {
		fmt.Fprintln(os.Stderr, "vdi-frontdoor:", err)
		os.Exit(1)
	}
}

func start() error {
	flags := frontdoor.Flags{Namespace: os.Getenv("POD_NAMESPACE")}
	flags.Register(flag.CommandLine)
	flag.Parse()
	ctrl.SetLogger(logr.Discard()) // the front door has a log of its own
	cluster, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the cluster: %w", err)
	}
	return frontdoor.Run(ctrl.SetupSignalHandler(), cluster, flags)
}
