package homes

import (
	"context"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/retry"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// existingIndex finds the sessions that name a claim as their existing one.
const existingIndex = "spec.persistence.existingClaim"

// Setup registers the controller with the manager. Claims and sessions are
// watched for the session controller already; this one adds no request.
func (r *Reconciler) Setup(ctx context.Context, mgr ctrl.Manager) error {
	err := mgr.GetFieldIndexer().IndexField(ctx, &vdi.VDISession{}, existingIndex, func(o client.Object) []string {
		return []string{existingClaimOf(o)}
	})
	if err != nil {
		return err
	}
	r.indexed = true
	return ctrl.NewControllerManagedBy(mgr).Named("homes").
		For(&corev1.PersistentVolumeClaim{}, builder.WithPredicates(homeChanged())).
		Watches(&vdi.VDISession{}, handler.EnqueueRequestsFromMapFunc(homesOfSession), builder.WithPredicates(sessionLeft())).
		WithOptions(controller.Options{RateLimiter: retry.Limiter()}).
		Complete(r)
}

// homesOfSession are the home of its name and the one that it names.
func homesOfSession(_ context.Context, o client.Object) []reconcile.Request {
	own := types.NamespacedName{Namespace: o.GetNamespace(), Name: wire.PrefixHome + o.GetName()}
	named := types.NamespacedName{Namespace: o.GetNamespace(), Name: existingClaimOf(o)}
	if named.Name == "" {
		return []reconcile.Request{{NamespacedName: own}}
	}
	return []reconcile.Request{{NamespacedName: own}, {NamespacedName: named}}
}

func existingClaimOf(o client.Object) string {
	return o.(*vdi.VDISession).Spec.Persistence.ExistingClaim
}

// homeChanged lets pass the marks on a claim, which administrators may edit. Who
// holds a home changes with every run and nothing about its end.
func homeChanged() predicate.Predicate {
	return predicate.Funcs{
		DeleteFunc: func(event.DeleteEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return !maps.Equal(e.ObjectOld.GetLabels(), e.ObjectNew.GetLabels()) ||
				!maps.Equal(withoutHolder(e.ObjectOld), withoutHolder(e.ObjectNew))
		},
	}
}

// sessionLeft lets pass that a session is gone or names another claim.
func sessionLeft() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool { return existingClaimOf(e.ObjectOld) != existingClaimOf(e.ObjectNew) },
	}
}
