package postrender

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// podOf finds the pod an object is or makes.
func podOf(obj *unstructured.Unstructured) (pod map[string]any, found bool) {
	where := map[string][]string{
		wire.KindPod: {}, "PodTemplate": {"template"},
		"Deployment": {"spec", "template"}, "StatefulSet": {"spec", "template"}, "DaemonSet": {"spec", "template"},
		"ReplicaSet": {"spec", "template"}, "ReplicationController": {"spec", "template"}, "Job": {"spec", "template"},
		"CronJob": {"spec", "jobTemplate", "spec", "template"},
	}
	at, known := where[obj.GetKind()]
	if !known {
		return nil, false
	}
	field, _, _ := unstructured.NestedFieldNoCopy(obj.Object, at...)
	pod, found = field.(map[string]any)
	return pod, found
}
