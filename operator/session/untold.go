package session

import (
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// isFirstStart tells whether this pass did nothing but start a session for the
// first time. The pod's first news follows within milliseconds and tells more, so
// one status write is saved. A crash in between loses nothing: the next pass
// finds the pod without a status.
func (p *pass) isFirstStart() bool {
	return p.made && p.halted == nil && p.session.Status.Phase == "" && p.session.DeletionTimestamp == nil
}

// untold remembers what a first start saw of the session's Secret until it is
// told, so that the Secret need not be read again.
type untold struct{ perSession[untoldVerifier] }

type untoldVerifier struct {
	session  types.UID
	verifier string
}

func (u *untold) remember(key types.NamespacedName, p *pass) {
	u.store(key, untoldVerifier{p.session.UID, p.verifier})
}

// tell gives the pass what was remembered of its session, and whether it was.
func (u *untold) tell(p *pass) bool {
	key := client.ObjectKeyFromObject(p.session)
	known, found := u.load(key)
	u.delete(key)
	if !found || known.session != p.session.UID {
		return false
	}
	p.credentials, p.verifier = true, known.verifier
	return true
}
