package session

import (
	corev1 "k8s.io/api/core/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/session/status"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
)

// recordEvents reports what this pass changed: events for people, metrics for graphs.
func (r *Reconciler) recordEvents(before, after *vdi.VDISession, p *plan.Pass) {
	for _, e := range status.Events(before, after, p) {
		r.Events.Eventf(after, nil, e.Type, e.Reason, e.Action, "%s", verdict.Shorten(e.Note, status.MaxNote))
	}
	if p.LetGo && p.HomeKept != nil { // where people look who wonder why it is still there
		r.Events.Eventf(p.HomeKept.Claim, after, corev1.EventTypeNormal, "HomeKept", "Keep", "%s", verdict.Shorten(p.HomeKept.Note(after), status.MaxNote))
	}
	r.Metrics.observe(before, after, p)
}
