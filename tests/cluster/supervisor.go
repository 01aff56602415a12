package cluster

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/vdi-platform/vdi-platform/tests/cluster/gpu"
)

// startTimeout bounds each step of a start; a step takes seconds.
const startTimeout = 2 * time.Minute

// restartDelay keeps a program that cannot start from taking a processor.
const restartDelay = 500 * time.Millisecond

// supervisor starts the programs of a node inside its namespaces and starts
// them again when they end.
type supervisor struct {
	state   state
	plane   plane
	self    string
	spawner *spawner
	report  reporter
	config  *rest.Config
	client  kubernetes.Interface
	watches sync.WaitGroup
}

// runSupervisor runs the node until the context ends.
func runSupervisor(ctx context.Context, dir string) error {
	v := &supervisor{report: newReporter(), spawner: newSpawner()}
	err := v.start(ctx, dir)
	if err != nil {
		v.report.send(reportError(err))
		return err
	}
	v.report.send(report{Ready: true})
	<-ctx.Done()
	v.watches.Wait()
	return nil
}

func (v *supervisor) start(ctx context.Context, dir string) error {
	if err := v.prepare(dir); err != nil {
		return err
	}
	steps := []struct {
		name string
		run  func(context.Context) error
	}{
		{"etcd and API server", v.startAPIServer},
		{"containerd, controllers and scheduler", v.startRuntime},
		{"kubelet, proxy, name service, volumes and GPU", v.startNode},
		{"network policies", v.startPolicies},
	}
	for _, step := range steps {
		start := time.Now()
		limited, cancel := context.WithTimeout(ctx, startTimeout)
		err := step.run(limited)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w; logs are in %s", step.name, err, v.plane.logs())
		}
		v.report.send(report{Step: step.name, Took: time.Since(start)})
	}
	return nil
}

func (v *supervisor) prepare(dir string) (err error) {
	if v.state, err = readState(dir); err != nil {
		return err
	}
	if v.self, err = os.Executable(); err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	if v.plane, err = v.state.writeConfigs(); err != nil {
		return err
	}
	if v.config, err = restConfig(v.plane.kubeconfig("addons")); err != nil {
		return err
	}
	v.client, err = kubernetes.NewForConfig(v.config)
	return err
}

func (v *supervisor) startAPIServer(ctx context.Context) error {
	if err := v.keepRunning(ctx, v.plane.etcd(), v.plane.apiServer()); err != nil {
		return err
	}
	return waitFor(ctx, "the API server", apiServerReady(v.config))
}

func (v *supervisor) startRuntime(ctx context.Context) error {
	if err := v.keepRunning(ctx, v.state.containerd(), v.plane.controllerManager(), v.plane.scheduler()); err != nil {
		return err
	}
	err := waitFor(ctx, "containerd", func(context.Context) error {
		conn, err := net.Dial("unix", containerdSocket)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if err != nil {
		return err
	}
	return errors.Join(
		importImage(ctx, v.state.repo(), containerdSocket, v.state.path("pause.tar")),
		v.bootstrap(ctx),
	)
}

func (v *supervisor) startNode(ctx context.Context) error {
	if err := v.keepRunning(ctx, v.state.nodePrograms(v.self)...); err != nil {
		return err
	}
	return errors.Join(
		waitFor(ctx, "the node", v.nodeReady),
		waitFor(ctx, "the controllers", controllersWork(v.config)),
		waitFor(ctx, "kube-proxy", httpOK("http://127.0.0.1:10256/healthz")),
		waitFor(ctx, "the name service", httpOK("http://127.0.0.1:8181/ready")),
	)
}

// nodeReady also wants the GPUs, which come a moment later.
func (v *supervisor) nodeReady(ctx context.Context) error {
	node, err := v.client.CoreV1().Nodes().Get(ctx, v.state.node(), metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
			return fmt.Errorf("node is not ready: %s", c.Message)
		}
	}
	slices := node.Status.Allocatable[corev1.ResourceName(gpu.DefaultSharing().ResourceName())]
	if !v.state.Options.NoGPU && slices.IsZero() {
		return errors.New("node offers no GPU yet")
	}
	return nil
}

func httpOK(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s says %s", url, response.Status)
		}
		return nil
	}
}

// keepRunning starts programs and, whenever one ends, starts it again.
func (v *supervisor) keepRunning(ctx context.Context, programs ...program) error {
	ctx = context.WithoutCancel(ctx) // the step's limit is not theirs; they end with the namespaces
	for _, p := range programs {
		proc, err := v.spawner.start(p, v.plane.logs())
		if err != nil {
			return err
		}
		v.watches.Add(1)
		go v.watch(ctx, proc)
	}
	return nil
}

func (v *supervisor) watch(ctx context.Context, proc *process) {
	defer v.watches.Done()
	for {
		<-proc.exited
		log.Printf("%s ended (%v), starting it again", proc.name, proc.err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(restartDelay):
		}
		next, err := v.spawner.start(proc.program, v.plane.logs())
		if err != nil {
			log.Printf("give up on %s: %v", proc.name, err)
			return
		}
		proc = next
	}
}
