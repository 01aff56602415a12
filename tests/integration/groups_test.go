package integration

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor"
)

// edits is a change of the session that is sent to the API server.
func (w *world) edits(patch string) error {
	return w.client.Patch(w.ctx, w.newSession(), client.RawPatch("application/merge-patch+json", []byte(patch)))
}

// TestGroupsStayWhileADesktopRuns: who is in which group counts from the next start, so
// nothing else can be written before. A session of an earlier release is given them once.
func TestGroupsStayWhileADesktopRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.running()
	const words = "spec.groups can be changed only while no desktop runs: set spec.runPolicy to Suspended first"

	require.NoError(t, w.edits(`{"spec":{"groups":["team"]}}`), "it had none")
	w.pass()
	w.requirePhase(vdi.PhaseRunning)
	require.NoError(t, w.edits(`{"spec":{"groups":["team"],"idleTimeout":"1h"}}`), "the same again")
	for _, patch := range []string{
		`{"spec":{"groups":["team","artists"]}}`, `{"spec":{"groups":[]}}`, `{"spec":{"groups":null}}`,
	} {
		require.ErrorContains(t, w.edits(patch), words, patch)
	}

	require.NoError(t, w.edits(`{"spec":{"groups":["others"],"runPolicy":"Suspended"}}`), "with the suspension, as a manifest says both")
	require.NotEmpty(t, w.session().Status.PodName, "the desktop has not stopped yet")
	require.NoError(t, w.edits(`{"spec":{"groups":["artists"]}}`), "and is not to run")
	w.pass()
	w.podEnds(desk)
	w.pass()
	require.NoError(t, w.edits(`{"spec":{"groups":["artists","team"],"runPolicy":"Running"}}`), "with the resume")
	require.NoError(t, w.edits(`{"spec":{"groups":["team","artists"]}}`), "a desktop is asked for and not there yet; the order says nothing")
	w.start()
	require.ErrorContains(t, w.edits(`{"spec":{"groups":["team"]}}`), words)
	require.NoError(t, w.edits(`{"spec":{"groups":["artists","team"]}}`), "the order says nothing")
}

// TestTemplateForSome: a template that names people and groups starts desktops for them
// alone, whoever made the session. Narrowed, it stops nobody; widened, it wakes who waits.
func TestTemplateForSome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate(func(t *vdi.VDITemplate) { t.Spec.Access.Groups = []string{"artists"} })
	w.createSession(func(s *vdi.VDISession) { s.Spec.Groups = []string{"team"} })
	w.pass()
	s := w.requirePhase(vdi.PhaseFailed)
	refused := w.requireCondition(vdi.ConditionAccepted, metav1.ConditionFalse, vdi.ReasonTemplateNotAllowed)
	require.Equal(t, refused.Message, s.Status.Message)
	require.Contains(t, refused.Message, "is for some people only (its spec.access), and neither spec.user nor one of spec.groups is among them")
	require.NotContains(t, refused.Message, "artists", "whom it is for is not everybody's to know")
	require.Empty(t, s.Finalizers, "nothing was made")
	require.False(t, w.homeExists())

	w.change(func(s *vdi.VDISession) { s.Spec.Groups = []string{"team", "artists"} })
	w.start()
	w.changeTemplate(func(t *vdi.VDITemplate) { t.Spec.Access = vdi.TemplateAccess{Users: []string{"bob@example.com"}} })
	w.pass()
	w.requirePhase(vdi.PhaseRunning)
	require.Contains(t, w.requireCondition(vdi.ConditionUpdatePending, metav1.ConditionTrue, vdi.ReasonTemplateNotAllowed).Message,
		"This desktop runs on, but could not start again as things are")
	require.NoError(t, w.client.Delete(w.ctx, w.route()))
	w.pass()
	require.True(t, w.routeExists(), "it is looked after all the same")

	w.suspend()
	w.change(resume)
	w.pass()
	w.requirePhase(vdi.PhaseFailed)
	require.False(t, w.podExists())
	require.Contains(t, w.session().Status.Message, "To reach the files of this session")
	w.changeTemplate(func(t *vdi.VDITemplate) { t.Spec.Access.Users = append(t.Spec.Access.Users, alice) })
	w.start()
}

// TestFrontDoorWritesGroups: a resume there brings the groups of the login, and nothing
// where none are known. Who was refused because of their groups comes back with others.
func TestFrontDoorWritesGroups(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate(func(t *vdi.VDITemplate) { t.Spec.Access.Groups = []string{"artists"} })
	w.createSession(func(s *vdi.VDISession) { s.Spec.RunPolicy, s.Spec.Groups = vdi.RunPolicySuspended, []string{"team"} })
	w.pass()
	changer := frontdoor.NewChanger(w.client)
	resumes := func(groups []string) *vdi.VDISession {
		t.Helper()
		require.NoError(t, changer.Resume(w.ctx, w.session(), groups))
		w.pass()
		return w.session()
	}
	require.Equal(t, []string{"team"}, resumes(nil).Spec.Groups, "nobody knows them")
	w.requirePhase(vdi.PhaseFailed)
	require.Empty(t, resumes([]string{}).Spec.Groups, "they are in none")
	w.requirePhase(vdi.PhaseFailed)
	require.Equal(t, []string{"artists", "team"}, resumes([]string{"artists", "team"}).Spec.Groups)
	w.start()

	version := w.session().ResourceVersion
	require.Equal(t, version, resumes([]string{"team"}).ResourceVersion, "a desktop that runs is left alone")
	w.change(suspend)
	require.NoError(t, changer.Resume(w.ctx, w.session(), []string{"team"}), "pressed before it has stopped")
	require.Equal(t, []string{"team"}, w.session().Spec.Groups, "the groups count all the same")
}
