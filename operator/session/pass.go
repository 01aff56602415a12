package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// pass is one look at one session: what was read, what was decided, what was
// found on the way. The status is computed from it alone.
type pass struct {
	session  *vdi.VDISession
	now      time.Time
	oidc     bool             // visitors of a desktop that starts now log in at an identity provider
	template *vdi.VDITemplate // nil when it does not exist
	// startedBy are the rules of the template by which a desktop was started that
	// was not reported yet.
	startedBy *vdi.TemplateLifecycle

	host      string
	url       string
	hasHost   bool // nobody else has it
	resources vdi.SessionResources
	encoder   vdi.EncoderChoice // what the template's encoder comes to
	decision  decision
	ahead     decision // the same for the state this pass describes
	input     renderer.Input
	desired   []*unstructured.Unstructured // in install order; nil when nothing had to be rendered

	claims []string // that the pod mounts beside its home

	seen        children
	home        *vdi.HomeStatus
	credentials bool        // the Secret of this session exists
	verifier    string      // of its password, where the pass knows it
	sharedWith  *corev1.Pod // another desktop on the home of this living one
	pending     []string    // what the next start will change
	refusal     *halt       // why the next start would be refused as things are; this desktop lives, or is to stop
	sizeRefused *halt       // why the home stays as large as it is
	homeDiffers string      // in what the home is not as asked for
	homeGone    bool        // the claim of this living desktop's home does not exist any more
	cause       *halt       // what keeps the pod from starting, where it does not say itself
	repaired    []string    // kinds that had drifted and were put back
	altered     bool        // somebody changed an object on its way into the cluster
	reachable   reach
	asking      bool      // the desktop's agent has been asked for its use and has not answered yet
	replaced    []string  // resource versions of the session that this pass replaced
	confirmed   bool      // the API server itself was asked for the session
	made        bool      // this pass made the pod
	ended       bool      // the session's end was recorded and its deletion sent
	homeKept    *keptHome // the deleted session was to take it along
	letGo       bool      // the deleted session was let go

	halted    *halt
	lookAgain time.Duration
}

// children are a session's objects as they were last seen. Each is nil when absent.
type children struct {
	pod *corev1.Pod
	// claim is the session's own home, existing the claim that its spec names
	// instead; the latter is read only when a desktop starts on it.
	claim, existing *corev1.PersistentVolumeClaim
	// others are the policy, service, route and further rendered kinds, by kind and name.
	others map[objectKey]*unstructured.Unstructured
}

// objectKey names a child within its session's namespace.
type objectKey struct{ kind, name string }

func keyOf(o *unstructured.Unstructured) objectKey { return objectKey{o.GetKind(), o.GetName()} }

// podLives tells whether a desktop is there that must not be disturbed.
func (c children) podLives() bool {
	return c.pod != nil && c.pod.DeletionTimestamp == nil && !podEnded(c.pod)
}

// which are the further children of which that holds, always in the same order: the
// same knowledge makes the same writes.
func (c children) which(holds func(*unstructured.Unstructured) bool) (found []*unstructured.Unstructured) {
	for _, o := range c.others {
		if holds(o) {
			found = append(found, o)
		}
	}
	slices.SortFunc(found, func(a, b *unstructured.Unstructured) int {
		return cmp.Or(cmp.Compare(a.GetKind(), b.GetKind()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return found
}

// claimNamed is the claim of that name, if it was seen.
func (c children) claimNamed(name string) *corev1.PersistentVolumeClaim {
	for _, claim := range []*corev1.PersistentVolumeClaim{c.existing, c.claim} {
		if claim != nil && claim.Name == name {
			return claim
		}
	}
	return nil
}

func podEnded(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded
}

// halt ends a pass early without an error: somebody or something else has to act
// first. It carries the words for the user.
type halt struct {
	condition string // the condition that is False because of it
	reason    string
	message   string
	phase     vdi.Phase
	waiting   vdi.WaitingFor
	stalled   bool          // a person has to change something
	retry     time.Duration // look again after; 0 when a watch will wake us
	conflict  bool          // an object of this name is not ours
}

func (h *halt) Error() string { return fmt.Sprintf("%s: %s", h.reason, h.message) }

// step is a part of a pass. It halts the pass by returning a *halt.
type step func(context.Context, *pass) error

// run takes the steps in order until one halts the pass or fails.
func (p *pass) run(ctx context.Context, steps ...step) error {
	for _, step := range steps {
		err := step(ctx, p)
		var h *halt
		if errors.As(err, &h) {
			p.halted = h
			p.look(h.retry)
			return nil
		}
		if errors.Is(err, errEnded) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// forTheNextStart takes the steps that a start needs. What halts one of them keeps
// a desktop from starting; one that lives, and one that is to stop, only report
// it: nothing that may be refused disturbs a desktop or holds up an end.
func forTheNextStart(steps ...step) step {
	return func(ctx context.Context, p *pass) error {
		for _, step := range steps {
			err := step(ctx, p)
			var h *halt
			if errors.As(err, &h) && p.mayBeRefused() {
				p.refuse(h)
				return nil
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// mayBeRefused tells whether nothing starts now: a desktop lives, or none should.
func (p *pass) mayBeRefused() bool { return p.seen.podLives() || p.decision.want != wantRun }

// mayLack tells whether a child that is refused is only reported. A desktop that
// has never run waits for all it needs but its home, which its pod has or not.
func (p *pass) mayLack(kind string) bool {
	begun := p.session.Status.StartTime != nil && !p.made
	return p.mayBeRefused() && (p.decision.want != wantRun || begun || kind == wire.KindPersistentVolumeClaim)
}

// refuse notes why the next start would be refused: the first reason counts, but
// that the session itself is not accepted comes before all others.
func (p *pass) refuse(h *halt) {
	if p.refusal == nil || h.condition == vdi.ConditionAccepted {
		p.refusal = h
	}
	p.look(h.retry)
}

// look asks for another pass after d, unless an earlier one is already asked for.
func (p *pass) look(d time.Duration) {
	if d > 0 && (p.lookAgain == 0 || d < p.lookAgain) {
		p.lookAgain = d
	}
}
