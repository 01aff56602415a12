package plan

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/desktop"
	"github.com/vdi-platform/vdi-platform/operator/fairshare"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/platform"
)

// Facts are what a pass knows of a session. Plans only read them. Each field names the file of
// package session that sets it; who writes an object, or finds one that the cache does not show,
// puts in what it is then.
type Facts struct {
	Session       *vdi.VDISession   // gather
	Clock         time.Time         // gather: the operator's own
	Platform      *platform.Config  // gather: the platform's settings
	LogsIn        bool              // gather: visitors of a desktop that starts now log in at the front door
	StatementKeys map[string]string // gather: what the agent of a desktop that starts now believes
	Template      *vdi.VDITemplate  // gather; nil when it does not exist
	// StartedBy are the rules of the template by which a desktop was started that
	// was not reported yet.
	StartedBy *vdi.TemplateLifecycle // gather
	// Seen are the session's objects.
	Seen Children // gather
	// EndedFor is how long the pod is known to have ended by itself.
	EndedFor time.Duration // gather
	// Gathered: all of these were read.
	Gathered bool // gather
	// Released are the last holds that the session has let go of, by claim; "" for a claim
	// that it was seen not to hold.
	Released map[string]string // gather
	// Limited: a quota selects the session, or the cluster has no room.
	Limited bool // gather
	// ByQuota: a quota does.
	ByQuota bool // gather
	// Accounts: what runs have used is written down.
	Accounts bool // gather
	// Budgets are what the person has of GPU-hours; none: they are not limited.
	Budgets []fairshare.Budget // gather
	// HomeCached is how large the home is that the cache shows, in bytes.
	HomeCached int64 // gather

	Answers
}

// Answers are what was asked for because a plan depends on it: the file ask sets them.
type Answers struct {
	// Answered are the questions that were asked, with what kept one from being answered.
	Answered map[Question]error

	Use        *vdi.ActivityStatus             // AskUse; nil: nobody knows
	UseIsDue   bool                            // AskUse: the desktop's agent has not answered yet
	ServerTime time.Time                       // AskTime
	UnseenWays []*metav1.PartialObjectMetadata // AskUnseenWays
	HomeGone   bool                            // AskHome: the claim that the session had does not exist any more
	GPUEncoder vdi.EncoderChoice               // AskEncoder
	Rendering  Rendering                       // AskRendering
	Room       fairshare.Answer                // AskRoom
	Mounted    []*metav1.PartialObjectMetadata // AskMountedClaims: those of Claims that exist
	SharedWith *corev1.Pod                     // AskSharedHome: another desktop on the home of this living one
	StartOn    *corev1.PersistentVolumeClaim   // AskStartClaim; nil when it does not exist
	HomeUse    homes.Use                       // AskHomeUse
	Ending     Ending                          // AskDeletion
	LeftClaim  *corev1.PersistentVolumeClaim   // AskLeftClaim: the home of the session's own name; nil when there is none
	LeftTo     string                          // AskLeftTo: the session of the same user that names it now
	RetainFor  time.Duration                   // AskLeftTo: how long the template keeps homes that are left; 0 for ever
}

// Note notes that a question was asked, and what kept it from being answered.
func (a *Answers) Note(q Question, err error) {
	if a.Answered == nil {
		a.Answered = map[Question]error{}
	}
	a.Answered[q] = err
}

// Rendering is what the renderer made of a session.
type Rendering struct {
	// Objects are in install order; nil when all was compared before and is as it was.
	Objects []*unstructured.Unstructured
	// Claims are those that the pod mounts beside its home.
	Claims []string
	// Err is why nothing could be rendered.
	Err error
}

// Ending is what counts where a home is to be deleted with its session.
type Ending struct {
	PodThere bool                          // the API server still has the desktop's pod
	Claim    *corev1.PersistentVolumeClaim // the home; nil when there is none
	HadBy    string                        // how another session has it; "" when none does
}

// Question is what a plan depends on and the cache does not answer. A step that needs the
// answer returns it.
type Question string

// The questions.
const (
	AskUse           Question = "when was the desktop last used"
	AskTime          Question = "what time is it at the API server"
	AskUnseenWays    Question = "which ways in does the cache not show"
	AskHome          Question = "is the home still there"
	AskEncoder       Question = "what can the GPUs of the nodes encode with"
	AskRendering     Question = "what are the objects of this session"
	AskRoom          Question = "do the quotas leave room"
	AskMountedClaims Question = "may desktops mount the template's claims"
	AskSharedHome    Question = "which other desktop is on the home"
	AskStartClaim    Question = "what is the claim to start on"
	AskHomeUse       Question = "who has the claim to start on"
	AskDeletion      Question = "may the home be deleted"
	AskLeftClaim     Question = "what is the home that is left"
	AskLeftTo        Question = "who has the home next"
)

// Questions are all questions.
func Questions() []Question {
	return []Question{
		AskUse, AskTime, AskUnseenWays, AskHome, AskEncoder, AskRendering, AskRoom, AskMountedClaims,
		AskSharedHome, AskStartClaim, AskHomeUse, AskDeletion, AskLeftClaim, AskLeftTo,
	}
}

// Error says that there is no answer yet.
func (q Question) Error() string { return "not asked yet: " + string(q) }

// answer returns the question itself until it was asked, and then what kept it from being
// answered.
func (f *Facts) answer(q Question) error {
	err, asked := f.Answered[q]
	if !asked {
		return q
	}
	return err
}

// Children are a session's objects as they were last seen. Each is nil when absent.
type Children struct {
	Pod *corev1.Pod
	// Claim is the session's own home, Existing the claim that its spec names
	// instead; the latter is read only when a desktop starts on it.
	Claim, Existing *corev1.PersistentVolumeClaim
	// Others are the policy, service, route and further rendered kinds, by kind and name.
	Others map[Key]*unstructured.Unstructured
}

// Key names a child within its session's namespace.
type Key struct{ Kind, Name string }

// KeyOf is the key of an object.
func KeyOf(o *unstructured.Unstructured) Key { return Key{o.GetKind(), o.GetName()} }

// PodLives reports whether a desktop is there that must not be disturbed.
func (c Children) PodLives() bool {
	return c.Pod != nil && c.Pod.DeletionTimestamp == nil && !desktop.Ended(c.Pod)
}

// Which are the further children of which that holds, always in the same order: the
// same knowledge makes the same writes.
func (c Children) Which(holds func(*unstructured.Unstructured) bool) (found []*unstructured.Unstructured) {
	for _, o := range c.Others {
		if holds(o) {
			found = append(found, o)
		}
	}
	slices.SortFunc(found, func(a, b *unstructured.Unstructured) int {
		return cmp.Or(cmp.Compare(a.GetKind(), b.GetKind()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return found
}

// ClaimNamed is the claim of that name, if it was seen.
func (c Children) ClaimNamed(name string) *corev1.PersistentVolumeClaim {
	for _, claim := range []*corev1.PersistentVolumeClaim{c.Existing, c.Claim} {
		if claim != nil && claim.Name == name {
			return claim
		}
	}
	return nil
}
