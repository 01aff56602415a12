package maintain

import (
	"context"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// aDesktop is a pod as this release makes it, with what change does to it.
func aDesktop(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	own := func(suffix string) *corev1.SecretKeySelector {
		return &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name + suffix}, Key: "password"}
	}
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name, Labels: ofSessions},
		Spec: corev1.PodSpec{
			NodeName: "node", ServiceAccountName: "default", AutomountServiceAccountToken: new(false),
			SecurityContext: &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Volumes: []corev1.Volume{
				{Name: "home", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "home"}}},
				{Name: "login", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name + "-turn"}}},
			},
			Containers:     []corev1.Container{{Name: "selkies", Env: []corev1.EnvVar{{Name: "PASSWD", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: own("-credentials")}}}}},
			InitContainers: []corev1.Container{{Name: "agent", SecurityContext: &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"CHOWN"}, Drop: []corev1.Capability{"ALL"}}}}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for _, do := range change {
		do(p)
	}
	return p
}

func withVolume(source corev1.VolumeSource) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "added", VolumeSource: source})
	}
}

// withSidecar adds what a mesh's webhook does.
func withSidecar(c corev1.Container) func(*corev1.Pod) {
	return func(p *corev1.Pod) { c.Name = "mesh"; p.Spec.InitContainers = append(p.Spec.InitContainers, c) }
}

func may(capability corev1.Capability) corev1.Container {
	return corev1.Container{SecurityContext: &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{capability}}}}
}

func projected(source corev1.VolumeProjection) corev1.VolumeSource {
	return corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{source}}}
}

func testRules() podRules {
	return podRules{
		volumes: []string{"name", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}, sources: []string{"secret"},
		capabilities: []string{"CHOWN"}, secrets: []string{"licence"},
	}
}

// TestJudge has a case for each line of admission/operator-pods.yaml.
func TestJudge(t *testing.T) {
	t.Parallel()
	env := func(e corev1.EnvVarSource) corev1.Container {
		return corev1.Container{Env: []corev1.EnvVar{{Name: "A", ValueFrom: &e}}}
	}
	named := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	security := func(s corev1.SecurityContext) func(*corev1.Pod) {
		return withSidecar(corev1.Container{SecurityContext: &s})
	}
	for name, c := range map[string]struct {
		change func(*corev1.Pod)
		keys   []string
	}{
		"as it is made":          {func(*corev1.Pod) {}, nil},
		"an account":             {func(p *corev1.Pod) { p.Spec.ServiceAccountName = "mesh" }, []string{"pod/serviceAccountName"}},
		"a token":                {func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = nil }, []string{"pod/automountServiceAccountToken"}},
		"the node's network":     {func(p *corev1.Pod) { p.Spec.HostNetwork = true }, []string{"pod/hostNetwork"}},
		"the node's processes":   {func(p *corev1.Pod) { p.Spec.HostPID = true }, []string{"pod/hostPID"}},
		"the node's memory":      {func(p *corev1.Pod) { p.Spec.HostIPC = true }, []string{"pod/hostIPC"}},
		"a port of the node":     {withSidecar(corev1.Container{Ports: []corev1.ContainerPort{{HostPort: 80}}}), []string{"pod/hostPort"}},
		"a volume":               {withVolume(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "x"}}), []string{"pod-volume/csi"}},
		"a source":               {withVolume(projected(corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "t"}})), []string{"pod-volume/serviceAccountToken"}},
		"a volume of choice":     {withVolume(corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "v"}}}}), []string{"pod/ephemeral.volumeName"}},
		"a Secret":               {withVolume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "mesh"}}), []string{"pod-secret/mesh"}},
		"a Secret that may be":   {withVolume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "licence"}}), nil},
		"a Secret, projected":    {withVolume(projected(corev1.VolumeProjection{Secret: &corev1.SecretProjection{LocalObjectReference: named("mesh")}})), []string{"pod-secret/mesh"}},
		"a Secret's key":         {withSidecar(env(corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: named("mesh")}})), []string{"pod-secret/mesh"}},
		"all keys of a Secret":   {withSidecar(corev1.Container{EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: named("mesh")}}}}), []string{"pod-secret/mesh"}},
		"another desktop's":      {withVolume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "b-credentials"}}), []string{"pod-secret/b-credentials"}},
		"a capability":           {withSidecar(may("NET_ADMIN")), []string{"pod-capability/NET_ADMIN"}},
		"a capability that may":  {withSidecar(may("CHOWN")), nil},
		"privileges":             {security(corev1.SecurityContext{Privileged: new(true)}), []string{"pod/privileged"}},
		"the node's proc":        {security(corev1.SecurityContext{ProcMount: new(corev1.UnmaskedProcMount)}), []string{"pod/procMount"}},
		"the usual proc":         {security(corev1.SecurityContext{ProcMount: new(corev1.DefaultProcMount)}), nil},
		"no seccomp":             {security(corev1.SecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined}}), []string{"pod/seccompProfile"}},
		"no AppArmor":            {security(corev1.SecurityContext{AppArmorProfile: &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}}), []string{"pod/appArmorProfile"}},
		"a process of Windows":   {security(corev1.SecurityContext{WindowsOptions: &corev1.WindowsSecurityContextOptions{HostProcess: new(true)}}), []string{"pod/windowsOptions"}},
		"a type of SELinux's":    {security(corev1.SecurityContext{SELinuxOptions: &corev1.SELinuxOptions{Type: "spc_t"}}), []string{"pod/seLinuxOptions"}},
		"a usual one":            {security(corev1.SecurityContext{SELinuxOptions: &corev1.SELinuxOptions{Type: "container_t"}}), nil},
		"settings of the kernel": {func(p *corev1.Pod) { p.Spec.SecurityContext.Sysctls = []corev1.Sysctl{{Name: "a", Value: "b"}} }, []string{"pod/sysctls"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pod := aDesktop("a", c.change)
			spec, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&pod.Spec)
			require.NoError(t, err)
			var keys []string
			for _, found := range testRules().judge(runningPod{pod.Name, spec}) {
				keys = append(keys, found.key)
			}
			require.Equal(t, c.keys, keys)
		})
	}
}

// checkPods checks an upgrade of a release with these desktops.
func checkPods(t *testing.T, change func(*options), pods ...client.Object) (string, error) {
	t.Helper()
	j, out := jobFor(t, plain, "{}", "", pods...)
	r := testRules()
	j.options.podVolumes, j.options.podSources, j.options.podCapabilities = strings.Join(r.volumes, ","), strings.Join(r.sources, ","), strings.Join(r.capabilities, ",")
	change(&j.options)
	err := checkUpgrade(context.Background(), j)
	return out.String(), err
}

// TestUpgradeFindsWhatWebhooksAdd: in living desktops alone, until the values allow it.
func TestUpgradeFindsWhatWebhooksAdd(t *testing.T) {
	t.Parallel()
	as := func(*options) {}
	csi := withVolume(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "x"}})
	said, err := checkPods(t, as, aDesktop("a", csi, withSidecar(may("NET_ADMIN"))), aDesktop("b", csi), aDesktop("c", csi), aDesktop("d", csi), aDesktop("e"))
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "{pod-capability/NET_ADMIN,pod-volume/csi}")
	assert.Contains(t, said, "pod-capability/NET_ADMIN: the pod of team/a has the capability NET_ADMIN, in the container mesh. Where a webhook of the cluster adds it")
	assert.Contains(t, said, "name it in admission.pods.capabilities\n")
	assert.Contains(t, said, "pod-volume/csi: the pod of team/a, team/b, team/c and of 1 more has a volume of the kind csi, added.")

	ended := func(phase corev1.PodPhase) *corev1.Pod {
		return aDesktop("a", csi, func(p *corev1.Pod) { p.Status.Phase = phase })
	}
	for name, c := range map[string]struct {
		change func(*options)
		pod    *corev1.Pod
	}{
		"nothing added":         {as, aDesktop("a")},
		"allowed":               {func(o *options) { o.podVolumes += ",csi" }, aDesktop("a", csi)},
		"confirmed":             {func(o *options) { o.confirmed = "pod-volume/csi" }, aDesktop("a", csi)},
		"without admission":     {func(o *options) { o.admission = false }, aDesktop("a", csi)},
		"it has ended":          {as, ended(corev1.PodSucceeded)},
		"it has failed":         {as, ended(corev1.PodFailed)},
		"it is going":           {as, aDesktop("a", csi, func(p *corev1.Pod) { p.DeletionTimestamp, p.Finalizers = new(metav1.Now()), []string{"a.example/b"} })},
		"no desktop":            {as, aDesktop("a", csi, func(p *corev1.Pod) { p.Labels = nil })},
		"not of this release's": {func(o *options) { o.watchNamespaces = "other" }, aDesktop("a", csi)},
	} {
		_, err := checkPods(t, c.change, c.pod)
		require.NoError(t, err, name)
	}
}

// TestUpgradeNamesTemplatesOnce: what a refused template says is a finding about the template alone.
func TestUpgradeNamesTemplatesOnce(t *testing.T) {
	t.Parallel()
	csi := withVolume(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "x"}})
	of := func(template string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Labels = maps.Clone(p.Labels)
			p.Labels[wire.LabelTemplate] = platform.TemplateLabel(template)
		}
	}
	refused := stored("refused", values(`{"pod":{"annotations":{"example.com/a":"b"}}}`))
	said, err := checkPods(t, func(*options) {}, refused, stored("fine", func(*vdi.VDITemplate) {}), aDesktop("a", csi, of("refused")))
	require.ErrorContains(t, err, "{template/refused}", said)
	_, err = checkPods(t, func(o *options) { o.confirmed = "template/refused" }, refused, stored("fine", func(*vdi.VDITemplate) {}), aDesktop("a", csi, of("refused")), aDesktop("b", csi, of("fine")))
	require.ErrorContains(t, err, "{pod-volume/csi}")
}
