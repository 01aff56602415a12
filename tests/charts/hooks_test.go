package charts

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// hookAnnotation says around what Helm runs an object.
const hookAnnotation = "helm.sh/hook"

func withoutHooks(objs []*unstructured.Unstructured) []*unstructured.Unstructured {
	return slices.DeleteFunc(objs, func(obj *unstructured.Unstructured) bool { return obj.GetAnnotations()[hookAnnotation] != "" })
}

// jobs are the hooks' Jobs by task, without the release's name.
func jobs(t *testing.T, objs []*unstructured.Unstructured) map[string]batchv1.Job {
	t.Helper()
	out := map[string]batchv1.Job{}
	for _, obj := range ofKind(objs, "Job") {
		out[strings.TrimPrefix(obj.GetName(), operatorName+"-")] = typed[batchv1.Job](t, obj)
	}
	return out
}

// TestHooks: which Jobs there are, when they run, and what with.
func TestHooks(t *testing.T) {
	t.Parallel()
	got := jobs(t, objects(t, operator(map[string]string{"templates.plain.image": "registry.example.com/desktop:1", "watchNamespaces": "{team-a,team-b}", "upgradeCheck.confirmed": "{template/plain,*}", "admission.pods.volumes": "{csi}", "admission.pods.capabilities": "{NET_ADMIN}"})))
	for task, want := range map[string]struct {
		events string
		args   []string
	}{
		"crds":      {"pre-install,pre-upgrade", []string{"crds", "apply"}},
		"templates": {"post-install,post-upgrade,post-rollback", []string{"templates", "apply"}},
		"upgrade": {"pre-upgrade", []string{
			"check", "upgrade", "--settings=" + operatorName + "-config", "--confirm-by=upgradeCheck.confirmed", "--confirmed=template/plain,*", "--watch-namespaces=team-a,team-b", "--proxy-reads=IngressRoute,Ingress",
			"--pod-capabilities=AUDIT_WRITE,CHOWN,DAC_OVERRIDE,FOWNER,FSETID,KILL,MKNOD,NET_BIND_SERVICE,SETFCAP,SETGID,SETPCAP,SETUID,SYS_CHROOT,NET_ADMIN",
			"--pod-sources=configMap,downwardAPI,secret,clusterTrustBundle,csi",
			"--pod-volumes=name,configMap,downwardAPI,emptyDir,ephemeral,image,persistentVolumeClaim,projected,secret,csi",
		}},
		"keys":      {"pre-install,pre-upgrade", []string{"make-keys", "--name=vdi-frontdoor-keys"}},
		"routes":    {"pre-upgrade,pre-rollback", []string{"routes", "label", "--release=vdi", "--watch-namespaces=team-a,team-b"}},
		"uninstall": {"pre-delete", []string{"uninstall", "--deployment=" + operatorName, "--replicas=1", "--release=vdi", "--revision=1", "--watch-namespaces=team-a,team-b"}},

		"check-is-image-pullable": {"pre-install,pre-upgrade", []string{"check", "install"}},
	} {
		require.Contains(t, got, task)
		job := got[task]
		require.Equal(t, want.events, job.Annotations[hookAnnotation])
		require.Contains(t, job.Annotations["helm.sh/hook-output-log-policy"], "hook-failed")
		require.Equal(t, want.args, job.Spec.Template.Spec.Containers[0].Args)
		require.Equal(t, []int32{2}, job.Spec.PodFailurePolicy.Rules[0].OnExitCodes.Values)
	}
	require.Len(t, got, 7)
}

// TestHooksCanBeOff: each by its own value; without templates there is nothing
// to apply.
func TestHooksCanBeOff(t *testing.T) {
	t.Parallel()
	objs := objects(t, operator(map[string]string{"crds.upgradeJob.enabled": "false", "uninstall.job.enabled": "false", "upgradeCheck.enabled": "false", "sessions.proxy.labelJob.enabled": "false", "hooks.check": "false", "frontDoor.keys.existingSecret": "mine"}))
	require.Empty(t, jobs(t, objs))
	for _, obj := range objs {
		require.Contains(t, []string{"", "test"}, obj.GetAnnotations()[hookAnnotation], key(obj))
	}
}

// TestHookPodsAreNotTheOperator: its Service, its network policy and the wait
// for its last pod must not find them.
func TestHookPodsAreNotTheOperator(t *testing.T) {
	t.Parallel()
	objs := objects(t, operator(map[string]string{"templates.plain.image": "a", "commonLabels.app": "vdi-operator"}))
	selector := find[corev1.Service](t, objs, "Service", operatorName).Spec.Selector
	for _, obj := range ofKind(objs, "Job", "Pod") {
		require.NotSubset(t, podOf(t, obj).Labels, selector, key(obj))
		require.NotEqual(t, "vdi-operator", podOf(t, obj).Labels["app"], key(obj))
	}
}

// TestHookRights: a hook's rights come before its Job, are gone with it, and
// name what they are for wherever the API allows that.
func TestHookRights(t *testing.T) {
	t.Parallel()
	objs := objects(t, operator(map[string]string{"templates.plain.image": "a", "templates.three.image": "a"}))
	for _, obj := range objs {
		if obj.GetAnnotations()[hookAnnotation] != "" {
			require.Equal(t, "before-hook-creation,hook-succeeded", obj.GetAnnotations()["helm.sh/hook-delete-policy"], key(obj))
			isRunner := obj.GetKind() == "Job" || obj.GetKind() == "Pod"
			weight := "0"
			switch { // what stops an install comes first; what stops an upgrade after the kinds, before all else
			case strings.HasSuffix(obj.GetName(), "-check-is-image-pullable"):
				weight = "-20"
			case strings.HasSuffix(obj.GetName(), "-upgrade"):
				weight = "1"
			case strings.HasSuffix(obj.GetName(), "-routes"):
				weight = "2"
			}
			require.Equal(t, isRunner, obj.GetAnnotations()["helm.sh/hook-weight"] == weight, key(obj))
		}
	}
	const cluster = "vdi-system:" + operatorName
	crds := find[rbacv1.ClusterRole](t, objs, "ClusterRole", cluster+":crds").Rules
	require.Len(t, crds, 1)
	require.Equal(t, []string{"vdiquotas.vdi.kasm.io", "vdisessions.vdi.kasm.io", "vditemplates.vdi.kasm.io", "vdiusages.vdi.kasm.io"}, crds[0].ResourceNames)
	templates := find[rbacv1.ClusterRole](t, objs, "ClusterRole", cluster+":templates").Rules
	require.Len(t, templates, 1)
	require.Equal(t, []string{"plain", "three"}, templates[0].ResourceNames)
	routes := find[rbacv1.ClusterRole](t, objs, "ClusterRole", cluster+":routes").Rules
	check := find[rbacv1.ClusterRole](t, objs, "ClusterRole", cluster+":check-is-image-pullable").Rules
	for _, rule := range slices.Concat(crds, templates, routes, check, find[rbacv1.ClusterRole](t, objs, "ClusterRole", cluster+":uninstall").Rules) {
		require.NotContains(t, rule.Verbs, "delete")
		require.NotContains(t, rule.Resources, "secrets")
	}
}

// TestUninstallReadsHelmsRecordAlone: of all Secrets those in which Helm keeps this release,
// from the revision on that the Job is of, and none where it is forced.
func TestUninstallReadsHelmsRecordAlone(t *testing.T) {
	t.Parallel()
	secrets := func(set map[string]string) (rules []rbacv1.PolicyRule) {
		for _, rule := range find[rbacv1.Role](t, objects(t, operator(set)), "Role", operatorName+"-uninstall").Rules {
			if slices.Contains(rule.Resources, "secrets") {
				rules = append(rules, rule)
			}
		}
		return rules
	}
	rules := secrets(nil)
	require.Len(t, rules, 1)
	require.Equal(t, []string{"get"}, rules[0].Verbs)
	require.Len(t, rules[0].ResourceNames, 21)
	require.Equal(t, "sh.helm.release.v1.vdi.v1", rules[0].ResourceNames[0])
	require.Equal(t, "sh.helm.release.v1.vdi.v21", rules[0].ResourceNames[20])
	require.Empty(t, secrets(map[string]string{"uninstall.job.force": "true"}))
}

// TestPlainJobs: without hooks there are Jobs for keys, kinds and templates, each another one
// when it would do something else, and nothing that stops, judges or tests anything.
func TestPlainJobs(t *testing.T) {
	t.Parallel()
	plain := func(set map[string]string) map[string]string {
		values := map[string]string{"hooks.enabled": "false", "templates.plain.image": "a"}
		maps.Copy(values, set)
		objs := objects(t, operator(values))
		require.Empty(t, ofKind(objs, "Pod"))
		names := map[string]string{}
		for _, obj := range objs {
			require.NotContains(t, obj.GetAnnotations(), hookAnnotation, key(obj))
			if obj.GetKind() == "Job" {
				names[obj.GetLabels()["app.kubernetes.io/component"]] = obj.GetName()
			}
		}
		require.Equal(t, []string{"crds", "keys", "templates"}, slices.Sorted(maps.Keys(names)))
		return names
	}
	first := plain(nil)
	require.Equal(t, first, plain(map[string]string{"replicas": "2"}), "what changes nothing in them")
	image := plain(map[string]string{"image.tag": "next"})
	template := plain(map[string]string{"templates.other.image": "b"})
	for task, name := range first {
		require.Regexp(t, "^"+operatorName+"-"+task+"-[0-9a-f]{8}$", name)
		require.NotEqual(t, name, image[task])
		require.Equal(t, task == "templates", name != template[task], task)
	}
}

// TestLongNames: a Job's name is that of its pods' label, of 63 characters.
func TestLongNames(t *testing.T) {
	t.Parallel()
	for _, enabled := range []string{"true", "false"} {
		for _, obj := range ofKind(objects(t, operator(map[string]string{"fullnameOverride": strings.Repeat("a", 63), "hooks.enabled": enabled, "templates.plain.image": "a"})), "Job") {
			require.LessOrEqual(t, len(obj.GetName()), 63, obj.GetName())
		}
	}
}

// TestDeadline: one value for all Jobs, a little less than Helm waits.
func TestDeadline(t *testing.T) {
	t.Parallel()
	for deadline, seconds := range map[string]int64{"": 290, "90s": 80, "10m": 590, "1h": 3590} {
		set := map[string]string{"templates.plain.image": "a"}
		if deadline != "" {
			set["hooks.deadline"] = deadline
		}
		for task, job := range jobs(t, objects(t, operator(set))) {
			require.Equal(t, seconds, *job.Spec.ActiveDeadlineSeconds, "%s, %s", task, deadline)
		}
	}
}

// TestUpgradeCheckReadsOnly: what it is made on is the settings to be, and it may write
// nothing. Where somebody else grants rights, it would only be refused.
func TestUpgradeCheckReadsOnly(t *testing.T) {
	t.Parallel()
	objs := objects(t, operator(map[string]string{"templates.plain.image": "a", "sessions.network.openRanges": "{100.64.0.0/10}"}))
	config := find[corev1.ConfigMap](t, objs, "ConfigMap", operatorName+"-upgrade")
	require.Equal(t, find[corev1.ConfigMap](t, objs, "ConfigMap", operatorName+"-config").Data, config.Data)
	require.Contains(t, config.Data["config.yaml"], "100.64.0.0/10")
	require.Equal(t, operatorName+"-upgrade", jobs(t, objs)["upgrade"].Spec.Template.Spec.Volumes[0].ConfigMap.Name)
	rules := find[rbacv1.Role](t, objs, "Role", operatorName+"-upgrade").Rules
	for _, name := range []string{"upgrade", "upgrade-sessions"} {
		rules = append(rules, find[rbacv1.ClusterRole](t, objs, "ClusterRole", "vdi-system:"+operatorName+":"+name).Rules...)
	}
	for _, rule := range rules {
		require.Subset(t, []string{"get", "list"}, rule.Verbs)
		require.NotContains(t, rule.Resources, "secrets")
	}
	require.NotContains(t, jobs(t, objects(t, operator(map[string]string{"rbac.create": "false"}))), "upgrade")
}

// TestNamespacedHooks: no rights in other namespaces than those served and the release's.
func TestNamespacedHooks(t *testing.T) {
	t.Parallel()
	objs := objects(t, scenarios(t)["vdi-operator-namespaced"])
	for _, obj := range ofKind(objs, "ClusterRole") {
		require.False(t, strings.HasSuffix(obj.GetName(), ":uninstall") || strings.HasSuffix(obj.GetName(), ":routes"), key(obj))
	}
	var namespaces, labelled []string
	for _, obj := range ofKind(objs, "Role") {
		if strings.HasSuffix(obj.GetName(), "sessions-uninstall") {
			namespaces = append(namespaces, obj.GetNamespace())
		}
		if strings.HasSuffix(obj.GetName(), "sessions-routes") {
			labelled = append(labelled, obj.GetNamespace())
		}
	}
	require.ElementsMatch(t, []string{"vdi-system", "team-a", "team-b"}, labelled)
	require.ElementsMatch(t, []string{"team-a", "team-b"}, namespaces)
}
