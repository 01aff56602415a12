package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gruntwork-io/terratest/modules/k8s"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/tests/install"
)

// The promise itself: a session becomes a desktop at a URL that asks for a login.
func TestTwoPeopleGetTwoDesktops(t *testing.T) {
	alice, bob := session("alice", "alice@example.com", "plain-desktop"), session("bob", "bob@example.com", "plain-desktop")
	start(t, alice)
	start(t, bob)
	alice, bob = await(t, alice, install.Running), await(t, bob, install.Running)
	require.NotEqual(t, alice.Status.URL, bob.Status.URL)

	for _, one := range []struct{ own, other *vdi.VDISession }{{alice, bob}, {bob, alice}} {
		user, password, err := platform.Credentials(t.Context(), one.own)
		require.NoError(t, err)
		assert.Equal(t, http.StatusUnauthorized, get(t, one.own.Status.URL, "", "").Code, "without credentials")
		answer := get(t, one.own.Status.URL, user, password)
		assert.Equal(t, http.StatusOK, answer.Code, "with the owner's credentials")
		assert.Contains(t, strings.ToLower(answer.Body), "selkies", "the desktop's page")
		assert.Equal(t, "*."+install.Domain, answer.Host, "the wildcard certificate")
		assert.Equal(t, http.StatusUnauthorized, get(t, one.other.Status.URL, user, password).Code, "at somebody else's desktop")
	}
	whatPeopleSee(t)
}

// whatPeopleSee reads the lists, stories and figures as their readers do.
func whatPeopleSee(t *testing.T) {
	t.Helper()
	list := kubectl(t, "get", "vdi", "-n", install.Sessions)
	assert.Regexp(t, `NAME\s+USER\s+PHASE\s+URL\s+TEMPLATE\s+EXPIRES\s+AGE`, list)
	assert.Regexp(t, `alice\s+alice@example.com\s+Running\s+https://alice-[a-z0-9]+\.vdi\.localhost:8443/?\s+plain-desktop\s+20`, list)
	t.Logf("kubectl get vdi\n%s", list)

	story := kubectl(t, "describe", "vdi", "alice", "-n", install.Sessions)
	for _, word := range []string{"Phase:", "Running", "The desktop has a node", "The desktop is ready at"} {
		assert.Contains(t, story, word)
	}
	t.Logf("kubectl describe vdi alice\n%s", story)

	var figures string
	require.EventuallyWithT(t, func(c *assert.CollectT) { // counted in the operator's own cache
		var err error
		figures, err = tryKubectl(t, "get", "--raw", "/api/v1/namespaces/"+install.Namespace+"/services/vdi-operator:metrics/proxy/metrics")
		assert.NoError(c, err)
		assert.Contains(c, figures, `vdi_sessions_total{phase="Running"} 2`)
	}, patience, time.Second)
	assert.NotContains(t, figures, "example.com", "no user in a label")
}

// The URL dies with the session.
func TestDeletedSessionHasNoURL(t *testing.T) {
	s := scratch("gone", "gone@example.com", "page")
	start(t, s)
	s = await(t, s, install.Running)
	assert.Equal(t, http.StatusUnauthorized, get(t, s.Status.URL, "", "").Code, "it asks for a login")
	user, password, err := platform.Credentials(t.Context(), s)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, get(t, s.Status.URL, user, password).Code)
	finish(t, s)
	soon(t, http.StatusUnauthorized, s.Status.URL, user, password, "the front door knows of no desktop there, nor of a password")
}

// A home is its user's: it survives the session, and nobody else ever gets it.
func TestHomeSurvivesAndIsPrivate(t *testing.T) {
	first := session("studio", "carol@example.com", "plain-desktop")
	start(t, first)
	await(t, first, install.Running)
	inDesktop(t, first, "echo precious > ~/work.txt")
	finish(t, first)

	again := session("studio", "carol@example.com", "plain-desktop")
	start(t, again)
	await(t, again, install.Running)
	assert.Equal(t, "precious", inDesktop(t, again, "cat ~/work.txt"))
	finish(t, again)

	thief := session("studio", "mallory@example.com", "plain-desktop")
	start(t, thief)
	refused := await(t, thief, func(s *vdi.VDISession) bool { return s.Status.Phase == vdi.PhaseFailed })
	assert.Contains(t, refused.Status.Message, "belongs to another user")
	assert.Empty(t, refused.Status.PodName)
}

// A suspended desktop costs no GPU and loses nothing: same URL, same files, but a
// fresh password.
func TestSuspendAndResume(t *testing.T) {
	s := session("break", "dave@example.com", "plain-desktop")
	start(t, s)
	first := await(t, s, install.Running)
	user, password, err := platform.Credentials(t.Context(), first)
	require.NoError(t, err)
	inDesktop(t, s, "echo unfinished > ~/draft.txt")

	setRunPolicy(t, s, vdi.RunPolicySuspended)
	paused := await(t, s, suspended)
	assert.Equal(t, vdi.StopUser, paused.Status.StopReason)
	soon(t, http.StatusServiceUnavailable, first.Status.URL, user, password, "no desktop answers")

	setRunPolicy(t, s, vdi.RunPolicyRunning)
	again := await(t, s, install.Running)
	assert.Equal(t, first.Status.URL, again.Status.URL)
	assert.Equal(t, "unfinished", inDesktop(t, s, "cat ~/draft.txt"))
	assert.Equal(t, http.StatusUnauthorized, get(t, again.Status.URL, user, password).Code, "the old password")
	_, fresh, err := platform.Credentials(t.Context(), again)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, get(t, again.Status.URL, user, fresh).Code, "the new one")
}

func suspended(s *vdi.VDISession) bool { return s.Status.Phase == vdi.PhaseSuspended }

// setRunPolicy turns the wish as a person would.
func setRunPolicy(t *testing.T, s *vdi.VDISession, policy vdi.RunPolicy) {
	t.Helper()
	kubectl(t, "patch", "vdi", s.Name, "-n", s.Namespace, "--type", "merge", "-p", `{"spec":{"runPolicy":"`+string(policy)+`"}}`)
}

// inDesktop runs a command in the desktop's container and returns what it printed.
func inDesktop(t *testing.T, s *vdi.VDISession, command string) string {
	t.Helper()
	return k8s.ExecPodContext(t, t.Context(), in(s.Namespace), s.Name, "selkies", "sh", "-c", command)
}

func get(t *testing.T, page, user, password string) install.Answer {
	t.Helper()
	answer, err := platform.Get(t.Context(), page, platform.ProxyOnNode(), user, password)
	require.NoError(t, err)
	return answer
}

// soon waits for the answer that a page gives once the proxy has seen what
// happened: until then it answers 502 for a pod that is gone.
func soon(t *testing.T, code int, page, user, password, because string) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		answer, err := platform.Get(t.Context(), page, platform.ProxyOnNode(), user, password)
		require.NoError(c, err)
		assert.Equal(c, code, answer.Code)
	}, patience, time.Second, because)
}
