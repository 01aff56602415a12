package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// StatusName is the ConfigMap, beside the operator, that shows how GPUs are
// shared.
const StatusName = "vdi-gpu-sharing-status"

// State of a node, or of the configuration as a whole.
type State string

// Words of State.
const (
	// AsPlanned: the node offers what the configuration says.
	AsPlanned State = "AsPlanned"
	// Changing: it does not yet; the device plugin has a minute.
	Changing State = "Changing"
	// Mismatch: it does not, and the minute is over.
	Mismatch State = "Mismatch"
	// WrongConfig: the configuration cannot be used.
	WrongConfig State = "WrongConfig"
)

// configKey and nodePrefix are keys of the status ConfigMap.
const (
	configKey  = "config"
	nodePrefix = "node."
)

// NodeReport is what the status ConfigMap says about one node.
type NodeReport struct {
	Config      string           `json:"config"`
	Planned     map[string]int64 `json:"planned,omitempty"`
	Allocatable map[string]int64 `json:"allocatable,omitempty"`
	State       State            `json:"state"`
	Message     string           `json:"message"`
}

// ConfigReport is what it says about the configuration.
type ConfigReport struct {
	State    State    `json:"state"`
	Messages []string `json:"messages"`
}

// Report is all of it.
type Report struct {
	Config ConfigReport
	// Nodes by name.
	Nodes map[string]NodeReport
}

// ReportOf puts a plan into words. Problems are all that is wrong with the configuration,
// also what was found beside the plan. A node that differs is given time until it is late,
// unless the same difference was reported before.
func ReportOf(problems []string, nodes []Node, before Report, late map[string]bool) Report {
	after := Report{
		Config: ConfigReport{State: AsPlanned, Messages: []string{"The configuration can be used"}},
		Nodes:  map[string]NodeReport{},
	}
	if len(problems) > 0 {
		after.Config = ConfigReport{State: WrongConfig, Messages: problems}
	}
	for _, n := range nodes {
		after.Nodes[n.Name] = n.report(before.Nodes[n.Name], late[n.Name])
	}
	return after
}

func (n Node) report(before NodeReport, late bool) NodeReport {
	after := NodeReport{Config: n.Config, Planned: n.Planned, Allocatable: n.Allocatable}
	known := before.State == Mismatch && maps.Equal(before.Planned, n.Planned)
	switch {
	case n.Problem != nil:
		after.State, after.Message = WrongConfig, fmt.Sprintf("Node %s has no plan: %s", n.Name, n.Problem)
	case n.AsPlanned():
		after.State, after.Message = AsPlanned, fmt.Sprintf("Node %s offers%s as planned", n.Name, Amounts(n.Planned))
	case late || known:
		after.State, after.Message = Mismatch, fmt.Sprintf("Node %s offers%s, but%s is planned: look at the device plugin's pod on it", n.Name, Amounts(n.Allocatable), Amounts(n.Planned))
	default:
		after.State, after.Message = Changing, fmt.Sprintf("Node %s offers%s and is to offer%s: waiting for the device plugin on it", n.Name, Amounts(n.Allocatable), Amounts(n.Planned))
	}
	return after
}

// Amounts writes resources in a fixed order, each after a blank.
func Amounts(of map[string]int64) (text string) {
	for _, resource := range slices.Sorted(maps.Keys(of)) {
		text += fmt.Sprintf(" %s=%d", resource, of[resource])
	}
	return text
}

// Data is the report as the status ConfigMap holds it.
func (r Report) Data() map[string]string {
	data := map[string]string{configKey: toYAML(r.Config)}
	for name, n := range r.Nodes {
		data[nodePrefix+name] = toYAML(n)
	}
	return data
}

func toYAML(v any) string {
	out, _ := yaml.Marshal(v) // words and numbers can always be written
	return string(out)
}

// ParseReport reads back what was reported; what cannot be read was not.
func ParseReport(data map[string]string) Report {
	r := Report{Nodes: map[string]NodeReport{}}
	_ = yaml.Unmarshal([]byte(data[configKey]), &r.Config)
	for key, value := range data {
		var n NodeReport
		if name, isNode := strings.CutPrefix(key, nodePrefix); isNode && yaml.Unmarshal([]byte(value), &n) == nil {
			r.Nodes[name] = n
		}
	}
	return r
}

// Now is what was reported about a node, with what the node offers at this moment, which the
// operator may not have seen yet. The plan and the configuration stay the operator's. False
// for a node of which nothing was reported: it has no GPUs, or none are shared.
func (r Report) Now(node *corev1.Node) (Node, NodeReport, bool) {
	was, found := r.Nodes[node.Name]
	if !found {
		return Node{}, NodeReport{}, false
	}
	now := Node{Name: node.Name, Config: was.Config, Planned: was.Planned, Allocatable: offered(node, was.Planned)}
	is := was
	if was.State != WrongConfig {
		is = now.report(was, was.State == Mismatch)
	}
	is.Allocatable = now.Allocatable
	return now, is, true
}
