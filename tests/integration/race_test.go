package integration

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// racer is a client at whose nth write something else happens first: what the
// operator decided on is no longer what is there.
type racer struct {
	client.Client
	mu      sync.Mutex
	writes  int
	at      int // number of the write, from 1; 0 means never
	happens func()
}

func newRacer(c client.WithWatch, at int, happens func()) *racer {
	r := &racer{at: at, happens: happens}
	r.Client = writesThrough(c, func(ask func() error) error { return ask() }, r.write)
	return r
}

func (r *racer) write(send func() error) error {
	r.mu.Lock()
	r.writes++
	now := r.writes == r.at
	r.mu.Unlock()
	if now {
		r.happens()
	}
	return send()
}

// way is something that the operator is doing: how it comes to it, and what sets
// it off.
type way struct {
	session []func(*vdi.VDISession)
	before  func(*world) // brings the session to where it begins
	begin   func(*world)
	races   []string // what may happen meanwhile
}

func ways() map[string]way {
	started := func(w *world) { w.toRest() }
	suspended := func(w *world) {
		w.toRest()
		w.change(suspend)
		w.toRest()
	}
	return map[string]way{
		"creating": {
			before: func(*world) {}, begin: func(*world) {},
			races: []string{"delete", "suspend", "change the template", "delete the template"},
		},
		"expiring": {
			before: started, begin: (*world).comesToItsEnd,
			races: []string{"delete", "suspend", "extend", "change the template", "delete the template"},
		},
		"expiring to a suspension": {
			session: []func(*vdi.VDISession){suspendAtEnd},
			before:  started, begin: (*world).comesToItsEnd,
			races: []string{"delete", "suspend", "extend", "change the template"},
		},
		"stopping for idleness": {
			session: []func(*vdi.VDISession){idleAfterAnHour},
			before:  started, begin: goIdle,
			races: []string{"delete", "suspend", "extend", "use", "change the template"},
		},
		"suspending": {
			before: started, begin: func(w *world) { w.change(suspend) },
			races: []string{"delete", "resume", "extend", "change the template", "delete the template"},
		},
		"resuming": {
			before: suspended, begin: func(w *world) { w.change(resume) },
			races: []string{"delete", "suspend", "change the template", "delete the template"},
		},
		"deleting": {
			before: started, begin: func(w *world) { w.deleteSession() },
			races: []string{"suspend", "extend", "change the template", "delete the template"},
		},
	}
}

// happenings are what people and programs do at any time.
func happenings() map[string]func(*world) {
	onSession := func(edit func(*world, *vdi.VDISession)) func(*world) {
		return func(w *world) {
			if w.sessionExists() {
				w.change(func(s *vdi.VDISession) { edit(w, s) })
			}
		}
	}
	return map[string]func(*world){
		"delete": func(w *world) {
			if w.sessionExists() {
				w.deleteSession()
			}
		},
		"suspend": onSession(func(_ *world, s *vdi.VDISession) { suspend(s) }),
		"resume":  onSession(func(_ *world, s *vdi.VDISession) { resume(s) }),
		"extend": onSession(func(w *world, s *vdi.VDISession) {
			s.Spec.KeepAliveUntil = &metav1.Time{Time: w.clock.Now().Add(5 * time.Hour)}
		}),
		"use": onSession(func(w *world, s *vdi.VDISession) {
			s.Annotations = map[string]string{wire.AnnotationLastActivity: w.clock.Now().Format(time.RFC3339)}
		}),
		"change the template": func(w *world) {
			w.changeTemplate(func(t *vdi.VDITemplate) { t.Spec.Image = image + "-next" })
		},
		"delete the template": func(w *world) { w.deleteTemplate() },
	}
}

// toRest plays operator, kubelet and garbage collector until nobody has
// anything to do.
func (w *world) toRest() {
	w.t.Helper()
	for range 30 {
		_, err := w.passOf(desk)
		played := w.playKubelet()
		if !w.sessionExists() {
			return
		}
		if err == nil && !played && w.quiet() {
			return
		}
	}
	require.Fail(w.t, "the operator does not come to rest")
}

// playKubelet starts a new pod and ends one that is being deleted; it tells
// whether there was one.
func (w *world) playKubelet() bool {
	w.t.Helper()
	pod := &corev1.Pod{}
	switch {
	case !w.exists(pod, desk):
		return false
	case pod.DeletionTimestamp != nil:
		w.podEnds(desk)
		return true
	case pod.Spec.NodeName == "":
		w.podStarts(desk)
		return true
	}
	return false
}

// fate is what became of a session: the same whichever of two that met came first.
type fate struct {
	outcome
	Gone, HomeLeft, HasEnd bool
	RunPolicy              vdi.RunPolicy
	StopReason             vdi.StopReason
	Image                  string
}

func (w *world) fate() fate {
	w.t.Helper()
	f := fate{HomeLeft: w.homeExists(), Gone: !w.sessionExists()}
	if f.Gone {
		return f
	}
	s := w.session()
	f.outcome, f.RunPolicy, f.StopReason, f.HasEnd = w.outcome(), s.Spec.RunPolicy, s.Status.StopReason, s.Status.ExpiresAt != nil
	if w.podExists() {
		f.Image = w.pod().Spec.Containers[0].Image
	}
	return f
}

// run takes a session through one way, with a happening at the nth write of it
// (0: before it begins; -1: after it is done), and tells its fate and how many
// writes there were.
func (way way) run(w *world, plane *plane, happening func(*world), at int) (fate, int) {
	w.t.Helper()
	w.createTemplate()
	w.createSession(append(way.session, deleteHome)...)
	way.before(w)
	way.begin(w)
	if at == 0 {
		happening(w)
	}
	r := newRacer(plane.admin, at, func() { happening(w) })
	w.operator = w.newOperator(r)
	w.toRest()
	writes := r.writes
	if at < 0 {
		happening(w)
		w.toRest()
	}
	return w.fate(), writes
}

// TestWhatHappensMeanwhile: each pair of events that can meet ends as if one of
// them had come before the other, at whatever write they meet.
func TestWhatHappensMeanwhile(t *testing.T) {
	t.Parallel()
	plane := sharedPlane(t)
	for name, way := range ways() {
		for _, race := range way.races {
			happening := happenings()[race]
			t.Run(name+" while people "+race, func(t *testing.T) {
				t.Parallel()
				first, _ := way.run(newWorld(t, byUser), plane, happening, 0)
				last, writes := way.run(newWorld(t, byUser), plane, happening, -1)
				require.Positive(t, writes)
				for k := 1; k <= writes; k++ {
					t.Run(fmt.Sprintf("write %d", k), func(t *testing.T) {
						t.Parallel()
						got, _ := way.run(newWorld(t, byUser), plane, happening, k)
						if name == "creating" && race == "delete" {
							got.HomeLeft = first.HomeLeft // not yet recorded as ours, so it is kept: data first
						}
						require.Contains(t, []fate{first, last}, got)
					})
				}
			})
		}
	}
}
