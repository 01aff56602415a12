package session

import (
	"context"

	"github.com/vdi-platform/vdi-platform/operator/session/desktop"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/platform"
)

// chooseEncoder settles what encoder Auto comes to. A desktop that lives keeps
// what it was started with, so that nodes that come and go change nothing about
// it, and one that is stopped shows what it had; a start goes by the nodes of now.
func (r *Reconciler) chooseEncoder(ctx context.Context, p *plan.Pass) error {
	switch {
	case p.Seen.PodLives():
		p.Encoder = desktop.EncoderChoice(p.Template.Spec.Streamer, p.Seen.Pod)
		return nil
	case !p.Starting() && p.Session.Status.GPU != nil:
		p.Encoder = platform.EncoderNamed(p.Template.Spec.Streamer, p.Session.Status.GPU.Encoder)
		return nil
	case r.Nodes == nil:
		p.Encoder = platform.ResolveEncoder(p.Template.Spec, nil)
		return nil
	}
	nodes, err := r.Nodes.GPUs(ctx, p.Template.Spec)
	p.Encoder = platform.ResolveEncoder(p.Template.Spec, nodes)
	return err
}
