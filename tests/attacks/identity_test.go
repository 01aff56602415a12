package attacks

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
	"github.com/vdi-platform/vdi-platform/tests/scale"
)

// TestA01EmailLabel: whatever the user is called, the session's objects are valid;
// what is nobody's name is refused.
func TestA01EmailLabel(t *testing.T) {
	t.Parallel()
	for name, prefix := range map[string]string{
		"an e-mail address": "", "Unicode": "Amélie.Ж.李雷.", "blanks": "Ann Other ", "256 characters": strings.Repeat("a", 220) + ".",
		"template syntax": "{{ .Values }}`|) ",
	} {
		unguarded, guarded := worlds(t)
		ledger.TryAlongside(t, name, func(t *testing.T) ledger.Outcome {
			// A naive operator writes the user into a label: nobody of that name gets a desktop.
			ns := unguarded.namespace(t)
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: "desk", Namespace: ns, Labels: map[string]string{wire.LabelUser: prefix + userIn(ns)}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
			}
			err := unguarded.Driver.Create(t.Context(), pod, client.DryRunAll)
			return ledger.Judge(apierrors.IsInvalid(err), ledger.Admission, "the API server takes the label")
		}, func(t *testing.T) ledger.Outcome {
			ns := guarded.namespace(t)
			user := prefix + userIn(ns)
			guarded.opens(t, desk(ns, "desk", user))
			pod := &corev1.Pod{}
			guarded.read(t, pod, ns, "desk")
			require.Regexp(t, "^[a-z2-7]{16}$", pod.Labels[wire.LabelUser])
			require.Equal(t, platform.Identity(user), pod.Labels[wire.LabelUser])
			return ledger.Blocked(ledger.Design, "labels carry a hash")
		})
	}
	for name, user := range map[string]string{
		"no name": "", "300 characters": strings.Repeat("a", 300), "a line break": "alice\nadmin", "text turned round": "alice\u202e@moc.elpmaxe",
		"blanks around": " alice@example.com ", "a NUL": "alice\x00", "a twin in another normal form": "zoe\u0308@example.com",
	} {
		attack(t, name, func(t *testing.T, w *world) ledger.Outcome {
			return w.asks(t, w.Driver, desk(w.namespace(t), "desk", user))
		})
	}
}

// TestA04HostTakeover: nobody gets another's host, in the hardest setting, where
// hosts are users' names.
func TestA04HostTakeover(t *testing.T) {
	t.Parallel()
	sameHost := func(t *testing.T, w *world, ns, other, user string) ledger.Outcome {
		t.Helper()
		victim := w.opens(t, desk(ns, "desk", userIn(ns)))
		require.Equal(t, hostOf(userIn(ns)), victim.Status.Host)
		theirs := desk(other, "theirs", user)
		if got := w.asks(t, w.Driver, theirs); got.Stage != "" {
			require.Empty(t, theirs.Status.URL, "it shows no other session's URL")
			return got
		}
		return ledger.Judge(theirs.Status.Host == victim.Status.Host, ledger.Design, "it has another host: "+theirs.Status.Host)
	}
	attack(t, "a user of the same slug, same namespace", func(t *testing.T, w *world) ledger.Outcome {
		ns := w.namespace(t)
		return sameHost(t, w, ns, ns, "alice."+ns+"@evil.example.com")
	})
	attack(t, "a user of the same slug, another namespace", func(t *testing.T, w *world) ledger.Outcome {
		ns := w.namespace(t)
		return sameHost(t, w, ns, w.namespace(t), "alice."+ns+"@evil.example.com")
	})
	attack(t, "a user in capitals", func(t *testing.T, w *world) ledger.Outcome {
		ns := w.namespace(t)
		return sameHost(t, w, ns, ns, strings.ToUpper(userIn(ns)))
	})
	attack(t, "the victim's host in one's own status", func(t *testing.T, w *world) ledger.Outcome {
		ns := w.namespace(t)
		victim := w.opens(t, desk(ns, "desk", userIn(ns)))
		other := w.namespace(t)
		evil := w.tenant(t, other, malloryIn(other))
		mine := desk(other, "mine", malloryIn(other), func(s *vdi.VDISession) { s.Spec.Template = "later-" + other })
		require.NoError(t, evil.Create(t.Context(), mine))
		require.NotEmpty(t, w.settles(t, mine), "it waits for its template")
		patch := client.RawPatch("application/merge-patch+json", []byte(`{"status":{"host":"`+victim.Status.Host+`","url":"https://`+victim.Status.Host+`"}}`))
		if got := writes(t, evil.Status().Patch(t.Context(), mine, patch)); got.Stage != "" {
			return got
		}
		w.templated(t, "later-"+other, func(*vdi.VDITemplate) {})
		require.Eventually(t, func() bool { return w.settles(t, mine) == "" }, patience, glance)
		return ledger.Judge(mine.Status.Host == victim.Status.Host, ledger.Operator, "the operator names the host")
	})
}

// TestA24FieldMutation: what cannot change does not, and no wish goes past its bounds.
func TestA24FieldMutation(t *testing.T) {
	t.Parallel()
	for name, patch := range map[string]string{
		"another user":           `{"spec":{"user":"victim@example.com"}}`,
		"another template":       `{"spec":{"template":"other"}}`,
		"another storage class":  `{"spec":{"persistence":{"storageClassName":"other"}}}`,
		"no storage class":       `{"spec":{"persistence":{"storageClassName":null}}}`,
		"persistence removed":    `{"spec":{"persistence":null}}`,
		"another access mode":    `{"spec":{"persistence":{"accessMode":"ReadWriteMany"}}}`,
		"a negative timeout":     `{"spec":{"timeout":"-8h"}}`,
		"a timeout of ages":      `{"spec":{"timeout":"99999999h"}}`,
		"a timeout in fractions": `{"spec":{"timeout":"1e9h"}}`,
		"a negative idle time":   `{"spec":{"idleTimeout":"-1s"}}`,
		"GPUs below none":        `{"spec":{"resources":{"gpu":-1}}}`,
		"a thousand GPUs":        `{"spec":{"resources":{"gpu":1000}}}`,
		"memory below none":      `{"spec":{"resources":{"memory":"-1Gi"}}}`,
		"memory without measure": `{"spec":{"resources":{"memory":"9999999999999999999999999999999999999Gi"}}}`,
		"an unknown policy":      `{"spec":{"persistence":{"reclaimPolicy":"Steal"}}}`,
	} {
		attack(t, name, func(t *testing.T, w *world) ledger.Outcome {
			ns := w.namespace(t)
			evil := w.tenant(t, ns, malloryIn(ns))
			mine := desk(ns, "mine", malloryIn(ns), func(s *vdi.VDISession) {
				s.Spec.Persistence.StorageClassName, s.Spec.RunPolicy = new("standard"), vdi.RunPolicySuspended
			})
			require.NoError(t, evil.Create(t.Context(), mine))
			return writes(t, evil.Patch(t.Context(), mine, client.RawPatch("application/merge-patch+json", []byte(patch)), client.DryRunAll))
		})
	}
	attack(t, "one's own status", func(t *testing.T, w *world) ledger.Outcome {
		ns := w.namespace(t)
		evil := w.tenant(t, ns, malloryIn(ns))
		mine := desk(ns, "mine", malloryIn(ns), func(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicySuspended })
		require.NoError(t, evil.Create(t.Context(), mine))
		return writes(t, evil.Status().Patch(t.Context(), mine, client.RawPatch("application/merge-patch+json", []byte(`{"status":{"phase":"Running"}}`))))
	})
	longer := func(name string, wish func(*vdi.VDISessionSpec)) {
		attack(t, name, func(t *testing.T, w *world) ledger.Outcome {
			ns := w.namespace(t)
			tpl := w.templated(t, "bounded-"+ns, func(t *vdi.VDITemplate) {
				t.Spec.Lifecycle = vdi.TemplateLifecycle{MaxTimeout: "1h", MaxExtension: "0"}
			})
			mine := w.opens(t, desk(ns, "mine", malloryIn(ns), func(s *vdi.VDISession) { s.Spec.Template = tpl; wish(&s.Spec) }))
			endless := mine.Status.ExpiresAt == nil || mine.Status.ExpiresAt.Sub(mine.Status.StartTime.Time).Hours() > 1
			return ledger.Judge(endless, ledger.Operator, "it ends after its template's longest time")
		})
	}
	longer("a timeout past the template's", func(s *vdi.VDISessionSpec) { s.Timeout = "1000h" })
	longer("no timeout at all", func(s *vdi.VDISessionSpec) { s.Timeout = "0" })
	longer("an extension past the template's", func(s *vdi.VDISessionSpec) {
		s.KeepAliveUntil = &metav1.Time{Time: metav1.Now().AddDate(50, 0, 0)}
	})
}

// TestA07SelectorSpoof: a template's labels do not put its pods behind somebody
// else's Service.
func TestA07SelectorSpoof(t *testing.T) {
	t.Parallel()
	attack(t, "the victim's selector in a template's labels", func(t *testing.T, w *world) ledger.Outcome {
		ns := w.namespace(t)
		victim := w.opens(t, desk(ns, "desk", userIn(ns)))
		tpl := w.templated(t, "spoof-"+ns, func(t *vdi.VDITemplate) {
			t.Spec.Values = jsonOf(`{"pod":{"labels":{"app.kubernetes.io/name":"vdi-session","app.kubernetes.io/instance":"desk","vdi.kasm.io/user":"victim"}}}`)
		})
		mine := desk(ns, "mine", malloryIn(ns), func(s *vdi.VDISession) { s.Spec.Template = tpl })
		if got := w.asks(t, w.Driver, mine); got.Stage != "" {
			return got
		}
		pod := &corev1.Pod{}
		w.read(t, pod, ns, "mine")
		behind := ""
		require.Eventually(t, func() bool {
			behind = w.serviceBefore(t, ns, pod.Status.PodIP)
			return behind != ""
		}, patience, glance, "some Service leads to the pod")
		return ledger.Judge(behind == victim.Name, ledger.Operator, "the platform's labels win")
	})
}

// TestA17TokenInPod: a desktop holds no credential of the cluster.
func TestA17TokenInPod(t *testing.T) {
	t.Parallel()
	attack(t, "a token of the namespace's account", func(t *testing.T, w *world) ledger.Outcome {
		ns := w.namespace(t)
		w.opens(t, desk(ns, "desk", userIn(ns)))
		pod := &corev1.Pod{}
		w.read(t, pod, ns, "desk")
		return ledger.Judge(mountsToken(pod), ledger.Operator, "the pod mounts none")
	})
}

func mountsToken(pod *corev1.Pod) bool {
	for _, v := range pod.Spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, source := range v.Projected.Sources {
			if source.ServiceAccountToken != nil {
				return true
			}
		}
	}
	return false
}

// TestA19PolicyOrder: no desktop is there before its network policy.
func TestA19PolicyOrder(t *testing.T) {
	t.Parallel()
	const sessions = 50
	attack(t, "a desktop without a policy for a moment", func(t *testing.T, w *world) ledger.Outcome {
		ns := w.namespace(t)
		for i := range sessions {
			s := scale.Session(i, []string{ns})
			s.Spec.User = s.Name + "." + userIn(ns)
			s.Spec.Persistence.Enabled = new(false)
			require.NoError(t, w.Driver.Create(t.Context(), s))
		}
		require.NoError(t, w.WaitSessions(t.Context(), sessions, patience, func(s *vdi.VDISession) bool { return s.Namespace == ns && scale.IsRunning(s) }))
		order, err := w.Order(scale.OperatorUser)
		require.NoError(t, err)
		require.GreaterOrEqual(t, order.Sessions, sessions)
		t.Logf("%d sessions in the audit log, %d pods before their policy", order.Sessions, len(order.Early))
		return ledger.Judge(len(order.Early) > 0, ledger.Operator, "the policy is there first")
	})
}
