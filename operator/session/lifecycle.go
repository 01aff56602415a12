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
	expiresAt *metav1.Time   // the next end of the run; nil while there is none
	warn      bool           // the end is near
	lookAgain time.Duration  // until the next deadline; 0 when there is none
}

// decide says what should become of a session now. It is the specification of
// timeouts: a run is counted from status.startTime, never ends early, and
// keepAliveUntil can only move its end back, within the template's bounds.
func decide(s *vdi.VDISession, rules vdi.TemplateLifecycle, now time.Time) decision {
	if s.Spec.RunPolicy == vdi.RunPolicySuspended {
		return decision{want: wantStop, reason: vdi.StopUser}
	}
	end := endOf(s, rules)
	if end.IsZero() {
		return decision{want: wantRun}
	}
	d := decision{want: wantRun, expiresAt: &metav1.Time{Time: end}}
	warnAt := end.Add(-warnBefore(s, rules))
	switch {
	case !now.Before(end):
		d.want, d.reason = actionOf(s, rules), vdi.StopExpired
	case !now.Before(warnAt):
		d.warn, d.lookAgain = true, end.Sub(now)
	default:
		d.lookAgain = warnAt.Sub(now)
	}
	return d
}

// endOf returns when the current run ends; zero when it has not begun or has no end.
func endOf(s *vdi.VDISession, rules vdi.TemplateLifecycle) time.Time {
	timeout := timeoutOf(s.Spec, rules)
	if timeout == 0 || s.Status.StartTime == nil {
		return time.Time{}
	}
	end := s.Status.StartTime.Add(timeout)
	if s.Spec.KeepAliveUntil == nil {
		return end
	}
	latest := end.Add(durationOr(rules.MaxExtension, defaultMaxExtension))
	return later(end, earlier(s.Spec.KeepAliveUntil.Time, latest))
}

// timeoutOf is the longest run: the session's wish, else the template's default,
// cut to the template's maximum. 0 means no limit.
func timeoutOf(spec vdi.VDISessionSpec, rules vdi.TemplateLifecycle) time.Duration {
	timeout := durationOr(spec.Timeout, durationOr(rules.Timeout, defaultTimeout))
	limit := durationOr(rules.MaxTimeout, 0)
	if limit > 0 && (timeout == 0 || timeout > limit) {
		return limit
	}
	return timeout
}

// warnBefore is how long before the end a person is warned: never more than half
// of the run, or a short run would begin with its warning.
func warnBefore(s *vdi.VDISession, rules vdi.TemplateLifecycle) time.Duration {
	return min(durationOr(rules.WarnBefore, defaultWarnBefore), timeoutOf(s.Spec, rules)/2)
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
