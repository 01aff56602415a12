package gpusharing

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

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

// report is all of it.
type report struct {
	config ConfigReport
	nodes  map[string]NodeReport
}

// reportOf puts a pass into words. A node that differs is given time, unless
// the same difference was reported before.
func reportOf(p *pass, before report, late map[string]bool) report {
	after := report{
		config: ConfigReport{State: AsPlanned, Messages: []string{"The configuration can be used"}},
		nodes:  map[string]NodeReport{},
	}
	if len(p.problems) > 0 {
		after.config = ConfigReport{State: WrongConfig, Messages: p.problems}
	}
	for _, n := range p.nodes {
		after.nodes[n.name] = n.report(before.nodes[n.name], late[n.name])
	}
	return after
}

func (n node) report(before NodeReport, late bool) NodeReport {
	after := NodeReport{Config: n.key, Planned: n.planned, Allocatable: n.allocated}
	known := before.State == Mismatch && maps.Equal(before.Planned, n.planned)
	switch {
	case n.problem != nil:
		after.State, after.Message = WrongConfig, fmt.Sprintf("Node %s has no plan: %s", n.name, n.problem)
	case n.asPlanned():
		after.State, after.Message = AsPlanned, fmt.Sprintf("Node %s offers%s as planned", n.name, amounts(n.planned))
	case late || known:
		after.State, after.Message = Mismatch, fmt.Sprintf("Node %s offers%s, but%s is planned: look at the device plugin's pod on it", n.name, amounts(n.allocated), amounts(n.planned))
	default:
		after.State, after.Message = Changing, fmt.Sprintf("Node %s offers%s and is to offer%s: waiting for the device plugin on it", n.name, amounts(n.allocated), amounts(n.planned))
	}
	return after
}

// amounts writes resources in a fixed order, each after a blank.
func amounts(of map[string]int64) (text string) {
	for _, resource := range slices.Sorted(maps.Keys(of)) {
		text += fmt.Sprintf(" %s=%d", resource, of[resource])
	}
	return text
}

// data is the report as the status ConfigMap holds it.
func (r report) data() map[string]string {
	data := map[string]string{configKey: toYAML(r.config)}
	for name, n := range r.nodes {
		data[nodePrefix+name] = toYAML(n)
	}
	return data
}

func toYAML(v any) string {
	out, _ := yaml.Marshal(v) // words and numbers can always be written
	return string(out)
}

// parseReport reads back what was reported; what cannot be read was not.
func parseReport(data map[string]string) report {
	r := report{nodes: map[string]NodeReport{}}
	_ = yaml.Unmarshal([]byte(data[configKey]), &r.config)
	for key, value := range data {
		var n NodeReport
		if name, isNode := strings.CutPrefix(key, nodePrefix); isNode && yaml.Unmarshal([]byte(value), &n) == nil {
			r.nodes[name] = n
		}
	}
	return r
}

// eventRecord is one event to record.
type eventRecord struct {
	kind, reason, note string
	node               string
}

// eventsBetween are the transitions between two reports; what stays gives none. Nor does
// a node that matches at the first sight.
func eventsBetween(before, after report) (list []eventRecord) {
	if what := strings.Join(after.config.Messages, "; "); after.config.State != before.config.State || what != strings.Join(before.config.Messages, "; ") {
		switch {
		case after.config.State == WrongConfig:
			list = append(list, eventRecord{corev1.EventTypeWarning, "GPUSharingWrong", what, ""})
		case before.config.State == WrongConfig:
			list = append(list, eventRecord{corev1.EventTypeNormal, "GPUSharingCorrected", what, ""})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after.nodes)) {
		was, is := before.nodes[name], after.nodes[name]
		if was.State == is.State && maps.Equal(was.Planned, is.Planned) {
			continue
		}
		switch {
		case is.State == Mismatch || is.State == WrongConfig:
			list = append(list, eventRecord{corev1.EventTypeWarning, "GPUSlicesMismatch", is.Message, name})
		case is.State == AsPlanned && was.State != "":
			list = append(list, eventRecord{corev1.EventTypeNormal, "GPUSlicesAsPlanned", is.Message, name})
		}
	}
	return list
}

// readStatus is what was reported last, also by an operator before us.
func (r *Reconciler) readStatus(ctx context.Context) (*corev1.ConfigMap, error) {
	status := &corev1.ConfigMap{}
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: r.Namespace, Name: StatusName}, status)
	return status, client.IgnoreNotFound(err)
}

// writeStatus writes the status, if it differs, and records an event for what changed.
func (r *Reconciler) writeStatus(ctx context.Context, status *corev1.ConfigMap, before, after report) error {
	data := after.data()
	if maps.Equal(status.Data, data) {
		return nil
	}
	isNew := status.UID == ""
	status.Data = data
	var err error
	if isNew {
		status.ObjectMeta = metav1.ObjectMeta{
			Namespace: r.Namespace, Name: StatusName,
			Labels: map[string]string{wire.LabelManagedBy: wire.Operator},
		}
		err = r.Client.Create(ctx, status, client.FieldOwner(FieldOwner))
	} else {
		err = r.Client.Update(ctx, status, client.FieldOwner(FieldOwner))
	}
	if err != nil {
		return fmt.Errorf("write status of GPU sharing: %w", err)
	}
	r.recordEvents(status, eventsBetween(before, after))
	return nil
}

// recordEvents records the events on the status ConfigMap, in the operator's own
// namespace; they name the node.
func (r *Reconciler) recordEvents(status *corev1.ConfigMap, list []eventRecord) {
	for _, h := range list {
		var about runtime.Object // an interface that is nil where no node is meant
		if h.node != "" {
			about = &corev1.Node{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}, ObjectMeta: metav1.ObjectMeta{Name: h.node}}
		}
		r.Events.Eventf(status, about, h.kind, h.reason, "ShareGPUs", "%.1000s", h.note) // the API takes 1024 bytes
	}
}
