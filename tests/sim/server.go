package sim

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// server is an API server in memory: every state that it ever had is kept, as etcd
// does between two compactions. Objects are what JSON makes of them.
type server struct {
	scheme  *runtime.Scheme
	now     func() time.Time
	schemas map[string]*kindSchema // of our own kinds

	revision int64
	uids     int
	objects  map[key]*version
	log      []change
	// epoch counts how often the history was replaced: whoever watched an older one
	// has to list again.
	epoch int

	// written is called after every write that changed something, forgotten when the
	// history is another.
	written   func(write)
	forgotten func()
	// record is called after every request for a change, nil: nobody wants to know;
	// within: one is under way.
	record func(Request)
	within bool
}

// key names an object.
type key struct{ kind, namespace, name string }

func (k key) String() string { return k.kind + " " + k.namespace + "/" + k.name }

// version is one state of an object. It never changes.
type version struct {
	key
	kind     schema.GroupVersionKind
	revision int64
	object   map[string]any
	written  time.Time
	typed    client.Object // what object is in Go, once somebody has asked
}

// change is one entry of the history: what was there before and after.
type change struct {
	revision      int64
	before, after *version // nil: nothing
}

func (c change) key() key {
	if c.after != nil {
		return c.after.key
	}
	return c.before.key
}

// write is a change and who made it.
type write struct {
	change
	by, verb string
	// wished is what a patch says, or the object that was to be made.
	wished map[string]any
}

func newServer(scheme *runtime.Scheme, now func() time.Time) *server {
	return &server{scheme: scheme, now: now, schemas: schemas(), objects: map[key]*version{}, written: func(write) {}, forgotten: func() {}, record: recording}
}

// statusKinds have a status of their own, which only writes to it change.
var statusKinds = map[string]bool{
	"VDISession": true, "VDITemplate": true, "VDIQuota": true, "Pod": true, "PersistentVolumeClaim": true, "Service": true, "PodDisruptionBudget": true,
}

func resourceOf(kind schema.GroupVersionKind) schema.GroupResource {
	return schema.GroupResource{Group: kind.Group, Resource: strings.ToLower(kind.Kind) + "s"}
}

// --- reading

// get returns the object of that name, or an error of the API server's kind.
func (s *server) get(kind schema.GroupVersionKind, namespace, name string) (*version, error) {
	found := s.objects[key{kind.Kind, namespace, name}]
	if found == nil {
		return nil, apierrors.NewNotFound(resourceOf(kind), name)
	}
	return found, nil
}

// list returns the objects of a kind, by name.
func (s *server) list(kind string) []*version {
	var found []*version
	for k, v := range s.objects {
		if k.kind == kind {
			found = append(found, v)
		}
	}
	return sorted(found)
}

func sorted(all []*version) []*version {
	slices.SortFunc(all, func(a, b *version) int { return strings.Compare(a.key.String(), b.key.String()) })
	return all
}

// stateAt is what there was of a kind after so many entries of the history.
func (s *server) stateAt(kind string, entries int) map[key]*version {
	state := map[key]*version{}
	for k, v := range s.objects {
		if k.kind == kind {
			state[k] = v
		}
	}
	for _, c := range slices.Backward(s.log[entries:]) {
		switch {
		case c.key().kind != kind:
		case c.before == nil:
			delete(state, c.key())
		default:
			state[c.key()] = c.before
		}
	}
	return state
}

// as is the object in Go. Callers must not change it.
func (v *version) as(scheme *runtime.Scheme) client.Object {
	if v.typed == nil {
		made, err := scheme.New(v.kind)
		if err != nil {
			panic(err) // every kind in the store is registered
		}
		convert(v.object, made)
		v.typed = made.(client.Object)
	}
	return v.typed
}

// into copies the object to where a client wants it.
func (v *version) into(scheme *runtime.Scheme, out client.Object) {
	if typed := v.as(scheme); reflect.TypeOf(typed) == reflect.TypeOf(out) {
		reflect.ValueOf(out).Elem().Set(reflect.ValueOf(typed.DeepCopyObject()).Elem())
		return
	}
	reflect.ValueOf(out).Elem().SetZero()
	convert(v.object, out)
}

// convert goes through JSON, as every client does.
func convert(from, into any) {
	text, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		panic(fmt.Errorf("convert %T to %T: %w", from, into, err))
	}
}

// plain is an object as JSON has it, with its kind.
func (s *server) plain(o client.Object) (map[string]any, schema.GroupVersionKind) {
	kind, err := apiutil.GVKForObject(o, s.scheme)
	if err != nil {
		panic(err)
	}
	object := map[string]any{}
	convert(o, &object)
	object["apiVersion"], object["kind"] = kind.ToAPIVersionAndKind()
	return object, kind
}

// --- writing

// create makes an object.
func (s *server) create(by string, o client.Object) (*version, error) {
	object, kind := s.plain(o)
	r := Request{By: by, Verb: VerbCreate, Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName()}
	return s.recorded(r, object, func() (*version, error) { return s.made(by, kind, object) })
}

func (s *server) made(by string, kind schema.GroupVersionKind, object map[string]any) (*version, error) {
	meta := metaOf(object)
	k := key{kind.Kind, text(meta, "namespace"), text(meta, "name")}
	if s.objects[k] != nil {
		return nil, apierrors.NewAlreadyExists(resourceOf(kind), k.name)
	}
	if text(meta, "resourceVersion") != "" {
		return nil, apierrors.NewBadRequest("resourceVersion should not be set on objects to be created")
	}
	if statusKinds[kind.Kind] {
		delete(object, "status")
	}
	wished := clone(object)
	s.uids++
	meta["uid"] = fmt.Sprintf("uid-%d", s.uids)
	meta["creationTimestamp"] = s.now().UTC().Format(time.RFC3339)
	meta["generation"] = int64(1)
	delete(meta, "managedFields")
	switch kind.Kind {
	case "PersistentVolumeClaim":
		meta["finalizers"] = []any{claimProtection}
		object["status"] = map[string]any{"phase": "Pending"}
	case "Pod":
		object["status"] = map[string]any{"phase": "Pending"}
	case "Service":
		spec := object["spec"].(map[string]any)
		spec["clusterIP"] = "10.0.0.1"
	}
	if err := s.judge(kind, object, nil); err != nil {
		return nil, err
	}
	return s.commit(write{by: by, verb: "create", wished: wished}, kind, k, object), nil
}

// claimProtection keeps a claim while a pod uses it.
const claimProtection = "kubernetes.io/pvc-protection"

// patch merges a patch into an object (RFC 7396) or into its status.
func (s *server) patch(by string, kind schema.GroupVersionKind, namespace, name string, patch map[string]any, status bool) (*version, error) {
	r := Request{By: by, Verb: VerbMerge, Kind: kind, Namespace: namespace, Name: name, Status: status}
	return s.recorded(r, patch, func() (*version, error) { return s.patched(by, kind, namespace, name, patch, status) })
}

func (s *server) patched(by string, kind schema.GroupVersionKind, namespace, name string, patch map[string]any, status bool) (*version, error) {
	current, err := s.get(kind, namespace, name)
	if err != nil {
		return nil, err
	}
	if err := fits(kind, current, metaOf(patch)); err != nil {
		return nil, err
	}
	object := merged(clone(current.object), patch).(map[string]any)
	return s.put(by, "patch", current, object, patch, status)
}

// put replaces an object, or its status.
func (s *server) put(by, verb string, current *version, object, wished map[string]any, status bool) (*version, error) {
	r := Request{By: by, Verb: VerbUpdate, Kind: current.kind, Namespace: current.namespace, Name: current.name, Status: status}
	return s.recorded(r, object, func() (*version, error) { return s.replaced(by, verb, current, object, wished, status) })
}

func (s *server) replaced(by, verb string, current *version, object, wished map[string]any, status bool) (*version, error) {
	kind := current.kind
	before, after := metaOf(current.object), metaOf(object)
	for _, field := range []string{"uid", "creationTimestamp", "generation", "resourceVersion", "deletionTimestamp", "name", "namespace"} {
		if value, set := before[field]; set {
			after[field] = value
		} else {
			delete(after, field)
		}
	}
	delete(after, "managedFields")
	switch {
	case status:
		was := clone(current.object)
		was["status"] = object["status"]
		object = was
		after = metaOf(object)
	case statusKinds[kind.Kind]:
		object["status"] = current.object["status"]
		if object["status"] == nil {
			delete(object, "status")
		}
	}
	if err := s.judge(kind, object, current.object); err != nil {
		return nil, err
	}
	if reflect.DeepEqual(object, current.object) {
		return current, nil
	}
	if before["deletionTimestamp"] != nil && added(after["finalizers"], before["finalizers"]) {
		return nil, apierrors.NewForbidden(resourceOf(kind), current.name, fmt.Errorf("no new finalizers can be added if the object is being deleted"))
	}
	if !status && !reflect.DeepEqual(content(kind.Kind, object), content(kind.Kind, current.object)) {
		after["generation"] = before["generation"].(int64) + 1
	}
	if before["deletionTimestamp"] != nil && len(finalizersOf(object)) == 0 && kind.Kind != "Pod" {
		return s.remove(write{by: by, verb: verb, wished: wished}, current), nil
	}
	return s.commit(write{by: by, verb: verb, wished: wished}, kind, current.key, object), nil
}

// content is what makes another generation of an object: all but its metadata, and its status
// where it has one of its own.
func content(kind string, object map[string]any) map[string]any {
	rest := maps.Clone(object)
	delete(rest, "metadata")
	if statusKinds[kind] {
		delete(rest, "status")
	}
	return rest
}

func added(after, before any) bool {
	had, _ := before.([]any)
	has, _ := after.([]any)
	return slices.ContainsFunc(has, func(f any) bool { return !slices.Contains(had, f) })
}

func finalizersOf(object map[string]any) []any {
	finalizers, _ := metaOf(object)["finalizers"].([]any)
	return finalizers
}

// fits refuses what was meant for another object, or another state of it.
func fits(kind schema.GroupVersionKind, current *version, meta map[string]any) error {
	if uid := text(meta, "uid"); uid != "" && uid != text(metaOf(current.object), "uid") {
		return apierrors.NewConflict(resourceOf(kind), current.name, fmt.Errorf("precondition failed: UID in precondition: %s", uid))
	}
	if rv := text(meta, "resourceVersion"); rv != "" && rv != current.resourceVersion() {
		return apierrors.NewConflict(resourceOf(kind), current.name, fmt.Errorf("the object has been modified; please apply your changes to the latest version and try again"))
	}
	return nil
}

func (v *version) resourceVersion() string { return strconv.FormatInt(v.revision, 10) }

// delete begins the end of an object, or ends it.
func (s *server) delete(by string, kind schema.GroupVersionKind, namespace, name string, opts client.DeleteOptions) error {
	r := Request{By: by, Verb: VerbDelete, Kind: kind, Namespace: namespace, Name: name, Delete: opts}
	_, err := s.recorded(r, nil, func() (*version, error) {
		err := s.deleted(by, kind, namespace, name, opts)
		return s.objects[key{kind.Kind, namespace, name}], err
	})
	return err
}

func (s *server) deleted(by string, kind schema.GroupVersionKind, namespace, name string, opts client.DeleteOptions) error {
	current, err := s.get(kind, namespace, name)
	if err != nil {
		return err
	}
	if p := opts.Preconditions; p != nil {
		meta := map[string]any{}
		if p.UID != nil {
			meta["uid"] = string(*p.UID)
		}
		if p.ResourceVersion != nil {
			meta["resourceVersion"] = *p.ResourceVersion
		}
		if err := fits(kind, current, meta); err != nil {
			return err
		}
	}
	object := clone(current.object)
	meta := metaOf(object)
	w := write{by: by, verb: "delete"}
	orphans := opts.PropagationPolicy != nil && *opts.PropagationPolicy == metav1.DeletePropagationOrphan && !slices.Contains(finalizersOf(object), any(metav1.FinalizerOrphanDependents))
	if orphans { // also where a delete before this one did not say so
		meta["finalizers"] = append(slices.Clone(finalizersOf(object)), metav1.FinalizerOrphanDependents)
	}
	grace := kind.Kind == "Pod" && onNode(object) && !hasEnded(object) && (opts.GracePeriodSeconds == nil || *opts.GracePeriodSeconds > 0)
	if !grace && (kind.Kind == "Pod" || len(finalizersOf(object)) == 0) {
		s.remove(w, current)
		return nil
	}
	switch {
	case meta["deletionTimestamp"] == nil:
		meta["deletionTimestamp"] = s.now().Add(graceOf(kind)).UTC().Format(time.RFC3339)
		meta["generation"] = meta["generation"].(int64) + 1
	case !orphans:
		return nil
	}
	s.commit(w, kind, current.key, object)
	return nil
}

func graceOf(kind schema.GroupVersionKind) time.Duration {
	if kind.Kind == "Pod" {
		return corev1.DefaultTerminationGracePeriodSeconds * time.Second
	}
	return 0
}

// hasEnded is for pods: nobody waits for what has ended.
func hasEnded(pod map[string]any) bool {
	status, _ := pod["status"].(map[string]any)
	phase := corev1.PodPhase(text(status, "phase"))
	return phase == corev1.PodFailed || phase == corev1.PodSucceeded
}

func onNode(pod map[string]any) bool {
	spec, _ := pod["spec"].(map[string]any)
	return text(spec, "nodeName") != ""
}

// commit makes an object's state the newest.
func (s *server) commit(w write, kind schema.GroupVersionKind, k key, object map[string]any) *version {
	s.revision++
	metaOf(object)["resourceVersion"] = strconv.FormatInt(s.revision, 10)
	next := &version{key: k, kind: kind, revision: s.revision, object: object, written: s.now()}
	w.change = change{s.revision, s.objects[k], next}
	s.objects[k] = next
	s.log = append(s.log, w.change)
	s.written(w)
	return next
}

// remove takes an object away. What it was last has a version of its own.
func (s *server) remove(w write, current *version) *version {
	s.revision++
	last := clone(current.object)
	metaOf(last)["resourceVersion"] = strconv.FormatInt(s.revision, 10)
	w.change = change{s.revision, &version{key: current.key, kind: current.kind, revision: s.revision, object: last}, nil}
	delete(s.objects, current.key)
	s.log = append(s.log, w.change)
	s.written(w)
	return w.before
}

// restored is by how much revisions go up.
const restored = 1_000_000

// restore brings a state of before back, as etcd documents it: revisions go on far
// beyond all that anybody has seen, and nobody can go on watching.
func (s *server) restore(entries int) {
	past := map[key]*version{}
	maps.Copy(past, s.objects)
	for _, c := range slices.Backward(s.log[entries:]) {
		if c.before == nil {
			delete(past, c.key())
		} else {
			past[c.key()] = c.before
		}
	}
	s.objects, s.log = past, nil
	s.revision += restored
	s.epoch++
	s.forgotten()
	if s.record != nil {
		s.record(Request{Restored: true})
	}
}

// --- parts of objects

func metaOf(object map[string]any) map[string]any {
	meta, _ := object["metadata"].(map[string]any)
	return meta
}

func text(object map[string]any, field string) string {
	value, _ := object[field].(string)
	return value
}

// clone copies maps; everything else is replaced as a whole and can be shared.
func clone(object map[string]any) map[string]any {
	out := make(map[string]any, len(object))
	for field, value := range object {
		if inner, is := value.(map[string]any); is {
			value = clone(inner)
		}
		out[field] = value
	}
	return out
}

// merged is RFC 7396.
func merged(target, patch any) any {
	p, is := patch.(map[string]any)
	if !is {
		return patch
	}
	t, is := target.(map[string]any)
	if !is {
		t = map[string]any{}
	}
	for field, value := range p {
		if value == nil {
			delete(t, field)
		} else {
			t[field] = merged(t[field], value)
		}
	}
	return t
}
