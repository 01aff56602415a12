package platform

// Lists of endpoints (vdi-agent --endpoints).
const (
	// EndpointsSelkies is the list of Selkies 2.x.
	EndpointsSelkies = "selkies"
	// EndpointsAny is for programs of which nobody here knows what they serve: there is
	// no list, and visitors may ask for everything.
	EndpointsAny = "any"
)

// EndpointLists are the names of the lists.
func EndpointLists() []string { return []string{EndpointsAny, EndpointsSelkies} }

// Role is what a visitor is to a desktop.
type Role string

// RoleOwner is the one whose desktop it is.
const RoleOwner Role = "owner"

// Need is what a template's policy must allow before an endpoint is served.
type Need string

// Needs of endpoints.
const (
	NeedNothing  Need = ""
	NeedUpload   Need = "upload"
	NeedDownload Need = "download"
)

// Endpoint is a path that visitors may ask for.
type Endpoint struct {
	// Path in lower case, without a slash at its end.
	Path string
	// Below: everything under the path, too.
	Below   bool
	Methods []string
	// WebSocket: it may become one.
	WebSocket bool
	// Farewell ends the page behind its WebSocket.
	Farewell Farewell
	// Needs is also the direction in which its files pass.
	Needs Need
}

// Farewell is how a page is told that it ends for good. After a close frame alone
// it would come back, and again.
type Farewell string

// Farewells of streams.
const (
	FarewellClose Farewell = ""
	// FarewellKill is a text message, "KILL" and a sentence, before the close frame.
	FarewellKill Farewell = "kill"
	// FarewellSuperseded is a close frame with code 4001 and a sentence.
	FarewellSuperseded Farewell = "superseded"
)

// EndpointsRoot is where a list is complete: what is not in it is not for visitors.
// Elsewhere the streamer's page lies, which may be read and nothing else: a newer
// version brings other files.
const EndpointsRoot = "/api"

// EndpointsOf are the endpoints under EndpointsRoot that visitors of a role may
// ask for; isList is false where there is no list. A role that is not in the table
// gets none.
func EndpointsOf(list string, role Role) (endpoints []Endpoint, isList bool) {
	if list != EndpointsSelkies {
		return nil, false
	}
	return map[Role][]Endpoint{RoleOwner: selkiesOwner()}[role], true
}

// selkiesOwner is what the page of Selkies 2.1.0 uses (selkies/stream_server.py,
// initialize_app; websockets_mode.py and webrtc_mode.py, register_routes; the
// farewells are in the page's selkies-core.js), the
// health page, and a picture of what the owner sees anyway. Not in it, and
// not used by the page as we run it: recording, which writes to the home and
// gives the video away, sessions, tokens, switch, metrics and apps.
func selkiesOwner() []Endpoint {
	read := []string{"GET", "HEAD"}
	return []Endpoint{
		{Path: "/api/status", Methods: read},
		{Path: "/api/health", Methods: read},
		{Path: "/api/websockets", Methods: read, WebSocket: true, Farewell: FarewellKill}, // asked without a WebSocket after a cut
		{Path: "/api/webrtc/signaling", Methods: read, WebSocket: true, Farewell: FarewellSuperseded},
		{Path: "/api/ws", Methods: read, WebSocket: true, Farewell: FarewellSuperseded},
		{Path: "/api/turn", Methods: read},
		{Path: "/api/upload", Methods: []string{"POST"}, Needs: NeedUpload},
		{Path: "/api/files", Below: true, Methods: read, Needs: NeedDownload},
		{Path: "/api/print", Below: true, Methods: read, Needs: NeedDownload},
		{Path: "/api/screenshot", Methods: read, Needs: NeedDownload},
	}
}

// selkiesBypasses are variables of Selkies 2.1.0 and of its encoder (settings.py;
// pixelflux reads its own) that open a way to the desktop past the agent, or move
// or end the one that the agent leads to: a remote control over HTTP, other
// listeners, sockets that give the video away, a table of logins, and a listener
// that is told what visitors copy.
func selkiesBypasses() []string {
	return []string{
		"SELKIES_COMPUTER_USE_BIND", "PIXELFLUX_CU",
		"SELKIES_UNIX_SOCKET", "SELKIES_PUBLIC", "SELKIES_TOKENS_FILE", "SELKIES_AUDIT_*",
		"SELKIES_RECORDING_SOCKET", "PIXELFLUX_RECORD*",
	}
}
