// Package cause finds what keeps a desktop from starting where its pod does not say.
package cause

import (
	"context"
	"fmt"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/clusterevents"
	"github.com/vdi-platform/vdi-platform/operator/desktop"
	"github.com/vdi-platform/vdi-platform/operator/gpunodes"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

const (
	// lateStart is when a pod should have got what it needs on its node: until then
	// nobody is asked what keeps it.
	lateStart = 10 * time.Second
	// stuckStart is when what keeps a start is no longer expected to pass by itself.
	stuckStart = time.Minute
)

// Finder looks for causes.
type Finder struct {
	// Nodes knows what the nodes have; nil: nobody does.
	Nodes gpunodes.Reader
	// Live reads from the API server itself.
	Live client.Reader
	// Events remember what was said of late starts.
	Events *clusterevents.Reader
}

// Find looks for what keeps a desktop from starting where its pod does not say:
// what no node offers, and what events say of volumes. It comes last, and a desktop that
// starts in time costs no question.
func (f Finder) Find(ctx context.Context, p *plan.Pass) error {
	pod := p.Seen.Pod
	if p.Decision.Want != plan.Run || !p.Seen.PodLives() || desktop.HasStarted(pod) {
		return nil
	}
	var err error
	switch {
	case desktop.Unschedulable(pod):
		p.Cause, err = f.unplaceable(ctx, p)
	case desktop.Scheduled(pod) && !desktop.Complains(pod):
		p.Cause = f.unprepared(ctx, p)
	}
	if p.Cause != nil {
		p.Cause.Stalled = p.LateBy(stuckStart) && !f.nodeComes(ctx, p)
	}
	return err
}

// nodeComes reports whether an autoscaler is adding a node for a pod that none can take: then
// the start only takes longer.
func (f Finder) nodeComes(ctx context.Context, p *plan.Pass) bool {
	if p.Cause.Reason != vdi.ReasonNotOffered {
		return false
	}
	p.LookAgainAfter(verdict.DeniedRetry) // it may give up
	said, found := f.aboutPod(ctx, p)
	if !found || !clusterevents.IsGrowth(said.Reason) {
		return false
	}
	p.Cause.Message = verdict.Sentences(strings.TrimSuffix(p.Cause.Message, "."), "The cluster says: "+said.Words)
	return true
}

// unplaceable is why no node takes the pod, where the scheduler's own words do not say
// enough. What no node has is no queue.
func (f Finder) unplaceable(ctx context.Context, p *plan.Pass) (*verdict.Verdict, error) {
	pod := p.Seen.Pod
	short, err := gpunodes.Lacking(ctx, f.Nodes, desktop.Requested(pod))
	switch {
	case err != nil:
		return nil, err
	case len(short) > 0:
		return notOffered(short, p.GPUResource()), nil
	case desktop.WaitsForVolume(pod) && p.LateBy(lateStart):
		return f.withoutVolume(ctx, p), nil
	case desktop.MissesClaim(pod): // it was made with the pod, and the scheduler has not seen it yet
		v := desktop.Unscheduled(pod, "")
		v.Message = "Waiting for the home volume"
		return v, nil
	}
	return nil, nil
}

// notOffered says what no node has. One may still come, as in a pool that grows from
// nothing.
func notOffered(short []gpunodes.Shortage, gpu string) *verdict.Verdict {
	v := &verdict.Verdict{
		Condition: vdi.ConditionScheduled, Reason: vdi.ReasonNotOffered, Phase: vdi.PhasePending, Waiting: vdi.WaitingForNode,
	}
	var parts []string
	for _, s := range short {
		if string(s.Resource) == gpu {
			v.Waiting = vdi.WaitingForGPU
		}
		if s.Most.IsZero() {
			parts = append(parts, fmt.Sprintf("no node offers %s", s.Resource))
		} else {
			parts = append(parts, fmt.Sprintf("no node offers more than %s of %s, and the desktop asks for %s", s.Most.String(), s.Resource, s.Asked.String()))
		}
	}
	words := strings.Join(parts, "; ")
	v.Message = verdict.Sentences(strings.ToUpper(words[:1])+words[1:], "The desktop starts by itself when one does; else change spec.resources of the session, or resources and gpu.resourceName of its template")
	return v
}

// withoutVolume is why the home has no volume.
func (f Finder) withoutVolume(ctx context.Context, p *plan.Pass) *verdict.Verdict {
	v := desktop.Unscheduled(p.Seen.Pod, "")
	said, found := f.aboutHome(ctx, p)
	switch {
	case found:
		v.Message = fmt.Sprintf("The home %s gets no volume (%s): %s", p.HomeInForce(), said.Reason, said.Words)
	case !desktop.MissesClaim(p.Seen.Pod): // nobody has complained: it may just take long
		v = nil
	}
	p.LookAgainAfter(verdict.DeniedRetry) // what is put right may send no event to us
	return v
}

// unprepared is what the node waits for before it starts the containers.
func (f Finder) unprepared(ctx context.Context, p *plan.Pass) *verdict.Verdict {
	if !p.LateBy(lateStart) {
		return nil
	}
	p.LookAgainAfter(verdict.DeniedRetry) // the kubelet reports nothing in the pod while it waits
	said, found := f.aboutPod(ctx, p)
	if !found || clusterevents.IsGrowth(said.Reason) {
		return nil
	}
	v := &verdict.Verdict{
		Condition: vdi.ConditionDesktopReady, Reason: vdi.ReasonNotPrepared, Phase: vdi.PhaseCreating,
		Message: fmt.Sprintf("The node %s cannot prepare the desktop (%s): %s", p.Seen.Pod.Spec.NodeName, said.Reason, said.Words),
	}
	if isVolumeReason(said.Reason) {
		v.Waiting = vdi.WaitingForVolume
	}
	return v
}

func isVolumeReason(reason string) bool {
	return reason == "FailedMount" || reason == "FailedAttachVolume" || reason == "FailedMapVolume"
}

// aboutPod is what was last said of the pass' pod; false when nothing was.
func (f Finder) aboutPod(ctx context.Context, p *plan.Pass) (clusterevents.Event, bool) {
	said, found := f.heard(ctx, p, wire.KindPod, p.Seen.Pod.Name)
	return said, found && said.UID == p.Seen.Pod.UID
}

// aboutHome is what was last said of the pass' home.
func (f Finder) aboutHome(ctx context.Context, p *plan.Pass) (clusterevents.Event, bool) {
	said, found := f.heard(ctx, p, wire.KindPersistentVolumeClaim, p.HomeInForce())
	claim := p.Seen.ClaimNamed(p.HomeInForce())
	return said, found && (claim == nil || claim.UID == said.UID)
}

// heard is what was last said of an object. A start that is late goes on without an
// answer: nothing depends on it but words, and the question is asked again.
func (f Finder) heard(ctx context.Context, p *plan.Pass, kind, name string) (clusterevents.Event, bool) {
	said, found, err := f.Events.About(ctx, f.Live, clusterevents.Key{Namespace: p.Session.Namespace, Kind: kind}, name, p.Now)
	if err != nil {
		logf.FromContext(ctx).Error(err, "what keeps this start is unknown")
	}
	return said, found
}
