package wire

// Ends of the names of a session's own Secrets.
const (
	SuffixCredentials = "-credentials"
	SuffixTURN        = "-turn"
)

// PrefixHome stands before a session's name in the name of its home's claim.
const PrefixHome = "vdi-data-"

// Keys of a session's Secret NAME-credentials.
const (
	// KeyUsername and KeyPassword are the visitor's login (kubernetes.io/basic-auth).
	KeyUsername = "username"
	KeyPassword = "password"
	// KeyDesktopUsername and KeyDesktopPassword are the desktop's own login, which its
	// container gets as variables.
	KeyDesktopUsername = "desktop-username"
	KeyDesktopPassword = "desktop-password"
	// KeyCookie signs the agent's cookies.
	KeyCookie = "cookie-key"
)

const (
	// KeyTURNLogin is the key of a session's Secret NAME-turn: a platform.TURNLogin as JSON.
	KeyTURNLogin = "login.json"
	// KeyTURNSecret is the key of the relay's Secret that signs logins. A
	// rotation may add others, which only the relay accepts (charts/coturn).
	KeyTURNSecret = "current"
)

// StatementKeysConfigMap is where the front door publishes its statement keys, and
// where the operator reads them: file name to PEM.
const StatementKeysConfigMap = "vdi-frontdoor-public-keys"

// PEMPublicKey is the type of the PEM block of a statement key (RFC 8410).
const PEMPublicKey = "PUBLIC KEY"
