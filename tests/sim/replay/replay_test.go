// Package replay keeps the simulation honest: what its API server in memory answers to
// the requests of whole cases, the real one must answer, too.
package replay

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/vdi-platform/vdi-platform/operator/session"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
	"github.com/vdi-platform/vdi-platform/tests/sim"
)

var (
	seeds = flag.Uint64("seeds", 8, "how many cases are replayed")
	first = flag.Uint64("first", 0, "the first seed")
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(m.Run())
}

// Names of the simulation's world.
const (
	team   = "team"
	system = "vdi-system"
	crd    = "CustomResourceDefinition"
)

// replayer makes the requests of one case at the real API server.
type replayer struct {
	t      *testing.T
	client client.Client
	// uids and versions are what the real ones are called, by the simulation's names.
	uids, versions map[string]string
	done           int
}

// TestReplay makes the same requests, in the same order: they are refused for the same
// reason, or lead to the same objects, but for what only the real API server adds.
func TestReplay(t *testing.T) {
	admin := startPlane(t)
	made, began := 0, time.Now()
	for seed := *first; seed < *first+*seeds; seed++ {
		r := &replayer{t: t, client: admin, uids: map[string]string{}, versions: map[string]string{}}
		r.clean()
		for i, request := range sim.Record(t, seed) {
			if request.Restored || request.Kind.Kind == crd && request.Verb == sim.VerbDelete {
				break // the real one takes minutes for the first, and the second asynchronously
			}
			if request.Kind.Kind == crd {
				continue // it is there
			}
			if problem := r.replay(request); problem != "" {
				t.Errorf("seed %d, request %d: %s: %s %s %s %s/%s: %s\nsent: %s", seed, i, request.By, request.Verb, statusOf(request), request.Kind.Kind, request.Namespace, request.Name, problem, request.Body)
				break // what follows would differ, too
			}
		}
		made += r.done
	}
	t.Logf("%d requests of %d cases from seed %d: the same answers; %s", made, *seeds, *first, time.Since(began).Round(time.Second))
	require.Greater(t, made, int(*seeds)*20, "the cases are of some length")
}

func statusOf(r sim.Request) string {
	if r.Status {
		return "status of"
	}
	return "of"
}

// replay makes a request, and says how the answers differ.
func (r *replayer) replay(q sim.Request) string {
	r.done++
	got, err := r.send(q)
	if reason(q.Err) != reason(err) {
		return fmt.Sprintf("the simulation says %v, the API server %v", orFine(q.Err), orFine(err))
	}
	if err != nil {
		return ""
	}
	if got == nil || q.After == nil {
		if (got == nil) != (q.After == nil) {
			return fmt.Sprintf("gone in the simulation: %t, at the API server: %t", q.After == nil, got == nil)
		}
		return ""
	}
	r.learn(q, got)
	return r.compare(q, got.Object)
}

func orFine(err error) error {
	if err == nil {
		return errors.New("fine")
	}
	return err
}

// reason is the API's word for an error; the texts differ.
func reason(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprintf("%d %s", code(err), apierrors.ReasonForError(err))
}

func code(err error) int32 {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return status.Status().Code
	}
	return 0
}

// learn keeps what the API server calls what the simulation calls otherwise.
func (r *replayer) learn(q sim.Request, got *unstructured.Unstructured) {
	meta := q.After["metadata"].(map[string]any)
	r.uids[meta["uid"].(string)] = string(got.GetUID())
	r.versions[at(q.Kind.Kind, q.Namespace, q.Name, meta["resourceVersion"])] = got.GetResourceVersion()
}

func at(kind, namespace, name string, version any) string {
	return fmt.Sprint(kind, " ", namespace, "/", name, "@", version)
}

// send makes the request and returns the object as it is then.
func (r *replayer) send(q sim.Request) (*unstructured.Unstructured, error) {
	ctx := r.t.Context()
	o := &unstructured.Unstructured{Object: map[string]any{}}
	body := r.translate(q)
	if q.Verb == sim.VerbCreate || q.Verb == sim.VerbUpdate || q.Verb == sim.VerbApply {
		if err := json.Unmarshal(body, &o.Object); err != nil {
			return nil, err
		}
	}
	o.SetGroupVersionKind(q.Kind)
	o.SetNamespace(q.Namespace)
	o.SetName(q.Name)
	owner := client.FieldOwner(q.By)
	if strings.HasPrefix(q.By, "operator-") {
		owner = session.FieldOwner
	}
	var err error
	switch q.Verb {
	case sim.VerbCreate:
		err = r.client.Create(ctx, o, owner)
	case sim.VerbUpdate:
		err = r.update(ctx, q, o, owner)
	case sim.VerbApply:
		o.SetManagedFields(nil)
		err = r.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), owner, client.ForceOwnership)
	case sim.VerbMerge:
		err = r.patch(ctx, q, o, client.RawPatch(types.MergePatchType, body), owner)
	case sim.VerbJSONPatch:
		err = r.patch(ctx, q, o, client.RawPatch(types.JSONPatchType, body), owner)
	case sim.VerbDelete:
		return r.delete(ctx, q, o)
	default:
		err = fmt.Errorf("unknown verb %q", q.Verb)
	}
	if err != nil {
		return nil, err
	}
	return r.now(ctx, o)
}

// now is the object as it is, nil where the request was its end.
func (r *replayer) now(ctx context.Context, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	err := r.client.Get(ctx, client.ObjectKeyFromObject(o), o)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return o, err
}

func (r *replayer) patch(ctx context.Context, q sim.Request, o *unstructured.Unstructured, patch client.Patch, owner client.FieldOwner) error {
	if q.Status {
		return r.client.Status().Patch(ctx, o, patch, owner)
	}
	return r.client.Patch(ctx, o, patch, owner)
}

// update is for the operator a question of versions; the others of the simulation write
// over what there is, and its scheduler binds.
func (r *replayer) update(ctx context.Context, q sim.Request, o *unstructured.Unstructured, owner client.FieldOwner) error {
	if !strings.HasPrefix(q.By, "operator-") {
		current := &unstructured.Unstructured{Object: map[string]any{}}
		current.SetGroupVersionKind(q.Kind)
		if err := r.client.Get(ctx, client.ObjectKeyFromObject(o), current); err != nil {
			return err
		}
		if node, _, _ := unstructured.NestedString(o.Object, "spec", "nodeName"); q.By == "scheduler" && !q.Status && node != "" {
			binding := &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "v1", "kind": "Binding", "metadata": map[string]any{"name": q.Name}, "target": map[string]any{"kind": "Node", "name": node},
			}}
			return r.client.SubResource("binding").Create(ctx, current, binding)
		}
		o.SetResourceVersion(current.GetResourceVersion())
		if !q.Status { // as with a kubectl edit: what the API server has added stays
			o.Object = onto(current.Object, o.Object)
		}
	}
	if q.Status {
		return r.client.Status().Update(ctx, o, client.WithSubResourceBody(o), &client.SubResourceUpdateOptions{UpdateOptions: client.UpdateOptions{FieldManager: string(owner)}})
	}
	return r.client.Update(ctx, o, owner)
}

func (r *replayer) delete(ctx context.Context, q sim.Request, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	options := q.Delete
	if p := options.Preconditions; p != nil {
		translated := metav1.Preconditions{}
		if p.UID != nil {
			uid := types.UID(r.uid(string(*p.UID)))
			translated.UID = &uid
		}
		if p.ResourceVersion != nil {
			version := r.version(q, *p.ResourceVersion)
			translated.ResourceVersion = &version
		}
		options.Preconditions = &translated
	}
	options.Raw = nil
	if err := r.client.Delete(ctx, o, &options); err != nil {
		return nil, err
	}
	return r.now(ctx, o)
}

var simUID = regexp.MustCompile(`\buid-\d+\b`)

func (r *replayer) uid(text string) string {
	if real, known := r.uids[text]; known {
		return real
	}
	return text
}

func (r *replayer) version(q sim.Request, text string) string {
	if real, known := r.versions[at(q.Kind.Kind, q.Namespace, q.Name, text)]; known {
		return real
	}
	return text
}

// translate puts the real UIDs and versions into what was sent.
func (r *replayer) translate(q sim.Request) []byte {
	text := simUID.ReplaceAllFunc(q.Body, func(found []byte) []byte { return []byte(r.uid(string(found))) })
	switch q.Verb {
	case sim.VerbUpdate, sim.VerbMerge:
		object := map[string]any{}
		if json.Unmarshal(text, &object) != nil {
			return text
		}
		if m, is := object["metadata"].(map[string]any); is {
			if version, is := m["resourceVersion"].(string); is {
				m["resourceVersion"] = r.version(q, version)
			}
		}
		return asJSON(object)
	case sim.VerbJSONPatch:
		var operations []map[string]any
		if json.Unmarshal(text, &operations) != nil {
			return text
		}
		for _, o := range operations {
			if version, is := o["value"].(string); is && o["path"] == "/metadata/resourceVersion" {
				o["value"] = r.version(q, version)
			}
		}
		return asJSON(operations)
	}
	return text
}

func asJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

// --- objects

// compare says how the real object differs from the simulation's. Of kinds that are not
// ours the real one has more: defaults, and what admission and allocation add.
func (r *replayer) compare(q sim.Request, got map[string]any) string {
	want := map[string]any{}
	text := simUID.ReplaceAllFunc(asJSON(q.After), func(found []byte) []byte { return []byte(r.uid(string(found))) })
	if err := json.Unmarshal(text, &want); err != nil {
		return err.Error()
	}
	var plain map[string]any
	if err := json.Unmarshal(asJSON(got), &plain); err != nil {
		return err.Error()
	}
	ours := strings.HasPrefix(q.Kind.Group, "vdi.")
	for _, o := range []map[string]any{want, plain} {
		m := o["metadata"].(map[string]any)
		for _, field := range []string{"resourceVersion", "creationTimestamp", "managedFields", "selfLink", "deletionGracePeriodSeconds"} {
			delete(m, field)
		}
		if m["deletionTimestamp"] != nil {
			m["deletionTimestamp"] = "set"
		}
		if !ours {
			delete(m, "generation")
			delete(o, "status") // the cluster's own
		}
	}
	if ours {
		return differ("", want, plain, true)
	}
	if problem := differ(".metadata", want["metadata"], plain["metadata"], true); problem != "" {
		return problem
	}
	delete(want, "metadata")
	if spec, is := want["spec"].(map[string]any); is {
		delete(spec, "clusterIP") // each has its own
	}
	return differ("", want, plain, false)
}

// differ is where two values differ; what is only in the second counts if exact.
func differ(path string, want, got any, exact bool) string {
	w, isMap := want.(map[string]any)
	g, also := got.(map[string]any)
	if isMap && also {
		for _, name := range keysOf(w, g) {
			inner, here := w[name]
			other, there := g[name]
			switch {
			case here && !there:
				return fmt.Sprintf("%s.%s: the API server has none, the simulation %v", path, name, inner)
			case !here && exact:
				return fmt.Sprintf("%s.%s: the simulation has none, the API server %v", path, name, other)
			case here:
				if problem := differ(path+"."+name, inner, other, exact); problem != "" {
					return problem
				}
			}
		}
		return ""
	}
	lw, isList := want.([]any)
	lg, too := got.([]any)
	if isList && too && (len(lw) == len(lg) || !exact && len(lw) < len(lg)) {
		for i := range lw {
			if problem := differ(fmt.Sprintf("%s[%d]", path, i), lw[i], lg[i], exact); problem != "" {
				return problem
			}
		}
		return ""
	}
	if !reflect.DeepEqual(want, got) && (exact || !sameQuantity(want, got)) {
		return fmt.Sprintf("%s: the simulation has %v, the API server %v", path, want, got)
	}
	return ""
}

// sameQuantity is for those that are written in several ways.
func sameQuantity(a, b any) bool {
	x, errX := resource.ParseQuantity(fmt.Sprint(a))
	y, errY := resource.ParseQuantity(fmt.Sprint(b))
	return errX == nil && errY == nil && x.Cmp(y) == 0
}

func keysOf(a, b map[string]any) (names []string) {
	for name := range a {
		names = append(names, name)
	}
	for name := range b {
		if _, both := a[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// onto is an object of the simulation's with what the API server has added to the spec.
func onto(current, wanted map[string]any) map[string]any {
	spec, is := current["spec"].(map[string]any)
	mine, also := wanted["spec"].(map[string]any)
	if !is || !also || strings.HasPrefix(fmt.Sprint(current["kind"]), "VDI") {
		return wanted
	}
	for name, value := range spec {
		if _, there := mine[name]; !there || name == "clusterIP" {
			mine[name] = value
		}
	}
	return wanted
}

// --- the API server

// clean removes what an earlier case has left.
func (r *replayer) clean() {
	r.t.Helper()
	ctx := r.t.Context()
	for _, kind := range []schema.GroupVersionKind{
		{Group: "vdi.kasm.io", Version: "v1alpha1", Kind: "VDISession"},
		{Group: "vdi.kasm.io", Version: "v1alpha1", Kind: "VDITemplate"},
		{Group: "vdi.kasm.io", Version: "v1alpha1", Kind: "VDIQuota"},
		{Group: "vdi.kasm.io", Version: "v1alpha1", Kind: "VDIUsage"},
		{Group: "traefik.io", Version: "v1alpha1", Kind: "IngressRoute"},
		{Version: "v1", Kind: "Pod"},
		{Version: "v1", Kind: "PersistentVolumeClaim"},
		{Version: "v1", Kind: "Service"},
		{Version: "v1", Kind: "Secret"},
		{Version: "v1", Kind: "ConfigMap"},
		{Group: "networking.k8s.io", Version: "v1", Kind: "NetworkPolicy"},
		{Group: "policy", Version: "v1", Kind: "PodDisruptionBudget"},
	} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind)
		require.NoError(r.t, r.client.List(ctx, list))
		for _, o := range list.Items {
			if o.GetNamespace() != "" && o.GetNamespace() != team && o.GetNamespace() != system {
				continue
			}
			if len(o.GetFinalizers()) > 0 {
				require.NoError(r.t, client.IgnoreNotFound(r.client.Patch(ctx, &o, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))))
			}
			require.NoError(r.t, client.IgnoreNotFound(r.client.Delete(ctx, &o, client.GracePeriodSeconds(0))))
		}
	}
}

// startPlane is an API server without anybody who acts by himself but for the controller
// that gives namespaces their account.
func startPlane(t *testing.T) client.Client {
	t.Helper()
	plane, err := cluster.StartControlPlane(t.Context(), cluster.ControlPlaneOptions{ControllerManagerArgs: []string{"--controllers=serviceaccount-controller"}})
	require.NoError(t, err, "run 'make tools' at the top of the repository")
	t.Cleanup(func() { require.NoError(t, plane.Stop()) })
	admin, err := client.New(plane.RESTConfig(), client.Options{})
	require.NoError(t, err)
	bin, err := cluster.BinDir()
	require.NoError(t, err)
	routes, err := cluster.ModuleFile(t.Context(), "traefik", "github.com/traefik/traefik/v3", "docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml")
	require.NoError(t, err)
	_, err = envtest.InstallCRDs(plane.RESTConfig(), envtest.CRDInstallOptions{
		Paths: []string{filepath.Join(filepath.Dir(bin), "charts", "vdi-operator", "crds"), routes}, ErrorIfPathMissing: true,
	})
	require.NoError(t, err)
	grows := true
	require.NoError(t, admin.Create(t.Context(), &storagev1.StorageClass{
		ObjectMeta:  metav1.ObjectMeta{Name: "grows", Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}},
		Provisioner: "example.com/none", AllowVolumeExpansion: &grows,
	}))
	for _, name := range []string{team, system} {
		require.NoError(t, admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))
		require.NoError(t, wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
			return admin.Get(ctx, client.ObjectKey{Namespace: name, Name: "default"}, &corev1.ServiceAccount{}) == nil, nil
		}), "the namespace's account")
	}
	return admin
}
