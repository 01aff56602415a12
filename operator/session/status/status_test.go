package status

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
)

// TestWords is what a user reads in each state.
func TestWords(t *testing.T) {
	run := plan.Decision{Want: plan.Run}
	for name, c := range map[string]struct {
		pass    plan.Pass
		failed  error
		phase   vdi.Phase
		waiting vdi.WaitingFor
		ready   metav1.ConditionStatus
		stalled metav1.ConditionStatus
		message string
	}{
		"about to start":      {plan.Pass{Plan: plan.Plan{Decision: run}}, nil, vdi.PhasePending, "", "False", "False", "The desktop is about to start"},
		"being placed":        {plan.Pass{Facts: plan.Facts{Seen: plan.Children{Pod: fixture.Pod()}}, Plan: plan.Plan{Decision: run}}, nil, vdi.PhasePending, "", "False", "False", "The desktop is being placed on a node"},
		"no GPU":              {plan.Pass{Facts: plan.Facts{Seen: plan.Children{Pod: fixture.Pod(fixture.Unplaced("Insufficient nvidia.com/gpu"))}}, Plan: plan.Plan{Decision: run}}, nil, vdi.PhasePending, vdi.WaitingForGPU, "False", "False", "Waiting for a GPU"},
		"no node":             {plan.Pass{Facts: plan.Facts{Seen: plan.Children{Pod: fixture.Pod(fixture.Unplaced("Insufficient cpu"))}}, Plan: plan.Plan{Decision: run}}, nil, vdi.PhasePending, vdi.WaitingForNode, "False", "False", "Waiting for a node with room"},
		"no volume":           {plan.Pass{Facts: plan.Facts{Seen: plan.Children{Pod: fixture.Pod(fixture.Unplaced("unbound PersistentVolumeClaims"))}}, Plan: plan.Plan{Decision: run}}, nil, vdi.PhasePending, vdi.WaitingForVolume, "False", "False", "Waiting for the home volume"},
		"preparing":           {plan.Pass{Facts: plan.Facts{Seen: plan.Children{Pod: fixture.Pod(fixture.Placed)}}, Plan: plan.Plan{Decision: run}}, nil, vdi.PhaseCreating, "", "False", "False", "The node is preparing the image and the home"},
		"image wrong":         {plan.Pass{Facts: plan.Facts{Seen: plan.Children{Pod: fixture.Pod(fixture.Placed, fixture.Waits("ErrImagePull", "manifest unknown"))}}, Plan: plan.Plan{Decision: run}}, nil, vdi.PhaseCreating, vdi.WaitingForImage, "False", "True", "The image img cannot be pulled: manifest unknown"},
		"crashing":            {plan.Pass{Facts: plan.Facts{Seen: plan.Children{Pod: fixture.Pod(fixture.Placed, fixture.Waits("CrashLoopBackOff", "back-off"))}}, Plan: plan.Plan{Decision: run}}, nil, vdi.PhaseFailed, "", "False", "True", "The container selkies keeps failing"},
		"evicted":             {plan.Pass{Facts: plan.Facts{Seen: plan.Children{Pod: fixture.Pod(fixture.Placed, fixture.Failed("Evicted", "low on memory"))}}, Plan: plan.Plan{Decision: run}}, nil, vdi.PhaseFailed, "", "False", "False", "The desktop's pod ended: Evicted: low on memory. The home is kept, and a new desktop starts in a moment"},
		"running":             {plan.Pass{Facts: plan.Facts{Seen: plan.Children{Pod: fixture.Pod(fixture.Placed, fixture.Ready)}}, Plan: plan.Plan{Decision: run, URL: "https://h"}, Outcome: plan.Outcome{Reach: plan.ReachAnswered}}, nil, vdi.PhaseRunning, "", "True", "False", "The desktop is ready at https://h"},
		"running, unverified": {plan.Pass{Facts: plan.Facts{Seen: plan.Children{Pod: fixture.Pod(fixture.Placed, fixture.Ready)}}, Plan: plan.Plan{Decision: run}, Outcome: plan.Outcome{Reach: plan.ReachNotVerified}}, nil, vdi.PhaseRunning, "", "True", "False", "The desktop is ready"},
		"no way in yet":       {plan.Pass{Facts: plan.Facts{Seen: plan.Children{Pod: fixture.Pod(fixture.Placed, fixture.Ready)}}, Plan: plan.Plan{Decision: run}, Outcome: plan.Outcome{Reach: plan.ReachSilent}}, nil, vdi.PhaseCreating, vdi.WaitingForRoute, "False", "False", "The desktop is up; the proxy does not lead to it yet"},
		"old pod going":       {plan.Pass{Facts: plan.Facts{Seen: plan.Children{Pod: fixture.Pod(fixture.Placed, fixture.Ready, fixture.Going)}}, Plan: plan.Plan{Decision: run}}, nil, vdi.PhaseCreating, "", "False", "False", "The former desktop is shutting down"},
		"stopping":            {plan.Pass{Facts: plan.Facts{Seen: plan.Children{Pod: fixture.Pod(fixture.Placed, fixture.Ready)}}, Plan: plan.Plan{Decision: plan.Decision{Want: plan.StayStopped}}}, nil, vdi.PhasePending, "", "False", "False", "The desktop is shutting down; the home is kept"},
		"suspended":           {plan.Pass{Plan: plan.Plan{Decision: plan.Decision{Want: plan.StayStopped}}}, nil, vdi.PhaseSuspended, "", "True", "False", "Suspended: the home is kept and the GPU is free"},
		"refused, and runs on": {
			plan.Pass{Facts: plan.Facts{Seen: plan.Children{Pod: fixture.Pod(fixture.Placed, fixture.Ready)}}, Plan: plan.Plan{Decision: run, Refusal: verdict.Refused(vdi.ReasonInvalidResources, errors.New("too large"))}, Outcome: plan.Outcome{Reach: plan.ReachAnswered}},
			nil, vdi.PhaseRunning, "", "True", "False", "The desktop is ready",
		},
		"refused, and suspended": {
			plan.Pass{Plan: plan.Plan{Decision: plan.Decision{Want: plan.StayStopped}, Refusal: verdict.Refused(vdi.ReasonInvalidResources, errors.New("too large"))}},
			nil, vdi.PhaseSuspended, "", "True", "False", "Suspended: the home is kept and the GPU is free",
		},
		"its route is refused": {
			plan.Pass{Facts: plan.Facts{Seen: plan.Children{Pod: fixture.Pod(fixture.Placed, fixture.Ready)}}, Plan: plan.Plan{Decision: run, WayRefused: verdict.RouteKindMissing(), Refusal: verdict.RouteKindMissing()}, Outcome: plan.Outcome{Reach: plan.ReachRefused}},
			nil, vdi.PhaseCreating, vdi.WaitingForRoute, "False", "True", "The desktop is up, and nothing leads to it. The kind IngressRoute",
		},
		"its route is refused, and so would be its next start": {
			plan.Pass{Facts: plan.Facts{Seen: plan.Children{Pod: fixture.Pod(fixture.Placed, fixture.Ready)}}, Plan: plan.Plan{Decision: run, WayRefused: verdict.RouteKindMissing(), Refusal: verdict.Refused(vdi.ReasonTemplateNotAllowed, errors.New("for others"))}, Outcome: plan.Outcome{Reach: plan.ReachRefused}},
			nil, vdi.PhaseCreating, vdi.WaitingForRoute, "False", "True", "The desktop is up, and nothing leads to it. The kind IngressRoute",
		},
		"no answer": {plan.Pass{Plan: plan.Plan{Decision: run}}, errors.New("read pod: timeout"), vdi.PhasePending, "", "False", "False", "The API server could not be asked: read pod: timeout"},
		"halted": {
			plan.Pass{Outcome: plan.Outcome{StoppedBy: &verdict.Verdict{Condition: vdi.ConditionAccepted, Reason: vdi.ReasonTemplateNotFound, Phase: vdi.PhaseFailed, Waiting: vdi.WaitingForTemplate, Message: "Template not found: x", Stalled: true}}},
			nil, vdi.PhaseFailed, vdi.WaitingForTemplate, "False", "True", "Template not found: x",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := c.pass
			p.Now, p.Session, p.Template = fixture.Noon, fixture.Session(), &vdi.VDITemplate{}
			p.Template.Spec.GPU.ResourceName = "nvidia.com/gpu"
			st := described(&p, c.failed)
			require.Equal(t, []any{c.phase, c.waiting}, []any{st.Phase, st.WaitingFor}, st.Message)
			require.Contains(t, st.Message, c.message)
			require.Equal(t, c.ready, meta.FindStatusCondition(st.Conditions, vdi.ConditionReady).Status)
			require.Equal(t, c.stalled, meta.FindStatusCondition(st.Conditions, vdi.ConditionStalled).Status)
			require.Equal(t, int64(7), st.ObservedGeneration)
			for _, condition := range st.Conditions {
				require.NotEmpty(t, condition.Reason, condition.Type)
				require.NotEmpty(t, condition.Message, condition.Type)
			}
			p.Session.Status = st
			require.True(t, Equal(st, described(&p, c.failed)), "the same pass gives the same words")
		})
	}
}

// described is the status after a pass that knows no more of its session's use and
// troubles than its status says.
func described(p *plan.Pass, failed error) vdi.VDISessionStatus {
	st := p.Session.Status
	p.Activity, p.Failures, p.Downtime = st.Activity, st.Failures, st.Downtime
	return Of(p, failed).Status
}

func TestTheRunsClock(t *testing.T) {
	running := func() *plan.Pass {
		return &plan.Pass{Facts: plan.Facts{Session: fixture.Session(), Template: &vdi.VDITemplate{}, Seen: plan.Children{Pod: fixture.Pod(fixture.Placed, fixture.Ready)}}, Plan: plan.Plan{Now: fixture.Noon, Decision: plan.Decision{Want: plan.Run}}, Outcome: plan.Outcome{Reach: plan.ReachAnswered}}
	}
	t.Run("starts when the desktop is first Running", func(t *testing.T) {
		p := running()
		report := Of(p, nil)
		require.True(t, fixture.Noon.Equal(report.Status.StartTime.Time))
		require.True(t, fixture.Noon.Add(8*time.Hour).Equal(report.Status.ExpiresAt.Time))
		require.Positive(t, report.RequeueAfter)
	})
	t.Run("never before its pod was made, whatever our clock says", func(t *testing.T) {
		p := running()
		p.Now = fixture.Noon.Add(-100 * time.Hour)
		require.True(t, fixture.Noon.Equal(described(p, nil).StartTime.Time))
	})
	t.Run("stands still through a hiccup", func(t *testing.T) {
		p := running()
		p.Session.Status.StartTime = fixture.At(fixture.Noon.Add(-time.Hour))
		p.Seen.Pod = fixture.Pod(fixture.Placed)
		st := described(p, nil)
		require.Equal(t, vdi.PhaseCreating, st.Phase)
		require.True(t, fixture.Noon.Add(-time.Hour).Equal(st.StartTime.Time))
	})
	t.Run("ends with a stop, also while the pod is going", func(t *testing.T) {
		p := running()
		p.Session.Status.StartTime = fixture.At(fixture.Noon)
		p.Decision = plan.Decision{Want: plan.StayStopped, Reason: vdi.StopUser}
		st := described(p, nil)
		require.Nil(t, st.StartTime)
		require.Nil(t, st.ExpiresAt)
		require.Equal(t, vdi.StopUser, st.StopReason)
	})
	t.Run("a stop by the timeout keeps its reason", func(t *testing.T) {
		p := running()
		p.Session.Status.StopReason = vdi.StopExpired
		p.Decision = plan.Decision{Want: plan.StayStopped, Reason: vdi.StopUser}
		require.Equal(t, vdi.StopExpired, described(p, nil).StopReason)
	})
}

func TestARefusedHostIsNotShown(t *testing.T) {
	p := &plan.Pass{Facts: plan.Facts{Session: fixture.Session(), Template: &vdi.VDITemplate{}}, Plan: plan.Plan{Now: fixture.Noon, Host: "alice.example.com", URL: "https://alice.example.com"}, Outcome: plan.Outcome{StoppedBy: verdict.Refused(vdi.ReasonHostInUse, errors.New("in use"))}}
	st := described(p, nil)
	require.Empty(t, st.Host)
	require.Empty(t, st.URL)
}

func TestEventsAreToldOnTransitionsOnly(t *testing.T) {
	before, after := fixture.Session(), fixture.Session()
	before.Status.Phase, after.Status.Phase = vdi.PhaseCreating, vdi.PhaseRunning
	after.Status.Message = "The desktop is ready"
	require.Equal(t, []Event{{"Normal", "Running", "Running", "The desktop is ready"}}, Events(before, after, &plan.Pass{}))
	require.Empty(t, Events(after, after, &plan.Pass{}))

	soon := after.DeepCopy()
	soon.Status.Announcements = []vdi.Announcement{{End: vdi.EndIdle, At: fixture.At(fixture.Noon)}}
	both := soon.DeepCopy()
	both.Status.Announcements = append(both.Status.Announcements, vdi.Announcement{End: vdi.EndTimeout, At: fixture.At(fixture.Noon)})
	for end, step := range map[vdi.End][]*vdi.VDISession{vdi.EndIdle: {after, soon}, vdi.EndTimeout: {soon, both}} {
		_, words := expiryWords(&vdi.VDISession{}, end, false)
		require.Equal(t, []Event{{"Warning", vdi.ConditionExpiringSoon, vdi.ConditionExpiringSoon, words}}, Events(step[0], step[1], &plan.Pass{}), "each end by itself")
	}
	require.Empty(t, Events(both, both, &plan.Pass{}))
}
