package platform

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

func TestEndpointsOf(t *testing.T) {
	for streamer, want := range map[vdi.Streamer]string{
		"": EndpointsSelkies, vdi.StreamerSelkies: EndpointsSelkies, vdi.StreamerSelkiesGStreamer: EndpointsAny, vdi.StreamerCustom: EndpointsAny,
	} {
		assert.Equal(t, want, FactsOf(streamer).Endpoints, streamer)
		assert.Contains(t, EndpointLists(), want)
	}
	owner, isList := EndpointsOf(EndpointsSelkies, RoleOwner)
	assert.True(t, isList)
	for _, e := range owner {
		assert.True(t, strings.HasPrefix(e.Path, EndpointsRoot+"/") && e.Path == strings.ToLower(e.Path) && !strings.HasSuffix(e.Path, "/"), e.Path)
		assert.NotEmpty(t, e.Methods, e.Path)
	}
	nobody, isList := EndpointsOf(EndpointsSelkies, "passer-by")
	assert.True(t, isList)
	assert.Empty(t, nobody)
	_, isList = EndpointsOf(EndpointsAny, RoleOwner)
	assert.False(t, isList)
}

func TestBypasses(t *testing.T) {
	facts := FactsOf(vdi.StreamerSelkies)
	for _, name := range []string{
		"SELKIES_COMPUTER_USE_BIND", "PIXELFLUX_CU", "SELKIES_UNIX_SOCKET", "SELKIES_PUBLIC", "SELKIES_TOKENS_FILE",
		"SELKIES_AUDIT_WEBHOOK_URL", "SELKIES_RECORDING_SOCKET", "PIXELFLUX_RECORDING_SOCKET",
	} {
		assert.True(t, facts.IsBypass(name), name)
	}
	for _, name := range []string{"SELKIES_PUBLICATION", "SELKIES_AUDIT", "PIXELFLUX_WAYLAND", "SELKIES_ENCODER", ""} {
		assert.False(t, facts.IsBypass(name), name)
	}
	assert.False(t, FactsOf(vdi.StreamerCustom).IsBypass("SELKIES_PUBLIC"))
}
