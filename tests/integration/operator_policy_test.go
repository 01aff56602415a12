package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// TestOperatorPolicies: every line of the policies that bound the operator's own account
// is taken away once, as in TestAdmissionPolicies.
func TestOperatorPolicies(t *testing.T) {
	t.Parallel()
	p := startGuarded(t, gcController)
	require.NoError(t, p.installCRDs(t.Context(), (&gpus{t: t}).file(policyCRD), ""))
	objects := chartObjects(t, "admission.namespaceLabel=Require", "sessions.allowed.secrets={licence}", "gpuSharing.enabled=true", "gpuSharing.managePolicy=true", "gpuSharing.configs.any.replicas=2")
	policies := map[string]*unstructured.Unstructured{}
	var others []*unstructured.Unstructured
	for _, o := range objects {
		about, _, _ := strings.Cut(o.GetName(), ".")
		switch {
		case o.GetKind() == policyKind && (about == "places" || strings.HasPrefix(about, "operator")):
			policies[about] = o
		case !isPolicy(o):
			others = append(others, o)
		}
	}
	require.Len(t, policies, 6)
	p.grant(t, others)
	p.furnish(t)
	p.letOperatorWrite(t)
	require.NoError(t, p.admin.Create(t.Context(), &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: growing}, Provisioner: "nobody", AllowVolumeExpansion: new(true),
	}))
	everyPart(t, p, policies, operatorAttempts())
}

// letOperatorWrite gives the operator's account the right to write every kind that its policies
// speak of: what is refused is refused by a policy.
func (p *plane) letOperatorWrite(t *testing.T) {
	t.Helper()
	meta := metav1.ObjectMeta{Name: "stolen"}
	role := &rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{"", "vdi.kasm.io", "traefik.io", "networking.k8s.io", "policy", "apps", "nvidia.com"}, Resources: []string{"*"}, Verbs: []string{"*"},
	}}}
	require.NoError(t, p.admin.Create(t.Context(), role))
	require.NoError(t, p.admin.Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: meta.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: operator.name}},
	}))
}

// deed is what an attempt does.
type deed = func(ctx context.Context, g *guard, c client.Client) error

func operatorAttempts() []attempt {
	var all []attempt
	for _, some := range [][]attempt{ownAttempts(), foreignAttempts(), podAttempts(), homeAttempts(), wishAttempts(), gpuAttempts(), placeAttempts()} {
		all = append(all, some...)
	}
	return all
}

func line(policy string, number int) part { return part{policy: policy, number: number} }

// ownAttempts are what the operator does all day, and what others do.
func ownAttempts() []attempt {
	is := func(policy string) part { return part{policy: policy, name: "the-operator"} }
	return []attempt{
		{operator, "makes a Service", make1(func(g *guard) client.Object { return g.service() }), "", part{}},
		{operator, "makes a NetworkPolicy", make1(func(g *guard) client.Object { return g.policyOf(g.selector()) }), "", part{}},
		{operator, "makes a PodDisruptionBudget", make1(func(g *guard) client.Object { return g.budgetOf(new(g.selector())) }), "", part{}},
		{operator, "makes a route", make1(func(g *guard) client.Object { return g.ownedRoute() }), "", part{}},
		{operator, "makes a Middleware", make1(func(g *guard) client.Object { return g.middleware() }), "", part{}},
		{operator, "makes the front door's keys known", make1(func(g *guard) client.Object {
			return &corev1.ConfigMap{ObjectMeta: g.owned(renderer.StatementKeysName(desk))}
		}), "", part{}},
		{operator, "makes a password", make1(func(g *guard) client.Object { return g.secret(renderer.CredentialsName(desk)) }), "", part{}},
		{operator, "makes a login at the relay", make1(func(g *guard) client.Object { return g.secret(renderer.TURNLoginName(desk)) }), "", part{}},
		{operator, "looks at a Secret of its own", after(func(g *guard) client.Object { return g.secret(renderer.CredentialsName(desk)) }, looked), "", part{}},
		{operator, "deletes a desktop", after(func(g *guard) client.Object { return g.ownedPod() }, deleted), "", part{}},
		{operator, "deletes a route that lost its labels", after(func(g *guard) client.Object { return without(g.ownedRoute()) }, deleted), "", part{}},
		{operator, "puts the labels of a Service back", after(func(g *guard) client.Object { return without(g.service()) }, patched(`{"metadata":{"labels":{"app.kubernetes.io/managed-by":"vdi-operator","app.kubernetes.io/name":"vdi-session","vdi.kasm.io/user":"x"}}}`)), "", part{}},
		{operator, "replaces a Secret of its own", after(func(g *guard) client.Object { return g.secret(renderer.CredentialsName(desk)) }, replaced(func(o client.Object) { o.(*corev1.Secret).Data = nil })), "", part{}},
		{operator, "looks at an orphaned Secret", after(func(g *guard) client.Object { return orphan(g.secret(renderer.CredentialsName(desk))) }, func(ctx context.Context, c client.Client, o client.Object) error {
			givenBack(o)
			return looked(ctx, c, o)
		}), "", part{}},
		{operator, "gives an orphaned Secret back", after(func(g *guard) client.Object { return orphan(g.secret(renderer.CredentialsName(desk))) }, replaced(givenBack)), "", part{}},
		{operator, "gives an orphaned Service back", after(func(g *guard) client.Object { return orphan(g.service()) }, adopted), "", part{}},
		{operator, "claims a host", make1(func(g *guard) client.Object { return g.hostClaim() }), "", part{}},
		{operator, "frees a host", after(func(g *guard) client.Object { return g.hostClaim() }, patched(`{"data":{"holder":""}}`)), "", part{}},
		{operator, "reports about GPUs", make1(func(g *guard) client.Object { return g.config("vdi-gpu-sharing-status") }), "", part{}},
		{operator, "writes how GPUs are shared", make1(func(g *guard) client.Object { return g.config("time-slicing-config") }), "", part{}},

		{teamAdmin, "makes a Service", make1(func(g *guard) client.Object { return without(g.service()) }), "", is("operator")},
		{teamAdmin, "makes a pod that knows its node", make1(func(g *guard) client.Object { return g.desktop(onHost) }), "", is("operator-pods")},
		{teamAdmin, "deletes a claim", after(func(g *guard) client.Object { return g.theirs() }, deleted), "", is("operator-homes")},
		{teamAdmin, "makes a session", createSession(alice), "", is("operator-sessions")},
		{root, "deletes a DaemonSet", after(func(g *guard) client.Object { return g.plugin("theirs") }, deleted), "", is("operator-gpus")},
	}
}

func foreignAttempts() []attempt {
	const nobodys, uncontrolled = "belongs to no VDISession", "writes nothing but what a VDISession controls"
	was, is, keeps, asks, labels, name := line("operator", 1), line("operator", 2), line("operator", 3), line("operator", 4), line("operator", 5), line("operator", 6)
	kind, closed, service, pod, person := line("operator", 7), line("operator", 8), line("operator", 9), line("operator", 10), line("operator", 11)
	theirs := func(g *guard) client.Object { return &corev1.Secret{ObjectMeta: g.meta("treasure")} }
	return []attempt{
		{operator, "deletes a foreign pod", after(func(g *guard) client.Object { p := g.pod("web"); p.Labels = nil; return p }, deleted), nobodys, was},
		{operator, "deletes a foreign Service", after(func(g *guard) client.Object { return nobodysOwn(g.service()) }, deleted), nobodys, was},
		{operator, "deletes a foreign route", after(func(g *guard) client.Object { return g.route("theirs", "Host(`app.example.org`)") }, deleted), nobodys, was},
		{operator, "asks about a foreign Secret", after(theirs, looked), nobodys, part{}},
		{operator, "changes a foreign Secret", after(theirs, replaced(func(o client.Object) { o.(*corev1.Secret).Data = nil })), nobodys, part{}},
		{operator, "takes a foreign Secret", after(theirs, replaced(givenBack)), nobodys, part{}},
		{operator, "takes another person's orphaned Secret", after(func(g *guard) client.Object {
			o := orphan(g.secret(renderer.CredentialsName(desk)))
			o.Labels[wire.LabelUser] = "another"
			return o
		}, replaced(func(o client.Object) {
			givenBack(o)
			labels := o.GetLabels()
			labels[wire.LabelUser] = "x"
			o.SetLabels(labels)
		})), nobodys, was},
		{operator, "takes a Secret that may be planted", after(func(g *guard) client.Object { return orphan(g.secret(renderer.CredentialsName(desk))) }, replaced(func(o client.Object) { givenBack(o); o.SetAnnotations(nil) })), nobodys, was},
		{operator, "asks about another password", after(func(g *guard) client.Object { return g.secret(renderer.CredentialsName(desk)) }, func(ctx context.Context, c client.Client, o client.Object) error {
			o.SetAnnotations(map[string]string{wire.AnnotationPasswordVerifier: "another"})
			return looked(ctx, c, o)
		}), "is another than the operator asks about", asks},
		{operator, "looks at a former session's Secret", after(func(g *guard) client.Object { return g.secret(renderer.CredentialsName(desk)) }, func(ctx context.Context, c client.Client, o client.Object) error {
			refs := o.GetOwnerReferences()
			refs[0].UID = "other"
			o.SetOwnerReferences(refs)
			return looked(ctx, c, o)
		}), "may not take it from its VDISession", keeps},
		{operator, "changes the front door's keys", after(func(g *guard) client.Object { return g.config("vdi-frontdoor-public-keys") }, patched(`{"data":{"x":"y"}}`)), nobodys, part{}},
		{operator, "changes the list of ended logins", after(func(g *guard) client.Object { return g.config("vdi-frontdoor-ended-logins-0") }, patched(`{"data":{"x":"y"}}`)), nobodys, part{}},

		{operator, "makes a Service of nobody's", make1(func(g *guard) client.Object { return orphan(g.service()) }), uncontrolled, is},
		{operator, "makes a Service that a session owns beside others", make1(func(g *guard) client.Object { return uncontrolledBy(g.service()) }), uncontrolled, is},
		{operator, "makes a Service of another kind's", make1(func(g *guard) client.Object { return ownedByPod(g.service()) }), uncontrolled, is},
		{operator, "makes the front door's keys", make1(func(g *guard) client.Object { return g.config("vdi-frontdoor-public-keys") }), uncontrolled, part{}},
		{operator, "gives a Service to another session", after(func(g *guard) client.Object { return g.service() }, patched(`{"metadata":{"ownerReferences":[{"apiVersion":"vdi.kasm.io/v1alpha1","kind":"VDISession","name":"desk","uid":"other","controller":true}]}}`)), "may not take it from its VDISession", keeps},
		{operator, "makes a route without labels", make1(func(g *guard) client.Object { return without(g.ownedRoute()) }), "metadata.labels must be those of a desktop", labels},
		{operator, "takes the labels off a Service", after(func(g *guard) client.Object { return g.service() }, patched(`{"metadata":{"labels":null}}`)), "metadata.labels must be those of a desktop", labels},
		{operator, "makes a Secret of any name", make1(func(g *guard) client.Object { return g.secret("treasure") }), "must be its session's and end in -credentials or -turn", name},
		{operator, "makes the front door's keys for a session", make1(func(g *guard) client.Object {
			return &corev1.ConfigMap{ObjectMeta: g.owned("vdi-frontdoor-public-keys")}
		}), "must be its session's and end in -statement-keys", name},
		{operator, "makes a token", make1(func(g *guard) client.Object { return token(g.secret(renderer.CredentialsName(desk))) }), "type must be kubernetes.io/basic-auth or Opaque", kind},
		{operator, "makes a Service beside the platform", make1(func(g *guard) client.Object { return in(g.closed, g.service()) }), "no session may start in namespace", closed},
		{operator, "makes a Service that takes others' addresses", make1(func(g *guard) client.Object { s := g.service(); s.Spec.ExternalIPs = []string{"203.0.113.1"}; return s }), "spec.type must be ClusterIP", service},
		{operator, "opens a port of all nodes", make1(func(g *guard) client.Object { s := g.service(); s.Spec.Type = corev1.ServiceTypeNodePort; return s }), "spec.type must be ClusterIP", service},
		{operator, "makes a policy for all pods", make1(func(g *guard) client.Object { return g.policyOf(metav1.LabelSelector{}) }), "must select the pod of its session alone", pod},
		{operator, "makes a budget for all pods", make1(func(g *guard) client.Object { return g.budgetOf(&metav1.LabelSelector{}) }), "must select the pod of its session alone", pod},
		{operator, "leads a Service elsewhere", after(func(g *guard) client.Object { return g.service() }, patched(`{"spec":{"selector":{"app":"web","app.kubernetes.io/name":null}}}`)), "must select the pod of its session alone", pod},
		{operator, "gives a host to another person", after(func(g *guard) client.Object { return g.hostClaim() }, patched(`{"data":{"identity":"mallory"}}`)), "a host belongs to one person for good", person},
	}
}

func podAttempts() []attempt {
	const node, volumes, privileged, secrets = "has nothing of its node", "spec.volumes of a desktop may be", "a desktop is never privileged", "a desktop reads its own Secrets"
	of := func(n int) part { return line("operator-pods", n) }
	makes := func(change func(*corev1.Pod)) deed {
		return make1(func(g *guard) client.Object { return g.desktop(change) })
	}
	volume := func(source corev1.VolumeSource) deed {
		return makes(func(p *corev1.Pod) {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "v", VolumeSource: source})
		})
	}
	security := func(s corev1.SecurityContext) deed {
		return makes(func(p *corev1.Pod) { p.Spec.Containers[0].SecurityContext = &s })
	}
	return []attempt{
		{operator, "makes a desktop", makes(func(*corev1.Pod) {}), "", part{}},
		{operator, "makes a pod with a token", makes(func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = nil }), "a desktop has no account", part{}},
		{operator, "makes a pod of another account", ofAccount("strong"), "a desktop has no account", of(1)},
		{operator, "makes a pod on the node's network", makes(onHost), node, of(2)},
		{operator, "makes a pod among the node's processes", makes(func(p *corev1.Pod) { p.Spec.HostPID = true }), node, of(2)},
		{operator, "makes a pod with the node's IPC", makes(func(p *corev1.Pod) { p.Spec.HostIPC = true }), node, of(2)},
		{operator, "makes a pod past the scheduler", makes(func(p *corev1.Pod) { p.Spec.NodeName = "n" }), node, of(2)},
		{operator, "makes a pod on a port of the node", makes(func(p *corev1.Pod) {
			p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: 80}}
		}), node, of(2)},
		{operator, "makes a pod with the node's files", volume(corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}), volumes, of(3)},
		{operator, "makes a pod with a volume by a driver", volume(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "d"}}), volumes, of(3)},
		{operator, "makes a pod with a projected token", volume(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "t"}}}}}), volumes, of(3)},
		{operator, "makes a privileged pod", security(corev1.SecurityContext{Privileged: new(true)}), privileged, of(4)},
		{operator, "makes a pod that may load modules", security(corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"SYS_MODULE"}}}), privileged, of(4)},
		{operator, "makes a pod with the node's /proc", makes(func(p *corev1.Pod) {
			p.Spec.HostUsers = new(false)
			p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{ProcMount: new(corev1.UnmaskedProcMount)}
		}), privileged, of(4)},
		{operator, "makes a privileged init container", makes(func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "i", Image: image, SecurityContext: &corev1.SecurityContext{Privileged: new(true)}}}
		}), privileged, of(4)},
		{operator, "makes a pod of another SELinux type", makes(func(p *corev1.Pod) {
			p.Spec.SecurityContext = &corev1.PodSecurityContext{SELinuxOptions: &corev1.SELinuxOptions{Type: "spc_t"}}
		}), privileged, of(4)},
		{operator, "makes a pod with a foreign Secret", volume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "treasure"}}), secrets, of(5)},
		{operator, "makes a pod with a foreign Secret among others", volume(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "treasure"}}},
		}}}), secrets, of(5)},
		{operator, "makes a pod with a variable of a foreign Secret", makes(func(p *corev1.Pod) {
			p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "X", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: "desk-credentials"}, Key: "password",
			}}}}
		}), secrets, of(5)},
		{operator, "makes a pod with the variables of a foreign Secret", makes(func(p *corev1.Pod) {
			p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "treasure"}}}}
		}), secrets, of(5)},
		{operator, "makes a desktop with its own Secret", volume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "other-credentials"}}), "", part{}},
		{operator, "makes a desktop with a Secret that is allowed", volume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "licence"}}), "", part{}},
		{operator, "makes a desktop as a template may wish", makes(func(p *corev1.Pod) {
			p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"SETUID"}}}
		}), "", part{}},
		{operator, "makes a desktop where none may be", make1(func(g *guard) client.Object { return in(g.elsewhere, g.desktop(func(*corev1.Pod) {})) }), "is not for sessions: an administrator of the cluster allows them there with", of(6)},
	}
}

func homeAttempts() []attempt {
	of := func(n int) part { return line("operator-homes", n) }
	foreign := func(g *guard) client.Object { return g.theirs() }
	home := func(g *guard) client.Object { return g.home() }
	vouched := func(g *guard) client.Object {
		c := g.theirs()
		c.Labels = map[string]string{wire.LabelHomeFor: "x"}
		return c
	}
	const empty, notOurs = "makes only empty homes", "is no home that the operator made"
	return []attempt{
		{operator, "makes a home", make1(home), "", part{}},
		{operator, "makes a claim of nobody's", make1(foreign), empty, of(1)},
		{operator, "makes a home that counts as vouched for", make1(func(g *guard) client.Object { h := g.home(); h.Labels[wire.LabelHomeFor] = "x"; return h }), empty, of(1)},
		{operator, "makes a home of somebody's volume", make1(func(g *guard) client.Object { h := g.home(); h.Spec.VolumeName = "theirs"; return h }), empty, of(1)},
		{operator, "makes a copy of a claim", make1(func(g *guard) client.Object {
			h := g.home()
			h.Spec.DataSource = &corev1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: "theirs"}
			return h
		}), empty, of(1)},
		{operator, "makes a home beside the platform", make1(func(g *guard) client.Object { return in(g.closed, g.home()) }), "no session may start in namespace", of(2)},
		{operator, "deletes a home", after(home, deleted), "", part{}},
		{operator, "deletes a foreign claim", after(foreign, deleted), notOurs, of(3)},
		{operator, "deletes a claim that was vouched for", after(vouched, deleted), notOurs, of(3)},
		{operator, "holds a home", after(home, patched(`{"metadata":{"annotations":{"vdi.kasm.io/holder":"x/1"}}}`)), "", part{}},
		{operator, "holds a claim that was vouched for", after(vouched, patched(`{"metadata":{"annotations":{"vdi.kasm.io/holder":"x/1"}}}`)), "", part{}},
		{operator, "holds a foreign claim", after(foreign, patched(`{"metadata":{"annotations":{"vdi.kasm.io/holder":"x/1"}}}`)), notOurs, of(3)},
		{operator, "marks a home", after(home, patched(`{"metadata":{"labels":{"vdi.kasm.io/retained":"true"},"annotations":{"vdi.kasm.io/retained-since":"now"}}}`)), "", part{}},
		{operator, "marks a claim that was vouched for", after(vouched, patched(`{"metadata":{"labels":{"vdi.kasm.io/retained":"true"}}}`)), "of metadata the operator changes who holds a home", of(4)},
		{operator, "gives a home to another person", after(home, patched(`{"metadata":{"labels":{"vdi.kasm.io/user":"mallory"}}}`)), "of metadata the operator changes who holds a home", of(4)},
		{operator, "makes a home end with a session", after(home, patched(`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"x","uid":"x"}]}}`)), "of metadata the operator changes who holds a home", of(4)},
		{operator, "lets a home grow", grow(home), "", part{}},
		{operator, "lets a claim grow that was vouched for", grow(vouched), "of spec the operator changes the size", of(5)},
	}
}

func wishAttempts() []attempt {
	const wish, meta = "of one's spec it changes runPolicy only", "the operator changes its own finalizer only"
	of := func(n int) part { return line("operator-sessions", n) }
	return []attempt{
		{operator, "suspends a desktop", patchSession(suspend), "", part{}},
		{operator, "takes its finalizer off", patchSession(noFinalizer), "", part{}},
		{operator, "makes a session", createSession(alice), wish, of(1)},
		{operator, "lets a session run for ever", patchSession(func(s *vdi.VDISession) { s.Spec.Timeout = "0" }), wish, of(1)},
		{operator, "keeps a home from being kept", patchSession(deleteHome), wish, of(1)},
		{operator, "adds somebody's finalizer", patchSession(addFinalizer), meta, of(2)},
		{operator, "fakes activity", patchSession(fakeActivity), meta, of(2)},
	}
}

func gpuAttempts() []attempt {
	of := func(n int) part { return line("operator-gpus", n) }
	plugin := func(g *guard) client.Object { return g.plugin("theirs") }
	policy := func(g *guard) client.Object { return g.policy() }
	const meta, oneNote, twoFields = "leaves their metadata alone", "changes one annotation of the device plugin's pods", "changes spec.devicePlugin.config.name"
	return []attempt{
		{operator, "restarts the device plugin", after(plugin, patched(`{"spec":{"template":{"metadata":{"annotations":{"`+wire.AnnotationSharingHash+`":"x"}}}}}`)), "", part{}},
		{operator, "names the configuration", after(policy, patched(`{"spec":{"devicePlugin":{"config":{"name":"x","default":"y"}}}}`)), "", part{}},
		{operator, "makes a DaemonSet", make1(plugin), meta, of(1)},
		{operator, "deletes the device plugin", after(plugin, deleted), meta, of(1)},
		{operator, "makes a ClusterPolicy", make1(policy), meta, of(1)},
		{operator, "labels the device plugin", after(plugin, patched(`{"metadata":{"labels":{"x":"y"}}}`)), meta, of(1)},
		{operator, "changes the device plugin's image", after(plugin, patched(`[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"evil"}]`)), oneNote, of(2)},
		{operator, "labels the device plugin's pods", after(plugin, patched(`{"spec":{"template":{"metadata":{"labels":{"x":"y"}}}}}`)), oneNote, of(2)},
		{operator, "annotates the device plugin's pods", after(plugin, patched(`{"spec":{"template":{"metadata":{"annotations":{"k8s.v1.cni.cncf.io/networks":"host"}}}}}`)), oneNote, of(2)},
		{operator, "updates the device plugin all at once", after(plugin, patched(`{"spec":{"updateStrategy":{"type":"OnDelete","rollingUpdate":null}}}`)), oneNote, of(2)},
		{operator, "changes the driver", after(policy, patched(`{"spec":{"driver":{"enabled":false}}}`)), twoFields, of(3)},
		{operator, "changes the device plugin's image in the ClusterPolicy", after(policy, patched(`{"spec":{"devicePlugin":{"image":"evil"}}}`)), twoFields, of(3)},
		{operator, "empties the ClusterPolicy", after(policy, patched(`{"spec":{"driver":null}}`)), twoFields, of(3)},
	}
}

func placeAttempts() []attempt {
	return []attempt{
		{aPerson, "makes a session", createSession(alice), "", part{}},
		{aPerson, "makes a session beside the platform", make1(func(g *guard) client.Object { return in(g.closed, g.session("new", alice)) }), "no session may start in namespace", line("places", 1)},
		{frontDoor, "makes a session beside the platform", make1(func(g *guard) client.Object { return in(g.closed, g.session("new", alice)) }), "no session may start in namespace", line("places", 1)},
		{frontDoor, "makes a session where none may be", make1(func(g *guard) client.Object { return in(g.elsewhere, g.session("new", alice)) }), `vdi.kasm.io/sessions=true`, line("places", 2)},
		{aPerson, "makes a session where none may be", make1(func(g *guard) client.Object { return in(g.elsewhere, g.session("new", alice)) }), `vdi.kasm.io/sessions=true", which also keeps others from writing routes`, line("places", 2)},
	}
}

// --- what is done

// after makes an object as the administrator, and does something to it as somebody else.
func after[T client.Object](before func(g *guard) T, do func(ctx context.Context, c client.Client, o client.Object) error) deed {
	return func(ctx context.Context, g *guard, c client.Client) error {
		var o client.Object = before(g)
		if err := client.IgnoreAlreadyExists(g.plane.admin.Create(ctx, o)); err != nil {
			return err
		}
		made := o.DeepCopyObject().(client.Object)
		defer func() { _ = g.plane.admin.Delete(context.WithoutCancel(ctx), made, client.GracePeriodSeconds(0)) }()
		if err := g.plane.admin.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		return do(ctx, c, o)
	}
}

func deleted(ctx context.Context, c client.Client, o client.Object) error { return c.Delete(ctx, o) }

func patched(text string) func(context.Context, client.Client, client.Object) error {
	kind := types.MergePatchType
	if strings.HasPrefix(text, "[") {
		kind = types.JSONPatchType
	}
	return func(ctx context.Context, c client.Client, o client.Object) error {
		return c.Patch(ctx, o, client.RawPatch(kind, []byte(text)))
	}
}

// replaced writes an object as it is after a change.
func replaced(change func(client.Object)) func(context.Context, client.Client, client.Object) error {
	return func(ctx context.Context, c client.Client, o client.Object) error {
		change(o)
		return c.Update(ctx, o)
	}
}

// looked asks whose an object is, by a replacement that is not carried out.
func looked(ctx context.Context, c client.Client, o client.Object) error {
	return c.Update(ctx, o, client.DryRunAll)
}

// givenBack makes the session the owner of a Secret that it lost.
func givenBack(o client.Object) {
	o.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: vdi.GroupVersion.String(), Kind: "VDISession", Name: desk, UID: "desk-uid", Controller: new(true)}})
	o.SetAnnotations(map[string]string{wire.AnnotationGivenBack: "true"})
}

var adopted = patched(`{"metadata":{"ownerReferences":[{"apiVersion":"vdi.kasm.io/v1alpha1","kind":"VDISession","name":"desk","uid":"desk-uid","controller":true}]}}`)

// grow asks for more of a claim as a bound one, which may grow.
func grow(before func(g *guard) client.Object) deed {
	return func(ctx context.Context, g *guard, c client.Client) error {
		claim := before(g).(*corev1.PersistentVolumeClaim)
		claim.Spec.StorageClassName = new(growing)
		volume := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: claim.Namespace + "-" + claim.Name}, Spec: corev1.PersistentVolumeSpec{
			AccessModes: claim.Spec.AccessModes, Capacity: claim.Spec.Resources.Requests, StorageClassName: growing,
			ClaimRef:               &corev1.ObjectReference{Namespace: claim.Namespace, Name: claim.Name},
			PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/nowhere"}},
		}}
		if err := errors.Join(g.plane.admin.Create(ctx, volume), g.plane.admin.Create(ctx, claim)); err != nil {
			return err
		}
		err := wait.PollUntilContextTimeout(ctx, glance, othersWork, true, func(ctx context.Context) (bool, error) {
			return claim.Status.Phase == corev1.ClaimBound, g.plane.admin.Get(ctx, client.ObjectKeyFromObject(claim), claim)
		})
		if err != nil {
			return err
		}
		before := claim.DeepCopy()
		claim.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse("2Gi")
		return c.Patch(ctx, claim, client.MergeFrom(before))
	}
}

// growing is a class of volumes that may grow.
const growing = "growing"

func ofAccount(name string) deed {
	return func(ctx context.Context, g *guard, c client.Client) error {
		if err := g.plane.admin.Create(ctx, &corev1.ServiceAccount{ObjectMeta: g.meta(name)}); client.IgnoreAlreadyExists(err) != nil {
			return err
		}
		return c.Create(ctx, g.desktop(func(p *corev1.Pod) { p.Spec.ServiceAccountName = name }))
	}
}

func onHost(p *corev1.Pod) { p.Spec.HostNetwork = true }

// --- what there is

// owned is the metadata of something that the session desk controls.
func (g *guard) owned(name string) metav1.ObjectMeta {
	meta := ofDesktop(g.meta(name), desk)
	meta.Labels["app.kubernetes.io/managed-by"] = operatorName
	meta.OwnerReferences = []metav1.OwnerReference{{APIVersion: vdi.GroupVersion.String(), Kind: "VDISession", Name: desk, UID: "desk-uid", Controller: new(true)}}
	return meta
}

func (g *guard) service() *corev1.Service {
	return &corev1.Service{ObjectMeta: g.owned(desk), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 8080}}, Selector: g.selector().MatchLabels}}
}

func (g *guard) selector() metav1.LabelSelector {
	return metav1.LabelSelector{MatchLabels: map[string]string{"app.kubernetes.io/name": "vdi-session", "app.kubernetes.io/instance": desk}}
}

func (g *guard) policyOf(pods metav1.LabelSelector) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{ObjectMeta: g.owned(desk), Spec: networkingv1.NetworkPolicySpec{PodSelector: pods}}
}

func (g *guard) budgetOf(pods *metav1.LabelSelector) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{ObjectMeta: g.owned(desk), Spec: policyv1.PodDisruptionBudgetSpec{Selector: pods}}
}

func (g *guard) secret(name string) *corev1.Secret { return &corev1.Secret{ObjectMeta: g.owned(name)} }

func (g *guard) ownedRoute() *unstructured.Unstructured {
	r := g.route("other", "Host(`alice-x.vdi.example.com`)")
	return withMeta(r, g.owned("other"), "other")
}

func (g *guard) middleware() *unstructured.Unstructured {
	m := object("traefik.io/v1alpha1", "Middleware", g.ns, renderer.ForwardAuthName(desk), map[string]any{"forwardAuth": map[string]any{"address": "http://x"}})
	return withMeta(m, g.owned(m.GetName()), desk)
}

func withMeta(o *unstructured.Unstructured, meta metav1.ObjectMeta, session string) *unstructured.Unstructured {
	o.SetLabels(meta.Labels)
	meta.OwnerReferences[0].Name = session
	o.SetOwnerReferences(meta.OwnerReferences)
	return o
}

// desktop is a pod as the operator makes it, changed.
func (g *guard) desktop(change func(*corev1.Pod)) *corev1.Pod {
	p := g.ownedPod()
	change(p)
	return p
}

// ownedPod has a name of its own: the pod desk is there already.
func (g *guard) ownedPod() *corev1.Pod {
	p := g.pod("other")
	p.ObjectMeta = g.owned("other")
	p.OwnerReferences[0].Name = "other"
	p.Spec.AutomountServiceAccountToken = new(false)
	return p
}

func (g *guard) home() *corev1.PersistentVolumeClaim {
	h := claimNamed(g.ns, renderer.HomeClaimName(g.unused()))
	h.Labels = g.owned("x").Labels
	h.Annotations = map[string]string{wire.AnnotationSessionUID: "desk-uid"}
	return h
}

func (g *guard) theirs() *corev1.PersistentVolumeClaim { return claimNamed(g.ns, g.unused()) }

// unused is a name of a claim: one that was deleted lingers.
func (g *guard) unused() string { return fmt.Sprintf("x-%d", claims.Add(1)) }

var claims atomic.Int64

func (g *guard) config(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: g.closed, Name: name}}
}

func (g *guard) hostClaim() *corev1.ConfigMap {
	c := g.config("vdi-host-alice")
	c.Data = map[string]string{"host": "alice", "identity": "x", "holder": "a/b/c"}
	return c
}

func (g *guard) plugin(name string) *appsv1.DaemonSet {
	d := newPlugin()
	d.Namespace, d.Name, d.Labels = g.ns, name, map[string]string{guardLabel: g.name}
	return d
}

func (g *guard) policy() *unstructured.Unstructured {
	p := newPolicy()
	p.SetName(g.name)
	p.SetLabels(map[string]string{guardLabel: g.name})
	p.Object["spec"] = map[string]any{"driver": map[string]any{"enabled": true}, "devicePlugin": map[string]any{"image": "good"}}
	return p
}

func in[T client.Object](ns string, o T) T { o.SetNamespace(ns); return o }

// without takes the labels off, orphan the owner, nobodysOwn both.
func without[T client.Object](o T) T    { o.SetLabels(nil); return o }
func orphan[T client.Object](o T) T     { o.SetOwnerReferences(nil); return o }
func nobodysOwn[T client.Object](o T) T { return without(orphan(o)) }

func uncontrolledBy[T client.Object](o T) T {
	owners := o.GetOwnerReferences()
	owners[0].Controller = nil
	o.SetOwnerReferences(owners)
	return o
}

func ownedByPod[T client.Object](o T) T {
	owners := o.GetOwnerReferences()
	owners[0].Kind, owners[0].APIVersion = "Pod", "v1"
	o.SetOwnerReferences(owners)
	return o
}

func token(s *corev1.Secret) *corev1.Secret {
	s.Type = corev1.SecretTypeServiceAccountToken
	s.Annotations = map[string]string{corev1.ServiceAccountNameKey: "default"}
	return s
}
