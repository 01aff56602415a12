package hosts

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

const (
	host      = "alice.vdi.example.com"
	namespace = "vdi-system"
)

// errDown is an API server that does not answer.
var errDown = errors.New("no answer")

// claimsIn are claims in a cluster that holds some objects, and answers as the test says.
func claimsIn(t *testing.T, answers interceptor.Funcs, stored ...client.Object) Claims {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, corev1.AddToScheme(scheme))
	require.NoError(t, vdi.AddToScheme(scheme))
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(stored...).WithInterceptorFuncs(answers).Build()
	return Claims{Objects: objects.Store{Client: c, Live: c, Owner: "test"}, Namespace: namespace}
}

// session is one of a user, with a name and UID.
func session(user, name string, uid types.UID) *vdi.VDISession {
	s := fixture.Session()
	s.Spec.User, s.Name, s.UID = user, name, uid
	return s
}

// claimOf is the claim of the host for a user, held by somebody.
func claimOf(user, holder string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "vdi-host-alice", Namespace: namespace},
		Data:       map[string]string{"host": host, "identity": platform.Identity(user), "holder": holder},
	}
}

// stored is the claim as the cluster has it.
func stored(t *testing.T, c Claims) *corev1.ConfigMap {
	t.Helper()
	claim := &corev1.ConfigMap{}
	require.NoError(t, c.Objects.Live.Get(t.Context(), types.NamespacedName{Namespace: namespace, Name: "vdi-host-alice"}, claim))
	return claim
}

// A host belongs to one person for good, and to one session of that person at a time.
func TestWhoGetsTheHost(t *testing.T) {
	const mine = "ns/desk/u"
	for name, c := range map[string]struct {
		claim  *corev1.ConfigMap // nil: nobody has claimed the host yet
		others []client.Object
		reason string // of the refusal; "": the session gets the host
	}{
		"nobody's yet":                    {nil, nil, ""},
		"its own already":                 {claimOf("alice", mine), nil, ""},
		"free, of the same person":        {claimOf("alice", ""), nil, ""},
		"free, of another person":         {claimOf("bob", ""), nil, vdi.ReasonHostOfAnotherUser},
		"of another person, holder gone":  {claimOf("bob", "ns/gone/x"), nil, vdi.ReasonHostOfAnotherUser},
		"another user named this session": {claimOf("bob", mine), nil, vdi.ReasonHostOfAnotherUser},
		"another session lives":           {claimOf("alice", "ns/first/v"), []client.Object{session("alice", "first", "v")}, vdi.ReasonHostInUse},
		"that session is gone":            {claimOf("alice", "ns/first/v"), nil, ""},
		"that session was made anew":      {claimOf("alice", "ns/first/v"), []client.Object{session("alice", "first", "w")}, ""},
		"a former one of its own name":    {claimOf("alice", "ns/desk/former"), []client.Object{session("alice", "desk", "u")}, ""},
		"a holder nobody can read":        {claimOf("alice", "first"), []client.Object{session("alice", "first", "v")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, there := session("alice", "desk", "u"), c.others
			if c.claim != nil {
				there = append(there, c.claim)
			}
			claims := claimsIn(t, interceptor.Funcs{}, there...)
			err := claims.Take(t.Context(), s, host)
			if c.reason != "" {
				require.Equal(t, c.reason, verdictOf(t, err).Reason)
				require.Equal(t, c.claim.Data, stored(t, claims).Data, "a refusal leaves the claim as it was")
				return
			}
			require.NoError(t, err)
			require.Equal(t, map[string]string{"host": host, "identity": platform.Identity("alice"), "holder": mine}, stored(t, claims).Data)
			held, err := claims.HeldBy(t.Context(), s, host)
			require.NoError(t, err)
			require.NotNil(t, held, "who took the host holds it")
		})
	}
}

func verdictOf(t *testing.T, err error) *verdict.Verdict {
	t.Helper()
	var v *verdict.Verdict
	require.ErrorAs(t, err, &v)
	require.Equal(t, vdi.ConditionAccepted, v.Condition)
	require.Equal(t, vdi.PhaseFailed, v.Phase)
	require.True(t, v.Stalled, "a person has to act")
	require.Equal(t, verdict.DeniedRetry, v.Retry, "the end of the other session wakes nobody")
	return v
}

// What a person reads names the session that has to end, and not its UID.
func TestHostInUseNamesTheSession(t *testing.T) {
	claims := claimsIn(t, interceptor.Funcs{}, claimOf("alice", "ns/first/v"), session("alice", "first", "v"))
	message := verdictOf(t, claims.Take(t.Context(), session("alice", "desk", "u"), host)).Message
	require.Contains(t, message, "this user's session ns/first;")
}

// The claim lies in the operator's namespace, and is known by its labels.
func TestClaimIsTheOperators(t *testing.T) {
	claims := claimsIn(t, interceptor.Funcs{})
	require.NoError(t, claims.Take(t.Context(), session("alice", "desk", "u"), host))
	claim := stored(t, claims)
	require.Equal(t, map[string]string{wire.LabelManagedBy: wire.Operator, wire.LabelName: "vdi-host-claim"}, claim.Labels)
	require.Empty(t, claim.OwnerReferences, "it outlives the session")
}

// HeldBy knows the holder's claim alone, and of that holder the very session.
func TestHeldBy(t *testing.T) {
	for name, c := range map[string]struct {
		claim *corev1.ConfigMap
		held  bool
	}{
		"no claim":               {nil, false},
		"its own":                {claimOf("alice", "ns/desk/u"), true},
		"free":                   {claimOf("alice", ""), false},
		"another's":              {claimOf("alice", "ns/first/v"), false},
		"the former one's":       {claimOf("alice", "ns/desk/former"), false},
		"in another's namespace": {claimOf("alice", "other/desk/u"), false},
	} {
		t.Run(name, func(t *testing.T) {
			var there []client.Object
			if c.claim != nil {
				there = append(there, c.claim)
			}
			held, err := claimsIn(t, interceptor.Funcs{}, there...).HeldBy(t.Context(), session("alice", "desk", "u"), host)
			require.NoError(t, err)
			require.Equal(t, c.held, held != nil)
		})
	}
}

// A released host is free for the same person, and for nobody else.
func TestRelease(t *testing.T) {
	claims := claimsIn(t, interceptor.Funcs{})
	first := session("alice", "first", "v")
	require.NoError(t, claims.Take(t.Context(), first, host))
	held, err := claims.HeldBy(t.Context(), first, host)
	require.NoError(t, err)
	require.NoError(t, claims.Release(t.Context(), held))

	released := stored(t, claims)
	require.Equal(t, map[string]string{"host": host, "identity": platform.Identity("alice"), "holder": ""}, released.Data)
	require.Equal(t, vdi.ReasonHostOfAnotherUser, verdictOf(t, claims.Take(t.Context(), session("bob", "desk", "b"), host)).Reason)
	require.NoError(t, claims.Take(t.Context(), session("alice", "second", "w"), host))
	require.True(t, apierrors.IsConflict(claims.Release(t.Context(), released)), "only the claim that was looked at is released")
	require.Equal(t, "ns/second/w", stored(t, claims).Data["holder"])
}

// Of two sessions that see a free host, one gets it; the other looks again.
func TestTwoAtOnce(t *testing.T) {
	for name, before := range map[string]*corev1.ConfigMap{"nobody's yet": nil, "free": claimOf("alice", "")} {
		t.Run(name, func(t *testing.T) {
			var there []client.Object
			if before != nil {
				there = append(there, before)
			}
			raced := false
			claims := claimsIn(t, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
				err := c.Get(ctx, key, o, opts...)
				if !raced {
					raced = true
					faster := Claims{Objects: objects.Store{Client: c, Live: c, Owner: "test"}, Namespace: namespace}
					require.NoError(t, faster.Take(ctx, session("alice", "faster", "f"), host))
				}
				return err
			}}, there...)
			err := claims.Take(t.Context(), session("alice", "desk", "u"), host)
			require.True(t, apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err), "got %v", err)
			require.Equal(t, "ns/faster/f", stored(t, claims).Data["holder"])
		})
	}
}

// Who cannot be asked decides nothing: no host changes hands, and no verdict is made of it.
func TestNoAnswer(t *testing.T) {
	silentAbout := func(is func(client.Object) bool) interceptor.Funcs {
		return interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if is(o) {
				return errDown
			}
			return c.Get(ctx, key, o, opts...)
		}}
	}
	s := session("alice", "desk", "u")
	noClaims := claimsIn(t, silentAbout(func(o client.Object) bool { _, is := o.(*corev1.ConfigMap); return is }))
	require.ErrorIs(t, noClaims.Take(t.Context(), s, host), errDown)
	_, err := noClaims.HeldBy(t.Context(), s, host)
	require.ErrorIs(t, err, errDown)

	noSessions := claimsIn(t, silentAbout(func(o client.Object) bool { _, is := o.(*vdi.VDISession); return is }), claimOf("alice", "ns/first/v"))
	require.ErrorIs(t, noSessions.Take(t.Context(), s, host), errDown)
	require.Equal(t, "ns/first/v", stored(t, noSessions).Data["holder"])
}

// The API server's refusal stays one for the caller to see.
func TestWritesRefused(t *testing.T) {
	refusal := apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "vdi-host-alice", errors.New("by a policy"))
	claims := claimsIn(t, interceptor.Funcs{
		Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return refusal },
	})
	require.ErrorIs(t, claims.Take(t.Context(), session("alice", "desk", "u"), host), refusal)

	claims = claimsIn(t, interceptor.Funcs{
		Update: func(context.Context, client.WithWatch, client.Object, ...client.UpdateOption) error { return refusal },
	}, claimOf("alice", ""))
	require.ErrorIs(t, claims.Take(t.Context(), session("alice", "desk", "u"), host), refusal)
	require.Empty(t, stored(t, claims).Data["holder"])
}
