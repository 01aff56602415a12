//go:build keycloak

package frontdoor

import (
	"archive/zip"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
	"github.com/vdi-platform/vdi-platform/tests/oidc"
)

// keycloakVersion of the provider that is not ours, a download of 170 MB.
const keycloakVersion = "26.7.3"

// keycloak is a running server with one realm.
type keycloak struct {
	t      *testing.T
	base   string
	client *http.Client
}

// TestKeycloak: the front door at a provider that people really use: login, logout on
// both sides, and an account that takes another's name.
func TestKeycloak(t *testing.T) {
	k := startKeycloak(t)
	w := newWorld(t, wire.AccessOIDC, func(w *world, _ *platform.Sessions) { w.issuer = k.base + "/realms/vdi" })
	messages := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		r.Host = "auth." + domain // as the proxy hands it on
		w.replica().Pages().ServeHTTP(out, r)
	}))
	defer messages.Close()
	k.makeRealm(messages.URL + "/backchannel-logout")
	open := func(b *browser) string {
		t.Helper()
		answer := b.get(aliceURL + "/")
		if strings.HasPrefix(answer.Request.URL.String(), k.base) {
			answer = k.submit(b, text(t, answer), url.Values{"username": {"alice"}, "password": {oidc.Password}})
		}
		return text(t, answer)
	}

	b := w.browser()
	assert.Contains(t, open(b), "desktop of "+platform.Identity(alice))
	w.known.done()

	// An administrator ends the account's sessions: the provider says so by itself.
	k.admin(http.MethodPost, "/users/"+k.user("alice")+"/logout", nil, nil)
	require.Eventually(t, func() bool { return b.desktop() == http.StatusUnauthorized }, patience, 50*time.Millisecond, w.log)
	assert.Equal(t, []string{"close streams of alice-1 for " + platform.Identity(alice)}, w.known.done())
	assert.Contains(t, open(b), "desktop of")

	// After a logout here, a login of the provider's that still holds opens nothing.
	page := text(t, b.get(auth+"/"))
	page = text(t, b.do(http.MethodPost, auth+"/logout", formOf(t, page), "Origin", auth))
	again := b.get(aliceURL + "/")
	require.True(t, strings.HasPrefix(again.Request.URL.String(), k.base), "the provider asks: %s", again.Request.URL)
	assert.Contains(t, text(t, again), `type="password"`)

	// The way to the provider's own logout leads there.
	found := elsewhere.FindStringSubmatch(page)
	require.NotNil(t, found, page)
	asks := text(t, b.get(html.UnescapeString(found[1])))
	assert.Contains(t, text(t, k.submit(b, asks, url.Values{})), "You are logged out")

	// Another account gets the address: neither desktop nor home are its own.
	assert.Contains(t, open(w.browser()), "desktop of")
	k.admin(http.MethodDelete, "/users/"+k.user("alice"), nil, nil)
	k.admin(http.MethodPost, "/users", person("alice"), nil)
	assert.Contains(t, open(w.browser()), "Your name belongs to another account")
}

func person(name string) map[string]any {
	return map[string]any{
		"username": name, "email": name + "@example.com", "emailVerified": true, "enabled": true, "firstName": name, "lastName": "of the test",
		"credentials": []any{map[string]any{"type": "password", "value": oidc.Password}},
	}
}

// makeRealm makes the realm with one client and one person.
func (k *keycloak) makeRealm(logout string) {
	k.t.Helper()
	k.do(http.MethodPost, "/admin/realms", map[string]any{
		"realm": "vdi", "enabled": true, "users": []any{person("alice")},
		"clients": []any{map[string]any{
			"clientId": oidc.ClientID, "secret": oidc.ClientSecret, "protocol": "openid-connect", "standardFlowEnabled": true,
			"redirectUris": []any{auth + "/callback"}, "frontchannelLogout": false,
			"attributes": map[string]any{"backchannel.logout.url": logout, "backchannel.logout.session.required": "true", "pkce.code.challenge.method": "S256"},
		}},
	}, nil)
}

// user is what the provider calls somebody.
func (k *keycloak) user(name string) string {
	k.t.Helper()
	var found []struct{ ID string }
	k.admin(http.MethodGet, "/users?exact=true&username="+name, nil, &found)
	require.Len(k.t, found, 1)
	return found[0].ID
}

func (k *keycloak) admin(method, path string, body, into any) {
	k.t.Helper()
	k.do(method, "/admin/realms/vdi"+path, body, into)
}

// do is a request of the administrator's.
func (k *keycloak) do(method, path string, body, into any) {
	k.t.Helper()
	answer, err := k.client.PostForm(k.base+"/realms/master/protocol/openid-connect/token",
		url.Values{"grant_type": {"password"}, "client_id": {"admin-cli"}, "username": {"admin"}, "password": {oidc.Password}})
	require.NoError(k.t, err)
	var token struct {
		Access string `json:"access_token"`
	}
	require.NoError(k.t, json.NewDecoder(answer.Body).Decode(&token))
	require.NoError(k.t, answer.Body.Close())
	content, err := json.Marshal(body)
	require.NoError(k.t, err)
	r, err := http.NewRequestWithContext(k.t.Context(), method, k.base+path, strings.NewReader(string(content)))
	require.NoError(k.t, err)
	r.Header.Set("Authorization", "Bearer "+token.Access)
	r.Header.Set("Content-Type", "application/json")
	answer, err = k.client.Do(r)
	require.NoError(k.t, err)
	said := text(k.t, answer)
	require.Less(k.t, answer.StatusCode, 300, "%s %s: %s", method, path, said)
	if into != nil {
		require.NoError(k.t, json.Unmarshal([]byte(said), into))
	}
}

var (
	formAction = regexp.MustCompile(`<form[^>]*action="([^"]+)"`)
	hidden     = regexp.MustCompile(`<input type="hidden"[^>]*name="([^"]+)"[^>]*value="([^"]*)"`)
)

// submit sends the form of one of the provider's pages.
func (k *keycloak) submit(b *browser, page string, fields url.Values) *http.Response {
	k.t.Helper()
	action := formAction.FindStringSubmatch(page)
	require.NotNil(k.t, action, page)
	for _, field := range hidden.FindAllStringSubmatch(page, -1) {
		fields.Set(field[1], html.UnescapeString(field[2]))
	}
	address, err := url.Parse(html.UnescapeString(action[1]))
	require.NoError(k.t, err)
	base, err := url.Parse(k.base)
	require.NoError(k.t, err)
	return b.do(http.MethodPost, base.ResolveReference(address).String(), fields.Encode())
}

// startKeycloak runs the server until the test ends. It keeps everything in memory.
func startKeycloak(t *testing.T) *keycloak {
	t.Helper()
	home := filepath.Join(t.TempDir(), "keycloak")
	unpack(t, download(t), home)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := listener.Addr().(*net.TCPAddr).Port
	require.NoError(t, listener.Close())
	log := &recorder{}
	ctx, stop := context.WithCancel(context.Background())
	server := exec.CommandContext(ctx, filepath.Join(home, "bin", "kc.sh"), "start-dev", "--db=dev-mem", "--http-host=127.0.0.1", fmt.Sprintf("--http-port=%d", port))
	server.Env = append(os.Environ(), "KC_BOOTSTRAP_ADMIN_USERNAME=admin", "KC_BOOTSTRAP_ADMIN_PASSWORD="+oidc.Password)
	server.Stdout, server.Stderr = log, log
	server.Cancel = func() error { return server.Process.Signal(os.Interrupt) }
	server.WaitDelay = 20 * time.Second
	require.NoError(t, server.Start(), "Keycloak needs Java 17 or newer: install default-jre-headless")
	t.Cleanup(func() {
		stop()
		_ = server.Wait() // it was interrupted
	})
	k := &keycloak{t: t, base: fmt.Sprintf("http://127.0.0.1:%d", port), client: &http.Client{Timeout: patience}}
	require.Eventually(t, func() bool {
		answer, err := k.client.Get(k.base + "/realms/master")
		return err == nil && answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
	}, 2*patience, 200*time.Millisecond, "Keycloak does not start: %s", log)
	return k
}

// download returns the server's archive, which stays in bin/.
func download(t *testing.T) string {
	t.Helper()
	bin, err := cluster.BinDir()
	require.NoError(t, err)
	archive := filepath.Join(bin, "keycloak-quarkus-dist-"+keycloakVersion+".zip")
	if _, err := os.Stat(archive); err == nil {
		return archive
	}
	maven := exec.CommandContext(t.Context(), "mvn", "--batch-mode", "--quiet", "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy",
		"-Dartifact=org.keycloak:keycloak-quarkus-dist:"+keycloakVersion+":zip", "-DoutputDirectory="+bin)
	out, err := maven.CombinedOutput()
	require.NoError(t, err, "Keycloak is fetched by Maven: install maven, and look at what it says: %s", out)
	return archive
}

func unpack(t *testing.T, archive, into string) {
	t.Helper()
	files, err := zip.OpenReader(archive)
	require.NoError(t, err)
	defer files.Close()
	for _, f := range files.File {
		_, name, _ := strings.Cut(f.Name, "/") // without the folder with the version
		if name == "" || f.FileInfo().IsDir() {
			continue
		}
		require.True(t, filepath.IsLocal(name), name)
		path := filepath.Join(into, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		from, err := f.Open()
		require.NoError(t, err)
		to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
		require.NoError(t, err)
		_, err = io.Copy(to, from)
		require.NoError(t, err)
		require.NoError(t, to.Close())
		require.NoError(t, from.Close())
	}
}
