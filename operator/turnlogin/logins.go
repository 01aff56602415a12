// Package turnlogin gives desktops that stream over WebRTC their logins at the TURN relay:
// short ones, each in a Secret of its session, renewed while the desktop runs.
//
// It must never read such a Secret back, and never let the relay's own secret near one.
package turnlogin

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/remember"
	"github.com/vdi-platform/vdi-platform/operator/secrets"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// renewal is how long after a login was made the next one is: at half its life, because a
// mounted Secret takes up to a minute and a half to arrive and the desktop asks for it once
// a minute.
const renewal = platform.TURNLoginLife / 2

// RelaySecret is the shared secret of the TURN relay, by which logins are signed.
type RelaySecret interface {
	// Get returns the secret as it is now, or in words why it cannot be used.
	Get() (secret string, problem error)
	// Changed says when it is another.
	Changed() <-chan event.GenericEvent
}

// Logins makes and renews logins.
type Logins struct {
	// Secrets writes the sessions' Secrets.
	Secrets secrets.Store
	// TURN is where the relay is.
	TURN platform.TURN
	// Relay is its shared secret; nil without a relay.
	Relay RelaySecret
	// Known are the logins that were made.
	Known *Known
}

// Known remembers which login each session has, so that none is read back:
// whoever remembers nothing makes a new one. The zero value is ready to use.
type Known struct{ remember.Map[login] }

type login struct {
	session types.UID
	renewAt time.Time
	signer  [sha256.Size]byte // hash of the shared secret
	written secrets.Version
}

// holdsFor is how long the session's login is good enough: 0 when a new one is due. A clock
// that went back makes it due, too.
func (k *Known) holdsFor(s *vdi.VDISession, secret string, now time.Time) time.Duration {
	known, found := k.Load(client.ObjectKeyFromObject(s))
	left := known.renewAt.Sub(now)
	if !found || known.session != s.UID || known.signer != sha256.Sum256([]byte(secret)) || left > renewal {
		return 0
	}
	return max(left, 0)
}

// Keep makes a new login where one is due, and returns when the next will be. Its error is
// a verdict where nobody can sign one, or the cluster refuses it.
func (l Logins) Keep(ctx context.Context, s *vdi.VDISession, now time.Time) (renewIn time.Duration, err error) {
	secret, err := l.relaySecret()
	if err != nil {
		return 0, err
	}
	if left := l.Known.holdsFor(s, secret, now); left > 0 {
		return left, nil
	}
	return l.write(ctx, s, secret, now)
}

// Make makes a new login; see Keep.
func (l Logins) Make(ctx context.Context, s *vdi.VDISession, now time.Time) (renewIn time.Duration, err error) {
	secret, err := l.relaySecret()
	if err != nil {
		return 0, err
	}
	return l.write(ctx, s, secret, now)
}

// relaySecret returns a verdict where there is none to sign with.
func (l Logins) relaySecret() (string, error) {
	problem := platform.ErrNoRelay
	reason := vdi.ReasonRelayNotConfigured
	if l.Relay != nil {
		secret, err := l.Relay.Get()
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

func (l Logins) write(ctx context.Context, s *vdi.VDISession, secret string, now time.Time) (renewIn time.Duration, err error) {
	signed := platform.SignTURNLogin(l.TURN, secret, string(s.UID), now.Add(platform.TURNLoginLife))
	written, err := l.put(ctx, s, signed)
	if err != nil {
		return 0, err
	}
	l.Known.Store(client.ObjectKeyFromObject(s), login{s.UID, now.Add(renewal), sha256.Sum256([]byte(secret)), written})
	return renewal, nil
}

// put writes a login into the session's Secret and returns which state that is. One of that
// name that is not this session's is left alone: its maker could read what is written there.
// What we wrote ourselves last is not read again.
func (l Logins) put(ctx context.Context, s *vdi.VDISession, signed platform.TURNLogin) (secrets.Version, error) {
	text, err := json.Marshal(signed)
	if err != nil {
		return secrets.Version{}, fmt.Errorf("make login at the TURN relay: %w", err)
	}
	fresh := secrets.New(s, renderer.TURNLoginName(s.Name), corev1.SecretTypeOpaque, map[string][]byte{wire.KeyTURNLogin: text})
	last, known := l.Known.Load(client.ObjectKeyFromObject(s))
	if known && last.session == s.UID {
		err = l.Secrets.Replace(ctx, last.written, fresh)
	}
	if !known || last.session != s.UID || apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		err = l.replaceUnknown(ctx, s, fresh)
	}
	return secrets.VersionOf(fresh), err
}

// replaceUnknown writes a login of which nobody knows whether there is one.
func (l Logins) replaceUnknown(ctx context.Context, s *vdi.VDISession, fresh *corev1.Secret) error {
	found, err := l.Secrets.Look(ctx, s, secrets.Blank(s, fresh.Name))
	switch {
	case err != nil:
		return verdict.OfWrite(wire.KindSecret, err)
	case found == nil:
		if err := l.Secrets.Objects.Client.Create(ctx, fresh, l.Secrets.Objects.Owner); err != nil {
			return verdict.OfWrite(wire.KindSecret, err)
		}
		return nil
	}
	if err := verdict.OwnedBy(s, found, wire.KindSecret); err != nil {
		return err
	}
	return l.Secrets.Replace(ctx, secrets.VersionOf(found), fresh)
}
