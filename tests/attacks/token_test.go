package attacks

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
	"github.com/vdi-platform/vdi-platform/tests/scale"
)

// theft is what somebody does with the operator's token, in a namespace of its own. RBAC
// lets the operator do each of these to its own objects.
type theft func(t *testing.T, w *world, c client.Client, ns string) error

// steal makes the attempt in both clusters. Where it is refused, an admission policy does it.
func steal(t *testing.T, name string, do theft) {
	t.Helper()
	attack(t, name, func(t *testing.T, w *world) ledger.Outcome {
		err := do(t, w, w.stolen(t, scale.OperatorNamespace, "vdi-operator"), w.namespace(t))
		if err != nil {
			require.ErrorContains(t, err, "ValidatingAdmissionPolicy")
		}
		return writes(t, err)
	})
}

// TestA27StolenTokenEverywhere: the token of an operator that serves all namespaces gets no
// further than the objects of sessions.
func TestA27StolenTokenEverywhere(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]theft{
		"asks about a foreign Secret by a change that is not carried out": func(t *testing.T, w *world, c client.Client, ns string) error {
			return c.Update(t.Context(), w.treasure(t, ns), client.DryRunAll)
		},
		"changes a foreign Secret": func(t *testing.T, w *world, c client.Client, ns string) error {
			secret := w.treasure(t, ns)
			secret.Data = nil
			return c.Update(t.Context(), secret)
		},
		"makes a foreign Secret a session's": func(t *testing.T, w *world, c client.Client, ns string) error {
			secret := w.treasure(t, ns)
			secret.OwnerReferences = likeOurs(ns, "x").OwnerReferences
			secret.Annotations = map[string]string{wire.AnnotationGivenBack: "true"}
			return c.Update(t.Context(), secret)
		},
		"makes a token of an account": func(t *testing.T, _ *world, c client.Client, ns string) error {
			return c.Create(t.Context(), tokenOf(likeOurs(ns, "x-credentials"), "default"))
		},
		"makes a token of kube-system": func(t *testing.T, _ *world, c client.Client, _ string) error {
			return c.Create(t.Context(), tokenOf(likeOurs("kube-system", "x-credentials"), "default"), client.DryRunAll)
		},
		"plants a key of the front door": func(t *testing.T, w *world, c client.Client, _ string) error {
			keys := w.kept(t, "vdi-frontdoor-public-keys")
			keys.Data = map[string]string{"zzz.pem": "planted"}
			return c.Update(t.Context(), keys, client.DryRunAll)
		},
		"takes a logout back": func(t *testing.T, w *world, c client.Client, _ string) error {
			ended := w.kept(t, "vdi-frontdoor-ended-logins-0")
			ended.Data = map[string]string{"x": ""}
			return c.Update(t.Context(), ended, client.DryRunAll)
		},
		"gives a host to another person": func(t *testing.T, w *world, c client.Client, _ string) error {
			host := w.kept(t, "vdi-host-stolen")
			host.Data = map[string]string{"identity": "mallory"}
			return c.Update(t.Context(), host, client.DryRunAll)
		},
		"lets a pod read a foreign Secret": func(t *testing.T, w *world, c client.Client, ns string) error {
			pod := &corev1.Pod{ObjectMeta: likeOurs(ns, "x"), Spec: innocent()}
			pod.Spec.AutomountServiceAccountToken = new(false)
			pod.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: w.treasure(t, ns).Name},
			}}}
			return c.Create(t.Context(), pod, client.DryRunAll)
		},
		"deletes a foreign claim": func(t *testing.T, w *world, c client.Client, ns string) error {
			return c.Delete(t.Context(), w.puts(t, &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "data"}, Spec: oneGiB()}))
		},
		"takes a foreign claim": func(t *testing.T, w *world, c client.Client, ns string) error {
			claim := w.puts(t, &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "data"}, Spec: oneGiB()})
			return c.Patch(t.Context(), claim, merge(`{"metadata":{"labels":{"vdi.kasm.io/home-for":"x"}}}`))
		},
		"makes a claim of somebody's volume": func(t *testing.T, _ *world, c client.Client, ns string) error {
			claim := &corev1.PersistentVolumeClaim{ObjectMeta: likeOurs(ns, "vdi-data-x"), Spec: oneGiB()}
			claim.OwnerReferences, claim.Annotations = nil, map[string]string{wire.AnnotationSessionUID: "x"}
			claim.Spec.VolumeName = "theirs"
			return c.Create(t.Context(), claim)
		},
		"deletes a foreign pod": func(t *testing.T, w *world, c client.Client, ns string) error {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "web"}, Spec: innocent()}
			return c.Delete(t.Context(), w.puts(t, pod))
		},
		"leads a foreign Service elsewhere": func(t *testing.T, w *world, c client.Client, ns string) error {
			service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "web"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
			return c.Patch(t.Context(), w.puts(t, service), merge(`{"spec":{"selector":{"app":"mallory"}}}`))
		},
		"takes addresses of others": func(t *testing.T, _ *world, c client.Client, ns string) error {
			return c.Create(t.Context(), &corev1.Service{ObjectMeta: likeOurs(ns, "x"), Spec: corev1.ServiceSpec{
				Ports: []corev1.ServicePort{{Port: 443}}, ExternalIPs: []string{"203.0.113.1"},
			}})
		},
		"cuts off every pod of a namespace": func(t *testing.T, _ *world, c client.Client, ns string) error {
			return c.Create(t.Context(), &networkingv1.NetworkPolicy{ObjectMeta: likeOurs(ns, "x")})
		},
		"changes a foreign route": func(t *testing.T, w *world, c client.Client, ns string) error {
			return c.Patch(t.Context(), w.puts(t, route("IngressRoute", ns, "shop", shop())), merge(`{"spec":{"routes":[]}}`))
		},
		"deletes a foreign route": func(t *testing.T, w *world, c client.Client, ns string) error {
			return c.Delete(t.Context(), w.puts(t, route("IngressRoute", ns, "shop", shop())))
		},
		"writes a route of nobody's": func(t *testing.T, _ *world, c client.Client, ns string) error {
			return c.Create(t.Context(), route("IngressRoute", ns, "shop", shop()))
		},
		"lets a session run for ever": func(t *testing.T, w *world, c client.Client, ns string) error {
			s := desk(ns, "forever", userIn(ns))
			s.Spec.RunPolicy = vdi.RunPolicySuspended
			require.NoError(t, w.Driver.Create(t.Context(), s))
			return c.Patch(t.Context(), s, merge(`{"spec":{"timeout":"0"}}`), client.DryRunAll)
		},
	} {
		steal(t, name, do)
	}
	for name, patch := range map[string]client.Patch{
		"a patch that changes nothing": merge(`{}`),
		"a patch of the wrong type":    merge(`{"type":5}`),
		"a patch of an unknown field":  merge(`{"surprise":5}`),
		"a JSON patch":                 client.RawPatch(types.JSONPatchType, []byte(`[{"op":"add","path":"/data/x","value":5}]`)),
	} {
		attack(t, "reads a foreign Secret by "+name, func(t *testing.T, w *world) ledger.Outcome {
			secret := w.treasure(t, w.namespace(t))
			gold := base64.StdEncoding.EncodeToString([]byte("gold"))
			err := w.stolen(t, scale.OperatorNamespace, "vdi-operator").Patch(t.Context(), secret, patch, &client.PatchOptions{Raw: &metav1.PatchOptions{FieldValidation: "Strict"}})
			if err == nil {
				require.NotEmpty(t, secret.Data)
				return ledger.Worked()
			}
			require.True(t, strings.Contains(err.Error(), gold) || apierrors.IsForbidden(err), err)
			return ledger.Judge(strings.Contains(err.Error(), gold), ledger.Admission, err.Error())
		})
	}
	attack(t, "reads a foreign Secret by its name", func(t *testing.T, w *world) ledger.Outcome {
		secret := w.treasure(t, w.namespace(t))
		return writes(t, w.stolen(t, scale.OperatorNamespace, "vdi-operator").Get(t.Context(), client.ObjectKeyFromObject(secret), secret))
	})
}

// TestA39RootOnNodes: the same token makes nobody root on a node, though it may write pods,
// and what runs on GPU nodes.
func TestA39RootOnNodes(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*corev1.Pod){
		"a pod with the node's files": func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{Name: "root", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}}}
		},
		"a privileged pod": func(p *corev1.Pod) {
			p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: new(true)}
		},
		"a pod that loads modules": func(p *corev1.Pod) {
			p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"SYS_MODULE"}}}
		},
		"a pod among the node's processes": func(p *corev1.Pod) { p.Spec.HostPID = true },
		"a pod on the node's network":      func(p *corev1.Pod) { p.Spec.HostNetwork = true },
		"a pod on a node of choice":        func(p *corev1.Pod) { p.Spec.NodeName = "control-plane" },
		"a pod with a token":               func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = nil },
		"a pod with a projected token": func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{Name: "token", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
				Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}}},
			}}}}
		},
		"a pod that is no session's": func(p *corev1.Pod) { p.OwnerReferences = nil },
		"a pod in kube-system":       func(p *corev1.Pod) { p.Namespace = "kube-system" },
		"a pod beside the platform":  func(p *corev1.Pod) { p.Namespace = scale.OperatorNamespace },
	} {
		steal(t, name, func(t *testing.T, _ *world, c client.Client, ns string) error {
			pod := &corev1.Pod{ObjectMeta: likeOurs(ns, "x"), Spec: innocent()}
			pod.Spec.AutomountServiceAccountToken = new(false)
			change(pod)
			return c.Create(t.Context(), pod, client.DryRunAll)
		})
	}
	for name, patch := range map[string]string{
		"the device plugin's image":   `[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"evil"}]`,
		"the device plugin's command": `[{"op":"add","path":"/spec/template/spec/containers/0/command","value":["evil"]}]`,
		"the device plugin's account": `[{"op":"add","path":"/spec/template/spec/serviceAccountName","value":"strong"}]`,
	} {
		steal(t, name, func(t *testing.T, w *world, c client.Client, _ string) error {
			return c.Patch(t.Context(), w.plugin(t), client.RawPatch(types.JSONPatchType, []byte(patch)), client.DryRunAll)
		})
	}
	for name, patch := range map[string]string{
		"the driver's image, by the ClusterPolicy":        `{"spec":{"driver":{"image":"evil"}}}`,
		"the device plugin's image, by the ClusterPolicy": `{"spec":{"devicePlugin":{"image":"evil"}}}`,
	} {
		steal(t, name, func(t *testing.T, w *world, c client.Client, _ string) error {
			return c.Patch(t.Context(), w.policy(t), merge(patch), client.DryRunAll)
		})
	}
}

func merge(text string) client.Patch { return client.RawPatch(types.MergePatchType, []byte(text)) }

// likeOurs is metadata as the operator gives it to an object of a session's, which need not be there.
func likeOurs(ns, name string) metav1.ObjectMeta {
	session := strings.TrimSuffix(name, "-credentials")
	return metav1.ObjectMeta{
		Namespace: ns, Name: name,
		Labels: map[string]string{
			"app.kubernetes.io/name": "vdi-session", "app.kubernetes.io/instance": session, "app.kubernetes.io/managed-by": "vdi-operator",
			wire.LabelUser: platform.Identity("mallory@example.com"),
		},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: vdi.GroupVersion.String(), Kind: "VDISession", Name: session, UID: "made-up", Controller: new(true)}},
	}
}

func tokenOf(meta metav1.ObjectMeta, account string) *corev1.Secret {
	meta.Annotations = map[string]string{corev1.ServiceAccountNameKey: account}
	return &corev1.Secret{ObjectMeta: meta, Type: corev1.SecretTypeServiceAccountToken}
}

func innocent() corev1.PodSpec {
	return corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}
}

func oneGiB() corev1.PersistentVolumeClaimSpec {
	return corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
	}
}

func shop() map[string]any {
	return map[string]any{"routes": []any{map[string]any{"kind": "Rule", "match": "Host(`shop.example.org`)", "services": []any{map[string]any{"name": "shop", "port": int64(80)}}}}}
}

// puts makes an object as the administrator.
func (w *world) puts(t *testing.T, o client.Object) client.Object {
	t.Helper()
	require.NoError(t, w.Driver.Create(t.Context(), o))
	return o
}

func (w *world) treasure(t *testing.T, ns string) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "treasure"}, StringData: map[string]string{"key": "gold"}}
	require.NoError(t, w.Driver.Create(t.Context(), secret))
	return secret
}

// kept is a ConfigMap of the release's namespace.
func (w *world) kept(t *testing.T, name string) *corev1.ConfigMap {
	t.Helper()
	kept := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: scale.OperatorNamespace, Name: name}}
	require.NoError(t, client.IgnoreAlreadyExists(w.Driver.Create(t.Context(), kept)))
	require.NoError(t, w.Driver.Get(t.Context(), client.ObjectKeyFromObject(kept), kept))
	return kept
}

func (w *world) plugin(t *testing.T) *appsv1.DaemonSet {
	t.Helper()
	labels := map[string]string{"app": platform.DevicePluginDaemonSet}
	plugin := &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: scale.OperatorNamespace, Name: platform.DevicePluginDaemonSet},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: innocent()},
		},
	}
	plugin.Spec.Template.Spec.NodeSelector = map[string]string{"nobody": "has-it"}
	require.NoError(t, client.IgnoreAlreadyExists(w.Driver.Create(t.Context(), plugin)))
	return plugin
}

func (w *world) policy(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	policy := &unstructured.Unstructured{}
	policy.SetGroupVersionKind(schema.GroupVersionKind{Group: "nvidia.com", Version: "v1", Kind: "ClusterPolicy"})
	policy.SetName(platform.DefaultClusterPolicy)
	require.NoError(t, client.IgnoreAlreadyExists(w.Driver.Create(t.Context(), policy)))
	return policy
}
