package contract

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/vdi-platform/vdi-platform/tests/validate/judge"
)

// TestSecrets: a log that cannot be read is not judged, and never passed.
func TestSecrets(t *testing.T) {
	header := base64.StdEncoding.EncodeToString([]byte("check:of-the-desktop"))
	for name, c := range map[string]struct {
		log  string
		code int
		want judge.State
	}{
		"silent":     {"", http.StatusOK, judge.Passed},
		"harmless":   {"started\n", http.StatusOK, judge.Passed},
		"password":   {"PASSWD=of-the-desktop\n", http.StatusOK, judge.Failed},
		"header":     {"Authorization: Basic " + header + "\n", http.StatusOK, judge.Failed},
		"unreadable": {"", http.StatusInternalServerError, judge.NotJudged},
		"too long":   {strings.Repeat("a", logKept), http.StatusOK, judge.NotJudged},
	} {
		r := logging(t, c.code, c.log)
		require.Equal(t, c.want, r.secrets(t.Context()).State, name)
	}
}

// TestLogShown: what is shown of a log holds no password, not even a part of one where it is cut.
func TestLogShown(t *testing.T) {
	header := base64.StdEncoding.EncodeToString([]byte("check:of-the-desktop"))
	said := "PASSWD=of-the-desktop Basic " + header
	require.Equal(t, "PASSWD=(password) Basic (password)=", logging(t, http.StatusOK, said).log(t.Context(), true))
	cut := logging(t, http.StatusOK, "of-the-desktop"+strings.Repeat("-", logShown-4)).log(t.Context(), false)
	require.NotContains(t, cut, "desktop")
	require.Contains(t, logging(t, http.StatusInternalServerError, "").log(t.Context(), false), "(it cannot be read: ")
	require.Equal(t, "(nothing)", logging(t, http.StatusOK, "").log(t.Context(), false))

	agent := logging(t, http.StatusOK, `{"level":"ERROR","msg":"refused","error":"login of-the-visitor"}`)
	require.Equal(t, "refused: login (password)", agent.redacted(agent.agentSays(t.Context())))
	require.Contains(t, logging(t, http.StatusForbidden, "").agentSays(t.Context()), "its log cannot be read")
}

// logging is a run whose containers' logs are answered so.
func logging(t *testing.T, code int, log string) *run {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = w.Write([]byte(log))
	}))
	t.Cleanup(server.Close)
	kube, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	require.NoError(t, err)
	return &run{kube: kube, namespace: "check", desktop: "of-the-desktop", password: "of-the-visitor"}
}
