package platform_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
)

// TestSignTURNLogin against a value that coturn's own recipe gives:
//
//	printf '1800000600:3f0e8a52' | openssl dgst -sha1 -hmac c0ffeec0ffeec0ffeec0ffeec0ffeec0ff -binary | base64
func TestSignTURNLogin(t *testing.T) {
	relay := platform.Config{Sessions: platform.Sessions{TURN: platform.TURN{Host: "2001:db8::10", TLSPort: 443}}}.WithDefaults().Sessions.TURN
	login := platform.SignTURNLogin(relay, "c0ffeec0ffeec0ffeec0ffeec0ffeec0ff", "3f0e8a52", time.Unix(1_800_000_600, 999))
	require.Equal(t, platform.TURNLogin{
		Version: 1, Username: "1800000600:3f0e8a52", Password: "yoPA4MMgCvCfBWBNwDcZsjORwtc=", Expires: 1_800_000_600,
		URIs: []string{"turn:[2001:db8::10]:3478?transport=udp", "turn:[2001:db8::10]:3478?transport=tcp", "turns:[2001:db8::10]:443?transport=tcp"},
	}, login)
	require.Equal(t, []platform.TURNPort{{3478, "UDP"}, {3478, "TCP"}, {443, "TCP"}}, relay.Ports())
	require.Equal(t, []string{"2001:db8::10/128"}, relay.Ranges)

	text, err := json.Marshal(login)
	require.NoError(t, err)
	read, err := platform.ParseTURNLogin(text)
	require.NoError(t, err)
	require.Equal(t, login, read)
}

func TestParseTURNLogin(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":         "hunter2",
		"another version": `{"version":2,"username":"1:a","password":"hunter2","expires":1,"uris":["turn:x"]}`,
		"no URIs":         `{"version":1,"username":"1:a","password":"hunter2","expires":1}`,
		"no expiry":       `{"version":1,"username":"1:a","password":"hunter2","uris":["turn:x"]}`,
	} {
		_, err := platform.ParseTURNLogin([]byte(text))
		require.ErrorIs(t, err, platform.ErrTURNLogin, name)
		require.NotContains(t, err.Error(), "hunter2", name)
	}
	_, err := platform.ParseTURNLogin([]byte(`{"version":1,"username":"1:a","password":"p","expires":1,"uris":["turn:x"],"later":true}`))
	require.NoError(t, err, "what a newer operator adds is left out")
}

func TestTransportOf(t *testing.T) {
	for _, c := range []struct {
		streamer  vdi.Streamer
		transport vdi.Transport
		want      vdi.Transport
	}{
		{"", "", vdi.TransportWebSocket},
		{vdi.StreamerSelkies, "", vdi.TransportWebSocket},
		{vdi.StreamerSelkies, vdi.TransportWebRTC, vdi.TransportWebRTC},
		{vdi.StreamerSelkiesGStreamer, "", vdi.TransportWebRTC},
		{vdi.StreamerSelkiesGStreamer, vdi.TransportWebRTC, vdi.TransportWebRTC},
		{vdi.StreamerCustom, "", ""},
	} {
		require.Equal(t, c.want, platform.TransportOf(vdi.VDITemplateSpec{Streamer: c.streamer, Transport: c.transport}), c)
	}
}

// TestFactsOfTransport: over WebRTC the desktop asks the agent for its login at
// the relay, and no public relay or STUN server stays in place; over WebSockets nothing changes.
func TestFactsOfTransport(t *testing.T) {
	for _, streamer := range []vdi.Streamer{vdi.StreamerSelkies, vdi.StreamerSelkiesGStreamer} {
		facts := platform.FactsOfTemplate(vdi.VDITemplateSpec{Streamer: streamer, Transport: vdi.TransportWebRTC})
		fixed := map[string]string{}
		for _, s := range facts.Fixed {
			require.NotContains(t, fixed, s.Name, "given twice")
			fixed[s.Name] = s.Value
		}
		require.Equal(t, "http://127.0.0.1:8093/v1/turn", fixed["SELKIES_TURN_REST_URI"])
		require.Equal(t, "turn.invalid", fixed["SELKIES_TURN_HOST"])
		require.Equal(t, "stun.invalid", fixed["SELKIES_STUN_HOST"])
		if streamer == vdi.StreamerSelkies {
			require.Equal(t, "webrtc", fixed["SELKIES_MODE"])
			require.Equal(t, "false", fixed["SELKIES_ENABLE_DUAL_MODE"])
		}
		require.Equal(t, "none", facts.Input)
		require.Contains(t, facts.Protected, "SELKIES_TURN_SHARED_SECRET")
		require.Contains(t, facts.Protected, "SELKIES_ENABLE_CLOUDFLARE_TURN")
	}
	plain := vdi.VDITemplateSpec{Streamer: vdi.StreamerSelkies}
	require.Equal(t, platform.FactsOf(vdi.StreamerSelkies), platform.FactsOfTemplate(plain))
}

func TestCheckRelay(t *testing.T) {
	none, some := platform.TURN{}, platform.TURN{Host: "turn.example.com"}
	for _, spec := range []vdi.VDITemplateSpec{{Streamer: vdi.StreamerSelkiesGStreamer}, {Transport: vdi.TransportWebRTC}} {
		require.ErrorIs(t, none.CheckRelay(spec), platform.ErrNoRelay)
		require.NoError(t, some.CheckRelay(spec))
	}
	require.NoError(t, none.CheckRelay(vdi.VDITemplateSpec{}))
	require.NoError(t, none.CheckRelay(vdi.VDITemplateSpec{Streamer: vdi.StreamerCustom}))
}

func TestTURNSettings(t *testing.T) {
	for text, problem := range map[string]string{
		"{host: turn.example.com}":                              "",
		"{host: 203.0.113.10, transports: [tcp], tlsPort: 443}": "",
		"{host: Turn.example.com}":                              `sessions.turn.host: "Turn.example.com" is no DNS name`,
		"{host: 127.0.0.1}":                                     "sessions.turn.host: 127.0.0.1 is an address that browsers cannot reach",
		"{host: '::'}":                                          "sessions.turn.host: :: is an address that browsers cannot reach",
		"{port: 3478}":                                          "sessions.turn.host: not set, while other settings",
		"{host: turn.example.com, port: 70000}":                 "sessions.turn.port: 70000 is no port",
		"{host: turn.example.com, tlsPort: -1}":                 "sessions.turn.tlsPort: -1 is no port",
		"{host: turn.example.com, transports: [sctp]}":          `sessions.turn.transports[0]: "sctp" is unknown`,
		"{host: turn.example.com, transports: [udp, udp]}":      `sessions.turn.transports[1]: "udp" is given twice`,
		"{host: turn.example.com, ranges: [203.0.113.10/24]}":   "sessions.turn.ranges[0]: \"203.0.113.10/24\" has bits beyond its mask",
		"{host: turn.example.com}, network: {internet: false}":  "sessions.turn.ranges: empty, while sessions.network.internet is off",
		"{host: 203.0.113.10}, network: {internet: false}":      "",
	} {
		_, err := platform.ParseConfig([]byte("sessions: {domain: vdi.example.com, turn: " + text + "}"))
		if problem == "" {
			require.NoError(t, err, text)
		} else {
			require.ErrorContains(t, err, problem, text)
		}
	}
}

func TestValidTURNSecret(t *testing.T) {
	require.True(t, platform.ValidTURNSecret("0123456789abcdef0123456789abcdef"))
	for _, bad := range []string{"", "short", "0123456789abcdef0123456789abcde\n", "0123456789abcdef 0123456789abcdef", "0123456789abcdef0123456789abcdef#"} {
		require.False(t, platform.ValidTURNSecret(bad), bad)
	}
}
