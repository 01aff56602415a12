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

	"github.com/vdi-platform/vdi-platform/operator/gpusharing/plan"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// eventRecord is one event to record.
type eventRecord struct {
	kind, reason, note string
	node               string
}

// eventsBetween are the transitions between two reports; what stays gives none. Nor does
// a node that matches at the first sight.
func eventsBetween(before, after plan.Report) (list []eventRecord) {
	if what := strings.Join(after.Config.Messages, "; "); after.Config.State != before.Config.State || what != strings.Join(before.Config.Messages, "; ") {
		switch {
		case after.Config.State == plan.WrongConfig:
			list = append(list, eventRecord{corev1.EventTypeWarning, "GPUSharingWrong", what, ""})
		case before.Config.State == plan.WrongConfig:
			list = append(list, eventRecord{corev1.EventTypeNormal, "GPUSharingCorrected", what, ""})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after.Nodes)) {
		was, is := before.Nodes[name], after.Nodes[name]
		if was.State == is.State && maps.Equal(was.Planned, is.Planned) {
			continue
		}
		switch {
		case is.State == plan.Mismatch || is.State == plan.WrongConfig:
			list = append(list, eventRecord{corev1.EventTypeWarning, "GPUSlicesMismatch", is.Message, name})
		case is.State == plan.AsPlanned && was.State != "":
			list = append(list, eventRecord{corev1.EventTypeNormal, "GPUSlicesAsPlanned", is.Message, name})
		}
	}
	return list
}

// readStatus is what was reported last, also by an operator before us.
func (r *Reconciler) readStatus(ctx context.Context) (*corev1.ConfigMap, error) {
	status := &corev1.ConfigMap{}
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: r.Namespace, Name: plan.StatusName}, status)
	return status, client.IgnoreNotFound(err)
}

// writeStatus writes the status, if it differs, and records an event for what changed.
func (r *Reconciler) writeStatus(ctx context.Context, status *corev1.ConfigMap, before, after plan.Report) error {
	data := after.Data()
	if maps.Equal(status.Data, data) {
		return nil
	}
	isNew := status.UID == ""
	status.Data = data
	var err error
	if isNew {
		status.ObjectMeta = metav1.ObjectMeta{
			Namespace: r.Namespace, Name: plan.StatusName,
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
