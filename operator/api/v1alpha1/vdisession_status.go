package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
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

	// Announcements say since when each end that is near has been announced. No
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
	// desktop's page (keys username and password); empty in access modes OIDC and Local, where
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

	// GPU shows what the desktop got.
	// +optional
	GPU *GPUStatus `json:"gpu,omitempty"`

	// Run is the pod that holds what the desktop uses now. It is counted until the pod is
	// gone or has ended, also while it starts and stops.
	// +optional
	Run *RunStatus `json:"run,omitempty"`

	// Budgets of GPU-hours that held when the run started: a VDIQuota that is lowered, or
	// new, counts for the next one.
	// +optional
	// +listType=map
	// +listMapKey=quota
	// +kubebuilder:validation:MaxItems=64
	Budgets []RunBudget `json:"budgets,omitempty"`

	// Runs are the last ten pods that hold nothing any more, the latest last.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Runs []RunRecord `json:"runs,omitempty"`

	// Queue is the session's place among those that wait for room in a quota or in the
	// cluster. Left out while it does not wait.
	// +optional
	Queue *QueueStatus `json:"queue,omitempty"`

	// Activity is the last known use of the desktop. Unknown activity is left out.
	// +optional
	Activity *ActivityStatus `json:"activity,omitempty"`

	// Timings of the current run's start.
	// +optional
	Timings *TimingsStatus `json:"timings,omitempty"`

	// Conditions: Ready, Accepted, HomeReady, Scheduled, DesktopReady,
	// Reachable, Stalled; and, only while they apply, Admitted, ExpiringSoon,
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
// +kubebuilder:validation:Enum=Password;OIDC;Local
type AccessMode string

// AccessStatus is how visitors show who they are, and what the front door needs
// to know them by.
type AccessStatus struct {
	// Mode of the current or last run: Password (see credentialsSecret), OIDC (login at
	// the platform's identity provider) or Local (login at its portal); with a login
	// there is no password.
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

// GPUStatus shows what the desktop got.
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

// RunStatus is a pod that is counted.
type RunStatus struct {
	// PodUID is the pod's metadata.uid.
	PodUID types.UID `json:"podUID"`
	// Begin is when it got its node.
	Begin metav1.Time `json:"begin"`
	// GPUSlices that it holds.
	// +optional
	GPUSlices int32 `json:"gpuSlices,omitempty"`
	// Cost of each, as the template's gpu.cost was at the start.
	// +optional
	Cost string `json:"cost,omitempty"`
	// Quotas whose GPU-hours it uses: the VDIQuotas that limited them when it started.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Quotas []string `json:"quotas,omitempty"`
	// End is when it gave its GPUs back, where that is not written down yet or the pod is
	// still there.
	// +optional
	End *metav1.Time `json:"end,omitempty"`
	// Why it is being stopped.
	// +optional
	Why StopReason `json:"why,omitempty"`
}

// RunBudget is what a VDIQuota gave a person of GPU-hours when a run started.
type RunBudget struct {
	// Quota is the VDIQuota.
	Quota string `json:"quota"`
	// GPUSeconds that may be used in a window; 3600 of them are a GPU-hour.
	GPUSeconds int64 `json:"gpuSeconds"`
	// Window after which there are new ones.
	Window BudgetWindow `json:"window"`
	// TimeZone by whose calendar. Left out: UTC.
	// +optional
	TimeZone string `json:"timeZone,omitempty"`
}

// RunRecord is a pod that holds nothing any more.
type RunRecord struct {
	// PodUID is the pod's metadata.uid.
	PodUID types.UID `json:"podUID"`
	// Begin is when it got its node.
	Begin metav1.Time `json:"begin"`
	// End is when it gave its GPUs back.
	End metav1.Time `json:"end"`
	// Why it was stopped. Left out where it ended by itself.
	// +optional
	Why StopReason `json:"why,omitempty"`
	// GPUHours are hours times GPU slices times their cost, in hundredths.
	// +optional
	GPUHours string `json:"gpuHours,omitempty"`
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

// TimingsStatus shows when the steps of a run's start were reached.
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

// QueueStatus is a session's place among those that wait for room.
type QueueStatus struct {
	// Since is when the session began to wait.
	Since metav1.Time `json:"since"`
	// Quota is the VDIQuota whose limit it waits for. Left out where no node has room.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Quota string `json:"quota,omitempty"`
	// QuotaUID is that quota's metadata.uid.
	// +optional
	QuotaUID types.UID `json:"quotaUID,omitempty"`
	// QuotaGeneration is the metadata.generation of that quota.
	// +optional
	QuotaGeneration int64 `json:"quotaGeneration,omitempty"`
	// Pool names, by a hash, the kind of desktop: those of the same kind take each other's
	// room on the nodes. Left out for a desktop without a GPU.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Pool string `json:"pool,omitempty"`
	// Key is what those of the same priority are sorted by: when the session began to
	// wait, set back for what its person had or waited for by then. It never changes.
	// Left out where the session was refused and does not wait.
	// +optional
	Key *metav1.MicroTime `json:"key,omitempty"`
	// Place among those that wait for the same limit; 1 is the next to start. It is
	// written when the session enters the queue, and for the first ten whenever it moves.
	// It may grow when somebody comes who has less.
	// +optional
	Place int32 `json:"place,omitempty"`
}
