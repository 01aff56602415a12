package homes

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/remember"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Known is what an operator remembers of the claims that its sessions hold and have let go
// of. It is lost with the operator and only saves requests. The zero value is ready to use.
type Known struct {
	holding  holdings
	released remember.Map[map[string]string]
}

// Forget forgets a session.
func (k *Known) Forget(session types.NamespacedName) {
	k.holding.Delete(session)
	k.released.Delete(session)
}

// Started notes that a session's start is over: the next one holds its home anew.
func (k *Known) Started(s *vdi.VDISession) { k.holding.Delete(client.ObjectKeyFromObject(s)) }

// LetGo notes the hold of a claim that a session has let go of; "" for a claim that was read
// and not held. Claims that are not watched are read once, and what was written is
// not written again while the cache does not show it yet.
func (k *Known) LetGo(s *vdi.VDISession, claim, holder string) {
	released := maps.Clone(k.Released(s))
	if released == nil {
		released = map[string]string{}
	}
	released[claim] = holder
	k.released.Store(client.ObjectKeyFromObject(s), released)
}

// Released are the last holds that a session has let go of, by claim.
func (k *Known) Released(s *vdi.VDISession) map[string]string {
	released, _ := k.released.Load(client.ObjectKeyFromObject(s))
	return released
}

// holds reports whether the session became the holder of the claim for the start that it is
// trying: while the pod is refused once a minute, nothing is written and looked at again.
func (k *Known) holds(s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) bool {
	known, found := k.holding.Load(client.ObjectKeyFromObject(s))
	return found && HolderOf(claim) == s.UID && known == holdingOf(s, claim)
}

type holdings struct{ remember.Map[holding] }

type holding struct {
	session, claim types.UID
	holder         string
}

func holdingOf(s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) holding {
	return holding{s.UID, claim.UID, claim.Annotations[wire.AnnotationHolder]}
}

func (h *holdings) remember(s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) {
	h.Store(client.ObjectKeyFromObject(s), holdingOf(s, claim))
}
