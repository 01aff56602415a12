package session

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// aPod is a desktop's pod in some state.
func aPod(changes ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "desk", CreationTimestamp: *at(noon)},
		Status:     corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: wire.ContainerDesktop, Image: "img"}}},
	}
	for _, change := range changes {
		change(p)
	}
	return p
}

func placed(p *corev1.Pod) { p.Spec.NodeName = "node" }

func ready(p *corev1.Pod) {
	p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: *at(noon)})
}

func going(p *corev1.Pod) { p.DeletionTimestamp = at(noon) }

func unplaced(words string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: words}}
	}
}

func waits(reason, words string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses[0].State.Waiting = &corev1.ContainerStateWaiting{Reason: reason, Message: words}
	}
}

func failed(reason, words string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Phase, p.Status.Reason, p.Status.Message = corev1.PodFailed, reason, words
	}
}

// TestWords is what a user reads in each state.
func TestWords(t *testing.T) {
	run := decision{want: wantRun}
	for name, c := range map[string]struct {
		pass    pass
		failed  error
		phase   vdi.Phase
		waiting vdi.WaitingFor
		ready   metav1.ConditionStatus
		stalled metav1.ConditionStatus
		message string
	}{
		"about to start":      {pass{decision: run}, nil, vdi.PhasePending, "", "False", "False", "The desktop is about to start"},
		"being placed":        {pass{decision: run, seen: children{pod: aPod()}}, nil, vdi.PhasePending, "", "False", "False", "The desktop is being placed on a node"},
		"no GPU":              {pass{decision: run, seen: children{pod: aPod(unplaced("Insufficient nvidia.com/gpu"))}}, nil, vdi.PhasePending, vdi.WaitingForGPU, "False", "False", "Waiting for a GPU"},
		"no node":             {pass{decision: run, seen: children{pod: aPod(unplaced("Insufficient cpu"))}}, nil, vdi.PhasePending, vdi.WaitingForNode, "False", "False", "Waiting for a node with room"},
		"no volume":           {pass{decision: run, seen: children{pod: aPod(unplaced("unbound PersistentVolumeClaims"))}}, nil, vdi.PhasePending, vdi.WaitingForVolume, "False", "False", "Waiting for the home volume"},
		"preparing":           {pass{decision: run, seen: children{pod: aPod(placed)}}, nil, vdi.PhaseCreating, "", "False", "False", "The node is preparing the image and the home"},
		"image wrong":         {pass{decision: run, seen: children{pod: aPod(placed, waits("ErrImagePull", "manifest unknown"))}}, nil, vdi.PhaseCreating, vdi.WaitingForImage, "False", "True", "The image img cannot be pulled: manifest unknown"},
		"crashing":            {pass{decision: run, seen: children{pod: aPod(placed, waits("CrashLoopBackOff", "back-off"))}}, nil, vdi.PhaseFailed, "", "False", "True", "The container selkies keeps failing"},
		"evicted":             {pass{decision: run, seen: children{pod: aPod(placed, failed("Evicted", "low on memory"))}}, nil, vdi.PhaseFailed, "", "False", "False", "The desktop's pod ended: Evicted: low on memory. The home is kept, and a new desktop starts in a moment"},
		"running":             {pass{decision: run, seen: children{pod: aPod(placed, ready)}, reachable: reachAnswered, url: "https://h"}, nil, vdi.PhaseRunning, "", "True", "False", "The desktop is ready at https://h"},
		"running, unverified": {pass{decision: run, seen: children{pod: aPod(placed, ready)}, reachable: reachNotVerified}, nil, vdi.PhaseRunning, "", "True", "False", "The desktop is ready at"},
		"no way in yet":       {pass{decision: run, seen: children{pod: aPod(placed, ready)}, reachable: reachSilent}, nil, vdi.PhaseCreating, vdi.WaitingForRoute, "False", "False", "The desktop is up; the proxy does not lead to it yet"},
		"old pod going":       {pass{decision: run, seen: children{pod: aPod(placed, ready, going)}}, nil, vdi.PhaseCreating, "", "False", "False", "The former desktop is shutting down"},
		"stopping":            {pass{decision: decision{want: wantStop}, seen: children{pod: aPod(placed, ready)}}, nil, vdi.PhaseRunning, "", "False", "False", "The desktop is shutting down; the home is kept"},
		"suspended":           {pass{decision: decision{want: wantStop}}, nil, vdi.PhaseSuspended, "", "True", "False", "Suspended: the home is kept and the GPU is free"},
		"refused, and runs on": {
			pass{decision: run, seen: children{pod: aPod(placed, ready)}, reachable: reachAnswered, refusal: refused(vdi.ReasonInvalidResources, errors.New("too large"))},
			nil, vdi.PhaseRunning, "", "True", "False", "The desktop is ready at",
		},
		"refused, and suspended": {
			pass{decision: decision{want: wantStop}, refusal: refused(vdi.ReasonInvalidResources, errors.New("too large"))},
			nil, vdi.PhaseSuspended, "", "True", "False", "Suspended: the home is kept and the GPU is free",
		},
		"its route is refused": {
			pass{decision: run, seen: children{pod: aPod(placed, ready)}, reachable: reachRefused, refusal: routeKindMissing()},
			nil, vdi.PhaseCreating, vdi.WaitingForRoute, "False", "True", "The desktop is up, and nothing leads to it. The kind IngressRoute",
		},
		"no answer": {pass{decision: run}, errors.New("read pod: timeout"), vdi.PhasePending, "", "False", "False", "The API server could not be asked: read pod: timeout"},
		"halted": {
			pass{halted: &halt{condition: vdi.ConditionAccepted, reason: vdi.ReasonTemplateNotFound, phase: vdi.PhaseFailed, waiting: vdi.WaitingForTemplate, message: "Template not found: x", stalled: true}},
			nil, vdi.PhaseFailed, vdi.WaitingForTemplate, "False", "True", "Template not found: x",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := c.pass
			p.now, p.session, p.template = noon, aSession(), &vdi.VDITemplate{}
			p.template.Spec.GPU.ResourceName = "nvidia.com/gpu"
			st := statusOf(&p, p.session.Status, c.failed)
			require.Equal(t, []any{c.phase, c.waiting}, []any{st.Phase, st.WaitingFor}, st.Message)
			require.Contains(t, st.Message, c.message)
			require.Equal(t, c.ready, meta.FindStatusCondition(st.Conditions, vdi.ConditionReady).Status)
			require.Equal(t, c.stalled, meta.FindStatusCondition(st.Conditions, vdi.ConditionStalled).Status)
			require.Equal(t, int64(7), st.ObservedGeneration)
			for _, condition := range st.Conditions {
				require.NotEmpty(t, condition.Reason, condition.Type)
				require.NotEmpty(t, condition.Message, condition.Type)
			}
			again := p
			require.True(t, statusEqual(st, statusOf(&again, st, c.failed)), "the same pass gives the same words")
		})
	}
}

func aSession() *vdi.VDISession {
	s := &vdi.VDISession{ObjectMeta: metav1.ObjectMeta{Name: "desk", Namespace: "ns", Generation: 7, UID: "u"}}
	s.Spec.User, s.Spec.Template = "alice", "tpl"
	return s
}

func TestTheRunsClock(t *testing.T) {
	running := func() *pass {
		return &pass{
			session: aSession(), template: &vdi.VDITemplate{}, now: noon, reachable: reachAnswered,
			decision: decision{want: wantRun}, seen: children{pod: aPod(placed, ready)},
		}
	}
	t.Run("starts when the desktop is first Running", func(t *testing.T) {
		p := running()
		st := statusOf(p, vdi.VDISessionStatus{}, nil)
		require.True(t, noon.Equal(st.StartTime.Time))
		require.True(t, noon.Add(8*time.Hour).Equal(st.ExpiresAt.Time))
		require.Positive(t, p.lookAgain)
	})
	t.Run("never before its pod was made, whatever our clock says", func(t *testing.T) {
		p := running()
		p.now = noon.Add(-100 * time.Hour)
		require.True(t, noon.Equal(statusOf(p, vdi.VDISessionStatus{}, nil).StartTime.Time))
	})
	t.Run("stands still through a hiccup", func(t *testing.T) {
		p := running()
		p.session.Status.StartTime = at(noon.Add(-time.Hour))
		p.seen.pod = aPod(placed)
		st := statusOf(p, p.session.Status, nil)
		require.Equal(t, vdi.PhaseCreating, st.Phase)
		require.True(t, noon.Add(-time.Hour).Equal(st.StartTime.Time))
	})
	t.Run("ends with a stop, also while the pod is going", func(t *testing.T) {
		p := running()
		p.session.Status.StartTime = at(noon)
		p.decision = decision{want: wantStop, reason: vdi.StopUser}
		st := statusOf(p, p.session.Status, nil)
		require.Nil(t, st.StartTime)
		require.Nil(t, st.ExpiresAt)
		require.Equal(t, vdi.StopUser, st.StopReason)
	})
	t.Run("a stop by the timeout keeps its reason", func(t *testing.T) {
		p := running()
		p.session.Status.StopReason = vdi.StopExpired
		p.decision = decision{want: wantStop, reason: vdi.StopUser}
		require.Equal(t, vdi.StopExpired, statusOf(p, p.session.Status, nil).StopReason)
	})
}

func TestARefusedHostIsNotShown(t *testing.T) {
	p := &pass{
		session: aSession(), template: &vdi.VDITemplate{}, now: noon, host: "alice.example.com", url: "https://alice.example.com",
		halted: hostHalt(vdi.ReasonHostInUse, "in use"),
	}
	st := statusOf(p, vdi.VDISessionStatus{}, nil)
	require.Empty(t, st.Host)
	require.Empty(t, st.URL)
}

func TestShorten(t *testing.T) {
	require.Equal(t, "short", shorten("short", 10))
	long := shorten(strings.Repeat("ä", 5000), maxMessage)
	require.LessOrEqual(t, len(long), maxMessage)
	require.True(t, utf8.ValidString(long))
	require.True(t, strings.HasSuffix(long, " …"))
}

func TestMayDeleteHome(t *testing.T) {
	no := false
	for name, c := range map[string]struct {
		change func(*vdi.VDISession)
		want   bool
	}{
		"a person deleted it while it ran": {func(*vdi.VDISession) {}, true},
		"policy Retain":                    {func(s *vdi.VDISession) { s.Spec.Persistence.ReclaimPolicy = vdi.ReclaimRetain }, false},
		"no policy":                        {func(s *vdi.VDISession) { s.Spec.Persistence.ReclaimPolicy = "" }, false},
		"expired":                          {func(s *vdi.VDISession) { s.Status.EndReason = vdi.StopExpired }, false},
		"idle":                             {func(s *vdi.VDISession) { s.Status.EndReason = vdi.StopIdle }, false},
		"failed":                           {func(s *vdi.VDISession) { s.Status.EndReason = vdi.StopFailed }, false},
		"failed before it ran":             {func(s *vdi.VDISession) { s.Status.EndReason, s.Status.StartTime = vdi.StopFailed, nil }, false},
		"suspended by a person":            {func(s *vdi.VDISession) { s.Status.StopReason, s.Status.StartTime = vdi.StopUser, nil }, true},
		"suspended by the timeout":         {func(s *vdi.VDISession) { s.Status.StopReason, s.Status.StartTime = vdi.StopExpired, nil }, true},
		"persistence off":                  {func(s *vdi.VDISession) { s.Spec.Persistence.Enabled = &no }, false},
		"somebody else's claim":            {func(s *vdi.VDISession) { s.Spec.Persistence.ExistingClaim = "x" }, false},
		"a claim of unknown origin":        {func(s *vdi.VDISession) { s.Status.Home.CreatedByOperator = false }, false},
		"a claim without UID":              {func(s *vdi.VDISession) { s.Status.Home.UID = "" }, false},
		"another session's home":           {func(s *vdi.VDISession) { s.Status.Home.ClaimName = "vdi-data-other" }, false},
		"nothing known":                    {func(s *vdi.VDISession) { s.Status.Home = nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := aSession()
			s.Spec.Persistence.ReclaimPolicy = vdi.ReclaimDelete
			s.Status.StartTime = at(noon)
			s.Status.Home = &vdi.HomeStatus{ClaimName: "vdi-data-desk", UID: "c", CreatedByOperator: true}
			c.change(s)
			require.Equal(t, c.want, mayDeleteHome(s))
		})
	}
}

// TestGPUOf: what a desktop has, whatever its template asks for by now.
func TestGPUOf(t *testing.T) {
	limits := func(names ...string) corev1.ResourceList {
		list := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("4Gi")}
		for i, name := range names {
			list[corev1.ResourceName(name)] = *resource.NewQuantity(int64(i+1), resource.DecimalSI)
		}
		return list
	}
	for name, c := range map[string]struct {
		limits             corev1.ResourceList
		template, recorded string
		resource           string
		count              int32
	}{
		"none":                  {limits(), "nvidia.com/gpu", "", "", 0},
		"no limits":             {nil, "nvidia.com/gpu", "", "", 0},
		"the template's":        {limits("nvidia.com/gpu"), "nvidia.com/gpu", "", "nvidia.com/gpu", 1},
		"the template's of two": {limits("a.com/gpu", "nvidia.com/gpu"), "nvidia.com/gpu", "a.com/gpu", "nvidia.com/gpu", 2},
		"the recorded one":      {limits("amd.com/gpu"), "nvidia.com/gpu", "amd.com/gpu", "amd.com/gpu", 1},
		"what is no GPU":        {limits("rdma/hca"), "nvidia.com/gpu", "", "", 0},
		"no template":           {limits("nvidia.com/gpu"), "", "nvidia.com/gpu", "nvidia.com/gpu", 1},
	} {
		t.Run(name, func(t *testing.T) {
			got, count := gpuOf(c.limits, c.template, c.recorded)
			require.Equal(t, []any{c.resource, c.count}, []any{got, count})
		})
	}
}

func TestUsableHome(t *testing.T) {
	made := map[string]string{wire.LabelManagedBy: wire.Operator}
	for name, c := range map[string]struct {
		labels      map[string]string
		annotations map[string]string
		reason      string
	}{
		"planted":                      {nil, nil, vdi.ReasonHomeNotOurs},
		"given by an administrator":    {map[string]string{wire.LabelHomeFor: "ID"}, nil, ""},
		"given to somebody else":       {map[string]string{wire.LabelHomeFor: "other"}, nil, vdi.ReasonHomeNotOurs},
		"made for this user":           {map[string]string{wire.LabelManagedBy: wire.Operator, wire.LabelUser: "ID"}, map[string]string{wire.AnnotationSessionUID: "u"}, ""},
		"made for another user":        {map[string]string{wire.LabelManagedBy: wire.Operator, wire.LabelUser: "other"}, map[string]string{wire.AnnotationSessionUID: "u"}, vdi.ReasonHomeOfAnotherUser},
		"labelled, but not made by us": {made, nil, vdi.ReasonHomeNotOurs},
	} {
		t.Run(name, func(t *testing.T) {
			s := aSession()
			claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "c", Annotations: c.annotations, Labels: map[string]string{}}}
			for k, v := range c.labels {
				claim.Labels[k] = strings.ReplaceAll(v, "ID", identityOf(s))
			}
			err := usableHome(s, claim)
			if c.reason == "" {
				require.NoError(t, err)
				return
			}
			var h *halt
			require.ErrorAs(t, err, &h)
			require.Equal(t, c.reason, h.reason)
		})
	}
}

func identityOf(s *vdi.VDISession) string { return platform.Identity(s.Spec.User) }

func TestRouteRetry(t *testing.T) {
	require.Equal(t, firstRouteRetry, routeRetry(0))
	require.Equal(t, 5*time.Second, routeRetry(10*time.Second))
	require.Equal(t, lastRouteRetry, routeRetry(time.Hour))
	require.Equal(t, firstRouteRetry, routeRetry(-time.Hour), "a clock that jumped")
}

func TestEventsAreToldOnTransitionsOnly(t *testing.T) {
	before, after := aSession(), aSession()
	before.Status.Phase, after.Status.Phase = vdi.PhaseCreating, vdi.PhaseRunning
	after.Status.Message = "The desktop is ready"
	require.Equal(t, []happening{{"Normal", "Running", "Running", "The desktop is ready"}}, eventsOf(before, after, &pass{}))
	require.Empty(t, eventsOf(after, after, &pass{}))

	soon := after.DeepCopy()
	soon.Status.Announcements = []vdi.Announcement{{End: vdi.EndIdle, At: at(noon)}}
	both := soon.DeepCopy()
	both.Status.Announcements = append(both.Status.Announcements, vdi.Announcement{End: vdi.EndTimeout, At: at(noon)})
	for end, step := range map[vdi.End][]*vdi.VDISession{vdi.EndIdle: {after, soon}, vdi.EndTimeout: {soon, both}} {
		_, words := expiryWords(end, false)
		require.Equal(t, []happening{{"Warning", vdi.ConditionExpiringSoon, vdi.ConditionExpiringSoon, words}}, eventsOf(step[0], step[1], &pass{}), "each end by itself")
	}
	require.Empty(t, eventsOf(both, both, &pass{}))
}
