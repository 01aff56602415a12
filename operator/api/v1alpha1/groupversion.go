// Package v1alpha1 is the user-facing API of the VDI platform: VDISession (one desktop of
// one user), VDITemplate (what an administrator offers), VDIQuota (how much people may
// have at a time) and VDIUsage (what one person has used). It holds types, their words (phases, conditions, reasons) and nothing
// that decides.
//
// It is a leaf: every other package may import it, it imports no other package
// of this module.
//
// +kubebuilder:object:generate=true
// +groupName=vdi.kasm.io
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the API group and version of all types in this package.
var GroupVersion = schema.GroupVersion{Group: "vdi.kasm.io", Version: "v1alpha1"}

// AddToScheme registers the types of this package.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&VDISession{}, &VDISessionList{},
		&VDITemplate{}, &VDITemplateList{},
		&VDIQuota{}, &VDIQuotaList{},
		&VDIUsage{}, &VDIUsageList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
