package secrets

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// What is learned of a Secret, by reading it and by asking the policy about it.
func TestLook(t *testing.T) {
	s, leaving, former := fixture.Session(), fixture.Session(), fixture.Session()
	leaving.DeletionTimestamp, former.UID = fixture.At(fixture.Noon), "former"
	const exact, other, named, none = "exact", "another state", "by its name alone", "nothing"
	for test, c := range map[string]struct {
		session *vdi.VDISession
		secret  *corev1.Secret  // nil: there is none
		read    string          // what is learned where the operator may read
		asked   string          // and where it asks the policy
		owner   map[bool]string // the verdict on what is learned, read and asked: "" for the session's own
	}{
		"there is none":            {s, nil, none, none, nil},
		"as asked":                 {s, written(s), exact, exact, nil},
		"another password":         {s, written(s, func(x *corev1.Secret) { x.Annotations[wire.AnnotationPasswordVerifier] = "w" }), other, other, nil},
		"keys of an older version": {s, written(s, func(x *corev1.Secret) { delete(x.Annotations, wire.AnnotationKeysVersion) }), other, other, nil},
		"planted":                  {s, written(s, planted), exact, named, both(vdi.ReasonNameTaken)},
		"planted as if lost":       {s, written(s, ownedBy()), exact, named, both(vdi.ReasonNameTaken)},
		"of a former session":      {s, written(s, ownedBy(former.OwnerReference())), exact, named, both(vdi.ReasonWaiting)},
		"of another type":          {s, written(s, opaque), exact, named, map[bool]string{false: vdi.ReasonNameTaken}},
		"lost by one that ends":    {leaving, written(leaving, ownedBy()), exact, other, both(vdi.ReasonNameTaken)},
		"planted, and it ends":     {leaving, written(leaving, planted), exact, named, both(vdi.ReasonNameTaken)},
		"gone, and it ends":        {leaving, nil, none, none, nil},
	} {
		for mayRead, want := range map[bool]string{true: c.read, false: c.asked} {
			t.Run(test+map[bool]string{true: ", read", false: ", asked"}[mayRead], func(t *testing.T) {
				var there []client.Object
				if c.secret != nil {
					there = append(there, c.secret)
				}
				store := storeOf(t, mayRead, &policy{}, there...)
				asked := Blank(c.session, name)
				asked.Annotations = map[string]string{wire.AnnotationKeysVersion: "2", wire.AnnotationPasswordVerifier: "v"}
				found, err := store.Look(t.Context(), c.session, asked)
				require.NoError(t, err)
				if want == none {
					require.Nil(t, found)
					return
				}
				require.Equal(t, name, found.Name)
				require.Equal(t, want != named, found.UID == "secret" && found.ResourceVersion == "999", "its version is known")
				known := found.Annotations[wire.AnnotationKeysVersion] == "2" && found.Annotations[wire.AnnotationPasswordVerifier] == "v"
				require.Equal(t, want == exact, known, "its annotations are as asked")
				require.Equal(t, c.secret.Data, read(t, store).Data, "a question changes nothing")
				requireReason(t, c.owner[mayRead], verdict.OwnedBy(c.session, found, wire.KindSecret))
			})
		}
	}
}

// both is a reason that does not depend on how a Secret is looked at.
func both(reason string) map[bool]string { return map[bool]string{true: reason, false: reason} }

// requireReason wants a verdict for a reason, or with "" no error.
func requireReason(t *testing.T, reason string, err error) {
	t.Helper()
	if reason == "" {
		require.NoError(t, err)
		return
	}
	var v *verdict.Verdict
	require.ErrorAs(t, err, &v)
	require.Equal(t, reason, v.Reason)
}

// read is the Secret as the cluster has it.
func read(t *testing.T, w Store) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{}
	require.NoError(t, w.Objects.Client.Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: name}, secret))
	return secret
}

// Without the policy every question would be answered with yes: none is asked then.
func TestPolicyNotInForce(t *testing.T) {
	s := fixture.Session()
	const advice = "the admission policies on the operator's account are not in force: install the chart again, or set admission.enabled to false"
	for name, there := range map[string][]client.Object{"no Secret": nil, "a planted one": {written(s, planted)}} {
		t.Run(name, func(t *testing.T) {
			p := &policy{off: true}
			store := storeOf(t, false, p, there...)
			for range 2 {
				_, err := store.Look(t.Context(), s, Blank(s, "desk-credentials"))
				require.EqualError(t, err, advice)
			}
			require.Equal(t, 2, p.creates, "what is not in force is asked for again")
			require.Zero(t, p.dries)
		})
	}
}

// That the policy is in force is asked once, and of no session that ends: its namespace may too.
func TestPolicyIsAskedOnce(t *testing.T) {
	s, p := fixture.Session(), &policy{}
	store := storeOf(t, false, p, written(s))
	s.DeletionTimestamp = fixture.At(fixture.Noon)
	_, err := store.Look(t.Context(), s, Blank(s, name))
	require.NoError(t, err)
	require.Zero(t, p.creates)
	s.DeletionTimestamp = nil
	for range 3 {
		_, err := store.Look(t.Context(), s, Blank(s, name))
		require.NoError(t, err)
	}
	require.Equal(t, 1, p.creates)
	require.Equal(t, 4, p.dries)
}

// An answer that is none of the policy's is an error, and not a state of a Secret.
func TestOtherAnswers(t *testing.T) {
	s := fixture.Session()
	for name, answer := range map[string]error{
		"none":                  errDown,
		"another policy's":      apierrors.NewForbidden(resource, name, errors.New("not on Sundays")),
		"its words, no refusal": apierrors.NewInternalError(errors.New(nobodysSecret)),
	} {
		t.Run(name, func(t *testing.T) {
			p := &policy{err: answer}
			store := storeOf(t, false, p, written(s))
			_, err := store.Look(t.Context(), s, Blank(s, "desk-credentials"))
			require.ErrorIs(t, err, answer, "about the policy")
			store.Policy.seen.Store(true)
			_, err = store.Look(t.Context(), s, Blank(s, "desk-credentials"))
			require.ErrorIs(t, err, answer, "about the Secret")
		})
	}
}

// A replacement changes exactly what was looked at, or nothing.
func TestReplace(t *testing.T) {
	s := fixture.Session()
	store := storeOf(t, true, &policy{}, written(s))
	found := read(t, store)
	fresh := New(s, name, corev1.SecretTypeBasicAuth, map[string][]byte{"password": []byte("new")})
	require.NoError(t, store.Replace(t.Context(), VersionOf(found), fresh))
	require.Equal(t, map[string][]byte{"password": []byte("new")}, read(t, store).Data)
	require.Empty(t, read(t, store).Annotations, "everything in it changes")
	require.Equal(t, VersionOf(read(t, store)), VersionOf(fresh), "what was written is known")

	late := New(s, name, corev1.SecretTypeBasicAuth, map[string][]byte{"password": []byte("late")})
	require.True(t, apierrors.IsConflict(store.Replace(t.Context(), VersionOf(found), late)))
	require.Equal(t, Version{}, VersionOf(late), "it may have to be made")
	require.Equal(t, map[string][]byte{"password": []byte("new")}, read(t, store).Data)

	store = storeOf(t, true, &policy{err: (&policy{}).refuse("exceeded quota: x")}, written(s))
	requireReason(t, vdi.ReasonQuotaExceeded, store.Replace(t.Context(), VersionOf(found), late))
}

// A Secret goes with its session; a blank one has its type, and nothing secret.
func TestBlank(t *testing.T) {
	s := fixture.Session()
	for name, want := range map[string]struct {
		kind corev1.SecretType
		data map[string][]byte
	}{
		"desk-credentials": {corev1.SecretTypeBasicAuth, map[string][]byte{wire.KeyUsername: []byte(Login)}},
		"desk-turn":        {corev1.SecretTypeOpaque, nil},
	} {
		blank := Blank(s, name)
		require.Equal(t, want.kind, blank.Type)
		require.Equal(t, want.data, blank.Data)
		require.True(t, metav1.IsControlledBy(blank, s))
		require.Equal(t, platform.Identity("alice"), blank.Labels[wire.LabelUser])
		require.Empty(t, blank.Annotations, "only one that is asked for or given back has any")
		require.Equal(t, map[string]string{wire.AnnotationGivenBack: wire.LabelOn}, GivenBack(blank).Annotations)
	}
}
