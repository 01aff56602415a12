package volumes

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// resize grants every claim of ours the size it asks for: folders have none, so
// growing is only bookkeeping.
func resize(ctx context.Context, client kubernetes.Interface) {
	factory := informers.NewSharedInformerFactory(client, 0)
	_, _ = factory.Core().V1().PersistentVolumeClaims().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		UpdateFunc: func(_, after any) {
			claim, ok := after.(*corev1.PersistentVolumeClaim)
			if !ok || !wantsMore(claim) {
				return
			}
			if err := grow(ctx, client, claim.DeepCopy()); err != nil {
				klog.ErrorS(err, "resize", "claim", klog.KObj(claim))
			}
		},
	})
	factory.Start(ctx.Done())
}

func wantsMore(claim *corev1.PersistentVolumeClaim) bool {
	has, wants := sizes(claim)
	return claim.Status.Phase == corev1.ClaimBound && wants.Cmp(has) > 0
}

func sizes(claim *corev1.PersistentVolumeClaim) (has, wants resource.Quantity) {
	return claim.Status.Capacity[corev1.ResourceStorage], claim.Spec.Resources.Requests[corev1.ResourceStorage]
}

// grow writes the new size to the volume first, as the real resizer does.
func grow(ctx context.Context, client kubernetes.Interface, claim *corev1.PersistentVolumeClaim) error {
	_, wants := sizes(claim)
	volume, err := client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read volume: %w", err)
	}
	if volume.Annotations["pv.kubernetes.io/provisioned-by"] != Provisioner {
		return nil
	}
	volume.Spec.Capacity[corev1.ResourceStorage] = wants
	if _, err := client.CoreV1().PersistentVolumes().Update(ctx, volume, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("grow volume: %w", err)
	}
	claim.Status.Capacity[corev1.ResourceStorage] = wants
	if _, err := client.CoreV1().PersistentVolumeClaims(claim.Namespace).UpdateStatus(ctx, claim, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("grow claim: %w", err)
	}
	return nil
}
