package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// VDIQuota says how much of the cluster people may have at a time. Quotas that select a
// session must all hold. A quota never stops a desktop that runs: what is lowered counts
// for the next start. A Kubernetes ResourceQuota holds beside it, whoever creates pods.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="vdi.kasm.io/version=0.1.0"
// +kubebuilder:resource:scope=Cluster,path=vdiquotas,shortName=vdiq
// +kubebuilder:printcolumn:name="Default",type=boolean,JSONPath=`.spec.default`
// +kubebuilder:printcolumn:name="Exceeded",type=string,JSONPath=`.spec.onExceeded`
// +kubebuilder:printcolumn:name="Priority",type=integer,JSONPath=`.spec.priority`
// +kubebuilder:printcolumn:name="Running",type=integer,JSONPath=`.status.used.running`
// +kubebuilder:printcolumn:name="GPU Slices",type=integer,JSONPath=`.status.used.gpuSlices`
// +kubebuilder:printcolumn:name="Waiting",type=integer,JSONPath=`.status.waiting`
// +kubebuilder:printcolumn:name="People",type=integer,JSONPath=`.status.people`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type VDIQuota struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what may be had.
	// +required
	Spec VDIQuotaSpec `json:"spec"`

	// Status is what the operator saw at its last look.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status VDIQuotaStatus `json:"status,omitempty"`
}

// VDIQuotaList is a list of quotas.
//
// +kubebuilder:object:root=true
type VDIQuotaList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []VDIQuota `json:"items"`
}

// VDIQuotaSpec is what may be had.
//
// +kubebuilder:validation:XValidation:rule="has(self.perUser) || has(self.total) || has(self.priority) || has(self.weight)",message="the quota says nothing: give perUser, total, priority or weight"
type VDIQuotaSpec struct {
	// Selector says for which sessions the quota holds. What is given must all match;
	// an empty selector matches every session.
	// +optional
	Selector QuotaSelector `json:"selector,omitempty"`

	// Default makes each limit of perUser hold only for people whom no other quota,
	// which is not a default itself, gives a limit of the same name: "everybody one
	// desktop, artists four".
	// +optional
	Default bool `json:"default,omitempty"`

	// PerUser is what each person may have, of all their sessions that the quota selects.
	// +optional
	PerUser *UserLimits `json:"perUser,omitempty"`

	// Total is what all people may have together.
	// +optional
	Total *TotalLimits `json:"total,omitempty"`

	// OnExceeded says what becomes of a start for which there is no room: Queue lets
	// the session wait for its turn, Reject refuses it, until somebody resumes the
	// session again. The limits sessions and storage always refuse: no waiting helps.
	// +optional
	// +kubebuilder:default=Queue
	OnExceeded QuotaAction `json:"onExceeded,omitempty"`

	// Priority of the sessions that wait: those of a higher one start before all
	// others, however long those wait. Of several quotas that select a session the
	// highest counts; without any it is 0.
	// +optional
	// +kubebuilder:validation:Minimum=-1000
	// +kubebuilder:validation:Maximum=1000
	Priority *int32 `json:"priority,omitempty"`

	// Weight of the people among those of the same priority: who has the double weight
	// is set back half as far for what they have already. Of several quotas that select
	// a session the highest counts; without any it is 1.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Weight *int32 `json:"weight,omitempty"`
}

// QuotaSelector selects sessions. Each list holds exact names, and matches what is in it.
type QuotaSelector struct {
	// Users as spec.user of sessions spells them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	Users []string `json:"users,omitempty"`
	// Groups of which the person has at least one, in spec.groups of the session.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	Groups []string `json:"groups,omitempty"`
	// Namespaces of the sessions.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	Namespaces []string `json:"namespaces,omitempty"`
	// Templates of the sessions.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	Templates []string `json:"templates,omitempty"`
}

// UserLimits are what one person may have. What is left out is not limited.
//
// +kubebuilder:validation:MinProperties=1
type UserLimits struct {
	// Sessions that exist, also suspended ones. It counts when a session is accepted
	// for the first time, never at a resume: everybody reaches their files.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Sessions *int32 `json:"sessions,omitempty"`
	// Running desktops, those that are starting included.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Running *int32 `json:"running,omitempty"`
	// GPUSlices of desktops that run or are starting.
	// +optional
	// +kubebuilder:validation:Minimum=0
	GPUSlices *int32 `json:"gpuSlices,omitempty"`
	// CPU limits, in cores, of desktops that run or are starting, such as "16".
	// +optional
	CPU Quantity `json:"cpu,omitempty"`
	// Memory limits of desktops that run or are starting, such as "64Gi".
	// +optional
	Memory Quantity `json:"memory,omitempty"`
	// Storage of homes, those included that sessions have left behind. It counts when a
	// home is made or grown.
	// +optional
	Storage Quantity `json:"storage,omitempty"`
	// GPUHours that may be used in a time. When they are used up, which is announced
	// before, the person's desktops with GPUs are suspended, and start again when
	// somebody asks for it in the next window.
	// +optional
	GPUHours *GPUHoursLimit `json:"gpuHours,omitempty"`
}

// GPUHoursLimit is a budget of GPU-hours: hours times GPU slices times the template's
// gpu.cost.
type GPUHoursLimit struct {
	// Limit in GPU-hours, such as "40" or "2.5". What is lowered counts for the next
	// start.
	// +required
	// +kubebuilder:validation:MaxLength=10
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]{1,6}([.][0-9]{1,3})?$')",message="limit must be a number of GPU-hours with at most three decimals, such as 40 or 2.5"
	Limit string `json:"limit"`
	// Window after which there is a new budget: Day, Week (from Monday) or Month.
	// +optional
	// +kubebuilder:default=Month
	Window BudgetWindow `json:"window,omitempty"`
	// TimeZone by whose calendar, by its IANA name, such as Europe/Berlin. Default UTC.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_+/-]*$`
	TimeZone string `json:"timeZone,omitempty"`
}

// TotalLimits are what all people may have together. What is left out is not limited.
//
// +kubebuilder:validation:MinProperties=1
type TotalLimits struct {
	// Running desktops, those that are starting included.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Running *int32 `json:"running,omitempty"`
	// GPUSlices of desktops that run or are starting.
	// +optional
	// +kubebuilder:validation:Minimum=0
	GPUSlices *int32 `json:"gpuSlices,omitempty"`
}

// QuotaAction is what becomes of a start for which there is no room.
// +kubebuilder:validation:Enum=Queue;Reject
type QuotaAction string

// Words of QuotaAction.
const (
	QuotaQueue  QuotaAction = "Queue"
	QuotaReject QuotaAction = "Reject"
)

// VDIQuotaStatus is what the operator saw at its last look.
type VDIQuotaStatus struct {
	// ObservedGeneration is the metadata.generation this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Used is what the sessions that it selects have together.
	// +optional
	Used QuotaUse `json:"used,omitempty"`
	// Waiting is how many of them wait for their turn.
	// +optional
	Waiting int32 `json:"waiting"`
	// People is how many people have such sessions.
	// +optional
	People int32 `json:"people"`
	// Conditions: Ready says whether the quota counts, and what runs above its limits.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// QuotaUse is what sessions have together.
type QuotaUse struct {
	// Sessions that exist.
	Sessions int32 `json:"sessions"`
	// Running desktops, those that are starting included.
	Running int32 `json:"running"`
	// GPUSlices of these.
	GPUSlices int32 `json:"gpuSlices"`
}
