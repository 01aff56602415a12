package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/ended"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
	"github.com/vdi-platform/vdi-platform/tests/audit"
)

// checkJob judges the settings before anything is made.
const checkJob = "vdi-operator-check-is-image-pullable"

// unseen are, by account, the rights that this test does not see used, and why
// they are granted.
func unseen() map[string]map[string]string {
	return map[string]map[string]string{
		operatorName: {
			"route vdisessions.vdi.kasm.io":            "a verb of the admission policies: nobody asks the API server for it",
			"get vdiusages.vdi.kasm.io":                "after a conflict with another replica's write (usage.Store.Add)",
			"delete vdiusages.vdi.kasm.io":             "of whom nothing is kept any more, after months (usage's TestFold)",
			"patch events.events.k8s.io in vdi-system": "what is told about GPUs again within minutes becomes one event with a count (client-go, tools/events)",
		},
		"vdi-frontdoor":          unseenAtDoor(),
		"vdi-operator-crds":      {},
		checkJob:                 {},
		"vdi-operator-templates": {},
		"vdi-operator-keys":      {},
		"vdi-operator-upgrade": {
			"get persistentvolumeclaims": "what templates mount beside the home (maintain's TestUpgradeFindsClaims)",
		},
		"vdi-operator-uninstall": {
			"get vdisessions.vdi.kasm.io":                     "after a conflict with somebody else's write (maintain.letGoAgain)",
			"create leases.coordination.k8s.io in vdi-system": "where the operator ran without leader election, there is none yet",
		},
	}
}

func unseenAtDoor() map[string]string {
	why := map[string]string{
		"get vdisessions.vdi.kasm.io":                               "a resume (TestFrontDoor, and end to end TestSuspendedDesktopShowsItsPage)",
		"patch vdisessions.vdi.kasm.io":                             "the same",
		"patch configmaps vdi-frontdoor-ended-logins in vdi-system": "a logout at a replica of an earlier version, while an upgrade is under way",
	}
	for n := range ended.Parts {
		part := ended.Store{Name: "vdi-frontdoor-ended-logins"}.Part(n).Name + " in vdi-system"
		why["get configmaps "+part] = "a login (TestFrontDoor, and end to end TestSingleSignOn)"
		why["patch configmaps "+part] = "a logout (the same)"
	}
	return why
}

// TestEveryRightIsUsed lives through everything that the operator and the Jobs
// of Helm have rights for, and compares what the chart grants with what they
// asked for.
func TestEveryRightIsUsed(t *testing.T) {
	t.Parallel()
	p, err := startEmptyPlane(t.Context()) // the Job makes the kinds
	require.NoError(t, err, missingToolFix)
	t.Cleanup(func() { require.NoError(t, p.Stop()) })
	require.NoError(t, p.installRouteKind(t.Context()))
	objects := chartObjects(
		t, `sessions.hostTemplate=\{user\}`, "templates.plain.image="+image,
		"accounting.enabled=true", "gpuSharing.enabled=true", "gpuSharing.managePolicy=true", "gpuSharing.namespace="+gpuNamespace, "gpuSharing.configs.any.replicas=2",
	)
	require.NoError(t, p.admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: gpuNamespace}}))
	p.grant(t, objects)
	program := build(t, "vdi-operator")

	require.Contains(t, p.runJob(t, program, objects, checkJob, filesOf(t, objects)...), "the settings work")
	p.definitionsGoUpOnly(t, func() string { return p.runJob(t, program, objects, "vdi-operator-crds") })
	p.runJob(t, program, objects, "vdi-operator-templates", filesOf(t, objects)...)
	p.runJob(t, program, objects, "vdi-operator-upgrade", filesOf(t, objects)...)
	door := build(t, "vdi-frontdoor")
	for range 2 { // the second time finds the keys
		p.runJob(t, door, objects, "vdi-operator-keys")
	}
	p.opensTheDoor(t, door, objects)
	stop := p.runOperator(t, program, argsOf(t, objects))
	late := p.startsLate(t)
	p.lives(newWorldOn(t, p), p.wantsHostOf)
	p.meetsStrangers(t)
	late()
	p.expires(t)
	p.sharesGPUs(t)
	stop()
	require.NoError(t, p.admin.Create(t.Context(), named(t, objects, "Deployment", operatorName)))
	p.uninstalls(t, func(args ...string) string { return p.runJob(t, program, objects, "vdi-operator-uninstall", args...) })

	for account, allowed := range unseen() {
		unused, forbidden := p.rights(t, objects, account)
		assert.Empty(t, forbidden, account)
		for _, right := range unused {
			assert.Contains(t, allowed, right.String(), "%s has a right that it never uses", account)
		}
		for right := range allowed {
			assert.True(t, slices.ContainsFunc(unused, func(r audit.Right) bool { return r.String() == right }), "%s uses %s after all", account, right)
		}
	}
	p.wouldTell(t, objects)
}

// uninstalls: the Job stops nothing until Helm says that the release is being uninstalled,
// here in the last of the revisions that it may ask for.
func (p *plane) uninstalls(t *testing.T, job func(args ...string) string) {
	t.Helper()
	require.Contains(t, job(), "nothing is being uninstalled")
	record := &corev1.Secret{Type: "helm.sh/release.v1", Data: map[string][]byte{"release": []byte("all the values")}}
	record.Name, record.Namespace = "sh.helm.release.v1."+operatorName+".v21", operatorNamespace
	record.Labels = map[string]string{"owner": "helm", "name": operatorName, "status": "uninstalling"}
	require.NoError(t, p.admin.Create(t.Context(), record))
	require.Contains(t, job("--timeout=2m"), "the operator has stopped")
}

// rights are what an account has and did not use, and what it lacked.
func (p *plane) rights(t *testing.T, objects []*unstructured.Unstructured, account string) (unused []audit.Right, forbidden []string) {
	t.Helper()
	granted, err := audit.Granted(objects, operatorNamespace, account)
	require.NoError(t, err)
	require.NotEmpty(t, granted, account)
	requests, _, err := audit.Of(p.AuditLog(), "system:serviceaccount:"+operatorNamespace+":"+account, 0)
	require.NoError(t, err)
	require.NotEmpty(t, requests, account)
	for _, q := range requests {
		if q.IsForbidden() {
			forbidden = append(forbidden, q.Verb+" "+q.URI)
		}
	}
	return audit.Unused(granted, requests), forbidden
}

// wouldTell adds a rule to one of the operator's roles, which must be noticed.
func (p *plane) wouldTell(t *testing.T, objects []*unstructured.Unstructured) {
	t.Helper()
	before, _ := p.rights(t, objects, operatorName)
	role := named(t, objects, "ClusterRole", "vdi-operator:sessions")
	rules, _, err := unstructured.NestedSlice(role.Object, "rules")
	require.NoError(t, err)
	rules = append(rules, map[string]any{"apiGroups": []any{""}, "resources": []any{"pods/exec"}, "verbs": []any{"create"}})
	require.NoError(t, unstructured.SetNestedSlice(role.Object, rules, "rules"))
	after, _ := p.rights(t, append(slices.DeleteFunc(slices.Clone(objects), func(o *unstructured.Unstructured) bool {
		return o.GetKind() == role.GetKind() && o.GetName() == role.GetName()
	}), role), operatorName)
	require.Len(t, after, len(before)+1)
	require.Contains(t, after, audit.Right{Verb: "create", Resource: "pods/exec"})
}

// named is a copy of a rendered object.
func named(t *testing.T, objects []*unstructured.Unstructured, kind, name string) *unstructured.Unstructured {
	t.Helper()
	i := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == kind && o.GetName() == name })
	require.GreaterOrEqual(t, i, 0, "the chart has no %s %s", kind, name)
	return objects[i].DeepCopy()
}

// runJob runs what a Job of Helm's would, under the Job's account.
func (p *plane) runJob(t *testing.T, program string, objects []*unstructured.Unstructured, name string, more ...string) (said string) {
	t.Helper()
	containers, _, _ := unstructured.NestedSlice(named(t, objects, "Job", name).Object, "spec", "template", "spec", "containers")
	args, _, _ := unstructured.NestedStringSlice(containers[0].(map[string]any), "args")
	command := exec.CommandContext(t.Context(), program, append(args, more...)...)
	command.Env = append(os.Environ(), "POD_NAMESPACE="+operatorNamespace, "KUBECONFIG="+p.kubeconfigOf(t, name))
	out, err := command.CombinedOutput()
	require.NoError(t, err, "%s: %s", name, out)
	return string(out)
}

// definitionsGoUpOnly: the Job makes the definitions, brings older ones up, also
// those without a version, and leaves what a newer release has brought.
func (p *plane) definitionsGoUpOnly(t *testing.T, job func() string) {
	t.Helper()
	job()
	const name, field = "vditemplates.vdi.kasm.io", "deprecated"
	crd := object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", name, nil)
	for version, stays := range map[string]bool{"": false, "0.0.9": false, "99.0.0": true, "0.0.10": false} {
		require.NoError(t, p.admin.Get(t.Context(), client.ObjectKeyFromObject(crd), crd))
		versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
		require.NoError(t, err)
		unstructured.RemoveNestedField(versions[0].(map[string]any), "schema", "openAPIV3Schema", "properties", "spec", "properties", field)
		require.NoError(t, unstructured.SetNestedSlice(crd.Object, versions, "spec", "versions"))
		crd.SetAnnotations(map[string]string{wire.AnnotationVersion: version})
		if version == "" {
			crd.SetAnnotations(nil)
		}
		require.NoError(t, p.admin.Update(t.Context(), crd))

		said := job()
		require.NoError(t, p.admin.Get(t.Context(), client.ObjectKeyFromObject(crd), crd))
		versions, _, err = unstructured.NestedSlice(crd.Object, "spec", "versions")
		require.NoError(t, err)
		_, has, _ := unstructured.NestedMap(versions[0].(map[string]any), "schema", "openAPIV3Schema", "properties", "spec", "properties", field)
		require.Equal(t, !stays, has, "beside version %q: %s", version, said)
		if stays {
			require.Contains(t, said, "left CRD "+name+" as it is: it is of version 99.0.0, newer than this release's")
			crd.SetAnnotations(nil)
			require.NoError(t, p.admin.Update(t.Context(), crd))
		}
	}
	job()
}

// opensTheDoor runs the front door until it has told its keys and knows all sessions.
func (p *plane) opensTheDoor(t *testing.T, program string, objects []*unstructured.Unstructured) {
	t.Helper()
	const account = "vdi-frontdoor"
	for _, o := range objects {
		if o.GetKind() == "ConfigMap" && o.GetLabels()["app"] == account {
			require.NoError(t, p.admin.Create(t.Context(), o))
		}
	}
	keys, dir := &corev1.Secret{}, t.TempDir()
	require.NoError(t, p.admin.Get(t.Context(), client.ObjectKey{Namespace: operatorNamespace, Name: "vdi-frontdoor-keys"}, keys))
	for name, content := range keys.Data {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	containers, _, _ := unstructured.NestedSlice(named(t, objects, "Deployment", account).Object, "spec", "template", "spec", "containers")
	args, _, _ := unstructured.NestedStringSlice(containers[0].(map[string]any), "args")
	stop := p.runAs(t, account, program, append(args, filesOf(t, objects)[0], "--keys-dir="+dir,
		"--listen=127.0.0.1:0", "--auth-listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0"))
	require.Eventually(t, func() bool {
		granted, err := audit.Granted(objects, operatorNamespace, account)
		require.NoError(t, err)
		requests, _, err := audit.Of(p.AuditLog(), "system:serviceaccount:"+operatorNamespace+":"+account, 0)
		require.NoError(t, err)
		return len(audit.Unused(granted, requests)) <= len(unseen()[account])
	}, othersWork, glance, "the front door tells its keys and watches")
	stop()
}

// filesOf are the flags for what the chart's ConfigMap holds.
func filesOf(t *testing.T, objects []*unstructured.Unstructured) []string {
	t.Helper()
	files, _, err := unstructured.NestedStringMap(named(t, objects, "ConfigMap", "vdi-operator-config").Object, "data")
	require.NoError(t, err)
	dir := t.TempDir()
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return []string{"--config=" + filepath.Join(dir, "config.yaml"), "--templates=" + filepath.Join(dir, "templates.yaml")}
}

// startsLate is a session whose node waits for a volume, which only an event says. What
// it returns waits until the session says so.
func (p *plane) startsLate(t *testing.T) (reported func()) {
	t.Helper()
	w := newWorldOn(t, p)
	w.createTemplate()
	w.createSession(func(s *vdi.VDISession) { s.Spec.User = "late@example.com" }) // who wants nobody else's host
	w.eventually(w.podExists, "the desktop's pod is made")
	w.placed()
	w.event(w.pod(), "FailedMount", "volume x is missing")
	return func() {
		w.eventually(func() bool { return strings.Contains(w.session().Status.Message, "volume x is missing") }, "what the node waits for is reported")
		w.deleteSession()
		w.eventually(func() bool { return w.pod().DeletionTimestamp != nil }, "the desktop is to end")
		w.podEnds(desk)
		w.eventually(func() bool { return !w.sessionExists() }, "the session goes")
	}
}

// lives is a session from its start to its end, with somebody meddling, and with what else
// happens while it runs.
func (p *plane) lives(w *world, meanwhile func(*world)) {
	w.t.Helper()
	w.createTemplate(withBudget)
	w.createSession(deleteHome)
	w.comesUp()
	w.meddle(policyGVK.Kind, w.raw(policyGVK), []any{map[string]any{}}, "spec", "ingress")
	w.meddle(serviceGVK.Kind, w.raw(serviceGVK), map[string]any{"planted": "yes"}, "spec", "selector")
	w.meddle(routeGVK.Kind, w.route(), []any{}, "spec", "entryPoints")
	w.meddle(budgetGVK.Kind, w.raw(budgetGVK), "100%", "spec", "minAvailable")
	w.change(suspend)
	w.eventually(func() bool { return w.podExists() && w.pod().DeletionTimestamp != nil }, "the desktop is told to end")
	w.podEnds(desk)
	w.eventually(func() bool { return w.session().Status.Phase == vdi.PhaseSuspended }, "the session is suspended")
	w.change(resume)
	w.comesUp()
	meanwhile(w)
	quota := w.createQuota("life", vdi.VDIQuotaSpec{Total: &vdi.TotalLimits{Running: new(int32(5))}})
	w.eventually(func() bool {
		return p.admin.Get(w.ctx, client.ObjectKeyFromObject(quota), quota) == nil && quota.Status.Used.Running == 1
	}, "the quota counts it")
	w.deleteSession()
	w.eventually(func() bool { return w.pod().DeletionTimestamp != nil }, "the desktop is told to end")
	w.podEnds(desk)
	w.eventually(func() bool { return !w.sessionExists() && !w.homeExists() }, "the session goes, and its home")
}

// wantsHostOf is another session of the same person, whose host is taken.
func (p *plane) wantsHostOf(first *world) {
	first.t.Helper()
	w := newWorldOn(first.t, p)
	w.createTemplate()
	w.createSession()
	w.eventually(func() bool {
		return condition(w.session(), vdi.ConditionAccepted).Reason == vdi.ReasonHostInUse
	}, "one host leads to one desktop")
}

// comesUp waits for a desktop whose kubelet the test plays.
func (w *world) comesUp() {
	w.t.Helper()
	w.eventually(func() bool { return w.podExists() && w.routeExists() }, "the desktop is made")
	w.podStarts(desk)
	w.eventually(w.isRunning, "the session runs")
}

// meddle changes a field of a child, and waits until the operator put it back.
func (w *world) meddle(kind string, good *unstructured.Unstructured, value any, path ...string) {
	w.t.Helper()
	bad := good.DeepCopy()
	set(value, path...)(bad.Object)
	require.NoError(w.t, w.overwrite(bad))
	w.eventually(func() bool {
		return asJSON(w.t, w.raw(good.GroupVersionKind()).Object["spec"]) == asJSON(w.t, good.Object["spec"])
	}, kind+" is put back")
}

// meetsStrangers: under each of its names, a session finds somebody else's object.
func (p *plane) meetsStrangers(t *testing.T) {
	t.Helper()
	for _, c := range children() {
		w := newWorldOn(t, p)
		w.createTemplate()
		o := c.new()
		switch o := o.(type) {
		case *corev1.Pod:
			o.Spec = (&guard{}).pod("").Spec
		case *corev1.PersistentVolumeClaim:
			o.Spec = claimNamed(w.ns, c.name).Spec
		case *corev1.Service:
			o.Spec.Ports = []corev1.ServicePort{{Port: 80}}
		case *unstructured.Unstructured:
			*o = *route(w.ns, "IngressRoute", c.name, "Host(`app.example.org`)")
		}
		o.SetNamespace(w.ns)
		o.SetName(c.name)
		require.NoError(t, w.client.Create(w.ctx, o))
		w.createSession(desktop(desk, w.ns+"@example.com"))
		w.eventually(func() bool {
			return condition(w.session(), vdi.ConditionStalled).Status == metav1.ConditionTrue
		}, c.kind+" of somebody else is left alone")
		assert.Contains(t, w.session().Status.Message, "was not made by the operator", c.kind)
	}
}

// expires: the operator deletes a session whose time is over.
func (p *plane) expires(t *testing.T) {
	t.Helper()
	w := newWorldOn(t, p)
	w.createTemplate()
	w.createSession(desktop(desk, w.ns+"@example.com"))
	w.comesUp()
	expiryByTheServersClock(w)
	require.True(t, w.exists(&corev1.PersistentVolumeClaim{}, renderer.HomeClaimName(desk)))
}

// sharesGPUs: a GPU Operator that runs already gets its configuration from ours.
func (p *plane) sharesGPUs(t *testing.T) {
	t.Helper()
	g := &gpus{t: t, ctx: t.Context(), client: p.admin, plane: p, ns: operatorNamespace}
	g.createNode("gpu-1", 1, 2)
	require.NoError(t, p.installCRDs(t.Context(), g.file(policyCRD), ""))
	require.NoError(t, p.admin.Create(t.Context(), newPolicy()))
	require.NoError(t, p.admin.Create(t.Context(), newPlugin()))
	require.Eventually(t, func() bool {
		return g.plugin().Spec.Template.Annotations[wire.AnnotationSharingHash] != "" && g.state("node.gpu-1") == "AsPlanned"
	}, othersWork, glance, "slices are as planned")
}
