package session

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// calmPass is one that compared everything with what a living desktop needs, and
// found nothing to do.
func calmPass() *plan.Pass {
	route := &unstructured.Unstructured{}
	route.SetGroupVersionKind(routeKind)
	route.SetName("desk")
	route.SetResourceVersion("7")
	p := &plan.Pass{Facts: plan.Facts{Session: &vdi.VDISession{ObjectMeta: metav1.ObjectMeta{Name: "desk", UID: "s", Generation: 1}}, Template: &vdi.VDITemplate{
		ObjectMeta: metav1.ObjectMeta{Name: "t", UID: "t", Generation: 1},
		Spec:       vdi.VDITemplateSpec{Streamer: vdi.StreamerSelkiesGStreamer},
	}, Seen: plan.Children{
		Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "desk", UID: "p"}},
		Claim: &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{Resources: corev1.VolumeResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")},
		}}},
		Others: map[plan.Key]*unstructured.Unstructured{plan.KeyOf(route): route},
	}}, Plan: plan.Plan{Resources: vdi.SessionResources{GPU: new(int32(1))}, Decision: plan.Decision{Want: plan.Run}, Desired: []*unstructured.Unstructured{route}}}
	p.Input = renderer.Input{Session: *p.Session, Template: *p.Template}
	p.Input.Platform.Access.Mode = wire.AccessOIDC
	return p
}

func TestSettled(t *testing.T) {
	t.Parallel()
	var s settled
	require.False(t, s.unchanged(calmPass()), "nothing was compared yet")
	s.remember(calmPass(), nil)
	require.True(t, s.unchanged(calmPass()))
	oneName := calmPass()
	oneName.Input.Template.Spec.Streamer = vdi.StreamerSelkies
	s.remember(oneName, nil)
	oneName.Input.Encoder = vdi.EncoderNVENC
	require.True(t, s.unchanged(oneName), "this streamer has one name for all encoders")
	s.remember(calmPass(), nil)

	for name, change := range map[string]func(*plan.Pass){
		"the spec":                  func(p *plan.Pass) { p.Session.Generation++ },
		"another session":           func(p *plan.Pass) { p.Session.UID = "other" },
		"the template":              func(p *plan.Pass) { p.Template.Generation++ },
		"another template":          func(p *plan.Pass) { p.Template.UID = "other" },
		"another pod":               func(p *plan.Pass) { p.Seen.Pod.UID = "other" },
		"the pod ended":             func(p *plan.Pass) { p.Seen.Pod.Status.Phase = corev1.PodFailed },
		"no pod":                    func(p *plan.Pass) { p.Seen.Pod = nil },
		"a child edited":            func(p *plan.Pass) { p.Seen.Others[plan.KeyOf(p.Desired[0])].SetResourceVersion("8") },
		"a child gone":              func(p *plan.Pass) { clear(p.Seen.Others) },
		"the home's size":           func(p *plan.Pass) { p.Seen.Claim.Spec.Resources.Requests = nil },
		"the home's labels":         func(p *plan.Pass) { p.Seen.Claim.Labels = map[string]string{wire.LabelRetained: "true"} },
		"the home leaves":           func(p *plan.Pass) { p.Seen.Claim.DeletionTimestamp = new(metav1.Now()) },
		"no home":                   func(p *plan.Pass) { p.Seen.Claim = nil },
		"the host":                  func(p *plan.Pass) { p.Input.Host = "other.example.com" },
		"the front door's keys":     func(p *plan.Pass) { p.Input.StatementKeys = map[string]string{"a.pem": "A"} },
		"what Auto comes to":        func(p *plan.Pass) { p.Input.Encoder = vdi.EncoderNVENC },
		"the session is to suspend": func(p *plan.Pass) { p.Decision.Want = plan.StayStopped },
	} {
		t.Run(name, func(t *testing.T) {
			changed := calmPass()
			change(changed)
			require.False(t, s.unchanged(changed))
		})
	}
}

// Only a pass that compared everything and left nothing to tell counts.
func TestNotSettled(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*plan.Pass) error{
		"a failed write":    func(*plan.Pass) error { return errors.New("no quorum") },
		"an update pending": func(p *plan.Pass) error { p.Pending = []string{"image"}; return nil },
		"a repair":          func(p *plan.Pass) error { p.Repaired = []string{"Service"}; return nil },
		"a shrunk home":     func(p *plan.Pass) error { p.SizeRefused = &verdict.Verdict{}; return nil },
		"a refusal":         func(p *plan.Pass) error { p.Refusal = &verdict.Verdict{}; return nil },
		"a changed create":  func(p *plan.Pass) error { p.Altered = true; return nil },
		"a halt":            func(p *plan.Pass) error { p.StoppedBy = &verdict.Verdict{}; return nil },
		"nothing compared":  func(p *plan.Pass) error { p.Desired = nil; return nil },
	} {
		t.Run(name, func(t *testing.T) {
			var s settled
			p := calmPass()
			s.remember(p, change(p))
			require.False(t, s.unchanged(calmPass()))
		})
	}
	var s settled
	s.remember(calmPass(), nil)
	s.remember(calmPass(), errors.New("no quorum"))
	require.False(t, s.unchanged(calmPass()), "a later pass knows better")
	s.remember(calmPass(), nil)
	s.Delete(types.NamespacedName{Name: "desk"})
	require.False(t, s.unchanged(calmPass()))
}
