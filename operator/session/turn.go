package session

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/secrets"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// turnRenewal is how long after a login at the TURN relay was made the next one is: at half
// its life, because a mounted Secret takes up to a minute and a half to arrive
// and the desktop asks for it once a minute.
const turnRenewal = platform.TURNLoginLife / 2

// RelaySecret is the shared secret of the TURN relay, by which logins are signed.
type RelaySecret interface {
	// Get returns the secret as it is now, or in words why it cannot be used.
	Get() (secret string, problem error)
	// Changed says when it is another.
	Changed() <-chan event.GenericEvent
}

// turnLogins remembers which login each session has, so that none is read back:
// whoever remembers nothing makes a new one.
type turnLogins struct{ perSession[turnLogin] }

type turnLogin struct {
	session types.UID
	renewAt time.Time
	signer  [sha256.Size]byte // hash of the shared secret
	written secrets.Version
}

// holdsFor is how long the login of the pass' session is good enough: 0 when
// a new one is due. A clock that went back makes it due, too.
func (l *turnLogins) holdsFor(p *plan.Pass, secret string) time.Duration {
	login, found := l.load(client.ObjectKeyFromObject(p.Session))
	left := login.renewAt.Sub(p.Now)
	if !found || login.session != p.Session.UID || login.signer != sha256.Sum256([]byte(secret)) || left > turnRenewal {
		return 0
	}
	return max(left, 0)
}

// startTURNLogin gives a desktop that is about to start a login at the relay,
// where it needs one.
func (r *Reconciler) startTURNLogin(ctx context.Context, p *plan.Pass) error {
	if !platform.UsesRelay(p.Template.Spec) {
		return nil
	}
	secret, err := r.relaySecret()
	if err != nil {
		return err
	}
	return r.makeTURNLogin(ctx, p, secret)
}

// renewTURNLogin sees to the login of a living desktop, whatever became of its
// template. It stops with the run: after that the relay takes nobody in for
// longer than the last login holds. A desktop is not disturbed by a login that
// cannot be made; it says so.
func (r *Reconciler) renewTURNLogin(ctx context.Context, p *plan.Pass) error {
	if p.Decision.Want != plan.Run || !p.Seen.PodLives() || p.Seen.Pod.Annotations[wire.AnnotationTransport] != string(vdi.TransportWebRTC) {
		return nil
	}
	err := r.keepTURNLogin(ctx, p)
	var h *verdict.Verdict
	if errors.As(err, &h) {
		p.Refuse(h)
		return nil
	}
	return err
}

func (r *Reconciler) keepTURNLogin(ctx context.Context, p *plan.Pass) error {
	secret, err := r.relaySecret()
	if err != nil {
		return err
	}
	if left := r.turnLogins.holdsFor(p, secret); left > 0 {
		p.LookAgainAfter(left)
		return nil
	}
	return r.makeTURNLogin(ctx, p, secret)
}

// relaySecret returns a verdict where there is none to sign with.
func (r *Reconciler) relaySecret() (string, error) {
	problem := platform.ErrNoRelay
	reason := vdi.ReasonRelayNotConfigured
	if r.Relay != nil {
		secret, err := r.Relay.Get()
		if err == nil {
			return secret, nil
		}
		problem, reason = err, vdi.ReasonRelaySecretMissing
	}
	return "", &verdict.Verdict{
		Condition: vdi.ConditionReachable, Reason: reason, Phase: vdi.PhasePending, Waiting: vdi.WaitingForRoute, Stalled: true,
		Message: "Nobody could see the desktop through the TURN relay: " + problem.Error(),
	}
}

// makeTURNLogin writes a new login and asks for the pass that renews it.
func (r *Reconciler) makeTURNLogin(ctx context.Context, p *plan.Pass, secret string) error {
	login := platform.SignTURNLogin(r.Config.Sessions.TURN, secret, string(p.Session.UID), p.Now.Add(platform.TURNLoginLife))
	written, err := r.writeTURNLogin(ctx, p, login)
	if err != nil {
		return err
	}
	r.turnLogins.store(client.ObjectKeyFromObject(p.Session), turnLogin{p.Session.UID, p.Now.Add(turnRenewal), sha256.Sum256([]byte(secret)), written})
	p.LookAgainAfter(turnRenewal)
	return nil
}

// writeTURNLogin puts the login into the session's Secret and returns which state
// that is. One of that name that is not this session's is left alone: its maker
// could read what is written there. What we wrote ourselves last is not read again.
func (r *Reconciler) writeTURNLogin(ctx context.Context, p *plan.Pass, login platform.TURNLogin) (secrets.Version, error) {
	text, err := json.Marshal(login)
	if err != nil {
		return secrets.Version{}, fmt.Errorf("make login at the TURN relay: %w", err)
	}
	fresh := secrets.New(p.Session, renderer.TURNLoginName(p.Session.Name), corev1.SecretTypeOpaque, map[string][]byte{wire.KeyTURNLogin: text})
	last, known := r.turnLogins.load(client.ObjectKeyFromObject(p.Session))
	if known && last.session == p.Session.UID {
		err = r.secrets().Replace(ctx, last.written, fresh)
	}
	if !known || last.session != p.Session.UID || apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		err = r.replaceTURNLogin(ctx, p.Session, fresh)
	}
	return secrets.VersionOf(fresh), err
}

// replaceTURNLogin writes a login of which nobody knows whether there is one.
func (r *Reconciler) replaceTURNLogin(ctx context.Context, s *vdi.VDISession, fresh *corev1.Secret) error {
	found, err := r.secrets().Look(ctx, s, secrets.Blank(s, fresh.Name))
	switch {
	case err != nil:
		return verdict.OfWrite(wire.KindSecret, err)
	case found == nil:
		if err := r.Client.Create(ctx, fresh, client.FieldOwner(FieldOwner)); err != nil {
			return verdict.OfWrite(wire.KindSecret, err)
		}
		return nil
	}
	if err := verdict.OwnedBy(s, found, wire.KindSecret); err != nil {
		return err
	}
	return r.secrets().Replace(ctx, secrets.VersionOf(found), fresh)
}

// watchRelay wakes all sessions when the relay's secret changes: those that run
// get logins that it accepts, those that wait for it start.
func (r *Reconciler) watchRelay(sessions watcher) error {
	if r.Relay == nil {
		return nil
	}
	return r.wakeAll(sessions, r.Relay.Changed(), "TURN relay's secret")
}
