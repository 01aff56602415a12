package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/credentials"
	"github.com/vdi-platform/vdi-platform/operator/fairshare"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// suspend turns the session's wish. From then on its desktop is to be stopped, which is not
// said before.
func (e *executor) suspend(ctx context.Context, p *plan.Pass, to vdi.RunPolicy) error {
	if err := e.setRunPolicy(ctx, p, to); err != nil {
		return err
	}
	p.Decision.Want = plan.StayStopped
	return nil
}

// errUsed ends a pass that was about to stop a desktop which is used again.
var errUsed = errors.New("the desktop was used again before it stopped")

// unlessUsed takes an idle stop back when the desktop was used before its pod is deleted:
// activity that arrives until then wins. Nobody but the operator turned the wish, so it may
// turn it back.
func (e *executor) unlessUsed(ctx context.Context, p *plan.Pass) error {
	latest := e.ask.lastUse(ctx, p)
	if !plan.UsedSince(p.Activity, latest) {
		p.Activity = latest
		return nil
	}
	if err := e.setRunPolicy(ctx, p, vdi.RunPolicyRunning); err != nil {
		return err
	}
	if st := p.Session.Status; st.StopReason != "" || st.EndReason != "" {
		if err := e.record(ctx, p, plan.Record{}); err != nil {
			return err
		}
	}
	return errUsed
}

// stopDesktop takes the way in away first, so that the URL dies at once, and the
// pod whatever became of that. What the cluster does not let go leads nowhere
// then, and is the session's to the end.
func (e *executor) stopDesktop(ctx context.Context, p *plan.Pass, w plan.StopDesktop) error {
	if err := e.confirm(ctx, p); err != nil {
		return err
	}
	var failed []error
	for _, o := range w.Ways {
		switch err := e.objects.Remove(ctx, o); {
		case err == nil:
			delete(p.Seen.Others, plan.KeyOf(o))
		case objects.IsRefusal(err):
			p.Refuse(verdict.Denied(o.GetKind(), err))
		default:
			failed = append(failed, err)
		}
	}
	if w.Pod != nil {
		failed = append(failed, e.objects.Remove(ctx, w.Pod))
	}
	return errors.Join(failed...)
}

// removeWay removes a way in that the cache does not show.
func (e *executor) removeWay(ctx context.Context, p *plan.Pass, w plan.RemoveWay) error {
	if err := e.confirm(ctx, p); err != nil {
		return err
	}
	if err := e.objects.Remove(ctx, w.Way); err != nil && !objects.IsRefusal(err) {
		return err
	}
	return nil
}

// uncounted is for how long a session that is deleted waits until its last run is written down.
const uncounted = 10 * time.Minute

// countRun adds a run to what its person has used. A cluster that does not let it be written
// holds up no desktop, and no end for long; it is tried again.
func (e *executor) countRun(ctx context.Context, p *plan.Pass, w plan.CountRun) error {
	if p.Seen.Pod == nil { // perhaps in the cache alone, and it goes on
		pod := &corev1.Pod{}
		err := e.live.Get(ctx, client.ObjectKeyFromObject(p.Session), pod)
		if client.IgnoreNotFound(err) != nil || (err == nil && pod.UID == w.UID) {
			return errors.Join(err, errOutdated)
		}
	}
	err := e.usage.Add(ctx, p.Session.Spec.User, w.Run)
	if p.Counted = err == nil; p.Counted {
		return nil
	}
	log.FromContext(ctx).Error(err, "A run could not be written down; it is tried again", "pod", w.UID)
	p.LookAgainAfter(verdict.DeniedRetry)
	switch gone := p.Session.DeletionTimestamp; {
	case gone == nil:
		return nil
	case p.Now.Before(gone.Add(uncounted)):
		return err
	}
	e.share.Lose(fairshare.Lost{User: p.Session.Spec.User, Run: w.Run})
	return nil
}

func (e *executor) clearFailed(ctx context.Context, p *plan.Pass, w plan.ClearFailed) error {
	if err := e.objects.Remove(ctx, w.Pod); err != nil {
		return err
	}
	p.Failures++
	return nil
}

func (e *executor) prune(ctx context.Context, p *plan.Pass, w plan.Prune) error {
	if err := e.objects.Remove(ctx, w.Object); err != nil {
		return err
	}
	delete(p.Seen.Others, plan.KeyOf(w.Object))
	return nil
}

// label makes an object seen by the proxy.
func (e *executor) label(ctx context.Context, p *plan.Pass, o *unstructured.Unstructured) error {
	err := e.objects.Label(ctx, o, wire.LabelProxy, wire.LabelOn)
	switch {
	case apierrors.IsNotFound(err): // its end wakes us
	case err != nil && objects.IsRefusal(err):
		p.Refuse(verdict.Denied(o.GetKind(), err))
	case err != nil:
		return fmt.Errorf("label %s %q: %w", o.GetKind(), o.GetName(), err)
	}
	return nil
}

func (e *executor) takeHost(ctx context.Context, p *plan.Pass, w plan.TakeHost) error {
	err := e.hosts.Take(ctx, p.Session, w.Host)
	p.HasHost = err == nil
	return err
}

func (e *executor) releaseHost(ctx context.Context, p *plan.Pass, w plan.ReleaseHost) error {
	claim, err := e.hosts.HeldBy(ctx, p.Session, w.Host)
	if err != nil || claim == nil {
		return err
	}
	if err := e.confirm(ctx, p); err != nil {
		return err
	}
	return e.hosts.Release(ctx, claim)
}

// makeTURNLogin gives a desktop that is about to start a login at the relay.
func (e *executor) makeTURNLogin(ctx context.Context, p *plan.Pass) error {
	renewIn, err := e.turn.Make(ctx, p.Session, p.Now)
	p.LookAgainAfter(renewIn)
	return err
}

// keepTURNLogin renews the login of a desktop that lives.
func (e *executor) keepTURNLogin(ctx context.Context, p *plan.Pass) error {
	renewIn, err := e.turn.Keep(ctx, p.Session, p.Now)
	p.LookAgainAfter(renewIn)
	return err
}

// makeCredentials makes sure of the Secret of a session that is about to start.
func (e *executor) makeCredentials(ctx context.Context, p *plan.Pass) error {
	current := func(ctx context.Context) (*vdi.VDISession, error) { return e.current(ctx, p) }
	verifier, desktop, err := credentials.Logins{Secrets: e.secrets, LogsIn: p.LogsIn, Current: current}.Ensure(ctx, p.Session)
	switch {
	case err != nil:
		return err
	case desktop != nil:
		return e.found(p, desktop)
	}
	p.Verifier, p.Credentials = verifier, true
	return nil
}

// createChild creates an object of the session.
func (e *executor) createChild(ctx context.Context, p *plan.Pass, o *unstructured.Unstructured) error {
	if o.GetKind() == wire.KindPod {
		return e.start(ctx, p, o)
	}
	created, err := e.create(ctx, p, o)
	if err != nil {
		return err
	}
	p.Seen.Others[plan.KeyOf(o)] = created
	p.Altered = p.Altered || objects.Drifted(o.Object, created.Object)
	return nil
}

// start makes the desktop's pod. It is never patched afterwards.
func (e *executor) start(ctx context.Context, p *plan.Pass, o *unstructured.Unstructured) error {
	o = o.DeepCopy()
	annotations := o.GetAnnotations()
	if p.Verifier != "" { // for an operator that takes over before the status is written
		annotations[wire.AnnotationPasswordVerifier] = p.Verifier
	}
	delete(annotations, wire.AnnotationPool) // a template's
	if pool := p.Pool(); pool != "" {
		annotations[wire.AnnotationPool] = pool
	}
	o.SetAnnotations(annotations)
	if p.Limited && e.ask.leads != nil && !e.ask.leads() {
		return errLease
	}
	made, err := e.objects.Create(ctx, o)
	there := apierrors.IsAlreadyExists(err)
	switch {
	case there:
		if made, err = e.claimExisting(ctx, p, o); err != nil {
			return err
		}
	case err != nil:
		p.MadePerhaps = !objects.IsRefusal(err)
		return verdict.OfWrite(o.GetKind(), err)
	}
	pod := &corev1.Pod{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(made.Object, pod); err != nil {
		return fmt.Errorf("read back pod: %w", err)
	}
	if there {
		return e.found(p, pod)
	}
	p.Seen.Pod, p.Made = pod, true
	e.homes.Known.Started(p.Session)
	return nil
}

// create makes an object. It never takes over one that is not ours.
func (e *executor) create(ctx context.Context, p *plan.Pass, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	made, err := e.objects.Create(ctx, o)
	switch {
	case err == nil:
		return made, nil
	case apierrors.IsAlreadyExists(err):
		return e.claimExisting(ctx, p, o)
	default:
		return nil, verdict.OfWrite(o.GetKind(), err)
	}
}

// claimExisting decides about an object of the wanted name that the cache does
// not show as ours: perhaps it is ours and the cache is late, perhaps it lost
// its labels, perhaps it is somebody else's.
func (e *executor) claimExisting(ctx context.Context, p *plan.Pass, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	live, err := e.objects.Read(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := verdict.OwnedBy(p.Session, live, o.GetKind()); err != nil {
		return nil, err
	}
	if o.GetKind() != wire.KindPod && objects.Drifted(o.Object, live.Object) {
		return live, e.putBack(ctx, p, o)
	}
	return live, nil
}

// putBack makes an object of ours as rendered.
func (e *executor) putBack(ctx context.Context, p *plan.Pass, o *unstructured.Unstructured) error {
	live, err := e.objects.Read(ctx, o)
	if err != nil {
		return err
	}
	if err := verdict.OwnedBy(p.Session, live, o.GetKind()); err != nil {
		return err
	}
	found := live.DeepCopy()
	now, changed, err := e.objects.PutBack(ctx, o, live)
	if changed && p.IsRepair(o, found) && !slices.Contains(p.Repaired, o.GetKind()) {
		p.Repaired = append(p.Repaired, o.GetKind()) // also if a status written meanwhile ends this pass here
	}
	if err != nil {
		return verdict.OfWrite(o.GetKind(), err)
	}
	p.Seen.Others[plan.KeyOf(o)] = now
	return nil
}
