package agent

import (
	"encoding/json"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// clock is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now().Truncate(time.Second)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return c.now
}

// reported is the answer of /activity as the operator reads it.
func (w *world) reported() vdi.ActivityStatus {
	w.t.Helper()
	a := w.askStatus(wire.PathActivity)
	require.Equal(w.t, http.StatusOK, a.StatusCode)
	var s vdi.ActivityStatus
	require.NoError(w.t, json.Unmarshal([]byte(a.body), &s))
	return s
}

func (w *world) lastUse() time.Time {
	w.t.Helper()
	s := w.reported()
	require.NotNil(w.t, s.LastActivityTime)
	return s.LastActivityTime.Time
}

// An open tab is not use; what a person does is.
func TestActivityOfSelkies(t *testing.T) {
	at := newClock()
	w := newWorld(t, func(c *Config) { c.Now = at.Now; c.MaxSessionAge = 1000 * time.Hour })
	started := at.Now()
	assert.True(t, w.lastUse().Equal(started), "an agent that has just begun knows of no use before")
	assert.EqualValues(t, 0, *w.reported().Clients)

	loggedIn := at.add(time.Hour)
	stream := w.dial(w.login())
	assert.True(t, w.lastUse().Equal(loggedIn), "giving the password is use")
	assert.EqualValues(t, 1, *w.reported().Clients)

	at.add(time.Hour)
	for _, noise := range []string{
		"CLIENT_FRAME_ACK 4711", "SETTINGS,{\"a\":1}", "START_VIDEO", "STOP_VIDEO", "REQUEST_KEYFRAME", "kh,65", "kr", "js,h,0", "js,c,0,AAA,4,17", "js,d,0",
		"r,1920x1080", "s,96", "vp,0.00,0.00,1.00", "p,1", "_f,60", "_l,10", "_gz,1", "_pointer_echo,1", "pong,1", "cr", "REQUEST_CLIPBOARD",
		"SET_NATIVE_CURSOR_RENDERING,1", "vb,8000", "ab,128000", "LOST_FRAME 3", "DECODE_PACE 1", "k", "mm,1,1", "", ",kd",
	} {
		say(t, stream, noise)
	}
	w.ask(http.MethodGet, "/", map[string]string{"Cookie": w.dialCookie()}, "")
	assert.True(t, w.lastUse().Equal(loggedIn), "a tab does all that by itself")

	for _, input := range []string{
		"kd,65", "ku,65", "m,10,10,0,0", "m2,1,1,0,0,17", "co,end,é", "sf,1.00,2.00", "sfe", "js,b,0,1,1", "js,a,0,1,0.5", "cw,aGk=", "cws,1,100",
		"cwd,1,AA", "cwe,1", "cb,image/png,AA", "cbs,1,2", "cbd,1,AA", "cbe,1", "cmd,xterm",
	} {
		now := at.add(time.Minute)
		say(t, stream, input)
		assert.True(t, w.lastUse().Equal(now), input)
	}

	now := at.add(time.Minute)
	w.ask(http.MethodPost, "/api/upload", map[string]string{"Authorization": basic(testUser, testPassword)}, "file")
	assert.True(t, w.lastUse().Equal(now), "an upload is use")
	at.add(time.Minute)
	require.NoError(t, stream.CloseNow())
	require.Eventually(t, func() bool { return *w.reported().Clients == 0 }, waitFor, lookEvery)
	assert.True(t, w.lastUse().Equal(now), "going away is not use")
	assert.Equal(t, time.UTC, w.agent.activity.status().LastActivityTime.Location())
}

// dialCookie is a cookie without a login that would count as use.
func (w *world) dialCookie() string {
	return wire.CookieLogin + "=" + sealed(w.t, cookie{"quiet", w.agent.config.Now().Add(time.Hour)})
}

func TestActivityByPresence(t *testing.T) {
	at := newClock()
	w := newWorld(t, func(c *Config) { c.Now, c.Input = at.Now, "none" })
	cookie := w.login()
	stream := w.dial(cookie)
	watching := at.add(10 * time.Minute)
	assert.True(t, w.lastUse().Equal(watching), "somebody is there")
	left := at.add(10 * time.Minute)
	require.NoError(t, stream.CloseNow())
	require.Eventually(t, func() bool { return *w.reported().Clients == 0 }, waitFor, lookEvery)
	at.add(time.Minute)
	assert.True(t, w.lastUse().Equal(left), "nobody is there any more")
	polled := at.add(time.Minute)
	w.ask(http.MethodGet, "/poll", map[string]string{"Cookie": cookie}, "")
	assert.True(t, w.lastUse().Equal(polled), "a desktop without WebSockets is polled")
	require.Eventually(t, func() bool {
		w.agent.activity.mu.Lock()
		defer w.agent.activity.mu.Unlock()
		return w.agent.activity.open == 0
	}, waitFor, lookEvery)
	refused := at.add(time.Minute)
	w.ask(http.MethodGet, "/poll", nil, "")
	assert.False(t, w.lastUse().Equal(refused), "who is not let in does not count")
}

// Unknown is never idle: no time is reported while a stream cannot be read.
func TestActivityUnknown(t *testing.T) {
	w := newWorld(t, nil)
	w.desktop.handle = func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Connection", "Upgrade")
		rw.Header().Set("Upgrade", "websocket")
		rw.WriteHeader(http.StatusSwitchingProtocols)
		conn, _, err := http.NewResponseController(rw).Hijack()
		if err == nil {
			_, _ = conn.Read(make([]byte, 1<<10))
			_, _ = conn.Read(make([]byte, 1)) // until it is closed
			_ = conn.Close()
		}
	}
	conn, err := net.Dial("tcp", w.session)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("GET / HTTP/1.1\r\nHost: " + testHost + "\r\nAuthorization: " + basic(testUser, testPassword) +
		"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nthese are no frames"))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return w.reported().LastActivityTime == nil }, waitFor, lookEvery)
	assert.Contains(t, w.askStatus(wire.PathActivity).body, `"known":false`)
	assert.EqualValues(t, 1, *w.reported().Clients)
	require.NoError(t, conn.Close())
	require.Eventually(t, func() bool { return w.reported().LastActivityTime != nil }, waitFor, lookEvery)
}

func TestReady(t *testing.T) {
	w := newWorld(t, nil)
	assert.Equal(t, http.StatusOK, w.askStatus(wire.PathReady).StatusCode)
	w.desktop.setHealth(http.StatusInternalServerError)
	broken := w.askStatus(wire.PathReady)
	assert.Equal(t, http.StatusServiceUnavailable, broken.StatusCode)
	assert.Contains(t, broken.body, "the desktop answers 500 on /api/health")
	w.desktop.setHealth(http.StatusFound)
	assert.Equal(t, http.StatusOK, w.askStatus(wire.PathReady).StatusCode)
	w.desktop.server.CloseClientConnections()
	require.NoError(t, w.desktop.server.Listener.Close())
	gone := w.askStatus(wire.PathReady)
	assert.Equal(t, http.StatusServiceUnavailable, gone.StatusCode)
	assert.Contains(t, gone.body, "the desktop does not answer")

	page := w.ask(http.MethodGet, "/", map[string]string{"Cookie": w.login(), "Accept": acceptHTML}, "")
	assert.Equal(t, http.StatusBadGateway, page.StatusCode)
	assert.Contains(t, page.body, `http-equiv="refresh"`)
	assert.Contains(t, page.body, "The desktop does not answer yet.")
}

func TestReadyByPort(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.DesktopHealth = "" })
	w.desktop.setHealth(http.StatusInternalServerError)
	assert.Equal(t, http.StatusOK, w.askStatus(wire.PathReady).StatusCode)
	require.NoError(t, w.desktop.server.Listener.Close())
	assert.Equal(t, http.StatusServiceUnavailable, w.askStatus(wire.PathReady).StatusCode)
}

func TestMetrics(t *testing.T) {
	w := newWorld(t, nil)
	stream := w.dial(w.login())
	say(t, stream, "kd,65")
	w.post(wire.PathLogin, nil, map[string][]string{"password": {"wrong"}})
	w.ask(http.MethodGet, "/", map[string]string{"Host": "bob.vdi.example.com"}, "")
	text := w.askStatus(wire.PathMetrics).body
	for _, line := range []string{
		"vdi_agent_clients 1", "vdi_agent_streams 1", `vdi_agent_logins_total{result="accepted"} 1`, `vdi_agent_logins_total{result="wrong"} 1`,
		`vdi_agent_denied_total{reason="host"} 1`, `vdi_agent_denied_total{reason="password"} 1`, "process_resident_memory_bytes",
	} {
		assert.Contains(t, text, line)
	}
	assert.NotContains(t, text, `vdi_agent_bytes_total{direction="in"} 0`)
	assert.NotContains(t, text, `vdi_agent_bytes_total{direction="out"} 0`)
	assert.NotContains(t, text, testUser+`"`)
	assert.Equal(t, http.StatusNotFound, w.askStatus("/goodbye").StatusCode)
	assert.Equal(t, http.StatusUnauthorized, w.ask(http.MethodGet, "/.vdi/activity", nil, "").StatusCode)
	assert.Equal(t, http.StatusNotFound, w.ask(http.MethodGet, "/.vdi/activity", map[string]string{"Cookie": w.login()}, "").StatusCode)
}
