package cause

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/clusterevents"
	"github.com/vdi-platform/vdi-platform/operator/desktop"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// secret is what nobody may repeat.
const secret = "token=hunter2"

// eventLog are the events that an API server holds of one kind of objects.
type eventLog struct {
	client.Reader
	events []eventsv1.Event
	reads  int
}

func (l *eventLog) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	l.reads++
	list.(*eventsv1.EventList).Items = l.events
	return nil
}

func anEvent(name, reason, note string, at time.Time) eventsv1.Event {
	return eventsv1.Event{Regarding: corev1.ObjectReference{Name: name}, Reason: reason, Note: note, DeprecatedLastTimestamp: metav1.Time{Time: at}}
}

// offers is what the largest node has.
type offers corev1.ResourceList

func (o offers) GPUs(context.Context, vdi.VDITemplateSpec) ([]platform.GPUNode, error) {
	return nil, nil
}

func (o offers) Most(_ context.Context, name corev1.ResourceName) (resource.Quantity, bool, error) {
	return o[name], true, nil
}

func asks(name corev1.ResourceName, amount string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers = []corev1.Container{{Name: wire.ContainerDesktop, Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{name: resource.MustParse(amount)}}}}
	}
}

// TestCause is what is found out where the pod does not say why it does not start.
func TestCause(t *testing.T) {
	missing := anEvent("desk", "FailedMount", `MountVolume.SetUp failed for volume "x" : configmap "nothere" not found`, fixture.Noon)
	noClass := anEvent("vdi-data-desk", "ProvisioningFailed", `storageclass.storage.k8s.io "gp3" not found`, fixture.Noon)
	grows := anEvent("desk", "TriggeredScaleUp", "pod triggered scale-up: [{pool 0->1 (max: 3)}]", fixture.Noon)
	unbound := fixture.Unplaced("pod has unbound immediate PersistentVolumeClaims")
	for name, c := range map[string]struct {
		pod     *corev1.Pod
		age     time.Duration
		events  []eventsv1.Event
		words   string // "": nothing is found
		waiting vdi.WaitingFor
		stalled bool
		reads   int
	}{
		"in time":               {fixture.Pod(fixture.Placed), lateStart - time.Second, []eventsv1.Event{missing}, "", "", false, 0},
		"a missing volume":      {fixture.Pod(fixture.Placed), lateStart, []eventsv1.Event{missing}, `configmap "nothere" not found`, vdi.WaitingForVolume, false, 1},
		"for a minute":          {fixture.Pod(fixture.Placed), stuckStart, []eventsv1.Event{missing}, `configmap "nothere" not found`, vdi.WaitingForVolume, true, 1},
		"no longer complained":  {fixture.Pod(fixture.Placed), clusterevents.Counts + time.Second, []eventsv1.Event{missing}, "", "", false, 1},
		"another's":             {fixture.Pod(fixture.Placed), lateStart, []eventsv1.Event{anEvent("other", "FailedMount", "no", fixture.Noon)}, "", "", false, 1},
		"nothing to complain":   {fixture.Pod(fixture.Placed), lateStart, []eventsv1.Event{anEvent("desk", "Pulling", "pulling", fixture.Noon)}, "", "", false, 1},
		"what a container said": {fixture.Pod(fixture.Placed), lateStart, []eventsv1.Event{anEvent("desk", "FailedPostStartHook", secret, fixture.Noon)}, "", "", false, 1},
		"it runs":               {fixture.Pod(fixture.Placed, fixture.Ended(fixture.End(1, "Error", ""))), time.Hour, []eventsv1.Event{missing}, "", "", false, 0},
		"no class":              {fixture.Pod(unbound, fixture.AtHome), lateStart, []eventsv1.Event{noClass}, `"gp3" not found`, vdi.WaitingForVolume, false, 1},
		"no class for long":     {fixture.Pod(unbound, fixture.AtHome), stuckStart, []eventsv1.Event{noClass}, `"gp3" not found`, vdi.WaitingForVolume, true, 1},
		"volume takes long":     {fixture.Pod(unbound, fixture.AtHome), stuckStart, nil, "", "", false, 1},
		"claim missing":         {fixture.Pod(fixture.Unplaced(`persistentvolumeclaim "x" not found`)), stuckStart, nil, `"x" not found`, vdi.WaitingForVolume, true, 1},
		"nobody offers":         {fixture.Pod(fixture.Unplaced("Insufficient amd.com/gpu"), asks("amd.com/gpu", "1")), time.Second, nil, "No node offers amd.com/gpu.", vdi.WaitingForNode, false, 0},
		"nobody for long":       {fixture.Pod(fixture.Unplaced("Insufficient amd.com/gpu"), asks("amd.com/gpu", "1")), time.Minute, nil, "No node offers amd.com/gpu.", vdi.WaitingForNode, true, 1},
		"a node comes":          {fixture.Pod(fixture.Unplaced("Insufficient amd.com/gpu"), asks("amd.com/gpu", "1")), time.Minute, []eventsv1.Event{grows}, "its template. The cluster says: pod triggered scale-up", vdi.WaitingForNode, false, 1},
		"a node came":           {fixture.Pod(fixture.Placed), lateStart, []eventsv1.Event{grows}, "", "", false, 1},
		"its image is missing":  {fixture.Pod(fixture.Placed, fixture.Waits("ImagePullBackOff", "no")), time.Hour, []eventsv1.Event{missing}, "", "", false, 0},
		"too many":              {fixture.Pod(fixture.Unplaced("Insufficient nvidia.com/gpu"), asks("nvidia.com/gpu", "4")), time.Second, nil, "No node offers more than 2 of nvidia.com/gpu, and the desktop asks for 4", vdi.WaitingForGPU, false, 0},
		"too large":             {fixture.Pod(fixture.Unplaced("Insufficient memory"), asks("memory", "1Ti")), time.Second, nil, "No node offers more than 64Gi of memory", vdi.WaitingForNode, false, 0},
		"a queue":               {fixture.Pod(fixture.Unplaced("Insufficient nvidia.com/gpu"), asks("nvidia.com/gpu", "2")), time.Hour, nil, "", "", false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			events := &eventLog{events: c.events}
			r := Finder{Events: &clusterevents.Reader{}, Live: events, Nodes: offers{"nvidia.com/gpu": resource.MustParse("2"), "memory": resource.MustParse("64Gi")}}
			p := &plan.Pass{Facts: plan.Facts{Session: fixture.Session(), Template: &vdi.VDITemplate{}, Seen: plan.Children{Pod: c.pod}}, Plan: plan.Plan{Now: fixture.Noon.Add(c.age), Decision: plan.Decision{Want: plan.Run}}}
			p.Template.Spec.GPU.ResourceName = "nvidia.com/gpu"
			require.NoError(t, r.Find(context.Background(), p))
			require.Equal(t, c.reads, events.reads)
			if c.words == "" {
				require.Nil(t, p.Cause)
				return
			}
			require.NotNil(t, p.Cause)
			require.Contains(t, p.Cause.Message, c.words)
			require.Equal(t, []any{c.waiting, c.stalled}, []any{p.Cause.Waiting, p.Cause.Stalled})
			require.Same(t, p.Cause, desktop.Wait(c.pod, "nvidia.com/gpu", false, p.Cause))
			require.Positive(t, p.RequeueAfter, "what is not there yet is looked for again")
		})
	}
}

// claimUnknown is what the scheduler says of a claim that it does not know.
const claimUnknown = `0/1 nodes are available: persistentvolumeclaim "vdi-data-desk" not found. not found`

// A claim is made with the pod: for a moment the scheduler may not have seen it.
func TestClaimNotSeenYet(t *testing.T) {
	says := func(age time.Duration) string {
		r := Finder{Events: &clusterevents.Reader{}, Live: &eventLog{}, Nodes: offers{}}
		p := &plan.Pass{Facts: plan.Facts{Session: fixture.Session(), Template: &vdi.VDITemplate{}, Seen: plan.Children{Pod: fixture.Pod(fixture.Unplaced(claimUnknown), fixture.AtHome)}}, Plan: plan.Plan{Now: fixture.Noon.Add(age), Decision: plan.Decision{Want: plan.Run}}}
		require.NoError(t, r.Find(t.Context(), p))
		require.Positive(t, p.RequeueAfter)
		h := desktop.Wait(p.Seen.Pod, "", false, p.Cause)
		require.Equal(t, vdi.WaitingForVolume, h.Waiting)
		require.False(t, h.Stalled)
		return h.Message
	}
	require.Equal(t, "Waiting for the home volume", says(time.Second))
	require.Equal(t, `Waiting for the home volume. The scheduler says: 0/1 nodes are available: persistentvolumeclaim "vdi-data-desk" not found`, says(lateStart))
}

func TestSchedulerWords(t *testing.T) {
	for message, words := range map[string]string{
		claimUnknown: `0/1 nodes are available: persistentvolumeclaim "vdi-data-desk" not found`,
		"0/2 nodes are available: 2 Insufficient memory. preemption: 0/2 nodes are available: 2 No preemption victims found.": "0/2 nodes are available: 2 Insufficient memory.",
		"0/2 nodes are available: 1 node was full. 1 node is cordoned":                                                        "0/2 nodes are available: 1 node was full. 1 node is cordoned",
		"no nodes available to schedule pods":                                                                                 "no nodes available to schedule pods",
	} {
		require.Equal(t, words, desktop.SchedulerWords(&corev1.PodCondition{Message: message}))
	}
}
