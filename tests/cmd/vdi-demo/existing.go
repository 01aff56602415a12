package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
	"github.com/vdi-platform/vdi-platform/tests/install"
)

// What is different on a cluster that somebody has already.

// fit asks for no GPU where no node offers one, as on a laptop with kind.
func fit(ctx context.Context, p *install.Platform, s *vdi.VDISession, out io.Writer) error {
	var nodes corev1.NodeList
	if err := p.Client.List(ctx, &nodes); err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	if !offersGPU(nodes.Items) {
		fmt.Fprintln(out, "── no node offers nvidia.com/gpu: the desktop is rendered in software")
		s.Spec.Resources.GPU = new(int32)
	}
	return nil
}

func offersGPU(nodes []corev1.Node) bool {
	for _, node := range nodes {
		if gpus := node.Status.Allocatable["nvidia.com/gpu"]; !gpus.IsZero() {
			return true
		}
	}
	return false
}

// reach makes the proxy answer at an address of this machine, unless something leads
// there already, such as kind's extraPortMappings.
func reach(ctx context.Context, p *install.Platform, address string, out io.Writer) (end func(), err error) {
	if answers(ctx, address) {
		return func() {}, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	forward := p.PortForward(ctx, "service/vdi-traefik", fmt.Sprint(localPort))
	said, err := forward.StdoutPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	if err := forward.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("forward a port: %w", err)
	}
	end = func() {
		cancel()
		_ = forward.Wait() // it was made to end
	}
	for lines := bufio.NewScanner(said); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "Forwarding from") {
			go func() { _, _ = io.Copy(io.Discard, said) }()
			fmt.Fprintf(out, "\nNothing leads to %s yet. To look with a browser, leave this running:\n  %s\n", address, strings.Join(forward.Args, " "))
			return end, nil
		}
	}
	end()
	return nil, errors.New("kubectl port-forward ended without forwarding")
}

func answers(ctx context.Context, address string) bool {
	connection, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	return connection.Close() == nil
}

// leave takes the demo's desktop and release off somebody's cluster, and nothing else.
func leave(ctx context.Context, out io.Writer) error {
	c, err := cluster.Open(name)
	if err != nil {
		return err
	}
	p, err := install.Open(c, out)
	if err != nil {
		return err
	}
	if err := cluster.BuildTools(ctx, out, "helm"); err != nil {
		return err
	}
	if err := p.CheckOwn(ctx); err != nil {
		return err
	}
	session, err := install.Session()
	if err != nil {
		return err
	}
	if err := client.IgnoreNotFound(p.Client.Delete(ctx, session)); err != nil {
		return fmt.Errorf("delete session %s: %w", session.Name, err)
	}
	if _, err := p.Kubectl(ctx, "wait", "--for=delete", "vdi/"+session.Name, "-n", session.Namespace, "--timeout=2m"); err != nil {
		return err
	}
	if err := p.Helm(ctx, "uninstall", install.Release, "--namespace", install.Namespace, "--wait", "--ignore-not-found"); err != nil {
		return err
	}
	if err := errors.Join(p.ForgetPeople(ctx), p.ForgetAuthority()); err != nil {
		return err
	}
	fmt.Fprintf(out, "the demo's desktop, people and release are gone; namespaces %s and %s, CRDs, the template and Alice's home stay\n", install.Namespace, install.Sessions)
	return nil
}

// again is what stands before the command that undoes this one.
func again(p *install.Platform) string {
	if p.Cluster.Existing() {
		return "VDI_CLUSTER=existing "
	}
	return ""
}
