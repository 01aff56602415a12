package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// VDIUsage is what the desktops of one person have used that are over: days of the last two
// months, and the months before, by the calendar of accounting.timeZone. The operator writes it
// when a run ends, where a VDIQuota limits GPU-hours or accounting is enabled. What runs is not
// in it yet. Who deletes it forgives what was used.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:annotations="vdi.kasm.io/version=0.1.0"
// +kubebuilder:resource:scope=Cluster,path=vdiusages,shortName=vdiu
// +kubebuilder:printcolumn:name="User",type=string,JSONPath=`.spec.user`
// +kubebuilder:printcolumn:name="Month",type=string,JSONPath=`.status.month`
// +kubebuilder:printcolumn:name="GPU-Hours",type=string,JSONPath=`.status.gpuHours`
// +kubebuilder:printcolumn:name="Last",type=date,JSONPath=`.status.lastEnd`
type VDIUsage struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says whose it is.
	// +required
	Spec VDIUsageSpec `json:"spec"`
	// Status is what they have used. It is written with the object.
	// +optional
	Status VDIUsageStatus `json:"status,omitempty"`
}

// VDIUsageSpec says whose it is.
type VDIUsageSpec struct {
	// User as spec.user of the sessions spells them.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	User string `json:"user"`
}

// VDIUsageStatus is what a person has used.
type VDIUsageStatus struct {
	// Month in which the last run ended, such as 2026-11.
	// +optional
	Month string `json:"month,omitempty"`
	// GPUHours of that month, in hundredths.
	// +optional
	GPUHours string `json:"gpuHours,omitempty"`
	// LastEnd is when the last run ended.
	// +optional
	LastEnd *metav1.Time `json:"lastEnd,omitempty"`
	// Days, the oldest first.
	// +optional
	// +listType=atomic
	Days []UsageSpan `json:"days,omitempty"`
	// Months before the days.
	// +optional
	// +listType=atomic
	Months []UsageSpan `json:"months,omitempty"`
	// Runs that ended in the last 33 days: from these VDIQuotas count, each by its own
	// calendar. The oldest are put together where there are very many.
	// +optional
	// +listType=atomic
	Runs []UsedRun `json:"runs,omitempty"`
}

// VDIUsageList is a list of what people have used.
//
// +kubebuilder:object:root=true
type VDIUsageList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []VDIUsage `json:"items"`
}

// UsageSpan is what was used in a day or a month.
type UsageSpan struct {
	// Date is the day, such as 2026-11-30, or the month, such as 2026-11.
	// +required
	// +kubebuilder:validation:Pattern=`^\d{4}-\d{2}(-\d{2})?$`
	Date string `json:"date"`
	// Namespace of the sessions.
	// +required
	Namespace string `json:"namespace"`
	// Template of the sessions.
	// +required
	Template string `json:"template"`
	// Runs that began in it.
	// +optional
	Runs int32 `json:"runs,omitempty"`
	// Seconds that desktops ran.
	// +optional
	Seconds int64 `json:"seconds,omitempty"`
	// GPUSeconds are seconds times GPU slices times the template's gpu.cost; 3600 of them
	// are a GPU-hour.
	// +optional
	GPUSeconds int64 `json:"gpuSeconds,omitempty"`
}

// UsedRun is a run that is over.
type UsedRun struct {
	// UID of its pod, by which it counts once. Left out of several that were put together.
	// +optional
	UID types.UID `json:"uid,omitempty"`
	// Begin is when it got its node.
	// +required
	Begin metav1.Time `json:"begin"`
	// End is when it gave its GPUs back.
	// +required
	End metav1.Time `json:"end"`
	// GPUSeconds are seconds times GPU slices times the template's gpu.cost.
	// +optional
	GPUSeconds int64 `json:"gpuSeconds,omitempty"`
	// Quotas whose GPU-hours it used: the VDIQuotas that limited them when it started.
	// +optional
	// +listType=atomic
	Quotas []string `json:"quotas,omitempty"`
}

// BudgetWindow is after what time there is a new budget.
// +kubebuilder:validation:Enum=Day;Week;Month
type BudgetWindow string

// Words of BudgetWindow.
const (
	BudgetDay   BudgetWindow = "Day"
	BudgetWeek  BudgetWindow = "Week"
	BudgetMonth BudgetWindow = "Month"
)
