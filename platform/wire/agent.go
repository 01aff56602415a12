package wire

import "strconv"

// Containers of a session's pod.
const (
	// ContainerDesktop is container 0.
	ContainerDesktop = "selkies"
	// ContainerAgent is init container 0, a sidecar.
	ContainerAgent = "agent"
	// AgentProgram is the agent in the operator's image.
	AgentProgram = "/usr/local/bin/vdi-agent"
)

// Volumes of a session's pod. All but the home are the agent's alone.
const (
	VolumeHome = "home"
	// VolumeCredentials is the Secret NAME-credentials.
	VolumeCredentials = "credentials"
	// VolumeTURN is the Secret NAME-turn.
	VolumeTURN = "turn"
	// VolumeStatementKeys is the ConfigMap NAME-statement-keys.
	VolumeStatementKeys = "statement-keys"
	// VolumeAgentState keeps ended logins and the socket for a goodbye.
	VolumeAgentState = "agent-state"
)

// Ports of a session. Containers of a pod share their numbers: who takes one of the
// agent's keeps it from starting.
const (
	// PortHTTP is the Service's port, and the name of the desktop's own.
	PortHTTP          = "http"
	ServicePort int64 = 8080
	// PortAgent is where visitors come in.
	PortAgent              = "agent"
	AgentVisitorPort int64 = 8090
	// PortAgentStatus is for the operator, the kubelet and Prometheus.
	PortAgentStatus       = "agent-status"
	AgentStatusPort int64 = 8091
	// AgentLocalPort takes a goodbye where there is no socket for it.
	AgentLocalPort int64 = 8092
)

// AgentLocalAddress is [AgentLocalPort] for this pod alone.
func AgentLocalAddress() string { return "127.0.0.1:" + strconv.FormatInt(AgentLocalPort, 10) }

const (
	// TURNRestAddress is the agent's listener for the desktop alone, and
	// TURNRestPath, with its version, where a desktop asks for its login at the relay.
	TURNRestAddress = "127.0.0.1:8093"
	TURNRestPath    = "/v1/turn"
)

// Paths of the agent's status listener.
const (
	// PathActivity says when the desktop was last used, as a VDISession's status.activity.
	PathActivity = "/activity"
	// PathReady answers 200 only if the desktop answers.
	PathReady   = "/ready"
	PathMetrics = "/metrics"
)

// Rules of the agent for what counts as use of a desktop (vdi-agent --input), which the
// platform's table of streamers names.
const (
	// InputSelkies reads the messages of Selkies' page.
	InputSelkies = "selkies"
	// InputNone counts presence alone.
	InputNone = "none"
)
