package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// VDISession is one desktop of one user: a pod with the template's image, a
// private home volume and a URL that opens it in a browser.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="vdi.kasm.io/version=0.1.0"
// +kubebuilder:resource:scope=Namespaced,path=vdisessions,shortName=vdi,categories=all
// +kubebuilder:printcolumn:name="User",type=string,JSONPath=`.spec.user`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.status.url`
// +kubebuilder:printcolumn:name="Template",type=string,JSONPath=`.spec.template`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.expiresAt`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.message`,priority=1
// +kubebuilder:selectablefield:JSONPath=`.spec.user`
// +kubebuilder:selectablefield:JSONPath=`.spec.template`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 52 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be at most 52 lower-case letters, digits or '-', begin with a letter and end with a letter or digit"
type VDISession struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is the desktop that is asked for.
	// +required
	Spec VDISessionSpec `json:"spec"`

	// Status is what the operator saw at its last look.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status VDISessionStatus `json:"status,omitempty"`
}

// VDISessionList is a list of sessions.
//
// +kubebuilder:object:root=true
type VDISessionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []VDISession `json:"items"`
}

// VDISessionSpec is the desktop that is asked for.
//
// +kubebuilder:validation:XValidation:rule="self.user == oldSelf.user",message="spec.user cannot be changed: delete this session and create another for the other user"
// +kubebuilder:validation:XValidation:rule="self.template == oldSelf.template",message="spec.template cannot be changed: delete this session and create one with the other template (the home is kept)"
type VDISessionSpec struct {
	// User is the person the desktop belongs to: an e-mail address or an ID, as
	// the identity provider spells it. 1 to 256 printable characters in Unicode
	// NFC, without blanks at either end. Two spellings are two people. It cannot
	// be changed later.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches('^[\\\\p{L}\\\\p{M}\\\\p{N}\\\\p{P}\\\\p{S} ]*$')",message="user may hold printable characters only: no line breaks, tabs or other control characters"
	// +kubebuilder:validation:XValidation:rule="!self.startsWith(' ') && !self.endsWith(' ')",message="user must not begin or end with a blank"
	User string `json:"user"`

	// Template names the VDITemplate the desktop is made from. If it does not
	// exist yet, the session waits for it in phase Failed and heals when it
	// appears. It cannot be changed later.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="template must be the name of a VDITemplate: lower-case letters, digits, '-' and '.'"
	Template string `json:"template"`

	// Resources are the limits of the desktop. What is not given comes from the
	// template.
	// +optional
	Resources SessionResources `json:"resources,omitempty"`

	// Persistence is the home volume. A home is never deleted unless
	// reclaimPolicy is Delete and a person deletes the session, or retainFor
	// says how long it is kept after that.
	// +optional
	// +kubebuilder:default={}
	Persistence Persistence `json:"persistence,omitempty"`

	// Timeout is the longest run of the desktop, counted from status.startTime:
	// a duration such as "30m", "8h" or "1h30m". "0" means no limit. Default:
	// the template's lifecycle.timeout, else "8h".
	// +optional
	Timeout Duration `json:"timeout,omitempty"`

	// TimeoutAction is what happens at the end of the timeout: Delete removes
	// the session (the home is kept), Suspend stops the desktop and keeps the
	// session. Default: the template's lifecycle.timeoutAction, else Delete.
	// +optional
	TimeoutAction TimeoutAction `json:"timeoutAction,omitempty"`

	// IdleTimeout suspends the desktop when nobody has used it for this long: a
	// duration such as "30m"; "0" means never. It acts only on activity that is
	// known: unknown activity never stops a desktop. Default: the template's
	// lifecycle.idleTimeout, else "0".
	// +optional
	IdleTimeout Duration `json:"idleTimeout,omitempty"`

	// TimeZone of the desktop, such as "Europe/Berlin": its variable TZ, whatever the
	// template says about that. A change counts for the next start. The image must
	// hold the time zone database (tzdata), or programs show UTC. Default: TZ in the
	// template's env, else the template's timeZone, else what the image has.
	// +optional
	TimeZone TimeZone `json:"timeZone,omitempty"`

	// RunPolicy says whether the desktop should run. Suspended removes pod and
	// route and frees the GPU; home, host and URL are kept.
	// +optional
	// +kubebuilder:default=Running
	RunPolicy RunPolicy `json:"runPolicy,omitempty"`

	// KeepAliveUntil moves the end of the run to this time, at most by the
	// template's lifecycle.maxExtension beyond the timeout. An idle run is kept
	// that long beyond the timeout that the template grants, or beyond its idle
	// end where there is no timeout. It never shortens a run.
	// +optional
	KeepAliveUntil *metav1.Time `json:"keepAliveUntil,omitempty"`
}

// SessionResources are the limits of one desktop.
type SessionResources struct {
	// GPU is the number of GPU slices. 0 gives a desktop rendered in software.
	// Default: the template's resources.defaultGPU, else 1.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=64
	GPU *int32 `json:"gpu,omitempty"`

	// Memory limit, such as "4Gi" or "512Mi"; at least "1Mi". Default: the template's
	// resources.defaultMemory, else "4Gi".
	// +optional
	// +kubebuilder:validation:XValidation:rule="!isQuantity(self) || quantity(self).compareTo(quantity('1Mi')) >= 0",message="must be at least 1Mi (units: k, M, G, Ki, Mi, Gi, Ti)",messageExpression="self + ' is less than 1Mi' + (self.endsWith('m') ? ' (m means thousandths): did you mean ' + self.replace('m', 'Mi') + '?' : ' (units: k, M, G, Ki, Mi, Gi, Ti)')"
	Memory Quantity `json:"memory,omitempty"`

	// CPU limit in cores, such as "2" or "500m". Default: the template's
	// resources.defaultCPU, else "2".
	// +optional
	CPU Quantity `json:"cpu,omitempty"`
}

// Persistence is the home volume of a session.
//
// +kubebuilder:validation:XValidation:rule="has(self.accessMode) == has(oldSelf.accessMode) && (!has(self.accessMode) || self.accessMode == oldSelf.accessMode)",message="persistence.accessMode cannot be changed: a volume keeps its mode"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.storageClassName) || (has(self.storageClassName) && self.storageClassName == oldSelf.storageClassName)",message="persistence.storageClassName cannot be changed: a volume stays in its class"
type Persistence struct {
	// Enabled gives the desktop a home that outlives it. Switched off, the home
	// is a scratch directory; a claim that already exists is kept.
	// +optional
	// +kubebuilder:default=true
	Enabled *bool `json:"enabled,omitempty"`

	// Size of the home, such as "10Gi"; at least "1Mi". It can grow where the
	// storage class allows it, never shrink.
	// +optional
	// +kubebuilder:default="10Gi"
	// +kubebuilder:validation:XValidation:rule="!isQuantity(self) || quantity(self).compareTo(quantity('1Mi')) >= 0",message="must be at least 1Mi (units: k, M, G, Ki, Mi, Gi, Ti)",messageExpression="self + ' is less than 1Mi' + (self.endsWith('m') ? ' (m means thousandths): did you mean ' + self.replace('m', 'Mi') + '?' : ' (units: k, M, G, Ki, Mi, Gi, Ti)')"
	Size Quantity `json:"size,omitempty"`

	// StorageClassName is the storage class of the home. Default: the cluster's
	// default class.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	StorageClassName *string `json:"storageClassName,omitempty"`

	// ExistingClaim uses this PersistentVolumeClaim of the session's namespace
	// as the home instead of one made by the operator. The claim must be
	// labelled by an administrator with vdi.kasm.io/home-for and the identity
	// shown in status.identity. It is never deleted by the operator.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ExistingClaim string `json:"existingClaim,omitempty"`

	// AccessMode of a home made by the operator: ReadWriteOnce (one node),
	// ReadWriteOncePod (one pod) or ReadWriteMany. The operator itself never
	// starts two desktops on one home, whatever the mode. It cannot be changed
	// later. Default: the template's values, else ReadWriteOnce.
	// +optional
	AccessMode HomeAccessMode `json:"accessMode,omitempty"`

	// ReclaimPolicy says what happens to a home made by the operator when a
	// person deletes the session: Retain keeps it for the next session of the
	// same user and name, Delete removes it. A session that ends by itself
	// (expired, idle, failed) always keeps its home.
	// +optional
	// +kubebuilder:default=Retain
	ReclaimPolicy ReclaimPolicy `json:"reclaimPolicy,omitempty"`

	// RetainFor is how long a home made by the operator is kept after its
	// session has left it: a duration such as "720h" (30 days). Then the operator
	// deletes it, after a warning event on the claim. A session of the same user
	// and name takes it back before that. "0" keeps it for ever. Default: the
	// template's lifecycle.retainHomesFor, else "0".
	// +optional
	RetainFor Duration `json:"retainFor,omitempty"`
}

// Quantity is a positive Kubernetes quantity in its text form, such as "4Gi" or "500m".
// Fields that hold bytes ask for 1Mi in a rule of their own, not here, so that an
// object stored with less can still be changed in its other fields.
//
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:XValidation:rule="isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))",message="must be a positive quantity: bytes such as 512Mi or 4Gi (units: k, M, G, Ki, Mi, Gi, Ti), cores such as 2 or 500m"
type Quantity string

// Duration is a time span in hours, minutes and seconds, such as "8h", "30m" or
// "1h30m". "0" means none.
//
// +kubebuilder:validation:MaxLength=24
// +kubebuilder:validation:XValidation:rule="self.matches('^(0|([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?)$')",message="must be a duration such as 30m, 8h or 1h30m; 0 means none"
type Duration string

// TimeZone is a name in the IANA time zone database, such as "Europe/Berlin",
// "America/Argentina/Buenos_Aires" or "Etc/UTC".
//
// +kubebuilder:validation:MaxLength=64
// +kubebuilder:validation:XValidation:rule="self.matches('^([A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9][A-Za-z0-9_+-]*)*)?$')",message="must be the name of a time zone, such as Europe/Berlin or Etc/UTC: letters, digits, '_', '+' and '-' between single '/'"
type TimeZone string

// TimeoutAction is what happens when a session reaches its timeout.
// +kubebuilder:validation:Enum=Delete;Suspend
type TimeoutAction string

// Words of TimeoutAction.
const (
	TimeoutDelete  TimeoutAction = "Delete"
	TimeoutSuspend TimeoutAction = "Suspend"
)

// HomeAccessMode is how a home can be mounted.
// +kubebuilder:validation:Enum=ReadWriteOnce;ReadWriteOncePod;ReadWriteMany
type HomeAccessMode string

// RunPolicy says whether a desktop should run.
// +kubebuilder:validation:Enum=Running;Suspended
type RunPolicy string

// Words of RunPolicy.
const (
	RunPolicyRunning   RunPolicy = "Running"
	RunPolicySuspended RunPolicy = "Suspended"
)

// ReclaimPolicy says what happens to a home when its session is deleted by a person.
// +kubebuilder:validation:Enum=Retain;Delete
type ReclaimPolicy string

// Words of ReclaimPolicy.
const (
	ReclaimRetain ReclaimPolicy = "Retain"
	ReclaimDelete ReclaimPolicy = "Delete"
)

// Phase is a session's state in one word.
// +kubebuilder:validation:Enum=Pending;Creating;Running;Suspended;Terminating;Failed
type Phase string

// Phases of a session.
const (
	// PhasePending: accepted; something outside is awaited (see status.waitingFor).
	PhasePending Phase = "Pending"
	// PhaseCreating: the pod has a node; images, volumes or the desktop are starting.
	PhaseCreating Phase = "Creating"
	// PhaseRunning: pod, desktop and route answered.
	PhaseRunning Phase = "Running"
	// PhaseSuspended: stopped as asked; home, host and URL are kept.
	PhaseSuspended Phase = "Suspended"
	// PhaseTerminating: being deleted.
	PhaseTerminating Phase = "Terminating"
	// PhaseFailed: it cannot start or run as asked; status.message says why and what helps.
	PhaseFailed Phase = "Failed"
)

// WaitingFor names what a session that is not running yet waits for.
// +kubebuilder:validation:Enum=GPU;Node;Image;Volume;Template;Route;Quota
type WaitingFor string

// Words of WaitingFor.
const (
	WaitingForGPU      WaitingFor = "GPU"
	WaitingForNode     WaitingFor = "Node"
	WaitingForImage    WaitingFor = "Image"
	WaitingForVolume   WaitingFor = "Volume"
	WaitingForTemplate WaitingFor = "Template"
	WaitingForRoute    WaitingFor = "Route"
	WaitingForQuota    WaitingFor = "Quota"
)

// StopReason says why the operator ended or stopped a run.
// +kubebuilder:validation:Enum=User;Expired;Idle;Failed
type StopReason string

// Words of StopReason.
const (
	// StopUser: spec.runPolicy was set to Suspended, or a person deleted the session.
	StopUser StopReason = "User"
	// StopExpired: the timeout was reached.
	StopExpired StopReason = "Expired"
	// StopIdle: nobody used the desktop for the idle timeout.
	StopIdle StopReason = "Idle"
	// StopFailed: it failed for too long.
	StopFailed StopReason = "Failed"
)

// End names one of the ends that a session comes to by itself.
// +kubebuilder:validation:Enum=Timeout;Idle;Starting;Failed;Suspended
type End string

// Words of End.
const (
	// EndTimeout: the run has lasted for its timeout.
	EndTimeout End = "Timeout"
	// EndIdle: nobody has used the desktop for the idle timeout.
	EndIdle End = "Idle"
	// EndStarting: the start takes too long (lifecycle.maxStarting).
	EndStarting End = "Starting"
	// EndFailed: the desktop keeps failing (lifecycle.maxFailed).
	EndFailed End = "Failed"
	// EndSuspended: the session has been suspended for too long (lifecycle.maxSuspended).
	EndSuspended End = "Suspended"
)

// Announcement is the warning of an end: since when it stands, and when the end comes.
type Announcement struct {
	// End that was announced.
	End End `json:"end"`
	// Since is when it was, by the API server's clock.
	Since metav1.Time `json:"since"`
	// At is when it comes, unless something moves it. Left out while its clock stands
	// still.
	// +optional
	At *metav1.Time `json:"at,omitempty"`
}

// DowntimeStatus is a clock that counts how long a run does not work: from the
// moment the desktop has a node until it answers, and again whenever it fails. It
// stands still while the desktop waits for a node, and while its node does not
// answer. Ten minutes in phase Running set it back.
type DowntimeStatus struct {
	// Since is when the clock was last started. Left out while it stands still.
	// +optional
	Since *metav1.Time `json:"since,omitempty"`
	// Seconds is what it had counted before.
	// +optional
	Seconds int64 `json:"seconds,omitempty"`
	// Failing is true while the desktop's containers or pods end by themselves,
	// also between two tries.
	// +optional
	Failing bool `json:"failing,omitempty"`
}

// VDISessionStatus is what the operator saw at its last look.
type VDISessionStatus struct {
	// ObservedGeneration is the metadata.generation this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Phase is the session's state in one word.
	// +optional
	Phase Phase `json:"phase,omitempty"`

	// Message says in a sentence what is going on and, where something is
	// wrong, what helps.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Message string `json:"message,omitempty"`

	// WaitingFor names what is awaited while the session is not running.
	// +optional
	WaitingFor WaitingFor `json:"waitingFor,omitempty"`

	// URL opens the desktop in a browser. It stays the same through suspend and resume.
	// +optional
	URL string `json:"url,omitempty"`

	// Host is the DNS name in the URL.
	// +optional
	Host string `json:"host,omitempty"`

	// PodName is the pod of the current run.
	// +optional
	PodName string `json:"podName,omitempty"`

	// StartTime is when the current run became Running.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// ExpiresAt is when the session's present state ends by itself: the run by
	// its timeout or by idleness, a start or a failure that takes too long, or
	// a suspension.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`

	// ExpiryReason says what ends it at expiresAt.
	// +optional
	ExpiryReason StopReason `json:"expiryReason,omitempty"`

	// Announcements tell since when each end that is near has been announced. No
	// end comes before it was announced for the template's lifecycle.warnBefore.
	// +optional
	// +listType=map
	// +listMapKey=end
	// +kubebuilder:validation:MaxItems=8
	Announcements []Announcement `json:"announcements,omitempty"`

	// Downtime is how long the desktop of this run has not worked so far, its
	// start included.
	// +optional
	Downtime *DowntimeStatus `json:"downtime,omitempty"`

	// PhaseSince is when the session entered its phase.
	// +optional
	PhaseSince *metav1.Time `json:"phaseSince,omitempty"`

	// Lifecycle are the rules of the template for the ends of its sessions, as
	// they were last read. They hold while the template is missing.
	// +optional
	Lifecycle *TemplateLifecycle `json:"lifecycle,omitempty"`

	// Failures counts the pods that ended by themselves since the desktop last
	// ran for ten minutes; each makes the wait before the next start longer.
	// +optional
	Failures int32 `json:"failures,omitempty"`

	// LastExit is how a part of the desktop last ended by itself in this run, or in
	// the one before until this one works.
	// +optional
	LastExit *ExitStatus `json:"lastExit,omitempty"`

	// StopReason says why the operator ended or stopped the last run.
	// +optional
	StopReason StopReason `json:"stopReason,omitempty"`

	// EndReason is set by the operator right before it deletes the session, and
	// says why. A session so marked keeps its home, whatever its reclaimPolicy.
	// +optional
	EndReason StopReason `json:"endReason,omitempty"`

	// Identity is the hash that stands for spec.user in labels: the first 80
	// bits of its SHA-256 in base32.
	// +optional
	Identity string `json:"identity,omitempty"`

	// CredentialsSecret is the Secret with the user name and password for the
	// desktop's page (keys username and password); empty in access mode OIDC, where
	// there is nothing to read.
	// +optional
	CredentialsSecret string `json:"credentialsSecret,omitempty"`

	// Access is what the front door needs to know its user.
	// +optional
	Access *AccessStatus `json:"access,omitempty"`

	// Home is the home volume.
	// +optional
	Home *HomeStatus `json:"home,omitempty"`

	// Resources are the limits in force: those of the desktop that runs, else
	// those of the next start: the session's, else the template's, else the
	// built-in ones.
	// +optional
	Resources *ResourcesStatus `json:"resources,omitempty"`

	// GPU tells what the desktop got.
	// +optional
	GPU *GPUStatus `json:"gpu,omitempty"`

	// Activity is the last known use of the desktop. Unknown activity is left out.
	// +optional
	Activity *ActivityStatus `json:"activity,omitempty"`

	// Timings of the current run's start.
	// +optional
	Timings *TimingsStatus `json:"timings,omitempty"`

	// Conditions: Ready, Accepted, HomeReady, Scheduled, DesktopReady,
	// Reachable, Stalled; and, only while they apply, ExpiringSoon,
	// UpdatePending and NameConflict.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ResourcesStatus are the limits in force. What was seen is recorded as it is: no
// rule of the spec may keep a status from being written.
type ResourcesStatus struct {
	// GPU is the number of GPU slices.
	// +optional
	GPU *int32 `json:"gpu,omitempty"`
	// Memory limit.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Memory string `json:"memory,omitempty"`
	// CPU limit in cores.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	CPU string `json:"cpu,omitempty"`
}

// AccessMode is how visitors of a desktop show who they are.
// +kubebuilder:validation:Enum=Password;OIDC
type AccessMode string

// Words of AccessMode.
const (
	AccessPassword AccessMode = "Password"
	AccessOIDC     AccessMode = "OIDC"
)

// AccessStatus is how visitors show who they are, and what the front door needs
// to know them by.
type AccessStatus struct {
	// Mode of the current or last run: Password (see credentialsSecret) or OIDC
	// (login at the platform's identity provider; there is no password).
	// +optional
	Mode AccessMode `json:"mode,omitempty"`
	// PasswordVerifier is the SHA-256 of the session's password in base64 (access
	// mode Password). The password has 160 bits, so it cannot be found from it.
	// +optional
	// +kubebuilder:validation:MaxLength=44
	PasswordVerifier string `json:"passwordVerifier,omitempty"`
}

// ExitStatus is how a container of a desktop ended. It holds nothing that the
// container wrote itself: everybody who may read sessions reads it.
type ExitStatus struct {
	// Container that ended; selkies is the desktop itself.
	// +optional
	Container string `json:"container,omitempty"`
	// ExitCode of its main program. Above 128 it was ended by the signal of that
	// number less 128.
	ExitCode int32 `json:"exitCode"`
	// Reason is the kubelet's word for it, such as OOMKilled, Error or Completed.
	// +optional
	Reason string `json:"reason,omitempty"`
	// Message says what is known about such an end, and what helps.
	// +optional
	Message string `json:"message,omitempty"`
	// At is when it ended, by its node's clock.
	// +optional
	At *metav1.Time `json:"at,omitempty"`
}

// HomeStatus is the home volume of a session.
type HomeStatus struct {
	// ClaimName is the PersistentVolumeClaim in use: the one that the desktop
	// mounts, or that the next start will.
	// +optional
	ClaimName string `json:"claimName,omitempty"`
	// UID of that claim. Only the claim with this UID may ever be deleted.
	// +optional
	UID types.UID `json:"uid,omitempty"`
	// CreatedByOperator is true when the operator made the claim for this
	// session name and user. A claim it did not make is never deleted.
	// +optional
	CreatedByOperator bool `json:"createdByOperator,omitempty"`
	// ReplacedUID is the UID of the claim that had this name when this session last
	// used it, where that one is gone: the home is another one since.
	// +optional
	ReplacedUID types.UID `json:"replacedUID,omitempty"`
	// RetainFor is how long the home is kept after this session has left it:
	// the session's wish, else the template's. Left out: for ever.
	// +optional
	RetainFor string `json:"retainFor,omitempty"`
	// RetainedClaims are claims of this session that are kept but not mounted.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	RetainedClaims []string `json:"retainedClaims,omitempty"`
}

// GPUStatus tells what the desktop got.
type GPUStatus struct {
	// ResourceName is the extended resource, such as nvidia.com/gpu.
	// +optional
	ResourceName string `json:"resourceName,omitempty"`
	// Count is the number of GPU slices.
	Count int32 `json:"count"`
	// Encoder is the streamer's video encoder, such as h264enc or x264enc.
	// +optional
	Encoder string `json:"encoder,omitempty"`
}

// ActivityStatus is the last known use of a desktop.
type ActivityStatus struct {
	// LastActivityTime is when the desktop was last used.
	// +optional
	LastActivityTime *metav1.Time `json:"lastActivityTime,omitempty"`
	// Clients is the number of connected viewers.
	// +optional
	Clients *int32 `json:"clients,omitempty"`
}

// TimingsStatus tells when the steps of a run's start were reached.
type TimingsStatus struct {
	// Queued is when the pod was created.
	// +optional
	Queued *metav1.Time `json:"queued,omitempty"`
	// Scheduled is when the pod got a node.
	// +optional
	Scheduled *metav1.Time `json:"scheduled,omitempty"`
	// ImagePulled is when the container first started.
	// +optional
	ImagePulled *metav1.Time `json:"imagePulled,omitempty"`
	// Ready is when the desktop answered.
	// +optional
	Ready *metav1.Time `json:"ready,omitempty"`
}
