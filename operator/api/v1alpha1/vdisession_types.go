package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
// +kubebuilder:printcolumn:name="Display Name",type=string,JSONPath=`.spec.displayName`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.message`,priority=1
// +kubebuilder:selectablefield:JSONPath=`.spec.user`
// +kubebuilder:selectablefield:JSONPath=`.spec.template`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 52 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be at most 52 lower-case letters, digits or '-', begin with a letter and end with a letter or digit"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.spec.groups) || (has(self.spec.groups) && self.spec.groups == oldSelf.spec.groups) || oldSelf.spec.groups.size() == 0 || oldSelf.spec.runPolicy == 'Suspended' || self.spec.runPolicy == 'Suspended' || !has(oldSelf.status) || !has(oldSelf.status.podName)",message="spec.groups can be changed only while no desktop runs: set spec.runPolicy to Suspended first, or with it; the groups count from the next start"
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

	// DisplayName is the name people see. It can be changed at any time, and changes
	// nothing about the desktop: home, host and URL go by metadata.name. 1 to 64
	// printable characters, without blanks at either end.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[\\\\p{L}\\\\p{M}\\\\p{N}\\\\p{P}\\\\p{S} ]*$')",message="displayName may hold printable characters only: no line breaks, tabs or other control characters"
	// +kubebuilder:validation:XValidation:rule="!self.startsWith(' ') && !self.endsWith(' ')",message="displayName must not begin or end with a blank"
	DisplayName string `json:"displayName,omitempty"`

	// Template names the VDITemplate the desktop is made from. If it does not
	// exist yet, the session waits for it in phase Failed and heals when it
	// appears. It cannot be changed later.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="template must be the name of a VDITemplate: lower-case letters, digits, '-' and '.'"
	Template string `json:"template"`

	// Groups are those of the user, as the identity provider spells them: templates may
	// be for some groups (spec.access). They can be changed only while no desktop runs,
	// and count from the next start; a session without any, such as one of an earlier
	// release, can be given them at any time. People may name only groups that they are
	// in at the API server. The front door writes those of the login (modes OIDC and Local)
	// whenever its user resumes the desktop there. "system:…" are the cluster's own
	// groups, which never count and are refused. 1 to 256 printable characters each.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[\\\\p{L}\\\\p{M}\\\\p{N}\\\\p{P}\\\\p{S} ]*$')",message="a group may hold printable characters only: no line breaks, tabs or other control characters"
	// +kubebuilder:validation:items:XValidation:rule="!self.startsWith('system:')",message="groups that begin with system: are the cluster's own and never count: leave them out"
	Groups []string `json:"groups,omitempty"`

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
// +kubebuilder:validation:Enum=User;Expired;Idle;Failed;Budget;Drain
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
	// StopBudget: the GPU-hours of a VDIQuota were used up.
	StopBudget StopReason = "Budget"
	// StopDrain: an administrator frees the node that the desktop ran on.
	StopDrain StopReason = "Drain"
)

// End names one of the ends that a session comes to by itself.
// +kubebuilder:validation:Enum=Timeout;Idle;Starting;Failed;Suspended;Budget;Drain
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
	// EndBudget: the GPU-hours of a VDIQuota are used up.
	EndBudget End = "Budget"
	// EndDrain: an administrator frees the node. The desktop may start again on another one.
	EndDrain End = "Drain"
)
