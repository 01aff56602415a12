// Package wire holds the words by which the platform's programs, charts and objects
// know each other, each of them once: labels and annotations, keys of Secrets, names
// and numbers of ports, paths, cookies, headers, and the kinds of a session's objects
// in their order.
//
// It is for whatever two programs must spell alike. It must import nothing but the
// standard library, read neither files nor clocks, and decide nothing. What the charts
// render in these words is compared with it in the renderer's tests.
package wire

// Programs, by the names with which they sign what they make: labels, managed fields,
// events and leases.
const (
	Operator   = "vdi-operator"
	FrontDoor  = "vdi-frontdoor"
	TURNSecret = "vdi-turn-secret"
	Agent      = "vdi-agent"
)

const (
	// ConfigFile is where the chart mounts the platform's settings.
	ConfigFile = "/etc/vdi/config.yaml"
	// EnvNamespace is the variable in which the charts name a program's own namespace.
	EnvNamespace = "POD_NAMESPACE"
)

// AccessMode says how visitors show that a desktop is theirs: in the platform's
// settings, on the command lines of agent and front door, and in a session's status
// (where it is a type of the API).
type AccessMode string

const (
	// AccessPassword asks for the session's password.
	AccessPassword AccessMode = "Password"
	// AccessOIDC has people log in at an identity provider; agents believe the front
	// door's signed statements, and nothing else.
	AccessOIDC AccessMode = "OIDC"
	// AccessLocal has people log in at the front door itself, which has a list of them;
	// to agents it is [AccessOIDC].
	AccessLocal AccessMode = "Local"
)

// LogsIn reports whether the front door logs people in, and agents believe what it says
// of them.
func (m AccessMode) LogsIn() bool { return m == AccessOIDC || m == AccessLocal }

// Agent is the mode of agents in a platform's mode: whom the front door knows people by is
// no affair of theirs.
func (m AccessMode) Agent() AccessMode {
	if m.LogsIn() {
		return AccessOIDC
	}
	return m
}
