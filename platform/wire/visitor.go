package wire

// Paths on the hosts of sessions that are the platform's own. A desktop never sees
// them asked for. The front door serves them where no desktop runs, and asks an agent
// by them to close streams.
const (
	// PathOwn begins them all.
	PathOwn    = "/.vdi/"
	PathLogin  = "/.vdi/login"
	PathLogout = "/.vdi/logout"
)

// FieldPassword is the field of the agent's login form, which the front door reads where
// no desktop runs.
const FieldPassword = "password"

// CookieLogin is a login on the host of one session: the agent's in mode Password, the
// front door's in modes OIDC and Local. It begins the names of all cookies of the platform, which
// agents keep from the desktop. Its own prefix lets only the very host set them, over
// TLS, for all its paths (RFC 6265bis §4.1.3.2).
const CookieLogin = "__Host-vdi"

// HeaderStatement carries a statement from the front door, by way of the proxy, to an
// agent.
const HeaderStatement = "X-Vdi-Statement"

// Headers in which the proxy says what it was asked, for agents and front door.
const (
	// HeaderForwarded begins them all.
	HeaderForwarded       = "X-Forwarded-"
	HeaderForwardedFor    = "X-Forwarded-For"
	HeaderForwardedHost   = "X-Forwarded-Host"
	HeaderForwardedMethod = "X-Forwarded-Method"
	HeaderForwardedProto  = "X-Forwarded-Proto"
	HeaderForwardedURI    = "X-Forwarded-Uri"
)
