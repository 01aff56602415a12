package plan

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/desktop"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// State is the session with what the pass knows of its use and its troubles, of which the
// status may not speak yet. It is a copy that shares everything else.
func (p *Pass) State() *vdi.VDISession {
	s := *p.Session
	s.Status.Activity, s.Status.Failures, s.Status.Downtime = p.Activity, p.Failures, p.Downtime
	return &s
}

// MayBeRefused reports whether nothing starts now: a desktop lives, or none should.
func (p *Pass) MayBeRefused() bool { return p.Seen.PodLives() || p.Decision.Want != Run }

// MayLack reports whether a child that is refused is only reported. A desktop that
// has never run waits for all it needs but its home, which its pod has or not.
func (p *Pass) MayLack(kind string) bool {
	return p.MayBeRefused() && (p.Decision.Want != Run || p.HasWorked() || kind == wire.KindPersistentVolumeClaim)
}

// Refuse notes why the next start would be refused: the first reason counts, but
// that the session itself is not accepted comes before all others.
func (p *Pass) Refuse(h *verdict.Verdict) {
	if p.Refusal == nil || h.Condition == vdi.ConditionAccepted {
		p.Refusal = h
	}
	if p.WayRefused == nil && h.Condition == vdi.ConditionReachable {
		p.WayRefused = h
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
func (f *Facts) HasWorked() bool { return f.Session.Status.StartTime != nil }

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
func (f *Facts) HomeInForce() string {
	if f.Seen.Pod == nil {
		return homes.ClaimName(f.Session)
	}
	for _, v := range f.Seen.Pod.Spec.Volumes {
		if v.Name == wire.VolumeHome && v.PersistentVolumeClaim != nil {
			return v.PersistentVolumeClaim.ClaimName
		}
	}
	return ""
}

// HadHome reports whether the session had a home of its own name, as it is to have now.
func (f *Facts) HadHome() bool {
	home, name := f.Session.Status.Home, f.HomeInForce()
	return name == renderer.HomeClaimName(f.Session.Name) && home != nil && home.ClaimName == name && home.UID != ""
}

// RouteRefused reports whether a part of the way in is missing because it was refused.
func (p *Pass) RouteRefused() bool {
	return p.WayRefused != nil && slices.ContainsFunc(p.Desired, func(o *unstructured.Unstructured) bool {
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
func (f *Facts) SamePod() bool {
	t := f.Session.Status.Timings
	return t != nil && t.Queued != nil && t.Queued.Time.Equal(f.Seen.Pod.CreationTimestamp.Time)
}

// HealthPath answers without credentials where the streamer has such a path.
func (f *Facts) HealthPath() string {
	if f.Template == nil {
		return "/"
	}
	spec := f.Template.Spec
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
func (f *Facts) GPUResource() string {
	if f.Template != nil {
		return f.Template.Spec.GPU.ResourceName
	}
	if g := f.Session.Status.GPU; g != nil {
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

// Reach is what is known about the way through the proxy.
type Reach string

const (
	ReachUnknown     Reach = ""            // nothing to ask about yet
	ReachAnswered    Reach = "Answered"    // the proxy led to the desktop
	ReachSilent      Reach = "Silent"      // it does not yet
	ReachRefused     Reach = "Refused"     // the cluster does not let the route be made
	ReachNotVerified Reach = "NotVerified" // nobody asks: sessions.verifyRoute is off
)
