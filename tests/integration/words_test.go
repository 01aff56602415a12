package integration

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
)

// event is what the kubelet or a volume controller says of an object; they still use the
// older kind of events.
func (w *world) event(about client.Object, reason, note string) {
	w.t.Helper()
	kind, err := w.client.GroupVersionKindFor(about)
	require.NoError(w.t, err)
	now := metav1.NewTime(w.clock.Now())
	require.NoError(w.t, w.client.Create(w.ctx, &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "e-", Namespace: w.ns},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: kind.GroupVersion().String(), Kind: kind.Kind, Namespace: w.ns, Name: about.GetName(), UID: about.GetUID(),
		},
		Reason: reason, Message: note, Type: corev1.EventTypeWarning, FirstTimestamp: now, LastTimestamp: now, Source: corev1.EventSource{Component: "test"},
	}))
}

// someNodes is what the largest of a cluster's nodes has.
type someNodes corev1.ResourceList

func (n someNodes) GPUs(context.Context, vdi.VDITemplateSpec) ([]platform.GPUNode, error) {
	return nil, nil
}

func (n someNodes) Most(_ context.Context, name corev1.ResourceName) (most resource.Quantity, known bool, err error) {
	return n[name], true, nil
}

// placed gives the pod a node that does not start it.
func (w *world) placed() {
	w.t.Helper()
	pod := w.pod()
	require.NoError(w.t, w.client.SubResource("binding").Create(w.ctx, pod, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: w.ns}, Target: corev1.ObjectReference{Kind: "Node", Name: "node-1"},
	}))
}

func (w *world) unplaced(words string) {
	w.t.Helper()
	w.podStatus(func(p *corev1.Pod) {
		setPodCondition(p, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: words})
	})
}

// inAWhile moves the clock and looks again.
func (w *world) inAWhile(d time.Duration) *vdi.VDISession {
	w.t.Helper()
	w.clock.SetTime(w.clock.Now().Add(d))
	w.pass()
	return w.session()
}

// TestMissingVolumeIsNamed: the kubelet waits for ever for a volume that is not there,
// and says so in events alone (field trial 10).
func TestMissingVolumeIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate()
	w.createSession()
	w.pass()
	w.placed()
	w.event(w.pod(), "FailedMount", `MountVolume.SetUp failed for volume "x" : configmap "nothere" not found`)
	w.pass()
	require.Contains(t, w.requirePhase(vdi.PhaseCreating).Status.Message, "preparing", "a start has some seconds")

	s := w.inAWhile(15 * time.Second)
	require.Contains(t, s.Status.Message, `configmap "nothere" not found`)
	require.Equal(t, vdi.WaitingForVolume, s.Status.WaitingFor)
	w.requireCondition(vdi.ConditionStalled, metav1.ConditionFalse, vdi.ReasonAsExpected)
	w.inAWhile(70 * time.Second)
	w.requireCondition(vdi.ConditionStalled, metav1.ConditionTrue, vdi.ReasonNotPrepared)
	require.Contains(t, w.events.all(), `Warning WaitingForVolume The node node-1 cannot prepare the desktop (FailedMount): MountVolume.SetUp failed for volume "x" : configmap "nothere" not found`)
	w.podStarts(desk)
	w.pass()
	w.requirePhase(vdi.PhaseRunning)
	w.requireCondition(vdi.ConditionStalled, metav1.ConditionFalse, vdi.ReasonAsExpected)
}

// TestMissingClassIsNamed: a storage class that nobody offers (field trial 11). The claim's
// own controller says so.
func TestMissingClassIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate()
	w.createSession(func(s *vdi.VDISession) { s.Spec.Persistence.StorageClassName = ptr.To("gp3") })
	w.pass()
	w.unplaced("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.")
	w.event(w.home(), "ProvisioningFailed", `storageclass.storage.k8s.io "gp3" not found`)
	w.pass()
	s := w.inAWhile(15 * time.Second)
	require.Contains(t, s.Status.Message, `The home vdi-data-desk gets no volume (ProvisioningFailed): storageclass.storage.k8s.io "gp3" not found`)
	require.Equal(t, vdi.WaitingForVolume, s.Status.WaitingFor)
	w.inAWhile(70 * time.Second)
	w.requireCondition(vdi.ConditionStalled, metav1.ConditionTrue, vdi.ReasonUnschedulable)
}

// TestNobodyOffers: what no node has is no queue (field trial 6), and ends when one comes.
func TestNobodyOffers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate(func(t *vdi.VDITemplate) { t.Spec.GPU.ResourceName = "amd.com/gpu" })
	nodes := someNodes{"nvidia.com/gpu": resource.MustParse("8"), "cpu": resource.MustParse("64"), "memory": resource.MustParse("512Gi")}
	w.operator.Nodes = nodes
	w.createSession(func(s *vdi.VDISession) { s.Spec.Resources.GPU = ptr.To[int32](1) })
	w.pass()
	w.unplaced("0/3 nodes are available: 3 Insufficient amd.com/gpu.")
	w.pass()
	require.Contains(t, w.requirePhase(vdi.PhasePending).Status.Message, "No node offers amd.com/gpu.")
	w.inAWhile(70 * time.Second)
	w.requireCondition(vdi.ConditionStalled, metav1.ConditionTrue, vdi.ReasonNotOffered)
	require.Contains(t, w.events.all(), "Warning WaitingForGPU No node offers amd.com/gpu.")

	nodes["amd.com/gpu"] = resource.MustParse("1")
	w.pass()
	require.Contains(t, w.session().Status.Message, "all slices of amd.com/gpu are in use")
	w.requireCondition(vdi.ConditionStalled, metav1.ConditionFalse, vdi.ReasonAsExpected)
}

// TestHowADesktopEnded: each end is reported with what helps, and never in the desktop's
// own words, which everybody who may read sessions would read (field trials 14, 20, 21).
func TestHowADesktopEnded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.running()
	const secret = "password=hunter2"
	ends := func(code int32, reason, written string) {
		at := metav1.NewTime(w.clock.Now())
		w.podStatus(func(p *corev1.Pod) {
			p.Status.ContainerStatuses[0].RestartCount++
			p.Status.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{
				ExitCode: code, Reason: reason, Message: written, StartedAt: metav1.NewTime(at.Add(-time.Minute)), FinishedAt: at,
			}
		})
	}
	ends(137, "OOMKilled", secret) // it was back before anybody looked
	w.pass()
	s := w.requirePhase(vdi.PhaseRunning)
	require.Contains(t, s.Status.LastExit.Message, "more memory than its limit of 4Gi (spec.resources.memory)")
	require.Contains(t, w.events.all(), "Warning DesktopEnded The desktop needed more memory")

	w.clock.SetTime(w.clock.Now().Add(time.Minute))
	ends(0, "Completed", secret)
	w.pass()
	require.Contains(t, w.events.all(), "Normal DesktopEnded The desktop was left")
	w.podStatus(func(p *corev1.Pod) {
		setPodCondition(p, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse})
		p.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off"}}
	})
	w.pass()
	require.Contains(t, w.requirePhase(vdi.PhaseCreating).Status.Message, "was left")

	w.clock.SetTime(w.clock.Now().Add(time.Minute))
	ends(1, "Error", secret+"\nmkdir /home/ubuntu/.cache: Permission denied")
	w.pass()
	s = w.requirePhase(vdi.PhaseFailed)
	require.Contains(t, s.Status.Message, "is the home vdi-data-desk writable for uid 1000?")
	require.NotContains(t, fmt.Sprint(w.raw(vdi.GroupVersion.WithKind("VDISession")).Object), secret)
	require.NotContains(t, w.events.all(), secret)
}

// TestHomeUnderASession: what somebody does to a home is reported at once.
func TestHomeUnderASession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.running()
	home := w.home()
	home.Finalizers = append(home.Finalizers, "test.example.com/hold") // what a claim in use has
	require.NoError(t, w.client.Update(w.ctx, home))
	require.NoError(t, w.client.Delete(w.ctx, home))
	w.pass()
	w.requireCondition(vdi.ConditionHomeReady, metav1.ConditionFalse, vdi.ReasonHomeLeaving)
	w.requirePhase(vdi.PhaseRunning)
	require.Contains(t, w.events.all(), "Warning HomeLeaving Somebody has deleted the home vdi-data-desk")

	w.read(home, home.Name)
	home.Finalizers = nil
	require.NoError(t, w.client.Update(w.ctx, home))
	w.inAWhile(15 * time.Second)
	w.requireCondition(vdi.ConditionHomeReady, metav1.ConditionFalse, vdi.ReasonHomeMissing)
	w.requirePhase(vdi.PhaseRunning)
	require.False(t, w.homeExists(), "no other home in its place while the desktop runs")

	w.change(suspend)
	w.pass()
	w.requireCondition(vdi.ConditionHomeReady, metav1.ConditionFalse, vdi.ReasonHomeMissing)
	w.podEnds(desk)
	w.pass()
	w.requirePhase(vdi.PhaseSuspended)
	w.requireCondition(vdi.ConditionHomeReady, metav1.ConditionFalse, vdi.ReasonHomeMissing)
	require.False(t, w.homeExists(), "nor before the next start")
	w.change(resume)
	w.start()
	w.requireCondition(vdi.ConditionHomeReady, metav1.ConditionTrue, vdi.ReasonHomeReplaced)
	require.Equal(t, home.UID, w.session().Status.Home.ReplacedUID)
	require.NotEqual(t, home.UID, w.session().Status.Home.UID)
	require.Contains(t, w.events.all(), "Warning HomeReplaced")
	w.pass()
	w.requireCondition(vdi.ConditionHomeReady, metav1.ConditionTrue, vdi.ReasonHomeReplaced)

	w.events.forget()
	home = w.home()
	home.Spec.VolumeName = "gone"
	metav1.SetMetaDataAnnotation(&home.ObjectMeta, "pv.kubernetes.io/bind-completed", "yes") // it was bound, and its volume is not there
	require.NoError(t, w.client.Update(w.ctx, home))
	w.eventually(func() bool { return w.home().Status.Phase == corev1.ClaimLost }, "the volume controller gives the claim up")
	w.pass()
	w.requireCondition(vdi.ConditionHomeReady, metav1.ConditionFalse, vdi.ReasonHomeLost)
	w.requirePhase(vdi.PhaseRunning)
	require.Contains(t, w.events.all(), "Warning HomeLost")
	w.change(suspend)
	w.pass()
	w.podEnds(desk)
	w.pass()
	w.change(resume)
	w.pass()
	w.requirePhase(vdi.PhaseFailed)
	require.False(t, w.podExists(), "no desktop that would wait for ever")
}

// TestHomeOfAnotherKind: a claim's class and mode never change, and the session says so.
func TestHomeOfAnotherKind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.running(func(s *vdi.VDISession) { s.Spec.Persistence.StorageClassName = ptr.To("slow") })
	w.change(suspend)
	w.pass()
	w.podEnds(desk)
	w.pass()
	w.deleteSession()
	w.pass()
	w.createSession(func(s *vdi.VDISession) {
		s.Spec.Persistence.StorageClassName, s.Spec.Persistence.AccessMode = ptr.To("fast"), "ReadWriteMany"
	})
	w.eventually(func() bool { _, err := w.passOf(desk); return err == nil && w.podExists() }, "what the former session has left is gone")
	w.podStarts(desk)
	w.pass()
	c := w.requireCondition(vdi.ConditionHomeReady, metav1.ConditionTrue, vdi.ReasonHomeDiffers)
	require.Contains(t, c.Message, `its storage class is "slow", not "fast"`)
	require.Contains(t, c.Message, "its access mode is ReadWriteOnce, not ReadWriteMany")
	w.pass()
	w.requireCondition(vdi.ConditionHomeReady, metav1.ConditionTrue, vdi.ReasonHomeDiffers)
}
