package integration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

const (
	second = "second" // another session of the same user
	given  = "given"  // a claim that an administrator made for them
)

// onDesksHome is a second session whose home is that of the session desk.
func onDesksHome(s *vdi.VDISession) { onClaim(second, renderer.HomeClaimName(desk))(s) }

func onClaim(name, claim string) func(*vdi.VDISession) {
	return func(s *vdi.VDISession) { s.Name, s.Spec.Persistence.ExistingClaim = name, claim }
}

func ownHomeAgain(s *vdi.VDISession) { s.Spec.Persistence.ExistingClaim = "" }

// giveClaim makes a claim for Alice as an administrator does.
func (w *world) giveClaim(name string) *corev1.PersistentVolumeClaim {
	w.t.Helper()
	claim := claimNamed(w.ns, name)
	claim.Labels = map[string]string{wire.LabelHomeFor: platform.Identity(alice)}
	require.NoError(w.t, w.client.Create(w.ctx, claim))
	return claim
}

func (w *world) claim(name string) *corev1.PersistentVolumeClaim {
	w.t.Helper()
	claim := &corev1.PersistentVolumeClaim{}
	w.read(claim, name)
	return claim
}

// changeNamed edits a session as a person would.
func (w *world) changeNamed(name string, edit func(*vdi.VDISession)) {
	w.t.Helper()
	s := w.sessionNamed(name)
	before := s.DeepCopy()
	edit(s)
	require.NoError(w.t, w.client.Patch(w.ctx, s, client.MergeFrom(before)))
}

func (w *world) passes(name string) {
	w.t.Helper()
	_, err := w.passOf(name)
	require.NoError(w.t, err)
}

// startNamed brings a session up.
func (w *world) startNamed(name string) {
	w.t.Helper()
	w.passes(name)
	w.podStarts(name)
	w.passes(name)
	s := w.sessionNamed(name)
	require.Equal(w.t, vdi.PhaseRunning, s.Status.Phase, s.Status.Message)
}

func (w *world) suspendNamed(name string) {
	w.t.Helper()
	w.changeNamed(name, suspend)
	w.passes(name)
	w.podEnds(name)
	w.passes(name)
	require.Equal(w.t, vdi.PhaseSuspended, w.sessionNamed(name).Status.Phase)
}

// deleteNamed deletes a session and plays its end.
func (w *world) deleteNamed(name string) {
	w.t.Helper()
	require.NoError(w.t, w.client.Delete(w.ctx, w.sessionNamed(name)))
	w.passes(name)
	w.podEnds(name)
	w.passes(name)
	require.False(w.t, w.exists(&vdi.VDISession{}, name), "it is gone")
}

func metaNamed(ns, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: ns, Name: name}
}

// podOn is a pod of somebody else that mounts a claim.
func (w *world) podOn(name, claim string) {
	w.t.Helper()
	pod := &corev1.Pod{ObjectMeta: metaNamed(w.ns, name)}
	pod.Spec.Containers = []corev1.Container{{Name: "c", Image: image}}
	pod.Spec.Volumes = []corev1.Volume{{Name: "home", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
	}}}
	require.NoError(w.t, w.client.Create(w.ctx, pod))
}

// writersOf are the pods on a claim that have not ended.
func (w *world) writersOf(claim string) []string {
	w.t.Helper()
	pods := &corev1.PodList{}
	require.NoError(w.t, w.client.List(w.ctx, pods, client.InNamespace(w.ns)))
	names := []string{}
	for i := range pods.Items {
		for _, mounted := range homes.ClaimsOf(&pods.Items[i]) {
			if mounted == claim {
				names = append(names, pods.Items[i].Name)
			}
		}
	}
	return names
}

// TestADeletionTakesNoOtherHome: a session deletes only the home that carries its
// own name, whatever its spec named before.
func TestADeletionTakesNoOtherHome(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hadOwn bool // it ran on its own home before
		away   func(*world)
		back   bool // the first session starts again before
	}{
		"nothing between":            {false, func(*world) {}, false},
		"it had a home of its own":   {true, func(*world) {}, false},
		"the template is missing":    {false, (*world).deleteTemplate, false},
		"a look between":             {false, func(w *world) { w.passes(second) }, false},
		"the first session is back":  {false, func(*world) {}, true},
		"the operator was restarted": {true, (*world).restart, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.running()
			alices := w.home().UID
			w.suspendNamed(desk)
			if c.hadOwn {
				w.createSession(func(s *vdi.VDISession) { s.Name = second }, deleteHome)
				w.startNamed(second)
				w.suspendNamed(second)
				w.changeNamed(second, func(s *vdi.VDISession) { resume(s); onDesksHome(s) })
			} else {
				w.createSession(onDesksHome, deleteHome)
			}
			w.startNamed(second)
			require.Equal(t, alices, w.sessionNamed(second).Status.Home.UID)
			w.suspendNamed(second)
			if c.back {
				w.change(resume)
				w.start()
			}
			w.changeNamed(second, ownHomeAgain)
			c.away(w)
			w.deleteNamed(second)
			require.True(t, w.homeExists())
			require.Equal(t, alices, w.home().UID, "the other session's home is left alone")
		})
	}
}

// TestAHomeThatAnotherHasIsNotDeleted: a home goes with its session only while no
// other of its user has it. Strangers do not count.
func TestAHomeThatAnotherHasIsNotDeleted(t *testing.T) {
	t.Parallel()
	t.Run("another session runs on it and names it no longer", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running(deleteHome)
		w.suspendNamed(desk)
		w.createSession(onDesksHome)
		w.startNamed(second)
		w.changeNamed(second, ownHomeAgain)
		w.deleteNamed(desk)
		require.True(t, w.homeExists(), "its pod still writes to it")
	})
	t.Run("another session's desktop is on it since before holders were known", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running(deleteHome)
		w.suspendNamed(desk)
		w.createSession(onDesksHome)
		w.startNamed(second)
		claim := w.home()
		homes.Release(claim)
		require.NoError(t, w.overwrite(claim))
		w.changeNamed(second, ownHomeAgain)
		w.deleteNamed(desk)
		require.True(t, w.homeExists())
	})
	t.Run("a stranger names it", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running(deleteHome)
		w.createSession(func(s *vdi.VDISession) { onDesksHome(s); s.Spec.User = "mallory@example.com" })
		w.passes(second)
		w.deleteNamed(desk)
		require.False(t, w.homeExists(), "who could not use it keeps nobody from deleting it")
	})
	t.Run("a stranger names one that was left", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.leftHome(keptFor("720h"))
		w.createSession(func(s *vdi.VDISession) { onDesksHome(s); s.Spec.User = "mallory@example.com" })
		w.createSession(func(s *vdi.VDISession) { s.Spec.User = "mallory@example.com" })
		w.outlived()
		w.lookAtHome()
		require.False(t, w.homeExists())
	})
}

// TestOneDesktopPerHome: a second session of the same user that appears at any
// write of a start, and is looked at by another operator, gets no desktop on the
// same home while the first has one.
func TestOneDesktopPerHome(t *testing.T) {
	t.Parallel()
	plane := sharedPlane(t)
	for name, way := range map[string]struct {
		before func(*world)
		claim  string
	}{
		"a first start": {func(*world) {}, renderer.HomeClaimName(desk)},
		"a resume": {func(w *world) {
			w.start()
			w.suspendNamed(desk)
			w.change(resume)
		}, renderer.HomeClaimName(desk)},
		"a start on an existing claim": {func(w *world) {
			w.giveClaim(given)
			w.change(func(s *vdi.VDISession) { s.Spec.Persistence.ExistingClaim = given })
		}, given},
	} {
		// begin starts the session desk; the second one comes at the nth write.
		begin := func(t *testing.T, at int) (writes int) {
			w := newWorld(t)
			w.createTemplate()
			w.createSession()
			way.before(w)
			other := w.newOperator(w.client)
			look := func() {
				for range 3 {
					_, _ = other.Reconcile(w.ctx, request(w.ns, second)) // a loser's error is retried
				}
			}
			r := newRacer(plane.admin, at, func() {
				w.createSession(onClaim(second, way.claim))
				look()
			})
			w.operator = w.newOperator(r)
			for range 3 {
				_, _ = w.operator.Reconcile(w.ctx, request(w.ns, desk))
				require.LessOrEqual(t, len(w.writersOf(way.claim)), 1, "%v", w.writersOf(way.claim))
			}
			if at > 0 {
				look()
				require.Len(t, w.writersOf(way.claim), 1)
			}
			return r.writes
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			writes := begin(t, 0)
			require.Positive(t, writes)
			for k := 1; k <= writes; k++ {
				t.Run(fmt.Sprintf("write %d", k), func(t *testing.T) {
					t.Parallel()
					begin(t, k)
				})
			}
		})
	}
}

// TestManyOperatorsOneHome: several operators that start several sessions on one
// claim at once make one desktop.
func TestManyOperatorsOneHome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate()
	w.giveClaim(given)
	names := []string{"one", "two", "three", "four"}
	for _, name := range names {
		w.createSession(onClaim(name, given))
	}
	for range 5 {
		var group sync.WaitGroup
		for _, name := range names {
			operator := w.newOperator(w.client)
			group.Go(func() { _, _ = operator.Reconcile(w.ctx, request(w.ns, name)) })
		}
		group.Wait()
		require.LessOrEqual(t, len(w.writersOf(given)), 1)
	}
	writers := w.writersOf(given)
	require.Len(t, writers, 1)
	require.Equal(t, w.sessionNamed(writers[0]).UID, homes.HolderOf(w.claim(given)))
}

func TestHolder(t *testing.T) {
	t.Parallel()
	holder := func(w *world, claim string) types.UID { return homes.HolderOf(w.claim(claim)) }
	own := renderer.HomeClaimName(desk)
	t.Run("a first start asks for no list and writes nothing more", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		lists := 0
		w.operator.Live = interceptor.NewClient(sharedPlane(t).admin, interceptor.Funcs{
			List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
				lists++
				return c.List(ctx, list, opts...)
			},
		})
		w.running()
		require.Zero(t, lists)
		require.Equal(t, string(w.session().UID)+"/1", w.home().Annotations[wire.AnnotationHolder])
		w.suspendNamed(desk)
		w.change(resume)
		w.start()
		require.Equal(t, 1, lists, "a resume asks once")
	})
	t.Run("is released when the desktop stops, and not before its pod is gone", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running()
		w.change(suspend)
		w.pass()
		require.Equal(t, w.session().UID, holder(w, own), "the pod may still write to it")
		w.podEnds(desk)
		w.pass()
		require.Empty(t, holder(w, own))
		version := w.home().ResourceVersion
		w.pass()
		w.restart()
		w.pass()
		require.Equal(t, version, w.home().ResourceVersion)
	})
	t.Run("stays through a restart of the desktop", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running()
		require.NoError(t, w.evict())
		w.podEnds(desk)
		w.createSession(onDesksHome)
		w.passes(second)
		require.False(t, w.exists(&corev1.Pod{}, second), "the desktop that was evicted has it first")
		require.Contains(t, w.sessionNamed(second).Status.Message, `in use by the desktop "desk"`)
		w.start()
		for run := 2; run < 4; run++ {
			require.Equal(t, fmt.Sprintf("%s/%d", w.session().UID, run), w.home().Annotations[wire.AnnotationHolder], "held anew for each start")
			require.NoError(t, w.evict())
			w.podEnds(desk)
			w.start()
		}
	})
	t.Run("is held once while the cluster refuses the pod", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.createTemplate()
		w.createSession()
		w.imposeQuota(corev1.ResourcePods, "0")
		for range 4 {
			w.pass()
		}
		require.False(t, w.podExists())
		require.Equal(t, string(w.session().UID)+"/2", w.home().Annotations[wire.AnnotationHolder], "with its claim, and again when the claim was there")
		w.change(suspend)
		w.pass()
		require.Empty(t, holder(w, own), "who stops waiting holds nothing")
	})
	t.Run("that is not accepted any more keeps its home from nobody", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running()
		w.deleteTemplate()
		require.NoError(t, w.evict())
		w.podEnds(desk)
		w.pass()
		w.requirePhase(vdi.PhaseFailed)
		require.Empty(t, holder(w, own))
		w.createTemplate()
		w.start()
	})
	t.Run("a stop does not depend on its release", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running()
		w.operator.Client = interceptor.NewClient(sharedPlane(t).admin, interceptor.Funcs{
			Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
				if _, isClaim := o.(*corev1.PersistentVolumeClaim); isClaim {
					return errors.New("a webhook is down")
				}
				return c.Patch(ctx, o, p, opts...)
			},
		})
		w.change(suspend)
		w.pass()
		w.podEnds(desk)
		require.Equal(t, time.Minute, w.pass().RequeueAfter)
		w.requirePhase(vdi.PhaseSuspended)
		w.operator.Client = w.client
		w.pass()
		require.Empty(t, holder(w, own))
	})
	t.Run("is released when the session is deleted", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running()
		w.deleteNamed(desk)
		require.Empty(t, holder(w, own))
		require.Len(t, w.retained(), 1)
	})
	t.Run("is released when another home is chosen", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running()
		w.giveClaim(given)
		w.change(func(s *vdi.VDISession) { s.Spec.Persistence.ExistingClaim = given })
		w.pass()
		require.Equal(t, own, w.session().Status.Home.ClaimName, "what is mounted counts")
		require.Equal(t, w.session().UID, holder(w, own))
		require.NoError(t, w.evict())
		w.podEnds(desk)
		w.start()
		require.Empty(t, holder(w, own))
		require.Equal(t, w.session().UID, holder(w, given))
		require.Equal(t, given, w.session().Status.Home.ClaimName)

		w.change(noHome)
		require.NoError(t, w.evict())
		w.podEnds(desk)
		w.start()
		require.Empty(t, holder(w, given))
	})
	t.Run("of an existing claim: nothing else of it is written", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.createTemplate()
		before := w.giveClaim(given)
		w.createSession(onClaim(desk, given), func(s *vdi.VDISession) { s.Spec.Persistence.Size = "500Gi" }, deleteHome)
		w.start()
		now := w.claim(given)
		require.Equal(t, w.session().UID, homes.HolderOf(now))
		require.Equal(t, before.UID, w.session().Status.Home.UID, "recorded at the first start")
		same := func(now *corev1.PersistentVolumeClaim) {
			annotations := maps.Clone(now.Annotations)
			delete(annotations, wire.AnnotationHolder)
			require.Equal(t, before.Labels, now.Labels)
			require.Equal(t, len(before.Annotations), len(annotations))
			require.Equal(t, before.Spec, now.Spec)
			require.Empty(t, now.OwnerReferences)
		}
		same(now)
		w.suspendNamed(desk)
		require.Empty(t, holder(w, given))
		w.restart()
		w.change(resume)
		w.start()
		w.deleteNamed(desk)
		require.Empty(t, holder(w, given))
		same(w.claim(given))
		require.Nil(t, w.claim(given).DeletionTimestamp)
	})
	t.Run("that has neither session nor pod is free", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running()
		w.suspendNamed(desk)
		claim := w.home()
		homes.Hold(claim, "11111111-2222-3333-4444-555555555555") // as a backup of another cluster brings it
		require.NoError(t, w.overwrite(claim))
		w.change(resume)
		w.start()
		require.Equal(t, w.session().UID, holder(w, own))
	})
	t.Run("that died between the claim and its status is no obstacle", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.createTemplate()
		w.giveClaim(given)
		w.createSession(onClaim(desk, given))
		for k := 1; homes.HolderOf(w.claim(given)) == ""; k++ {
			require.Less(t, k, 30, "no write makes it the holder")
			w.operator = w.newOperator(newMortal(sharedPlane(t).admin, k, true))
			_, _ = w.operator.Reconcile(w.ctx, request(w.ns, desk))
		}
		require.False(t, w.podExists())
		w.restart()
		w.change(func(s *vdi.VDISession) { s.Spec.Persistence.ExistingClaim = "" })
		w.createSession(onClaim(second, given))
		w.passes(second)
		require.False(t, w.exists(&corev1.Pod{}, second), "nobody has looked at the first session since it changed")
		w.pass()
		w.passes(second)
		require.True(t, w.exists(&corev1.Pod{}, second))
	})
	t.Run("suspended after such a death lets go of it", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.createTemplate()
		w.giveClaim(given)
		w.createSession(onClaim(desk, given))
		w.start()
		w.suspendNamed(desk)
		claim := w.claim(given)
		homes.Hold(claim, w.session().UID) // a resume that died before its pod and was taken back
		require.NoError(t, w.overwrite(claim))
		w.restart()
		w.pass()
		require.Empty(t, holder(w, given))
	})
	t.Run("a pod of somebody else on an ordinary home", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running()
		w.suspendNamed(desk)
		w.podOn("backup", own)
		w.change(resume)
		require.Equal(t, time.Minute, w.pass().RequeueAfter, "nobody reports its end")
		s := w.requirePhase(vdi.PhasePending)
		require.Equal(t, vdi.WaitingForVolume, s.Status.WaitingFor)
		require.Contains(t, s.Status.Message, `in use by the pod "backup", which is no desktop of this platform`)
		require.Empty(t, holder(w, own), "who waits holds nothing")
		version := w.home().ResourceVersion
		w.pass()
		require.Equal(t, version, w.home().ResourceVersion, "waiting writes nothing")
		w.podEnds("backup")
		w.start()
	})
	t.Run("a desktop of an older operator, which knows no holder", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running()
		claim := w.home()
		homes.Release(claim)
		require.NoError(t, w.overwrite(claim))
		w.createSession(onDesksHome)
		w.passes(second)
		require.False(t, w.exists(&corev1.Pod{}, second))
		require.Contains(t, w.sessionNamed(second).Status.Message, `in use by the desktop "desk"`)
		require.Empty(t, holder(w, own))
		require.NoError(t, w.evict())
		w.podEnds(desk)
		w.start()
	})
	t.Run("a desktop that comes later is reported", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running()
		pod := &corev1.Pod{ObjectMeta: metaNamed(w.ns, "late")}
		pod.Labels = map[string]string{"app.kubernetes.io/name": "vdi-session", "app.kubernetes.io/managed-by": "vdi-operator"}
		pod.Spec.Containers = []corev1.Container{{Name: "c", Image: image}}
		pod.Spec.Volumes = w.pod().Spec.Volumes[:1]
		require.NoError(t, w.client.Create(w.ctx, pod))
		w.pass()
		w.requirePhase(vdi.PhaseRunning)
		require.Contains(t, w.requireCondition(vdi.ConditionHomeReady, "True", vdi.ReasonHomeInUse).Message, `the pod "late" uses it too`)
		w.podEnds("late")
		w.pass()
		w.requireCondition(vdi.ConditionHomeReady, "True", vdi.ReasonAsExpected)
	})
	t.Run("a desktop that the cache does not show is not started again", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running()
		w.suspendNamed(desk)
		stale := w.session()
		w.change(resume)
		w.start()
		password := w.password()
		w.restart()
		w.operator.Client = interceptor.NewClient(sharedPlane(t).admin, interceptor.Funcs{
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
				switch o := o.(type) {
				case *corev1.Pod:
					key.Name = "not-in-the-cache-yet"
				case *vdi.VDISession:
					stale.DeepCopyInto(o)
					resume(o)
					return nil
				}
				return c.Get(ctx, key, o, opts...)
			},
		})
		result, err := w.operator.Reconcile(w.ctx, request(w.ns, desk))
		require.NoError(t, err)
		require.Positive(t, result.RequeueAfter, "looked at again in a moment")
		require.Equal(t, password, w.password(), "the running desktop keeps its password")
		require.Equal(t, w.session().UID, holder(w, own))
	})
}

// TestReleasedHomeWakes: who waits for a claim that is not watched is woken when
// its holder is suspended, well before the next retry.
func TestReleasedHomeWakes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operates()
	w.createTemplate()
	w.giveClaim(given)
	w.createSession(onClaim(desk, given))
	w.eventually(w.podExists, "a desktop is made")
	w.podStarts(desk)
	w.eventually(w.isRunning, "the session runs")
	w.createSession(onClaim(second, given))
	w.eventually(func() bool {
		return condition(w.sessionNamed(second), vdi.ConditionHomeReady).Reason == vdi.ReasonHomeInUse
	}, "the second waits")
	w.change(suspend)
	w.eventually(func() bool { return !w.podExists() || w.pod().DeletionTimestamp != nil }, "the first stops")
	w.podEnds(desk)
	require.Eventually(t, func() bool { return w.exists(&corev1.Pod{}, second) }, 45*time.Second, glance, "the second starts before a retry is due")
	require.Equal(t, w.sessionNamed(second).UID, homes.HolderOf(w.claim(given)))
}
