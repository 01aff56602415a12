package plan

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

// decide applies the lifecycle, with the use of the desktop and the API server's own time
// where the decision depends on them: a clock that jumps ends nothing.
func (p draft) decide() error {
	p.ForgetOldTroubles()
	p.Decide(p.Now)
	if p.DependsOnActivity() {
		if err := p.answer(AskUse); err != nil {
			return err
		}
		p.RequeueAfter = 0
		if p.Asking = p.UseIsDue; p.Asking {
			p.Decision = DecideByPerson(p.Session) // the answer is on its way
			return nil
		}
		p.Activity = unlessSame(p.Activity, p.Use)
		p.Decide(p.Now)
	}
	if !IsEnd(p.Decision) {
		return nil
	}
	if err := p.answer(AskTime); err != nil {
		return err
	}
	p.Now = p.ServerTime // by which the state is described, too
	p.Decide(p.Now)
	return nil
}

// sameUse is by how much the times of one and the same use may differ: each is written
// in whole seconds, by clocks that are compared in whole seconds.
const sameUse = 2 * time.Second

// unlessSame is the latter use, or the former if that is the same.
func unlessSame(former, latter *vdi.ActivityStatus) *vdi.ActivityStatus {
	if former == nil || former.LastActivityTime == nil || latter == nil || latter.LastActivityTime == nil {
		return latter
	}
	if latter.LastActivityTime.Sub(former.LastActivityTime.Time).Abs() <= sameUse {
		latter = latter.DeepCopy()
		latter.LastActivityTime = former.LastActivityTime
	}
	return latter
}

// UsedSince reports whether a desktop was used, or may have been, since an idle stop was
// decided by what was known then.
func UsedSince(decided, latest *vdi.ActivityStatus) bool {
	if latest == nil || decided == nil || decided.LastActivityTime == nil {
		return true
	}
	return latest.LastActivityTime.After(decided.LastActivityTime.Add(sameUse))
}

// end records why a run ends before it does: a session so marked keeps its home whatever its
// policy says.
func (p draft) end() error {
	switch p.Decision.Want {
	case DeleteSession:
		p.record(p.Decision.Reason, p.Decision.Reason)
		p.do(EndSession{})
		return errDone
	case SuspendNow:
		p.record(p.Decision.Reason, "")
		p.do(SetRunPolicy{vdi.RunPolicySuspended})
	}
	return nil
}

// record writes why a run stops, unless that stands there.
func (p draft) record(stop, end vdi.StopReason) {
	if st := p.Session.Status; st.StopReason != stop || st.EndReason != end {
		p.do(Record{stop, end})
	}
}

// stop stops the desktop of a session that should not run. It comes before everything that
// could be refused. Once in a stop the API server is asked for a way in that the cache does
// not show: one that has lost its labels is not watched.
func (p draft) stop() error {
	if p.Decision.Want == Run {
		return nil
	}
	if p.Seen.PodLives() && p.stopReason() == vdi.StopIdle {
		p.do(UnlessUsed{})
	}
	p.stopDesktop()
	if p.Seen.Pod != nil || p.Session.Status.Phase == vdi.PhaseSuspended {
		return nil
	}
	if err := p.answer(AskUnseenWays); err != nil {
		return err
	}
	for _, way := range p.UnseenWays {
		if metav1.IsControlledBy(way, p.Session) && way.DeletionTimestamp == nil {
			p.do(RemoveWay{way})
		}
	}
	return nil
}

// stopReason is why the run stops, as it is recorded once this plan is carried out.
func (p draft) stopReason() vdi.StopReason {
	if r, found := planned[Record](p.Writes); found {
		return r.Stop
	}
	return p.Session.Status.StopReason
}

func (p draft) stopDesktop() {
	w := StopDesktop{Ways: p.Seen.Which(func(o *unstructured.Unstructured) bool {
		return RunsOnly(o.GetKind()) && o.GetDeletionTimestamp() == nil
	})}
	if pod := p.Seen.Pod; pod != nil && pod.DeletionTimestamp == nil {
		w.Pod = pod
	}
	if len(w.Ways) > 0 || w.Pod != nil {
		p.do(w)
	}
}

// labelForProxy gives the label to routes and middlewares that lack it, as those of earlier
// versions do, whatever else the session waits for: the proxy would not see them. Nothing
// but the label is written, so that a living desktop stays as it was started.
func (p draft) labelForProxy() error {
	for _, o := range p.Seen.Which(func(o *unstructured.Unstructured) bool {
		return isUnlabelled(o) && p.Wants(o)
	}) {
		p.do(Label{o})
	}
	return nil
}

func isUnlabelled(o *unstructured.Unstructured) bool {
	return verdict.IsProxyKind(o.GetKind()) && o.GetDeletionTimestamp() == nil && o.GetLabels()[wire.LabelProxy] != wire.LabelOn
}

// releaseHomes makes the claims free that the session does not go on to use, once its pod is
// gone.
func (p draft) releaseHomes() error {
	next := ""
	if p.Decision.Want == Run && p.Session.DeletionTimestamp == nil {
		next = homes.ClaimName(p.Session)
	}
	for _, w := range p.Releases(next) {
		p.do(w)
	}
	return nil
}

// Releases are the writes that make claims of the session free, but the next one.
func (p *Pass) Releases(next string) (writes []Release) {
	if p.Seen.Pod != nil {
		return nil // it may still write
	}
	s := p.Session
	own, recorded, named := renderer.HomeClaimName(s.Name), homes.RecordedClaimName(s), homes.ClaimName(s)
	done := map[string]bool{"": true, next: true}
	if w, found := planned[LeaveHome](p.Writes); found {
		done[w.Claim.Name] = true // the same write releases it
	}
	if w, found := planned[DeleteHome](p.Writes); found {
		done[w.Claim.Name] = true
	}
	if _, asked := p.Answered[AskLeftClaim]; asked && p.LeftClaim == nil {
		done[own] = true // the API server has none
	}
	for _, name := range []string{own, recorded, named} {
		if done[name] {
			continue
		}
		done[name] = true
		last, known := p.Released[name]
		switch claim := p.Seen.Claim; {
		case claim != nil && claim.Name == name:
			if homes.IsHeld(s, claim) && (!known || claim.Annotations[wire.AnnotationHolder] != last) {
				writes = append(writes, Release{name, claim})
			}
		case !known && (name == recorded || name == named):
			writes = append(writes, Release{Name: name})
		}
	}
	return writes
}

// keepRegistered gives a desktop back the finalizer that an uninstall has taken
// off: its end must be orderly, whatever is refused to the session now.
func (p draft) keepRegistered() error {
	if p.Seen.Pod == nil {
		return nil
	}
	return p.register()
}

// keepFinalizer is the same for a session without a desktop that has a home or a host.
func (p draft) keepFinalizer() error {
	hasHost := p.Session.Status.Host != "" && platform.HostNeedsClaim(p.Platform.Sessions)
	if p.Session.Status.Home == nil && !hasHost {
		return nil
	}
	return p.register()
}

func (p draft) register() error {
	if _, found := planned[AddFinalizer](p.Writes); !found && !controllerutil.ContainsFinalizer(p.Session, wire.Finalizer) {
		p.do(AddFinalizer{})
	}
	return nil
}

// Bounds of the wait before a pod that ended by itself is replaced.
const (
	firstRestart = 10 * time.Second
	lastRestart  = 5 * time.Minute
)

// leaveNode removes a living pod that has to be off its node, so that the next one starts
// elsewhere. The ways in stay: the run goes on.
func (p draft) leaveNode() error {
	if p.Decision.Restart {
		p.do(StopDesktop{Pod: p.Seen.Pod})
	}
	return nil
}

// clearFailed removes a pod that ended by itself: evicted, refused by a device
// plugin, or lost with its node. Containers that crash are the kubelet's to
// restart and never come here. The session goes on with a new pod on the same
// home; each failure in a row makes the wait longer.
func (p draft) clearFailed() error {
	pod := p.Seen.Pod
	if p.Decision.Want != Run || pod == nil || pod.DeletionTimestamp != nil || !desktop.Ended(pod) {
		return nil
	}
	if wait := restartAfter(p.Failures) - p.EndedFor; wait > 0 {
		p.LookAgainAfter(wait)
		return nil
	}
	p.do(ClearFailed{pod})
	return nil
}

// restartAfter is how long a pod that ended stays before it is replaced.
func restartAfter(failures int32) time.Duration {
	if failures < 5 { // 10 s, 20 s, 40 s, 80 s, 160 s
		return firstRestart << failures
	}
	return lastRestart
}

// keepTURNLogin sees to the login of a living desktop, whatever became of its
// template. It stops with the run: after that the relay takes nobody in for
// longer than the last login holds. A desktop is not disturbed by a login that
// cannot be made; it says so.
func (p draft) keepTURNLogin() error {
	if p.Decision.Want == Run && p.Seen.PodLives() && p.Seen.Pod.Annotations[wire.AnnotationTransport] == string(vdi.TransportWebRTC) {
		p.Writes = append(p.Writes, Write{Action: KeepTURNLogin{}, MayLack: true})
	}
	return nil
}

// LateAppearance is longer than a cache takes to show what was made: a home that a desktop runs
// on is missed only then.
const LateAppearance = 10 * time.Second

// missHome notices that the claim which the session had is gone. Kubernetes keeps a claim
// that a pod uses, but whoever takes its finalizer away can remove it. Only words and the
// place of the claim depend on it, so an API server that cannot be asked holds up nothing.
func (p draft) missHome() error {
	if p.Seen.Claim != nil || !p.HadHome() || p.Starting() || (p.Seen.PodLives() && !desktop.HasStarted(p.Seen.Pod)) {
		return nil
	}
	if p.Seen.PodLives() && !p.LateBy(LateAppearance) {
		return nil
	}
	return p.answer(AskHome)
}
