package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/renderer"
	"github.com/vdi-platform/vdi-platform/tests/scale"
)

// workers is how many desktops each contender works at at the same time, and
// how many the client asks for: the same for all, and no client is throttled.
const workers = scale.Writers

// contender is one way to turn a wish into a desktop.
type contender struct {
	name     string
	settings string
	// users are whom the audit log names for its controller; the client's own
	// writes (extras) are counted beside them.
	users []string
	// asked is the resource whose creation is the wish.
	asked string
	// controller is the name in the metrics of controller-runtime; empty when it has none.
	controller string
	// install prepares it; nil when there is nothing to.
	install func(ctx context.Context, b *bed) error
	// start starts its controller; nil when it has no process of its own.
	start func(ctx context.Context, b *bed) (*scale.Replica, error)
	// ask is what the client does for the i-th desktop.
	ask func(ctx context.Context, b *bed, i int) error
	// done is the kind and the condition by which a watcher sees that the
	// desktop can be used; beside it the pod must be Ready.
	done func() client.ObjectList
	is   func(o client.Object) bool
	// pod is the name of the desktop's pod.
	pod func(session string) string
}

func contenderOf(name string) (contender, error) {
	for _, c := range []contender{raw(), statefulSet(), helm(), naive(), sandbox(), ours()} {
		if c.name == name {
			return c, nil
		}
	}
	return contender{}, fmt.Errorf("no contender %q", name)
}

func samePod(session string) string    { return session }
func firstOfSet(session string) string { return session + "-0" }

func sessionsDone() client.ObjectList { return &vdi.VDISessionList{} }

func sessionRuns(o client.Object) bool {
	s, is := o.(*vdi.VDISession)
	return is && s.Status.Phase == vdi.PhaseRunning
}

// bed is a control plane with one contender.
type bed struct {
	*scale.Rig
	contender
	dir        string
	operator   *scale.Operator
	template   *vdi.VDITemplate
	renderer   *renderer.Renderer
	namespaces []string
	helm       helmClient
}

// newBed starts a control plane for a number of sessions and installs a
// contender; its controller does not run yet.
func newBed(ctx context.Context, dir string, c contender, sessions int) (*bed, error) {
	r, err := scale.Start(ctx, filepath.Join(dir, "plane"), sessions)
	if err != nil {
		return nil, err
	}
	b := &bed{Rig: r, contender: c, dir: dir, template: scale.Template()}
	if err := b.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare %s: %w", c.name, err), r.Stop())
	}
	return b, nil
}

func (b *bed) prepare(ctx context.Context) (err error) {
	if b.operator, err = b.InstallOperator(ctx, b.dir); err != nil {
		return err
	}
	if b.renderer, err = renderer.New(); err != nil {
		return err
	}
	if b.namespaces, err = b.Namespaces(ctx, "bench", 4); err != nil {
		return err
	}
	if err := b.Driver.Create(ctx, b.template); err != nil {
		return err
	}
	if b.install == nil {
		return nil
	}
	return b.install(ctx, b)
}

// session is the i-th session as every contender's client asks for it.
func (b *bed) session(i int) *vdi.VDISession { return scale.Session(i, b.namespaces) }

// input is what the session's objects are rendered from: the same for all contenders.
func (b *bed) input(s *vdi.VDISession) (renderer.Input, error) {
	uid := s.UID
	if uid == "" {
		uid = types.UID(fmt.Sprintf("00000000-0000-0000-0000-%s", s.Name)) // of a wish that is no VDISession
	}
	host, err := platform.Host(b.operator.Config.Sessions, s.Spec.User, s.Name, s.Namespace, string(uid))
	if err != nil {
		return renderer.Input{}, err
	}
	in := renderer.Input{Session: *s, Template: *b.template, Platform: b.operator.Config, Host: host}
	in.Session.UID = uid
	return in, nil
}

// rendered are the very objects that the operator makes for the session.
func (b *bed) rendered(s *vdi.VDISession) ([]*unstructured.Unstructured, error) {
	in, err := b.input(s)
	if err != nil {
		return nil, err
	}
	out, err := b.renderer.Render(in)
	return out.Objects, err
}

// secret has the form of the operator's credentials; the password is none.
func secret(s *vdi.VDISession) *corev1.Secret {
	o := &corev1.Secret{
		Type: corev1.SecretTypeBasicAuth,
		Data: map[string][]byte{corev1.BasicAuthUsernameKey: []byte("desktop"), corev1.BasicAuthPasswordKey: []byte("00000000000000000000000000000000")},
	}
	o.Name, o.Namespace = renderer.CredentialsName(s.Name), s.Namespace
	return o
}

// sightings are when a watcher saw pods become Ready and wishes come true, by
// the machine's clock, which the audit log uses too.
type sightings struct {
	mu    sync.Mutex
	ready map[client.ObjectKey]time.Time
	came  map[client.ObjectKey]time.Time
	lost  error         // a watch that ended too soon
	more  chan struct{} // has room for one: somebody should look again
}

// watch starts to look; before anything is asked for.
func (b *bed) watch(ctx context.Context) (*sightings, error) {
	s := &sightings{ready: map[client.ObjectKey]time.Time{}, came: map[client.ObjectKey]time.Time{}, more: make(chan struct{}, 1)}
	if err := b.see(ctx, s, &corev1.PodList{}, s.ready, podIsReady); err != nil {
		return nil, err
	}
	return s, b.see(ctx, s, b.done(), s.came, b.is)
}

// see notes the first time that each object of a kind fulfils a condition.
func (b *bed) see(ctx context.Context, s *sightings, list client.ObjectList, seen map[client.ObjectKey]time.Time, holds func(client.Object) bool) error {
	events, err := b.Driver.Watch(ctx, list)
	if err != nil {
		return err
	}
	go func() {
		defer events.Stop()
		for event := range events.ResultChan() {
			o, is := event.Object.(client.Object)
			if is && holds(o) {
				s.note(seen, client.ObjectKeyFromObject(o))
			}
		}
		s.end(ctx, fmt.Errorf("the watch of %T ended", list))
	}()
	return nil
}

// end remembers a watch that ended although somebody may still wait.
func (s *sightings) end(ctx context.Context, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() == nil {
		s.lost = why
	}
	s.wake()
}

// wake lets somebody who waits look again.
func (s *sightings) wake() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

func (s *sightings) note(seen map[client.ObjectKey]time.Time, key client.ObjectKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := seen[key]; known {
		return
	}
	seen[key] = time.Now()
	s.wake()
}

func podIsReady(o client.Object) bool {
	pod, is := o.(*corev1.Pod)
	if !is {
		return false
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// usable is when the desktop of a session could be used: its pod is Ready and
// its object says so.
func (b *bed) usable(s *sightings, key client.ObjectKey) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	pod := client.ObjectKey{Namespace: key.Namespace, Name: b.pod(key.Name)}
	ready, is := s.ready[pod]
	if !is {
		return ready, false
	}
	came, is := s.came[key]
	if ready.After(came) {
		return ready, is
	}
	return came, is
}

// wait returns when n desktops can be used.
func (b *bed) wait(ctx context.Context, s *sightings, n int, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for have := 0; have < n; {
		if _, is := b.usable(s, client.ObjectKeyFromObject(b.session(have))); is {
			have++
			continue
		}
		select {
		case <-s.more:
			if err := s.broken(); err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("%s: only the first %d of %d desktops within %s: %w", b.name, have, n, limit, context.Cause(ctx))
		}
	}
	return nil
}

func (s *sightings) broken() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}
