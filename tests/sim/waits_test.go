package sim

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/drain"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// wait is something that a session waits for, and who wakes it: an event of the watch,
// within moments, or a timer, within its time.
type wait struct {
	what    string
	reason  string // of condition Ready while it waits; "" where the session is as asked
	waker   waker
	within  time.Duration // of a timer
	oneHost bool          // a user's sessions share one host
	begin   func(*world)  // the session desk waits afterwards
	end     func(*world)  // what it waits for comes
	over    func(*world) bool
}

type waker string

const (
	byEvent waker = "event"
	byTimer waker = "timer"
)

// moments are enough for an event; no timer of a session that waits is shorter but
// those that are named.
const moments = 2 * time.Second

// aMinute is how often a refusal is tried again.
const aMinute = 61 * time.Second

func runs(w *world) bool { return w.phase() == vdi.PhaseRunning }

func isOrderedOff(w *world) bool {
	return w.people.session(desk).as(w.scheme).(*vdi.VDISession).Status.ExpiryReason == vdi.StopDrain
}

func isGone(w *world) bool { return w.people.session(desk) == nil }

// plain makes the session desk and lets it come as far as it comes.
func plain(w *world) { w.newSession(func(*vdi.VDISession) {}) }

func running(w *world) {
	plain(w)
	w.settle()
}

func (w *world) templateIs(edit func(*vdi.VDITemplateSpec)) {
	t := in[*vdi.VDITemplate](w, w.server.objects[key{"VDITemplate", "", templateName}])
	edit(&t.Spec)
	w.replace("administrator", t, false)
}

// another is a second session of desk's user.
func (w *world) another(change func(*vdi.VDISession)) {
	s := &vdi.VDISession{ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: "desk-2"}, Spec: vdi.VDISessionSpec{User: users[0], Template: templateName}}
	change(s)
	w.must(w.server.create("user", s))
	w.settle()
}

func (w *world) plantService() {
	w.must(w.server.create("administrator", &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: desk}}))
}

func (w *world) plantClaim(name string, labels map[string]string) {
	w.must(w.server.create("administrator", &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: name, Labels: labels}}))
}

func (w *world) drop(kind, name string) {
	w.remove("administrator", w.server.objects[key{kind, team, name}], client.GracePeriodSeconds(0))
}

// waits is the table. What is not simulated waits here: for the front door's keys
// (TestWithoutStatementKeys) and the relay's secret (TestNoRelaySecret), both by the file's
// change; for a node that offers a resource (TestNobodyOffers) and for a volume that the
// node or the home lacks (TestMissingVolumeIsNamed, TestMissingClassIsNamed), by the pod.
func waits() []wait {
	home := renderer.HomeClaimName(desk)
	return []wait{
		{
			what: "the template is missing", reason: vdi.ReasonTemplateNotFound, waker: byEvent, over: runs,
			begin: func(w *world) { w.people.dropTemplate(""); plain(w) },
			end:   func(w *world) { w.people.makeTemplate(templateName) },
		},
		{
			what: "the template's values are refused", reason: vdi.ReasonInvalidValues, waker: byEvent, over: runs,
			begin: func(w *world) {
				w.templateIs(func(t *vdi.VDITemplateSpec) { t.Values = &apiextensionsv1.JSON{Raw: []byte(`{"nonsense": true}`)} })
				plain(w)
			},
			end: func(w *world) { w.templateIs(func(t *vdi.VDITemplateSpec) { t.Values = nil }) },
		},
		{
			what: "the template is for others", reason: vdi.ReasonTemplateNotAllowed, waker: byEvent, over: runs,
			begin: func(w *world) {
				w.templateIs(func(t *vdi.VDITemplateSpec) { t.Access.Groups = []string{"artists"} })
				plain(w)
			},
			end: func(w *world) {
				w.people.change(desk, func(s *vdi.VDISession) { s.Spec.Groups = []string{"artists"} })
			},
		},
		{
			what: "the session's sizes are refused", reason: vdi.ReasonInvalidResources, waker: byEvent, over: runs,
			begin: func(w *world) {
				w.templateIs(func(t *vdi.VDITemplateSpec) { t.Resources.Max.Memory = "8Gi" })
				w.newSession(func(s *vdi.VDISession) { s.Spec.Resources.Memory = "64Gi" })
			},
			end: func(w *world) { w.people.change(desk, func(s *vdi.VDISession) { s.Spec.Resources.Memory = "4Gi" }) },
		},
		{
			what: "another session has its host", reason: vdi.ReasonHostInUse, waker: byTimer, within: aMinute, oneHost: true, over: runs,
			begin: func(w *world) { w.another(func(*vdi.VDISession) {}); plain(w) },
			end:   func(w *world) { w.drop("VDISession", "desk-2") },
		},
		{
			what: "another session is on its home", reason: vdi.ReasonHomeInUse, waker: byEvent, over: runs,
			begin: func(w *world) {
				w.plantClaim(sharedHome, map[string]string{wire.LabelHomeFor: platform.Identity(users[0])})
				w.another(func(s *vdi.VDISession) { s.Spec.Persistence.ExistingClaim = sharedHome })
				w.newSession(func(s *vdi.VDISession) { s.Spec.Persistence.ExistingClaim = sharedHome })
			},
			end: func(w *world) { w.drop("VDISession", "desk-2") },
		},
		{
			what: "somebody's pod is on its home", reason: vdi.ReasonHomeInUse, waker: byTimer, within: aMinute, over: runs,
			begin: func(w *world) {
				running(w)
				w.people.suspend(desk)
				w.settle()
				uses := corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: home}}
				w.must(w.server.create("administrator", &corev1.Pod{
					ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: "backup"},
					Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "theirs", Image: "theirs"}}, Volumes: []corev1.Volume{{Name: "home", VolumeSource: uses}}},
				}))
				w.people.resume(desk)
			},
			end: func(w *world) { w.drop("Pod", "backup") },
		},
		{
			what: "its home is being deleted", reason: vdi.ReasonWaiting, waker: byEvent, over: runs,
			begin: func(w *world) {
				running(w)
				w.people.suspend(desk)
				w.settle()
				claim := in[*corev1.PersistentVolumeClaim](w, w.server.objects[key{"PersistentVolumeClaim", team, home}])
				claim.Finalizers = append(claim.Finalizers, "backup.example.com/hold")
				w.replace("administrator", claim, false)
				w.drop("PersistentVolumeClaim", home)
				w.people.resume(desk)
			},
			end: func(w *world) {
				claim := in[*corev1.PersistentVolumeClaim](w, w.server.objects[key{"PersistentVolumeClaim", team, home}])
				claim.Finalizers = nil
				w.replace("administrator", claim, false)
			},
		},
		{
			what: "its existing claim is missing", reason: vdi.ReasonHomeNotFound, waker: byTimer, within: aMinute, over: runs,
			begin: func(w *world) {
				w.newSession(func(s *vdi.VDISession) { s.Spec.Persistence.ExistingClaim = sharedHome })
			},
			end: func(w *world) {
				w.plantClaim(sharedHome, map[string]string{wire.LabelHomeFor: platform.Identity(users[0])})
			},
		},
		{
			what: "its home was made by somebody else", reason: vdi.ReasonHomeNotOurs, waker: byTimer, within: aMinute, over: runs,
			begin: func(w *world) { w.plantClaim(home, nil); plain(w) },
			end: func(w *world) {
				claim := in[*corev1.PersistentVolumeClaim](w, w.server.objects[key{"PersistentVolumeClaim", team, home}])
				claim.Labels = map[string]string{wire.LabelHomeFor: platform.Identity(users[0])}
				w.replace("administrator", claim, false)
			},
		},
		{
			what: "its template's volume is not for desktops", reason: vdi.ReasonClaimNotAllowed, waker: byTimer, within: aMinute, over: runs,
			begin: func(w *world) {
				w.templateIs(func(t *vdi.VDITemplateSpec) {
					t.Values = &apiextensionsv1.JSON{Raw: []byte(`{"pod":{"volumes":[{"name":"assets","persistentVolumeClaim":{"claimName":"assets"}}]}}`)}
				})
				w.plantClaim("assets", nil)
				plain(w)
			},
			end: func(w *world) {
				claim := in[*corev1.PersistentVolumeClaim](w, w.server.objects[key{"PersistentVolumeClaim", team, "assets"}])
				claim.Labels = map[string]string{wire.LabelForDesktops: "true"}
				w.replace("administrator", claim, false)
			},
		},
		{
			what: "a name is taken", reason: vdi.ReasonNameTaken, waker: byTimer, within: aMinute, over: runs,
			begin: func(w *world) { w.plantService(); plain(w) },
			end:   func(w *world) { w.drop("Service", desk) },
		},
		{
			what: "a quota is used up", reason: vdi.ReasonQuotaExceeded, waker: byTimer, within: aMinute, over: runs,
			begin: func(w *world) { w.cluster.quota = true; plain(w) },
			end:   func(w *world) { w.cluster.quota = false },
		},
		{
			what: "the proxy's kinds are missing", reason: vdi.ReasonRouteKindMissing, waker: byEvent, over: runs,
			begin: func(w *world) { w.cluster.dropRoutes(); plain(w) },
			end:   func(w *world) { w.cluster.dropRoutes() },
		},
		{
			what: "no node has room", reason: vdi.ReasonUnschedulable, waker: byEvent, over: runs,
			begin: func(w *world) { w.cluster.full = true; plain(w) },
			end:   func(w *world) { w.cluster.full = false },
		},
		{
			what: "the desktop does not answer", reason: vdi.ReasonProgressing, waker: byEvent, over: runs,
			begin: func(w *world) { w.cluster.unready = true; plain(w) },
			end:   func(w *world) { w.cluster.unready = false },
		},
		{
			what: "the desktop crashes", reason: vdi.ReasonCrashLoop, waker: byEvent, over: runs,
			begin: func(w *world) { w.cluster.crashing = true; plain(w) },
			end:   func(w *world) { w.cluster.crashing = false },
		},
		{
			what: "the proxy does not lead to it", reason: vdi.ReasonRouteNotAnswering, waker: byTimer, within: aMinute, over: runs,
			begin: func(w *world) { w.cluster.mute = true; plain(w) },
			end:   func(w *world) { w.cluster.mute = false },
		},
		{
			what: "its pod was evicted", reason: vdi.ReasonPodFailed, waker: byTimer, within: 5*time.Minute + time.Second, over: runs,
			begin: func(w *world) {
				running(w)
				w.cluster.endPod(desk)
				w.finish(time.Now().Add(time.Second))
			},
			end: func(*world) {},
		},
		{
			what: "its former pod is still ending", reason: vdi.ReasonProgressing, waker: byEvent, over: runs,
			begin: func(w *world) {
				running(w)
				w.cluster.stays = true
				w.people.suspend(desk)
				w.settle()
				w.people.resume(desk)
			},
			end: func(w *world) { w.cluster.stays = false },
		},
		{
			what: "it is deleted, and its pod is still ending", reason: vdi.ReasonTerminating, waker: byEvent, over: isGone,
			begin: func(w *world) {
				running(w)
				w.cluster.stays = true
				w.remove("user", w.people.session(desk))
			},
			end: func(w *world) { w.cluster.stays = false },
		},
		{
			what: "the API server takes no writes", reason: "", waker: byTimer, within: aMinute, over: runs,
			begin: func(w *world) { w.cluster.failing = true; plain(w) },
			end:   func(w *world) { w.cluster.failing = false },
		},
		{
			what: "nobody orders it off its node", reason: vdi.ReasonAsExpected, waker: byEvent, over: isOrderedOff,
			begin: running,
			end: func(w *world) {
				w.people.change(desk, func(s *vdi.VDISession) {
					order := drain.Order{Node: node, At: metav1.NewTime(time.Now().Add(time.Minute))}
					metav1.SetMetaDataAnnotation(&s.ObjectMeta, wire.AnnotationDrain, order.String())
				})
			},
		},
		{
			what: "its time is not over", reason: vdi.ReasonAsExpected, waker: byTimer, within: 31 * time.Minute, over: isGone,
			begin: func(w *world) {
				w.newSession(func(s *vdi.VDISession) { s.Spec.Timeout = "30m" })
			},
			end: func(*world) {},
		},
	}
}

// TestWaits lets a session wait for each of them, and then lets what it waits for come.
// The table is printed.
func TestWaits(t *testing.T) {
	table := fmt.Sprintf("%-46s %-20s %-6s %s", "a session waits while", "Ready, by its reason", "waker", "went on after (bound)")
	for _, row := range waits() {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			first := byte(0)
			if row.oneHost {
				first = 3
			}
			w := newWorld(ctx, &choices{given: []byte{first}})
			w.faults = false
			defer w.stop()
			w.sleepUntil(time.Now().Add(time.Minute)) // times are whole seconds
			row.begin(w)
			w.finish(time.Now().Add(row.patience()))
			require.False(t, row.over(w), "%s: %s", row.what, show(w, 40))
			require.Equal(t, row.reason, w.readyReason(), "%s: %s", row.what, show(w, 40))
			row.end(w)
			took := w.until(row.over, row.bound())
			require.True(t, row.over(w), "%s: not within %s\n%s", row.what, row.bound(), show(w, 40))
			require.Empty(t, w.broken, row.what)
			table += fmt.Sprintf("\n%-46s %-20s %-6s %s (%s)", row.what, row.reason, row.waker, took, row.bound())
		})
	}
	t.Log("\n" + table)
}

// patience is how long the session waits before what it waits for comes.
func (c wait) patience() time.Duration {
	if c.waker == byTimer && c.within > aMinute {
		return 0 // it is on its way
	}
	return 10 * time.Minute
}

func (c wait) bound() time.Duration {
	if c.waker == byEvent {
		return moments
	}
	return c.within
}

// until lets all go on until that holds, and says how long that took.
func (w *world) until(holds func(*world) bool, bound time.Duration) time.Duration {
	began := time.Now()
	for !holds(w) && time.Since(began) < bound {
		if w.workOff() {
			continue
		}
		next := w.nextDue()
		if end := began.Add(bound); next.IsZero() || next.After(end) {
			next = end
		}
		w.sleepUntil(next)
		w.settleDown()
	}
	return time.Since(began)
}

// readyReason is why the session is Ready or not; "" when nobody has said so yet.
func (w *world) readyReason() string {
	c := meta.FindStatusCondition(w.people.session(desk).as(w.scheme).(*vdi.VDISession).Status.Conditions, vdi.ConditionReady)
	if c == nil {
		return ""
	}
	return c.Reason
}
