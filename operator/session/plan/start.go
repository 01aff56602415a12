package plan

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/desktop"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// accept checks what the API server cannot.
func (p draft) accept() error {
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
	if err := p.nameHost(); err != nil {
		return err
	}
	if err := p.mayUseTemplate(); err != nil {
		return err
	}
	resources, err := renderer.ResourcesOf(spec, p.Template.Spec)
	if err != nil {
		return verdict.Refused(vdi.ReasonInvalidResources, err)
	}
	p.Resources = resources
	template := p.Template.Spec
	if err := p.Platform.Sessions.GPUSharing.CheckCount(*resources.GPU, template.GPU.ResourceName, template.Scheduling.NodeSelector); err != nil {
		return verdict.Refused(vdi.ReasonGPUCountNotSliceable, err)
	}
	return nil
}

// mayUseTemplate refuses to start a desktop from a template that is for others. Of one that
// lives it is only reported, and the desktop is looked after all the same: nobody meant to
// take its route or its keys away.
func (p draft) mayUseTemplate() error {
	refused := TemplateNotAllowed(p.Session, p.Template)
	switch {
	case refused == nil:
		return nil
	case p.Seen.PodLives():
		p.Refuse(refused)
		return nil
	default:
		return refused
	}
}

// TemplateNotAllowed is why a session may not use its template; nil where it may. Nobody whom
// the template admits is named: whoever reads the session need not know them.
func TemplateNotAllowed(s *vdi.VDISession, t *vdi.VDITemplate) *verdict.Verdict {
	if t.Spec.Access.Admits(s.Spec.User, s.Spec.Groups) {
		return nil
	}
	words := fmt.Sprintf("Template %q is for some people only (its spec.access), and neither spec.user nor one of spec.groups is among them: ask an administrator, or use another template", t.Name)
	if s.Status.Home != nil {
		words += ". To reach the files of this session, delete it while persistence.reclaimPolicy is Retain, and create one of the same name from another template"
	}
	return verdict.Refused(vdi.ReasonTemplateNotAllowed, errors.New(words))
}

// nameHost keeps the host a session has: its URL is a promise.
func (p draft) nameHost() error {
	s, settings := p.Session, p.Platform.Sessions
	if s.Status.Host != "" {
		p.Host, p.URL, p.HasHost = s.Status.Host, s.Status.URL, true
		return nil
	}
	host, err := platform.Host(settings, s.Spec.User, s.Name, s.Namespace, string(s.UID))
	if err != nil {
		return verdict.Refused(vdi.ReasonInvalidHost, err)
	}
	p.Host, p.URL = host, platform.URL(settings, host)
	p.HasHost = !platform.HostNeedsClaim(settings) // else its claim will show
	return nil
}

// chooseEncoder settles what encoder Auto comes to. A desktop that lives keeps
// what it was started with, so that nodes that come and go change nothing about
// it, and one that is stopped shows what it had; a start goes by the nodes of now.
func (p draft) chooseEncoder() error {
	switch {
	case p.Seen.PodLives():
		p.Encoder = desktop.EncoderChoice(p.Template.Spec.Streamer, p.Seen.Pod)
		return nil
	case !p.Starting() && p.Session.Status.GPU != nil:
		p.Encoder = platform.EncoderNamed(p.Template.Spec.Streamer, p.Session.Status.GPU.Encoder)
		return nil
	}
	err := p.answer(AskEncoder)
	p.Encoder = p.GPUEncoder
	return err
}

// takeHost makes sure that this session alone answers under its host, before it starts
// and before that is reported.
func (p draft) takeHost() error {
	unreported := p.Seen.PodLives() && p.Decision.Want == Run && p.Session.Status.Host == ""
	if platform.HostNeedsClaim(p.Platform.Sessions) && (p.Starting() || unreported) {
		p.Writes = append(p.Writes, Write{Action: TakeHost{p.Host}, MayLack: unreported}) // that desktop is looked after all the same
	}
	return nil
}

// render asks for the objects that the session should have.
func (p draft) render() error {
	if p.LogsIn && len(p.StatementKeys) == 0 {
		return withoutStatementKeys()
	}
	p.Input = renderer.Input{
		Session: *p.Session, Template: *p.Template, Platform: *p.Platform, Host: p.Host, StatementKeys: p.StatementKeys, Encoder: p.Encoder,
	}
	if err := p.answer(AskRendering); err != nil {
		return err
	}
	p.Desired, p.Claims = p.Rendering.Objects, p.Rendering.Claims
	switch err := p.Rendering.Err; {
	case err == nil:
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

// withoutStatementKeys is the verdict on a session that nobody could enter. A running one keeps
// the keys it has.
func withoutStatementKeys() error {
	return &verdict.Verdict{
		Condition: vdi.ConditionReachable, Reason: vdi.ReasonFrontDoorKeysMissing, Phase: vdi.PhasePending,
		Waiting: vdi.WaitingForRoute,
		Message: "The front door has published no keys yet: is vdi-frontdoor running beside the operator, and does its ConfigMap " + wire.StatementKeysConfigMap + " hold some? The session goes on by itself then",
	}
}

// inspectClaims refuses to start a desktop on claims, beside its home, that no
// administrator has given to desktops: a template could else name anybody's. They are
// not watched, and read only when such a desktop starts.
func (p draft) inspectClaims() error {
	if !p.Starting() || len(p.Claims) == 0 {
		return nil
	}
	if err := p.answer(AskMountedClaims); err != nil {
		return err
	}
	for _, name := range p.Claims {
		var claim *metav1.PartialObjectMetadata
		for _, found := range p.Mounted {
			if found.Name == name {
				claim = found
			}
		}
		switch {
		case claim == nil:
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

// inspectHome refuses to start a desktop on a home that is another person's or
// that another desktop writes to.
func (p draft) inspectHome() error {
	switch claim := p.HomeInForce(); {
	case p.Starting() && claim == "":
		return nil
	case p.Starting():
		return p.startOn(claim) // it counts as seen when host and home are this session's
	case claim != "" && p.Seen.PodLives():
		if err := p.answer(AskSharedHome); err != nil {
			return err
		}
	}
	p.HomeSeen = true
	return nil
}

// startOn makes the session the holder of its home, where there is one yet: a
// claim that is still to be made is made with its holder. An existing claim must be this
// user's; it may be a home that another session of theirs has left.
func (p draft) startOn(name string) error {
	existing := p.Session.Spec.Persistence.ExistingClaim
	claim := p.Seen.Claim
	switch {
	case name == existing, claim != nil && isHeldByOther(p.Session, claim): // not watched; it may be free by now: its release woke us
		if err := p.answer(AskStartClaim); err != nil {
			return err
		}
		claim = p.StartOn
	case claim == nil:
		return nil // not made yet; the create will show
	}
	if err := p.mayStartOn(claim, existing); err != nil {
		return err
	}
	if err := p.answer(AskHomeUse); err != nil {
		return err
	}
	if err := p.HomeUse.Verdict(p.Session, claim); err != nil {
		return err
	}
	if !p.HomeUse.Held {
		p.do(Hold{claim})
	}
	return nil
}

// StartClaim is the claim that is asked about.
func (f *Facts) StartClaim() *corev1.PersistentVolumeClaim {
	if f.Session.Spec.Persistence.ExistingClaim != "" {
		return f.StartOn
	}
	return f.Seen.Claim
}

func isHeldByOther(s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) bool {
	holder := homes.HolderOf(claim)
	return holder != "" && holder != s.UID
}

// mayStartOn is why no desktop of this session may start on the claim, whoever has it now.
func (p draft) mayStartOn(claim *corev1.PersistentVolumeClaim, existing string) error {
	if existing != "" {
		if claim == nil {
			return homes.Refused(vdi.ReasonHomeNotFound, fmt.Sprintf("spec.persistence.existingClaim: there is no PersistentVolumeClaim %q in namespace %q", existing, p.Session.Namespace))
		}
		if claim.DeletionTimestamp != nil {
			return homes.Refused(vdi.ReasonHomeNotFound, fmt.Sprintf("spec.persistence.existingClaim: the PersistentVolumeClaim %q is being deleted", claim.Name))
		}
	}
	if err := homes.Usable(p.Session, claim); err != nil {
		return err
	}
	if existing != "" {
		return homes.NotLost(claim)
	}
	return homes.Mountable(claim)
}
