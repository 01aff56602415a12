package integration

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// held are the sessions, homes and pods of a namespace, by their UIDs.
func (w *world) held() map[types.UID]client.Object {
	w.t.Helper()
	all := map[types.UID]client.Object{}
	for _, list := range []client.ObjectList{&vdi.VDISessionList{}, &corev1.PersistentVolumeClaimList{}, &corev1.PodList{}} {
		require.NoError(w.t, w.client.List(w.ctx, list, client.InNamespace(w.ns)))
		require.NoError(w.t, meta.EachListItem(list, func(o runtime.Object) error {
			all[o.(client.Object).GetUID()] = o.(client.Object)
			return nil
		}))
	}
	return all
}

// TestEtcdIsRestored: etcd goes back to an earlier state, as a backup is restored, and
// the operator is stopped for that time, as the operations page says. It goes on
// then, and nothing that the restored state holds is lost.
func TestEtcdIsRestored(t *testing.T) {
	t.Parallel()
	p, err := startPlane(t.Context())
	require.NoError(t, err, missingToolFix)
	t.Cleanup(func() { require.NoError(t, p.Stop()) })
	require.NoError(t, p.installRouteKind(t.Context()))
	objects := chartObjects(t)
	p.grant(t, objects)
	program, args := buildOperator(t), argsOf(t, objects)
	stop := p.runOperator(t, program, args)
	w := newWorldOn(t, p)
	w.createTemplate()
	for _, name := range []string{desk, "deleted"} {
		w.createSession(desktop(name, name+"@example.com"), deleteHome)
		w.eventually(func() bool { return w.exists(&corev1.Pod{}, name) && w.exists(newRoute(), name) }, "the desktop is made")
		w.podStarts(name)
		w.eventually(func() bool { return w.sessionNamed(name).Status.Phase == vdi.PhaseRunning }, "the session runs")
	}
	stop()
	file, err := p.Snapshot(t.Context())
	require.NoError(t, err)
	before := w.held()
	stop = p.runOperator(t, program, args)
	require.Len(t, before, 6)

	w.change(suspend)
	w.eventually(func() bool { return w.pod().DeletionTimestamp != nil }, "the desktop is told to end")
	w.podEnds(desk)
	w.eventually(func() bool { return w.session().Status.Phase == vdi.PhaseSuspended }, "the session is suspended")
	require.NoError(t, w.client.Delete(t.Context(), w.sessionNamed("deleted")))
	w.eventually(func() bool { return !w.exists(newRoute(), "deleted") }, "its URL dies")
	w.podEnds("deleted")
	w.eventually(func() bool { return !w.exists(&vdi.VDISession{}, "deleted") && len(w.held()) == 2 }, "it goes, and its home")
	w.createSession(desktop("later", "later@example.com"))
	w.eventually(func() bool { return w.exists(newRoute(), "later") }, "a session is made after the snapshot")

	stop()
	require.NoError(t, p.Restore(t.Context(), file))
	p.runOperator(t, program, args)
	require.False(t, w.exists(&vdi.VDISession{}, "later"), "etcd knows nothing of it")
	w.createSession(desktop("new", "new@example.com"))
	w.eventually(func() bool { return w.exists(newRoute(), "new") }, "the operator goes on")
	w.changeNamed("deleted", func(s *vdi.VDISession) { s.Spec.Timeout = "12h" })
	w.eventually(func() bool {
		s := w.sessionNamed("deleted")
		return s.Status.ObservedGeneration == s.Generation && s.Status.Phase == vdi.PhaseRunning
	}, "also with what it had seen deleted")
	after := w.held()
	for uid, o := range before {
		require.Contains(t, after, uid, "%T %s is lost", o, o.GetName())
		require.Nil(t, after[uid].GetDeletionTimestamp(), "%T %s is deleted", o, o.GetName())
	}
	w.change(suspend)
	w.eventually(func() bool { return w.pod().DeletionTimestamp != nil }, "and with what it had seen suspended")
}
