package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// OwnerReference makes the session the controller of an object. It does not
// block the session's deletion: the finalizer keeps the order.
func (in *VDISession) OwnerReference() metav1.OwnerReference {
	controller := true
	return metav1.OwnerReference{
		APIVersion: GroupVersion.String(), Kind: "VDISession",
		Name: in.Name, UID: in.UID, Controller: &controller,
	}
}
