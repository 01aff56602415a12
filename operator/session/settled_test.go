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
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// calmPass is one that compared everything with what a living desktop needs, and
// found nothing to do.
func calmPass() *pass {
	route := &unstructured.Unstructured{}
	route.SetGroupVersionKind(routeKind)
	route.SetName("desk")
	route.SetResourceVersion("7")
	return &pass{
		resources: vdi.SessionResources{GPU: new(int32(1))},
		session:   &vdi.VDISession{ObjectMeta: metav1.ObjectMeta{Name: "desk", UID: "s", Generation: 1}},
		template: &vdi.VDITemplate{
			ObjectMeta: metav1.ObjectMeta{Name: "t", UID: "t", Generation: 1},
			Spec:       vdi.VDITemplateSpec{Streamer: vdi.StreamerSelkiesGStreamer},
		},
		decision: decision{want: wantRun},
		desired:  []*unstructured.Unstructured{route},
		seen: children{
			pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "desk", UID: "p"}},
			claim: &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")},
			}}},
			others: map[objectKey]*unstructured.Unstructured{keyOf(route): route},
		},
	}
}

func TestSettled(t *testing.T) {
	t.Parallel()
	var s settled
	require.False(t, s.holds(calmPass()), "nothing was compared yet")
	s.note(calmPass(), nil)
	require.True(t, s.holds(calmPass()))
	oneName := calmPass()
	oneName.template.Spec.Streamer = vdi.StreamerSelkies
	s.note(oneName, nil)
	oneName.encoder = vdi.EncoderNVENC
	require.True(t, s.holds(oneName), "this streamer has one name for all encoders")
	s.note(calmPass(), nil)

	for name, change := range map[string]func(*pass){
		"the spec":                  func(p *pass) { p.session.Generation++ },
		"another session":           func(p *pass) { p.session.UID = "other" },
		"the template":              func(p *pass) { p.template.Generation++ },
		"another template":          func(p *pass) { p.template.UID = "other" },
		"another pod":               func(p *pass) { p.seen.pod.UID = "other" },
		"the pod ended":             func(p *pass) { p.seen.pod.Status.Phase = corev1.PodFailed },
		"no pod":                    func(p *pass) { p.seen.pod = nil },
		"a child edited":            func(p *pass) { p.seen.others[keyOf(p.desired[0])].SetResourceVersion("8") },
		"a child gone":              func(p *pass) { clear(p.seen.others) },
		"the home's size":           func(p *pass) { p.seen.claim.Spec.Resources.Requests = nil },
		"the home's labels":         func(p *pass) { p.seen.claim.Labels = map[string]string{wire.LabelRetained: "true"} },
		"the home leaves":           func(p *pass) { p.seen.claim.DeletionTimestamp = new(metav1.Now()) },
		"no home":                   func(p *pass) { p.seen.claim = nil },
		"the host":                  func(p *pass) { p.input.Host = "other.example.com" },
		"the front door's keys":     func(p *pass) { p.input.StatementKeys = map[string]string{"a.pem": "A"} },
		"what Auto comes to":        func(p *pass) { p.encoder = vdi.EncoderNVENC },
		"the session is to suspend": func(p *pass) { p.decision.want = wantStop },
	} {
		t.Run(name, func(t *testing.T) {
			changed := calmPass()
			change(changed)
			require.False(t, s.holds(changed))
		})
	}
}

// Only a pass that compared everything and left nothing to tell counts.
func TestNotSettled(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*pass) error{
		"a failed write":    func(*pass) error { return errors.New("no quorum") },
		"an update pending": func(p *pass) error { p.pending = []string{"image"}; return nil },
		"a repair":          func(p *pass) error { p.repaired = []string{"Service"}; return nil },
		"a shrunk home":     func(p *pass) error { p.sizeRefused = &halt{}; return nil },
		"a refusal":         func(p *pass) error { p.refusal = &halt{}; return nil },
		"a changed create":  func(p *pass) error { p.altered = true; return nil },
		"a halt":            func(p *pass) error { p.halted = &halt{}; return nil },
		"nothing compared":  func(p *pass) error { p.desired = nil; return nil },
	} {
		t.Run(name, func(t *testing.T) {
			var s settled
			p := calmPass()
			s.note(p, change(p))
			require.False(t, s.holds(calmPass()))
		})
	}
	var s settled
	s.note(calmPass(), nil)
	s.note(calmPass(), errors.New("no quorum"))
	require.False(t, s.holds(calmPass()), "a later pass knows better")
	s.note(calmPass(), nil)
	s.delete(types.NamespacedName{Name: "desk"})
	require.False(t, s.holds(calmPass()))
}
