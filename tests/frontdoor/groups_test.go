package frontdoor

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/oidc"
)

// resumes presses the button on the page of Alice's desktop, and returns the groups that
// are written with it.
func (b *browser) resumes() []string {
	b.w.t.Helper()
	b.w.suspend(aliceHost)
	page := b.w.enter(b)
	text(b.w.t, b.do(http.MethodPost, aliceURL+"/.vdi/resume", formOf(b.w.t, page), "Origin", aliceURL, "Sec-Fetch-Site", "same-origin"))
	b.w.known.mu.Lock()
	defer b.w.known.mu.Unlock()
	return b.w.known.resumed
}

// A resume brings the groups that the person had at the login, wherever the provider says
// so, and none where it names none.
func TestResumeBringsTheGroupsOfTheLogin(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	for _, as := range []oidc.Person{{}, {EmailInToken: true}, {GroupsInToken: true}, {EmailInToken: true, GroupsInToken: true, NoUserInfo: true}} {
		as.Email, as.Groups = alice, []string{"team", "/artists", "system:masters"}
		w.provider.Replace(as)
		b := w.browser()
		assert.Equal(t, []string{"/artists", "team"}, b.resumes(), "%+v", as)

		as.Groups = []string{"team"}
		w.provider.Replace(as)
		assert.Equal(t, []string{"/artists", "team"}, b.resumes(), "the same login")
		assert.Equal(t, []string{"team"}, w.browser().resumes(), "another login")
	}
	for _, as := range []oidc.Person{{Email: alice}, {Email: alice, EmailInToken: true}} {
		w.provider.Replace(as)
		assert.Equal(t, []string{}, w.browser().resumes(), "the provider names none")
	}
	assert.NotContains(t, w.log.String(), "the groups of a login")
}

// Where the provider does not answer which groups somebody is in, they log in all the same,
// and the groups of their sessions stay.
func TestProviderDoesNotSayTheGroups(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	w.provider.Replace(oidc.Person{Email: alice, EmailInToken: true, NoUserInfo: true, Groups: []string{"team"}})
	assert.Nil(t, w.browser().resumes())
	assert.Contains(t, w.log.String(), `the ID token has no claim \"groups\"`)
}

// By the password of a session nobody says which groups they are in: those that it has stay.
func TestPasswordsBringNoGroups(t *testing.T) {
	w := newWorld(t, wire.AccessPassword)
	assert.Nil(t, w.browser().resumes())
}

// Who is in very many groups logs in all the same. Which of them count would be chance, so
// none does, and the log says what to set; then they fit.
func TestManyGroups(t *testing.T) {
	var many []string
	for i := range 200 {
		many = append(many, platform.Identity(fmt.Sprint(i))+platform.Identity(fmt.Sprint("-", i)))
	}
	for _, only := range [][]string{nil, many[7:9]} {
		w := newWorld(t, wire.AccessOIDC, func(w *world, _ *platform.Sessions) { w.groups = only })
		w.provider.Replace(oidc.Person{Email: alice, Groups: many})
		b := w.browser()
		got := b.resumes()
		require.NotEmpty(t, b.cookie(aliceURL, "__Host-vdi"))
		if only == nil {
			assert.Equal(t, []string{}, got)
			assert.Contains(t, w.log.String(), "access.oidc.onlyGroups")
		} else {
			assert.ElementsMatch(t, only, got)
			assert.NotContains(t, w.log.String(), "access.oidc.onlyGroups")
		}
		assert.NotContains(t, w.log.String(), alice)
		assert.NotContains(t, w.log.String(), many[7])
	}
}

// A desktop that does not start because its template is for others has the button on its
// page, for those whose groups have changed since; not where none are known.
func TestPageOfATemplateForOthers(t *testing.T) {
	modes(t, func(t *testing.T, w *world) {
		w.known.edit(aliceHost, func(s *vdi.VDISession) {
			s.Status.Phase, s.Spec.RunPolicy, s.Status.Message = vdi.PhaseFailed, vdi.RunPolicyRunning, "It is for artists"
			s.Status.Conditions = []metav1.Condition{{Type: vdi.ConditionAccepted, Status: metav1.ConditionFalse, Reason: vdi.ReasonTemplateNotAllowed}}
		})
		page := w.enter(w.browser())
		assert.Contains(t, page, "It is for artists")
		assert.Equal(t, w.provider != nil, strings.Contains(page, "If your groups have changed since, log out, log in again and resume it"))
		assert.Equal(t, w.provider != nil, strings.Contains(page, "/.vdi/resume"))
	})
}
