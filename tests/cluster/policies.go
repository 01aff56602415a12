package cluster

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// kubeRouter makes NetworkPolicies hold on the node, by iptables and ipset. It
// runs its firewall alone: routes are the CNI plugin's, Services kube-proxy's.
func (s state) kubeRouter() program {
	return program{
		name: "kube-router", path: s.repo().bin("kube-router"),
		args: []string{
			"--kubeconfig=" + s.plane().kubeconfig("kube-router"),
			"--hostname-override=" + s.node(),
			"--run-firewall=true", "--run-router=false", "--run-service-proxy=false", "--enable-cni=false",
			"--service-cluster-ip-range=" + s.Subnets.Services.String(),
			"--v=1", // says how long each change of the rules took
		},
	}
}

// policyChain is where its rules begin.
const policyChain = "KUBE-ROUTER-FORWARD"

// kernelChecks are the parts of the kernel that it needs, each used once.
var kernelChecks = [][]string{
	{"ipset", "create", "vdi-check", "hash:ip", "timeout", "0"},
	{"ipset", "create", "vdi-check-net", "hash:net", "timeout", "0"},
	{"ipset", "create", "vdi-check-port", "hash:ip,port", "timeout", "0"},
	{"iptables", "-N", "VDI-CHECK"},
	{"iptables", "-A", "VDI-CHECK", "-m", "set", "--match-set", "vdi-check", "src", "-j", "RETURN"},
	{"iptables", "-A", "VDI-CHECK", "-m", "physdev", "--physdev-is-bridged", "-j", "RETURN"},
	{"iptables", "-A", "VDI-CHECK", "-m", "mark", "!", "--mark", "0x1/0x1", "-j", "NFLOG", "--nflog-group", "100"},
	{"iptables", "-F", "VDI-CHECK"},
	{"iptables", "-X", "VDI-CHECK"},
	{"ipset", "destroy"},
}

// checkKernel tries, in the node's own network, what kube-router would only log.
func checkKernel(ctx context.Context, checks [][]string) error {
	for _, args := range checks {
		out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("this kernel cannot enforce NetworkPolicies: %s: %w: %s\nas root run: "+
				"modprobe -a ip_set_hash_ip ip_set_hash_net ip_set_hash_ipport xt_set xt_physdev xt_NFLOG\n"+
				"or leave them unenforced: vdi-cluster up --no-policies", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// startPolicies comes after the node, which kube-router reads once.
func (v *supervisor) startPolicies(ctx context.Context) error {
	if v.state.Options.NoPolicies {
		return nil
	}
	if err := checkKernel(ctx, kernelChecks); err != nil {
		return err
	}
	if err := v.keepRunning(ctx, v.state.kubeRouter()); err != nil {
		return err
	}
	return waitFor(ctx, "the network policies", func(ctx context.Context) error {
		return exec.CommandContext(ctx, "iptables", "-n", "-L", policyChain).Run()
	})
}
