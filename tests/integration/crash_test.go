package integration

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/run"
	"github.com/vdi-platform/vdi-platform/operator/session"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/audit"
)

var errDied = errors.New("the operator died")

// writesThrough is a client whose reads and writes pass a gate.
func writesThrough(c client.WithWatch, read, write func(send func() error) error) client.Client {
	return interceptor.NewClient(c, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			return read(func() error { return c.Get(ctx, key, o, opts...) })
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			return read(func() error { return c.List(ctx, list, opts...) })
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return write(func() error { return c.Create(ctx, o, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return write(func() error { return c.Update(ctx, o, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return write(func() error { return c.Delete(ctx, o, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			return write(func() error { return c.Patch(ctx, o, p, opts...) })
		},
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			return write(func() error { return c.Apply(ctx, o, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			return write(func() error { return c.SubResource(sub).Patch(ctx, o, p, opts...) })
		},
	})
}

// mortal is a client whose process dies at one of its writes: just before the
// API server hears of it, or just after, so that the answer is lost.
type mortal struct {
	client.Client
	mu     sync.Mutex
	writes int
	dieAt  int // number of the write, from 1; 0 means never
	after  bool
	dead   bool
}

func newMortal(c client.WithWatch, dieAt int, after bool) *mortal {
	m := &mortal{dieAt: dieAt, after: after}
	m.Client = writesThrough(c, m.read, m.write)
	return m
}

func (m *mortal) read(ask func() error) error {
	m.mu.Lock()
	dead := m.dead
	m.mu.Unlock()
	if dead {
		return errDied
	}
	return ask()
}

func (m *mortal) write(send func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return errDied
	}
	m.writes++
	m.dead = m.writes == m.dieAt
	if m.dead && !m.after {
		return errDied
	}
	err := send()
	if m.dead {
		return errDied
	}
	return err
}

// settle makes passes until one writes nothing. An operator that died is
// replaced by one that remembers nothing.
func (w *world) settle(m *mortal) {
	w.t.Helper()
	for range 30 {
		before := m.writes
		result, err := w.passOf(desk)
		switch {
		case m.dead:
			*m = mortal{Client: w.client, writes: m.writes}
			w.restart()
			before = -1
		default:
			require.NoError(w.t, err)
		}
		if !w.sessionExists() || before == m.writes && !m.dead && w.quiet() && result.RequeueAfter != glance {
			return
		}
	}
	require.Fail(w.t, "the operator does not come to rest")
}

// quiet reports whether a pass of a fresh operator changes nothing.
func (w *world) quiet() bool {
	before, version := w.versions(), w.session().ResourceVersion
	_, err := w.passOf(desk)
	return err == nil && w.sessionExists() && w.session().ResourceVersion == version &&
		fmt.Sprint(before) == fmt.Sprint(w.versions())
}

// outcome is what must be the same however often the operator died.
type outcome struct {
	Kinds      []string
	Phase      vdi.Phase
	Conditions []string
	HomeIsOurs bool
	Started    bool
	LoginTold  bool // the status names the Secret, and verifies its password
	HostFree   bool
}

func (w *world) outcome() outcome {
	w.t.Helper()
	host := &corev1.ConfigMap{}
	claimed := w.exists(host, "vdi-host-alice")
	out := outcome{Kinds: w.existing(), HostFree: !claimed || host.Data["holder"] == ""}
	if !w.sessionExists() {
		return out
	}
	s := w.session()
	out.Phase, out.Started = s.Status.Phase, s.Status.StartTime != nil
	out.LoginTold = w.loginTold(s)
	for _, c := range s.Status.Conditions {
		out.Conditions = append(out.Conditions, fmt.Sprint(c.Type, c.Status, c.Reason))
	}
	if s.Status.Home != nil && w.homeExists() {
		out.HomeIsOurs = s.Status.Home.CreatedByOperator && s.Status.Home.UID == w.home().UID
	}
	return out
}

func (w *world) loginTold(s *vdi.VDISession) bool {
	w.t.Helper()
	secret := &corev1.Secret{}
	if s.Status.CredentialsSecret == "" || s.Status.Access == nil || !w.exists(secret, s.Status.CredentialsSecret) {
		return false
	}
	sum := sha256.Sum256(secret.Data["password"])
	return s.Status.Access.PasswordVerifier == base64.StdEncoding.EncodeToString(sum[:])
}

// story is a session's life.
type story struct {
	paused bool // suspended and resumed on the way
	end    func(*world)
	ended  vdi.Phase // of what is left; "" when the session is gone
	home   bool      // the home is left
}

func stories() map[string]story {
	byPerson := func(w *world) { w.deleteSession() }
	return map[string]story{
		"deleted by a person":            {end: byPerson},
		"expired":                        {end: (*world).comesToItsEnd, home: true},
		"idle":                           {end: goIdle, ended: vdi.PhaseSuspended, home: true},
		"suspended, resumed and deleted": {paused: true, end: byPerson},
	}
}

// goIdle tells of a last use that is longer ago than the idle timeout.
func goIdle(w *world) {
	used := w.clock.Now()
	w.change(func(s *vdi.VDISession) {
		s.Annotations = map[string]string{wire.AnnotationLastActivity: used.Format(time.RFC3339)}
	})
	w.announced()
	w.later(2 * time.Hour)
}

// pause suspends the session and lets it go on.
func (w *world) pause(m *mortal) {
	w.t.Helper()
	w.change(func(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicySuspended })
	w.settle(m)
	w.podEnds(desk)
	w.settle(m)
	w.requirePhase(vdi.PhaseSuspended)
	w.change(func(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicyRunning })
	w.settle(m)
	w.podStarts(desk)
	w.settle(m)
}

// live takes a session from its creation to its end, with an operator that dies
// at one of its writes, and tells what was there while it ran and afterwards.
func (w *world) live(m *mortal, life story) (running, ended outcome) {
	w.t.Helper()
	w.operator = w.newOperator(m)
	w.createTemplate()
	w.createSession(deleteHome, idleAfterAnHour)
	w.settle(m)
	w.podStarts(desk)
	w.settle(m)
	if life.paused {
		w.pause(m)
	}
	running = w.outcome()
	life.end(w)
	w.settle(m)
	w.podEnds(desk)
	if w.sessionExists() {
		w.settle(m)
	}
	ended = w.outcome()
	ended.Kinds = nil // the garbage collector may or may not have been here
	if w.homeExists() {
		ended.Kinds = []string{"PersistentVolumeClaim"}
	}
	return running, ended
}

// TestOperatorDiesAtEveryWrite: as many deaths as two for each write that the
// audit log shows for the undisturbed life.
func TestOperatorDiesAtEveryWrite(t *testing.T) {
	t.Parallel()
	plane := sharedPlane(t)
	for name, life := range stories() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, byUser) // with a host claim, the longest way
			reference := newMortal(plane.named(t, w.ns), 0, false)
			running, ended := w.live(reference, life)
			require.Equal(t, vdi.PhaseRunning, running.Phase)
			require.True(t, running.HomeIsOurs)
			require.True(t, running.LoginTold)
			require.Equal(t, life.ended, ended.Phase)
			require.False(t, running.HostFree)
			require.Equal(t, life.ended == "", ended.HostFree)
			require.Equal(t, life.home, len(ended.Kinds) == 1, "only a person's delete takes the home along")
			require.Greater(t, reference.writes, 14)
			require.EventuallyWithT(t, func(c *assert.CollectT) {
				assert.Equal(c, reference.writes, plane.writesOf(t, w.ns), "writes in the audit log")
			}, othersWork, glance)
			t.Logf("%d writes, %d deaths", reference.writes, 2*reference.writes)
			for k := 1; k <= reference.writes; k++ {
				for when, after := range map[string]bool{"before": false, "after": true} {
					t.Run(fmt.Sprintf("%s write %d", when, k), func(t *testing.T) {
						t.Parallel()
						w := newWorld(t, byUser)
						gotRunning, gotEnded := w.live(newMortal(plane.admin, k, after), life)
						require.Equal(t, running, gotRunning)
						require.Equal(t, ended, gotEnded)
					})
				}
			}
		})
	}
}

// named is the administrator's client under a name that the audit log shows.
func (p *plane) named(t *testing.T, name string) client.WithWatch {
	t.Helper()
	config := rest.CopyConfig(p.RESTConfig())
	config.UserAgent = name
	named, err := client.NewWithWatch(config, client.Options{Scheme: run.Scheme()})
	require.NoError(t, err)
	return named
}

// writesOf counts the writes in the audit log under a name.
func (p *plane) writesOf(t *testing.T, name string) int {
	t.Helper()
	writes := 0
	_, err := audit.Read(p.AuditLog(), 0, func(q audit.Request) {
		if q.Agent == name && q.IsWrite() {
			writes++
		}
	})
	require.NoError(t, err)
	return writes
}

func TestTwoOperatorsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate()
	w.createSession(deleteHome)
	operators := []*session.Reconciler{w.operator, w.newOperator(w.client)}
	together := func() {
		var group sync.WaitGroup
		for _, operator := range operators {
			group.Go(func() {
				for range 5 {
					_, _ = operator.Reconcile(w.ctx, request(w.ns, desk)) // a loser's error is retried
				}
			})
		}
		group.Wait()
	}
	together()
	w.requireOneOfEach()
	w.podStarts(desk)
	together()
	w.pass()
	w.requirePhase(vdi.PhaseRunning)
	w.requireOneOfEach()
	password := w.password()
	together()
	require.Equal(t, password, w.password())

	w.deleteSession()
	together()
	w.podEnds(desk)
	together()
	require.False(t, w.sessionExists())
	require.False(t, w.homeExists())
}

// requireOneOfEach counts the objects of the namespace that the operator made.
func (w *world) requireOneOfEach() {
	w.t.Helper()
	routes := &metav1.PartialObjectMetadataList{}
	routes.SetGroupVersionKind(routeGVK)
	for _, list := range []client.ObjectList{
		&corev1.SecretList{}, &corev1.PodList{}, &corev1.ServiceList{}, &corev1.PersistentVolumeClaimList{},
		&networkingv1.NetworkPolicyList{}, routes,
	} {
		require.NoError(w.t, w.client.List(w.ctx, list, client.InNamespace(w.ns), client.MatchingLabels{"app.kubernetes.io/managed-by": "vdi-operator"}))
		items, err := metaItems(list)
		require.NoError(w.t, err)
		require.Len(w.t, items, 1, "%T", list)
	}
}
