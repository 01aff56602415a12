package frontdoor

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

func session(phase vdi.Phase, policy vdi.RunPolicy, change ...func(*vdi.VDISession)) *vdi.VDISession {
	s := &vdi.VDISession{Spec: vdi.VDISessionSpec{RunPolicy: policy}, Status: vdi.VDISessionStatus{Phase: phase, Message: "from the operator"}}
	for _, edit := range change {
		edit(s)
	}
	return s
}

// The button is there exactly where a press of it would start something.
func TestDescribe(t *testing.T) {
	for _, c := range []struct {
		phase                      vdi.Phase
		policy                     vdi.RunPolicy
		title                      string
		running, resume, fromThere bool
	}{
		{"", vdi.RunPolicyRunning, "Your desktop is waiting", false, false, true},
		{vdi.PhasePending, vdi.RunPolicyRunning, "Your desktop is waiting", false, false, true},
		{vdi.PhaseCreating, vdi.RunPolicyRunning, "Your desktop is starting", false, false, true},
		{vdi.PhaseRunning, vdi.RunPolicyRunning, "Your desktop is running", true, false, false},
		{vdi.PhaseRunning, vdi.RunPolicySuspended, "Your desktop is shutting down", false, true, false},
		{vdi.PhaseSuspended, vdi.RunPolicySuspended, "Your desktop is suspended", false, true, false},
		{vdi.PhaseSuspended, vdi.RunPolicyRunning, "Your desktop is about to start", false, false, false},
		{vdi.PhaseFailed, vdi.RunPolicyRunning, "Your desktop cannot start", false, false, true},
		{vdi.PhaseTerminating, vdi.RunPolicyRunning, "Your desktop is being removed", false, false, false},
	} {
		got := describe(session(c.phase, c.policy))
		assert.Equal(t, c.title, got.Title)
		assert.Equal(t, c.running, got.Running, c.title)
		assert.Equal(t, c.resume, got.CanResume, c.title)
		assert.Equal(t, c.fromThere, got.Message == "from the operator", c.title)
		assert.NotEmpty(t, got.Text)
	}
}

// What does not go on by itself is no queue; a quota is given back by others.
func TestDescribeStuck(t *testing.T) {
	stalled := func(what vdi.WaitingFor) func(*vdi.VDISession) {
		return func(s *vdi.VDISession) {
			s.Status.WaitingFor = what
			s.Status.Conditions = []metav1.Condition{{Type: vdi.ConditionStalled, Status: metav1.ConditionTrue}}
		}
	}
	for _, phase := range []vdi.Phase{vdi.PhasePending, vdi.PhaseCreating} {
		stuck := describe(session(phase, vdi.RunPolicyRunning, stalled(vdi.WaitingForGPU)))
		assert.Equal(t, "Your desktop cannot start yet", stuck.Title)
		assert.Equal(t, "from the operator", stuck.Message)
		assert.False(t, stuck.Queued)
	}
	quota := describe(session(vdi.PhasePending, vdi.RunPolicyRunning, stalled(vdi.WaitingForQuota)))
	assert.Equal(t, "Your desktop is waiting", quota.Title)
	assert.True(t, quota.Queued)
	assert.True(t, describe(session(vdi.PhaseRunning, vdi.RunPolicyRunning, stalled(""))).Running)
}

// Whom a VDIQuota lets wait has the place of its status; whom it refuses waits for nobody.
func TestDescribeQueue(t *testing.T) {
	at := func(place int32) state {
		return describe(session(vdi.PhasePending, vdi.RunPolicyRunning, func(s *vdi.VDISession) {
			s.Status.WaitingFor = vdi.WaitingForQuota
			s.Status.Queue = &vdi.QueueStatus{Quota: "all", Key: &metav1.MicroTime{Time: noon}, Place: place}
		}))
	}
	want := state{Word: "Waiting", Kind: busy, Title: "Your desktop is waiting", Text: "It starts as soon as it is its turn.", Message: "from the operator", Queued: true, Ahead: 2}
	assert.Equal(t, want, at(3))
	assert.True(t, at(11).Roughly)
	refused := describe(session(vdi.PhasePending, vdi.RunPolicyRunning, func(s *vdi.VDISession) {
		s.Status.WaitingFor = vdi.WaitingForQuota
		s.Status.Queue = &vdi.QueueStatus{Quota: "all"}
		s.Status.Conditions = []metav1.Condition{{Type: vdi.ConditionStalled, Status: metav1.ConditionTrue}, {Type: vdi.ConditionAccepted, Status: metav1.ConditionFalse}}
	}))
	assert.Equal(t, state{Word: "Cannot start yet", Kind: bad, Title: "Your desktop cannot start yet", Text: "If it stays so, ask an administrator.", Message: "from the operator"}, refused)
}

func TestDescribeWhatIsAwaited(t *testing.T) {
	seen := map[string]bool{}
	for _, what := range []vdi.WaitingFor{vdi.WaitingForGPU, vdi.WaitingForNode, vdi.WaitingForQuota, vdi.WaitingForTemplate, vdi.WaitingForVolume} {
		text := describe(session(vdi.PhasePending, vdi.RunPolicyRunning, func(s *vdi.VDISession) { s.Status.WaitingFor = what })).Text
		assert.False(t, seen[text], text)
		seen[text] = true
	}
	idle := describe(session(vdi.PhaseSuspended, vdi.RunPolicySuspended, func(s *vdi.VDISession) { s.Status.StopReason = vdi.StopIdle }))
	assert.Contains(t, idle.Text, "Nobody used it")
}

func TestUserIn(t *testing.T) {
	for _, c := range []struct{ claims, claim, want, wantErr string }{
		{`{"email":"a@b.c","email_verified":true}`, "email", "a@b.c", ""},
		{`{"email":"a@b.c","email_verified":"true"}`, "email", "a@b.c", ""},
		{`{"sub":"248289761001"}`, "sub", "248289761001", ""},
		{`{"upn":"A@b.C"}`, "upn", "A@b.C", ""},
		{`{"email":"a@b.c","email_verified":false}`, "email", "", "not verified"},
		{`{"email":"a@b.c","email_verified":"false"}`, "email", "", "not verified"},
		{`{"email":"a@b.c","email_verified":1}`, "email", "", "not verified"},
		{`{"email":"a@b.c"}`, "email", "", "not verified"},
		{`{"sub":"x"}`, "email", "", `the claim "email" is missing`},
		{`{"sub":["x"]}`, "sub", "", "no text"},
		{`{"sub":7}`, "sub", "", "no text"},
		{`{"sub":null}`, "sub", "", "invalid user"},
		{`{"sub":""}`, "sub", "", "invalid user"},
		{`{"sub":" x"}`, "sub", "", "invalid user"},
		{`{"sub":"e\u0301"}`, "sub", "", "composed characters"},
	} {
		claims := map[string]json.RawMessage{}
		require.NoError(t, json.Unmarshal([]byte(c.claims), &claims))
		got, err := userIn(claims, c.claim)
		assert.Equal(t, c.want, got, c.claims)
		if c.wantErr != "" {
			require.ErrorIs(t, err, errIdentity)
			assert.ErrorContains(t, err, c.wantErr, c.claims)
		}
	}
}

func TestTheOneSessionOfAHost(t *testing.T) {
	dying := *session(vdi.PhaseTerminating, vdi.RunPolicyRunning, func(s *vdi.VDISession) { s.DeletionTimestamp = &metav1.Time{Time: noon}; s.Name = "dying" })
	living := *session(vdi.PhaseRunning, vdi.RunPolicyRunning, func(s *vdi.VDISession) { s.Name = "living" })
	s, found := theOne([]vdi.VDISession{dying, living})
	require.True(t, found)
	assert.Equal(t, "living", s.Name)
	_, found = theOne([]vdi.VDISession{living, living})
	assert.False(t, found, "nobody chooses between two people")
	_, found = theOne([]vdi.VDISession{dying})
	assert.True(t, found)
	_, found = theOne(nil)
	assert.False(t, found)
}

func TestHubTellsWhoseQueueMoved(t *testing.T) {
	h := newHub()
	mine, stopMine, _ := h.follow("a.example.com")
	other, stopOther, _ := h.follow("b.example.com")
	defer stopOther()
	signalled := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	a := session(vdi.PhasePending, vdi.RunPolicyRunning, func(s *vdi.VDISession) { s.Status.Host = "a.example.com" })
	h.notify(a, a)
	h.notify(a, a)
	assert.True(t, signalled(mine))
	assert.False(t, signalled(mine), "signalled once")
	assert.False(t, signalled(other))
	waits := a.DeepCopy()
	waits.Status.WaitingFor = vdi.WaitingForGPU
	h.notify(a, waits)
	assert.True(t, signalled(other), "the queue has changed")
	stopMine()
	h.notify(a, nil)
	assert.False(t, signalled(other))
	for range maxFollowers {
		_, _, ok := h.follow("c.example.com")
		assert.True(t, ok)
	}
	_, _, ok := h.follow("c.example.com")
	assert.False(t, ok, "the pages of one host are bounded")
}

// A login counts for one user, host and session together.
func TestJudge(t *testing.T) {
	s := session(vdi.PhaseRunning, vdi.RunPolicyRunning, func(s *vdi.VDISession) { s.UID, s.Spec.User = "uid", "a@b.c" })
	good := ticket{User: "a@b.c", Host: "h.example.com", SessionUID: "uid"}
	with := func(change func(*ticket)) ticket {
		login := good
		change(&login)
		return login
	}
	assert.Equal(t, allowed, standingOf(good, "h.example.com", s))
	assert.Equal(t, stranger, standingOf(good, "h.example.com", nil))
	assert.Equal(t, anonymous, standingOf(good, "i.example.com", s))
	assert.Equal(t, anonymous, standingOf(with(func(l *ticket) { l.SessionUID = "other" }), "h.example.com", s))
	assert.Equal(t, stranger, standingOf(with(func(l *ticket) { l.User = "A@b.c" }), "h.example.com", s), "byte for byte")

	page := with(func(l *ticket) { l.User = "" })
	assert.Equal(t, allowed, pageStandingOf(page, "h.example.com", s))
	assert.Equal(t, anonymous, pageStandingOf(page, "h.example.com", nil))
	assert.Equal(t, anonymous, pageStandingOf(page, "i.example.com", s))
	assert.Equal(t, anonymous, pageStandingOf(with(func(l *ticket) { l.User, l.SessionUID = "", "other" }), "h.example.com", s))
	assert.Equal(t, anonymous, pageStandingOf(good, "h.example.com", s), "a login of the other mode")
}
