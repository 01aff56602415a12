package platform

import (
	"errors"
	"slices"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// ErrNoRelay means that a template streams over WebRTC and the platform has no relay.
var ErrNoRelay = errors.New("spec.transport WebRTC needs a TURN relay, and the platform's settings name none: set sessions.turn.host and sessions.turn.secretName in the platform's values, or use transport WebSocket where the streamer has it")

// TransportOf is the transport of a template's desktops; "" with streamer
// Custom, which brings its own.
func TransportOf(t vdi.VDITemplateSpec) vdi.Transport {
	switch {
	case t.Streamer == vdi.StreamerCustom:
		return ""
	case t.Streamer == vdi.StreamerSelkiesGStreamer:
		return vdi.TransportWebRTC
	case t.Transport == "":
		return vdi.TransportWebSocket
	default:
		return t.Transport
	}
}

// UsesRelay says whether a template's desktops stream through the TURN relay.
func UsesRelay(t vdi.VDITemplateSpec) bool { return TransportOf(t) == vdi.TransportWebRTC }

// CheckRelay is ErrNoRelay for a template that needs the relay that is not there:
// its desktops would start and never be seen.
func (t TURN) CheckRelay(template vdi.VDITemplateSpec) error {
	if UsesRelay(template) && !t.Enabled() {
		return ErrNoRelay
	}
	return nil
}

// FactsOfTemplate is the row of the streamer table for a template's transport.
func FactsOfTemplate(t vdi.VDITemplateSpec) StreamerFacts {
	facts := FactsOf(t.Streamer)
	if !UsesRelay(t) {
		return facts
	}
	facts.Input = wire.InputNone // input goes over WebRTC's data channel, past the agent
	facts.Fixed = setOver(facts.Fixed, append(noPublicRelay(), facts.WebRTC...))
	facts.Protected = append(facts.Protected, relayVariables()...)
	return facts
}

// setOver replaces settings of the same name and adds the others at the end.
func setOver(settings, over []Setting) []Setting {
	out := slices.Clone(settings)
	for _, s := range over {
		i := slices.IndexFunc(out, func(o Setting) bool { return o.Name == s.Name })
		if i < 0 {
			out = append(out, s)
		} else {
			out[i] = s
		}
	}
	return out
}

// fromAgent makes both generations of Selkies ask the agent for their login at
// the relay, and keep asking (once a minute). Sources: fetch_turn_rest and
// RESTRTCMonitor, 2.1: selkies/webrtc_ice_config.py, 1.6: src/selkies_gstreamer/__main__.py. The
// images' entry points start no TURN server of their own where it is set
// (docker-nvidia-egl-desktop, selkies-gstreamer-entrypoint.sh).
func fromAgent() Setting {
	return Setting{"SELKIES_TURN_REST_URI", "http://" + wire.TURNRestAddress + wire.TURNRestPath}
}

// relayVariables name other relays, or come before the agent's answer
// (get_rtc_configuration, the order of sources): a template sets none of them.
func relayVariables() []string {
	return []string{
		"SELKIES_RTC_CONFIG_JSON", "SELKIES_ENABLE_CLOUDFLARE_TURN", "SELKIES_CLOUDFLARE_TURN_TOKEN_ID", "SELKIES_CLOUDFLARE_TURN_API_TOKEN",
		"SELKIES_TURN_USERNAME", "SELKIES_TURN_PASSWORD", "SELKIES_TURN_REST_API_KEY", "SELKIES_TURN_REST_USERNAME",
		"SELKIES_TURN_REST_USERNAME_AUTH_HEADER", "SELKIES_TURN_REST_PROTOCOL_HEADER", "SELKIES_TURN_REST_TLS_HEADER",
	}
}
