package integration

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

func metaItems(list client.ObjectList) ([]runtime.Object, error) { return meta.ExtractList(list) }

// foreign is somebody else's object of a name that the session desk needs.
func foreign(ns, kind string) client.Object {
	named := metav1.ObjectMeta{Name: desk, Namespace: ns}
	switch kind {
	case "Secret":
		named.Name = renderer.CredentialsName(desk)
		return &corev1.Secret{ObjectMeta: named, StringData: map[string]string{"username": "mallory", "password": "known"}}
	case "NetworkPolicy":
		return &networkingv1.NetworkPolicy{ObjectMeta: named}
	case "Service":
		return &corev1.Service{ObjectMeta: named, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
	case "Pod":
		return &corev1.Pod{ObjectMeta: named, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: image}}}}
	default:
		route := newRoute()
		route.SetName(desk)
		route.SetNamespace(ns)
		route.Object["spec"] = map[string]any{"routes": []any{}}
		return route
	}
}

func TestForeignObjectsAreLeftAlone(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"Secret", "NetworkPolicy", "Service", "Pod", "IngressRoute"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.createTemplate()
			theirs := foreign(w.ns, kind)
			require.NoError(t, w.client.Create(w.ctx, theirs))
			w.createSession()
			require.Equal(t, time.Minute, w.pass().RequeueAfter)
			c := w.requireCondition(vdi.ConditionNameConflict, metav1.ConditionTrue, vdi.ReasonNameTaken)
			t.Log(c.Message)
			require.Contains(t, c.Message, kind)
			w.requirePhase(vdi.PhaseFailed)
			if kind == "Secret" || kind == "NetworkPolicy" {
				require.False(t, w.podExists(), "no desktop without its login and its policy")
			}
			before := theirs.GetResourceVersion()
			w.read(theirs, theirs.GetName())
			require.Equal(t, before, theirs.GetResourceVersion())

			w.deleteSession()
			w.pass()
			if kind != "Pod" {
				w.podEnds(desk)
				w.pass()
			}
			require.False(t, w.sessionExists())
			w.read(theirs, theirs.GetName())
			require.Nil(t, theirs.GetDeletionTimestamp())
		})
	}
	t.Run("and the session goes on when they are removed", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.createTemplate()
		theirs := foreign(w.ns, "Service")
		require.NoError(t, w.client.Create(w.ctx, theirs))
		w.createSession()
		w.pass()
		require.NoError(t, w.client.Delete(w.ctx, theirs))
		w.start()
		require.Equal(t, metav1.ConditionStatus("absent"), condition(w.session(), vdi.ConditionNameConflict).Status)
	})
}

func claimNamed(ns, name string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
}

func TestWhoseHome(t *testing.T) {
	t.Parallel()
	t.Run("a planted claim is not used", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.createTemplate()
		planted := claimNamed(w.ns, renderer.HomeClaimName(desk))
		require.NoError(t, w.client.Create(w.ctx, planted))
		w.createSession(deleteHome)
		w.pass()
		w.requirePhase(vdi.PhaseFailed)
		t.Log(w.requireCondition(vdi.ConditionHomeReady, metav1.ConditionFalse, vdi.ReasonHomeNotOurs).Message)
		require.False(t, w.podExists())

		w.deleteSession()
		w.leave()
		require.True(t, w.homeExists(), "what the operator did not make it does not delete")
	})
	t.Run("a claim that an administrator labelled is", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.createTemplate()
		given := claimNamed(w.ns, renderer.HomeClaimName(desk))
		given.Labels = map[string]string{wire.LabelHomeFor: platform.Identity(alice)}
		require.NoError(t, w.client.Create(w.ctx, given))
		w.createSession(deleteHome)
		w.start()
		require.Equal(t, given.UID, w.session().Status.Home.UID)
		require.False(t, w.session().Status.Home.CreatedByOperator)

		w.deleteSession()
		w.leave()
		require.True(t, w.homeExists(), "what the operator did not make it does not delete")
	})
	t.Run("an existing claim needs the label, and heals", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.createTemplate()
		w.createSession(func(s *vdi.VDISession) { s.Spec.Persistence.ExistingClaim = "old-home" })
		w.pass()
		t.Log(w.requireCondition(vdi.ConditionHomeReady, metav1.ConditionFalse, vdi.ReasonHomeNotFound).Message)
		claim := claimNamed(w.ns, "old-home")
		require.NoError(t, w.client.Create(w.ctx, claim))
		w.pass()
		t.Log(w.requireCondition(vdi.ConditionHomeReady, metav1.ConditionFalse, vdi.ReasonHomeNotOurs).Message)
		claim.Labels = map[string]string{wire.LabelHomeFor: platform.Identity(alice)}
		require.NoError(t, w.overwrite(claim))
		w.start()
		require.Equal(t, "old-home", w.session().Status.Home.ClaimName)
		require.False(t, w.homeExists())
	})
	t.Run("another user's home is refused", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running()
		home := w.home().UID
		w.deleteSession()
		w.leave()
		w.eventually(func() bool { return len(w.existing()) == 1 }, "the children go")
		w.createSession(func(s *vdi.VDISession) { s.Spec.User = "mallory@example.com" })
		w.pass()
		w.requirePhase(vdi.PhaseFailed)
		t.Log(w.requireCondition(vdi.ConditionHomeReady, metav1.ConditionFalse, vdi.ReasonHomeOfAnotherUser).Message)
		require.False(t, w.podExists())
		require.Equal(t, home, w.home().UID)
	})
	t.Run("one writer per home", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.createTemplate()
		claim := claimNamed(w.ns, "shared")
		claim.Labels = map[string]string{wire.LabelHomeFor: platform.Identity(alice)}
		require.NoError(t, w.client.Create(w.ctx, claim))
		onClaim := func(name string) func(*vdi.VDISession) {
			return func(s *vdi.VDISession) { s.Name, s.Spec.Persistence.ExistingClaim = name, "shared" }
		}
		w.createSession(onClaim(desk))
		w.start()
		w.createSession(onClaim("second"))
		result, err := w.passOf("second")
		require.NoError(t, err)
		require.Zero(t, result.RequeueAfter, "the end of the other wakes it")
		second := w.sessionNamed("second")
		require.Equal(t, vdi.ReasonHomeInUse, condition(second, vdi.ConditionHomeReady).Reason)
		require.Equal(t, vdi.PhasePending, second.Status.Phase, second.Status.Message)
		t.Log(second.Status.Message)
	})
}
