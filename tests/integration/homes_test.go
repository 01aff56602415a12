package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/run"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

const month = 720 * time.Hour

func keptFor(d vdi.Duration) func(*vdi.VDISession) {
	return func(s *vdi.VDISession) { s.Spec.Persistence.RetainFor = d }
}

// homesOf is the controller of homes, with a client of its own.
func (w *world) homesOf(c client.Client) *homes.Reconciler {
	return &homes.Reconciler{
		Client: c, Live: c, Clock: w.clock, Events: w.events,
		ServerTime: func(context.Context) (time.Time, error) { return w.serverTime(), nil },
	}
}

// lookAtHome is one look at the home of the session desk.
func (w *world) lookAtHome() ctrl.Result {
	w.t.Helper()
	result, err := w.homesOf(w.client).Reconcile(w.ctx, request(w.ns, renderer.HomeClaimName(desk)))
	require.NoError(w.t, err)
	return result
}

// leftHome is the home of the session desk, which a person has deleted.
func (w *world) leftHome(changes ...func(*vdi.VDISession)) *corev1.PersistentVolumeClaim {
	w.t.Helper()
	w.running(changes...)
	w.leftByPerson()
	return w.home()
}

func (w *world) leftByPerson() {
	w.t.Helper()
	w.deleteSession()
	w.leave()
	w.eventually(func() bool { return len(w.existing()) == 1 }, "the children go")
}

// retained are the homes that `kubectl get pvc -l vdi.kasm.io/retained` shows.
func (w *world) retained() []string {
	w.t.Helper()
	list := &corev1.PersistentVolumeClaimList{}
	require.NoError(w.t, w.client.List(w.ctx, list, client.InNamespace(w.ns), client.HasLabels{wire.LabelRetained}))
	names := []string{}
	for _, claim := range list.Items {
		names = append(names, claim.Name)
	}
	return names
}

// outlived lets the time of a home pass, with its announcement.
func (w *world) outlived() {
	w.t.Helper()
	w.later(w.lookAtHome().RequeueAfter)
	w.later(w.lookAtHome().RequeueAfter)
}

func TestRetainedHomeEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.running(keptFor("720h"))
	require.Equal(t, month.String(), w.session().Status.Home.RetainFor)
	require.Empty(t, w.retained(), "a session has it")
	w.leftByPerson()
	require.Equal(t, []string{renderer.HomeClaimName(desk)}, w.retained())
	require.Equal(t, platform.Identity(alice), w.home().Labels[wire.LabelUser], "and whose it is")

	wait := w.lookAtHome().RequeueAfter
	require.Equal(t, month*9/10, wait.Round(time.Minute), "the announcement is the next deadline")
	w.later(wait - time.Minute)
	w.events.forget()
	w.lookAtHome()
	require.Empty(t, w.events.all())

	w.later(time.Minute)
	require.Equal(t, month/10, w.lookAtHome().RequeueAfter.Round(time.Minute), "the end is the next deadline")
	require.Contains(t, w.events.all(), "Warning HomeDeletionSoon The session desk left this home on ")
	w.events.forget()
	w.later(month/10 - time.Minute)
	version := w.home().ResourceVersion
	w.lookAtHome()
	require.Equal(t, version, w.home().ResourceVersion, "announced once")

	w.later(2 * time.Minute)
	w.lookAtHome()
	require.False(t, w.homeExists())
	require.Contains(t, w.events.all(), "Warning HomeDeleted")
	require.NotContains(t, w.events.all(), "alice")
	w.eventually(func() bool { return !w.exists(&corev1.PersistentVolumeClaim{}, renderer.HomeClaimName(desk)) }, "the volume's protection lets go")
}

func TestRetainedHomeIsKept(t *testing.T) {
	t.Parallel()
	t.Run("for ever by default", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.leftHome()
		require.Zero(t, w.lookAtHome().RequeueAfter, "there is no deadline")
		w.later(100000 * time.Hour)
		w.lookAtHome()
		require.True(t, w.homeExists())
		require.Len(t, w.retained(), 1)
	})
	t.Run("as long as the template says, unless the session says otherwise", func(t *testing.T) {
		t.Parallel()
		for name, c := range map[string]struct {
			wish vdi.Duration
			want string
		}{"the template's": {"", "240h0m0s"}, "the session's": {"24h", "24h0m0s"}, "for ever": {"0", ""}} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.createTemplate(func(t *vdi.VDITemplate) { t.Spec.Lifecycle.RetainHomesFor = "240h" })
				w.createSession(keptFor(c.wish))
				w.start()
				w.leftByPerson()
				require.Equal(t, c.want, w.home().Annotations[wire.AnnotationRetainFor])
				w.changeTemplate(func(t *vdi.VDITemplate) { t.Spec.Lifecycle.RetainHomesFor = "1h" })
				require.Equal(t, c.want, w.home().Annotations[wire.AnnotationRetainFor], "what was recorded holds")
			})
		}
	})
	t.Run("when its session expires, whatever the reclaim policy", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running(deleteHome, keptFor("720h"))
		w.comesToItsEnd()
		w.pass()
		w.leave()
		require.True(t, w.homeExists())
		require.Equal(t, month.String(), w.home().Annotations[wire.AnnotationRetainFor])
		since, err := time.Parse(time.RFC3339, w.home().Annotations[wire.AnnotationRetainedSince])
		require.NoError(t, err)
		require.WithinDuration(t, w.clock.Now(), since, time.Second, "from the moment it was left")
	})
	t.Run("when persistence was switched off before the end", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running(deleteHome, keptFor("1h"))
		w.change(noHome)
		w.pass()
		w.leftByPerson()
		require.Len(t, w.retained(), 1)
		w.later(100000 * time.Hour)
		w.lookAtHome()
		require.True(t, w.homeExists(), "nobody said how long to keep what was switched off")
	})
	t.Run("when an administrator takes the end away", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		home := w.leftHome(keptFor("1h"))
		before := home.DeepCopy()
		delete(home.Annotations, wire.AnnotationRetainFor)
		require.NoError(t, w.client.Patch(w.ctx, home, client.MergeFrom(before)))
		w.later(1000 * time.Hour)
		require.Zero(t, w.lookAtHome().RequeueAfter)
		require.True(t, w.homeExists())
	})
	t.Run("when the operator's clock runs ahead", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.leftHome(keptFor("720h"))
		w.events.forget()
		honest := w.clock.Now()
		w.serverTime = func() time.Time { return honest }
		w.later(100 * month)
		require.Equal(t, month*9/10, w.lookAtHome().RequeueAfter.Round(time.Minute))
		require.True(t, w.homeExists())
		require.Empty(t, w.events.all())
	})
	t.Run("until it has been announced, however late", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.leftHome(keptFor("720h"))
		w.later(100 * month) // no operator was running
		wait := w.lookAtHome().RequeueAfter
		require.Equal(t, month/10, wait.Round(time.Minute))
		require.True(t, w.homeExists())
		w.later(wait)
		w.lookAtHome()
		require.False(t, w.homeExists())
	})
	t.Run("while a pod uses it, of whomever; then its time begins anew", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.leftHome(keptFor("720h"))
		backup := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "backup", Namespace: w.ns}}
		backup.Spec.Containers = []corev1.Container{{Name: "backup", Image: image}}
		backup.Spec.Volumes = []corev1.Volume{{Name: "home", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: renderer.HomeClaimName(desk)},
		}}}
		require.NoError(t, w.client.Create(w.ctx, backup))
		w.outlived()
		require.Equal(t, month*9/10, w.lookAtHome().RequeueAfter.Round(time.Minute))
		require.True(t, w.homeExists())
		require.Contains(t, w.events.all(), "Normal HomeInUse")

		w.podEnds("backup")
		w.outlived()
		w.lookAtHome()
		require.False(t, w.homeExists())
	})
	t.Run("when its session could not mark it", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running(keptFor("1h"))
		w.change(func(s *vdi.VDISession) { s.Finalizers = nil }) // as an uninstall does
		w.deleteSession()
		w.podEnds(desk)
		w.eventually(func() bool { return !w.sessionExists() }, "the session goes")
		w.lookAtHome()
		require.Len(t, w.retained(), 1)
		w.later(100000 * time.Hour)
		require.Zero(t, w.lookAtHome().RequeueAfter)
		require.True(t, w.homeExists())
	})
}

func TestRetainedHomeIsTakenBack(t *testing.T) {
	t.Parallel()
	t.Run("by the same user and name", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		home := w.leftHome(keptFor("720h"))
		w.later(w.lookAtHome().RequeueAfter)
		w.lookAtHome()
		require.NotEmpty(t, w.home().Annotations[wire.AnnotationDeletionWarned])
		w.createSession(keptFor("720h"))
		w.start()
		require.Equal(t, home.UID, w.home().UID)
		require.Empty(t, w.retained())
		for _, key := range []string{wire.AnnotationRetainedSince, wire.AnnotationRetainFor, wire.AnnotationRetainedUID, wire.AnnotationDeletionWarned} {
			require.NotContains(t, w.home().Annotations, key)
		}
		w.later(100 * month)
		require.Zero(t, w.lookAtHome().RequeueAfter)
		require.True(t, w.homeExists())

		w.leftByPerson()
		require.Equal(t, month*9/10, w.lookAtHome().RequeueAfter.Round(time.Minute), "its time begins anew")
	})
	t.Run("in the last moment, between the look and the delete", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		home := w.leftHome(keptFor("720h"))
		w.outlived()
		late := interceptor.NewClient(sharedPlane(t).admin, interceptor.Funcs{
			Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
				w.createSession()
				w.start()
				return c.Delete(ctx, o, opts...)
			},
		})
		result, err := w.homesOf(late).Reconcile(w.ctx, request(w.ns, home.Name))
		require.NoError(t, err)
		require.Positive(t, result.RequeueAfter, "looked at again")
		require.True(t, w.homeExists())
		require.Equal(t, home.UID, w.home().UID)
		require.NotContains(t, w.events.all(), "HomeDeleted")
		w.lookAtHome()
		require.True(t, w.homeExists())
	})
	t.Run("by another session of the same user, as its existing claim", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.leftHome(keptFor("720h"))
		w.outlived()
		w.createSession(func(s *vdi.VDISession) {
			s.Name, s.Spec.Persistence.ExistingClaim, s.Spec.RunPolicy = "second", renderer.HomeClaimName(desk), vdi.RunPolicySuspended
		})
		w.lookAtHome()
		require.True(t, w.homeExists(), "also a session that does not run has its home")
		second := w.sessionNamed("second")
		before := second.DeepCopy()
		second.Spec.RunPolicy = vdi.RunPolicyRunning
		require.NoError(t, w.client.Patch(w.ctx, second, client.MergeFrom(before)))
		_, err := w.passOf("second")
		require.NoError(t, err)
		require.True(t, w.exists(&corev1.Pod{}, "second"))
		require.Empty(t, w.retained())
		require.NoError(t, w.client.Delete(w.ctx, w.sessionNamed("second")))
		for range 3 {
			_, err := w.passOf("second")
			require.NoError(t, err)
			w.podEnds("second")
		}
		w.later(100 * month)
		w.lookAtHome()
		require.Len(t, w.retained(), 1, "listed again")
		require.Zero(t, w.lookAtHome().RequeueAfter, "and nobody said for how long")
		require.True(t, w.homeExists())
	})
	t.Run("never by another user", func(t *testing.T) {
		t.Parallel()
		for name, policy := range map[string]vdi.RunPolicy{"running": vdi.RunPolicyRunning, "suspended": vdi.RunPolicySuspended} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				home := w.leftHome(keptFor("720h"))
				w.createSession(deleteHome, func(s *vdi.VDISession) {
					s.Spec.User, s.Spec.RunPolicy, s.Spec.Persistence.Size = "mallory@example.com", policy, "100Gi"
				})
				for range 3 {
					w.pass()
				}
				require.False(t, w.podExists())
				w.deleteSession()
				w.leave()
				require.True(t, w.homeExists(), "a stranger's reclaimPolicy deletes nothing of Alice's")
				require.Equal(t, home.UID, w.home().UID)
				require.Equal(t, home.Annotations, w.home().Annotations, "nor does it change how long it is kept")
				require.Equal(t, home.Spec.Resources, w.home().Spec.Resources)
				require.Len(t, w.retained(), 1)
			})
		}
	})
	t.Run("not while it is being deleted: then there is a new one", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		home := w.leftHome(keptFor("720h"))
		before := home.DeepCopy()
		home.Finalizers = append(home.Finalizers, "test.vdi.kasm.io/hold")
		require.NoError(t, w.client.Patch(w.ctx, home, client.MergeFrom(before)))
		w.outlived()
		w.lookAtHome()
		require.False(t, w.homeExists())
		w.createSession()
		w.pass()
		s := w.requirePhase(vdi.PhasePending)
		require.Equal(t, vdi.WaitingForVolume, s.Status.WaitingFor, s.Status.Message)
		require.False(t, w.podExists())
		held := w.home()
		before = held.DeepCopy()
		held.Finalizers = nil
		require.NoError(t, w.client.Patch(w.ctx, held, client.MergeFrom(before)))
		w.start()
		require.NotEqual(t, home.UID, w.home().UID)
	})
}

func TestForeignClaimsAreNotMarked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate()
	given := claimNamed(w.ns, renderer.HomeClaimName(desk))
	given.Labels = map[string]string{wire.LabelHomeFor: platform.Identity(alice)}
	require.NoError(t, w.client.Create(w.ctx, given))
	w.createSession(keptFor("1h"))
	w.start()
	w.leftByPerson()
	require.Empty(t, w.retained())
	w.later(1000 * time.Hour)
	require.Zero(t, w.lookAtHome().RequeueAfter)
	require.True(t, w.homeExists())
}

// TestHomesDieAtEveryWrite: an operator that dies before or after any write of a
// home's end neither deletes it early or unannounced nor forgets it.
func TestHomesDieAtEveryWrite(t *testing.T) {
	t.Parallel()
	plane := sharedPlane(t)
	// live takes a home to its end and tells how many writes that took.
	live := func(t *testing.T, dieAt int, after bool) int {
		w := newWorld(t)
		w.leftHome(keptFor("720h"))
		left := w.clock.Now()
		w.events.forget()
		m := newMortal(plane.admin, dieAt, after)
		for range 10 {
			result, err := w.homesOf(m).Reconcile(w.ctx, request(w.ns, renderer.HomeClaimName(desk)))
			if !w.homeExists() {
				require.GreaterOrEqual(t, w.clock.Now().Sub(left), month)
				require.Contains(t, w.events.all(), "HomeDeletionSoon")
				return m.writes
			}
			if m.dead {
				m = newMortal(plane.admin, 0, false) // the next one remembers nothing
				continue
			}
			require.NoError(t, err)
			w.later(result.RequeueAfter)
		}
		require.Fail(t, "the home is forgotten")
		return 0
	}
	writes := live(t, 0, false)
	require.Equal(t, 2, writes, "the announcement and the delete")
	for k := 1; k <= writes; k++ {
		for when, after := range map[string]bool{"before": false, "after": true} {
			t.Run(fmt.Sprintf("%s write %d", when, k), func(t *testing.T) {
				t.Parallel()
				live(t, k, after)
			})
		}
	}
}

func TestRetainForIsADuration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, wish := range []vdi.Duration{"30d", "-1h", "forever"} {
		err := w.client.Create(w.ctx, w.newSession(keptFor(wish)))
		require.ErrorContains(t, err, "spec.persistence.retainFor")
		require.ErrorContains(t, err, "must be a duration such as 30m, 8h or 1h30m")
	}
	for _, wish := range []vdi.Duration{"", "0", "720h"} {
		s := w.newSession(keptFor(wish))
		require.NoError(t, w.client.Create(w.ctx, s))
		require.NoError(t, w.client.Delete(w.ctx, s))
	}
}

// operates runs the whole operator in the world's namespace until the test ends.
func (w *world) operates() installed {
	w.t.Helper()
	in, _ := w.operatesUntil()
	return in
}

// operatesUntil runs it until it is stopped, at the test's end at the latest.
func (w *world) operatesUntil() (in installed, stop func()) {
	w.t.Helper()
	settings := filepath.Join(w.t.TempDir(), "config.yaml")
	require.NoError(w.t, os.WriteFile(settings, []byte("sessions: {domain: vdi.example.com, verifyRoute: false}\n"), 0o600))
	registry := prometheus.NewRegistry()
	manager, err := run.New(w.ctx, sharedPlane(w.t).RESTConfig(), run.Options{
		Config: settings, Namespace: w.ns, WatchNamespaces: w.ns, Workers: 2, Registry: registry,
		MetricsAddress: "0", HealthAddress: "0",
	})
	require.NoError(w.t, err)
	running, end := context.WithCancel(context.WithoutCancel(w.ctx))
	ended := make(chan error, 1)
	go func() { ended <- manager.Start(running) }()
	stop = sync.OnceFunc(func() {
		end()
		require.NoError(w.t, <-ended)
	})
	w.t.Cleanup(stop)
	return installed{registry: registry}, stop
}

// TestHomesByThemselves: watches and timers do what the tests above did by hand.
func TestHomesByThemselves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in := w.operates()
	w.createTemplate()
	w.createSession(keptFor("6s"))
	w.eventually(w.podExists, "a desktop is made")
	w.podStarts(desk)
	w.eventually(w.isRunning, "the session runs")
	require.Zero(t, in.gauge(t, "vdi_homes_retained"))
	w.deleteSession()
	w.podEnds(desk)
	w.eventually(func() bool { return len(w.retained()) == 1 }, "the home is listed")
	w.eventually(func() bool { return in.gauge(t, "vdi_homes_retained") == 1 }, "and counted")
	require.Equal(t, float64(10<<30), in.gauge(t, "vdi_homes_retained_bytes"))
	w.eventually(func() bool { return !w.homeExists() }, "and goes in the end")
	for _, reason := range []string{"HomeDeletionSoon", "HomeDeleted"} {
		w.eventually(func() bool { return w.wasToldOfHome(reason) }, reason)
	}
	w.eventually(func() bool { return in.gauge(t, "vdi_homes_retained") == 0 }, "nothing is left")
}

// TestHolderLetsGo: who waits for a home is woken by the end of its holder.
func TestHolderLetsGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operates()
	w.createTemplate()
	w.createSession(deleteHome)
	w.eventually(w.podExists, "a desktop is made")
	w.podStarts(desk)
	w.eventually(w.isRunning, "the session runs")
	w.createSession(func(s *vdi.VDISession) {
		s.Name, s.Spec.Persistence.ExistingClaim = "second", renderer.HomeClaimName(desk)
	})
	w.eventually(func() bool {
		return condition(w.sessionNamed("second"), vdi.ConditionHomeReady).Reason == vdi.ReasonHomeInUse
	}, "the second waits")
	second := w.sessionNamed("second")
	require.Equal(t, vdi.WaitingForVolume, second.Status.WaitingFor)
	require.Contains(t, second.Status.Message, `in use by the desktop "desk"`)
	w.deleteSession()
	w.eventually(func() bool { return !w.podExists() || w.pod().DeletionTimestamp != nil }, "the first is told to end")
	require.False(t, w.exists(&corev1.Pod{}, "second"), "it may still write to the home")
	w.podEnds(desk)
	w.eventually(func() bool { return w.exists(&corev1.Pod{}, "second") }, "the second starts")
	w.eventually(func() bool { return !w.sessionExists() }, "the first goes")
	require.True(t, w.homeExists(), "and leaves the second its home, whatever its policy")
	require.Empty(t, w.retained())
}

// gauge is the value of a metric without labels.
func (in installed) gauge(t *testing.T, name string) float64 {
	t.Helper()
	families, err := in.registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	require.Fail(t, "no such metric", name)
	return 0
}

func (w *world) wasToldOfHome(reason string) bool {
	w.t.Helper()
	list := &eventsv1.EventList{}
	require.NoError(w.t, w.client.List(w.ctx, list, client.InNamespace(w.ns)))
	return slices.ContainsFunc(list.Items, func(e eventsv1.Event) bool {
		return e.Reason == reason && e.Type == corev1.EventTypeWarning && e.Regarding.Kind == "PersistentVolumeClaim"
	})
}
