package turnlogin

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/secrets"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// A login is renewed at half its life, and when what it rests on is another.
func TestKeep(t *testing.T) {
	for name, c := range map[string]struct {
		after   time.Duration // the first login
		change  func(*cluster, *vdi.VDISession)
		renewed bool
		in      time.Duration // when the next is due
	}{
		"just made":                    {0, nil, false, renewal},
		"nearly due":                   {renewal - time.Second, nil, false, time.Second},
		"due":                          {renewal, nil, true, renewal},
		"long due":                     {time.Hour, nil, true, renewal},
		"a clock that went back":       {-time.Second, nil, true, renewal},
		"the shared secret is new":     {time.Second, func(w *cluster, _ *vdi.VDISession) { w.Relay = &relay{secret: "new"} }, true, renewal},
		"nothing is remembered":        {time.Second, func(w *cluster, _ *vdi.VDISession) { w.Known = &Known{} }, true, renewal},
		"another session is forgotten": {time.Second, func(w *cluster, _ *vdi.VDISession) { w.Known.Delete(client.ObjectKey{Namespace: "ns", Name: "other"}) }, false, renewal - time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s, w := fixture.Session(), newCluster(t)
			in, err := w.Keep(t.Context(), s, fixture.Noon)
			require.NoError(t, err)
			require.Equal(t, 5*time.Minute, in)
			require.Equal(t, 1, w.writes)
			if c.change != nil {
				c.change(w, s)
			}
			now := fixture.Noon.Add(c.after)
			in, err = w.Keep(t.Context(), s, now)
			require.NoError(t, err)
			require.Equal(t, c.in, in)
			require.Equal(t, c.renewed, w.writes == 2)
			made, shared := fixture.Noon, "shared"
			if c.renewed {
				made, shared = now, w.Relay.(*relay).secret
			}
			login, _ := w.login(t)
			require.Equal(t, platform.SignTURNLogin(w.TURN, shared, "u", made.Add(10*time.Minute)), login)
		})
	}
}

// What was written last is replaced unread; Make does not wait until a login is due.
func TestWhatWasWrittenIsNotRead(t *testing.T) {
	s, w := fixture.Session(), newCluster(t)
	for i := range 3 {
		in, err := w.Make(t.Context(), s, fixture.Noon.Add(time.Duration(i)*time.Second))
		require.NoError(t, err)
		require.Equal(t, renewal, in)
	}
	require.Equal(t, []int{3, 1}, []int{w.writes, w.read}, "writes and looks")
	login, _ := w.login(t)
	require.Equal(t, fixture.Noon.Add(2*time.Second+platform.TURNLoginLife).Unix(), login.Expires)
}

// What became of the Secret since it was written is found by the write itself.
func TestChangedMeanwhile(t *testing.T) {
	former := fixture.Session()
	former.UID = "former"
	for name, c := range map[string]struct {
		change func(*corev1.Secret) bool // false: it is gone
		reason string
	}{
		"it was deleted":                   {func(*corev1.Secret) bool { return false }, ""},
		"somebody labelled it":             {func(x *corev1.Secret) bool { x.Labels["x"] = "y"; return true }, ""},
		"somebody took it":                 {func(x *corev1.Secret) bool { x.OwnerReferences = nil; return true }, vdi.ReasonNameTaken},
		"it is the former one's":           {func(x *corev1.Secret) bool { x.OwnerReferences[0].UID = former.UID; return true }, vdi.ReasonWaiting},
		"it is only owned, not controlled": {func(x *corev1.Secret) bool { x.OwnerReferences[0].Controller = nil; return true }, vdi.ReasonNameTaken},
	} {
		t.Run(name, func(t *testing.T) {
			s, w := fixture.Session(), newCluster(t)
			_, err := w.Make(t.Context(), s, fixture.Noon)
			require.NoError(t, err)
			first, secret := w.login(t)
			if !c.change(secret) {
				require.NoError(t, w.client.Delete(t.Context(), secret))
			} else {
				require.NoError(t, w.client.Update(t.Context(), secret))
			}
			_, err = w.Make(t.Context(), s, fixture.Noon.Add(time.Minute))
			requireReason(t, c.reason, err)
			now, _ := w.login(t)
			require.Equal(t, c.reason == "", now.Expires != first.Expires)
		})
	}
}

// A Secret of the name that is not this session's gets no login: its maker could read it.
func TestStrangeSecret(t *testing.T) {
	former, mine := fixture.Session(), fixture.Session()
	former.UID = "former"
	for name, c := range map[string]struct {
		owners []metav1.OwnerReference
		reason string
	}{
		"planted":             {nil, vdi.ReasonNameTaken},
		"of a former session": {[]metav1.OwnerReference{former.OwnerReference()}, vdi.ReasonWaiting},
		"its own":             {[]metav1.OwnerReference{mine.OwnerReference()}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			there := secrets.Blank(mine, "desk-turn")
			there.OwnerReferences = c.owners
			w := newCluster(t, there)
			w.Known.Store(client.ObjectKeyFromObject(former), login{session: former.UID, renewAt: fixture.Noon.Add(time.Minute), signer: sha256.Sum256([]byte("shared"))})
			_, err := w.Keep(t.Context(), mine, fixture.Noon)
			requireReason(t, c.reason, err)
			require.Equal(t, c.reason == "", w.writes == 1, "a refusal comes before the write")
		})
	}
}

// Nobody can sign a login, or the cluster does not want it: the session says so, and nothing
// is remembered.
func TestRefused(t *testing.T) {
	quota := apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "desk-turn", errors.New("exceeded quota: x"))
	for name, c := range map[string]struct {
		relay   RelaySecret
		refusal error
		reason  string
		words   string
	}{
		"no relay":     {nil, nil, vdi.ReasonRelayNotConfigured, platform.ErrNoRelay.Error()},
		"no secret":    {&relay{problem: errors.New("it is empty")}, nil, vdi.ReasonRelaySecretMissing, "it is empty"},
		"over a quota": {&relay{secret: "shared"}, quota, vdi.ReasonQuotaExceeded, "exceeded quota"},
	} {
		t.Run(name, func(t *testing.T) {
			s, w := fixture.Session(), newCluster(t)
			w.Relay, w.refusal = c.relay, c.refusal
			for _, try := range []func(context.Context, *vdi.VDISession, time.Time) (time.Duration, error){w.Keep, w.Make} {
				_, err := try(t.Context(), s, fixture.Noon)
				requireReason(t, c.reason, err)
				require.ErrorContains(t, err, c.words)
			}
			w.Relay, w.refusal = &relay{secret: "shared"}, nil
			_, err := w.Keep(t.Context(), s, fixture.Noon)
			require.NoError(t, err)
			require.Equal(t, 1, w.writes, "what was not written is due")
		})
	}
}

// The relay's own secret is never near a login, nor in what is remembered.
func TestSharedSecretStaysAway(t *testing.T) {
	s, w := fixture.Session(), newCluster(t)
	_, err := w.Keep(t.Context(), s, fixture.Noon)
	require.NoError(t, err)
	_, secret := w.login(t)
	require.Equal(t, []string{wire.KeyTURNLogin}, slices.Collect(maps.Keys(secret.Data)))
	require.NotContains(t, string(secret.Data[wire.KeyTURNLogin]), "shared")
	known, _ := w.Known.Load(client.ObjectKeyFromObject(s))
	require.NotContains(t, fmt.Sprintf("%+v", known), "shared")
}
