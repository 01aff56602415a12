package plan

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vdi-platform/vdi-platform/operator/accounting"
	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// Built-in lifecycle values, used where neither session nor template names one.
const (
	defaultTimeout      = 8 * time.Hour
	defaultWarnBefore   = 10 * time.Minute
	defaultMaxExtension = 24 * time.Hour
)

// mostAhead is by how much a time may lie ahead that was noted by the same clock.
const mostAhead = time.Minute

// Want says what should become of a session.
type Want string

const (
	// Run: the desktop should run.
	Run Want = "Run"
	// StayStopped: pod and route should be gone; the session stays.
	StayStopped Want = "Stop"
	// SuspendNow: the operator itself ends this run and keeps the session.
	SuspendNow Want = "Suspend"
	// DeleteSession: the operator deletes the session; the home is kept.
	DeleteSession Want = "End"
	// restart is what an end may want that is none of the run: see Decision.Restart.
	restart Want = "Restart"
)

// Decision is what the lifecycle says about a session at one moment.
type Decision struct {
	Want         Want
	Restart      bool               // of Run: this pod goes, and another one comes
	Reason       vdi.StopReason     // of StayStopped, SuspendNow and DeleteSession
	ExpiresAt    *metav1.Time       // when the present state ends; nil when it does not
	Because      vdi.StopReason     // what ends it then
	Announced    []vdi.Announcement // the ends that are near, and since when that is announced
	Warn         vdi.End            // the first of them
	Held         bool               // and its clock stands still
	RequeueAfter time.Duration      // until the next deadline; 0 when there is none
}

// deadline is one possible end of the present state.
type deadline struct {
	end    vdi.End
	at     time.Time
	want   Want
	reason vdi.StopReason
	warn   time.Duration // how long before a person is warned
	held   bool          // its clock stands still: it neither comes nor is lifted
	firm   bool          // it comes no sooner than it was announced for, whatever others do
}

// Decide says what should become of a session now. It is the specification of
// all ends: none comes early, nor before it was announced for its time;
// keepAliveUntil can only move the end of a run back, and unknown activity is
// never idleness. More are the ends that depend on others.
func Decide(s *vdi.VDISession, rules vdi.TemplateLifecycle, now time.Time, more ...deadline) Decision {
	d := DecideByPerson(s)
	if HasProven(s.Status, now) { // what went wrong before is forgotten when it stops to work
		forgiven := *s
		forgiven.Status.Downtime = nil
		s = &forgiven
	}
	var first, soon deadline // the first end, and the first of those that are announced
	for _, next := range append(deadlines(s, rules), more...) {
		if !next.held {
			d.LookAgainAfter(next.at.Add(-next.warn).Sub(now))
		}
		if announcement := next.announce(s.Status, now); announcement != nil {
			d.Announced = append(d.Announced, *announcement)
			if next.isBefore(soon) {
				soon = next
			}
		}
		if !next.held {
			d.LookAgainAfter(next.at.Sub(now))
			if next.isBefore(first) {
				first = next
			}
		}
	}
	d.LookAgainAfter(askAgain(s, rules))
	d.Warn, d.Held = soon.end, soon.held
	if d.Held && s.Status.Phase == vdi.PhaseRunning && s.Status.PhaseSince != nil { // then the warning may be over
		d.LookAgainAfter(s.Status.PhaseSince.Add(ProvenAfter).Sub(now))
	}
	if first.end == "" {
		return d
	}
	d.ExpiresAt, d.Because = &metav1.Time{Time: first.at}, first.reason
	switch due := !now.Before(first.at); {
	case due && first.want == restart:
		d.Restart = true
	case due:
		d.Want, d.Reason = first.want, first.reason
	}
	return d
}

// announce is the announcement of an end that is near, nil of others. The end then
// comes no sooner than people were warned for its time.
func (d *deadline) announce(st vdi.VDISessionStatus, now time.Time) *vdi.Announcement {
	before := announced(st, d.end, now)
	since := metav1.Time{Time: now.Truncate(time.Second)}
	if before != nil {
		since = before.Since
	}
	switch {
	case d.held && before != nil:
		return &vdi.Announcement{End: d.end, Since: since}
	case d.held, now.Before(d.at.Add(-d.warn)):
		return nil
	case d.firm && before != nil && before.At != nil:
		d.at = accounting.Later(d.at, before.At.Time)
	}
	d.at = accounting.Later(d.at, since.Add(d.warn))
	return &vdi.Announcement{End: d.end, Since: since, At: &metav1.Time{Time: d.at}}
}

// isBefore tells which of two ends comes first. One that is held comes after all
// others, and none at all last.
func (d deadline) isBefore(other deadline) bool {
	return other.end == "" || (!d.held && (other.held || d.at.Before(other.at)))
}

// IsEnd reports whether the operator itself has to act.
func IsEnd(d Decision) bool { return d.Want == DeleteSession || d.Want == SuspendNow || d.Restart }

// LookAgainAfter asks for the next look after so long, unless an earlier one is asked for.
func (d *Decision) LookAgainAfter(after time.Duration) {
	if after > 0 && (d.RequeueAfter == 0 || after < d.RequeueAfter) {
		d.RequeueAfter = after
	}
}

// IsNear reports whether that end is near.
func (d *Decision) IsNear(end vdi.End) bool {
	return slices.ContainsFunc(d.Announced, func(a vdi.Announcement) bool { return a.End == end })
}

// announced is how an end is announced; nil: it is not. Whatever is edited meanwhile,
// only an end that is no longer near is announced anew: else edits could put one
// off for ever. Nor can a clock that was wrong: what it announced for a later time
// is announced anew.
func announced(st vdi.VDISessionStatus, end vdi.End, now time.Time) *vdi.Announcement {
	i := slices.IndexFunc(st.Announcements, func(a vdi.Announcement) bool {
		return a.End == end && a.Since.Time.Before(now.Add(mostAhead))
	})
	if i < 0 {
		return nil
	}
	return &st.Announcements[i]
}

// DecideByPerson is what its user wishes, whatever the clock says.
func DecideByPerson(s *vdi.VDISession) Decision {
	if s.Spec.RunPolicy == vdi.RunPolicySuspended {
		return Decision{Want: StayStopped, Reason: vdi.StopUser}
	}
	return Decision{Want: Run}
}

// deadlines are all ends that apply to the session's state.
func deadlines(s *vdi.VDISession, rules vdi.TemplateLifecycle) (all []deadline) {
	for _, end := range []func(*vdi.VDISession, vdi.TemplateLifecycle) (deadline, bool){
		timeoutEnd, idleEnd, startingEnd, failedEnd, suspendedEnd,
	} {
		if d, applies := end(s, rules); applies {
			all = append(all, d)
		}
	}
	return all
}

// timeoutEnd: a run is counted from status.startTime.
func timeoutEnd(s *vdi.VDISession, rules vdi.TemplateLifecycle) (deadline, bool) {
	timeout := longestRun(s.Spec, rules)
	if !Runs(s) || timeout == 0 {
		return deadline{}, false
	}
	end := s.Status.StartTime.Add(timeout)
	return deadline{
		end: vdi.EndTimeout, at: extended(s, rules, end, end),
		want: actionOf(s, rules), reason: vdi.StopExpired, warn: warnBefore(rules, timeout),
	}, true
}

// idleEnd: idleness is counted from the last known use, or from the start of
// the run, so that a resumed desktop does not die of its old idle time. While
// nobody knows whether the desktop is used, the end is held.
func idleEnd(s *vdi.VDISession, rules vdi.TemplateLifecycle) (deadline, bool) {
	idle := IdleTimeout(s.Spec, rules)
	if !Runs(s) || idle == 0 {
		return deadline{}, false
	}
	d := deadline{end: vdi.EndIdle, want: SuspendNow, reason: vdi.StopIdle, warn: warnBefore(rules, idle)}
	if d.held = !ActivityKnown(s); !d.held {
		end := accounting.Later(s.Status.StartTime.Time, s.Status.Activity.LastActivityTime.Time).Add(idle)
		d.at = extended(s, rules, end, idleBound(s, rules, end))
	}
	return d, true
}

// startingEnd: a start that hangs must not hold a GPU for ever. A run that has
// begun is no start, also while its desktop does not answer for a while.
func startingEnd(s *vdi.VDISession, rules vdi.TemplateLifecycle) (deadline, bool) {
	if s.Status.StartTime != nil {
		return deadline{}, false
	}
	return downtimeEnd(s, vdi.EndStarting, rules.MaxStarting, rules, SuspendNow, true)
}

// failedEnd: a desktop that cannot work is cleared away in the end. One that
// works and is out of reach is not.
func failedEnd(s *vdi.VDISession, rules vdi.TemplateLifecycle) (deadline, bool) {
	failing := s.Status.Downtime != nil && s.Status.Downtime.Failing
	return downtimeEnd(s, vdi.EndFailed, rules.MaxFailed, rules, DeleteSession, failing)
}

// downtimeEnd is the end of a run that does not work. It is held while that
// clock stands still, so that no hiccup makes it begin anew.
func downtimeEnd(s *vdi.VDISession, end vdi.End, longest vdi.Duration, rules vdi.TemplateLifecycle, w Want, counts bool) (deadline, bool) {
	limit, down := longest.Or(0), s.Status.Downtime
	if limit == 0 || down == nil || s.Spec.RunPolicy == vdi.RunPolicySuspended {
		return deadline{}, false
	}
	d := deadline{end: end, want: w, reason: vdi.StopFailed, warn: warnBefore(rules, limit)}
	if d.held = !counts || down.Since == nil; !d.held {
		d.at = down.Since.Add(limit - time.Duration(down.Seconds)*time.Second)
	}
	return d, true
}

// suspendedEnd: forgotten sessions are cleared away; their homes are kept.
func suspendedEnd(s *vdi.VDISession, rules vdi.TemplateLifecycle) (deadline, bool) {
	limit, st := rules.MaxSuspended.Or(0), s.Status
	if limit == 0 || s.Spec.RunPolicy != vdi.RunPolicySuspended || st.Phase != vdi.PhaseSuspended || st.PhaseSince == nil {
		return deadline{}, false
	}
	return deadline{
		end: vdi.EndSuspended, at: st.PhaseSince.Add(limit), want: DeleteSession, reason: vdi.StopExpired, warn: warnBefore(rules, limit),
	}, true
}

// askAgain: while the use of a running desktop is unknown, it is asked for once
// per idle timeout; the answer may come with an agent or an annotation.
func askAgain(s *vdi.VDISession, rules vdi.TemplateLifecycle) time.Duration {
	if !Runs(s) || ActivityKnown(s) {
		return 0
	}
	return IdleTimeout(s.Spec, rules)
}

// Runs reports whether the session is in a run whose clock has started.
func Runs(s *vdi.VDISession) bool {
	return s.Spec.RunPolicy != vdi.RunPolicySuspended && s.Status.StartTime != nil
}

// ActivityKnown reports whether it is known when the desktop was last used.
func ActivityKnown(s *vdi.VDISession) bool {
	return s.Status.Activity != nil && s.Status.Activity.LastActivityTime != nil
}

// extended moves an end of a run to keepAliveUntil, as far beyond the bound of
// the run as the template allows; it never moves it forward.
func extended(s *vdi.VDISession, rules vdi.TemplateLifecycle, end, bound time.Time) time.Time {
	most := rules.MaxExtension.Or(defaultMaxExtension)
	if s.Spec.KeepAliveUntil == nil || most == 0 {
		return end
	}
	return accounting.Later(end, Earlier(s.Spec.KeepAliveUntil.Time, bound.Add(most)))
}

// idleBound is where an idle run ends that nobody extends: at its timeout, as far
// as the template grants one, and without one when it is idle. A person who
// wishes for a longer run is not granted a longer idle one.
func idleBound(s *vdi.VDISession, rules vdi.TemplateLifecycle, idleEnd time.Time) time.Time {
	timeout, granted := longestRun(s.Spec, rules), rules.MaxTimeout.Or(0)
	if granted == 0 {
		granted = rules.Timeout.Or(defaultTimeout)
	}
	if timeout == 0 || granted == 0 {
		return idleEnd
	}
	return s.Status.StartTime.Add(min(timeout, granted))
}

// longestRun is the longest run: the session's wish, else the template's default,
// cut to the template's maximum. 0 means no limit.
func longestRun(spec vdi.VDISessionSpec, rules vdi.TemplateLifecycle) time.Duration {
	return bounded(spec.Timeout.Or(rules.Timeout.Or(defaultTimeout)), rules.MaxTimeout)
}

// IdleTimeout is the same for idleness. 0 means never.
func IdleTimeout(spec vdi.VDISessionSpec, rules vdi.TemplateLifecycle) time.Duration {
	return bounded(spec.IdleTimeout.Or(rules.IdleTimeout.Or(0)), rules.MaxIdleTimeout)
}

// bounded cuts a wish to the template's maximum; a wish for no limit is the longest of all.
func bounded(wish time.Duration, maximum vdi.Duration) time.Duration {
	limit := maximum.Or(0)
	if limit > 0 && (wish == 0 || wish > limit) {
		return limit
	}
	return wish
}

// warnBefore is how long before an end a person is warned: never more than half
// of the whole time, or a short run would begin with its warning.
func warnBefore(rules vdi.TemplateLifecycle, whole time.Duration) time.Duration {
	return min(rules.WarnBefore.Or(defaultWarnBefore), whole/2)
}

func actionOf(s *vdi.VDISession, rules vdi.TemplateLifecycle) Want {
	action := s.Spec.TimeoutAction
	if action == "" {
		action = rules.TimeoutAction
	}
	if action == vdi.TimeoutSuspend {
		return SuspendNow
	}
	return DeleteSession
}

// Earlier is the earlier of two times.
func Earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
