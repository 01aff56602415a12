package session

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/hosts"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/session/desktop"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// inspectClaims refuses to start a desktop on claims, beside its home, that no
// administrator has given to desktops: a template could else name anybody's. They are
// not watched, and read only when such a desktop starts.
func (r *Reconciler) inspectClaims(ctx context.Context, p *plan.Pass) error {
	if !p.Starting() {
		return nil
	}
	for _, name := range p.Claims {
		claim := objects.Metadata(corev1.SchemeGroupVersion.WithKind(wire.KindPersistentVolumeClaim), name)
		there, err := r.readLive(ctx, p.Session, claim)
		switch {
		case err != nil:
			return err
		case !there:
			return claimRefused(fmt.Sprintf("Template %q mounts the PersistentVolumeClaim %q, which does not exist in namespace %q. An administrator can make it, with the label %s=true", p.Template.Name, name, p.Session.Namespace, wire.LabelForDesktops))
		case claim.Labels[wire.LabelForDesktops] != wire.LabelOn:
			return claimRefused(fmt.Sprintf("Template %q mounts the PersistentVolumeClaim %q, which is not for desktops. An administrator can allow it: kubectl label pvc -n %s %s %s=true", p.Template.Name, name, p.Session.Namespace, name, wire.LabelForDesktops))
		}
	}
	return nil
}

// claimRefused is looked at again after a while: nobody reports a label on a claim that is not watched.
func claimRefused(message string) *verdict.Verdict {
	return &verdict.Verdict{
		Condition: vdi.ConditionAccepted, Reason: vdi.ReasonClaimNotAllowed, Message: message,
		Phase: vdi.PhaseFailed, Waiting: vdi.WaitingForVolume, Stalled: true, Retry: verdict.DeniedRetry,
	}
}

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

// claimHost makes sure that this session alone answers under its host, before it starts
// and before that is reported.
func (r *Reconciler) claimHost(ctx context.Context, p *plan.Pass) error {
	unreported := p.Seen.PodLives() && p.Decision.Want == plan.Run && p.Session.Status.Host == ""
	if !platform.HostNeedsClaim(r.Config.Sessions) || !p.Starting() && !unreported {
		return nil
	}
	err := r.hosts().Take(ctx, p.Session, p.Host)
	p.HasHost = err == nil
	var v *verdict.Verdict
	if unreported && errors.As(err, &v) {
		p.Refuse(v) // the desktop is looked after all the same
		return nil
	}
	return err
}

// releaseHost frees the host for the same person's next session.
func (r *Reconciler) releaseHost(ctx context.Context, p *plan.Pass) error {
	host := p.Session.Status.Host
	if host == "" || !platform.HostNeedsClaim(r.Config.Sessions) {
		return nil
	}
	claim, err := r.hosts().HeldBy(ctx, p.Session, host)
	if err != nil || claim == nil {
		return err
	}
	if err := r.confirm(ctx, p); err != nil {
		return err
	}
	return r.hosts().Release(ctx, claim)
}

// hosts are the claims of hosts.
func (r *Reconciler) hosts() hosts.Claims {
	return hosts.Claims{Objects: r.objects(), Namespace: r.Namespace}
}

// accept checks what the API server cannot.
func (r *Reconciler) accept(_ context.Context, p *plan.Pass) error {
	if p.Template == nil {
		return &verdict.Verdict{
			Condition: vdi.ConditionAccepted, Reason: vdi.ReasonTemplateNotFound,
			Message: "Template not found: " + p.Session.Spec.Template,
			Phase:   vdi.PhaseFailed, Waiting: vdi.WaitingForTemplate, Stalled: true,
		}
	}
	spec := p.Session.Spec
	if err := platform.ValidateUser(spec.User); err != nil {
		return verdict.Refused(vdi.ReasonInvalidUser, fmt.Errorf("spec.user: %w", err))
	}
	resources, err := renderer.ResourcesOf(spec, p.Template.Spec)
	if err != nil {
		return verdict.Refused(vdi.ReasonInvalidResources, err)
	}
	p.Resources = resources
	template := p.Template.Spec
	if err := r.Config.Sessions.GPUSharing.CheckCount(*resources.GPU, template.GPU.ResourceName, template.Scheduling.NodeSelector); err != nil {
		return verdict.Refused(vdi.ReasonGPUCountNotSliceable, err)
	}
	return r.nameHost(p)
}

// nameHost keeps the host a session has: its URL is a promise.
func (r *Reconciler) nameHost(p *plan.Pass) error {
	s := p.Session
	if s.Status.Host != "" {
		p.Host, p.URL, p.HasHost = s.Status.Host, s.Status.URL, true
		return nil
	}
	host, err := platform.Host(r.Config.Sessions, s.Spec.User, s.Name, s.Namespace, string(s.UID))
	if err != nil {
		return verdict.Refused(vdi.ReasonInvalidHost, err)
	}
	p.Host, p.URL = host, platform.URL(r.Config.Sessions, host)
	p.HasHost = !platform.HostNeedsClaim(r.Config.Sessions) // else its claim will show
	return nil
}

// keepRegistered gives a desktop back the finalizer that an uninstall has taken
// off: its end must be orderly, whatever is refused to the session now.
func (r *Reconciler) keepRegistered(ctx context.Context, p *plan.Pass) error {
	if p.Seen.Pod == nil {
		return nil
	}
	return r.register(ctx, p)
}

// register adds the finalizer before anything exists whose end must be orderly.
func (r *Reconciler) register(ctx context.Context, p *plan.Pass) error {
	if controllerutil.ContainsFinalizer(p.Session, wire.Finalizer) {
		return nil
	}
	err := r.patchSession(ctx, p, func(s *vdi.VDISession) { controllerutil.AddFinalizer(s, wire.Finalizer) })
	if err != nil {
		return fmt.Errorf("add finalizer: %w", err)
	}
	return nil
}

func (r *Reconciler) render(_ context.Context, p *plan.Pass) error {
	keys := r.statementKeys()
	if r.isOIDC() && len(keys) == 0 {
		return withoutStatementKeys()
	}
	p.Input = renderer.Input{
		Session: *p.Session, Template: *p.Template, Platform: r.Config, Host: p.Host, StatementKeys: keys, Encoder: p.Encoder,
	}
	if r.settled.unchanged(p) {
		return nil
	}
	rendered, err := r.Renderer.Render(p.Input)
	switch {
	case err == nil:
		p.Desired, p.Claims = rendered.Objects, rendered.Claims
		return nil
	case errors.Is(err, platform.ErrNoRelay):
		return verdict.Refused(vdi.ReasonRelayNotConfigured, err)
	case errors.Is(err, renderer.ErrGuard):
		return verdict.Refused(vdi.ReasonRefusedByGuard, err)
	case errors.Is(err, renderer.ErrResources):
		return verdict.Refused(vdi.ReasonInvalidResources, err)
	default:
		return verdict.Refused(vdi.ReasonInvalidValues, err)
	}
}
