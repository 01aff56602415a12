package sim

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// These are the cases, as short as they are without their seeds, by which lives went
// wrong.

const desk = "desk-1"

// script is a world in which nothing happens but what a test says.
func script(t *testing.T, play func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := newWorld(ctx, &choices{})
		w.faults = false
		w.sleepUntil(time.Now().Add(time.Minute)) // times are whole seconds
		play(t, w)
		require.Empty(t, w.broken, show(w, 60))
		w.stop()
	})
}

// settle lets everybody finish what can be finished now.
func (w *world) settle() { w.finish(time.Now().Add(2 * time.Minute)) }

func (w *world) newSession(change func(*vdi.VDISession)) {
	s := &vdi.VDISession{ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: desk}, Spec: vdi.VDISessionSpec{User: users[0], Template: templateName}}
	change(s)
	w.must(w.server.create("user", s))
}

func (w *world) informer(kind string) *informer { return w.running[0].caches.informers[kind] }

func (w *world) has(kind, name string) bool { return w.server.objects[key{kind, team, name}] != nil }

func (w *world) phase() vdi.Phase {
	return w.people.session(desk).as(w.scheme).(*vdi.VDISession).Status.Phase
}

// Whoever thinks better of it after the delete, and before the cache shows that, keeps
// the home.
func TestChangedMindKeepsTheHome(t *testing.T) {
	script(t, func(t *testing.T, w *world) {
		w.newSession(func(s *vdi.VDISession) { s.Spec.Persistence.ReclaimPolicy = vdi.ReclaimDelete })
		w.settle()
		require.Equal(t, vdi.PhaseRunning, w.phase())
		w.remove("user", w.people.session(desk))
		w.informer("VDISession").deliver()
		w.informer("VDISession").stuck = true
		w.people.change(desk, func(s *vdi.VDISession) { s.Spec.Persistence.ReclaimPolicy = vdi.ReclaimRetain })
		w.settle()
		w.informer("VDISession").stuck = false
		w.settle()
		require.Nil(t, w.people.session(desk))
		require.True(t, w.has("PersistentVolumeClaim", renderer.HomeClaimName(desk)), "the home")
	})
}

// Whatever the garbage collector lets go of is found also while the caches do not show it.
func TestOrphansBehindLateCaches(t *testing.T) {
	for _, late := range [][]string{{"Service"}, {"Service", "NetworkPolicy", routes.Kind, "PodDisruptionBudget"}, {"Pod"}} {
		script(t, func(t *testing.T, w *world) {
			if w.newSession(func(*vdi.VDISession) {}); late[0] != "Pod" {
				w.settle()
			}
			for _, kind := range late {
				w.informer(kind).stuck = true
			}
			w.settle()
			w.remove("user", w.people.session(desk), client.PropagationPolicy(metav1.DeletePropagationOrphan))
			w.settle()
			require.Nil(t, w.people.session(desk))
			for _, v := range w.all() {
				require.NotEqual(t, desk, v.name, v.key)
				require.NotEqual(t, renderer.CredentialsName(desk), v.name)
			}
		})
	}
}

// After a restore each cache takes up in its own time, and nothing is done by what the
// others showed before.
func TestRestoredUnderTheOperator(t *testing.T) {
	for name, order := range map[string][]string{"sessions first": {"VDISession", "Pod"}, "pods first": {"Pod", "VDISession"}} {
		t.Run(name+", the session ran", func(t *testing.T) {
			script(t, func(t *testing.T, w *world) {
				w.newSession(func(*vdi.VDISession) {})
				w.settle()
				pod := w.server.objects[key{"Pod", team, desk}].as(w.scheme).(*corev1.Pod).UID
				then := len(w.server.log)
				w.people.suspend(desk)
				w.settle()
				require.Equal(t, vdi.PhaseSuspended, w.phase())
				w.takeUp(then, order)
				require.Equal(t, vdi.PhaseRunning, w.phase())
				require.Equal(t, pod, w.server.objects[key{"Pod", team, desk}].as(w.scheme).(*corev1.Pod).UID, "the desktop that is restored")
			})
		})
		t.Run(name+", the session was suspended", func(t *testing.T) {
			script(t, func(t *testing.T, w *world) {
				w.newSession(func(*vdi.VDISession) {})
				w.settle()
				w.people.suspend(desk)
				then := len(w.server.log) // its desktop is still there
				w.settle()
				w.takeUp(then, order)
				require.Equal(t, vdi.PhaseSuspended, w.phase())
				require.False(t, w.has("Pod", desk), "the desktop")
			})
		})
		t.Run(name+", the session is deleted no more", func(t *testing.T) {
			script(t, func(t *testing.T, w *world) {
				w.newSession(func(s *vdi.VDISession) { s.Spec.Persistence.ReclaimPolicy = vdi.ReclaimDelete })
				w.settle()
				then := len(w.server.log)
				w.remove("user", w.people.session(desk))
				w.workOff()
				w.takeUp(then, order)
				require.Equal(t, vdi.PhaseRunning, w.phase())
				require.True(t, w.has("PersistentVolumeClaim", renderer.HomeClaimName(desk)), "the home")
			})
		})
	}
}

// takeUp restores a former state, of which the operator's caches learn one after the
// other.
func (w *world) takeUp(then int, order []string) {
	w.sleepUntil(time.Now().Add(time.Minute)) // while the API server is away
	w.server.restore(then)
	for _, i := range w.running[0].caches.informers {
		i.stuck = true
	}
	for _, kind := range order {
		w.informer(kind).stuck = false
		w.settle()
	}
	for _, i := range w.running[0].caches.informers {
		i.stuck = false
	}
	w.settle()
}

// A status that the API server has gone back to does not stay.
func TestRestoredStatus(t *testing.T) {
	script(t, func(t *testing.T, w *world) {
		w.newSession(func(s *vdi.VDISession) { s.Spec.Template = "missing" })
		then := len(w.server.log)
		w.settle()
		require.Equal(t, vdi.PhaseFailed, w.phase())
		w.takeUp(then, nil)
		require.Equal(t, vdi.PhaseFailed, w.phase())
	})
}

// What is taken back, because the desktop was used again, is no leave for another end to
// come without having been written down.
func TestUsedAgainWhileAnotherEndIsDue(t *testing.T) {
	script(t, func(t *testing.T, w *world) {
		v := w.server.objects[key{"VDITemplate", "", templateName}]
		plain := in[*vdi.VDITemplate](w, v)
		plain.Spec.Lifecycle = vdi.TemplateLifecycle{IdleTimeout: "30m", Timeout: "35m", TimeoutAction: vdi.TimeoutSuspend}
		w.replace("administrator", plain, false)
		w.newSession(func(*vdi.VDISession) {})
		w.settle()
		require.Equal(t, vdi.PhaseRunning, w.phase())
		suspended := func() bool {
			return w.people.session(desk).as(w.scheme).(*vdi.VDISession).Spec.RunPolicy == vdi.RunPolicySuspended
		}
		for !suspended() {
			if !w.workOff() {
				w.sleepUntil(w.nextDue())
				w.settleDown()
			}
		}
		w.replaceOperator(w.running[0])
		w.people.use(desk)
		w.sleepUntil(time.Now().Add(6 * time.Minute))
		w.settle()
		require.Equal(t, vdi.PhaseSuspended, w.phase())
		require.Equal(t, vdi.StopExpired, w.people.session(desk).as(w.scheme).(*vdi.VDISession).Status.StopReason)
	})
}

// What a life asks the API server itself beside its writes.
func TestLiveReads(t *testing.T) {
	script(t, func(t *testing.T, w *world) {
		reads := func(act func()) (found []string) {
			w.settle()
			w.calls = nil
			act()
			w.settle()
			for _, c := range w.calls {
				if c.verb == "get" || c.verb == "list" {
					found = append(found, c.verb+" "+c.what)
				}
			}
			return found
		}
		const session, way, budget = "get VDISession team/desk-1", "get IngressRoute team/desk-1", "get PodDisruptionBudget team/desk-1"
		require.Empty(t, reads(func() { w.newSession(func(*vdi.VDISession) {}) }), "a first start")
		require.Equal(t, []string{session, budget, way, session}, reads(func() { w.people.suspend(desk) }), "a stop")
		require.Equal(t, []string{"list Pod", "get Pod team/desk-1"}, reads(func() { w.people.resume(desk) }), "a resume")
		require.Equal(t, []string{
			session, "get PersistentVolumeClaim team/vdi-data-desk-1", "get time", session,
		}, reads(func() { w.remove("user", w.people.session(desk)) }), "an end")
	})
}
