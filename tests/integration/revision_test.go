package integration

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

func TestUpgradeDisturbsNoDesktop(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *platform.Config) {
		c.Sessions.Network.AllowedRanges = []string{"10.1.2.0/24"}
		c.Sessions.Annotations = map[string]string{"example.com/site": "berlin"}
	})
	w.running()
	before := w.versions()

	w.config.Sessions.Network.AllowedRanges = nil
	w.config.Sessions.Annotations = nil
	w.config.Sessions.Values = map[string]any{"pod": map[string]any{"shmSize": "2Gi"}}
	w.restart()
	w.pass()
	require.Equal(t, before, w.versions())
	w.requirePhase(vdi.PhaseRunning)
	t.Log(w.requireCondition(vdi.ConditionUpdatePending, metav1.ConditionTrue, vdi.ReasonNewRevision).Message)

	w.change(suspend)
	w.pass()
	w.podEnds(desk)
	w.pass()
	w.change(resume)
	w.start()
	require.Equal(t, metav1.ConditionStatus("absent"), condition(w.session(), vdi.ConditionUpdatePending).Status)
	policy := &networkingv1.NetworkPolicy{}
	w.read(policy, desk)
	for _, rule := range policy.Spec.Egress {
		for _, to := range rule.To {
			require.False(t, to.IPBlock != nil && to.IPBlock.CIDR == "10.1.2.0/24", "a removed range must disappear")
		}
	}
	service := &corev1.Service{}
	w.read(service, desk)
	require.NotContains(t, service.Annotations, "example.com/site", "a removed annotation must disappear")
	require.Equal(t, "2Gi", w.pod().Spec.Volumes[1].EmptyDir.SizeLimit.String())
	require.NotContains(t, w.events.all(), "PutBack", "an update is no repair")
}

func TestTemplateChangeWaitsForTheNextStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.running()
	before := w.versions()
	w.changeTemplate(func(t *vdi.VDITemplate) { t.Spec.Image = "registry.example.com/desktop:2" })
	w.pass()
	require.Equal(t, before, w.versions())
	w.requireCondition(vdi.ConditionUpdatePending, metav1.ConditionTrue, vdi.ReasonNewRevision)
	require.NoError(t, w.client.Delete(w.ctx, w.pod()))
	w.podEnds(desk)
	w.start()
	require.Equal(t, "registry.example.com/desktop:2", w.pod().Spec.Containers[0].Image)
	require.NotContains(t, w.events.all(), "PutBack", "an update is no repair")
}

func TestTimeZoneWaitsForTheNextStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.running()
	before := w.versions()
	w.change(func(s *vdi.VDISession) { s.Spec.TimeZone = "Europe/Berlin" })
	w.pass()
	require.Equal(t, before, w.versions())
	w.requireCondition(vdi.ConditionUpdatePending, metav1.ConditionTrue, vdi.ReasonNewRevision)
	require.NoError(t, w.client.Delete(w.ctx, w.pod()))
	w.podEnds(desk)
	w.start()
	require.Contains(t, w.pod().Spec.Containers[0].Env, corev1.EnvVar{Name: "TZ", Value: "Europe/Berlin"})
}

// TestNamesAndPicturesDisturbNoDesktop: what people see of a desktop beside it can change at any
// time; no desktop is written, restarted or said to be out of date because of it.
func TestNamesAndPicturesDisturbNoDesktop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.running()
	before, revision, url := w.versions(), w.pod().Annotations[wire.AnnotationSessionRevision], w.session().Status.URL
	w.change(func(s *vdi.VDISession) { s.Spec.DisplayName = "Drawings" })
	w.pass()
	w.changeTemplate(func(t *vdi.VDITemplate) {
		t.Spec.Category, t.Spec.Icon = "Graphics", "data:image/svg+xml;base64,PHN2Zy8+"
	})
	w.pass()
	require.Equal(t, before, w.versions())
	s := w.requirePhase(vdi.PhaseRunning)
	require.Equal(t, "Drawings", s.Spec.DisplayName)
	require.Equal(t, url, s.Status.URL)
	require.Equal(t, metav1.ConditionStatus("absent"), condition(s, vdi.ConditionUpdatePending).Status)

	require.NoError(t, w.client.Delete(w.ctx, w.pod()))
	w.podEnds(desk)
	w.start()
	require.Equal(t, revision, w.pod().Annotations[wire.AnnotationSessionRevision], "the next desktop is the same")
}

// drift is a change that somebody makes to an object of a session.
type drift struct {
	kind schema.GroupVersionKind
	edit func(o map[string]any)
}

func set(value any, path ...string) func(map[string]any) {
	return func(o map[string]any) {
		if err := unstructured.SetNestedField(o, value, path...); err != nil {
			panic(err)
		}
	}
}

var (
	policyGVK  = networkingv1.SchemeGroupVersion.WithKind("NetworkPolicy")
	serviceGVK = corev1.SchemeGroupVersion.WithKind("Service")
)

func drifts() map[string]drift {
	everywhere := []any{map[string]any{}}
	return map[string]drift{
		"policy: everybody may come in":          {policyGVK, set(everywhere, "spec", "ingress")},
		"policy: everything may go out":          {policyGVK, set(everywhere, "spec", "egress")},
		"policy: egress not restricted":          {policyGVK, set([]any{"Ingress"}, "spec", "policyTypes")},
		"policy: the selector chooses no pod":    {policyGVK, set("nothing", "spec", "podSelector", "matchLabels", "more")},
		"policy: the selector chooses elsewhere": {policyGVK, set("other", "spec", "podSelector", "matchLabels", "app.kubernetes.io/instance")},
		"policy: a label lost":                   {policyGVK, set("somebody", "metadata", "labels", "app.kubernetes.io/managed-by")},
		"policy: changed with its revision": {policyGVK, func(o map[string]any) {
			set(everywhere, "spec", "ingress")(o)
			set("forged", "metadata", "annotations", wire.AnnotationRevision)(o)
		}},
		"service: leads elsewhere":       {serviceGVK, set("other", "spec", "selector", "app.kubernetes.io/instance")},
		"service: leads nowhere":         {serviceGVK, set("more", "spec", "selector", "more")},
		"service: takes another address": {serviceGVK, set([]any{"192.0.2.7"}, "spec", "externalIPs")},
		"service: opened on every node":  {serviceGVK, set("NodePort", "spec", "type")},
		"service: one more port": {serviceGVK, func(o map[string]any) {
			ports, _, _ := unstructured.NestedSlice(o, "spec", "ports")
			set(append(ports, map[string]any{"name": "more", "port": int64(22), "protocol": "TCP"}), "spec", "ports")(o)
		}},
		"route: another host": {routeGVK, func(o map[string]any) {
			routes, _, _ := unstructured.NestedSlice(o, "spec", "routes")
			routes[0].(map[string]any)["match"] = "Host(`bank.example.com`)"
			set(routes, "spec", "routes")(o)
		}},
		"route: a middleware more": {routeGVK, func(o map[string]any) {
			routes, _, _ := unstructured.NestedSlice(o, "spec", "routes")
			routes[0].(map[string]any)["middlewares"] = []any{map[string]any{"name": "steal-cookies"}}
			set(routes, "spec", "routes")(o)
		}},
		"route: plain http": {routeGVK, set([]any{"web"}, "spec", "entryPoints")},
		"route: other TLS":  {routeGVK, set(map[string]any{"name": "weak"}, "spec", "tls", "options")},
	}
}

func TestDriftIsPutBack(t *testing.T) {
	t.Parallel()
	for name, d := range drifts() {
		for way, write := range map[string]func(*world, *unstructured.Unstructured) error{
			"by an edit":  func(w *world, o *unstructured.Unstructured) error { return w.overwrite(o) },
			"by an apply": applyBySomebody,
		} {
			t.Run(name+" "+way, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.running()
				good := w.raw(d.kind)
				bad := good.DeepCopy()
				d.edit(bad.Object)
				require.NoError(t, write(w, bad))
				w.events.forget()

				w.pass()
				now := w.raw(d.kind)
				require.Equal(t, good.Object["spec"], now.Object["spec"])
				require.Equal(t, good.GetLabels(), now.GetLabels())
				require.Equal(t, good.GetAnnotations(), now.GetAnnotations())
				require.Equal(t, good.GetUID(), now.GetUID())
				require.Contains(t, w.events.all(), "Warning PutBack The session's "+d.kind.Kind)
				w.requirePhase(vdi.PhaseRunning)

				before := w.versions()
				w.events.forget()
				w.pass()
				require.Equal(t, before, w.versions())
				require.Empty(t, w.events.all())
			})
		}
	}
}

func (w *world) raw(kind schema.GroupVersionKind) *unstructured.Unstructured {
	w.t.Helper()
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(kind)
	w.read(o, desk)
	return o
}

// applyBySomebody is `kubectl apply --server-side --force-conflicts`.
func applyBySomebody(w *world, o *unstructured.Unstructured) error {
	theirs := o.DeepCopy()
	theirs.SetManagedFields(nil)
	theirs.SetResourceVersion("")
	theirs.SetUID("")
	unstructured.RemoveNestedField(theirs.Object, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(theirs.Object, "metadata", "generation")
	unstructured.RemoveNestedField(theirs.Object, "status")
	return w.client.Apply(w.ctx, client.ApplyConfigurationFromUnstructured(theirs), client.FieldOwner("kubectl"), client.ForceOwnership)
}

func TestWhatOthersAddBesidesTheSpecIsNoDrift(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.running()
	service := w.raw(serviceGVK)
	annotations := maps.Clone(service.GetAnnotations())
	annotations["mesh.example.com/seen"] = "yes"
	service.SetAnnotations(annotations)
	require.NoError(t, w.overwrite(service))
	before := w.versions()
	w.pass()
	require.Equal(t, before, w.versions())
}

func TestDeletedChildrenComeBack(t *testing.T) {
	t.Parallel()
	for _, kind := range []schema.GroupVersionKind{policyGVK, serviceGVK, routeGVK} {
		t.Run(kind.Kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.running()
			before := w.raw(kind)
			require.NoError(t, w.client.Delete(w.ctx, w.raw(kind)))
			w.pass()
			after := w.raw(kind)
			require.NotEqual(t, before.GetUID(), after.GetUID())
			require.Equal(t, before.GetAnnotations(), after.GetAnnotations())
			w.requirePhase(vdi.PhaseRunning)
		})
	}
}
