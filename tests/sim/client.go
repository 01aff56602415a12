package sim

import (
	"context"
	"errors"
	"fmt"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// gate is asked before every call to the API server. It returns when the call may go
// on, with an error if it fails: before it took effect, or only for the caller.
type gate func(ctx context.Context, call call) verdict

// call is one request to the API server, or to somebody else.
type call struct{ verb, what string }

// verdict is what becomes of a call.
type verdict struct {
	err   error
	after bool // it took effect, and its answer was lost
}

// through makes a call.
func (g gate) through(ctx context.Context, verb, what string, do func() error) error {
	v := g(ctx, call{verb, what})
	if v.err != nil && !v.after {
		return v.err
	}
	err := do()
	if v.err != nil {
		return v.err
	}
	return err
}

// liveReader reads from the API server itself.
type liveReader struct {
	*server
	gate gate
	// looked is told what somebody has seen, and listed by which kind, or kind and name,
	// somebody has asked what there is.
	looked func(*version)
	listed func(what string)
}

// Get implements client.Reader.
func (l liveReader) Get(ctx context.Context, k client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	kind, err := apiutil.GVKForObject(o, l.scheme)
	if err != nil {
		return err
	}
	if kind.Kind == "Secret" {
		panic("the operator has no right to read Secrets")
	}
	return l.gate.through(ctx, "get", kind.Kind+" "+k.String(), func() error {
		l.listed(kind.Kind + k.Name)
		found, err := l.get(kind, k.Namespace, k.Name)
		if err != nil {
			return err
		}
		l.looked(found)
		read(found, l.scheme, o)
		return nil
	})
}

// read keeps the kind where an object does not imply it, as clients do.
func read(v *version, scheme *runtime.Scheme, o client.Object) {
	v.into(scheme, o)
	switch o.(type) {
	case *metav1.PartialObjectMetadata, *unstructured.Unstructured:
		o.GetObjectKind().SetGroupVersionKind(v.kind)
	default:
		o.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	}
}

// List implements client.Reader.
func (l liveReader) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	kind, err := apiutil.GVKForObject(list, l.scheme)
	if err != nil {
		return err
	}
	name := strings.TrimSuffix(kind.Kind, "List")
	return l.gate.through(ctx, "list", name, func() error {
		l.listed(name)
		return fill(list, l.scheme, l.list(name), opts, selectable)
	})
}

// selectable are the fields by which the API server selects: of our kinds, those that
// their definitions name.
func selectable(v *version, field string) []string {
	spec, _ := v.object["spec"].(map[string]any)
	switch v.key.kind + " " + field {
	case "VDISession spec.user":
		return []string{text(spec, "user")}
	case "VDISession spec.template":
		return []string{text(spec, "template")}
	default:
		panic(fmt.Errorf("the API server does not select %s by %s", v.key.kind, field))
	}
}

// fill gives a list what is selected.
func fill(list client.ObjectList, scheme *runtime.Scheme, all []*version, opts []client.ListOption, fields func(*version, string) []string) error {
	o := client.ListOptions{}
	o.ApplyOptions(opts)
	var items []runtime.Object
	for _, v := range all {
		if !selected(v, scheme, o, fields) {
			continue
		}
		items = append(items, v.as(scheme).DeepCopyObject())
	}
	return meta.SetList(list, items)
}

func selected(v *version, scheme *runtime.Scheme, o client.ListOptions, fields func(*version, string) []string) bool {
	if o.Namespace != "" && o.Namespace != v.namespace {
		return false
	}
	if o.LabelSelector != nil && !o.LabelSelector.Matches(labelsOf(v.object)) {
		return false
	}
	if o.FieldSelector == nil {
		return true
	}
	for _, wanted := range o.FieldSelector.Requirements() {
		found := false
		for _, value := range fields(v, wanted.Field) {
			found = found || value == wanted.Value
		}
		if !found {
			return false
		}
	}
	return true
}

// labelSet are an object's labels, to be selected by.
type labelSet map[string]any

func labelsOf(object map[string]any) labelSet {
	found, _ := metaOf(object)["labels"].(map[string]any)
	return found
}

// Has implements labels.Labels.
func (l labelSet) Has(name string) bool { _, found := l[name]; return found }

// Get implements labels.Labels.
func (l labelSet) Get(name string) string { value, _ := l[name].(string); return value }

// Lookup implements labels.Labels.
func (l labelSet) Lookup(name string) (string, bool) {
	value, found := l[name].(string)
	return value, found
}

// operatorClient reads from caches and writes to the API server.
type operatorClient struct {
	client.Reader
	*server
	gate   gate
	by     string
	mapper meta.RESTMapper
}

// at names an object in a call.
func at(kind schema.GroupVersionKind, o client.Object) string {
	return kind.Kind + " " + o.GetNamespace() + "/" + o.GetName()
}

// write makes a call whose answer is the object as it is then.
func (c *operatorClient) write(ctx context.Context, verb string, o client.Object, do func(schema.GroupVersionKind) (*version, error)) error {
	kind, err := apiutil.GVKForObject(o, c.scheme)
	if err != nil {
		return err
	}
	return c.gate.through(ctx, verb, at(kind, o), func() error {
		if !c.serves(kind) {
			return &meta.NoKindMatchError{GroupKind: kind.GroupKind(), SearchedVersions: []string{kind.Version}}
		}
		made, err := do(kind)
		if err == nil && made != nil {
			read(made, c.scheme, o)
		}
		return err
	})
}

// Create implements client.Client.
func (c *operatorClient) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	options := client.CreateOptions{}
	options.ApplyOptions(opts)
	return c.write(ctx, "create", o, func(kind schema.GroupVersionKind) (*version, error) {
		if len(options.DryRun) > 0 {
			return nil, apierrors.NewForbidden(resourceOf(kind), o.GetName(), errors.New("ValidatingAdmissionPolicy denied request: the operator writes nothing but what a VDISession controls"))
		}
		return c.create(c.by, o)
	})
}

// Update implements client.Client.
func (c *operatorClient) Update(ctx context.Context, o client.Object, opts ...client.UpdateOption) error {
	options := client.UpdateOptions{}
	options.ApplyOptions(opts)
	return c.write(ctx, "update", o, func(kind schema.GroupVersionKind) (*version, error) {
		object, _ := c.plain(o)
		if len(options.DryRun) > 0 {
			return c.tried(kind, o, object)
		}
		r := Request{By: c.by, Verb: VerbUpdate, Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName()}
		return c.recorded(r, clone(object), func() (*version, error) {
			current, err := c.server.get(kind, o.GetNamespace(), o.GetName())
			if err != nil {
				return nil, err
			}
			if err := fits(kind, current, metaOf(object)); err != nil {
				return nil, err
			}
			if err := judgeSecret(kind, current, object); err != nil {
				return nil, err
			}
			return c.put(c.by, "update", current, object, object, false)
		})
	})
}

// tried is the answer to a replacement that is not carried out: what was sent, with the
// version of what is there. Only Secrets are asked about in this way.
func (c *operatorClient) tried(kind schema.GroupVersionKind, o client.Object, object map[string]any) (*version, error) {
	current, err := c.server.get(kind, o.GetNamespace(), o.GetName())
	if err != nil {
		return nil, err
	}
	if err := judgeSecret(kind, current, object); err != nil {
		return nil, err
	}
	asked, _ := metaOf(object)["annotations"].(map[string]any)
	there, _ := metaOf(current.object)["annotations"].(map[string]any)
	for _, name := range []string{wire.AnnotationKeysVersion, wire.AnnotationPasswordVerifier} {
		if value, set := asked[name]; set && value != there[name] {
			return nil, apierrors.NewForbidden(resourceOf(kind), current.name, errors.New("ValidatingAdmissionPolicy denied request: it is another than the operator asks about"))
		}
	}
	sent := clone(object)
	for _, field := range []string{"uid", "resourceVersion", "creationTimestamp", "deletionTimestamp"} {
		if value, set := metaOf(current.object)[field]; set {
			metaOf(sent)[field] = value
		}
	}
	return &version{key: current.key, kind: kind, object: sent}, nil
}

// judgeSecret does as the admission policy on the operator's account: a Secret is changed
// only for the session that controls it, or for one that lost it.
func judgeSecret(kind schema.GroupVersionKind, current *version, object map[string]any) error {
	if kind.Kind != "Secret" {
		return nil
	}
	refused := func(why string) error {
		return apierrors.NewForbidden(resourceOf(kind), current.name, errors.New("ValidatingAdmissionPolicy denied request: "+why))
	}
	annotations, _ := metaOf(object)["annotations"].(map[string]any)
	owner, lost := ownerOf(current.object), labelsOf(current.object).Get("app.kubernetes.io/name") == "vdi-session"
	switch {
	case owner == "" && (!lost || annotations[wire.AnnotationGivenBack] != "true"):
		return refused("secrets belongs to no VDISession")
	case owner != "" && owner != ownerOf(object):
		return refused("the operator may not take it from its VDISession")
	default:
		return nil
	}
}

// Delete implements client.Client.
func (c *operatorClient) Delete(ctx context.Context, o client.Object, opts ...client.DeleteOption) error {
	options := client.DeleteOptions{}
	options.ApplyOptions(opts)
	return c.write(ctx, "delete", o, func(kind schema.GroupVersionKind) (*version, error) {
		return nil, c.server.delete(c.by, kind, o.GetNamespace(), o.GetName(), options)
	})
}

// Patch implements client.Client.
func (c *operatorClient) Patch(ctx context.Context, o client.Object, patch client.Patch, _ ...client.PatchOption) error {
	return c.patchWith(ctx, "patch", o, patch, false)
}

func (c *operatorClient) patchWith(ctx context.Context, verb string, o client.Object, patch client.Patch, status bool) error {
	data, err := patch.Data(o)
	if err != nil {
		return err
	}
	return c.write(ctx, verb, o, func(kind schema.GroupVersionKind) (*version, error) {
		if patch.Type() == types.JSONPatchType {
			r := Request{By: c.by, Verb: VerbJSONPatch, Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName()}
			return c.recorded(r, data, func() (*version, error) { return c.patchJSON(kind, o, data) })
		}
		if kind.Kind == "Secret" {
			panic("the operator has no right to patch Secrets")
		}
		change := map[string]any{}
		if err := json.Unmarshal(data, &change); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		return c.server.patch(c.by, kind, o.GetNamespace(), o.GetName(), change, status)
	})
}

func (c *operatorClient) patchJSON(kind schema.GroupVersionKind, o client.Object, data []byte) (*version, error) {
	current, err := c.server.get(kind, o.GetNamespace(), o.GetName())
	if err != nil {
		return nil, err
	}
	patch, err := jsonpatch.DecodePatch(data)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	before, err := json.Marshal(current.object)
	if err != nil {
		return nil, err
	}
	after, err := patch.Apply(before)
	if err != nil {
		return nil, apierrors.NewGenericServerResponse(422, "patch", resourceOf(kind), o.GetName(), err.Error(), 0, false)
	}
	object := map[string]any{}
	if err := json.Unmarshal(after, &object); err != nil {
		return nil, err
	}
	if err := fits(kind, current, metaOf(object)); err != nil {
		return nil, err
	}
	return c.put(c.by, "patch", current, object, object, false)
}

// Apply implements client.Client. Nobody else applies here, and what others have
// added is removed by a patch before: so what is applied is merged.
func (c *operatorClient) Apply(ctx context.Context, configuration runtime.ApplyConfiguration, _ ...client.ApplyOption) error {
	applied := configuration.(runtime.Unstructured)
	o := &unstructured.Unstructured{Object: applied.UnstructuredContent()}
	err := c.write(ctx, "apply", o, func(kind schema.GroupVersionKind) (*version, error) {
		r := Request{By: c.by, Verb: VerbApply, Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName()}
		return c.recorded(r, o.Object, func() (*version, error) {
			if c.objects[key{kind.Kind, o.GetNamespace(), o.GetName()}] == nil && o.GetUID() != "" {
				return nil, apierrors.NewConflict(resourceOf(kind), o.GetName(), errors.New("uid mismatch: no existing object was found"))
			}
			return c.server.patch(c.by, kind, o.GetNamespace(), o.GetName(), runtime.DeepCopyJSON(o.Object), false)
		})
	})
	applied.SetUnstructuredContent(o.Object)
	return err
}

// Status implements client.Client.
func (c *operatorClient) Status() client.SubResourceWriter { return statusWriter{c: c} }

// statusWriter writes the status alone.
type statusWriter struct {
	client.SubResourceWriter // the operator makes none and replaces none

	c *operatorClient
}

// Patch implements client.SubResourceWriter.
func (s statusWriter) Patch(ctx context.Context, o client.Object, patch client.Patch, _ ...client.SubResourcePatchOption) error {
	return s.c.patchWith(ctx, "patch status", o, patch, true)
}

// Scheme implements client.Client.
func (c *operatorClient) Scheme() *runtime.Scheme { return c.scheme }

// RESTMapper implements client.Client.
func (c *operatorClient) RESTMapper() meta.RESTMapper { return c.mapper }

// GroupVersionKindFor implements client.Client.
func (c *operatorClient) GroupVersionKindFor(o runtime.Object) (schema.GroupVersionKind, error) {
	return apiutil.GVKForObject(o, c.scheme)
}

// IsObjectNamespaced implements client.Client.
func (c *operatorClient) IsObjectNamespaced(o runtime.Object) (bool, error) {
	return apiutil.IsObjectNamespaced(o, c.scheme, c.mapper)
}

// SubResource implements client.Client.
func (c *operatorClient) SubResource(name string) client.SubResourceClient {
	panic("the operator asks for no " + name)
}

// DeleteAllOf implements client.Client.
func (c *operatorClient) DeleteAllOf(context.Context, client.Object, ...client.DeleteAllOfOption) error {
	panic("the operator never deletes more than one object at a time")
}

// routes is the kind of the proxy's routes, and routeCRD its definition, without
// which nobody serves them.
var (
	routes = schema.GroupVersionKind{Group: "traefik.io", Version: "v1alpha1", Kind: "IngressRoute"}
	crds   = schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}
	pods   = corev1.SchemeGroupVersion.WithKind("Pod")
)

// serves reports whether the API server knows a kind.
func (s *server) serves(kind schema.GroupVersionKind) bool {
	return kind.Group != routes.Group || s.objects[key{crds.Kind, "", routeCRD}] != nil
}
