// Package plan decides how a cluster's GPUs are to be shared, and how far its nodes are from
// it: what each node should offer by its labels and the device plugin's configuration, what
// it offers, and what the operator reports about that. It reads no cluster and no clock, and
// knows nothing of controllers, so that the command line can use it too.
package plan

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// VendorPrefix of NVIDIA's labels and resources.
const VendorPrefix = "nvidia.com/"

// Node is one GPU node's plan and what it offers.
type Node struct {
	// Name of the node.
	Name string
	// Config is the key of the configuration that applies to it; "" keeps its GPUs whole.
	Config string
	// Planned is how much of each resource it should offer; nil without a plan.
	Planned map[string]int64
	// Allocatable is how much it offers of what is planned; without a plan, of all of
	// NVIDIA's resources.
	Allocatable map[string]int64
	// Problem is why there is no plan; nil where there is one.
	Problem error
}

// AsPlanned reports whether the node offers exactly what is planned.
func (n Node) AsPlanned() bool {
	for resource, amount := range n.Planned {
		if n.Allocatable[resource] != amount {
			return false
		}
	}
	return true
}

// Plan is how GPUs are to be shared.
type Plan struct {
	// Nodes with GPUs, in the order given.
	Nodes []Node
	// Problems of the configuration, a sentence each.
	Problems []string
	// Broken: a configuration in use cannot be read, so that the device plugin must not be
	// restarted.
	Broken bool
}

// Of plans the slices of every GPU node. Data is the content of the ConfigMap with the device
// plugin's configurations, nil where there is none; byDefault is the key for nodes without a
// label.
func Of(s platform.TimeSlicing, data map[string]string, byDefault string, nodes []corev1.Node) (p Plan) {
	if data == nil {
		p.Problems = []string{fmt.Sprintf("there is no ConfigMap %s in namespace %s: GPUs are not shared by this platform", s.ConfigMap, s.Namespace)}
		return p
	}
	configs := platform.ParsePluginConfigs(data)
	for _, problem := range configs.Problems() {
		p.Problems = append(p.Problems, fmt.Sprintf("ConfigMap %s, %s", s.ConfigMap, problem))
	}
	p.Broken = configs.IsBroken(byDefault)
	for i := range nodes {
		labels := nodes[i].Labels
		if !platform.IsGPUNode(labels) {
			continue
		}
		n := Node{Name: nodes[i].Name, Config: platform.SharingKey(labels, byDefault)}
		n.Planned, n.Problem = configs.PlanSlices(labels, byDefault)
		n.Allocatable = offered(&nodes[i], n.Planned)
		p.Nodes = append(p.Nodes, n)
		p.Broken = p.Broken || configs.IsBroken(n.Config)
	}
	return p
}

// RunsWith reports whether the device plugin was started with the configuration, by the
// annotations of its DaemonSet's pod template: the plugin does not watch its configuration,
// and the operator writes there what it restarted it with.
func RunsWith(template, data map[string]string) bool {
	return template[wire.AnnotationSharingHash] == platform.HashOf(data)
}

// offered is how much a node has of the resources that its plan names; without
// a plan, of all of NVIDIA's.
func offered(n *corev1.Node, planned map[string]int64) map[string]int64 {
	var have map[string]int64
	for resource := range planned {
		have = addAllocatable(have, resource, n)
	}
	for resource := range n.Status.Allocatable {
		if planned == nil && strings.HasPrefix(string(resource), VendorPrefix) {
			have = addAllocatable(have, string(resource), n)
		}
	}
	return have
}

func addAllocatable(have map[string]int64, resource string, n *corev1.Node) map[string]int64 {
	if have == nil {
		have = map[string]int64{}
	}
	amount := n.Status.Allocatable[corev1.ResourceName(resource)]
	have[resource] = amount.Value()
	return have
}
