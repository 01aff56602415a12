package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"syscall"

	"k8s.io/client-go/kubernetes"

	"github.com/vdi-platform/vdi-platform/tests/cluster/gpu"
	"github.com/vdi-platform/vdi-platform/tests/cluster/volumes"
)

// The parts of a cluster that are this program itself, started again with one
// of these as first argument.
const (
	internalDaemon    = "internal-daemon"    // host side
	internalInit      = "internal-init"      // process 1
	internalSupervise = "internal-supervise" // starts and watches the node's programs
	internalGPU       = "internal-gpu"
	internalVolumes   = "internal-volumes"
)

// RunInternal runs the part of a cluster that args name, and says whether they
// name one. Only the vdi-cluster command has a use for it.
func RunInternal(ctx context.Context, args []string) (handled bool, err error) {
	if len(args) != 2 {
		return false, nil
	}
	switch args[0] {
	case internalDaemon:
		return true, runDaemon(ctx, args[1])
	case internalInit:
		return true, runInit(args[1])
	case internalSupervise:
		return true, runSupervisor(ctx, args[1])
	case internalGPU:
		return true, runGPU(ctx, args[1])
	case internalVolumes:
		return true, runVolumes(ctx, args[1])
	}
	return false, nil
}

func runGPU(ctx context.Context, dir string) error {
	s, client, err := addon(dir)
	if err != nil {
		return err
	}
	return gpu.Run(ctx, client, s.node(), s.Options.GPU)
}

func runVolumes(ctx context.Context, dir string) error {
	s, client, err := addon(dir)
	if err != nil {
		return err
	}
	return volumes.Run(ctx, client, s.path("volumes"))
}

// addon reads what a part that talks to the API needs.
func addon(dir string) (state, kubernetes.Interface, error) {
	s, err := readState(dir)
	if err != nil {
		return state{}, nil, err
	}
	config, err := restConfig(s.plane().kubeconfig("addons"))
	if err != nil {
		return state{}, nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return state{}, nil, fmt.Errorf("make client: %w", err)
	}
	return s, client, nil
}

func namespaceAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID |
			syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig: syscall.SIGKILL,
		Setpgid:   true,
	}
}

func reportError(err error) report { return report{Error: err.Error()} }

// toJSON renders configuration; YAML readers take it too.
func toJSON(value any) ([]byte, error) {
	content, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("render configuration: %w", err)
	}
	return content, nil
}
