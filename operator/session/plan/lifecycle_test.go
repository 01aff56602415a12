package plan

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/operator/accounting"
	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
)

// TestDecide is the specification of all ends.
func TestDecide(t *testing.T) {
	const hour = time.Hour
	begun := vdi.VDISessionStatus{StartTime: fixture.At(fixture.Noon)}
	used := func(after time.Duration) vdi.VDISessionStatus {
		st := begun
		st.Activity = &vdi.ActivityStatus{LastActivityTime: fixture.At(fixture.Noon.Add(after))}
		return st
	}
	since := func(phase vdi.Phase) vdi.VDISessionStatus {
		return vdi.VDISessionStatus{Phase: phase, PhaseSince: fixture.At(fixture.Noon)}
	}
	down := func(d vdi.DowntimeStatus) vdi.VDISessionStatus { return vdi.VDISessionStatus{Downtime: &d} }
	starting, failing := down(vdi.DowntimeStatus{Since: fixture.At(fixture.Noon)}), down(vdi.DowntimeStatus{Since: fixture.At(fixture.Noon), Failing: true})
	warnedAfter := func(end vdi.End, after time.Duration) map[vdi.End]time.Duration {
		return map[vdi.End]time.Duration{end: after}
	}
	announced := func(end vdi.End, after time.Duration) []vdi.Announcement {
		return []vdi.Announcement{{End: end, Since: *fixture.At(fixture.Noon.Add(after))}}
	}
	warned := warnedAfter(vdi.EndTimeout, 8*hour-10*time.Minute)
	idle := vdi.VDISessionSpec{IdleTimeout: "1h", Timeout: "0"}
	for name, c := range map[string]struct {
		spec     vdi.VDISessionSpec
		status   vdi.VDISessionStatus
		rules    vdi.TemplateLifecycle
		after    time.Duration // since noon
		warnings map[vdi.End]time.Duration
		want     Decision
	}{
		"not running yet: no clock":         {after: 1000 * hour, want: Decision{Want: Run}},
		"fresh: looks again at the warning": {status: begun, want: Decision{Want: Run, ExpiresAt: fixture.At(fixture.Noon.Add(8 * hour)), Because: vdi.StopExpired, RequeueAfter: 8*hour - 10*time.Minute}},
		"the warning": {
			status: begun, after: 8*hour - 10*time.Minute,
			want: Decision{
				Want: Run, ExpiresAt: fixture.At(fixture.Noon.Add(8 * hour)), Because: vdi.StopExpired, Warn: vdi.EndTimeout, RequeueAfter: 10 * time.Minute,
				Announced: announced(vdi.EndTimeout, 8*hour-10*time.Minute),
			},
		},
		"a moment before the end": {
			status: begun, after: 8*hour - 1, warnings: warned,
			want: Decision{Want: Run, ExpiresAt: fixture.At(fixture.Noon.Add(8 * hour)), Because: vdi.StopExpired, Warn: vdi.EndTimeout, RequeueAfter: 1},
		},
		"the end": {
			status: begun, after: 8 * hour, warnings: warned,
			want: Decision{Want: DeleteSession, Reason: vdi.StopExpired, ExpiresAt: fixture.At(fixture.Noon.Add(8 * hour)), Because: vdi.StopExpired},
		},
		"the end, to be suspended by the session's wish": {
			spec: vdi.VDISessionSpec{TimeoutAction: vdi.TimeoutSuspend}, status: begun, after: 8 * hour, warnings: warned,
			want: Decision{Want: SuspendNow, Reason: vdi.StopExpired, ExpiresAt: fixture.At(fixture.Noon.Add(8 * hour)), Because: vdi.StopExpired},
		},
		"the end, to be suspended by the template's rule": {
			rules: vdi.TemplateLifecycle{TimeoutAction: vdi.TimeoutSuspend}, status: begun, after: 8 * hour, warnings: warned,
			want: Decision{Want: SuspendNow, Reason: vdi.StopExpired, ExpiresAt: fixture.At(fixture.Noon.Add(8 * hour)), Because: vdi.StopExpired},
		},
		"the session's wish beats the template's rule": {
			spec: vdi.VDISessionSpec{TimeoutAction: vdi.TimeoutDelete}, rules: vdi.TemplateLifecycle{TimeoutAction: vdi.TimeoutSuspend}, status: begun, after: 8 * hour, warnings: warned,
			want: Decision{Want: DeleteSession, Reason: vdi.StopExpired, ExpiresAt: fixture.At(fixture.Noon.Add(8 * hour)), Because: vdi.StopExpired},
		},
		"timeout 0: never": {spec: vdi.VDISessionSpec{Timeout: "0"}, status: begun, after: 10000 * hour, want: Decision{Want: Run}},
		"timeout 0 within a maximum": {
			spec: vdi.VDISessionSpec{Timeout: "0"}, rules: vdi.TemplateLifecycle{MaxTimeout: "2h"}, status: begun, after: 2 * hour, warnings: warnedAfter(vdi.EndTimeout, 110*time.Minute),
			want: Decision{Want: DeleteSession, Reason: vdi.StopExpired, ExpiresAt: fixture.At(fixture.Noon.Add(2 * hour)), Because: vdi.StopExpired},
		},
		"a longer wish is cut to the maximum": {
			spec: vdi.VDISessionSpec{Timeout: "9h"}, rules: vdi.TemplateLifecycle{MaxTimeout: "2h"}, status: begun,
			want: Decision{Want: Run, ExpiresAt: fixture.At(fixture.Noon.Add(2 * hour)), Because: vdi.StopExpired, RequeueAfter: 110 * time.Minute},
		},
		"the template's timeout": {
			rules: vdi.TemplateLifecycle{Timeout: "3h"}, status: begun,
			want: Decision{Want: Run, ExpiresAt: fixture.At(fixture.Noon.Add(3 * hour)), Because: vdi.StopExpired, RequeueAfter: 170 * time.Minute},
		},
		"a short run is not warned of from its beginning": {
			spec: vdi.VDISessionSpec{Timeout: "10m"}, status: begun,
			want: Decision{Want: Run, ExpiresAt: fixture.At(fixture.Noon.Add(10 * time.Minute)), Because: vdi.StopExpired, RequeueAfter: 5 * time.Minute},
		},
		"extended": {
			spec: vdi.VDISessionSpec{KeepAliveUntil: fixture.At(fixture.Noon.Add(10 * hour))}, status: begun, after: 9 * hour,
			want: Decision{Want: Run, ExpiresAt: fixture.At(fixture.Noon.Add(10 * hour)), Because: vdi.StopExpired, RequeueAfter: 50 * time.Minute},
		},
		"extended too far: the template's bound": {
			spec: vdi.VDISessionSpec{KeepAliveUntil: fixture.At(fixture.Noon.Add(1000 * hour))}, rules: vdi.TemplateLifecycle{MaxExtension: "1h"}, status: begun, after: 9 * hour, warnings: warnedAfter(vdi.EndTimeout, 9*hour-10*time.Minute),
			want: Decision{Want: DeleteSession, Reason: vdi.StopExpired, ExpiresAt: fixture.At(fixture.Noon.Add(9 * hour)), Because: vdi.StopExpired},
		},
		"extension forbidden": {
			spec: vdi.VDISessionSpec{KeepAliveUntil: fixture.At(fixture.Noon.Add(9 * hour))}, rules: vdi.TemplateLifecycle{MaxExtension: "0"}, status: begun, after: 8 * hour, warnings: warned,
			want: Decision{Want: DeleteSession, Reason: vdi.StopExpired, ExpiresAt: fixture.At(fixture.Noon.Add(8 * hour)), Because: vdi.StopExpired},
		},
		"an extension into the past shortens nothing": {
			spec: vdi.VDISessionSpec{KeepAliveUntil: fixture.At(fixture.Noon)}, status: begun, after: 7 * hour,
			want: Decision{Want: Run, ExpiresAt: fixture.At(fixture.Noon.Add(8 * hour)), Because: vdi.StopExpired, RequeueAfter: 50 * time.Minute},
		},
		"suspended": {spec: vdi.VDISessionSpec{RunPolicy: vdi.RunPolicySuspended}, status: begun, after: 1000 * hour, want: Decision{Want: StayStopped, Reason: vdi.StopUser}},

		"idle: counted from the last use": {
			spec: idle, status: used(2 * hour), after: 2 * hour,
			want: Decision{Want: Run, ExpiresAt: fixture.At(fixture.Noon.Add(3 * hour)), Because: vdi.StopIdle, RequeueAfter: 50 * time.Minute},
		},
		"idle: the warning": {
			spec: idle, status: used(2 * hour), after: 2*hour + 55*time.Minute,
			warnings: warnedAfter(vdi.EndIdle, 2*hour+50*time.Minute),
			want:     Decision{Want: Run, ExpiresAt: fixture.At(fixture.Noon.Add(3 * hour)), Because: vdi.StopIdle, Warn: vdi.EndIdle, RequeueAfter: 5 * time.Minute},
		},
		"idle: the end suspends, whatever the timeout's action": {
			spec: vdi.VDISessionSpec{IdleTimeout: "1h", TimeoutAction: vdi.TimeoutDelete}, status: used(2 * hour), after: 3 * hour, warnings: warnedAfter(vdi.EndIdle, 2*hour+50*time.Minute),
			want: Decision{Want: SuspendNow, Reason: vdi.StopIdle, ExpiresAt: fixture.At(fixture.Noon.Add(3 * hour)), Because: vdi.StopIdle, RequeueAfter: 4*hour + 50*time.Minute},
		},
		"idle: an old use before a resume does not count": {
			spec: idle, status: used(-100 * hour),
			want: Decision{Want: Run, ExpiresAt: fixture.At(fixture.Noon.Add(hour)), Because: vdi.StopIdle, RequeueAfter: 50 * time.Minute},
		},
		"idle: unknown is never idle, but is asked for again": {
			spec: idle, status: begun, after: 1000 * hour,
			want: Decision{Want: Run, RequeueAfter: hour},
		},
		"idle: unknown does not hold up the timeout": {
			spec: vdi.VDISessionSpec{IdleTimeout: "9h"}, status: begun, after: 8 * hour, warnings: warned,
			want: Decision{Want: DeleteSession, Reason: vdi.StopExpired, ExpiresAt: fixture.At(fixture.Noon.Add(8 * hour)), Because: vdi.StopExpired, RequeueAfter: 9 * hour},
		},
		"idle: the first end counts": {
			spec: vdi.VDISessionSpec{IdleTimeout: "1h"}, status: used(7*hour + 30*time.Minute), after: 7*hour + 30*time.Minute,
			want: Decision{Want: Run, ExpiresAt: fixture.At(fixture.Noon.Add(8 * hour)), Because: vdi.StopExpired, RequeueAfter: 20 * time.Minute},
		},
		"idle: extended": {
			spec: vdi.VDISessionSpec{IdleTimeout: "1h", KeepAliveUntil: fixture.At(fixture.Noon.Add(6 * hour))}, status: used(0), after: hour,
			want: Decision{Want: Run, ExpiresAt: fixture.At(fixture.Noon.Add(6 * hour)), Because: vdi.StopIdle, RequeueAfter: 5*hour - 10*time.Minute},
		},
		"idle: never by default": {spec: vdi.VDISessionSpec{Timeout: "0"}, status: used(0), after: 1000 * hour, want: Decision{Want: Run}},
		"idle: 0 is cut to a maximum": {
			spec: vdi.VDISessionSpec{Timeout: "0", IdleTimeout: "0"}, rules: vdi.TemplateLifecycle{MaxIdleTimeout: "1h"}, status: used(0), after: hour,
			warnings: warnedAfter(vdi.EndIdle, 50*time.Minute),
			want:     Decision{Want: SuspendNow, Reason: vdi.StopIdle, ExpiresAt: fixture.At(fixture.Noon.Add(hour)), Because: vdi.StopIdle},
		},
		"idle: not before the run": {spec: idle, status: vdi.VDISessionStatus{Activity: used(0).Activity}, after: 1000 * hour, want: Decision{Want: Run}},
		"idle: without a timeout, extended no further than the template's bound": {
			spec: vdi.VDISessionSpec{Timeout: "0", IdleTimeout: "1h", KeepAliveUntil: fixture.At(fixture.Noon.Add(10000 * hour))}, status: used(0),
			rules: vdi.TemplateLifecycle{MaxExtension: "2h"}, want: Decision{Want: Run, ExpiresAt: fixture.At(fixture.Noon.Add(3 * hour)), Because: vdi.StopIdle, RequeueAfter: 170 * time.Minute},
		},
		"idle: nor does a long timeout that nobody grants": {
			spec: vdi.VDISessionSpec{Timeout: "9999h", IdleTimeout: "1h", KeepAliveUntil: fixture.At(fixture.Noon.Add(10000 * hour))}, status: used(0),
			rules: vdi.TemplateLifecycle{MaxIdleTimeout: "1h"}, want: Decision{Want: Run, ExpiresAt: fixture.At(fixture.Noon.Add(32 * hour)), Because: vdi.StopIdle, RequeueAfter: 32*hour - 10*time.Minute},
		},
		"idle: extension forbidden": {
			spec: vdi.VDISessionSpec{Timeout: "0", IdleTimeout: "1h", KeepAliveUntil: fixture.At(fixture.Noon.Add(10000 * hour))}, status: used(0),
			rules: vdi.TemplateLifecycle{MaxExtension: "0"}, want: Decision{Want: Run, ExpiresAt: fixture.At(fixture.Noon.Add(hour)), Because: vdi.StopIdle, RequeueAfter: 50 * time.Minute},
		},
		"idle: its warning stands while the use is unknown": {
			spec: idle, status: begun, after: 2 * hour, warnings: warnedAfter(vdi.EndIdle, 50*time.Minute), want: Decision{Want: Run, RequeueAfter: hour, Warn: vdi.EndIdle, Held: true},
		},

		"due when first seen: announced for its time": {
			status: begun, rules: vdi.TemplateLifecycle{Timeout: "2h"}, after: 5 * hour,
			want: Decision{
				Want: Run, ExpiresAt: fixture.At(fixture.Noon.Add(5*hour + 10*time.Minute)), Because: vdi.StopExpired, Warn: vdi.EndTimeout, RequeueAfter: 10 * time.Minute,
				Announced: announced(vdi.EndTimeout, 5*hour),
			},
		},
		"due when first seen: not yet": {
			status: begun, rules: vdi.TemplateLifecycle{Timeout: "2h"}, warnings: warnedAfter(vdi.EndTimeout, 5*hour), after: 5*hour + 10*time.Minute - 1,
			want: Decision{Want: Run, ExpiresAt: fixture.At(fixture.Noon.Add(5*hour + 10*time.Minute)), Because: vdi.StopExpired, Warn: vdi.EndTimeout, RequeueAfter: 1},
		},
		"due when first seen: the end": {
			status: begun, rules: vdi.TemplateLifecycle{Timeout: "2h"}, warnings: warnedAfter(vdi.EndTimeout, 5*hour), after: 5*hour + 10*time.Minute,
			want: Decision{Want: DeleteSession, Reason: vdi.StopExpired, ExpiresAt: fixture.At(fixture.Noon.Add(5*hour + 10*time.Minute)), Because: vdi.StopExpired},
		},
		"nobody wants a warning": {
			status: begun, rules: vdi.TemplateLifecycle{WarnBefore: "0"}, after: 8 * hour,
			want: Decision{
				Want: DeleteSession, Reason: vdi.StopExpired, ExpiresAt: fixture.At(fixture.Noon.Add(8 * hour)), Because: vdi.StopExpired,
				Announced: announced(vdi.EndTimeout, 8*hour),
			},
		},
		"extended after the warning: announced anew when it is near": {
			spec: vdi.VDISessionSpec{KeepAliveUntil: fixture.At(fixture.Noon.Add(10 * hour))}, status: begun, after: 9 * hour, warnings: warned,
			want: Decision{Want: Run, ExpiresAt: fixture.At(fixture.Noon.Add(10 * hour)), Because: vdi.StopExpired, RequeueAfter: 50 * time.Minute, Announced: []vdi.Announcement{}},
		},
		"each end has its own warning": {
			spec: vdi.VDISessionSpec{IdleTimeout: "1h"}, status: used(7 * hour), after: 8*hour - 9*time.Minute, warnings: warned,
			want: Decision{
				Want: Run, ExpiresAt: fixture.At(fixture.Noon.Add(8 * hour)), Because: vdi.StopExpired, Warn: vdi.EndTimeout, RequeueAfter: 9 * time.Minute,
				Announced: append(announced(vdi.EndTimeout, 8*hour-10*time.Minute), announced(vdi.EndIdle, 8*hour-9*time.Minute)...),
			},
		},

		"people are warned of an announced end, though another may come first": {
			spec: vdi.VDISessionSpec{IdleTimeout: "30m"}, rules: vdi.TemplateLifecycle{WarnBefore: "1h"}, status: used(7 * hour), after: 7*hour + time.Minute,
			warnings: warnedAfter(vdi.EndTimeout, 7*hour),
			want:     Decision{Want: Run, ExpiresAt: fixture.At(fixture.Noon.Add(7*hour + 30*time.Minute)), Because: vdi.StopIdle, Warn: vdi.EndTimeout, RequeueAfter: 14 * time.Minute},
		},

		"starting: no limit": {status: starting, after: 1000 * hour, want: Decision{Want: Run}},
		"starting too long: suspended": {
			status: starting, rules: vdi.TemplateLifecycle{MaxStarting: "1h"}, after: hour, warnings: warnedAfter(vdi.EndStarting, 50*time.Minute),
			want: Decision{Want: SuspendNow, Reason: vdi.StopFailed, ExpiresAt: fixture.At(fixture.Noon.Add(hour)), Because: vdi.StopFailed},
		},
		"what was counted before counts": {
			status: down(vdi.DowntimeStatus{Since: fixture.At(fixture.Noon), Seconds: 1800}), rules: vdi.TemplateLifecycle{MaxStarting: "1h"},
			want: Decision{Want: Run, ExpiresAt: fixture.At(fixture.Noon.Add(30 * time.Minute)), Because: vdi.StopFailed, RequeueAfter: 20 * time.Minute},
		},
		"a run that has begun is no start, though it does not answer": {
			spec: vdi.VDISessionSpec{Timeout: "0"}, rules: vdi.TemplateLifecycle{MaxStarting: "1h"}, after: 1000 * hour,
			status: vdi.VDISessionStatus{Downtime: starting.Downtime, StartTime: fixture.At(fixture.Noon)}, want: Decision{Want: Run},
		},
		"waiting for a node is not starting": {
			status: down(vdi.DowntimeStatus{Seconds: 3599}), rules: vdi.TemplateLifecycle{MaxStarting: "1h"}, after: 1000 * hour, want: Decision{Want: Run},
		},
		"a warning stands while the clock does": {
			status: down(vdi.DowntimeStatus{Seconds: 3600}), rules: vdi.TemplateLifecycle{MaxStarting: "1h"}, after: 1000 * hour,
			warnings: warnedAfter(vdi.EndStarting, 0), want: Decision{Want: Run, Warn: vdi.EndStarting, Held: true},
		},
		"a desktop that has proven itself is warned of no more": {
			spec:   vdi.VDISessionSpec{Timeout: "0"},
			status: vdi.VDISessionStatus{Downtime: &vdi.DowntimeStatus{Seconds: 3000}, Phase: vdi.PhaseRunning, PhaseSince: fixture.At(fixture.Noon), StartTime: fixture.At(fixture.Noon)},
			rules:  vdi.TemplateLifecycle{MaxFailed: "1h"}, warnings: warnedAfter(vdi.EndFailed, 0), after: ProvenAfter,
			want: Decision{Want: Run, Announced: []vdi.Announcement{}},
		},
		"one that has not is, until then": {
			spec:   vdi.VDISessionSpec{Timeout: "0"},
			status: vdi.VDISessionStatus{Downtime: &vdi.DowntimeStatus{Seconds: 3000}, Phase: vdi.PhaseRunning, PhaseSince: fixture.At(fixture.Noon), StartTime: fixture.At(fixture.Noon)},
			rules:  vdi.TemplateLifecycle{MaxFailed: "1h"}, warnings: warnedAfter(vdi.EndFailed, 0), after: time.Minute,
			want: Decision{Want: Run, Warn: vdi.EndFailed, Held: true, RequeueAfter: ProvenAfter - time.Minute},
		},
		"failed too long: ends": {
			status: failing, rules: vdi.TemplateLifecycle{MaxFailed: "1h"}, after: hour, warnings: warnedAfter(vdi.EndFailed, 50*time.Minute),
			want: Decision{Want: DeleteSession, Reason: vdi.StopFailed, ExpiresAt: fixture.At(fixture.Noon.Add(hour)), Because: vdi.StopFailed},
		},
		"a desktop that works and is out of reach does not fail": {status: starting, rules: vdi.TemplateLifecycle{MaxFailed: "1h"}, after: 1000 * hour, want: Decision{Want: Run}},
		"what was refused does not fail":                         {status: since(vdi.PhaseFailed), rules: vdi.TemplateLifecycle{MaxFailed: "1h"}, after: 1000 * hour, want: Decision{Want: Run}},
		"suspended too long: ends": {
			spec: vdi.VDISessionSpec{RunPolicy: vdi.RunPolicySuspended}, status: since(vdi.PhaseSuspended), rules: vdi.TemplateLifecycle{MaxSuspended: "1h"}, after: hour,
			warnings: warnedAfter(vdi.EndSuspended, 50*time.Minute),
			want:     Decision{Want: DeleteSession, Reason: vdi.StopExpired, ExpiresAt: fixture.At(fixture.Noon.Add(hour)), Because: vdi.StopExpired},
		},
		"suspended, not yet too long": {
			spec: vdi.VDISessionSpec{RunPolicy: vdi.RunPolicySuspended}, status: since(vdi.PhaseSuspended), rules: vdi.TemplateLifecycle{MaxSuspended: "1h"},
			want: Decision{Want: StayStopped, Reason: vdi.StopUser, ExpiresAt: fixture.At(fixture.Noon.Add(hour)), Because: vdi.StopExpired, RequeueAfter: 50 * time.Minute},
		},
		"a resume in time": {
			status: since(vdi.PhaseSuspended), rules: vdi.TemplateLifecycle{MaxSuspended: "1h"}, after: 2 * hour, want: Decision{Want: Run},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &vdi.VDISession{Spec: c.spec, Status: c.status}
			for end, after := range c.warnings {
				s.Status.Announcements = append(s.Status.Announcements, vdi.Announcement{End: end, Since: *fixture.At(fixture.Noon.Add(after))})
			}
			got := Decide(s, c.rules, fixture.Noon.Add(c.after))
			if c.want.Announced == nil {
				c.want.Announced = s.Status.Announcements // they stand
			}
			if IsEnd(c.want) {
				require.NotEmpty(t, got.Warn, "of an end that comes it is warned until it has come")
				c.want.Warn = got.Warn
			}
			for i := range got.Announced {
				if a := &got.Announced[i]; a.At != nil {
					require.False(t, a.At.Before(got.ExpiresAt), "no announced end comes before the next one")
					a.At = nil
				}
			}
			require.ElementsMatch(t, c.want.Announced, got.Announced)
			c.want.Announced, got.Announced = nil, nil
			require.Equal(t, c.want, got)
		})
	}
}

// anyDuration is unset, none, or up to 50 hours.
func anyDuration(r *rand.Rand) vdi.Duration {
	return []vdi.Duration{"", "0", vdi.Duration(fmt.Sprintf("%dm", 1+r.IntN(3000)))}[r.IntN(3)]
}

// anyRules are rules of every shape.
func anyRules(r *rand.Rand) vdi.TemplateLifecycle {
	return vdi.TemplateLifecycle{
		Timeout: anyDuration(r), MaxTimeout: anyDuration(r), WarnBefore: anyDuration(r), MaxExtension: anyDuration(r),
		IdleTimeout: anyDuration(r), MaxIdleTimeout: anyDuration(r), MaxStarting: anyDuration(r), MaxFailed: anyDuration(r),
		MaxSuspended: anyDuration(r), TimeoutAction: []vdi.TimeoutAction{"", vdi.TimeoutDelete, vdi.TimeoutSuspend}[r.IntN(3)],
	}
}

// anyWish changes what a person may, in every way.
func anyWish(r *rand.Rand, spec *vdi.VDISessionSpec, now time.Time) {
	spec.Timeout, spec.IdleTimeout, spec.KeepAliveUntil = anyDuration(r), anyDuration(r), nil
	spec.TimeoutAction = []vdi.TimeoutAction{"", vdi.TimeoutDelete, vdi.TimeoutSuspend}[r.IntN(3)]
	if r.IntN(2) == 0 {
		spec.KeepAliveUntil = fixture.At(now.Add(time.Duration(r.IntN(200)-50) * time.Hour))
	}
}

// anySession makes sessions and rules of every shape.
func anySession(r *rand.Rand) (*vdi.VDISession, vdi.TemplateLifecycle) {
	s := &vdi.VDISession{}
	anyWish(r, &s.Spec, fixture.Noon)
	if r.IntN(4) > 0 {
		s.Status.StartTime = fixture.At(fixture.Noon)
	}
	if r.IntN(2) == 0 {
		used := fixture.Noon.Add(time.Duration(r.IntN(100)-50) * time.Hour)
		s.Status.Activity = &vdi.ActivityStatus{LastActivityTime: fixture.At(used)}
	}
	rules := anyRules(r)
	rules.MaxStarting, rules.MaxFailed, rules.MaxSuspended, rules.TimeoutAction = "", "", "", ""
	return s, rules
}

// earliestEnd is what nothing may end before, computed another way.
func earliestEnd(s *vdi.VDISession, rules vdi.TemplateLifecycle, reason vdi.StopReason) time.Time {
	if reason == vdi.StopExpired {
		return fixture.Noon.Add(longestRun(s.Spec, rules))
	}
	return accounting.Later(fixture.Noon, s.Status.Activity.LastActivityTime.Time).Add(IdleTimeout(s.Spec, rules))
}

func TestDecideHolds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		s, rules := anySession(r)
		now := fixture.Noon.Add(time.Duration(r.Int64N(int64(300 * time.Hour))))
		for _, end := range []vdi.End{vdi.EndTimeout, vdi.EndIdle} {
			if r.IntN(2) == 0 {
				s.Status.Announcements = append(s.Status.Announcements, vdi.Announcement{End: end, Since: *fixture.At(fixture.Noon.Add(time.Duration(r.Int64N(int64(300 * time.Hour)))))})
			}
		}
		d := Decide(s, rules, now)
		words := fmt.Sprintf("%+v %+v at %s: %+v", s.Spec, rules, now, d)

		if IsEnd(d) {
			require.NotNil(t, s.Status.StartTime, words)
			require.False(t, d.Reason == vdi.StopIdle && s.Status.Activity == nil, "unknown is never idle: %s", words)
			require.False(t, now.Before(earliestEnd(s, rules, d.Reason)), "ended before its time: %s", words)
			require.False(t, now.Before(d.ExpiresAt.Time), "ended before the time it warnings: %s", words)
			require.True(t, IsEnd(Decide(s, rules, now.Add(time.Hour))), "an end is no longer due: %s", words)
		}
		shorter := s.DeepCopy()
		shorter.Spec.KeepAliveUntil = nil
		if !IsEnd(Decide(shorter, rules, now)) {
			require.False(t, IsEnd(d), "an extension shortened the run: %s", words)
		}
		s.Spec.RunPolicy = vdi.RunPolicySuspended
		require.Equal(t, StayStopped, Decide(s, rules, now).Want)
	}
}

// TestDecideNeverForgets: whoever looks again when he was asked to meets the
// warning and then the end, each in the very moment.
func TestDecideNeverForgets(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		s, rules := anySession(r)
		now := fixture.Noon.Add(time.Duration(r.Int64N(int64(time.Hour))))
		d := Decide(s, rules, now)
		s.Status.Announcements = d.Announced
		if d.ExpiresAt == nil {
			require.Equal(t, askAgain(s, rules), d.RequeueAfter, "nothing to look for but unknown activity")
			continue
		}
		looks := 0
		for ; !IsEnd(d); looks++ {
			if again := askAgain(s, rules); again == 0 { // else activity is asked for on the way
				require.Less(t, looks, 3, "%+v %+v", s.Spec, rules)
			}
			require.Positive(t, d.RequeueAfter, "forgotten: %+v %+v", s.Spec, rules)
			now = now.Add(d.RequeueAfter)
			s.Status.Announcements = d.Announced
			d = Decide(s, rules, now)
		}
		if looks > 0 {
			require.True(t, now.Equal(d.ExpiresAt.Time), "the last look was at the end")
		}
	}
}

// TestNoEditsPutAnEndOff: a person edits all the time what a person may edit, and
// uses nothing. However that is done, the run ends, at the latest at its bound and
// the longest extension, or one warning after the first look at which it was due;
// and it does not end before its end was announced for its time.
func TestNoEditsPutAnEndOff(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	ends := 0
	for range 3000 {
		s, rules := anySession(r)
		s.Status.StartTime = fixture.At(fixture.Noon)
		s.Status.Activity = &vdi.ActivityStatus{LastActivityTime: fixture.At(fixture.Noon)}
		timeout, idle := rules.MaxTimeout.Or(0), rules.MaxIdleTimeout.Or(0)
		longest := timeout // of any run, whatever its person wishes
		switch {
		case timeout == 0 && idle == 0:
			continue // then everything may be wished for
		case timeout == 0:
			longest = max(idle, rules.Timeout.Or(defaultTimeout))
		}
		latest := fixture.Noon.Add(longest + rules.MaxExtension.Or(defaultMaxExtension))
		firstLook, told := time.Time{}, map[vdi.End]time.Time{}
		for now, d := fixture.Noon, (Decision{}); ; now = now.Add(time.Duration(r.Int64N(int64(5 * time.Hour)))) {
			anyWish(r, &s.Spec, now)
			if r.IntN(2) == 0 && d.ExpiresAt != nil { // the very moment that was told
				now = accounting.Later(now, d.ExpiresAt.Time)
			}
			d = Decide(s, rules, now)
			words := fmt.Sprintf("%+v %+v at %s: %+v", s.Spec, rules, now, d)
			s.Status.Announcements = d.Announced
			for end := range told {
				if !d.IsNear(end) {
					delete(told, end)
				}
			}
			for _, a := range d.Announced {
				if _, known := told[a.End]; !known {
					told[a.End] = now.Truncate(time.Second)
				}
			}
			if firstLook.IsZero() && !now.Before(latest) {
				firstLook = now
			}
			if IsEnd(d) {
				end, whole := vdi.EndTimeout, longestRun(s.Spec, rules)
				if d.Reason == vdi.StopIdle {
					end, whole = vdi.EndIdle, IdleTimeout(s.Spec, rules)
				}
				require.GreaterOrEqual(t, now.Sub(told[end]), warnBefore(rules, whole), "not announced for its time: %s", words)
				ends++
				break
			}
			if !firstLook.IsZero() {
				require.Less(t, now.Sub(firstLook), rules.WarnBefore.Or(defaultWarnBefore), "put off for ever: %s", words)
			}
		}
	}
	require.Greater(t, ends, 1000)
}
