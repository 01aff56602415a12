package agent

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

var (
	testRelay = platform.TURN{Host: "turn.vdi.example.com", Port: 3478, Transports: []platform.TURNTransport{platform.TURNOverUDP, platform.TURNOverTCP}, TLSPort: 5349}
	turnTime  = time.Unix(1_800_000_000, 0)
)

// turnFiles is the Secret NAME-turn as the operator writes it.
func turnFiles(t testing.TB, expires time.Time) map[string]string {
	text, err := json.Marshal(platform.SignTURNLogin(testRelay, strings.Repeat("canary", 8), testUID, expires))
	require.NoError(t, err)
	return map[string]string{wire.KeyTURNLogin: string(text)}
}

// newTURNWorld is an agent whose desktop streams over WebRTC, and its clock.
func newTURNWorld(t *testing.T) (*world, *secret, *atomic.Int64) {
	now := &atomic.Int64{}
	now.Store(turnTime.Unix())
	login := newSecret(t, turnFiles(t, turnTime.Add(10*time.Minute)))
	w := newWorld(t, func(c *Config) {
		c.TURNDir = login.dir
		c.Now = func() time.Time { return time.Unix(now.Load(), 0) }
	})
	return w, login, now
}

// askTURN asks as Selkies does (fetch_turn_rest).
func (w *world) askTURN(target string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Host = "127.0.0.1:8093"
	r.Header.Set("x-auth-user", "selkies")
	r.Header.Set("x-turn-protocol", "udp")
	r.Header.Set("x-turn-tls", "false")
	if change != nil {
		change(r)
	}
	answer := httptest.NewRecorder()
	w.agent.TURN().ServeHTTP(answer, r)
	return answer
}

const turnQuestion = "/v1/turn?service=turn&username=selkies"

func TestTURNLogin(t *testing.T) {
	w, login, now := newTURNWorld(t)
	answer := w.askTURN(turnQuestion, nil)
	require.Equal(t, http.StatusOK, answer.Code, answer.Body)
	require.Equal(t, "application/json", answer.Header().Get("Content-Type"))
	require.JSONEq(t, `{"username":"1800000600:`+testUID+`","password":"`+w.agent.turn.Get().Password+`","ttl":600,"uris":[
		"turn:turn.vdi.example.com:3478?transport=udp","turn:turn.vdi.example.com:3478?transport=tcp","turns:turn.vdi.example.com:5349?transport=tcp"]}`, answer.Body.String())

	// A new one comes without a restart.
	login.write(turnFiles(t, turnTime.Add(15*time.Minute)))
	require.Eventually(t, func() bool { return strings.Contains(w.askTURN(turnQuestion, nil).Body.String(), "1800000900:") }, waitFor, lookEvery)

	// One that has expired is not served: the relay would refuse it.
	now.Store(turnTime.Add(15 * time.Minute).Unix())
	require.Equal(t, http.StatusServiceUnavailable, w.askTURN(turnQuestion, nil).Code)
	require.NotContains(t, w.log.String(), w.agent.turn.Get().Password)
}

// TestTURNKeepsTheLastGoodLogin: what cannot be used is logged, and what was good stays.
func TestTURNKeepsTheLastGoodLogin(t *testing.T) {
	w, login, _ := newTURNWorld(t)
	for name, text := range map[string]string{
		"no JSON": "canary-text", "another version": `{"version":2,"username":"u","password":"canary-text","expires":1,"uris":["turn:x"]}`, "half": `{"version":1,"username":"u"}`,
	} {
		before := strings.Count(w.log.String(), "cannot be used")
		login.write(map[string]string{wire.KeyTURNLogin: text})
		require.Eventually(t, func() bool { return strings.Count(w.log.String(), "cannot be used") > before }, waitFor, lookEvery, name)
		require.Equal(t, http.StatusOK, w.askTURN(turnQuestion, nil).Code, name)
	}
	require.NotContains(t, w.log.String(), "canary-text")
}

func TestTURNIsForTheDesktopAlone(t *testing.T) {
	w, _, _ := newTURNWorld(t)
	rebound := func(r *http.Request) { r.Host = "evil.example.com:8093" }
	require.Equal(t, http.StatusForbidden, w.askTURN(turnQuestion, rebound).Code)
	require.Equal(t, http.StatusOK, w.askTURN(turnQuestion, func(r *http.Request) { r.Host = "[::1]:8093" }).Code)
	require.Equal(t, http.StatusBadRequest, w.askTURN("/v1/turn?username=selkies", nil).Code)
	require.Equal(t, http.StatusMethodNotAllowed, w.askTURN(turnQuestion, func(r *http.Request) { r.Method = http.MethodPost }).Code)
	require.Equal(t, http.StatusNotFound, w.askTURN("/v2/turn?service=turn", nil).Code)

	// The visitors' listener and the operator's do not have it.
	cookie := w.login()
	require.Equal(t, "the desktop's page", w.ask(http.MethodGet, turnQuestion, map[string]string{"Cookie": cookie}, "").body)
	require.Equal(t, http.StatusNotFound, w.askStatus(turnQuestion).StatusCode)
}

// TestTURNPathsNeedTheLogin: where the streamers hand the login to the page,
// nobody passes without the visitor's.
func TestTURNPathsNeedTheLogin(t *testing.T) {
	w, _, _ := newTURNWorld(t)
	for _, path := range []string{"/api/turn", "/turn", "/turn/", "//turn", "/api//turn", "/api/%74urn", "/api/turn?service=turn&username=a", "/API/TURN", "/.vdi/../api/turn"} {
		require.NotEqual(t, http.StatusOK, w.ask(http.MethodGet, path, nil, "").StatusCode, path)
		require.NotEqual(t, http.StatusOK, w.ask(http.MethodGet, path, map[string]string{"Authorization": "Basic YTpi"}, "").StatusCode, path)
	}
	require.Zero(t, w.desktop.requests())
	cookie := w.login()
	for _, path := range []string{"/api/turn", "/turn"} {
		require.Equal(t, http.StatusOK, w.ask(http.MethodGet, path, map[string]string{"Cookie": cookie}, "").StatusCode, path)
	}
}

// TestWithoutTURN: a desktop that does not stream over WebRTC has no such listener.
func TestWithoutTURN(t *testing.T) {
	require.Nil(t, newWorld(t, nil).agent.TURN())
}

func TestTURNDirIsNeeded(t *testing.T) {
	_, err := New(Config{
		Desktop: "127.0.0.1:8080", CredentialsDir: newSecret(t, testFiles()).dir, Host: testHost, Session: "team/alice",
		SessionUID: testUID, Mode: wire.AccessPassword, Input: "none", MaxSessionAge: time.Hour, TURNDir: t.TempDir(),
	})
	require.ErrorContains(t, err, "--turn-dir")
}
