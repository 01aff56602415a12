package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/retry"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session"
	"github.com/vdi-platform/vdi-platform/operator/template"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/renderer"
)

const (
	desk  = "desk"              // the session of most tests
	alice = "alice@example.com" // and its user
	image = "registry.example.com/desktop:1"

	// othersWork bounds how long a real process beside us (garbage collector,
	// volume protection, manager) may take on a busy machine.
	othersWork = 90 * time.Second
	glance     = 50 * time.Millisecond
)

var routeGVK = schema.GroupVersionKind{Group: "traefik.io", Version: "v1alpha1", Kind: "IngressRoute"}

// world is one namespace, one template and one operator whose passes the test
// makes itself.
type world struct {
	t        *testing.T
	ctx      context.Context
	client   client.Client // the administrator's, uncached
	ns       string
	template string
	clock    *clocktesting.FakePassiveClock
	// serverTime is what the API server's clock says; the operator's own by default.
	serverTime func() time.Time
	probe      func(ctx context.Context, q platform.RouteQuestion) error
	events     *recorder
	config     platform.Config
	renderer   *renderer.Renderer
	operator   *session.Reconciler
}

func newWorld(t *testing.T, settings ...func(*platform.Config)) *world {
	t.Helper()
	return newWorldOn(t, sharedPlane(t), settings...)
}

func newWorldOn(t *testing.T, p *plane, settings ...func(*platform.Config)) *world {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-"}}
	require.NoError(t, p.admin.Create(t.Context(), ns))
	w := &world{
		t: t, ctx: t.Context(), client: p.admin, ns: ns.Name, template: "tpl-" + ns.Name,
		clock: clocktesting.NewFakePassiveClock(time.Now()), events: &recorder{},
		probe: func(context.Context, platform.RouteQuestion) error { return nil },
	}
	w.serverTime = w.clock.Now
	w.config = platform.Config{Sessions: platform.Sessions{Domain: "vdi.example.com"}}
	for _, set := range settings {
		set(&w.config)
	}
	render, err := renderer.New()
	require.NoError(t, err)
	w.renderer = render
	w.operator = w.newOperator(p.admin)
	return w
}

// newOperator is an operator that has just started and remembers nothing. Of what runs in the
// cluster it sees its world's share: the other tests' desktops share the API server.
func (w *world) newOperator(c client.Client) *session.Reconciler {
	c = ofNamespace{Client: c, ns: w.ns}
	return &session.Reconciler{
		Client: c, Live: c, Renderer: w.renderer, Config: w.config.WithDefaults(), Namespace: w.ns, Clock: w.clock,
		ServerTime: func(context.Context) (time.Time, error) { return w.serverTime(), nil },
		Probe:      func(ctx context.Context, q platform.RouteQuestion) error { return w.probe(ctx, q) },
		Events:     w.events, Metrics: session.NewMetrics(c),
	}
}

// ofNamespace lists sessions and pods of one namespace where the whole cluster is asked for.
type ofNamespace struct {
	client.Client
	ns string
}

func (c ofNamespace) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	switch list.(type) {
	case *vdi.VDISessionList, *corev1.PodList:
		if (&client.ListOptions{}).ApplyOptions(opts).Namespace == "" {
			opts = append(opts, client.InNamespace(c.ns))
		}
	}
	return c.Client.List(ctx, list, opts...)
}

// restart replaces the operator by one that remembers nothing.
func (w *world) restart() { w.operator = w.newOperator(w.client) }

// recorder keeps what was told about sessions.
type recorder struct {
	mu   sync.Mutex
	told []string
}

func (r *recorder) Eventf(_, _ runtime.Object, kind, reason, _, note string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, fmt.Sprintf("%s %s %s", kind, reason, fmt.Sprintf(note, args...)))
}

func (r *recorder) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.told, "\n")
}

func (r *recorder) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = nil
}

// --- what people do

func (w *world) createTemplate(changes ...func(*vdi.VDITemplate)) *vdi.VDITemplate {
	w.t.Helper()
	t := &vdi.VDITemplate{ObjectMeta: metav1.ObjectMeta{Name: w.template}, Spec: vdi.VDITemplateSpec{Image: image}}
	for _, change := range changes {
		change(t)
	}
	require.NoError(w.t, w.client.Create(w.ctx, t))
	admin := w.client
	w.t.Cleanup(func() { _ = admin.Delete(context.Background(), t) })
	return t
}

func (w *world) newSession(changes ...func(*vdi.VDISession)) *vdi.VDISession {
	s := &vdi.VDISession{
		ObjectMeta: metav1.ObjectMeta{Name: desk, Namespace: w.ns},
		Spec:       vdi.VDISessionSpec{User: alice, Template: w.template},
	}
	for _, change := range changes {
		change(s)
	}
	return s
}

func (w *world) createSession(changes ...func(*vdi.VDISession)) *vdi.VDISession {
	w.t.Helper()
	s := w.newSession(changes...)
	require.NoError(w.t, w.client.Create(w.ctx, s))
	return s
}

// change edits the session desk as a person would.
func (w *world) change(edit func(*vdi.VDISession)) {
	w.t.Helper()
	s := w.session()
	before := s.DeepCopy()
	edit(s)
	require.NoError(w.t, w.client.Patch(w.ctx, s, client.MergeFrom(before)))
}

func (w *world) deleteSession() {
	w.t.Helper()
	require.NoError(w.t, w.client.Delete(w.ctx, w.session()))
}

func (w *world) changeTemplate(edit func(*vdi.VDITemplate)) {
	w.t.Helper()
	t := &vdi.VDITemplate{}
	require.NoError(w.t, w.client.Get(w.ctx, client.ObjectKey{Name: w.template}, t))
	before := t.DeepCopy()
	edit(t)
	require.NoError(w.t, w.client.Patch(w.ctx, t, client.MergeFrom(before)))
}

func (w *world) deleteTemplate() {
	w.t.Helper()
	require.NoError(w.t, w.client.Delete(w.ctx, &vdi.VDITemplate{ObjectMeta: metav1.ObjectMeta{Name: w.template}}))
}

// --- what the operator does

// pass is one look of the operator at the session desk.
func (w *world) pass() ctrl.Result {
	w.t.Helper()
	result, err := w.passOf(desk)
	require.NoError(w.t, err)
	return result
}

// passOf makes the second look too where the first has started a new desktop,
// which is told at its pod's first news or a moment later.
func (w *world) passOf(name string) (ctrl.Result, error) {
	result, err := w.operator.Reconcile(w.ctx, request(w.ns, name))
	if err == nil && result.RequeueAfter > 0 && w.startedUntold(name) {
		return w.operator.Reconcile(w.ctx, request(w.ns, name))
	}
	return result, err
}

func (w *world) startedUntold(name string) bool {
	s := &vdi.VDISession{}
	err := w.client.Get(w.ctx, client.ObjectKey{Namespace: w.ns, Name: name}, s)
	return err == nil && s.Status.Phase == "" && w.exists(&corev1.Pod{}, name)
}

func request(ns, name string) ctrl.Request {
	return ctrl.Request{NamespacedName: client.ObjectKey{Namespace: ns, Name: name}}
}

// templatePass is one look of the template controller.
func (w *world) templatePass() {
	w.t.Helper()
	r := &template.Reconciler{Client: w.client, Renderer: w.renderer, Config: w.operator.Config, Clock: w.clock}
	_, err := r.Reconcile(w.ctx, ctrl.Request{NamespacedName: client.ObjectKey{Name: w.template}})
	require.NoError(w.t, err)
}

// running brings the session desk up.
func (w *world) running(changes ...func(*vdi.VDISession)) *vdi.VDISession {
	w.t.Helper()
	w.createTemplate()
	w.createSession(changes...)
	w.start()
	return w.session()
}

// start makes passes and plays the kubelet until the session desk is Running.
func (w *world) start() {
	w.t.Helper()
	w.pass()
	w.podStarts(desk)
	w.pass()
	s := w.session()
	require.Equal(w.t, vdi.PhaseRunning, s.Status.Phase, s.Status.Message)
}

// --- what the kubelet does

// podStarts gives the pod a node and makes it ready.
func (w *world) podStarts(name string) {
	w.t.Helper()
	require.NoError(w.t, podStarts(w.ctx, w.client, w.ns, name))
}

func podStarts(ctx context.Context, c client.Client, ns, name string) error {
	pod := &corev1.Pod{}
	if err := c.Get(ctx, client.ObjectKey{Namespace: ns, Name: name}, pod); err != nil {
		return err
	}
	if pod.Spec.NodeName == "" {
		binding := &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns},
			Target:     corev1.ObjectReference{Kind: "Node", Name: "node-1"},
		}
		if err := c.SubResource("binding").Create(ctx, pod, binding); err != nil {
			return err
		}
		if err := c.Get(ctx, client.ObjectKey{Namespace: ns, Name: name}, pod); err != nil {
			return err
		}
	}
	before := pod.DeepCopy()
	now := metav1.Now()
	pod.Status.Phase = corev1.PodRunning
	setPodCondition(pod, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: now})
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: pod.Spec.Containers[0].Name, Image: pod.Spec.Containers[0].Image, Ready: true,
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
	}}
	return c.Status().Patch(ctx, pod, client.StrategicMergeFrom(before))
}

func setPodCondition(pod *corev1.Pod, c corev1.PodCondition) {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == c.Type {
			pod.Status.Conditions[i] = c
			return
		}
	}
	pod.Status.Conditions = append(pod.Status.Conditions, c)
}

// podStatus writes a pod's status as the kubelet or scheduler would.
func (w *world) podStatus(edit func(*corev1.Pod)) {
	w.t.Helper()
	pod := w.pod()
	before := pod.DeepCopy()
	edit(pod)
	require.NoError(w.t, w.client.Status().Patch(w.ctx, pod, client.StrategicMergeFrom(before)))
}

// podEnds is the kubelet's last word on a pod that is being deleted.
func (w *world) podEnds(name string) {
	w.t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.ns}}
	require.NoError(w.t, client.IgnoreNotFound(w.client.Delete(w.ctx, pod, client.GracePeriodSeconds(0))))
}

// --- what there is

func (w *world) session() *vdi.VDISession {
	w.t.Helper()
	return w.sessionNamed(desk)
}

func (w *world) sessionNamed(name string) *vdi.VDISession {
	w.t.Helper()
	s := &vdi.VDISession{}
	require.NoError(w.t, w.client.Get(w.ctx, client.ObjectKey{Namespace: w.ns, Name: name}, s))
	return s
}

func (w *world) pod() *corev1.Pod {
	w.t.Helper()
	pod := &corev1.Pod{}
	w.read(pod, desk)
	return pod
}

func (w *world) home() *corev1.PersistentVolumeClaim {
	w.t.Helper()
	claim := &corev1.PersistentVolumeClaim{}
	w.read(claim, renderer.HomeClaimName(desk))
	return claim
}

func (w *world) route() *unstructured.Unstructured {
	w.t.Helper()
	route := newRoute()
	w.read(route, desk)
	return route
}

func newRoute() *unstructured.Unstructured {
	route := &unstructured.Unstructured{}
	route.SetGroupVersionKind(routeGVK)
	return route
}

func (w *world) read(o client.Object, name string) {
	w.t.Helper()
	require.NoError(w.t, w.client.Get(w.ctx, client.ObjectKey{Namespace: w.ns, Name: name}, o))
}

// overwrite writes the object over whatever is there: controllers of Kubernetes
// (quota, disruption, volumes) write the status of what a test just read.
func (w *world) overwrite(o client.Object) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		now := o.DeepCopyObject().(client.Object)
		if err := w.client.Get(w.ctx, client.ObjectKeyFromObject(o), now); err != nil {
			return err
		}
		o.SetResourceVersion(now.GetResourceVersion())
		return w.client.Update(w.ctx, o)
	})
}

func (w *world) exists(o client.Object, name string) bool {
	w.t.Helper()
	err := w.client.Get(w.ctx, client.ObjectKey{Namespace: w.ns, Name: name}, o)
	require.NoError(w.t, client.IgnoreNotFound(err))
	return err == nil
}

func (w *world) sessionExists() bool { return w.exists(&vdi.VDISession{}, desk) }
func (w *world) podExists() bool     { return w.exists(&corev1.Pod{}, desk) }
func (w *world) routeExists() bool   { return w.exists(newRoute(), desk) }
func (w *world) homeExists() bool {
	claim := &corev1.PersistentVolumeClaim{}
	return w.exists(claim, renderer.HomeClaimName(desk)) && claim.DeletionTimestamp == nil
}

// child is an object that a session consists of.
type child struct {
	kind string
	name string
	new  func() client.Object
}

// children are all objects of the session desk, in the order they are made.
func children() []child {
	return []child{
		{"Secret", renderer.CredentialsName(desk), func() client.Object { return &corev1.Secret{} }},
		{"NetworkPolicy", desk, func() client.Object { return &networkingv1.NetworkPolicy{} }},
		{"PersistentVolumeClaim", renderer.HomeClaimName(desk), func() client.Object { return &corev1.PersistentVolumeClaim{} }},
		{"Service", desk, func() client.Object { return &corev1.Service{} }},
		{"Pod", desk, func() client.Object { return &corev1.Pod{} }},
		{"IngressRoute", desk, func() client.Object { return newRoute() }},
	}
}

// existing are the kinds of the session's objects that are there.
func (w *world) existing() []string {
	w.t.Helper()
	kinds := []string{}
	for _, c := range children() {
		o := c.new()
		if w.exists(o, c.name) && o.GetDeletionTimestamp() == nil {
			kinds = append(kinds, c.kind)
		}
	}
	return kinds
}

// versions are the resource versions of all children: equal ones mean that
// nobody wrote.
func (w *world) versions() map[string]string {
	w.t.Helper()
	versions := map[string]string{}
	for _, c := range children() {
		if o := c.new(); w.exists(o, c.name) {
			versions[c.kind] = string(o.GetUID()) + "@" + o.GetResourceVersion()
		}
	}
	return versions
}

func allKinds() []string {
	return []string{"Secret", "NetworkPolicy", "PersistentVolumeClaim", "Service", "Pod", "IngressRoute"}
}

func condition(s *vdi.VDISession, kind string) metav1.Condition {
	if c := meta.FindStatusCondition(s.Status.Conditions, kind); c != nil {
		return *c
	}
	return metav1.Condition{Type: kind, Status: "absent"}
}

// requireCondition compares a condition of the session desk.
func (w *world) requireCondition(kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	w.t.Helper()
	c := condition(w.session(), kind)
	require.Equal(w.t, status, c.Status, "%s: %s %s", kind, c.Reason, c.Message)
	require.Equal(w.t, reason, c.Reason, c.Message)
	return c
}

func (w *world) requirePhase(phase vdi.Phase) *vdi.VDISession {
	w.t.Helper()
	s := w.session()
	require.Equal(w.t, phase, s.Status.Phase, s.Status.Message)
	return s
}

// eventually waits for what another process does.
func (w *world) eventually(done func() bool, what string) {
	w.t.Helper()
	require.Eventually(w.t, done, othersWork, glance, what)
}

func isGone(err error) bool { return apierrors.IsNotFound(err) || errors.Is(err, context.Canceled) }
