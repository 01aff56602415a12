package session

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// markForProxy gives the label to routes and middlewares that lack it, as those of earlier
// versions do, whatever else the session waits for: the proxy would not see them. Nothing
// but the label is written, so that a living desktop stays as it was started.
func (r *Reconciler) markForProxy(ctx context.Context, p *plan.Pass) error {
	for _, o := range p.Seen.Which(unmarked) {
		err := r.objects().Label(ctx, o, wire.LabelProxy, wire.LabelOn)
		switch {
		case apierrors.IsNotFound(err): // its end wakes us
		case err != nil && objects.IsRefusal(err):
			p.Refuse(verdict.Denied(o.GetKind(), err))
		case err != nil:
			return fmt.Errorf("label %s %q: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

// unmarked says whether an object is of the proxy's kinds and lacks the label.
func unmarked(o *unstructured.Unstructured) bool {
	return verdict.IsProxyKind(o.GetKind()) && o.GetDeletionTimestamp() == nil && o.GetLabels()[wire.LabelProxy] != wire.LabelOn
}
