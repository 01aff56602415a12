package session

import (
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// isFirstStart tells whether this pass did nothing but start a session for the
// first time. The pod's first news follows within milliseconds and tells more, so
// one status write is saved. A crash in between loses nothing: the next pass
// finds the pod without a status. An existing claim is not watched: what the pass
// has seen of it is recorded now.
func (p *pass) isFirstStart() bool {
	return p.made && p.halted == nil && p.session.Status.Phase == "" && p.session.DeletionTimestamp == nil && p.seen.existing == nil
}

// untold remembers what a first start saw of the session's Secret and template
// until it is in the status, so that the Secret need not be read again and the
// template may go meanwhile.
type untold struct{ perSession[unreported] }

type unreported struct {
	session  types.UID
	verifier string
	rules    *vdi.TemplateLifecycle
}

func (u *untold) remember(key types.NamespacedName, p *pass) {
	u.store(key, unreported{p.session.UID, p.verifier, p.lastRules()})
}

// tell gives the pass what was remembered of its session, and whether it was.
func (u *untold) tell(p *pass) bool {
	key := client.ObjectKeyFromObject(p.session)
	known, found := u.load(key)
	u.delete(key)
	if !found || known.session != p.session.UID {
		return false
	}
	p.credentials, p.verifier, p.startedBy = true, known.verifier, known.rules
	return true
}
