package volumes

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

func TestVolumeIsAFolderOfItsOwn(t *testing.T) {
	f := folders{dir: t.TempDir()}
	keep := corev1.PersistentVolumeReclaimRetain
	volume, _, err := f.Provision(t.Context(), controller.ProvisionOptions{
		PVName:       "pv-1",
		PVC:          claimOf("1Gi", ""),
		StorageClass: &storagev1.StorageClass{ReclaimPolicy: &keep},
	})
	require.NoError(t, err)
	assert.Equal(t, keep, volume.Spec.PersistentVolumeReclaimPolicy)
	path := filepath.Join(f.dir, "pv-1")
	assert.Equal(t, path, volume.Spec.HostPath.Path)
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o777), info.Mode().Perm(), "any user may write, whatever the umask")

	require.NoError(t, os.WriteFile(filepath.Join(path, "file"), nil, 0o600))
	require.NoError(t, f.Delete(t.Context(), volume))
	require.NoDirExists(t, path)
	require.NoError(t, f.Delete(t.Context(), volume), "again is no error")
}

func TestWantsMore(t *testing.T) {
	assert.True(t, wantsMore(claimOf("2Gi", "1Gi")))
	assert.False(t, wantsMore(claimOf("1Gi", "1Gi")))
	assert.False(t, wantsMore(claimOf("1Gi", "")), "not bound yet")
}

// claimOf is a claim that wants and, unless empty, has a size.
func claimOf(wants, has string) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{}
	c.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(wants)}
	if has != "" {
		c.Status.Phase = corev1.ClaimBound
		c.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(has)}
	}
	return c
}
