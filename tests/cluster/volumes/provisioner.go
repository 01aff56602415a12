// Package volumes gives the local cluster dynamic volumes: a folder on the
// machine per claim, deleted with it. It exists because a cluster without a
// provisioner leaves every claim, and so every session, pending.
//
// The folders are not isolated and their size is not enforced.
package volumes

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// Provisioner is the name that the StorageClass points to.
const Provisioner = "vdi.local/hostpath"

// Run provisions, resizes and deletes volumes below dir until the context ends.
func Run(ctx context.Context, client kubernetes.Interface, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make folder for volumes: %w", err)
	}
	go resize(ctx, client)
	controller.NewProvisionController(ctx, client, Provisioner, folders{dir: dir},
		controller.LeaderElection(false),
		controller.MetricsPort(0),
	).Run(ctx)
	return nil
}

// folders makes one folder per volume.
type folders struct{ dir string }

func (f folders) Provision(_ context.Context, opts controller.ProvisionOptions) (*corev1.PersistentVolume, controller.ProvisioningState, error) {
	path := filepath.Join(f.dir, opts.PVName)
	if err := makeWritable(path); err != nil {
		return nil, controller.ProvisioningFinished, fmt.Errorf("provision %s: %w", opts.PVName, err)
	}
	directory := corev1.HostPathDirectory
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: opts.PVName},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *opts.StorageClass.ReclaimPolicy,
			AccessModes:                   opts.PVC.Spec.AccessModes,
			MountOptions:                  opts.StorageClass.MountOptions,
			Capacity: corev1.ResourceList{
				corev1.ResourceStorage: opts.PVC.Spec.Resources.Requests[corev1.ResourceStorage],
			},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				HostPath: &corev1.HostPathVolumeSource{Path: path, Type: &directory},
			},
		},
	}
	return volume, controller.ProvisioningFinished, nil
}

// makeWritable makes a folder that any user may write: the kubelet does not
// apply fsGroup to hostPath volumes.
func makeWritable(path string) error {
	if err := os.MkdirAll(path, 0o777); err != nil {
		return err
	}
	return os.Chmod(path, 0o777) // whatever the umask says
}

func (f folders) Delete(_ context.Context, volume *corev1.PersistentVolume) error {
	if err := os.RemoveAll(filepath.Join(f.dir, volume.Name)); err != nil {
		return fmt.Errorf("delete volume %s: %w", volume.Name, err)
	}
	return nil
}
