package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/operator/homes/kept"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// home makes a claim as the operator does, marked as left, with changes.
func (d *doorSite) home(session string, changes ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	d.t.Helper()
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
		Name: wire.PrefixHome + session, Namespace: d.portal, Annotations: map[string]string{wire.AnnotationSessionUID: "1"},
		Labels: map[string]string{wire.LabelManagedBy: wire.Operator, wire.LabelName: wire.NameSession, wire.LabelInstance: session, wire.LabelUser: platform.Identity(alice)},
	}}
	claim.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	claim.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	kept.Leave(claim, time.Now(), 720*time.Hour)
	for _, change := range changes {
		change(claim)
	}
	require.NoError(d.t, d.client.Create(d.ctx, claim))
	return claim
}

// growing makes a home that could grow: bound, of a class that lets it.
func (d *doorSite) growing(session string) *corev1.PersistentVolumeClaim {
	d.t.Helper()
	yes, class := true, &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "growing-" + d.portal}, Provisioner: "kubernetes.io/no-provisioner"}
	class.AllowVolumeExpansion = &yes
	volume := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: class.Name}}
	volume.Spec = corev1.PersistentVolumeSpec{
		StorageClassName: class.Name, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Capacity:               corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
		PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/nowhere"}},
	}
	for _, o := range []client.Object{class, volume} {
		require.NoError(d.t, d.client.Create(d.ctx, o))
		d.t.Cleanup(func() { assert.NoError(d.t, client.IgnoreNotFound(d.client.Delete(context.WithoutCancel(d.ctx), o))) })
	}
	claim := d.home(session, func(c *corev1.PersistentVolumeClaim) {
		c.Spec.StorageClassName, c.Spec.VolumeName = &class.Name, volume.Name
	})
	d.eventually(func() bool {
		require.NoError(d.t, d.client.Get(d.ctx, client.ObjectKeyFromObject(claim), claim))
		return claim.Status.Phase == corev1.ClaimBound
	}, "it is bound")
	return claim
}

// TestPortalHomes: of a home that its desktop has left, the front door says for how long it is
// kept, a day at least, and nothing else of any volume.
func TestPortalHomes(t *testing.T) {
	t.Parallel()
	d := newDoorSite(t, "access.mode=Local")
	left := d.growing("left")
	patch := func(claim *corev1.PersistentVolumeClaim, patch string) error {
		return d.door.Patch(d.ctx, claim.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch)), client.DryRunAll)
	}
	keep := func(value string) string {
		return fmt.Sprintf(`{"metadata":{"annotations":{"vdi.kasm.io/retain-for":%s}}}`, value)
	}
	d.allowed("it has a home kept for a day", func() error { return patch(left, keep(`"24h0m0s"`)) })
	require.NoError(t, patch(left, keep("null")), "for ever")
	require.NoError(t, patch(left, keep(`"720h0m0s"`)), "as it was")
	require.NoError(t, d.door.List(d.ctx, &corev1.PersistentVolumeClaimList{}, client.InNamespace(d.portal)))
	require.Error(t, d.door.List(d.ctx, &corev1.PersistentVolumeClaimList{}, client.InNamespace(d.ns)))

	d.mayEverything()
	const only, day = "may change of a home only the annotation vdi.kasm.io/retain-for", "for a day at least"
	const theirs, none = "may change only homes that the operator made and that their sessions have left", "may make and delete no home"
	d.eventually(func() bool {
		return strings.Contains(fmt.Sprint(d.door.Delete(d.ctx, left.DeepCopy(), client.DryRunAll)), none)
	}, "it may everything but for the policy")
	for attack, want := range map[string]string{
		keep(`"1s"`): day, keep(`"23h59m59s"`): day, keep(`"-24h0m0s"`): day, keep(`"1d"`): day, keep(`"0"`): day,
		`{"metadata":{"annotations":{"vdi.kasm.io/retained-since":"2000-01-01T00:00:00Z"}}}`:             only,
		`{"metadata":{"annotations":{"vdi.kasm.io/session-uid":null}}}`:                                  only,
		`{"metadata":{"annotations":{"vdi.kasm.io/holder":"x/1"}}}`:                                      only,
		`{"metadata":{"labels":{"vdi.kasm.io/user":"x"}}}`:                                               only,
		`{"metadata":{"finalizers":[]}}`:                                                                 only,
		`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"a","uid":"a"}]}}`: only,
		`{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}`:                                          only,
	} {
		require.ErrorContains(t, patch(left, attack), want, attack)
	}
	for what, claim := range map[string]*corev1.PersistentVolumeClaim{
		"in use":       d.home("used", kept.Take),
		"vouched for":  d.home("vouched", func(c *corev1.PersistentVolumeClaim) { c.Labels[wire.LabelHomeFor] = platform.Identity(alice) }),
		"made by hand": d.home("planted", func(c *corev1.PersistentVolumeClaim) { delete(c.Annotations, wire.AnnotationSessionUID) }),
		"of others":    d.home("others", func(c *corev1.PersistentVolumeClaim) { c.Labels[wire.LabelManagedBy] = "somebody" }),
	} {
		require.ErrorContains(t, patch(claim, keep(`"24h0m0s"`)), theirs, what)
	}
	copied := left.DeepCopy()
	copied.Name, copied.ResourceVersion = "vdi-data-new", ""
	require.ErrorContains(t, d.door.Create(d.ctx, copied, client.DryRunAll), none)
}
