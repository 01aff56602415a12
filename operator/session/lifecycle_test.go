package session

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// noon is when the runs of these tests began.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func at(t time.Time) *metav1.Time { return &metav1.Time{Time: t} }

// TestDecide is the specification of all ends.
func TestDecide(t *testing.T) {
	const hour = time.Hour
	begun := vdi.VDISessionStatus{StartTime: at(noon)}
	used := func(after time.Duration) vdi.VDISessionStatus {
		st := begun
		st.Activity = &vdi.ActivityStatus{LastActivityTime: at(noon.Add(after))}
		return st
	}
	since := func(phase vdi.Phase) vdi.VDISessionStatus {
		return vdi.VDISessionStatus{Phase: phase, PhaseSince: at(noon)}
	}
	idle := vdi.VDISessionSpec{IdleTimeout: "1h", Timeout: "0"}
	for name, c := range map[string]struct {
		spec   vdi.VDISessionSpec
		status vdi.VDISessionStatus
		rules  vdi.TemplateLifecycle
		after  time.Duration // since noon
		want   decision
	}{
		"not running yet: no clock":         {after: 1000 * hour, want: decision{want: wantRun}},
		"fresh: looks again at the warning": {status: begun, want: decision{want: wantRun, expiresAt: at(noon.Add(8 * hour)), because: vdi.StopExpired, lookAgain: 8*hour - 10*time.Minute}},
		"the warning": {
			status: begun, after: 8*hour - 10*time.Minute,
			want: decision{want: wantRun, expiresAt: at(noon.Add(8 * hour)), because: vdi.StopExpired, warn: true, lookAgain: 10 * time.Minute},
		},
		"a moment before the end": {
			status: begun, after: 8*hour - 1,
			want: decision{want: wantRun, expiresAt: at(noon.Add(8 * hour)), because: vdi.StopExpired, warn: true, lookAgain: 1},
		},
		"the end": {
			status: begun, after: 8 * hour,
			want: decision{want: wantEnd, reason: vdi.StopExpired, expiresAt: at(noon.Add(8 * hour)), because: vdi.StopExpired},
		},
		"the end, to be suspended by the session's wish": {
			spec: vdi.VDISessionSpec{TimeoutAction: vdi.TimeoutSuspend}, status: begun, after: 8 * hour,
			want: decision{want: wantSuspend, reason: vdi.StopExpired, expiresAt: at(noon.Add(8 * hour)), because: vdi.StopExpired},
		},
		"the end, to be suspended by the template's rule": {
			rules: vdi.TemplateLifecycle{TimeoutAction: vdi.TimeoutSuspend}, status: begun, after: 8 * hour,
			want: decision{want: wantSuspend, reason: vdi.StopExpired, expiresAt: at(noon.Add(8 * hour)), because: vdi.StopExpired},
		},
		"the session's wish beats the template's rule": {
			spec: vdi.VDISessionSpec{TimeoutAction: vdi.TimeoutDelete}, rules: vdi.TemplateLifecycle{TimeoutAction: vdi.TimeoutSuspend}, status: begun, after: 8 * hour,
			want: decision{want: wantEnd, reason: vdi.StopExpired, expiresAt: at(noon.Add(8 * hour)), because: vdi.StopExpired},
		},
		"timeout 0: never": {spec: vdi.VDISessionSpec{Timeout: "0"}, status: begun, after: 10000 * hour, want: decision{want: wantRun}},
		"timeout 0 within a maximum": {
			spec: vdi.VDISessionSpec{Timeout: "0"}, rules: vdi.TemplateLifecycle{MaxTimeout: "2h"}, status: begun, after: 2 * hour,
			want: decision{want: wantEnd, reason: vdi.StopExpired, expiresAt: at(noon.Add(2 * hour)), because: vdi.StopExpired},
		},
		"a longer wish is cut to the maximum": {
			spec: vdi.VDISessionSpec{Timeout: "9h"}, rules: vdi.TemplateLifecycle{MaxTimeout: "2h"}, status: begun,
			want: decision{want: wantRun, expiresAt: at(noon.Add(2 * hour)), because: vdi.StopExpired, lookAgain: 110 * time.Minute},
		},
		"the template's timeout": {
			rules: vdi.TemplateLifecycle{Timeout: "3h"}, status: begun,
			want: decision{want: wantRun, expiresAt: at(noon.Add(3 * hour)), because: vdi.StopExpired, lookAgain: 170 * time.Minute},
		},
		"a short run is not warned of from its beginning": {
			spec: vdi.VDISessionSpec{Timeout: "10m"}, status: begun,
			want: decision{want: wantRun, expiresAt: at(noon.Add(10 * time.Minute)), because: vdi.StopExpired, lookAgain: 5 * time.Minute},
		},
		"extended": {
			spec: vdi.VDISessionSpec{KeepAliveUntil: at(noon.Add(10 * hour))}, status: begun, after: 9 * hour,
			want: decision{want: wantRun, expiresAt: at(noon.Add(10 * hour)), because: vdi.StopExpired, lookAgain: 50 * time.Minute},
		},
		"extended too far: the template's bound": {
			spec: vdi.VDISessionSpec{KeepAliveUntil: at(noon.Add(1000 * hour))}, rules: vdi.TemplateLifecycle{MaxExtension: "1h"}, status: begun, after: 9 * hour,
			want: decision{want: wantEnd, reason: vdi.StopExpired, expiresAt: at(noon.Add(9 * hour)), because: vdi.StopExpired},
		},
		"extension forbidden": {
			spec: vdi.VDISessionSpec{KeepAliveUntil: at(noon.Add(9 * hour))}, rules: vdi.TemplateLifecycle{MaxExtension: "0"}, status: begun, after: 8 * hour,
			want: decision{want: wantEnd, reason: vdi.StopExpired, expiresAt: at(noon.Add(8 * hour)), because: vdi.StopExpired},
		},
		"an extension into the past shortens nothing": {
			spec: vdi.VDISessionSpec{KeepAliveUntil: at(noon)}, status: begun, after: 7 * hour,
			want: decision{want: wantRun, expiresAt: at(noon.Add(8 * hour)), because: vdi.StopExpired, lookAgain: 50 * time.Minute},
		},
		"suspended": {spec: vdi.VDISessionSpec{RunPolicy: vdi.RunPolicySuspended}, status: begun, after: 1000 * hour, want: decision{want: wantStop, reason: vdi.StopUser}},

		"idle: counted from the last use": {
			spec: idle, status: used(2 * hour), after: 2 * hour,
			want: decision{want: wantRun, expiresAt: at(noon.Add(3 * hour)), because: vdi.StopIdle, lookAgain: 50 * time.Minute},
		},
		"idle: the warning": {
			spec: idle, status: used(2 * hour), after: 2*hour + 55*time.Minute,
			want: decision{want: wantRun, expiresAt: at(noon.Add(3 * hour)), because: vdi.StopIdle, warn: true, lookAgain: 5 * time.Minute},
		},
		"idle: the end suspends, whatever the timeout's action": {
			spec: vdi.VDISessionSpec{IdleTimeout: "1h", TimeoutAction: vdi.TimeoutDelete}, status: used(2 * hour), after: 3 * hour,
			want: decision{want: wantSuspend, reason: vdi.StopIdle, expiresAt: at(noon.Add(3 * hour)), because: vdi.StopIdle},
		},
		"idle: an old use before a resume does not count": {
			spec: idle, status: used(-100 * hour),
			want: decision{want: wantRun, expiresAt: at(noon.Add(hour)), because: vdi.StopIdle, lookAgain: 50 * time.Minute},
		},
		"idle: unknown is never idle, but is asked for again": {
			spec: idle, status: begun, after: 1000 * hour,
			want: decision{want: wantRun, lookAgain: hour},
		},
		"idle: unknown does not hold up the timeout": {
			spec: vdi.VDISessionSpec{IdleTimeout: "9h"}, status: begun, after: 8 * hour,
			want: decision{want: wantEnd, reason: vdi.StopExpired, expiresAt: at(noon.Add(8 * hour)), because: vdi.StopExpired, lookAgain: 9 * hour},
		},
		"idle: the first end counts": {
			spec: vdi.VDISessionSpec{IdleTimeout: "1h"}, status: used(7*hour + 30*time.Minute), after: 7*hour + 30*time.Minute,
			want: decision{want: wantRun, expiresAt: at(noon.Add(8 * hour)), because: vdi.StopExpired, lookAgain: 20 * time.Minute},
		},
		"idle: extended": {
			spec: vdi.VDISessionSpec{IdleTimeout: "1h", KeepAliveUntil: at(noon.Add(6 * hour))}, status: used(0), after: hour,
			want: decision{want: wantRun, expiresAt: at(noon.Add(6 * hour)), because: vdi.StopIdle, lookAgain: 5*hour - 10*time.Minute},
		},
		"idle: never by default":       {spec: vdi.VDISessionSpec{Timeout: "0"}, status: used(0), after: 1000 * hour, want: decision{want: wantRun}},
		"idle: 0 is cut to a maximum":  {spec: vdi.VDISessionSpec{Timeout: "0", IdleTimeout: "0"}, rules: vdi.TemplateLifecycle{MaxIdleTimeout: "1h"}, status: used(0), after: hour, want: decision{want: wantSuspend, reason: vdi.StopIdle, expiresAt: at(noon.Add(hour)), because: vdi.StopIdle}},
		"idle: not before the run":     {spec: idle, status: vdi.VDISessionStatus{Activity: used(0).Activity}, after: 1000 * hour, want: decision{want: wantRun}},
		"starting: no limit":           {status: since(vdi.PhaseCreating), after: 1000 * hour, want: decision{want: wantRun}},
		"starting too long: suspended": {status: since(vdi.PhaseCreating), rules: vdi.TemplateLifecycle{MaxStarting: "1h"}, after: hour, want: decision{want: wantSuspend, reason: vdi.StopFailed, expiresAt: at(noon.Add(hour)), because: vdi.StopFailed}},
		"a run that has begun is no start, though it does not answer": {
			spec: vdi.VDISessionSpec{Timeout: "0"}, rules: vdi.TemplateLifecycle{MaxStarting: "1h"}, after: 1000 * hour,
			status: vdi.VDISessionStatus{Phase: vdi.PhaseCreating, PhaseSince: at(noon), StartTime: at(noon)}, want: decision{want: wantRun},
		},
		"pending is not starting": {status: since(vdi.PhasePending), rules: vdi.TemplateLifecycle{MaxStarting: "1h"}, after: 1000 * hour, want: decision{want: wantRun}},
		"failed too long: ends":   {status: since(vdi.PhaseFailed), rules: vdi.TemplateLifecycle{MaxFailed: "1h"}, after: hour, want: decision{want: wantEnd, reason: vdi.StopFailed, expiresAt: at(noon.Add(hour)), because: vdi.StopFailed}},
		"suspended too long: ends": {
			spec: vdi.VDISessionSpec{RunPolicy: vdi.RunPolicySuspended}, status: since(vdi.PhaseSuspended), rules: vdi.TemplateLifecycle{MaxSuspended: "1h"}, after: hour,
			want: decision{want: wantEnd, reason: vdi.StopExpired, expiresAt: at(noon.Add(hour)), because: vdi.StopExpired},
		},
		"suspended, not yet too long": {
			spec: vdi.VDISessionSpec{RunPolicy: vdi.RunPolicySuspended}, status: since(vdi.PhaseSuspended), rules: vdi.TemplateLifecycle{MaxSuspended: "1h"},
			want: decision{want: wantStop, reason: vdi.StopUser, expiresAt: at(noon.Add(hour)), because: vdi.StopExpired, lookAgain: 50 * time.Minute},
		},
		"a resume in time": {
			status: since(vdi.PhaseSuspended), rules: vdi.TemplateLifecycle{MaxSuspended: "1h"}, after: 2 * hour, want: decision{want: wantRun},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &vdi.VDISession{Spec: c.spec, Status: c.status}
			require.Equal(t, c.want, decide(s, c.rules, noon.Add(c.after)))
		})
	}
}

// anySession makes sessions and rules of every shape.
func anySession(r *rand.Rand) (*vdi.VDISession, vdi.TemplateLifecycle) {
	duration := func() vdi.Duration {
		return []vdi.Duration{"", "0", vdi.Duration(fmt.Sprintf("%dm", 1+r.IntN(3000)))}[r.IntN(3)]
	}
	s := &vdi.VDISession{Spec: vdi.VDISessionSpec{Timeout: duration(), IdleTimeout: duration()}}
	s.Spec.TimeoutAction = []vdi.TimeoutAction{"", vdi.TimeoutDelete, vdi.TimeoutSuspend}[r.IntN(3)]
	if r.IntN(4) > 0 {
		s.Status.StartTime = at(noon)
	}
	if r.IntN(2) == 0 {
		s.Spec.KeepAliveUntil = at(noon.Add(time.Duration(r.IntN(200)-50) * time.Hour))
	}
	if r.IntN(2) == 0 {
		used := noon.Add(time.Duration(r.IntN(100)-50) * time.Hour)
		s.Status.Activity = &vdi.ActivityStatus{LastActivityTime: at(used)}
	}
	return s, vdi.TemplateLifecycle{
		Timeout: duration(), MaxTimeout: duration(), WarnBefore: duration(), MaxExtension: duration(),
		IdleTimeout: duration(), MaxIdleTimeout: duration(),
	}
}

// earliestEnd is what nothing may end before, computed another way.
func earliestEnd(s *vdi.VDISession, rules vdi.TemplateLifecycle, reason vdi.StopReason) time.Time {
	if reason == vdi.StopExpired {
		return noon.Add(timeoutOf(s.Spec, rules))
	}
	return later(noon, s.Status.Activity.LastActivityTime.Time).Add(idleTimeoutOf(s.Spec, rules))
}

func isEnd(d decision) bool { return d.want == wantEnd || d.want == wantSuspend }

func TestDecideHolds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		s, rules := anySession(r)
		now := noon.Add(time.Duration(r.Int64N(int64(300 * time.Hour))))
		d := decide(s, rules, now)
		words := fmt.Sprintf("%+v %+v at %s: %+v", s.Spec, rules, now, d)

		if isEnd(d) {
			require.NotNil(t, s.Status.StartTime, words)
			require.False(t, d.reason == vdi.StopIdle && s.Status.Activity == nil, "unknown is never idle: %s", words)
			require.False(t, now.Before(earliestEnd(s, rules, d.reason)), "ended before its time: %s", words)
			require.False(t, now.Before(d.expiresAt.Time), "ended before the time it told: %s", words)
			require.True(t, isEnd(decide(s, rules, now.Add(time.Hour))), "an end is no longer due: %s", words)
		}
		shorter := s.DeepCopy()
		shorter.Spec.KeepAliveUntil = nil
		if !isEnd(decide(shorter, rules, now)) {
			require.False(t, isEnd(d), "an extension shortened the run: %s", words)
		}
		s.Spec.RunPolicy = vdi.RunPolicySuspended
		require.Equal(t, wantStop, decide(s, rules, now).want)
	}
}

// TestDecideNeverForgets: whoever looks again when he was told to meets the
// warning and then the end, each in the very moment.
func TestDecideNeverForgets(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		s, rules := anySession(r)
		now := noon.Add(time.Duration(r.Int64N(int64(time.Hour))))
		d := decide(s, rules, now)
		if d.expiresAt == nil {
			require.Equal(t, askAgain(s, rules), d.lookAgain, "nothing to look for but unknown activity")
			continue
		}
		looks := 0
		for ; !isEnd(d); looks++ {
			if again := askAgain(s, rules); again == 0 { // else activity is asked for on the way
				require.Less(t, looks, 3, "%+v %+v", s.Spec, rules)
			}
			require.Positive(t, d.lookAgain, "forgotten: %+v %+v", s.Spec, rules)
			now = now.Add(d.lookAgain)
			d = decide(s, rules, now)
		}
		if looks > 0 {
			require.True(t, now.Equal(d.expiresAt.Time), "the last look was at the end")
		}
	}
}
