// Package plan is what is decided about a session: what a pass knows of it, whether its
// desktop should run, when its present state ends, and which of its objects are as they
// should be. Everything here is pure: it reads no clock, no cache and no API server.
package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/session/desktop"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// Pass is one look at one session: what was read, what was decided, what came of it. The
// status is computed from it alone. Each field names the file of package session that sets it.
type Pass struct {
	// What is known before anything is decided.

	Session  *vdi.VDISession  // gather; as the API server has it: each write of this pass replaces it
	Now      time.Time        // gather; ask sets the API server's time, by which an end is confirmed
	OIDC     bool             // gather: visitors of a desktop that starts now log in at an identity provider
	Template *vdi.VDITemplate // gather; nil when it does not exist
	// StartedBy are the rules of the template by which a desktop was started that
	// was not reported yet.
	StartedBy *vdi.TemplateLifecycle // gather
	// Seen are the session's objects: gather; who writes one puts in what it is then.
	Seen Children

	// What was asked for, where something depends on it.

	Asking     bool             // ask: the desktop's agent was asked for its use and has not answered yet
	SharedWith *corev1.Pod      // home: another desktop on the home of this living one
	HomeSeen   bool             // home: it was looked at
	HomeGone   bool             // home: the claim that the session had does not exist any more
	Cause      *verdict.Verdict // cause: what keeps the pod from starting, where it does not say itself
	Reach      Reach            // ask: what is known about the way through the proxy
	Confirmed  bool             // controller: the API server itself was asked for the session

	// What was decided.

	Decision  Decision                     // the lifecycle; anew after each answer that it depends on
	Resources vdi.SessionResources         // accept
	Host, URL string                       // accept
	HasHost   bool                         // accept: nobody else has it
	Encoder   vdi.EncoderChoice            // accept: what the template's encoder comes to
	Input     renderer.Input               // accept
	Desired   []*unstructured.Unstructured // accept; in install order, nil when nothing had to be rendered
	Claims    []string                     // accept: that the pod mounts beside its home
	Pending   []string                     // apply: what the next start will change

	// What came of it.

	StoppedBy   *verdict.Verdict // the step that ended the pass early
	Refusal     *verdict.Verdict // any step: why the next start would be refused as things are; this desktop lives, or is to stop
	SizeRefused *verdict.Verdict // home: why it stays as large as it is
	HomeDiffers string           // home: in what it is not as asked for
	Credentials bool             // credentials: the Secret of this session exists
	Verifier    string           // credentials: of its password, where the pass knows it
	Made        bool             // apply: this pass made the pod
	Repaired    []string         // apply: kinds that had drifted and were put back
	Altered     bool             // apply: somebody changed an object on its way into the cluster
	Replaced    []string         // every write: resource versions of the session that this pass replaced
	Ended       bool             // end: it was recorded and the session's deletion sent
	HomeKept    *KeptHome        // finalize: the deleted session was to take it along
	LetGo       bool             // finalize: the deleted session was let go

	// What the status says next of these, beside what follows from the rest.

	Activity *vdi.ActivityStatus // ask: the last known use
	Failures int32               // end: pods that ended by themselves
	Downtime *vdi.DowntimeStatus // the lifecycle forgets it

	// RequeueAfter is when to look again, whoever asked for it; see LookAgainAfter.
	RequeueAfter time.Duration
}

// NewPass begins a look at a session.
func NewPass(s *vdi.VDISession, now time.Time, oidc bool) *Pass {
	return &Pass{
		Session: s, Now: now, OIDC: oidc,
		Activity: s.Status.Activity, Failures: s.Status.Failures, Downtime: s.Status.Downtime,
	}
}

// State is the session with what the pass knows of its use and its troubles, of which the
// status may not speak yet. It is a copy that shares everything else.
func (p *Pass) State() *vdi.VDISession {
	s := *p.Session
	s.Status.Activity, s.Status.Failures, s.Status.Downtime = p.Activity, p.Failures, p.Downtime
	return &s
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

// MayBeRefused reports whether nothing starts now: a desktop lives, or none should.
func (p *Pass) MayBeRefused() bool { return p.Seen.PodLives() || p.Decision.Want != Run }

// MayLack reports whether a child that is refused is only reported. A desktop that
// has never run waits for all it needs but its home, which its pod has or not.
func (p *Pass) MayLack(kind string) bool {
	begun := p.Session.Status.StartTime != nil && !p.Made
	return p.MayBeRefused() && (p.Decision.Want != Run || begun || kind == wire.KindPersistentVolumeClaim)
}

// Refuse notes why the next start would be refused: the first reason counts, but
// that the session itself is not accepted comes before all others.
func (p *Pass) Refuse(h *verdict.Verdict) {
	if p.Refusal == nil || h.Condition == vdi.ConditionAccepted {
		p.Refusal = h
	}
	p.LookAgainAfter(h.Retry)
}

// LookAgainAfter asks for another pass after d, unless an earlier one is already asked for.
func (p *Pass) LookAgainAfter(d time.Duration) {
	if d > 0 && (p.RequeueAfter == 0 || d < p.RequeueAfter) {
		p.RequeueAfter = d
	}
}

// Starting reports whether this pass is to create a pod.
func (p *Pass) Starting() bool { return p.Decision.Want == Run && p.Seen.Pod == nil }

// LateBy reports whether the pod was made so long ago; if not, the pass is made again then.
func (p *Pass) LateBy(bound time.Duration) bool {
	left := bound - desktop.Age(p.Seen.Pod, p.Now)
	p.LookAgainAfter(left)
	return left <= 0
}

// Gone reports whether the session left the cluster during the pass.
func (p *Pass) Gone() bool {
	return p.Ended || (p.Session.DeletionTimestamp != nil &&
		!controllerutil.ContainsFinalizer(p.Session, wire.Finalizer))
}

// HasWorked reports whether the desktop has been Running in this run.
func (p *Pass) HasWorked() bool { return p.Session.Status.StartTime != nil }

// EncoderName is what the desktop encodes with, or will.
func (p *Pass) EncoderName() string {
	streamer := p.Template.Spec.Streamer
	if p.Seen.PodLives() {
		if name := desktop.Encoder(streamer, p.Seen.Pod); name != "" {
			return name
		}
	}
	return platform.EncoderFor(p.Encoder, streamer, *p.Resources.GPU)
}

// Wrote notes which version of the session a write has replaced by which. A write that
// changed nothing replaced nothing.
func (p *Pass) Wrote(before, after *vdi.VDISession) {
	if before.ResourceVersion != after.ResourceVersion {
		p.Replaced = append(p.Replaced, before.ResourceVersion)
	}
}

// HomeInForce is the claim that the session's pod mounts as its home; while
// there is none, the one that the next pod will.
func (p *Pass) HomeInForce() string {
	if p.Seen.Pod == nil {
		return homes.ClaimName(p.Session)
	}
	for _, v := range p.Seen.Pod.Spec.Volumes {
		if v.Name == wire.VolumeHome && v.PersistentVolumeClaim != nil {
			return v.PersistentVolumeClaim.ClaimName
		}
	}
	return ""
}

// HadHome reports whether the session had a home of its own name, as it is to have now.
func (p *Pass) HadHome() bool {
	home, name := p.Session.Status.Home, p.HomeInForce()
	return name == renderer.HomeClaimName(p.Session.Name) && home != nil && home.ClaimName == name && home.UID != ""
}

// RouteRefused reports whether a part of the way in is missing because it was refused.
func (p *Pass) RouteRefused() bool {
	return p.Refusal != nil && p.Refusal.Condition == vdi.ConditionReachable && slices.ContainsFunc(p.Desired, func(o *unstructured.Unstructured) bool {
		return verdict.IsProxyKind(o.GetKind()) && p.Seen.Others[KeyOf(o)] == nil
	})
}

// SilentFor is how long it is known that the proxy does not lead to this pod.
func (p *Pass) SilentFor() time.Duration {
	c := meta.FindStatusCondition(p.Session.Status.Conditions, vdi.ConditionReachable)
	if c == nil || c.Reason != vdi.ReasonRouteNotAnswering || !p.SamePod() {
		return 0
	}
	return p.Now.Sub(c.LastTransitionTime.Time)
}

// SamePod reports whether the condition in the status speaks of the pod that runs now.
func (p *Pass) SamePod() bool {
	t := p.Session.Status.Timings
	return t != nil && t.Queued != nil && t.Queued.Time.Equal(p.Seen.Pod.CreationTimestamp.Time)
}

// HealthPath answers without credentials where the streamer has such a path.
func (p *Pass) HealthPath() string {
	if p.Template == nil {
		return "/"
	}
	spec := p.Template.Spec
	return cmp.Or(spec.HealthPath, platform.FactsOf(spec.Streamer).HealthPath, "/")
}

// HostName is the host decided in this pass, else the one the session has.
func (p *Pass) HostName() string {
	if p.Host != "" {
		return p.Host
	}
	return p.Session.Status.Host
}

// InOrder reports whether the pass compared everything and left nothing to do or to report.
func (p *Pass) InOrder() bool {
	return p.Desired != nil && p.StoppedBy == nil && p.Decision.Want == Run && p.Seen.PodLives() &&
		len(p.Pending) == 0 && len(p.Repaired) == 0 && p.Refusal == nil && p.SizeRefused == nil && p.HomeDiffers == "" && !p.Altered
}

// NotAccepted is why the session itself was not accepted; nil when it was.
func (p *Pass) NotAccepted() *verdict.Verdict {
	for _, h := range []*verdict.Verdict{p.StoppedBy, p.Refusal} {
		if h != nil && h.Condition == vdi.ConditionAccepted {
			return h
		}
	}
	return nil
}

// GPUResource is the name of the resource that the desktop asks for as its GPU.
func (p *Pass) GPUResource() string {
	if p.Template != nil {
		return p.Template.Spec.GPU.ResourceName
	}
	if g := p.Session.Status.GPU; g != nil {
		return g.ResourceName
	}
	return ""
}

// IsFirstStart reports whether this pass did nothing but start a session for the
// first time. The pod's first news follows within milliseconds and says more, so
// one status write is saved. A crash in between loses nothing: the next pass
// finds the pod without a status. An existing claim is not watched: what the pass
// has seen of it is recorded now.
func (p *Pass) IsFirstStart() bool {
	return p.Made && p.StoppedBy == nil && p.Session.Status.Phase == "" && p.Session.DeletionTimestamp == nil && p.Seen.Existing == nil
}

// KeptHome is a home that stays although its session was to take it along, and why.
type KeptHome struct {
	Claim *corev1.PersistentVolumeClaim
	Why   string
}

// Note says it in an event.
func (k KeptHome) Note(s *vdi.VDISession) string {
	return fmt.Sprintf("The session %s is gone, and was to take its home along (reclaimPolicy Delete), but the home is kept: %s", s.Name, k.Why)
}

// Reach is what is known about the way through the proxy.
type Reach string

const (
	ReachUnknown     Reach = ""            // nothing to ask about yet
	ReachAnswered    Reach = "Answered"    // the proxy led to the desktop
	ReachSilent      Reach = "Silent"      // it does not yet
	ReachRefused     Reach = "Refused"     // the cluster does not let the route be made
	ReachNotVerified Reach = "NotVerified" // nobody asks: sessions.verifyRoute is off
)
