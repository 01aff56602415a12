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

// TestDecide is the specification of timeouts.
func TestDecide(t *testing.T) {
	const hour = time.Hour
	begun := vdi.VDISessionStatus{StartTime: at(noon)}
	for name, c := range map[string]struct {
		spec   vdi.VDISessionSpec
		status vdi.VDISessionStatus
		rules  vdi.TemplateLifecycle
		after  time.Duration // since noon
		want   decision
	}{
		"not running yet: no clock":         {after: 1000 * hour, want: decision{want: wantRun}},
		"fresh: looks again at the warning": {status: begun, want: decision{want: wantRun, expiresAt: at(noon.Add(8 * hour)), lookAgain: 8*hour - 10*time.Minute}},
		"the warning": {
			status: begun, after: 8*hour - 10*time.Minute,
			want: decision{want: wantRun, expiresAt: at(noon.Add(8 * hour)), warn: true, lookAgain: 10 * time.Minute},
		},
		"a moment before the end": {
			status: begun, after: 8*hour - 1,
			want: decision{want: wantRun, expiresAt: at(noon.Add(8 * hour)), warn: true, lookAgain: 1},
		},
		"the end": {
			status: begun, after: 8 * hour,
			want: decision{want: wantEnd, reason: vdi.StopExpired, expiresAt: at(noon.Add(8 * hour))},
		},
		"the end, to be suspended by the session's wish": {
			spec: vdi.VDISessionSpec{TimeoutAction: vdi.TimeoutSuspend}, status: begun, after: 8 * hour,
			want: decision{want: wantSuspend, reason: vdi.StopExpired, expiresAt: at(noon.Add(8 * hour))},
		},
		"the end, to be suspended by the template's rule": {
			rules: vdi.TemplateLifecycle{TimeoutAction: vdi.TimeoutSuspend}, status: begun, after: 8 * hour,
			want: decision{want: wantSuspend, reason: vdi.StopExpired, expiresAt: at(noon.Add(8 * hour))},
		},
		"the session's wish beats the template's rule": {
			spec: vdi.VDISessionSpec{TimeoutAction: vdi.TimeoutDelete}, rules: vdi.TemplateLifecycle{TimeoutAction: vdi.TimeoutSuspend}, status: begun, after: 8 * hour,
			want: decision{want: wantEnd, reason: vdi.StopExpired, expiresAt: at(noon.Add(8 * hour))},
		},
		"timeout 0: never": {spec: vdi.VDISessionSpec{Timeout: "0"}, status: begun, after: 10000 * hour, want: decision{want: wantRun}},
		"timeout 0 within a maximum": {
			spec: vdi.VDISessionSpec{Timeout: "0"}, rules: vdi.TemplateLifecycle{MaxTimeout: "2h"}, status: begun, after: 2 * hour,
			want: decision{want: wantEnd, reason: vdi.StopExpired, expiresAt: at(noon.Add(2 * hour))},
		},
		"a longer wish is cut to the maximum": {
			spec: vdi.VDISessionSpec{Timeout: "9h"}, rules: vdi.TemplateLifecycle{MaxTimeout: "2h"}, status: begun,
			want: decision{want: wantRun, expiresAt: at(noon.Add(2 * hour)), lookAgain: 110 * time.Minute},
		},
		"the template's timeout": {
			rules: vdi.TemplateLifecycle{Timeout: "3h"}, status: begun,
			want: decision{want: wantRun, expiresAt: at(noon.Add(3 * hour)), lookAgain: 170 * time.Minute},
		},
		"a short run is not warned of from its beginning": {
			spec: vdi.VDISessionSpec{Timeout: "10m"}, status: begun,
			want: decision{want: wantRun, expiresAt: at(noon.Add(10 * time.Minute)), lookAgain: 5 * time.Minute},
		},
		"extended": {
			spec: vdi.VDISessionSpec{KeepAliveUntil: at(noon.Add(10 * hour))}, status: begun, after: 9 * hour,
			want: decision{want: wantRun, expiresAt: at(noon.Add(10 * hour)), lookAgain: 50 * time.Minute},
		},
		"extended too far: the template's bound": {
			spec: vdi.VDISessionSpec{KeepAliveUntil: at(noon.Add(1000 * hour))}, rules: vdi.TemplateLifecycle{MaxExtension: "1h"}, status: begun, after: 9 * hour,
			want: decision{want: wantEnd, reason: vdi.StopExpired, expiresAt: at(noon.Add(9 * hour))},
		},
		"extension forbidden": {
			spec: vdi.VDISessionSpec{KeepAliveUntil: at(noon.Add(9 * hour))}, rules: vdi.TemplateLifecycle{MaxExtension: "0"}, status: begun, after: 8 * hour,
			want: decision{want: wantEnd, reason: vdi.StopExpired, expiresAt: at(noon.Add(8 * hour))},
		},
		"an extension into the past shortens nothing": {
			spec: vdi.VDISessionSpec{KeepAliveUntil: at(noon)}, status: begun, after: 7 * hour,
			want: decision{want: wantRun, expiresAt: at(noon.Add(8 * hour)), lookAgain: 50 * time.Minute},
		},
		"suspended": {spec: vdi.VDISessionSpec{RunPolicy: vdi.RunPolicySuspended}, status: begun, after: 1000 * hour, want: decision{want: wantStop, reason: vdi.StopUser}},
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
	s := &vdi.VDISession{Spec: vdi.VDISessionSpec{Timeout: duration()}}
	s.Spec.TimeoutAction = []vdi.TimeoutAction{"", vdi.TimeoutDelete, vdi.TimeoutSuspend}[r.IntN(3)]
	if r.IntN(4) > 0 {
		s.Status.StartTime = at(noon)
	}
	if r.IntN(2) == 0 {
		s.Spec.KeepAliveUntil = at(noon.Add(time.Duration(r.IntN(200)-50) * time.Hour))
	}
	return s, vdi.TemplateLifecycle{
		Timeout: duration(), MaxTimeout: duration(), WarnBefore: duration(), MaxExtension: duration(),
	}
}

func isEnd(d decision) bool { return d.want == wantEnd || d.want == wantSuspend }

func TestDecideHolds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		s, rules := anySession(r)
		now := noon.Add(time.Duration(r.Int64N(int64(300 * time.Hour))))
		d := decide(s, rules, now)
		timeout := timeoutOf(s.Spec, rules)
		words := fmt.Sprintf("%+v %+v at %s: %+v", s.Spec, rules, now, d)

		if isEnd(d) {
			require.NotNil(t, s.Status.StartTime, words)
			require.Positive(t, timeout, "ended without a timeout: %s", words)
			require.False(t, now.Before(noon.Add(timeout)), "ended before its time: %s", words)
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
			require.Zero(t, d.lookAgain, "nothing to look for")
			continue
		}
		looks := 0
		for ; !isEnd(d); looks++ {
			require.Less(t, looks, 3, "%+v %+v", s.Spec, rules)
			require.Positive(t, d.lookAgain, "forgotten: %+v %+v", s.Spec, rules)
			now = now.Add(d.lookAgain)
			d = decide(s, rules, now)
		}
		if looks > 0 {
			require.True(t, now.Equal(d.expiresAt.Time), "the last look was at the end")
		}
	}
}
