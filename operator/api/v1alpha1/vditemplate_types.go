package v1alpha1

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// VDITemplate is a kind of desktop that an administrator offers: an image, its
// default size and its rules. Sessions name it in spec.template. Changing a
// template never disturbs a running desktop; the next start uses it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="vdi.kasm.io/version=0.1.0"
// +kubebuilder:resource:scope=Cluster,path=vditemplates,shortName=vdit
// +kubebuilder:printcolumn:name="Display Name",type=string,JSONPath=`.spec.displayName`
// +kubebuilder:printcolumn:name="Image",type=string,JSONPath=`.spec.image`
// +kubebuilder:printcolumn:name="Streamer",type=string,JSONPath=`.spec.streamer`
// +kubebuilder:printcolumn:name="Encoder",type=string,priority=1,JSONPath=`.status.encoder`
// +kubebuilder:printcolumn:name="Valid",type=string,JSONPath=`.status.conditions[?(@.type=="Valid")].status`
// +kubebuilder:printcolumn:name="Sessions",type=integer,JSONPath=`.status.sessions.total`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Category",type=string,JSONPath=`.spec.category`,priority=1
type VDITemplate struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is the desktop that is offered.
	// +required
	Spec VDITemplateSpec `json:"spec"`

	// Status is what the operator saw at its last look.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status VDITemplateStatus `json:"status,omitempty"`
}

// VDITemplateList is a list of templates.
//
// +kubebuilder:object:root=true
type VDITemplateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []VDITemplate `json:"items"`
}

// VDITemplateSpec is the desktop that is offered.
//
// +kubebuilder:validation:XValidation:rule="self.streamer != 'Custom' || (has(self.port) && has(self.healthPath))",message="streamer Custom needs spec.port and spec.healthPath: where the desktop's web server listens and which path answers when it is up"
// +kubebuilder:validation:XValidation:rule="self.streamer == 'Custom' || (!has(self.port) && !has(self.healthPath))",message="spec.port and spec.healthPath are for streamer Custom only: the other streamers bring their own"
// +kubebuilder:validation:XValidation:rule="self.streamer != 'Custom' || !has(self.transport)",message="spec.transport is for the Selkies streamers only: streamer Custom brings its own"
// +kubebuilder:validation:XValidation:rule="self.streamer != 'SelkiesGStreamer' || !has(self.transport) || self.transport == 'WebRTC'",message="streamer SelkiesGStreamer (1.6.x) streams over WebRTC only: leave spec.transport out, or set it to WebRTC"
type VDITemplateSpec struct {
	// Image of the desktop container, such as
	// "ghcr.io/selkies-project/selkies/example:v2.1.0-trixie".
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.matches('^[^\\\\s]*$')",message="image must not hold blanks"
	Image string `json:"image"`

	// DisplayName is the name people see.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	DisplayName string `json:"displayName,omitempty"`

	// Description says what this desktop is for.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Description string `json:"description,omitempty"`

	// Category puts similar desktops together where people choose one, such as
	// "Graphics" or "Development".
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Category string `json:"category,omitempty"`

	// Icon is the picture that people see beside the name: a PNG or SVG file of at most
	// 64 KiB as a data URL, "data:image/png;base64,…" or "data:image/svg+xml;base64,…".
	// Scripts and links in it are dead.
	// +optional
	// +kubebuilder:validation:MaxLength=87424
	// +kubebuilder:validation:XValidation:rule="self == '' || self.startsWith('data:image/png;base64,') || self.startsWith('data:image/svg+xml;base64,')",message="icon must be a data URL of a PNG or SVG file: data:image/png;base64,… or data:image/svg+xml;base64,…"
	Icon string `json:"icon,omitempty"`

	// Deprecated, when set, says what to use instead. Sessions still start and
	// show the text as a warning event.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Deprecated string `json:"deprecated,omitempty"`

	// Access says who may use this template; empty means everybody. It is judged at
	// each start, for whoever made the session: a desktop that runs goes on when it is
	// narrowed, and says that it could not start again (UpdatePending).
	// +optional
	Access TemplateAccess `json:"access,omitempty"`

	// Streamer is the program in the image that sends the desktop to the
	// browser: Selkies (2.x), SelkiesGStreamer (1.6.x) or Custom (any web
	// desktop, with port and healthPath).
	// +optional
	// +kubebuilder:default=Selkies
	Streamer Streamer `json:"streamer,omitempty"`

	// Transport carries the stream to the browser: WebSocket (through the proxy,
	// like every other request) or WebRTC (through a TURN relay, which the
	// platform's settings must name). Default: WebSocket with streamer Selkies;
	// SelkiesGStreamer streams over WebRTC only; Custom brings its own.
	// +optional
	Transport Transport `json:"transport,omitempty"`

	// Port the desktop's web server listens on (streamer Custom only). 8090 to
	// 8092 are taken by the agent, which runs beside every desktop.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	// +kubebuilder:validation:XValidation:rule="self < 8090 || self > 8092",message="8090 to 8092 are the agent's, which runs beside every desktop: let the desktop's web server listen on another port"
	Port int32 `json:"port,omitempty"`

	// HealthPath is an HTTP path that answers below 400 without credentials
	// when the desktop is up (streamer Custom only).
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.startsWith('/')",message="healthPath must begin with /"
	HealthPath string `json:"healthPath,omitempty"`

	// Resources are the limits a session gets when it names none, and the
	// bounds of what it may name.
	// +optional
	// +kubebuilder:default={}
	Resources TemplateResources `json:"resources,omitempty"`

	// Requests are what the scheduler reserves for a desktop. Default: a quarter
	// of the CPU limit and half of the memory limit, so that desktops can share
	// a node's idle time. GPUs are always reserved whole.
	// +optional
	Requests TemplateRequests `json:"requests,omitempty"`

	// Env is added to the desktop's environment. It cannot override the
	// variables that carry the login, nor those that policy decides. Take secrets
	// from a Secret by valueFrom.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=128
	Env []EnvVar `json:"env,omitempty"`

	// TimeZone of the desktop where its session names none: the variable TZ, unless
	// env sets that. The image must hold the time zone database (tzdata), or programs
	// show UTC.
	// +optional
	TimeZone TimeZone `json:"timeZone,omitempty"`

	// Command is run in the desktop's container instead of the image's entry point,
	// without a shell. Each word is taken literally, "$$" and "$(NAME)" included. The
	// streamer must still be started. Default: the image's ENTRYPOINT.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=16384
	// +kubebuilder:validation:XValidation:rule="self.size() == 0 || self[0].size() > 0",message="command must begin with a program"
	Command []string `json:"command,omitempty"`

	// Args are the arguments of command, else of the image's entry point, each taken
	// literally like command. Default: the image's CMD, or none where command is set.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=16384
	Args []string `json:"args,omitempty"`

	// Values override the values of the embedded session chart, key by key; see
	// the chart's values.schema.json. A value that the schema refuses leaves the
	// template with Valid=False, and no session starts from it.
	// +optional
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	Values *apiextensionsv1.JSON `json:"values,omitempty"`

	// Home is the user's home directory in the image.
	// +optional
	Home TemplateHome `json:"home,omitempty"`

	// Security is the identity the desktop's processes run as.
	// +optional
	// +kubebuilder:default={}
	Security TemplateSecurity `json:"security,omitempty"`

	// GPU is how the desktop uses GPUs.
	// +optional
	// +kubebuilder:default={}
	GPU TemplateGPU `json:"gpu,omitempty"`

	// Scheduling says where the desktop's pod may run.
	// +optional
	Scheduling TemplateScheduling `json:"scheduling,omitempty"`

	// Policy says what may pass between the desktop and the visitor's computer.
	// It is locked: neither visitors nor env change it.
	// +optional
	Policy TemplatePolicy `json:"policy,omitempty"`

	// ImagePullSecrets are Secrets of the session's namespace used to pull the image.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:MinLength=1
	ImagePullSecrets []string `json:"imagePullSecrets,omitempty"`

	// Lifecycle holds the defaults and bounds of a session's timeouts.
	// +optional
	Lifecycle TemplateLifecycle `json:"lifecycle,omitempty"`
}

// TemplateAccess says who may use a template: whoever users names, and whoever is in one
// of groups. Where both are empty, everybody may.
type TemplateAccess struct {
	// Users by name, as spec.user of their sessions spells it.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	Users []string `json:"users,omitempty"`
	// Groups, one of which must be in spec.groups of a session. "system:…" are the
	// cluster's own groups, which no session can name.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:XValidation:rule="!self.startsWith('system:')",message="groups that begin with system: are the cluster's own and never count: leave them out"
	Groups []string `json:"groups,omitempty"`
}

// Admits reports whether a user with these groups may use the template.
func (a TemplateAccess) Admits(user string, groups []string) bool {
	if len(a.Users) == 0 && len(a.Groups) == 0 {
		return true
	}
	return slices.Contains(a.Users, user) || slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(a.Groups, g) })
}

// Streamer is the program that sends a desktop to the browser.
// +kubebuilder:validation:Enum=Selkies;SelkiesGStreamer;Custom
type Streamer string

// Words of Streamer.
const (
	// StreamerSelkies is Selkies 2.x: WebSockets, pixelflux encoders.
	StreamerSelkies Streamer = "Selkies"
	// StreamerSelkiesGStreamer is Selkies 1.6.x: WebRTC, GStreamer encoders.
	StreamerSelkiesGStreamer Streamer = "SelkiesGStreamer"
	// StreamerCustom is any other web desktop.
	StreamerCustom Streamer = "Custom"
)

// Transport carries the stream to the browser.
// +kubebuilder:validation:Enum=WebSocket;WebRTC
type Transport string

// Words of Transport.
const (
	// TransportWebSocket goes through the proxy, like every other request.
	TransportWebSocket Transport = "WebSocket"
	// TransportWebRTC goes through a TURN relay.
	TransportWebRTC Transport = "WebRTC"
)

// TemplateResources are default limits and bounds.
type TemplateResources struct {
	// DefaultGPU is the number of GPU slices. Default 1; 0 renders in software. A default
	// beyond min or max is moved to it.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=64
	DefaultGPU *int32 `json:"defaultGPU,omitempty"`
	// DefaultMemory limit, at least "1Mi". Default "4Gi".
	// +optional
	// +kubebuilder:default="4Gi"
	// +kubebuilder:validation:XValidation:rule="!isQuantity(self) || quantity(self).compareTo(quantity('1Mi')) >= 0",message="must be at least 1Mi (units: k, M, G, Ki, Mi, Gi, Ti)",messageExpression="self + ' is less than 1Mi' + (self.endsWith('m') ? ' (m means thousandths): did you mean ' + self.replace('m', 'Mi') + '?' : ' (units: k, M, G, Ki, Mi, Gi, Ti)')"
	DefaultMemory Quantity `json:"defaultMemory,omitempty"`
	// DefaultCPU limit in cores. Default "2".
	// +optional
	// +kubebuilder:default="2"
	DefaultCPU Quantity `json:"defaultCPU,omitempty"`
	// Min is the least a session may ask for.
	// +optional
	Min SessionResources `json:"min,omitempty"`
	// Max is the most a session may ask for.
	// +optional
	Max SessionResources `json:"max,omitempty"`
}

// TemplateRequests are what the scheduler reserves for a desktop.
type TemplateRequests struct {
	// Memory reserved, such as "2Gi"; at least "1Mi". Never more than the limit.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!isQuantity(self) || quantity(self).compareTo(quantity('1Mi')) >= 0",message="must be at least 1Mi (units: k, M, G, Ki, Mi, Gi, Ti)",messageExpression="self + ' is less than 1Mi' + (self.endsWith('m') ? ' (m means thousandths): did you mean ' + self.replace('m', 'Mi') + '?' : ' (units: k, M, G, Ki, Mi, Gi, Ti)')"
	Memory Quantity `json:"memory,omitempty"`
	// CPU reserved in cores, such as "500m". Never more than the limit.
	// +optional
	CPU Quantity `json:"cpu,omitempty"`
}

// EnvVar is one environment variable of the desktop.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.value) && has(self.valueFrom))",message="give value or valueFrom, not both"
type EnvVar struct {
	// Name of the variable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z_][A-Za-z0-9_]*$')",message="name must be letters, digits and '_', and not begin with a digit"
	Name string `json:"name"`
	// Value of the variable, taken literally: the desktop gets it byte for byte,
	// "$$" and "$(OTHER)" included. Only $(VARIABLE) with one of the streamer's
	// login variables is replaced, by the session's user name or password:
	// $(SELKIES_BASIC_AUTH_USER) and $(SELKIES_BASIC_AUTH_PASSWORD), and $(PASSWD)
	// where the streamer sets it.
	// +optional
	// +kubebuilder:validation:MaxLength=32768
	Value string `json:"value,omitempty"`
	// ValueFrom takes the value from a field of the pod, or from a Secret or ConfigMap of the
	// session's namespace that the platform's settings name (sessions.allowed).
	// +optional
	ValueFrom *corev1.EnvVarSource `json:"valueFrom,omitempty"`
}

// TemplateHome is the user's home directory in the image.
type TemplateHome struct {
	// Path the home volume is mounted at. Default: /home/ubuntu.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.startsWith('/') && !self.contains('..') && self != '/'",message="path must be an absolute directory other than /, without '..'"
	Path string `json:"path,omitempty"`
}

// TemplateSecurity is the identity the desktop's processes run as.
type TemplateSecurity struct {
	// Profile is the Pod Security level the pod keeps: Restricted (default), or
	// Baseline for images that must start as root or use sudo. There is no
	// third level: privileged pods, host namespaces and host paths are refused.
	// +optional
	// +kubebuilder:default=Restricted
	Profile SecurityProfile `json:"profile,omitempty"`
	// RunAsUser is the numeric user of the desktop. Default 1000.
	// +optional
	// +kubebuilder:validation:Minimum=0
	RunAsUser *int64 `json:"runAsUser,omitempty"`
	// RunAsGroup is the numeric group of the desktop. Default: runAsUser.
	// +optional
	// +kubebuilder:validation:Minimum=0
	RunAsGroup *int64 `json:"runAsGroup,omitempty"`
	// FSGroup owns the home volume. Default: runAsUser.
	// +optional
	// +kubebuilder:validation:Minimum=0
	FSGroup *int64 `json:"fsGroup,omitempty"`
	// SupplementalGroups are further numeric groups of the desktop's processes. AMD
	// and Intel GPUs need those that own /dev/dri and /dev/kfd on the nodes, often 44
	// (video) and 109 (render): `stat -c %g /dev/dri/* /dev/kfd` on a node prints them.
	// Neither 0 (root's group) nor 65532 (the agent's).
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:Minimum=1
	// +kubebuilder:validation:items:Maximum=2147483647
	// +kubebuilder:validation:items:XValidation:rule="self != 65532",message="65532 is the agent's group, which no desktop may be in"
	SupplementalGroups []int64 `json:"supplementalGroups,omitempty"`
}

// SecurityProfile is a Pod Security level.
// +kubebuilder:validation:Enum=Restricted;Baseline
type SecurityProfile string

// Words of SecurityProfile.
const (
	ProfileRestricted SecurityProfile = "Restricted"
	ProfileBaseline   SecurityProfile = "Baseline"
)

// TemplateGPU is how a desktop uses GPUs.
type TemplateGPU struct {
	// ResourceName is the extended resource that is asked for.
	// +optional
	// +kubebuilder:default="nvidia.com/gpu"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9.-]+/[A-Za-z0-9._-]+$')",message="resourceName must look like nvidia.com/gpu"
	ResourceName string `json:"resourceName,omitempty"`
	// Encoder of the video: Auto takes NVENC where every GPU node that
	// scheduling.nodeSelector admits is known to have it (A100, H100, H200, B100
	// and B200 have none), and else what the streamer can use safely; NVENC
	// demands it, Software encodes on the CPU. status.encoder shows what it comes to.
	// +optional
	// +kubebuilder:default=Auto
	Encoder EncoderChoice `json:"encoder,omitempty"`
	// Cost of an hour of one GPU slice, in GPU-hours, such as "0.5" for a slice of a
	// half, or "4" for a GPU that is dear. It counts from the next start. "0" costs
	// nothing.
	// +optional
	// +kubebuilder:default="1"
	// +kubebuilder:validation:MaxLength=10
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]{1,4}([.][0-9]{1,3})?$')",message="gpu.cost must be a number with at most three decimals, such as 1, 0.5 or 4"
	Cost string `json:"cost,omitempty"`
}

// EncoderChoice says who encodes the video.
// +kubebuilder:validation:Enum=Auto;NVENC;Software
type EncoderChoice string

// Words of EncoderChoice.
const (
	EncoderAuto     EncoderChoice = "Auto"
	EncoderNVENC    EncoderChoice = "NVENC"
	EncoderSoftware EncoderChoice = "Software"
)

// TemplatePolicy says what may pass between the desktop and the visitor's
// computer. A streamer that cannot keep to it leaves the template with
// Valid=False: SelkiesGStreamer has a clipboard only, Custom has no policy.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.microphone) && self.microphone && has(self.audio) && !self.audio)",message="policy.microphone needs policy.audio: a desktop without sound takes none either; set audio to true or microphone to false"
type TemplatePolicy struct {
	// Clipboard is the direction in which text and pictures may be copied:
	// ToDesktop (from the visitor's computer into the desktop), FromDesktop, Both
	// (default) or None.
	// +optional
	Clipboard ClipboardPolicy `json:"clipboard,omitempty"`
	// FileTransfer is the direction in which files may pass: Upload (from the
	// visitor's computer into the desktop), Download (and documents that are
	// printed), Both (default) or None. Streamer Selkies only; the others have no
	// file transfer, and SelkiesGStreamer accepts None.
	// +optional
	FileTransfer FileTransferPolicy `json:"fileTransfer,omitempty"`
	// Audio lets the desktop's sound be heard. Default true; false needs streamer
	// Selkies.
	// +optional
	Audio *bool `json:"audio,omitempty"`
	// Microphone lets visitors speak into the desktop, when they switch it on in
	// the page. Default false; true needs streamer Selkies.
	// +optional
	Microphone *bool `json:"microphone,omitempty"`
}

// ClipboardPolicy is a direction of the clipboard.
// +kubebuilder:validation:Enum=Both;ToDesktop;FromDesktop;None
type ClipboardPolicy string

// Words of ClipboardPolicy.
const (
	ClipboardBoth        ClipboardPolicy = "Both"
	ClipboardToDesktop   ClipboardPolicy = "ToDesktop"
	ClipboardFromDesktop ClipboardPolicy = "FromDesktop"
	ClipboardNone        ClipboardPolicy = "None"
)

// FileTransferPolicy is a direction of files.
// +kubebuilder:validation:Enum=Both;Upload;Download;None
type FileTransferPolicy string

// Words of FileTransferPolicy.
const (
	FileTransferBoth     FileTransferPolicy = "Both"
	FileTransferUpload   FileTransferPolicy = "Upload"
	FileTransferDownload FileTransferPolicy = "Download"
	FileTransferNone     FileTransferPolicy = "None"
)

// EncoderOutcome is what an EncoderChoice comes to.
// +kubebuilder:validation:Enum=NVENC;Software;PerNode
type EncoderOutcome string

// Words of EncoderOutcome.
const (
	OutcomeNVENC    EncoderOutcome = "NVENC"
	OutcomeSoftware EncoderOutcome = "Software"
	// OutcomePerNode: the streamer looks itself, on the node it runs on.
	OutcomePerNode EncoderOutcome = "PerNode"
)

// TemplateScheduling says where a desktop's pod may run.
type TemplateScheduling struct {
	// NodeSelector restricts the nodes by label.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// Tolerations of node taints.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// PriorityClassName of the pod.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	PriorityClassName string `json:"priorityClassName,omitempty"`
	// RuntimeClassName of the pod, such as nvidia.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	RuntimeClassName string `json:"runtimeClassName,omitempty"`
}

// TemplateLifecycle holds defaults and bounds of a session's timeouts.
type TemplateLifecycle struct {
	// Timeout is used by sessions that name none. Default "8h"; "0" means none.
	// +optional
	Timeout Duration `json:"timeout,omitempty"`
	// MaxTimeout bounds what a session may ask for; "0" or empty means no bound.
	// A longer wish is cut to it.
	// +optional
	MaxTimeout Duration `json:"maxTimeout,omitempty"`
	// TimeoutAction is used by sessions that name none. Default Delete.
	// +optional
	TimeoutAction TimeoutAction `json:"timeoutAction,omitempty"`
	// IdleTimeout is used by sessions that name none. Default "0": never.
	// +optional
	IdleTimeout Duration `json:"idleTimeout,omitempty"`
	// MaxIdleTimeout bounds what a session may ask for; "0" or empty means no
	// bound. A longer wish, or "0", is cut to it.
	// +optional
	MaxIdleTimeout Duration `json:"maxIdleTimeout,omitempty"`
	// MaxStarting is how long a start may take once the desktop has a node (see
	// status.downtime); then the session is suspended, so that a start that hangs
	// holds no GPU. A desktop that has run is not counted. Default "0": no limit.
	// +optional
	MaxStarting Duration `json:"maxStarting,omitempty"`
	// MaxFailed is how long a desktop may keep failing: its containers crash, or
	// its pods end by themselves (see status.downtime). Then the session is deleted
	// (the home is kept). Default "0": no limit.
	// +optional
	MaxFailed Duration `json:"maxFailed,omitempty"`
	// MaxSuspended is the longest time in phase Suspended; then the session is
	// deleted (the home is kept). Default "0": no limit.
	// +optional
	MaxSuspended Duration `json:"maxSuspended,omitempty"`
	// WarnBefore is how long before an end ExpiringSoon is raised, at most half of
	// the time that ends. An end that is already due when it is first noticed, after
	// a change of the template for instance, waits for this long. Default "10m".
	// +optional
	WarnBefore Duration `json:"warnBefore,omitempty"`
	// MaxExtension is how far keepAliveUntil may move the end of a run beyond
	// its timeout, or beyond its idle end where there is no timeout. Default "24h";
	// "0" forbids it.
	// +optional
	MaxExtension Duration `json:"maxExtension,omitempty"`
	// RetainHomesFor is how long homes are kept after their sessions have left
	// them, for sessions whose persistence.retainFor says nothing. Default "0":
	// for ever. It is recorded on a home when its session leaves it: a later
	// change counts for homes that are left later.
	// +optional
	RetainHomesFor Duration `json:"retainHomesFor,omitempty"`
}

// VDITemplateStatus is what the operator saw at its last look.
type VDITemplateStatus struct {
	// ObservedGeneration is the metadata.generation this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Sessions counts the sessions that name this template.
	// +optional
	Sessions TemplateSessions `json:"sessions,omitempty"`
	// Encoder is what gpu.encoder comes to for a session with a GPU that starts
	// now: NVENC, Software, or PerNode where the streamer takes what the node has.
	// Empty: the streamer names no encoder.
	// +optional
	Encoder EncoderOutcome `json:"encoder,omitempty"`
	// Conditions: Valid says whether sessions can start from this template.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// TemplateSessions counts sessions.
type TemplateSessions struct {
	// Total number of sessions that name this template.
	// +optional
	Total int32 `json:"total"`
	// Running sessions among them.
	// +optional
	Running int32 `json:"running"`
}
