package homes

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Who has a claim: the cache is believed that somebody has, the API server that nobody does.
func TestUseOf(t *testing.T) {
	other := sessionNamed("other", "v")
	elsewhere := sessionNamed("other", "v")
	elsewhere.Spec.Persistence.ExistingClaim = "another"
	unseen := elsewhere.DeepCopy()
	unseen.Status.ObservedGeneration--
	recorded := elsewhere.DeepCopy()
	recorded.Status.Home = &vdi.HomeStatus{ClaimName: "vdi-data-desk"}
	plain := func(p *corev1.Pod) { p.Labels = nil }
	for name, c := range map[string]struct {
		session      *vdi.VDISession
		holder       string
		cached, live []client.Object
		use          string // "pod", "own", "holder"; "": nobody
		lists        int    // looks at pods of the API server
	}{
		"nobody":                           {fixture.Session(), "", nil, nil, "", 0},
		"a desktop in the cache":           {fixture.Session(), "", []client.Object{desktopOf(other)}, nil, "pod", 0},
		"its own desktop in the cache":     {fixture.Session(), "", []client.Object{desktopOf(fixture.Session())}, nil, "", 0},
		"a pod that is not watched":        {fixture.Session(), "", nil, []client.Object{desktopOf(other, plain)}, "", 0},
		"that one is waited for":           {waiting(), "", nil, []client.Object{desktopOf(other, plain)}, "pod", 1},
		"it has gone":                      {waiting(), "", []client.Object{desktopOf(other)}, nil, "", 1},
		"its own was found while it waits": {waiting(), "", nil, []client.Object{desktopOf(fixture.Session())}, "own", 1},
		"it holds it from an earlier try":  {fixture.Session(), "u/7", nil, nil, "", 0},
		"another holds it":                 {fixture.Session(), "v/1", []client.Object{other}, nil, "holder", 0},
		"another that the cache misses":    {fixture.Session(), "v/1", nil, []client.Object{other}, "holder", 0},
		"the holder is gone":               {fixture.Session(), "v/1", nil, nil, "", 0},
		"the holder was made anew":         {fixture.Session(), "former/1", nil, []client.Object{other}, "", 0},
		"the holder uses another home":     {fixture.Session(), "v/1", nil, []client.Object{elsewhere}, "", 0},
		"its last wish is not looked at":   {fixture.Session(), "v/1", nil, []client.Object{unseen}, "holder", 0},
		"its status names the home":        {fixture.Session(), "v/1", nil, []client.Object{recorded}, "holder", 0},
	} {
		t.Run(name, func(t *testing.T) {
			claim := aHome()
			if c.holder != "" {
				claim = aHome(heldAs(c.holder))
			}
			w := newCluster(t, append(c.live, claim.DeepCopy())...).caches(c.cached...)
			use, err := w.UseOf(t.Context(), c.session, claim)
			require.NoError(t, err)
			require.Equal(t, map[string]bool{"pod": c.use == "pod", "own": c.use == "own", "holder": c.use == "holder"},
				map[string]bool{"pod": use.Pod != nil, "own": use.Own != nil, "holder": use.Holder != nil})
			require.False(t, use.Held)
			require.Equal(t, c.lists, w.lists)
			require.Zero(t, w.patches, "a look writes nothing")
			if err := use.Verdict(c.session, claim); c.use == "pod" || c.use == "holder" {
				requireReason(t, vdi.ReasonHomeInUse, err)
			} else {
				require.NoError(t, err)
			}
		})
	}
}

// While nobody knows who has the claim, nobody has leave to start on it.
func TestUseUnknown(t *testing.T) {
	for name, c := range map[string]struct {
		session *vdi.VDISession
		holder  string
	}{
		"its pods":   {waiting(), ""},
		"its holder": {fixture.Session(), "v/1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newCluster(t)
			w.silent = errDown
			_, err := w.UseOf(t.Context(), c.session, aHome(heldAs(c.holder)))
			require.ErrorIs(t, err, errDown)
		})
	}
}

// Pages of pods are read until another's is found, also behind the session's own.
func TestPodsOnPages(t *testing.T) {
	s := fixture.Session()
	scratch := func(p *corev1.Pod) { p.Spec.Volumes = nil }
	own, stranger, other := desktopOf(s), desktopOf(sessionNamed("stranger", "x"), scratch), desktopOf(sessionNamed("other", "v"))
	for name, c := range map[string]struct {
		pages      []*corev1.Pod
		other, own bool
		asked      int
	}{
		"none":                   {[]*corev1.Pod{stranger, stranger}, false, false, 2},
		"on the last":            {[]*corev1.Pod{stranger, stranger, other}, true, false, 3},
		"on the first":           {[]*corev1.Pod{other, stranger, own}, true, false, 1},
		"its own and another's":  {[]*corev1.Pod{own, stranger, other}, true, true, 3},
		"its own on the first":   {[]*corev1.Pod{own, stranger}, false, true, 2},
		"without a home on them": {[]*corev1.Pod{stranger}, false, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			pages := &paged{pods: c.pages}
			found, mine, err := Users{Live: pages}.PodsOn(t.Context(), s, aHome())
			require.NoError(t, err)
			require.Equal(t, []bool{c.other, c.own}, []bool{found != nil, mine != nil})
			require.Equal(t, c.asked, pages.asked)
			require.Equal(t, int64(podsPerPage), pages.limit)
		})
	}
}

// A verdict names who has the home, and is looked at again where nobody reports the end.
func TestHeldByVerdict(t *testing.T) {
	err := Use{Holder: sessionNamed("other", "v")}.Verdict(fixture.Session(), aHome())
	requireReason(t, vdi.ReasonHomeInUse, err)
	require.ErrorContains(t, err, `desktop "other"`)
	stranger := desktopOf(sessionNamed("job", "x"), func(p *corev1.Pod) { p.Labels = map[string]string{wire.LabelName: wire.NameSession} })
	err = Use{Pod: stranger}.Verdict(fixture.Session(), aHome())
	requireReason(t, vdi.ReasonHomeInUse, err)
	require.ErrorContains(t, err, `pod "job", which is no desktop of this platform`)
}

// waiting is a session that has found its home in use.
func waiting() *vdi.VDISession {
	s := fixture.Session()
	s.Status.Conditions = []metav1.Condition{{Type: vdi.ConditionHomeReady, Status: metav1.ConditionFalse, Reason: vdi.ReasonHomeInUse}}
	return s
}
