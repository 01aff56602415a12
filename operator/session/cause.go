package session

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/gpunodes"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

const (
	// lateStart is when a pod should have got what it needs on its node: until then
	// nobody is asked what keeps it.
	lateStart = 10 * time.Second
	// stuckStart is when what keeps a start is no longer expected to pass by itself.
	stuckStart = time.Minute
)

// findCause looks for what keeps a desktop from starting where its pod does not say:
// what no node offers, and what events say of volumes. It comes last, and a desktop that
// starts in time costs no question.
func (r *Reconciler) findCause(ctx context.Context, p *pass) error {
	pod := p.seen.pod
	if p.decision.want != wantRun || !p.seen.podLives() || hasStarted(pod) {
		return nil
	}
	var err error
	switch {
	case isUnschedulable(pod):
		p.cause, err = r.unplaceable(ctx, p)
	case podScheduled(pod) && !complains(pod):
		p.cause = r.unprepared(ctx, p)
	}
	if p.cause != nil {
		p.cause.stalled = p.lateBy(stuckStart) && !r.nodeComes(ctx, p)
	}
	return err
}

// complains tells whether a container of the pod says itself what it waits for.
func complains(pod *corev1.Pod) bool {
	return slices.ContainsFunc(allContainers(pod), func(c corev1.ContainerStatus) bool { return waitingContainer(pod, c, false) != nil })
}

// nodeComes tells whether an autoscaler is adding a node for a pod that none can take: then
// the start only takes longer.
func (r *Reconciler) nodeComes(ctx context.Context, p *pass) bool {
	if p.cause.reason != vdi.ReasonNotOffered {
		return false
	}
	p.look(deniedRetry) // it may give up
	word, found := r.aboutPod(ctx, p)
	if !found || !isGrowth(word.reason) {
		return false
	}
	p.cause.message = sentences(strings.TrimSuffix(p.cause.message, "."), "The cluster says: "+word.words)
	return true
}

// hasStarted tells whether the desktop's container has run in this pod.
func hasStarted(pod *corev1.Pod) bool {
	for _, c := range pod.Status.ContainerStatuses {
		if c.Name == wire.ContainerDesktop {
			return c.State.Running != nil || c.State.Terminated != nil || c.LastTerminationState.Terminated != nil
		}
	}
	return false
}

// lateBy tells whether the pod was made so long ago; if not, the pass is made again then.
func (p *pass) lateBy(bound time.Duration) bool {
	left := bound - age(p.seen.pod, p.now)
	p.look(left)
	return left <= 0
}

// unplaceable is why no node takes the pod, where the scheduler's own words do not say
// enough. What no node has is no queue.
func (r *Reconciler) unplaceable(ctx context.Context, p *pass) (*halt, error) {
	pod := p.seen.pod
	short, err := gpunodes.Lacking(ctx, r.Nodes, requested(pod))
	switch {
	case err != nil:
		return nil, err
	case len(short) > 0:
		return notOffered(short, p.gpuResource()), nil
	case waitsForVolume(pod) && p.lateBy(lateStart):
		return r.withoutVolume(ctx, p), nil
	case missesClaim(pod): // it was made with the pod, and the scheduler has not seen it yet
		h := unscheduled(pod, "")
		h.message = "Waiting for the home volume"
		return h, nil
	}
	return nil, nil
}

// requested is what the scheduler looks for on one node.
func requested(pod *corev1.Pod) corev1.ResourceList {
	sum := corev1.ResourceList{}
	for _, c := range pod.Spec.Containers {
		for name, quantity := range c.Resources.Requests {
			total := sum[name]
			total.Add(quantity)
			sum[name] = total
		}
	}
	return sum
}

// notOffered says what no node has. One may still come, as in a pool that grows from
// nothing.
func notOffered(short []gpunodes.Shortage, gpu string) *halt {
	h := &halt{
		condition: vdi.ConditionScheduled, reason: vdi.ReasonNotOffered, phase: vdi.PhasePending, waiting: vdi.WaitingForNode,
	}
	var parts []string
	for _, s := range short {
		if string(s.Resource) == gpu {
			h.waiting = vdi.WaitingForGPU
		}
		if s.Most.IsZero() {
			parts = append(parts, fmt.Sprintf("no node offers %s", s.Resource))
		} else {
			parts = append(parts, fmt.Sprintf("no node offers more than %s of %s, and the desktop asks for %s", s.Most.String(), s.Resource, s.Asked.String()))
		}
	}
	words := strings.Join(parts, "; ")
	h.message = sentences(strings.ToUpper(words[:1])+words[1:], "The desktop starts by itself when one does; else change spec.resources of the session, or resources and gpu.resourceName of its template")
	return h
}

// withoutVolume is why the home has no volume.
func (r *Reconciler) withoutVolume(ctx context.Context, p *pass) *halt {
	h := unscheduled(p.seen.pod, "")
	word, found := r.aboutHome(ctx, p)
	switch {
	case found:
		h.message = fmt.Sprintf("The home %s gets no volume (%s): %s", p.homeInForce(), word.reason, word.words)
	case !missesClaim(p.seen.pod): // nobody has complained: it may just take long
		h = nil
	}
	p.look(deniedRetry) // what is put right may send no event to us
	return h
}

// unprepared is what the node waits for before it starts the containers.
func (r *Reconciler) unprepared(ctx context.Context, p *pass) *halt {
	if !p.lateBy(lateStart) {
		return nil
	}
	p.look(deniedRetry) // the kubelet reports nothing in the pod while it waits
	word, found := r.aboutPod(ctx, p)
	if !found || isGrowth(word.reason) {
		return nil
	}
	h := &halt{
		condition: vdi.ConditionDesktopReady, reason: vdi.ReasonNotPrepared, phase: vdi.PhaseCreating,
		message: fmt.Sprintf("The node %s cannot prepare the desktop (%s): %s", p.seen.pod.Spec.NodeName, word.reason, word.words),
	}
	if isVolumeReason(word.reason) {
		h.waiting = vdi.WaitingForVolume
	}
	return h
}

func isVolumeReason(reason string) bool {
	return reason == "FailedMount" || reason == "FailedAttachVolume" || reason == "FailedMapVolume"
}
