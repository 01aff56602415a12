package platform

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// Every setting that a desktop with Selkies 1.6 gets, and where it is read. There
// is no package of it to ask, as tests/selkies asks 2.x. Sources:
//
//	main: github.com/selkies-project/selkies v1.6.2, src/selkies_gstreamer/__main__.py, main()
//	app:  the same, src/selkies_gstreamer/gstwebrtc_app.py, check_plugins(), supported
//	egl:  github.com/selkies-project/docker-nvidia-egl-desktop, Dockerfile and
//	      selkies-gstreamer-entrypoint.sh
func TestSettingsOfSelkiesGStreamer(t *testing.T) {
	const main, app, egl = "main", "app", "egl"
	table := map[string]struct{ value, source string }{
		"NGINX_PORT":                {"8080", egl}, // what people and the agent reach
		"SELKIES_PORT":              {"8081", main},
		"SELKIES_ENABLE_BASIC_AUTH": {"true", main},
		"SELKIES_ENABLE_HTTPS":      {"false", main},
		"KASMVNC_ENABLE":            {"false", egl},
		"DISPLAY":                   {":20", egl},
		"SELKIES_TURN_HOST":         {"turn.invalid", main}, // default: staticauth.openrelay.metered.ca
		"SELKIES_STUN_HOST":         {"stun.invalid", main}, // default: stun.l.google.com
		"SELKIES_TURN_REST_URI":     {"http://127.0.0.1:8093/v1/turn", main},
		"SELKIES_ENABLE_CLIPBOARD":  {"true", main}, // true, false, in or out; obeyed in webrtc_input.py
		"SELKIES_ENCODER":           {"x264enc", app},
	}
	template := vdi.VDITemplateSpec{Streamer: vdi.StreamerSelkiesGStreamer}
	assert.Equal(t, valuesOf(table), settingsOf(t, template))
	for name, s := range table {
		assert.Contains(t, []string{main, app, egl}, s.source, name)
	}
	facts := FactsOfTemplate(template)
	assert.Equal(t, []string{"SELKIES_BASIC_AUTH_USER"}, facts.UserVariables, main)
	assert.Equal(t, []string{"SELKIES_BASIC_AUTH_PASSWORD", "PASSWD"}, facts.PasswordVariables, "main, egl: both have a default that everybody knows")
	assert.Subset(t, []string{"nvh264enc", "nvh265enc", "nvav1enc", "vah264enc", "vah265enc", "vavp9enc", "vaav1enc", "x264enc", "openh264enc", "x265enc", "vp8enc", "vp9enc", "svtav1enc", "av1enc", "rav1enc"},
		[]string{facts.HardwareEncoder, facts.SoftwareEncoder}, "app: any other ends the program")
	assert.Contains(t, facts.Protected, "SELKIES_JSON_CONFIG", "main: a file there overrides every variable")
}

// A program that nobody knows gets a login, and is told nothing else.
func TestSettingsOfCustom(t *testing.T) {
	assert.Empty(t, settingsOf(t, vdi.VDITemplateSpec{Streamer: vdi.StreamerCustom}))
}

// settingsOf are all literal settings of a desktop without a GPU, which nothing
// is wished for.
func settingsOf(t *testing.T, template vdi.VDITemplateSpec) map[string]string {
	t.Helper()
	facts := FactsOfTemplate(template)
	policy, err := PolicySettings(template.Streamer, template.Policy)
	require.NoError(t, err)
	out := map[string]string{}
	for _, s := range slices.Concat(facts.Defaults, facts.Fixed, facts.SoftwareSettings) {
		out[s.Name] = s.Value
	}
	for _, s := range policy {
		assert.NotContains(t, out, s.Name, "decided in one place")
		out[s.Name] = s.Value
	}
	if facts.EncoderVariable != "" {
		out[facts.EncoderVariable] = facts.SoftwareEncoder
	}
	return out
}

func valuesOf(table map[string]struct{ value, source string }) map[string]string {
	out := map[string]string{}
	for name := range maps.Keys(table) {
		out[name] = table[name].value
	}
	return out
}
