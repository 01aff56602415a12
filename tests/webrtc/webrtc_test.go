package webrtc

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/tests/inside"
	"github.com/vdi-platform/vdi-platform/tests/relay/coturn"
	"github.com/vdi-platform/vdi-platform/tests/relay/visitor"
)

// sharedSecret is the relay's and the operator's; no desktop has it.
var sharedSecret = strings.Repeat("c0ffee", 10)

// firstLife is long enough to start everything, and short enough to wait for its end.
const firstLife = 30 * time.Second

// TestThroughTheRelay: a person who reaches nothing but proxy and relay sees the
// desktop. Once the login at the relay has expired, the relay takes nobody in with
// it, while the stream goes on (A30); a renewed one reaches desktop and page without a restart.
func TestThroughTheRelay(t *testing.T) {
	server := startRelay(t)
	d := startDesktop(t, time.Now().Add(firstLife))
	startProxy(t)
	d.await("Using TURN REST API for RTC configuration")
	b := openBrowser(t)
	b.logIn()

	s := b.moves(20)
	require.Equal(t, "relay", s.Local)
	require.Equal(t, "relay", s.Remote)
	require.Equal(t, public, s.Address, "the desktop's end is at the relay, too")
	require.Contains(t, s.URL, "turn:"+public+":3478?transport=", "over UDP or TCP, whichever answers first")
	require.Positive(t, s.Width)

	login := b.relayLogin()
	requireMeagre(t, login)
	require.Eventually(t, func() bool { return !allocates(t, login) }, patience, time.Second, "the login ends")
	b.moves(20)

	renewed := d.giveLogin(time.Now().Add(10 * time.Minute))
	require.Eventually(t, func() bool { return b.relayLogin().User == renewed.Username }, patience, time.Second, "Selkies asks once a minute")
	require.True(t, allocates(t, b.relayLogin()))
	b.Do(chromedp.Reload())
	require.Equal(t, "relay", b.moves(20).Local)

	require.NotContains(t, server.Log(), sharedSecret)
	requireNowhere(t, sharedSecret)
	require.NotContains(t, d.log.String(), renewed.Password)
}

func startRelay(t *testing.T) *coturn.Server {
	t.Helper()
	return coturn.Parts{Repository: repository, Tool: filepath.Join(inside.Dir(), "vdi-turn-secret")}.Start(t, coturn.Setup{
		Listen: public, Secrets: map[string]string{"current": sharedSecret},
	})
}

// requireMeagre: what the page is given opens the relay for this session alone,
// and leads to no pod.
func requireMeagre(t *testing.T, login visitor.Credential) {
	t.Helper()
	client, _, err := visitor.Path{From: public, Relay: public}.Allocate(t, login)
	require.NoError(t, err)
	require.Error(t, client.CreatePermission(&net.UDPAddr{IP: net.ParseIP(pod), Port: 8080}), "the desktop's own address")
	require.NoError(t, client.CreatePermission(&net.UDPAddr{IP: net.ParseIP(public), Port: 50000}))

	expiry, _, _ := strings.Cut(login.User, ":")
	require.False(t, allocates(t, visitor.Credential{User: expiry + ":another-session", Password: login.Password}))
	require.False(t, allocates(t, visitor.Credential{User: "9" + login.User, Password: login.Password}), "a later expiry")
}

// allocates reports whether the relay gives an address for a login.
func allocates(t *testing.T, login visitor.Credential) bool {
	t.Helper()
	_, relayed, err := visitor.Path{From: public, Relay: public}.Allocate(t, login)
	if err != nil {
		require.ErrorContains(t, err, "401")
		return false
	}
	return relayed.Close() == nil
}

// requireNowhere: no process of proxy, agent, desktop and relay has the text in
// its arguments or environment.
func requireNowhere(t *testing.T, text string) {
	t.Helper()
	read := 0
	for _, name := range []string{"cmdline", "environ"} {
		files, err := filepath.Glob("/proc/[0-9]*/" + name)
		require.NoError(t, err)
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				continue // it has ended
			}
			read++
			require.NotContains(t, string(data), text, file)
		}
	}
	require.Greater(t, read, 10)
}
