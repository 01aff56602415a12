package homes

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes/kept"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Before a start a session becomes the holder by one write, and what the API server knows on
// the claim then decides.
func TestHoldClaim(t *testing.T) {
	s, former, ended := fixture.Session(), fixture.Session(), func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }
	former.UID = "former"
	elsewhere := func(p *corev1.Pod) { p.Namespace = "elsewhere" }
	plain := func(p *corev1.Pod) { p.Labels = nil }
	homeless := func(p *corev1.Pod) { p.Spec.Volumes = nil }
	for name, c := range map[string]struct {
		claim  *corev1.PersistentVolumeClaim
		pod    *corev1.Pod // on the API server
		holder string      // afterwards
		own    bool
		reason string
		retry  bool // nobody reports when the pod ends
	}{
		"free":                          {aHome(), nil, "u/1", false, "", false},
		"its own earlier start":         {aHome(heldAs("u/7")), nil, "u/8", false, "", false},
		"the holder is gone":            {aHome(heldAs("gone/7")), nil, "u/1", false, "", false},
		"it was left":                   {aHome(left(day)), nil, "u/1", false, "", false},
		"its own desktop":               {aHome(), desktopOf(s), "u/1", true, "", false},
		"its own, without labels":       {aHome(), desktopOf(s, plain), "u/1", true, "", false},
		"another desktop":               {aHome(), desktopOf(sessionNamed("other", "v")), "", false, vdi.ReasonHomeInUse, false},
		"another desktop, and left":     {aHome(left(day)), desktopOf(sessionNamed("other", "v")), "", false, vdi.ReasonHomeInUse, false},
		"somebody's pod":                {aHome(), desktopOf(sessionNamed("other", "v"), plain), "", false, vdi.ReasonHomeInUse, true},
		"the former session's desktop":  {aHome(), desktopOf(former), "", false, vdi.ReasonWaiting, true},
		"another one that has ended":    {aHome(), desktopOf(sessionNamed("other", "v"), ended), "u/1", false, "", false},
		"another one without the home":  {aHome(), desktopOf(sessionNamed("other", "v"), homeless), "u/1", false, "", false},
		"one in another namespace":      {aHome(), desktopOf(sessionNamed("other", "v"), elsewhere), "u/1", false, "", false},
		"another one, and held already": {aHome(heldAs("u/7")), desktopOf(sessionNamed("other", "v")), "", false, vdi.ReasonHomeInUse, false},
	} {
		t.Run(name, func(t *testing.T) {
			there := []client.Object{c.claim.DeepCopy()}
			if c.pod != nil {
				there = append(there, c.pod)
			}
			w := newCluster(t, there...)
			w.Known.LetGo(s, "vdi-data-desk", "u/7")
			claim := w.home(t)
			own, refusal := w.Hold(t.Context(), s, claim)
			requireReason(t, c.reason, refusal)
			require.Equal(t, c.own, own != nil)

			now := w.home(t)
			require.Equal(t, c.holder, now.Annotations[wire.AnnotationHolder])
			require.Equal(t, now.ResourceVersion, claim.ResourceVersion, "what was written is known")
			require.False(t, kept.Left(now), "the mark is taken back by the same write")
			require.NotContains(t, now.Annotations, wire.AnnotationRetainFor)
			use, err := w.UseOf(t.Context(), s, claim)
			require.NoError(t, err)
			require.Equal(t, c.reason == "" && !c.own, use.Held, "only a start that goes on is remembered")
			if c.reason == "" {
				require.Equal(t, 1, w.patches)
				require.Empty(t, w.freed)
				require.Empty(t, w.Known.Released(s), "it has let go of nothing")
				return
			}
			require.Equal(t, 2, w.patches, "held and released")
			require.Len(t, w.freed, 1, "who waits is woken")
			require.Equal(t, map[string]string{"vdi-data-desk": w.freed[0]}, w.Known.Released(s))
			var v *verdict.Verdict
			require.ErrorAs(t, refusal, &v)
			require.Equal(t, c.retry, v.Retry > 0)
		})
	}
}

// Of two sessions that see the same claim, one becomes its holder.
func TestTwoHold(t *testing.T) {
	for name, c := range map[string]struct{ first, second *vdi.VDISession }{
		"two sessions":              {fixture.Session(), sessionNamed("other", "v")},
		"two operators for the one": {fixture.Session(), fixture.Session()},
	} {
		t.Run(name, func(t *testing.T) {
			w := newCluster(t, aHome(heldAs("u/7")))
			seen, late := w.home(t), w.home(t)
			_, err := w.Hold(t.Context(), c.first, seen)
			require.NoError(t, err)
			_, err = w.Hold(t.Context(), c.second, late)
			require.True(t, apierrors.IsConflict(err), "got %v", err)
			require.False(t, errors.As(err, new(*verdict.Verdict)), "it passes by itself")
			require.Equal(t, "u/8", w.home(t).Annotations[wire.AnnotationHolder])
		})
	}
}

// What the cluster does not want, or does not answer to, changes no claim and starts nothing.
func TestHoldRefused(t *testing.T) {
	s := fixture.Session()
	for name, c := range map[string]struct {
		answer error
		reason string // "": the answer itself
	}{
		"a policy":  {errDenied, vdi.ReasonDenied},
		"no answer": {errDown, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newCluster(t, aHome(left(day)))
			before, claim := w.home(t), w.home(t)
			w.answer = c.answer
			_, err := w.Hold(t.Context(), s, claim)
			if c.reason == "" {
				require.ErrorIs(t, err, c.answer)
			} else {
				requireReason(t, c.reason, err)
			}
			require.Equal(t, before, w.home(t))
			require.Equal(t, before, claim, "also what is known of it")
			require.Zero(t, w.lists, "nobody is asked about pods")
			use, err := w.UseOf(t.Context(), s, before)
			require.NoError(t, err)
			require.False(t, use.Held)
		})
	}
	w := newCluster(t, aHome())
	w.silent = errDown
	claim := w.home(t)
	_, err := w.Hold(t.Context(), s, claim)
	require.ErrorIs(t, err, errDown)
	require.False(t, w.Known.holds(s, claim), "nobody knows which pods are on it")
}

// Of a claim that the operator did not make nothing is changed but its holder.
func TestHoldLeavesOthersMarks(t *testing.T) {
	claim := aHome(left(day), labelled(wire.LabelHomeFor, "identity"))
	w := newCluster(t, claim.DeepCopy())
	_, err := w.Hold(t.Context(), fixture.Session(), w.home(t))
	require.NoError(t, err)
	now := w.home(t)
	require.Equal(t, claim.Labels, now.Labels)
	require.Equal(t, "u/1", now.Annotations[wire.AnnotationHolder])
	require.Equal(t, claim.Annotations, withoutHolder(now))
}

// A home is made with its holder in it, where its desktop starts.
func TestMake(t *testing.T) {
	s := fixture.Session()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(aHome())
	require.NoError(t, err)
	for holder, held := range map[string]bool{"u/1": true, "": false} {
		w := newCluster(t)
		w.Known.LetGo(s, "vdi-data-desk", "u/7")
		rendered := &unstructured.Unstructured{Object: content}
		rendered.SetAPIVersion("v1")
		rendered.SetKind(wire.KindPersistentVolumeClaim)
		claim, err := w.Make(t.Context(), s, rendered, held)
		require.NoError(t, err)
		require.Equal(t, holder, w.home(t).Annotations[wire.AnnotationHolder])
		require.Equal(t, w.home(t).ObjectMeta, claim.ObjectMeta)
		require.NotContains(t, rendered.GetAnnotations(), wire.AnnotationHolder, "what was rendered stays")
		require.Equal(t, held, len(w.Known.Released(s)) == 0)
		_, err = w.Make(t.Context(), s, rendered, held)
		require.True(t, apierrors.IsAlreadyExists(err), "got %v", err)
	}
}

// Grow changes the request alone, and returns the claim as it is then.
func TestGrow(t *testing.T) {
	w, size := newCluster(t, aHome(heldAs("u/7"), left(day))), resource.MustParse("20Gi")
	before := w.home(t)
	grown, err := w.Grow(t.Context(), before, size)
	require.NoError(t, err)
	require.Equal(t, w.home(t), grown)
	want := before.DeepCopy()
	want.Spec.Resources.Requests, want.ResourceVersion = corev1.ResourceList{corev1.ResourceStorage: size}, grown.ResourceVersion
	require.Equal(t, want, grown)
	require.Empty(t, before.Spec.Resources.Requests, "what was looked at stays")

	w.answer = errDenied
	_, err = w.Grow(t.Context(), grown, resource.MustParse("40Gi"))
	require.ErrorIs(t, err, errDenied)
	require.Equal(t, grown, w.home(t))
}

// What is not there is no error, and what cannot be read is not taken for gone.
func TestRead(t *testing.T) {
	claim, err := newCluster(t).Read(t.Context(), "ns", "vdi-data-desk")
	require.NoError(t, err)
	require.Nil(t, claim)

	w := newCluster(t, aHome())
	w.Objects.Live = interceptor.NewClient(w.client.(client.WithWatch), interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return errDown
		},
	})
	_, err = w.Read(t.Context(), "ns", "vdi-data-desk")
	require.ErrorIs(t, err, errDown)
}
