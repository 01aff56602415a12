package integration

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
)

// denial is a rule of the cluster that refuses one of a session's objects.
type denial struct {
	condition string
	reason    string
	waiting   vdi.WaitingFor
	words     string // of the API server
	template  func(*vdi.VDITemplate)
	impose    func(w *world)
	lift      func(w *world)
}

func denials() map[string]denial {
	quota := func(what corev1.ResourceName, small, large string) (impose, lift func(*world)) {
		return func(w *world) { w.imposeQuota(what, small) }, func(w *world) { w.raiseQuota(what, large) }
	}
	fewPods, morePods := quota(corev1.ResourcePods, "0", "5")
	smallHomes, largeHomes := quota(corev1.ResourceRequestsStorage, "1Gi", "100Gi")
	return map[string]denial{
		"ResourceQuota on pods": {
			condition: vdi.ConditionScheduled, reason: vdi.ReasonQuotaExceeded, waiting: vdi.WaitingForQuota,
			words: "exceeded quota: quota, requested: pods=1, used: pods=0, limited: pods=0", impose: fewPods, lift: morePods,
		},
		"ResourceQuota on storage": {
			condition: vdi.ConditionHomeReady, reason: vdi.ReasonQuotaExceeded, waiting: vdi.WaitingForQuota,
			words: "exceeded quota: quota, requested: requests.storage=10Gi", impose: smallHomes, lift: largeHomes,
		},
		"LimitRange": {
			condition: vdi.ConditionScheduled, reason: vdi.ReasonDenied, // others cannot make room
			words:  "maximum memory usage per Container is 1Gi, but limit is 4Gi",
			impose: func(w *world) { w.imposeLimit() },
			lift: func(w *world) {
				require.NoError(w.t, w.client.Delete(w.ctx, &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Name: "limit", Namespace: w.ns}}))
			},
		},
		"Pod Security": {
			condition: vdi.ConditionScheduled, reason: vdi.ReasonDenied,
			words:    `violates PodSecurity "restricted:latest"`,
			template: func(t *vdi.VDITemplate) { t.Spec.Security.Profile = vdi.ProfileBaseline },
			impose:   func(w *world) { w.labelNamespace("restricted") },
			lift:     func(w *world) { w.labelNamespace("baseline") },
		},
		"ValidatingAdmissionPolicy": {
			condition: vdi.ConditionScheduled, reason: vdi.ReasonDenied,
			words:  "desktops only on weekdays",
			impose: func(w *world) { w.imposePolicy() },
			lift: func(w *world) {
				require.NoError(w.t, w.client.Delete(w.ctx, &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: w.ns}}))
			},
		},
	}
}

func TestDenials(t *testing.T) {
	t.Parallel()
	for name, d := range denials() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if d.template != nil {
				w.createTemplate(d.template)
			} else {
				w.createTemplate()
			}
			d.impose(w)
			w.createSession()
			require.Equal(t, time.Minute, w.pass().RequeueAfter, "tried again once a minute")
			s := w.requirePhase(vdi.PhasePending)
			require.Equal(t, d.waiting, s.Status.WaitingFor)
			c := w.requireCondition(d.condition, metav1.ConditionFalse, d.reason)
			t.Log(c.Message)
			require.Contains(t, c.Message, d.words)
			w.requireCondition(vdi.ConditionStalled, metav1.ConditionTrue, d.reason)
			require.False(t, w.podExists())

			version := w.session().ResourceVersion
			w.pass()
			require.Equal(t, version, w.session().ResourceVersion, "the same problem gives the same words")

			d.lift(w)
			// The API server's admission learns of it from its own watches.
			w.eventually(func() bool { _, err := w.passOf(desk); return err == nil && w.podExists() }, "the session starts once nobody denies it")
			w.podStarts(desk)
			w.pass()
			w.requirePhase(vdi.PhaseRunning)
		})
	}
}

// TestMoreThanOneGPU: two slices are not twice a GPU, and whole ones come only
// from nodes that keep theirs whole.
func TestMoreThanOneGPU(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *platform.Config) {
		c.Sessions.GPUSharing = platform.GPUSharing{Sliced: []string{"nvidia.com/gpu"}, Dedicated: []string{"dedicated"}}
	})
	template := w.createTemplate()
	w.createSession(func(s *vdi.VDISession) { s.Spec.Resources.GPU = ptr.To[int32](2) })
	w.pass()
	w.requirePhase(vdi.PhaseFailed)
	c := w.requireCondition(vdi.ConditionAccepted, metav1.ConditionFalse, vdi.ReasonGPUCountNotSliceable)
	require.Contains(t, c.Message, "for whole GPUs use a template whose scheduling.nodeSelector holds nvidia.com/device-plugin.config: dedicated")
	require.False(t, w.podExists())

	template.Spec.Scheduling.NodeSelector = map[string]string{platform.SharingLabel: "dedicated"}
	require.NoError(t, w.overwrite(template))
	w.pass()
	pod := w.pod()
	require.Equal(t, "2", pod.Spec.Containers[0].Resources.Limits.Name("nvidia.com/gpu", resource.DecimalSI).String())
	require.Equal(t, "dedicated", pod.Spec.NodeSelector[platform.SharingLabel])
}

func (w *world) imposeQuota(what corev1.ResourceName, limit string) {
	w.t.Helper()
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "quota", Namespace: w.ns},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{what: resource.MustParse(limit)}},
	}
	require.NoError(w.t, w.client.Create(w.ctx, quota))
	w.eventually(func() bool { w.read(quota, "quota"); return len(quota.Status.Hard) > 0 }, "the quota controller counts")
	w.eventually(func() bool { return !w.admits(w.trialPod()) || !w.admits(claimOf(w.ns, "5Gi")) }, "the quota is in force")
}

func claimOf(ns, size string) client.Object {
	claim := claimNamed(ns, "trial")
	claim.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse(size)
	return claim
}

func (w *world) raiseQuota(what corev1.ResourceName, limit string) {
	w.t.Helper()
	quota := &corev1.ResourceQuota{}
	w.read(quota, "quota")
	quota.Spec.Hard[what] = resource.MustParse(limit)
	require.NoError(w.t, w.overwrite(quota))
}

func (w *world) imposeLimit() {
	w.t.Helper()
	limit := &corev1.LimitRange{
		ObjectMeta: metav1.ObjectMeta{Name: "limit", Namespace: w.ns},
		Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
			Type: corev1.LimitTypeContainer,
			Max:  corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")},
		}}},
	}
	require.NoError(w.t, w.client.Create(w.ctx, limit))
	w.eventually(func() bool { return !w.admits(w.trialPod()) }, "the limit is in force")
}

func (w *world) labelNamespace(level string) {
	w.t.Helper()
	ns := &corev1.Namespace{}
	require.NoError(w.t, w.client.Get(w.ctx, client.ObjectKey{Name: w.ns}, ns))
	ns.Labels["pod-security.kubernetes.io/enforce"] = level
	require.NoError(w.t, w.overwrite(ns))
	w.eventually(func() bool { return w.admits(w.trialPod()) == (level == "baseline") }, "Pod Security knows the namespace's level")
}

func (w *world) imposePolicy() {
	w.t.Helper()
	w.deny("pods", "desktops only on weekdays")
	w.eventually(func() bool { return !w.admits(w.trialPod()) }, "the policy is in force")
}

// deny installs a policy that refuses new objects of a resource in the namespace.
func (w *world) deny(resource, words string) {
	w.t.Helper()
	rule := admissionv1.NamedRuleWithOperations{RuleWithOperations: admissionv1.RuleWithOperations{
		Operations: []admissionv1.OperationType{admissionv1.Create},
		Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{resource}},
	}}
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: w.ns},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{rule}},
			Validations:      []admissionv1.Validation{{Expression: "false", Message: words}},
		},
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: w.ns},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: w.ns, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
			MatchResources: &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: w.ns}}},
		},
	}
	require.NoError(w.t, w.client.Create(w.ctx, policy))
	require.NoError(w.t, w.client.Create(w.ctx, binding))
}

// admits asks whether an object would be admitted now, without making it.
func (w *world) admits(o client.Object) bool {
	return w.client.Create(w.ctx, o, client.DryRunAll) == nil
}

// trialPod breaks the rules that a desktop of profile Baseline breaks.
func (w *world) trialPod() client.Object {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "trial", Namespace: w.ns},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "c", Image: image,
			SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: ptr.To(true)},
			Resources:       corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("4Gi")}},
		}}},
	}
}

func TestWhatAPodWaitsFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate()
	w.createSession()
	w.pass()
	for _, step := range []struct {
		message string
		phase   vdi.Phase
		waiting vdi.WaitingFor
	}{
		{"0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", vdi.PhasePending, vdi.WaitingForGPU},
		{"0/3 nodes are available: 3 Insufficient cpu.", vdi.PhasePending, vdi.WaitingForNode},
		{"0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.", vdi.PhasePending, vdi.WaitingForVolume},
	} {
		w.podStatus(func(p *corev1.Pod) {
			setPodCondition(p, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: step.message})
		})
		w.pass()
		s := w.requirePhase(step.phase)
		require.Equal(t, step.waiting, s.Status.WaitingFor)
		require.Contains(t, s.Status.Message, step.message)
		t.Log(s.Status.Message)
	}
	w.podStarts(desk)
	w.podStatus(func(p *corev1.Pod) {
		setPodCondition(p, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse})
		p.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "manifest unknown"}}
	})
	w.pass()
	s := w.requirePhase(vdi.PhaseCreating)
	require.Equal(t, vdi.WaitingForImage, s.Status.WaitingFor)
	t.Log(s.Status.Message)
	w.podStatus(func(p *corev1.Pod) {
		p.Status.Phase, p.Status.Reason, p.Status.Message = corev1.PodFailed, "Evicted", "node was low on memory"
	})
	w.pass()
	s = w.requirePhase(vdi.PhaseFailed)
	require.Contains(t, s.Status.Message, "Evicted: node was low on memory")
	t.Log(s.Status.Message)
}
