package session

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/gpunodes"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/secrets"
	"github.com/vdi-platform/vdi-platform/operator/session/background"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// asker asks what the cache does not know: the API server itself, the nodes, the renderer and
// the desktop's agent.
type asker struct {
	cached
	homes      homes.Claims
	secrets    secrets.Store
	renderer   Renderer
	nodes      gpunodes.Reader
	activity   ActivitySource
	serverTime func(context.Context) (time.Time, error)
	waiting    *background.Workers
	leads      func() bool
}

func (r *Reconciler) asker() asker {
	return asker{r.cached(), r.homes(), r.secrets(), r.Renderer, r.Nodes, r.Activity, r.ServerTime, r.waiting, r.Leads}
}

// ask makes the plan, and asks what it depends on until it depends on nothing more.
func (a asker) ask(ctx context.Context, p *plan.Pass) {
	for p.Make(); p.Ask != ""; p.Make() {
		p.Answers.Note(p.Ask, a.answer(ctx, p))
	}
}

// answer asks for what the plan depends on and puts it into the facts.
func (a asker) answer(ctx context.Context, p *plan.Pass) (err error) {
	s := p.Session
	switch p.Ask {
	case plan.AskUse:
		var answered bool
		p.Use, answered = a.lastActivity(ctx, p, background.FirstWait, useStands)
		p.UseIsDue = !answered
	case plan.AskTime:
		if p.ServerTime, err = a.serverTime(ctx); err != nil {
			return fmt.Errorf("ask for the API server's time: %w", err)
		}
	case plan.AskUnseenWays:
		p.UnseenWays, err = a.unseenWays(ctx, p)
	case plan.AskHome:
		p.HomeGone = a.isHomeGone(ctx, p)
	case plan.AskEncoder:
		p.GPUEncoder, err = a.gpuEncoder(ctx, p.Template)
	case plan.AskRendering:
		p.Rendering = a.render(p)
	case plan.AskRoom:
		err = a.askForRoom(ctx, p)
	case plan.AskMountedClaims:
		p.Mounted, err = a.mountedClaims(ctx, s, p.Claims)
	case plan.AskSharedHome:
		p.SharedWith, err = a.homes.Users.DesktopOn(ctx, s, p.HomeInForce())
	case plan.AskStartClaim:
		err = a.readStartClaim(ctx, p)
	case plan.AskHomeUse:
		p.HomeUse, err = a.homes.UseOf(ctx, s, p.StartClaim())
		if own := p.HomeUse.Own; own != nil { // this start is none
			a.seePod(p, own)
		}
	case plan.AskDeletion:
		p.Ending, err = a.ending(ctx, s)
	case plan.AskLeftClaim:
		p.LeftClaim, err = a.homes.Read(ctx, s.Namespace, renderer.HomeClaimName(s.Name))
		p.Seen.Claim = p.LeftClaim // what follows sees what is there
	case plan.AskLeftTo:
		p.LeftTo, p.RetainFor, err = a.leftTo(ctx, p)
	default:
		err = fmt.Errorf("nobody answers: %s", string(p.Ask))
	}
	return err
}

// gpuEncoder is what the template's encoder comes to on the nodes of now.
func (a asker) gpuEncoder(ctx context.Context, t *vdi.VDITemplate) (vdi.EncoderChoice, error) {
	if a.nodes == nil {
		return platform.ResolveEncoder(t.Spec, nil), nil
	}
	nodes, err := a.nodes.GPUs(ctx, t.Spec)
	return platform.ResolveEncoder(t.Spec, nodes), err
}

// render makes the session's objects, unless nothing has changed since they were compared.
func (a asker) render(p *plan.Pass) plan.Rendering {
	if a.settled.unchanged(p) {
		return plan.Rendering{}
	}
	rendered, err := a.renderer.Render(p.Input)
	return plan.Rendering{Objects: rendered.Objects, Claims: rendered.Claims, Err: err}
}

// mountedClaims are those of the claims that exist.
func (a asker) mountedClaims(ctx context.Context, s *vdi.VDISession, names []string) (found []*metav1.PartialObjectMetadata, err error) {
	for _, name := range names {
		claim := objects.Metadata(corev1.SchemeGroupVersion.WithKind(wire.KindPersistentVolumeClaim), name)
		there, err := a.readLive(ctx, s, claim)
		if err != nil {
			return nil, err
		}
		if there {
			found = append(found, claim)
		}
	}
	return found, nil
}

// unseenWays are the ways in that the API server has and the cache does not show.
func (a asker) unseenWays(ctx context.Context, p *plan.Pass) (ways []*metav1.PartialObjectMetadata, err error) {
	all, err := a.cached.children(p.Session.Name)
	if err != nil {
		return nil, fmt.Errorf("look for what is left of the desktop: %w", err)
	}
	for _, way := range all {
		if !plan.RunsOnly(way.Kind) || p.Seen.Others[plan.Key{Kind: way.Kind, Name: way.Name}] != nil {
			continue
		}
		there, err := a.readLive(ctx, p.Session, way)
		if err != nil {
			return nil, err
		}
		if there {
			ways = append(ways, way)
		}
	}
	return ways, nil
}

// isHomeGone reports whether the claim that the session had does not exist any more.
func (a asker) isHomeGone(ctx context.Context, p *plan.Pass) bool {
	claim := objects.Metadata(corev1.SchemeGroupVersion.WithKind(wire.KindPersistentVolumeClaim), p.HomeInForce())
	there, err := a.readLive(ctx, p.Session, claim)
	if err != nil {
		logf.FromContext(ctx).Error(err, "whether the home is still there is unknown")
	}
	return err == nil && !there
}

// readStartClaim reads the claim on which the desktop is to start.
func (a asker) readStartClaim(ctx context.Context, p *plan.Pass) (err error) {
	p.StartOn, err = a.homes.Read(ctx, p.Session.Namespace, p.HomeInForce())
	switch {
	case err != nil:
		return err
	case p.Session.Spec.Persistence.ExistingClaim != "":
		p.Seen.Existing = p.StartOn
	case p.StartOn == nil: // the cache still shows it
		return errOutdated
	default:
		p.Seen.Claim = p.StartOn
	}
	return nil
}

// ending is what counts where a home is to be deleted with its session, read from the API
// server: what is deleted does not come back.
func (a asker) ending(ctx context.Context, s *vdi.VDISession) (e plan.Ending, err error) {
	pod := objects.Metadata(corev1.SchemeGroupVersion.WithKind(wire.KindPod), s.Name)
	there, err := a.readLive(ctx, s, pod)
	if e.PodThere = there && plan.IsOurs(s, pod); err != nil || e.PodThere {
		return e, err
	}
	e.Claim, err = a.homes.Read(ctx, s.Namespace, renderer.HomeClaimName(s.Name))
	if err == nil && e.Claim != nil {
		e.HadBy, err = a.hadByOther(ctx, s, e.Claim)
	}
	return e, err
}

// hadByOther says how another session has this one's home, if one has: its desktop is on
// it, it holds it, or it names it as its existing claim, as only its user's may.
func (a asker) hadByOther(ctx context.Context, s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) (how string, err error) {
	desktop, err := a.homes.Users.DesktopOn(ctx, s, claim.Name)
	if err != nil {
		return "", err
	}
	if desktop != nil {
		return fmt.Sprintf("the desktop %q is on it", desktop.Name), nil
	}
	holder, err := a.homes.Users.OtherHolder(ctx, s, claim)
	if err != nil {
		return "", err
	}
	if holder != nil {
		return fmt.Sprintf("the session %q holds it", holder.Name), nil
	}
	other, err := homes.NamedByOther(ctx, a.homes.Objects.Live, s, claim.Name, client.InNamespace(s.Namespace), client.MatchingFields{"spec.user": s.Spec.User})
	if err != nil || other == "" {
		return "", err
	}
	return fmt.Sprintf("the session %q of the same user names it as its existingClaim", other), nil
}

// leftTo is who has the home next that a session leaves, and how long the template keeps one
// that nobody has. A template that is gone has no rule.
func (a asker) leftTo(ctx context.Context, p *plan.Pass) (session string, keep time.Duration, err error) {
	s, claim := p.Session, p.LeftClaim
	session, err = homes.NamedByOther(ctx, a.cached.client, s, claim.Name, a.homes.Users.OnClaim(claim.Namespace, claim.Name)...)
	if err != nil || session != "" {
		return session, 0, err
	}
	t := &vdi.VDITemplate{}
	err = a.cached.client.Get(ctx, client.ObjectKey{Name: s.Spec.Template}, t)
	if err != nil && !apierrors.IsNotFound(err) {
		return "", 0, fmt.Errorf("read template %q: %w", s.Spec.Template, err)
	}
	return "", homes.RetainFor(s.Spec, t.Spec.Lifecycle), nil
}

// readLive reads an object from the API server itself, where caches may be late or do not
// watch it. What is of a kind that nobody serves is not there.
func (a asker) readLive(ctx context.Context, s *vdi.VDISession, o *metav1.PartialObjectMetadata) (there bool, err error) {
	if o.Kind == wire.KindSecret {
		found, err := a.secrets.Look(ctx, s, secrets.Blank(s, o.Name))
		if found != nil {
			found.DeepCopyInto(o)
		}
		return found != nil, err
	}
	return a.homes.Objects.ReadMetadata(ctx, s.Namespace, o)
}
