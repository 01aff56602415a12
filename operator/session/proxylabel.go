package session

import (
	"context"
	"fmt"
	"maps"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// markForProxy gives the label to routes and middlewares that lack it, as those of earlier
// versions do, whatever else the session waits for: the proxy would not see them. Nothing
// but the label is written, so that a living desktop stays as it was started.
func (r *Reconciler) markForProxy(ctx context.Context, p *pass) error {
	for _, o := range p.seen.which(unmarked) {
		err := r.mark(ctx, o)
		switch {
		case apierrors.IsNotFound(err): // its end wakes us
		case err != nil && isRefusal(err):
			p.refuse(denied(o.GetKind(), err))
		case err != nil:
			return fmt.Errorf("label %s %q: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

// unmarked says whether an object is of the proxy's kinds and lacks the label.
func unmarked(o *unstructured.Unstructured) bool {
	return isProxyKind(o.GetKind()) && o.GetDeletionTimestamp() == nil && o.GetLabels()[wire.LabelProxy] != wire.LabelOn
}

// mark writes the label to this very object, and to what this pass has seen of it.
func (r *Reconciler) mark(ctx context.Context, o *unstructured.Unstructured) error {
	patch := fmt.Appendf(nil, `{"metadata":{"uid":%q,"labels":{%q:%q}}}`, o.GetUID(), wire.LabelProxy, wire.LabelOn)
	marked := newMetadata(o.GroupVersionKind(), o.GetName())
	marked.Namespace = o.GetNamespace()
	if err := r.Client.Patch(ctx, marked, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(FieldOwner)); err != nil {
		return err
	}
	labels := map[string]string{}
	maps.Copy(labels, o.GetLabels())
	labels[wire.LabelProxy] = wire.LabelOn
	o.SetLabels(labels)
	o.SetResourceVersion(marked.ResourceVersion)
	logf.FromContext(ctx).Info("labelled for the proxy", "kind", o.GetKind(), "name", o.GetName())
	return nil
}
