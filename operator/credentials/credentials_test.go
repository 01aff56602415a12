package credentials

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/secrets"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

const name = "desk-credentials"

// errDown is an API server that does not answer.
var errDown = errors.New("no answer")

// loginsIn makes logins in a cluster that holds some objects, and answers as the test says.
func loginsIn(t *testing.T, answers interceptor.Funcs, stored ...client.Object) Logins {
	t.Helper()
	c := fake.NewClientBuilder().WithObjects(stored...).WithInterceptorFuncs(answers).Build()
	return Logins{
		Secrets: secrets.Store{Objects: objects.Store{Client: c, Live: c, Owner: "test"}, MayRead: true, Policy: &secrets.Policy{}},
		Current: func(context.Context) (*vdi.VDISession, error) { return fixture.Session(), nil },
	}
}

// stored is the Secret as the cluster has it.
func stored(t *testing.T, l Logins) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{}
	require.NoError(t, l.Secrets.Objects.Live.Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: name}, secret))
	return secret
}

// old is the Secret of an earlier start, with the verifier of its password.
func old(t *testing.T, changes ...func(*corev1.Secret)) *corev1.Secret {
	t.Helper()
	secret, err := newSecret(fixture.Session())
	require.NoError(t, err)
	secret.Data[wire.KeyPassword] = []byte("old")
	secret.Annotations[wire.AnnotationPasswordVerifier] = wire.PasswordVerifier("old")
	for _, change := range changes {
		change(secret)
	}
	return secret
}

// reporting is a session whose status names the Secret and a password's verifier.
func reporting(password string) *vdi.VDISession {
	s := fixture.Session()
	s.Status.CredentialsSecret, s.Status.Phase = name, vdi.PhaseCreating
	s.Status.Access = &vdi.AccessStatus{PasswordVerifier: wire.PasswordVerifier(password)}
	return s
}

// A new session has a Secret of its own, with a password of 160 bits that nobody else has.
func TestFresh(t *testing.T) {
	seen := map[string]bool{}
	for range 3 {
		l := loginsIn(t, interceptor.Funcs{})
		verifier, desktop, err := l.Ensure(t.Context(), fixture.Session())
		require.NoError(t, err)
		require.Nil(t, desktop)
		secret := stored(t, l)
		require.True(t, metav1.IsControlledBy(secret, fixture.Session()))
		require.Equal(t, corev1.SecretTypeBasicAuth, secret.Type)
		require.Equal(t, wire.PasswordVerifier(string(secret.Data[wire.KeyPassword])), verifier)
		require.Equal(t, map[string]string{wire.AnnotationKeysVersion: keysVersion, wire.AnnotationPasswordVerifier: verifier}, secret.Annotations)
		require.Len(t, secret.Data, 5)
		for key, form := range map[string]string{
			wire.KeyUsername: "^desktop$", wire.KeyDesktopUsername: "^desktop$",
			wire.KeyPassword: "^[a-z2-7]{32}$", wire.KeyDesktopPassword: "^[a-z2-7]{32}$",
		} {
			require.Regexp(t, form, string(secret.Data[key]))
		}
		require.Len(t, secret.Data[wire.KeyCookie], 32)
		for _, key := range []string{wire.KeyPassword, wire.KeyDesktopPassword, wire.KeyCookie} {
			value := string(secret.Data[key])
			require.False(t, seen[value], "%s is not used twice", key)
			seen[value] = true
		}
	}
}

// A password that people know stays; one that no report names, or of an earlier run, does not.
func TestExisting(t *testing.T) {
	otherKeys := func(secret *corev1.Secret) { secret.Annotations[wire.AnnotationKeysVersion] = "1" }
	noVerifier := func(secret *corev1.Secret) { delete(secret.Annotations, wire.AnnotationPasswordVerifier) }
	suspended := reporting("old")
	suspended.Status.Phase = vdi.PhaseSuspended
	named := reporting("old")
	named.Status.Access = nil
	unnamed := reporting("old")
	unnamed.Status.CredentialsSecret = ""
	for name, c := range map[string]struct {
		session *vdi.VDISession
		oidc    bool
		secret  func(*corev1.Secret)
		stays   bool
	}{
		"reported":                          {reporting("old"), false, nil, true},
		"reported without a verifier":       {named, false, nil, true},
		"another password was reported":     {reporting("other"), false, nil, false},
		"its verifier was removed":          {reporting("old"), false, noVerifier, false},
		"keys of an older version":          {reporting("old"), false, otherKeys, false},
		"never reported":                    {fixture.Session(), false, nil, false},
		"a verifier, but no Secret's name":  {unnamed, false, nil, false},
		"resumed":                           {suspended, false, nil, false},
		"nobody has a password":             {fixture.Session(), true, nil, true},
		"nobody has one, keys of an older":  {fixture.Session(), true, otherKeys, false},
		"nobody has one, and it is resumed": {suspended, true, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			secret := old(t)
			if c.secret != nil {
				c.secret(secret)
			}
			l := loginsIn(t, interceptor.Funcs{}, secret)
			l.LogsIn = c.oidc
			verifier, desktop, err := l.Ensure(t.Context(), c.session)
			require.NoError(t, err)
			require.Nil(t, desktop)
			now := stored(t, l)
			require.Equal(t, c.stays, string(now.Data[wire.KeyPassword]) == "old")
			switch access := c.session.Status.Access; {
			case !c.stays:
				require.Equal(t, wire.PasswordVerifier(string(now.Data[wire.KeyPassword])), verifier)
				require.Equal(t, verifier, now.Annotations[wire.AnnotationPasswordVerifier])
				require.Equal(t, keysVersion, now.Annotations[wire.AnnotationKeysVersion])
			case access != nil:
				require.Equal(t, access.PasswordVerifier, verifier)
			default:
				require.Empty(t, verifier, "it is not known")
			}
		})
	}
}

// A cache that shows no report may be late: the API server is asked, and only then.
func TestLateCache(t *testing.T) {
	for name, c := range map[string]struct {
		cached, current *vdi.VDISession
		err             error
		asked, stays    bool
	}{
		"the cache shows it":    {reporting("old"), fixture.Session(), nil, false, true},
		"the cache is late":     {fixture.Session(), reporting("old"), nil, true, true},
		"nothing was reported":  {fixture.Session(), fixture.Session(), nil, true, false},
		"another was reported":  {fixture.Session(), reporting("other"), nil, true, false},
		"the API server is off": {fixture.Session(), nil, errDown, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			l, asked := loginsIn(t, interceptor.Funcs{}, old(t)), false
			l.Current = func(context.Context) (*vdi.VDISession, error) {
				asked = true
				return c.current, c.err
			}
			_, _, err := l.Ensure(t.Context(), c.cached)
			require.ErrorIs(t, err, c.err)
			require.Equal(t, c.asked, asked)
			require.Equal(t, c.stays, string(stored(t, l).Data[wire.KeyPassword]) == "old")
		})
	}
}

// A Secret of that name that is not this session's carries a password that somebody else knows.
func TestStrange(t *testing.T) {
	former := fixture.Session()
	former.UID = "former"
	for name, c := range map[string]struct {
		owners []metav1.OwnerReference
		reason string
	}{
		"planted":             {nil, vdi.ReasonNameTaken},
		"of another session":  {[]metav1.OwnerReference{{Kind: wire.KindSession, Name: "other", UID: "other", Controller: former.OwnerReference().Controller}}, vdi.ReasonNameTaken},
		"of a former session": {[]metav1.OwnerReference{former.OwnerReference()}, vdi.ReasonWaiting},
	} {
		for _, s := range []*vdi.VDISession{fixture.Session(), reporting("old")} {
			t.Run(name+s.Status.CredentialsSecret, func(t *testing.T) {
				l := loginsIn(t, interceptor.Funcs{}, old(t, func(secret *corev1.Secret) { secret.OwnerReferences = c.owners }))
				verifier, _, err := l.Ensure(t.Context(), s)
				var v *verdict.Verdict
				require.ErrorAs(t, err, &v)
				require.Equal(t, c.reason, v.Reason)
				require.Empty(t, verifier)
				require.Equal(t, "old", string(stored(t, l).Data[wire.KeyPassword]), "it is left alone")
			})
		}
	}
}
