package session

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// Built-in lifecycle values, used where neither session nor template names one.
const (
	defaultTimeout      = 8 * time.Hour
	defaultWarnBefore   = 10 * time.Minute
	defaultMaxExtension = 24 * time.Hour
)

// want says what should become of a session.
type want string

const (
	// wantRun: the desktop should run.
	wantRun want = "Run"
	// wantStop: pod and route should be gone; the session stays.
	wantStop want = "Stop"
	// wantSuspend: the operator itself ends this run and keeps the session.
	wantSuspend want = "Suspend"
	// wantEnd: the operator deletes the session; the home is kept.
	wantEnd want = "End"
)

// decision is what the lifecycle says about a session at one moment.
type decision struct {
	want      want
	reason    vdi.StopReason // of wantStop, wantSuspend and wantEnd
	expiresAt *metav1.Time   // when the present state ends; nil when it does not
	because   vdi.StopReason // what ends it then
	warn      bool           // the end is near
	lookAgain time.Duration  // until the next deadline; 0 when there is none
}

// deadline is one possible end of the present state.
type deadline struct {
	at     time.Time
	want   want
	reason vdi.StopReason
	warn   time.Duration // how long before a person is warned
}

// decide says what should become of a session now. It is the specification of
// all ends: none comes early, keepAliveUntil can only move the end of a run
// back, and unknown activity is never idleness.
func decide(s *vdi.VDISession, rules vdi.TemplateLifecycle, now time.Time) decision {
	d := decideByPerson(s)
	next, found := nextEnd(s, rules)
	if !found {
		d.lookAgain = askAgain(s, rules)
		return d
	}
	d.expiresAt, d.because = &metav1.Time{Time: next.at}, next.reason
	warnAt := next.at.Add(-next.warn)
	switch {
	case !now.Before(next.at):
		d.want, d.reason = next.want, next.reason
	case !now.Before(warnAt):
		d.warn, d.lookAgain = true, next.at.Sub(now)
	default:
		d.lookAgain = warnAt.Sub(now)
	}
	if again := askAgain(s, rules); again > 0 && (d.lookAgain == 0 || again < d.lookAgain) {
		d.lookAgain = again
	}
	return d
}

// decideByPerson is what its user wishes, whatever the clock says.
func decideByPerson(s *vdi.VDISession) decision {
	if s.Spec.RunPolicy == vdi.RunPolicySuspended {
		return decision{want: wantStop, reason: vdi.StopUser}
	}
	return decision{want: wantRun}
}

// nextEnd is the first of all deadlines that apply to the session's state.
func nextEnd(s *vdi.VDISession, rules vdi.TemplateLifecycle) (next deadline, found bool) {
	for _, end := range []func(*vdi.VDISession, vdi.TemplateLifecycle) (deadline, bool){
		timeoutEnd, idleEnd, startingEnd, failedEnd, suspendedEnd,
	} {
		d, applies := end(s, rules)
		if applies && (!found || d.at.Before(next.at)) {
			next, found = d, true
		}
	}
	return next, found
}

// timeoutEnd: a run is counted from status.startTime.
func timeoutEnd(s *vdi.VDISession, rules vdi.TemplateLifecycle) (deadline, bool) {
	timeout := timeoutOf(s.Spec, rules)
	if !runs(s) || timeout == 0 {
		return deadline{}, false
	}
	end := s.Status.StartTime.Add(timeout)
	return deadline{extended(s, rules, end), actionOf(s, rules), vdi.StopExpired, warnBefore(rules, timeout)}, true
}

// idleEnd: idleness is counted from the last known use, or from the start of
// the run, so that a resumed desktop does not die of its old idle time.
func idleEnd(s *vdi.VDISession, rules vdi.TemplateLifecycle) (deadline, bool) {
	idle := idleTimeoutOf(s.Spec, rules)
	if !runs(s) || idle == 0 || !activityKnown(s) {
		return deadline{}, false
	}
	since := later(s.Status.StartTime.Time, s.Status.Activity.LastActivityTime.Time)
	return deadline{extended(s, rules, since.Add(idle)), wantSuspend, vdi.StopIdle, warnBefore(rules, idle)}, true
}

// startingEnd: a start that hangs must not hold a GPU for ever. A run that has
// begun is no start, also while its desktop does not answer for a while.
func startingEnd(s *vdi.VDISession, rules vdi.TemplateLifecycle) (deadline, bool) {
	if s.Status.StartTime != nil {
		return deadline{}, false
	}
	return phaseEnd(s, vdi.PhaseCreating, rules.MaxStarting, rules, wantSuspend, vdi.StopFailed)
}

// failedEnd: a session that cannot work is cleared away in the end.
func failedEnd(s *vdi.VDISession, rules vdi.TemplateLifecycle) (deadline, bool) {
	return phaseEnd(s, vdi.PhaseFailed, rules.MaxFailed, rules, wantEnd, vdi.StopFailed)
}

// suspendedEnd: forgotten sessions are cleared away; their homes are kept.
func suspendedEnd(s *vdi.VDISession, rules vdi.TemplateLifecycle) (deadline, bool) {
	if s.Spec.RunPolicy != vdi.RunPolicySuspended {
		return deadline{}, false
	}
	return phaseEnd(s, vdi.PhaseSuspended, rules.MaxSuspended, rules, wantEnd, vdi.StopExpired)
}

// phaseEnd is the end of a phase that has a longest time.
func phaseEnd(s *vdi.VDISession, phase vdi.Phase, longest vdi.Duration, rules vdi.TemplateLifecycle, w want, reason vdi.StopReason) (deadline, bool) {
	limit := durationOr(longest, 0)
	if limit == 0 || s.Status.Phase != phase || s.Status.PhaseSince == nil {
		return deadline{}, false
	}
	return deadline{s.Status.PhaseSince.Add(limit), w, reason, warnBefore(rules, limit)}, true
}

// askAgain: while the use of a running desktop is unknown, it is asked for once
// per idle timeout; the answer may come with an agent or an annotation.
func askAgain(s *vdi.VDISession, rules vdi.TemplateLifecycle) time.Duration {
	if !runs(s) || activityKnown(s) {
		return 0
	}
	return idleTimeoutOf(s.Spec, rules)
}

// runs tells whether the session is in a run whose clock has started.
func runs(s *vdi.VDISession) bool {
	return s.Spec.RunPolicy != vdi.RunPolicySuspended && s.Status.StartTime != nil
}

func activityKnown(s *vdi.VDISession) bool {
	return s.Status.Activity != nil && s.Status.Activity.LastActivityTime != nil
}

// extended moves an end of a run to keepAliveUntil, as far as the template
// allows beyond the timeout; it never moves it forward.
func extended(s *vdi.VDISession, rules vdi.TemplateLifecycle, end time.Time) time.Time {
	if s.Spec.KeepAliveUntil == nil {
		return end
	}
	wish := s.Spec.KeepAliveUntil.Time
	if timeout := timeoutOf(s.Spec, rules); timeout > 0 {
		latest := s.Status.StartTime.Add(timeout).Add(durationOr(rules.MaxExtension, defaultMaxExtension))
		wish = earlier(wish, latest)
	}
	return later(end, wish)
}

// timeoutOf is the longest run: the session's wish, else the template's default,
// cut to the template's maximum. 0 means no limit.
func timeoutOf(spec vdi.VDISessionSpec, rules vdi.TemplateLifecycle) time.Duration {
	return bounded(durationOr(spec.Timeout, durationOr(rules.Timeout, defaultTimeout)), rules.MaxTimeout)
}

// idleTimeoutOf is the same for idleness. 0 means never.
func idleTimeoutOf(spec vdi.VDISessionSpec, rules vdi.TemplateLifecycle) time.Duration {
	return bounded(durationOr(spec.IdleTimeout, durationOr(rules.IdleTimeout, 0)), rules.MaxIdleTimeout)
}

// bounded cuts a wish to the template's maximum; a wish for no limit is the longest of all.
func bounded(wish time.Duration, maximum vdi.Duration) time.Duration {
	limit := durationOr(maximum, 0)
	if limit > 0 && (wish == 0 || wish > limit) {
		return limit
	}
	return wish
}

// warnBefore is how long before an end a person is warned: never more than half
// of the whole time, or a short run would begin with its warning.
func warnBefore(rules vdi.TemplateLifecycle, whole time.Duration) time.Duration {
	return min(durationOr(rules.WarnBefore, defaultWarnBefore), whole/2)
}

func actionOf(s *vdi.VDISession, rules vdi.TemplateLifecycle) want {
	action := s.Spec.TimeoutAction
	if action == "" {
		action = rules.TimeoutAction
	}
	if action == vdi.TimeoutSuspend {
		return wantSuspend
	}
	return wantEnd
}

// durationOr parses d; an unset one gives the fallback. The API server has
// checked the form, so a value that does not parse counts as unset.
func durationOr(d vdi.Duration, fallback time.Duration) time.Duration {
	if d == "" {
		return fallback
	}
	parsed, err := time.ParseDuration(string(d))
	if err != nil {
		return fallback
	}
	return parsed
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
