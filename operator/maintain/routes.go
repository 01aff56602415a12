package maintain

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

const (
	// labeller is this command's name in managed fields.
	labeller = "vdi-operator-routes"
	// pageOfRoutes bounds one answer of the API server.
	pageOfRoutes = 500
)

// Kinds of the proxy that this platform makes objects of.
var (
	proxyVersion   = schema.GroupVersion{Group: wire.GroupProxy, Version: wire.VersionProxy}
	routeKind      = proxyVersion.WithKind(wire.KindIngressRoute)
	middlewareKind = proxyVersion.WithKind(wire.KindMiddleware)
	optionKind     = proxyVersion.WithKind("TLSOption")
	storeKind      = proxyVersion.WithKind("TLSStore")
)

// ofSessions are the labels of what the operator makes for sessions.
var ofSessions = client.MatchingLabels{wire.LabelName: wire.NameSession, wire.LabelManagedBy: wire.Operator}

// labelRoutes puts the label by which the platform's own proxy knows its objects on those
// that earlier versions made, and on what their routes refer to: a proxy that reads nothing
// else may start then. It writes nothing but that label, and looks until nothing lacks it,
// because the operator of before works on.
func labelRoutes(ctx context.Context, j job) error {
	total := 0
	for {
		labelled, err := j.labelOnce(ctx)
		if err != nil {
			return err
		}
		if total += labelled; labelled == 0 {
			j.report("every route of the platform has the label %s=true; %d had to get it", wire.LabelProxy, total)
			return nil
		}
	}
}

func (j job) labelOnce(ctx context.Context) (labelled int, err error) {
	found := &unlabelled{job: j}
	if err := found.addOwn(ctx); err != nil {
		return 0, err
	}
	for _, namespace := range j.sessionNamespaces() {
		if err := found.addSessions(ctx, namespace); err != nil {
			return 0, err
		}
	}
	for _, o := range found.objects {
		if err := j.label(ctx, o); err != nil {
			return labelled, err
		}
		labelled++
	}
	return labelled, nil
}

// unlabelled collects the objects that lack the label.
type unlabelled struct {
	job     job
	objects []*unstructured.Unstructured
}

func (u *unlabelled) add(o unstructured.Unstructured) {
	if o.GetLabels()[wire.LabelProxy] != wire.LabelOn && o.GetDeletionTimestamp() == nil {
		u.objects = append(u.objects, &o)
	}
}

// addOwn adds what Helm has installed with this release.
func (u *unlabelled) addOwn(ctx context.Context) error {
	for _, kind := range []schema.GroupVersionKind{routeKind, middlewareKind, optionKind, storeKind} {
		err := u.job.each(ctx, kind, func(o unstructured.Unstructured) error {
			notes := o.GetAnnotations()
			if notes["meta.helm.sh/release-name"] == u.job.options.release && notes["meta.helm.sh/release-namespace"] == u.job.options.namespace {
				u.add(o)
			}
			return nil
		}, client.InNamespace(u.job.options.namespace))
		if err != nil {
			return err
		}
	}
	return nil
}

// addSessions adds what the operator has made, and what an administrator has put beside it
// for its routes.
func (u *unlabelled) addSessions(ctx context.Context, namespace string) error {
	named := map[object]bool{}
	for _, kind := range []schema.GroupVersionKind{routeKind, middlewareKind} {
		err := u.job.each(ctx, kind, func(o unstructured.Unstructured) error {
			u.add(o)
			for _, reference := range referencesOf(o) {
				named[reference] = true
			}
			return nil
		}, client.InNamespace(namespace), ofSessions)
		if err != nil {
			return err
		}
	}
	return u.addNamed(ctx, named)
}

// addNamed adds objects by their names, and what these refer to in turn.
func (u *unlabelled) addNamed(ctx context.Context, named map[object]bool) error {
	seen := map[object]bool{}
	for len(named) > 0 {
		next := map[object]bool{}
		for reference := range named {
			seen[reference] = true
			o := unstructured.Unstructured{}
			o.SetGroupVersionKind(proxyVersion.WithKind(reference.kind))
			err := u.job.client.Get(ctx, client.ObjectKey{Namespace: reference.namespace, Name: reference.name}, &o)
			if isMissing(err) {
				continue
			}
			if err != nil {
				return fmt.Errorf("read %s %s/%s, which a desktop's route names: %w", reference.kind, reference.namespace, reference.name, err)
			}
			if !isOfSession(o) {
				u.add(o)
			}
			for _, more := range referencesOf(o) {
				if !seen[more] {
					next[more] = true
				}
			}
		}
		named = next
	}
	return nil
}

func isOfSession(o unstructured.Unstructured) bool {
	for key, value := range ofSessions {
		if o.GetLabels()[key] != value {
			return false
		}
	}
	return true
}

// object is the name of one of the proxy's objects.
type object struct{ kind, namespace, name string }

// referencesOf are the objects of the same namespace without which the proxy does not
// serve this one: no route of a desktop may name any other.
func referencesOf(o unstructured.Unstructured) (found []object) {
	names := func(list []any) {
		for _, entry := range list {
			m, _ := entry.(map[string]any)
			name, _ := m["name"].(string)
			if id, ofThisKind := strings.CutSuffix(name, "@kubernetescrd"); ofThisKind {
				name = strings.TrimPrefix(id, o.GetNamespace()+"-")
			}
			if name != "" && !strings.Contains(name, "@") { // which would be of another provider
				found = append(found, object{middlewareKind.Kind, o.GetNamespace(), name})
			}
		}
	}
	routes, _, _ := unstructured.NestedSlice(o.Object, "spec", "routes")
	for _, r := range routes {
		rule, _ := r.(map[string]any)
		middlewares, _ := rule["middlewares"].([]any)
		names(middlewares)
	}
	chained, _, _ := unstructured.NestedSlice(o.Object, "spec", "chain", "middlewares")
	names(chained)
	if name, _, _ := unstructured.NestedString(o.Object, "spec", "tls", "options", "name"); name != "" {
		found = append(found, object{optionKind.Kind, o.GetNamespace(), name})
	}
	slices.SortFunc(found, func(a, b object) int { return strings.Compare(a.kind+a.name, b.kind+b.name) })
	return slices.Compact(found)
}

// each visits the objects of a kind, of which there are none where it is not installed.
func (j job) each(ctx context.Context, kind schema.GroupVersionKind, visit func(unstructured.Unstructured) error, options ...client.ListOption) error {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	for {
		err := j.client.List(ctx, list, append(options, client.Limit(pageOfRoutes), client.Continue(list.GetContinue()))...)
		if isMissing(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list objects of kind %s: %w", kind.Kind, err)
		}
		for _, o := range list.Items {
			if err := visit(o); err != nil {
				return err
			}
		}
		if list.GetContinue() == "" {
			return nil
		}
	}
}

func isMissing(err error) bool { return apierrors.IsNotFound(err) || meta.IsNoMatchError(err) }

// label writes the label to this very object.
func (j job) label(ctx context.Context, o *unstructured.Unstructured) error {
	patch := fmt.Appendf(nil, `{"metadata":{"uid":%q,"labels":{%q:%q}}}`, o.GetUID(), wire.LabelProxy, wire.LabelOn)
	target := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: o.GetNamespace(), Name: o.GetName()}}
	target.SetGroupVersionKind(o.GroupVersionKind())
	err := j.client.Patch(ctx, target, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(labeller))
	if isMissing(err) || apierrors.IsConflict(err) {
		return nil // another one has taken its place, which the next look shows
	}
	if err != nil {
		return fmt.Errorf("label %s %s/%s: %w", o.GetKind(), o.GetNamespace(), o.GetName(), err)
	}
	j.report("labelled %s %s/%s", o.GetKind(), o.GetNamespace(), o.GetName())
	return nil
}
