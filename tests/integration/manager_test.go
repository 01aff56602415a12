package integration

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/run"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/audit"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
)

const (
	operatorNamespace = "vdi-system"
	operatorName      = "vdi-operator"
	operatorUser      = "system:serviceaccount:vdi-system:vdi-operator"
)

// installed is the operator as the chart installs it: its settings, its flags
// and its ServiceAccount with exactly the chart's permissions.
type installed struct {
	*plane
	objects  []*unstructured.Unstructured
	registry *prometheus.Registry
	// relaySecret is the folder where the kubelet mounts the TURN relay's Secret.
	relaySecret string
}

// chartObjects renders the operator's chart with the real Helm.
func chartObjects(t *testing.T, values ...string) []*unstructured.Unstructured {
	t.Helper()
	root, err := repositoryRoot()
	require.NoError(t, err)
	bin, err := cluster.BinDir()
	require.NoError(t, err)
	set := []string{"--set", "sessions.domain=vdi.example.com,sessions.verifyRoute=false"}
	for _, value := range values {
		how := "--set"
		if strings.HasSuffix(value, "=[]") { // of which --set makes a list with nothing in it but ""
			how = "--set-json"
		}
		set = append(set, how, value)
	}
	arguments := append([]string{"template", operatorName, filepath.Join(root, "charts", "vdi-operator"), "--namespace", operatorNamespace, "--kube-version", "1.37.2"}, set...)
	helm := exec.CommandContext(t.Context(), filepath.Join(bin, "helm"), arguments...)
	out, err := helm.Output()
	require.NoError(t, err, missingToolFix)
	objects, err := decodeObjects(string(out))
	require.NoError(t, err)
	return objects
}

// grant makes the chart's ServiceAccounts with its permissions and its policies.
func (p *plane) grant(t *testing.T, objects []*unstructured.Unstructured) {
	t.Helper()
	require.NoError(t, p.admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: operatorNamespace}}))
	for _, o := range objects {
		switch o.GetKind() {
		case "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", policyKind, bindingKind:
			require.NoError(t, p.admin.Create(t.Context(), o.DeepCopy()))
		}
	}
}

// installOperator runs the real manager until the test ends.
func installOperator(t *testing.T, p *plane) installed {
	t.Helper()
	in := installed{plane: p, objects: chartObjects(t, "sessions.turn.host=203.0.113.10"), relaySecret: t.TempDir()}
	p.grant(t, in.objects)
	in.registry = in.startReplica(t)
	return in
}

// startReplica runs one replica's manager until the test ends.
func (in installed) startReplica(t *testing.T) *prometheus.Registry {
	t.Helper()
	ctx, registry := t.Context(), prometheus.NewRegistry()
	options := run.Options{Namespace: operatorNamespace, Registry: registry}
	flags := flag.NewFlagSet(operatorName, flag.ContinueOnError)
	options.Register(flags)
	require.NoError(t, flags.Parse(append(argsOf(t, in.objects), "--turn-secret-dir="+in.relaySecret)))
	manager, err := run.New(ctx, in.asOperator(t), options)
	require.NoError(t, err)
	ended := make(chan error, 1)
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	go func() { ended <- manager.Start(running) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	return registry
}

// argsOf are the Deployment's arguments, with the settings that it mounts in a
// file of the test's and without servers.
func argsOf(t *testing.T, objects []*unstructured.Unstructured) []string {
	t.Helper()
	containers, _, _ := unstructured.NestedSlice(named(t, objects, "Deployment", operatorName).Object, "spec", "template", "spec", "containers")
	args, _, _ := unstructured.NestedStringSlice(containers[0].(map[string]any), "args")
	settings, _, _ := unstructured.NestedString(named(t, objects, "ConfigMap", operatorName+"-config").Object, "data", "config.yaml")
	path := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(path, []byte(settings), 0o600))
	return append(args, "--config="+path, "--metrics-bind-address=0", "--health-probe-bind-address=0")
}

// asOperator authenticates with a token of the operator's ServiceAccount.
func (p *plane) asOperator(t *testing.T) *rest.Config {
	t.Helper()
	return p.asAccount(t, operatorName)
}

// asAccount authenticates with a token of a ServiceAccount of the release.
func (p *plane) asAccount(t *testing.T, name string) *rest.Config {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: operatorNamespace}}
	token := &authenticationv1.TokenRequest{}
	require.NoError(t, p.admin.SubResource("token").Create(t.Context(), account, token))
	config := rest.AnonymousClientConfig(p.RESTConfig())
	config.BearerToken = token.Status.Token
	return config
}

// operatorAsked lists the operator's requests after a position in the audit log.
func (p *plane) operatorAsked(t *testing.T, from int64) (requests []audit.Request, end int64) {
	t.Helper()
	requests, end, err := audit.Of(p.AuditLog(), operatorUser, from)
	require.NoError(t, err)
	return requests, end
}

// TestManager runs the operator as it is installed, on a control plane of its
// own: first without the proxy's kinds, then with 50 sessions at rest.
func TestManager(t *testing.T) {
	t.Parallel()
	p, err := startPlane(t.Context())
	require.NoError(t, err, missingToolFix)
	t.Cleanup(func() { require.NoError(t, p.Stop()) })
	in := installOperator(t, p)
	w := newWorldOn(t, p)

	routeKindComesLater(w, p)
	watchesMatter(w)
	metricsAreHonest(w, in)
	standbyIsHealthy(w, in)
	expiryByTheServersClock(w)
	invalidTemplateIsTold(w)
	relaySecretComesLater(w, in)
	templatesFollowNodes(w)
	in.restsWithSessions(w, 50)
	in.wasNeverForbidden(t)
	routeKindComesBack(w, in)
}

func routeKindComesLater(w *world, p *plane) {
	w.t.Helper()
	w.createSession()
	w.eventually(func() bool { return w.session().Status.Phase == vdi.PhaseFailed }, "the template is missing")
	w.createTemplate()
	w.eventually(func() bool {
		return condition(w.session(), vdi.ConditionReachable).Reason == vdi.ReasonRouteKindMissing
	}, "the proxy's kind is missing")
	s := w.session()
	w.t.Log(s.Status.Message)
	require.Equal(w.t, vdi.PhasePending, s.Status.Phase)
	require.Equal(w.t, vdi.WaitingForRoute, s.Status.WaitingFor)

	require.NoError(w.t, p.installRouteKind(w.ctx))
	w.eventually(w.routeExists, "the route comes without a restart")
	w.podStarts(desk)
	w.eventually(w.isRunning, "the session runs")
	w.requireCondition(vdi.ConditionReachable, metav1.ConditionUnknown, vdi.ReasonNotVerified)
}

// routeKindComesBack: Traefik's definitions are removed, which takes every route
// with them, and installed again.
func routeKindComesBack(w *world, in installed) {
	w.t.Helper()
	in.removeKind(w.t, routeCRD)
	w.eventually(func() bool {
		c := meta.FindStatusCondition(w.sessionNamed("rest-1").Status.Conditions, vdi.ConditionUpdatePending)
		return c != nil && slices.Contains([]string{vdi.ReasonDenied, vdi.ReasonRouteKindMissing}, c.Reason)
	}, "a running desktop tells that nothing leads to it any more")
	file, err := proxyCRDs(w.ctx)
	require.NoError(w.t, err)
	require.NoError(w.t, in.installCRDs(w.ctx, file, routeCRD))
	for i := 1; i < 10; i++ {
		w.eventually(func() bool { return w.exists(newRoute(), fmt.Sprintf("rest-%d", i)) }, "the routes of all sessions come back without a restart")
	}
	w.eventually(func() bool { return w.sessionNamed("rest-1").Status.Phase == vdi.PhaseRunning }, "the session runs")
}

func (w *world) isRunning() bool { return w.session().Status.Phase == vdi.PhaseRunning }

// watchesMatter: what somebody does to a child wakes the operator.
func watchesMatter(w *world) {
	w.t.Helper()
	good := w.raw(policyGVK)
	bad := good.DeepCopy()
	set([]any{map[string]any{}}, "spec", "ingress")(bad.Object)
	require.NoError(w.t, w.overwrite(bad))
	w.eventually(func() bool {
		return asJSON(w.t, w.raw(policyGVK).Object["spec"]) == asJSON(w.t, good.Object["spec"])
	}, "the policy is put back")
	w.eventually(func() bool { return w.wasTold("PutBack") }, "and an event tells")

	for _, o := range []client.Object{w.raw(serviceGVK), w.route()} {
		require.NoError(w.t, w.client.Delete(w.ctx, o))
		w.eventually(func() bool {
			again := &unstructured.Unstructured{}
			again.SetGroupVersionKind(o.GetObjectKind().GroupVersionKind())
			return w.exists(again, desk) && again.GetUID() != o.GetUID()
		}, "a deleted child comes back")
	}

	require.NoError(w.t, w.client.Delete(w.ctx, w.pod()))
	w.podEnds(desk)
	w.eventually(w.podExists, "a deleted desktop comes back")
	w.podStarts(desk)
	w.eventually(w.isRunning, "the session runs")

	w.change(suspend)
	w.eventually(func() bool { return w.pod().DeletionTimestamp != nil }, "the desktop is told to end")
	w.podEnds(desk)
	w.eventually(func() bool { return w.session().Status.Phase == vdi.PhaseSuspended }, "the session is suspended")
	w.change(resume)
	w.eventually(w.podExists, "the desktop comes back")
	w.podStarts(desk)
	w.eventually(w.isRunning, "the session runs")
}

func (w *world) wasTold(reason string) bool {
	w.t.Helper()
	list := &eventsv1.EventList{}
	require.NoError(w.t, w.client.List(w.ctx, list, client.InNamespace(w.ns)))
	return slices.ContainsFunc(list.Items, func(e eventsv1.Event) bool {
		return e.Reason == reason && e.Regarding.Kind == "VDISession" && e.Regarding.Name == desk
	})
}

// metricsAreHonest: the figures follow a moment after the status, since sessions
// are counted in the operator's own cache.
func metricsAreHonest(w *world, in installed) {
	w.t.Helper()
	for _, want := range []struct {
		value              float64
		name, label, which string
	}{
		{1, "vdi_sessions_total", "phase", "Running"},
		{0, "vdi_sessions_total", "phase", "Failed"},
		{1, "vdi_sessions", "template", w.template},
		{1, "vdi_session_stops_total", "reason", "User"},
		{1, "vdi_session_duration_seconds", "template", w.template},
		{2, "vdi_session_start_seconds", "template", w.template},
	} {
		in.shows(w.t, want.value, want.name, want.label, want.which)
	}
	families, err := in.registry.Gather()
	require.NoError(w.t, err)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			require.NotContains(w.t, metric.String(), "alice")
		}
	}
}

// standbyIsHealthy: a replica that stands by can be scraped, counts the sessions,
// and says nothing of what it does not read.
func standbyIsHealthy(w *world, in installed) {
	w.t.Helper()
	w.t.Run("standby", func(t *testing.T) { // which ends with this part
		standby := in
		standby.registry = in.startReplica(t)
		standby.shows(t, 1, "vdi_sessions_total", "phase", "Running")
		families, err := standby.registry.Gather()
		require.NoError(t, err, "one metric that cannot be read would hide all")
		for _, family := range families {
			require.NotEqual(t, "vdi_homes_retained", family.GetName())
		}
	})
}

// shows waits for a metric's value.
func (in installed) shows(t *testing.T, want float64, name, label, which string) {
	t.Helper()
	require.Eventually(t, func() bool {
		value, found := in.sample(name, label, which)
		return found && value == want
	}, othersWork, glance, "%s{%s=%q} is %v", name, label, which, want)
}

// sample is a metric's value; of a histogram, how often it was observed.
func (in installed) sample(name, label, value string) (sample float64, found bool) {
	families, err := in.registry.Gather()
	if err != nil {
		return 0, false
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, pair := range m.GetLabel() {
				if pair.GetName() == label && pair.GetValue() == value {
					return m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount()), true
				}
			}
		}
	}
	return 0, false
}

func expiryByTheServersClock(w *world) {
	w.t.Helper()
	w.change(func(s *vdi.VDISession) { s.Spec.Timeout = "1s" })
	w.eventually(func() bool {
		s := &vdi.VDISession{}
		return !w.exists(s, desk) || s.DeletionTimestamp != nil
	}, "the session expires")
	w.podEnds(desk)
	w.eventually(func() bool { return !w.sessionExists() }, "the session goes")
	require.True(w.t, w.homeExists())
}

func invalidTemplateIsTold(w *world) {
	w.t.Helper()
	w.changeTemplate(func(t *vdi.VDITemplate) { t.Spec.Env = []vdi.EnvVar{{Name: "LANG", Value: "de_DE.UTF-8"}} })
	w.eventually(func() bool {
		t := &vdi.VDITemplate{}
		require.NoError(w.t, w.client.Get(w.ctx, client.ObjectKey{Name: w.template}, t))
		return t.Status.ObservedGeneration == t.Generation && len(t.Status.Conditions) == 1
	}, "the template is looked at again")
}

// restsWithSessions counts what the operator asks while nothing happens.
func (in installed) restsWithSessions(w *world, sessions int) {
	w.t.Helper()
	name := func(i int) string { return fmt.Sprintf("rest-%d", i) }
	for i := range sessions {
		w.createSession(desktop(name(i), fmt.Sprintf("user-%d@example.com", i)))
	}
	for i := range sessions {
		w.eventually(func() bool { return w.exists(&corev1.Pod{}, name(i)) && w.exists(newRoute(), name(i)) }, "a desktop is made")
		w.podStarts(name(i))
	}
	w.eventually(func() bool {
		t := &vdi.VDITemplate{}
		require.NoError(w.t, w.client.Get(w.ctx, client.ObjectKey{Name: w.template}, t))
		return t.Status.Sessions.Running == int32(sessions)
	}, "all sessions run and are counted")
	// Events about the last starts are sent by a broadcaster beside the controllers.
	var from int64
	w.eventually(func() bool {
		requests, end := in.operatorAsked(w.t, from)
		calm := from > 0 && !slices.ContainsFunc(requests, func(q audit.Request) bool { return !q.IsUpkeep() })
		from = end
		return calm
	}, "the operator comes to rest")

	require.Never(w.t, func() bool {
		requests, end := in.operatorAsked(w.t, from)
		from = end
		return slices.ContainsFunc(requests, func(q audit.Request) bool {
			if !q.IsUpkeep() {
				w.t.Logf("asked at rest: %s %s", q.Verb, q.URI)
			}
			return !q.IsUpkeep()
		})
	}, time.Minute, time.Second, "an idle operator asks nothing")

	s := w.sessionNamed(name(sessions - 1))
	before := s.DeepCopy()
	suspend(s)
	require.NoError(w.t, w.client.Patch(w.ctx, s, client.MergeFrom(before)))
	w.eventually(func() bool {
		pod := &corev1.Pod{}
		w.read(pod, s.Name)
		return pod.DeletionTimestamp != nil
	}, "and is awake when something happens")
	require.True(w.t, controllerutil.ContainsFinalizer(w.sessionNamed(s.Name), wire.Finalizer))
}

// wasNeverForbidden: the chart grants what the operator uses.
func (in installed) wasNeverForbidden(t *testing.T) {
	t.Helper()
	requests, _ := in.operatorAsked(t, 0)
	require.NotEmpty(t, requests)
	for _, q := range requests {
		require.False(t, q.IsForbidden(), "%s %s", q.Verb, q.URI)
		require.False(t, q.Resource == "secrets" && (q.Verb == "list" || q.Verb == "watch"), "Secrets are never listed")
	}
}
