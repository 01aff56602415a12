package homes

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes/kept"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// leaving is a claim that is being deleted.
func leaving(c *corev1.PersistentVolumeClaim) {
	c.DeletionTimestamp, c.Finalizers = fixture.At(fixture.Noon), []string{"kubernetes.io/pvc-protection"}
}

// A session frees its own claims alone, and those alone that somebody may wait for.
func TestReleaseClaim(t *testing.T) {
	s := fixture.Session()
	for name, c := range map[string]struct {
		claim   *corev1.PersistentVolumeClaim
		patches int
		holder  string
	}{
		"its own":          {aHome(heldAs("u/7")), 1, ""},
		"its own, left":    {aHome(heldAs("u/7"), left(day)), 1, ""},
		"free":             {aHome(), 0, ""},
		"another's":        {aHome(heldAs("v/1")), 0, "v/1"},
		"it leaves":        {aHome(heldAs("u/7"), leaving), 0, "u/7"},
		"nobody can read":  {aHome(heldAs("/7")), 0, "/7"},
		"begins like ours": {aHome(heldAs("ux/7")), 0, "ux/7"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newCluster(t, c.claim.DeepCopy())
			require.NoError(t, w.Release(t.Context(), s, w.home(t)))
			require.Equal(t, c.patches, w.patches)
			require.Equal(t, c.holder, w.home(t).Annotations[wire.AnnotationHolder])
			require.Equal(t, kept.Left(c.claim), kept.Left(w.home(t)), "nothing else changes")
			require.Len(t, w.freed, c.patches)
			require.Len(t, w.Known.Released(s), c.patches)
		})
	}
	require.NoError(t, newCluster(t).Release(t.Context(), s, nil))
}

// The same write marks a home and releases it.
func TestLeaveClaim(t *testing.T) {
	s := fixture.Session()
	s.Spec.DisplayName = "Thesis"
	for name, c := range map[string]struct {
		claim  *corev1.PersistentVolumeClaim
		keep   time.Duration
		holder string // afterwards
	}{
		"held":                  {aHome(heldAs("u/7")), day, ""},
		"held, for ever":        {aHome(heldAs("u/7")), 0, ""},
		"free":                  {aHome(), day, ""},
		"held by another":       {aHome(heldAs("v/1")), day, "v/1"},
		"left before, for less": {aHome(heldAs("u/7"), left(hour), warned(0)), day, ""},
		"left before, no end":   {aHome(heldAs("u/7"), left(hour), warned(0)), 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newCluster(t, c.claim)
			claim := w.home(t)
			require.NoError(t, w.Leave(t.Context(), s, claim, noon, c.keep))
			require.Equal(t, 1, w.patches)
			now := w.home(t)
			require.Equal(t, claim, now, "what was written is known")
			require.Equal(t, c.holder, now.Annotations[wire.AnnotationHolder])
			require.Equal(t, HolderOf(c.claim) == s.UID, len(w.freed) > 0, "who waits is woken when it is free")
			require.True(t, kept.Left(now))
			require.Equal(t, "Thesis", now.Annotations[wire.AnnotationDisplayName], "its owner knows it again")
			limit, limited := kept.MarkOf(now)
			require.Equal(t, c.keep > 0, limited, "0 is for ever")
			if limited {
				require.Equal(t, kept.Mark{Since: noon, For: c.keep}, limit)
			}
		})
	}
}

// Where the mark is refused, the claim is as it was; what is gone needs none.
func TestReleasesRefused(t *testing.T) {
	gone := apierrors.NewNotFound(schema.GroupResource{Resource: "persistentvolumeclaims"}, "vdi-data-desk")
	for name, c := range map[string]struct {
		answer error
		want   error
	}{
		"a policy":  {errDenied, errDenied},
		"no answer": {errDown, errDown},
		"gone":      {gone, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, w := fixture.Session(), newCluster(t, aHome(heldAs("u/7"), left(hour)))
			before, claim := w.home(t), w.home(t)
			w.answer = c.answer
			require.ErrorIs(t, w.Leave(t.Context(), s, claim, noon.Add(hour), day), c.want)
			if c.answer == error(errDenied) {
				require.Equal(t, before, claim)
			}
			require.ErrorIs(t, w.Release(t.Context(), s, w.home(t)), c.want)
			require.Equal(t, before, w.home(t))
			require.Empty(t, w.freed)
			require.Empty(t, w.Known.Released(s), "what was not written is written again")
		})
	}
	w := newCluster(t, aHome(heldAs("u/7")))
	late := w.home(t)
	require.NoError(t, w.Release(t.Context(), fixture.Session(), w.home(t)))
	require.True(t, apierrors.IsConflict(w.Leave(t.Context(), fixture.Session(), late, noon, day)))
	require.False(t, kept.Left(w.home(t)))
}

// A home that was left is taken back by whoever has it again, if the operator made it.
func TestTakeBack(t *testing.T) {
	scratch, off := fixture.Session(), false
	scratch.Spec.Persistence.Enabled = &off
	for name, c := range map[string]struct {
		session *vdi.VDISession
		claim   *corev1.PersistentVolumeClaim
		taken   bool
	}{
		"its own":               {fixture.Session(), aHome(left(day), warned(hour)), true},
		"named by another":      {sessionNamed("other", "v"), aHome(left(day)), true},
		"another session's":     {func() *vdi.VDISession { s := fixture.Session(); s.Name = "x"; return s }(), aHome(left(day)), false},
		"another person's":      {func() *vdi.VDISession { s := fixture.Session(); s.Spec.User = "mallory"; return s }(), aHome(left(day)), false},
		"it keeps no home":      {scratch, aHome(left(day)), false},
		"never left":            {fixture.Session(), aHome(), false},
		"made by somebody else": {fixture.Session(), aHome(left(day), labelled(wire.LabelManagedBy, "helm")), false},
		"vouched for":           {fixture.Session(), aHome(left(day), labelled(wire.LabelHomeFor, "x")), false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newCluster(t, c.claim.DeepCopy())
			require.NoError(t, w.TakeBack(t.Context(), c.session, w.home(t)))
			now := w.home(t)
			if !c.taken {
				require.Zero(t, w.patches)
				require.Equal(t, c.claim.ObjectMeta.Annotations, now.Annotations)
				return
			}
			require.Equal(t, 1, w.patches)
			require.Equal(t, aHome().Labels, now.Labels)
			require.Equal(t, aHome().Annotations, now.Annotations)
		})
	}
}

// What is remembered is of one session, one claim and one hold.
func TestKnown(t *testing.T) {
	s, other, k := fixture.Session(), sessionNamed("other", "v"), &Known{}
	claim := aHome(heldAs("u/1"))
	k.holding.remember(s, claim)
	renewed := fixture.Session()
	renewed.UID = "renewed"
	replaced := aHome(heldAs("u/1"))
	replaced.UID = "replaced"
	require.True(t, k.holds(s, claim))
	require.False(t, k.holds(other, claim))
	require.False(t, k.holds(renewed, claim), "a session of the same name")
	require.False(t, k.holds(s, replaced), "a claim of the same name")
	require.False(t, k.holds(s, aHome(heldAs("u/2"))), "a later hold")
	require.False(t, k.holds(s, aHome()), "released by somebody else")
	k.Started(other)
	require.True(t, k.holds(s, claim))
	k.Started(s)
	require.False(t, k.holds(s, claim))

	require.Empty(t, k.Released(s))
	k.LetGo(s, "first", "u/1")
	first := k.Released(s)
	k.LetGo(s, "second", "")
	require.Equal(t, map[string]string{"first": "u/1", "second": ""}, k.Released(s))
	require.Equal(t, map[string]string{"first": "u/1"}, first, "what was handed out does not change")
	require.Empty(t, k.Released(other))
	k.holding.remember(s, claim)
	k.Forget(client.ObjectKeyFromObject(s))
	require.False(t, k.holds(s, claim))
	require.Empty(t, k.Released(s))
}
