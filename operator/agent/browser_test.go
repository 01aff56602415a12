package agent

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Browsers come by TLS alone, whatever the desktop says.
func TestStrictTransport(t *testing.T) {
	w := newWorld(t, nil)
	w.desktop.handle = func(answer http.ResponseWriter, _ *http.Request) {
		answer.Header().Set("Strict-Transport-Security", "max-age=0; includeSubDomains")
		_, _ = io.WriteString(answer, "the desktop's page")
	}
	login := map[string]string{"Cookie": w.login()}
	for name, a := range map[string]answer{
		"the desktop's":   w.ask(http.MethodGet, "/", login, ""),
		"the login page":  w.ask(http.MethodGet, "/", map[string]string{"Accept": acceptHTML}, ""),
		"to a program":    w.ask(http.MethodGet, "/", nil, ""),
		"another host's":  w.ask(http.MethodGet, "/", map[string]string{"Host": "bob.vdi.example.com"}, ""),
		"after a logout":  w.post(wire.PathLogout, login, nil),
		"of another site": w.ask(http.MethodGet, "/", map[string]string{"Sec-Fetch-Site": "cross-site"}, ""),
	} {
		assert.Equal(t, []string{"max-age=15552000"}, a.Header["Strict-Transport-Security"], name)
	}
}

// A logout takes from the browser what the desktop's page has left there, and nothing
// else does.
func TestLogoutClearsStorage(t *testing.T) {
	w := newWorld(t, nil)
	login := map[string]string{"Cookie": w.login()}
	assert.Empty(t, w.ask(http.MethodGet, "/", login, "").Header.Get(httpserver.HeaderClearSiteData))
	assert.Empty(t, w.ask(http.MethodGet, wire.PathLogout, login, "").Header.Get(httpserver.HeaderClearSiteData))
	forged := map[string]string{"Cookie": login["Cookie"], "Origin": "https://bob.vdi.example.com"}
	assert.Empty(t, w.ask(http.MethodPost, wire.PathLogout, forged, "").Header.Get(httpserver.HeaderClearSiteData))
	assert.Equal(t, `"storage"`, w.post(wire.PathLogout, login, nil).Header.Get(httpserver.HeaderClearSiteData))
}

// Selkies' page has no service worker, so none comes from its desktop. Other streamers
// may have one.
func TestServiceWorkers(t *testing.T) {
	listed, other := newListedWorld(t, vdi.FileTransferBoth), newWorld(t, nil)
	for name, header := range map[string][2]string{"every browser": {"Service-Worker", "script"}, "a current one": {"Sec-Fetch-Dest", "serviceworker"}} {
		ask := func(w *world, path string) int {
			return w.ask(http.MethodGet, path, map[string]string{"Cookie": w.login(), header[0]: header[1]}, "").StatusCode
		}
		assert.Equal(t, http.StatusForbidden, ask(listed, "/sw.js"), name)
		assert.Equal(t, http.StatusForbidden, ask(listed, "/api/files/sw.js"), name)
		assert.Equal(t, http.StatusOK, ask(other, "/sw.js"), name)
	}
	assert.Zero(t, listed.desktop.requests())
}
