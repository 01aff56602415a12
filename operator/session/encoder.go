package session

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
)

// chooseEncoder settles what encoder Auto comes to. A desktop that lives keeps
// what it was started with, so that nodes that come and go change nothing about
// it, and one that is stopped tells what it had; a start goes by the nodes of now.
func (r *Reconciler) chooseEncoder(ctx context.Context, p *pass) error {
	switch {
	case p.seen.podLives():
		p.encoder = startedChoice(p.template.Spec.Streamer, p.seen.pod)
		return nil
	case !p.starting() && p.session.Status.GPU != nil:
		p.encoder = platform.EncoderNamed(p.template.Spec.Streamer, p.session.Status.GPU.Encoder)
		return nil
	case r.Nodes == nil:
		p.encoder = platform.ResolveEncoder(p.template.Spec, nil)
		return nil
	}
	nodes, err := r.Nodes.GPUs(ctx, p.template.Spec)
	p.encoder = platform.ResolveEncoder(p.template.Spec, nodes)
	return err
}

// startedEncoder is the streamer's name of the encoder in a desktop's
// environment; "" where there is none.
func startedEncoder(streamer vdi.Streamer, pod *corev1.Pod) string {
	variable := platform.FactsOf(streamer).EncoderVariable
	if variable == "" {
		return ""
	}
	for _, s := range settings(pod) {
		if s.Name == variable {
			return s.Value
		}
	}
	return ""
}

// startedChoice is the choice behind it. Where a streamer has one name for both,
// its other settings tell.
func startedChoice(streamer vdi.Streamer, pod *corev1.Pod) vdi.EncoderChoice {
	software := platform.FactsOf(streamer).SoftwareSettings
	if slices.ContainsFunc(settings(pod), func(s platform.Setting) bool { return slices.Contains(software, s) }) {
		return vdi.EncoderSoftware
	}
	return platform.EncoderNamed(streamer, startedEncoder(streamer, pod))
}

// settings are the environment of a pod's containers.
func settings(pod *corev1.Pod) []platform.Setting {
	var all []platform.Setting
	for _, c := range pod.Spec.Containers {
		for _, e := range c.Env {
			all = append(all, platform.Setting{Name: e.Name, Value: e.Value})
		}
	}
	return all
}

// encoderName is what the desktop encodes with, or will.
func (p *pass) encoderName() string {
	streamer := p.template.Spec.Streamer
	if p.seen.podLives() {
		if name := startedEncoder(streamer, p.seen.pod); name != "" {
			return name
		}
	}
	return platform.EncoderFor(p.encoder, streamer, *p.resources.GPU)
}
