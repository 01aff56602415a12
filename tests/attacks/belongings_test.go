package attacks

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
)

// TestA13HomeTheft: a home is nobody's but its owner's.
func TestA13HomeTheft(t *testing.T) {
	t.Parallel()
	mounts := func(t *testing.T, w *world, s *vdi.VDISession, claim string) ledger.Outcome {
		t.Helper()
		pod := &corev1.Pod{}
		w.read(t, pod, s.Namespace, s.Name)
		for _, v := range pod.Spec.Volumes {
			if v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == claim {
				return ledger.Worked()
			}
		}
		return ledger.Blocked(ledger.Operator, "the desktop has another home")
	}
	attack(t, "another's home as one's existing claim", func(t *testing.T, w *world) ledger.Outcome {
		ns := w.namespace(t)
		w.opens(t, desk(ns, "desk", userIn(ns)))
		home := renderer.HomeClaimName("desk")
		mine := desk(ns, "mine", malloryIn(ns), func(s *vdi.VDISession) { s.Spec.Persistence.ExistingClaim = home })
		if got := w.asks(t, w.tenant(t, ns, malloryIn(ns)), mine); got.Stage != "" {
			return got
		}
		return mounts(t, w, mine, home)
	})
	attack(t, "a session of the name whose home was kept", func(t *testing.T, w *world) ledger.Outcome {
		ns := w.namespace(t)
		w.ends(t, w.opens(t, desk(ns, "desk", userIn(ns))))
		home := &corev1.PersistentVolumeClaim{}
		w.read(t, home, ns, renderer.HomeClaimName("desk"))
		mine := desk(ns, "desk", malloryIn(ns))
		if err := w.tenant(t, ns, malloryIn(ns)).Create(t.Context(), mine); err != nil {
			return writes(t, err)
		}
		if refusal := w.settles(t, mine); refusal != "" {
			require.False(t, w.exists(t, &corev1.Pod{}, ns, "desk"))
			kept := &corev1.PersistentVolumeClaim{}
			w.read(t, kept, ns, home.Name)
			require.Equal(t, home.UID, kept.UID)
			return ledger.Blocked(ledger.Operator, refusal)
		}
		return mounts(t, w, mine, home.Name)
	})
	attack(t, "a home planted for the victim", func(t *testing.T, w *world) ledger.Outcome {
		ns := w.namespace(t)
		planted := &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Name: renderer.HomeClaimName("desk"), Namespace: ns},
			Spec: corev1.PersistentVolumeClaimSpec{
				AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: quantity("10Gi")}},
			},
		}
		if err := w.tenant(t, ns, malloryIn(ns)).Create(t.Context(), planted); err != nil {
			return writes(t, err)
		}
		victim := desk(ns, "desk", userIn(ns))
		require.NoError(t, w.Driver.Create(t.Context(), victim))
		if refusal := w.settles(t, victim); refusal != "" {
			require.False(t, w.exists(t, &corev1.Pod{}, ns, "desk"), "no desktop")
			return ledger.Blocked(ledger.Operator, refusal)
		}
		return mounts(t, w, victim, planted.Name)
	})
}

// TestA42HomeVeto: a session keeps nobody else's home from going with theirs by naming
// it.
func TestA42HomeVeto(t *testing.T) {
	t.Parallel()
	attack(t, "a stranger's session that names a home which is to go", func(t *testing.T, w *world) ledger.Outcome {
		ns := w.namespace(t)
		victim := w.opens(t, desk(ns, "desk", userIn(ns), func(s *vdi.VDISession) { s.Spec.Persistence.ReclaimPolicy = vdi.ReclaimDelete }))
		mine := desk(ns, "mine", malloryIn(ns), func(s *vdi.VDISession) {
			s.Spec.Persistence.ExistingClaim, s.Spec.RunPolicy = renderer.HomeClaimName("desk"), vdi.RunPolicySuspended
		})
		require.NoError(t, w.tenant(t, ns, malloryIn(ns)).Create(t.Context(), mine))
		w.ends(t, victim)
		home := &corev1.PersistentVolumeClaim{}
		err := w.Driver.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: renderer.HomeClaimName("desk")}, home)
		require.NoError(t, client.IgnoreNotFound(err))
		return ledger.Judge(err == nil && home.DeletionTimestamp == nil, ledger.Operator, "its owner's wish counts")
	})
}

// ends deletes a session and waits until it and its desktop are gone.
func (w *world) ends(t *testing.T, s *vdi.VDISession) {
	t.Helper()
	require.NoError(t, w.Driver.Delete(t.Context(), s))
	require.Eventually(t, func() bool {
		return !w.exists(t, &vdi.VDISession{}, s.Namespace, s.Name) && !w.exists(t, &corev1.Pod{}, s.Namespace, s.Name) &&
			!w.exists(t, &corev1.Secret{}, s.Namespace, renderer.CredentialsName(s.Name))
	}, patience, glance)
}

// planted are objects of the names that a session needs, as an attacker makes them
// who knows the platform well.
func planted(ns string) map[string]client.Object {
	named := metav1.ObjectMeta{Name: "desk", Namespace: ns}
	looksOurs := named
	looksOurs.Labels = map[string]string{
		"app.kubernetes.io/name": "vdi-session", "app.kubernetes.io/instance": "desk", "app.kubernetes.io/managed-by": "vdi-operator",
	}
	return map[string]client.Object{
		"Secret with a known password": &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Name: renderer.CredentialsName("desk"), Namespace: ns, Labels: looksOurs.Labels,
				Annotations: map[string]string{wire.AnnotationKeysVersion: "2"},
			},
			Type:       corev1.SecretTypeBasicAuth,
			StringData: map[string]string{"username": "desktop", "password": "known", "desktop-username": "desktop", "desktop-password": "known", "cookie-key": "known"},
		},
		"NetworkPolicy that admits all": &networkingv1.NetworkPolicy{
			ObjectMeta: named, Spec: networkingv1.NetworkPolicySpec{Ingress: []networkingv1.NetworkPolicyIngressRule{{}}},
		},
		"Service": &corev1.Service{ObjectMeta: looksOurs, Spec: corev1.ServiceSpec{Selector: map[string]string{"mine": "true"}, Ports: []corev1.ServicePort{{Port: 8080}}}},
		"Pod":     &corev1.Pod{ObjectMeta: looksOurs, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "selkies", Image: "evil"}}}},
	}
}

// TestA14PlantedObjects: what somebody made in advance is not taken for ours.
func TestA14PlantedObjects(t *testing.T) {
	t.Parallel()
	for what := range planted("") {
		attack(t, what, func(t *testing.T, w *world) ledger.Outcome {
			ns := w.namespace(t)
			theirs := planted(ns)[what]
			if err := w.tenant(t, ns, malloryIn(ns)).Create(t.Context(), theirs); err != nil {
				return writes(t, err)
			}
			uid := theirs.GetUID()
			victim := desk(ns, "desk", userIn(ns))
			require.NoError(t, w.Driver.Create(t.Context(), victim))
			if pod, is := theirs.(*corev1.Pod); is && !w.guarded {
				// An operator that counts any pod of the name as the session's.
				require.Eventually(t, func() bool { w.read(t, pod, ns, "desk"); return pod.Status.PodIP != "" }, patience, glance)
				require.Eventually(t, func() bool {
					w.read(t, victim, ns, "desk")
					return victim.Status.PodName == "desk" && w.serviceBefore(t, ns, pod.Status.PodIP) == "desk"
				}, patience, glance)
				return ledger.Judge(pod.UID == uid, ledger.Operator, "it was replaced")
			}
			if refusal := w.settles(t, victim); refusal != "" {
				pod := &corev1.Pod{}
				require.True(t, !w.exists(t, pod, ns, "desk") || pod.UID == uid, "no desktop of ours")
				require.False(t, w.exists(t, newRoute(), ns, "desk"), "nor a way to it")
				w.read(t, theirs, ns, theirs.GetName())
				require.Equal(t, uid, theirs.GetUID(), "what is not ours is left alone")
				return ledger.Blocked(ledger.Operator, refusal)
			}
			w.read(t, theirs, ns, theirs.GetName())
			return ledger.Judge(theirs.GetUID() == uid, ledger.Operator, "it was replaced")
		})
	}
}

// TestA28OwnershipTricks: however a session is made to end, nothing of it is left but
// its home, and nothing of anybody else goes.
func TestA28OwnershipTricks(t *testing.T) {
	t.Parallel()
	attack(t, "children orphaned", func(t *testing.T, w *world) ledger.Outcome {
		ns := w.namespace(t)
		mine := w.opens(t, desk(ns, "mine", malloryIn(ns)))
		require.NoError(t, w.tenant(t, ns, malloryIn(ns)).Delete(t.Context(), mine, client.PropagationPolicy(metav1.DeletePropagationOrphan)))
		// The garbage collector looks for new kinds every half minute.
		require.Eventually(t, func() bool { return !w.exists(t, &vdi.VDISession{}, ns, "mine") }, 3*patience, glance)
		if w.exists(t, &corev1.Pod{}, ns, "mine") {
			return ledger.Worked()
		}
		require.Eventually(t, func() bool { return len(w.made(t, ns, "mine")) == 1 }, 3*patience, glance, "only the home is left")
		return ledger.Blocked(ledger.Operator, "the desktop goes before its session, and the rest with it")
	})
	attack(t, "a finalizer that keeps the session", func(t *testing.T, w *world) ledger.Outcome {
		ns := w.namespace(t)
		mine := w.opens(t, desk(ns, "mine", malloryIn(ns)))
		evil := w.tenant(t, ns, malloryIn(ns))
		patch := client.RawPatch("application/json-patch+json", []byte(`[{"op":"add","path":"/metadata/finalizers`+tail(mine.Finalizers)+`}]`))
		if err := evil.Patch(t.Context(), mine, patch); err != nil {
			return writes(t, err)
		}
		require.NoError(t, evil.Delete(t.Context(), mine))
		if !w.guarded {
			// Nobody acts on the delete: the garbage collector waits for the session to go.
			w.read(t, mine, ns, "mine")
			require.NotNil(t, mine.DeletionTimestamp)
			return ledger.Judge(w.exists(t, &corev1.Pod{}, ns, "mine"), ledger.Operator, "the pod is gone")
		}
		require.Eventually(t, func() bool { return !w.exists(t, &corev1.Pod{}, ns, "mine") && !w.exists(t, newRoute(), ns, "mine") }, patience, glance)
		return ledger.Blocked(ledger.Operator, "desktop and route go, the GPU is free")
	})
	attack(t, "another's home named as one's own, to be deleted", func(t *testing.T, w *world) ledger.Outcome {
		ns := w.namespace(t)
		w.ends(t, w.opens(t, desk(ns, "desk", userIn(ns))))
		home := renderer.HomeClaimName("desk")
		mine := desk(ns, "desk", malloryIn(ns), func(s *vdi.VDISession) { s.Spec.Persistence.ReclaimPolicy = vdi.ReclaimDelete })
		evil := w.tenant(t, ns, malloryIn(ns))
		if err := evil.Create(t.Context(), mine); err != nil {
			return writes(t, err)
		}
		refusal := w.settles(t, mine)
		if !w.guarded {
			// An operator that deletes the claim of the expected name, as its policy says.
			require.Empty(t, refusal)
			require.NoError(t, w.Driver.Delete(t.Context(), &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: home, Namespace: ns}}))
			return ledger.Worked()
		}
		require.NoError(t, evil.Delete(t.Context(), mine))
		require.Eventually(t, func() bool { return !w.exists(t, &vdi.VDISession{}, ns, "desk") }, patience, glance)
		claim := &corev1.PersistentVolumeClaim{}
		w.read(t, claim, ns, home)
		return ledger.Judge(claim.DeletionTimestamp != nil, ledger.Operator, refusal)
	})
}

// tail is the rest of a JSON patch operation that adds a finalizer to those there are.
func tail(there []string) string {
	if len(there) == 0 {
		return `","value":["evil.example.com/stay"]`
	}
	return `/-","value":"evil.example.com/stay"`
}

// TestA30AfterTheEnd: when a session has ended, its URL is dead and its host is never
// another person's.
func TestA30AfterTheEnd(t *testing.T) {
	t.Parallel()
	attack(t, "the host of somebody who left", func(t *testing.T, w *world) ledger.Outcome {
		ns := w.namespace(t)
		first := w.opens(t, desk(ns, "desk", userIn(ns), func(s *vdi.VDISession) { s.Spec.Timeout = "2s" }))
		end := first.Status.ExpiresAt.Time
		require.Eventually(t, func() bool { return !w.exists(t, newRoute(), ns, "desk") }, patience, glance)
		t.Logf("the route was gone %s after the end", time.Since(end).Round(time.Millisecond))
		require.Eventually(t, func() bool {
			return !w.exists(t, &vdi.VDISession{}, ns, "desk") && !w.exists(t, &corev1.Pod{}, ns, "desk")
		}, patience, glance)
		heir := desk(ns, "heir", "alice."+ns+"@evil.example.com")
		if got := w.asks(t, w.Driver, heir); got.Stage != "" {
			return got
		}
		return ledger.Judge(heir.Status.Host == first.Status.Host, ledger.Design, "it has another host")
	})
}

// TestA31CullSpoof: pretended use keeps no desktop past its longest time, and
// pretended idleness ends nobody else's.
func TestA31CullSpoof(t *testing.T) {
	t.Parallel()
	attack(t, "use that is pretended for ever", func(t *testing.T, w *world) ledger.Outcome {
		ns := w.namespace(t)
		tpl := w.templated(t, "short-"+ns, func(t *vdi.VDITemplate) {
			t.Spec.Lifecycle = vdi.TemplateLifecycle{Timeout: "3s", MaxTimeout: "3s", MaxExtension: "0", MaxIdleTimeout: "2s"}
		})
		far := metav1.Time{Time: time.Now().AddDate(10, 0, 0)}
		mine := w.opens(t, desk(ns, "mine", malloryIn(ns), func(s *vdi.VDISession) {
			s.Annotations = map[string]string{wire.AnnotationLastActivity: far.Format(time.RFC3339)}
			s.Spec.Template, s.Spec.KeepAliveUntil = tpl, &far
		}))
		if !w.guarded {
			return ledger.Judge(mine.Status.ExpiresAt == nil || time.Until(mine.Status.ExpiresAt.Time) > time.Hour, ledger.Operator, "it ends")
		}
		require.Eventually(t, func() bool { return !w.exists(t, &vdi.VDISession{}, ns, "mine") }, patience, glance)
		return ledger.Blocked(ledger.Operator, "it ended after its longest time")
	})
	attack(t, "idleness of another that is pretended", func(t *testing.T, w *world) ledger.Outcome {
		ns := w.namespace(t)
		victim := w.opens(t, desk(ns, "desk", userIn(ns), func(s *vdi.VDISession) { s.Spec.IdleTimeout = "2s" }))
		old := time.Now().AddDate(-1, 0, 0).Format(time.RFC3339)
		patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"`+wire.AnnotationLastActivity+`":"`+old+`"}}}`))
		if err := w.tenant(t, ns, malloryIn(ns)).Patch(t.Context(), victim, patch); err != nil {
			return writes(t, err)
		}
		told := time.Now()
		require.Eventually(t, func() bool {
			w.read(t, victim, ns, "desk")
			// After the idle time the operator asks the desktop's agent, which does not answer here.
			return victim.Spec.RunPolicy == vdi.RunPolicySuspended || w.guarded && w.logged(t, "activity is unknown", ns, told.Add(2*time.Second))
		}, patience, glance)
		return ledger.Judge(victim.Spec.RunPolicy == vdi.RunPolicySuspended, ledger.Operator, "an agent that does not answer is no sign of idleness")
	})
}
