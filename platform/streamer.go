package platform

import (
	"slices"
	"strings"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

const (
	// DesktopPort is the port of the Service of every session, and of the
	// desktop itself except with streamer Custom.
	DesktopPort = 8080
	// DefaultHome is the home directory in the images of the Selkies project
	// (selkies-project/selkies Dockerfile; user ubuntu, uid 1000).
	DefaultHome = "/home/ubuntu"
)

// Setting is one environment variable with a literal value.
type Setting struct{ Name, Value string }

// StreamerFacts is what the platform knows about a program that sends a desktop
// to the browser.
type StreamerFacts struct {
	// Port its web server listens on; 0: the template says.
	Port int32
	// HealthPath answers below 400 without credentials when the desktop is up;
	// "": there is none, and an open port has to do.
	HealthPath string
	// Home directory in the image.
	Home string
	// UserVariables take the name of the login, PasswordVariables its password.
	UserVariables, PasswordVariables []string
	// EncoderVariable takes the name of the encoder; "": there is none.
	EncoderVariable string
	// HardwareEncoder and SoftwareEncoder are values of EncoderVariable.
	HardwareEncoder, SoftwareEncoder string
	// FindsEncoder: it takes NVENC by itself where the node has it, and encodes in
	// software elsewhere, under one name.
	FindsEncoder bool
	// DriverBelow is the first major version of NVIDIA's driver that its hardware
	// encoder does not work with; 0: none is known.
	DriverBelow int
	// SoftwareSettings apply in addition when the desktop must not use a GPU.
	SoftwareSettings []Setting
	// Input is the agent's rule for what counts as use (vdi-agent --input): the
	// streamer's own messages, or "none" where only presence can be seen.
	Input string
	// Endpoints is the list of what visitors may ask for (vdi-agent --endpoints).
	Endpoints string
	// Bypasses are variables that open a way past the agent: a template that sets
	// one is refused. "*" at the end of a name stands for any rest.
	Bypasses []string
	// Fixed settings cannot be overridden by a template.
	Fixed []Setting
	// WebRTC are fixed settings of transport WebRTC, over those in Fixed (see
	// FactsOfTemplate); none: the streamer has no such transport.
	WebRTC []Setting
	// Defaults can be overridden by a template.
	Defaults []Setting
	// Protected variables are never taken from a template.
	Protected []string
}

// IsBypass says whether a variable opens a way past the agent.
func (f StreamerFacts) IsBypass(variable string) bool {
	return slices.ContainsFunc(f.Bypasses, func(name string) bool {
		start, isPrefix := strings.CutSuffix(name, "*")
		return variable == name || isPrefix && strings.HasPrefix(variable, start)
	})
}

// FactsOf is the row of the streamer table; "" is Selkies.
func FactsOf(streamer vdi.Streamer) StreamerFacts {
	switch streamer {
	case vdi.StreamerSelkiesGStreamer:
		return selkiesGStreamer()
	case vdi.StreamerCustom:
		return custom()
	default:
		return selkies()
	}
}

// loginVariables carry or weaken a login in one of the streamers or their
// images. The first group is Selkies' (src/selkies/settings.py, main, and
// src/selkies_gstreamer/__main__.py, v1.6.2), the second the fallback names
// and the names in the images' entry points. SELKIES_TURN_SHARED_SECRET would
// hand the platform's TURN secret to the user of the desktop.
func loginVariables() []string {
	return []string{
		"SELKIES_ENABLE_BASIC_AUTH", "SELKIES_BASIC_AUTH_USER", "SELKIES_BASIC_AUTH_PASSWORD",
		"SELKIES_BASIC_AUTH_VIEWONLY_PASSWORD", "SELKIES_MASTER_TOKEN", "SELKIES_ALLOWED_ORIGINS", "SELKIES_TURN_SHARED_SECRET",
		"PASSWORD", "PASSWD", "VIEWONLY_PASSWORD", "CUSTOM_USER", "MASTER_TOKEN", "NOVNC_VIEWPASS", "KASMVNC_VIEWPASS",
	}
}

// selkies is Selkies 2.x. Settings: src/selkies/settings.py; an empty variable
// means the built-in default there, so nothing is switched off by "".
func selkies() StreamerFacts {
	return StreamerFacts{
		Port:              DesktopPort,
		HealthPath:        "/api/health", // src/selkies/stream_server.py: open, no login
		Home:              DefaultHome,
		UserVariables:     []string{"SELKIES_BASIC_AUTH_USER"},
		PasswordVariables: []string{"SELKIES_BASIC_AUTH_PASSWORD", "PASSWD"}, // the image bakes PASSWD=mypasswd
		EncoderVariable:   "SELKIES_ENCODER",
		HardwareEncoder:   "h264enc", // NVENC, and by itself x264 where NVENC fails (pixelflux src/pipeline.rs)
		SoftwareEncoder:   "h264enc", // there is no other name: SELKIES_USE_CPU decides
		FindsEncoder:      true,
		SoftwareSettings:  []Setting{{"SELKIES_USE_CPU", "true"}},
		Input:             wire.InputSelkies,
		Endpoints:         EndpointsSelkies,
		Bypasses:          selkiesBypasses(),
		Fixed: []Setting{
			{"SELKIES_ADDR", "127.0.0.1"}, // the agent alone leads there
			{"SELKIES_PORT", "8080"},
			{"SELKIES_MODE", "websockets"}, // no TURN, one port
			{"SELKIES_ENABLE_DUAL_MODE", "false"},
			{"SELKIES_ENABLE_BASIC_AUTH", "true"},
			{"SELKIES_ENABLE_HTTPS", "false"}, // TLS ends at the proxy
			{"SELKIES_ENABLE_SHARING", "false"},
			{"SELKIES_ENABLE_COLLAB", "false"},
			{"SELKIES_ENABLE_SHARED", "false"},
			{"SELKIES_ENABLE_PLAYER2", "false"},
			{"SELKIES_ENABLE_PLAYER3", "false"},
			{"SELKIES_ENABLE_PLAYER4", "false"},
		},
		// Encoder h264enc and rate control cbr, the default, are right here too
		// (2.1: WEBRTC_ENCODER_CHOICES and rate_control_mode in settings.py).
		WebRTC: []Setting{{"SELKIES_MODE", "webrtc"}, fromAgent()},
		// A camera needs a device that desktops do not have; locked, the page hides its button.
		Defaults:  append(noPublicRelay(), Setting{"SELKIES_WEBCAM_ENABLED", "false|locked"}),
		Protected: append(loginVariables(), "SELKIES_SUBFOLDER", "SUBFOLDER", "CUSTOM_WS_PORT", "SELKIES_HTTPS_CERT", "SELKIES_HTTPS_KEY"),
	}
}

// selkiesGStreamer is Selkies 1.6.x in the images nvidia-egl-desktop and
// nvidia-glx-desktop. Settings: their Dockerfile and entry points, and
// src/selkies_gstreamer/__main__.py. Its /health is behind the login, so the
// probe is an open port.
func selkiesGStreamer() StreamerFacts {
	return StreamerFacts{
		Port:              DesktopPort,
		Home:              DefaultHome,
		UserVariables:     []string{"SELKIES_BASIC_AUTH_USER"},
		PasswordVariables: []string{"SELKIES_BASIC_AUTH_PASSWORD", "PASSWD"}, // default "mypasswd"
		EncoderVariable:   "SELKIES_ENCODER",
		HardwareEncoder:   "nvh264enc",
		SoftwareEncoder:   "x264enc",
		DriverBelow:       580,            // newer ones register no NVENC element (selkies issue 279)
		Input:             wire.InputNone, // input goes over WebRTC's data channel, past the agent
		Endpoints:         EndpointsAny,
		Fixed: []Setting{
			{"NGINX_PORT", "8080"},
			{"SELKIES_PORT", "8081"},
			{"SELKIES_ENABLE_BASIC_AUTH", "true"},
			{"SELKIES_ENABLE_HTTPS", "false"},
			{"KASMVNC_ENABLE", "false"}, // has a login of its own
		},
		WebRTC:    []Setting{fromAgent()}, // it has no other transport
		Defaults:  append(noPublicRelay(), Setting{"DISPLAY", ":20"}),
		Protected: append(loginVariables(), "SELKIES_HTTPS_CERT", "SELKIES_HTTPS_KEY", "SELKIES_JSON_CONFIG"),
	}
}

// custom is any other web desktop. It gets the login in the same variables; a
// template can pass them on by $(SELKIES_BASIC_AUTH_PASSWORD) under other names.
func custom() StreamerFacts {
	return StreamerFacts{
		Home:              DefaultHome,
		UserVariables:     []string{"SELKIES_BASIC_AUTH_USER"},
		PasswordVariables: []string{"SELKIES_BASIC_AUTH_PASSWORD"},
		Input:             wire.InputNone,
		Endpoints:         EndpointsAny, // nobody knows what it serves, or in which direction
		Protected:         []string{"SELKIES_TURN_SHARED_SECRET"},
	}
}

// noPublicRelay replaces built-in defaults that point to a public relay and a
// public STUN server (settings.py: staticauth.openrelay.metered.ca,
// stun.l.google.com). ".invalid" never resolves (RFC 2606); an empty value
// would bring the defaults back.
func noPublicRelay() []Setting {
	return []Setting{{"SELKIES_TURN_HOST", "turn.invalid"}, {"SELKIES_STUN_HOST", "stun.invalid"}}
}
