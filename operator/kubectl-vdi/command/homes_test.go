package command

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes/kept"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

const (
	allClaims = "/api/v1/persistentvolumeclaims"
	allUsages = "/apis/vdi.kasm.io/v1alpha1/vdiusages"
)

// claimOf is the home that the operator made for somebody's session.
func claimOf(session, user string, change ...func(*corev1.PersistentVolumeClaim)) corev1.PersistentVolumeClaim {
	c := corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
		Name: wire.PrefixHome + session, Namespace: "desktops", UID: types.UID("claim-" + session),
		Labels:      map[string]string{wire.LabelManagedBy: wire.Operator, wire.LabelName: wire.NameSession, wire.LabelInstance: session, wire.LabelUser: platform.Identity(user)},
		Annotations: map[string]string{wire.AnnotationSessionUID: "u-" + session},
	}}
	c.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("20Gi")}
	c.Spec.StorageClassName = new("fast")
	for _, edit := range change {
		edit(&c)
	}
	return c
}

// leftFor marks a home as left at noon, to be kept for a time.
func leftFor(keep time.Duration) func(*corev1.PersistentVolumeClaim) {
	return func(c *corev1.PersistentVolumeClaim) { kept.Leave(c, noon, keep) }
}

func owned(name, user, title string) vdi.VDISession {
	return *session(func(s *vdi.VDISession) { s.Name, s.Spec.User, s.Spec.DisplayName = name, user, title })
}

// lived is a cluster with homes that are in use, and others that were left.
func lived() lists {
	mounts := podOf("draws", "gpu-1", "1", "1Gi")
	mounts.Spec.Volumes = []corev1.Volume{{VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: wire.PrefixHome + "draws"}}}}
	over := *mounts.DeepCopy()
	over.Name, over.Status.Phase = "over", corev1.PodFailed
	return lists{
		allClaims: []corev1.PersistentVolumeClaim{
			claimOf("draws", "alice", func(c *corev1.PersistentVolumeClaim) {
				c.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("25Gi")}
			}),
			claimOf("later", "bob", leftFor(48*time.Hour)),
			claimOf("ever", "carol", leftFor(0), func(c *corev1.PersistentVolumeClaim) {
				c.Annotations[wire.AnnotationDisplayName], c.Spec.StorageClassName = "My drawings", nil
			}),
			claimOf("sooner", "bob", leftFor(24*time.Hour)),
			claimOf("copied", "bob", leftFor(time.Hour), func(c *corev1.PersistentVolumeClaim) { c.UID = "of a backup" }),
		},
		allSessions: []vdi.VDISession{owned("draws", "alice", "Atelier")},
		allUsages:   []vdi.VDIUsage{{Spec: vdi.VDIUsageSpec{User: "bob"}}},
		allPods:     []corev1.Pod{mounts, over},
	}
}

// What ends stands first, then what is left for ever, then what has a session.
func TestHomes(t *testing.T) {
	printed, complaint, err := lived().say(t, "homes")
	require.NoError(t, err)
	assert.Empty(t, complaint)
	nobody := platform.Identity("carol")
	assert.Equal(t, `NAMESPACE   CLAIM             OWNER              SESSION   DISPLAY NAME   SIZE   CLASS   KEPT UNTIL             USED BY
desktops    vdi-data-sooner   bob                left      -              20Gi   fast    2026-01-03T12:00:00Z   -
desktops    vdi-data-later    bob                left      -              20Gi   fast    2026-01-04T12:00:00Z   -
desktops    vdi-data-copied   bob                left      -              20Gi   fast    for ever               -
desktops    vdi-data-ever     `+nobody+`   left      My drawings    20Gi   -       for ever               -
desktops    vdi-data-draws    alice              draws     Atelier        25Gi   fast    -                      draws
`, printed)
	printed, _, err = lived().say(t, "homes", "--left", "-o", "name")
	require.NoError(t, err)
	assert.Equal(t, "persistentvolumeclaim/vdi-data-sooner\npersistentvolumeclaim/vdi-data-later\npersistentvolumeclaim/vdi-data-copied\npersistentvolumeclaim/vdi-data-ever\n", printed)
}

// For a script, the session is named that has left it, too.
func TestHomesForMachines(t *testing.T) {
	one := lived()
	one[allClaims] = one[allClaims].([]corev1.PersistentVolumeClaim)[1:2]
	printed, _, err := one.say(t, "homes", "-o", "yaml")
	require.NoError(t, err)
	assert.Equal(t, `items:
- claim: vdi-data-later
  identity: `+platform.Identity("bob")+`
  keptUntil: "2026-01-04T12:00:00Z"
  left: true
  namespace: desktops
  owner: bob
  session: later
  size: 20Gi
  storageClass: fast
`, printed)
}

// Without sessions, usages and pods there are homes all the same.
func TestHomesWithLess(t *testing.T) {
	few := lived()
	few[allSessions], few[allUsages], few[allPods] = forbidden("vdi.kasm.io", "vdisessions"), forbidden("vdi.kasm.io", "vdiusages"), forbidden("", "pods")
	printed, complaint, err := few.say(t, "homes", "--no-headers")
	require.NoError(t, err)
	assert.Contains(t, printed, platform.Identity("alice")+"   draws   -             25Gi   fast   -\n")
	assert.Equal(t, `Not read: owners and names by sessions: you lack the role vdi-viewer in the whole cluster
Not read: owners by what they have used: you lack the role vdi-admin in the whole cluster
Not read: desktops that use homes: you lack the role vdi-admin in the whole cluster
`, complaint)

	few[allClaims] = forbidden("", "persistentvolumeclaims")
	_, _, err = few.say(t, "homes")
	assert.Contains(t, explain(err), "What is missing is the role vdi-admin in the whole cluster")

	few[allClaims] = []corev1.PersistentVolumeClaim{}
	_, complaint, err = few.say(t, "homes")
	require.NoError(t, err)
	assert.Contains(t, complaint, "No homes found.\n")
}
