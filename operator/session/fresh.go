package session

import (
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/status"
)

// statusIsNotOurs lets pass a status that this operator cannot have written just now: what
// somebody else has written, or what the API server has gone back to, is looked at.
func (r *Reconciler) statusIsNotOurs() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		DeleteFunc: func(event.DeleteEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, after := e.ObjectOld.(*vdi.VDISession), e.ObjectNew.(*vdi.VDISession)
			wrote, _ := r.written.load(client.ObjectKeyFromObject(after))
			return r.Clock.Since(wrote).Abs() > ownWrite && !status.Equal(before.Status, after.Status)
		},
	}
}
