package session

import (
	"sync"

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
// told, so that the Secret need not be read again. The zero value is ready to use.
type untold struct{ verifiers sync.Map } // types.NamespacedName → untoldVerifier

type untoldVerifier struct {
	session  types.UID
	verifier string
}

func (u *untold) remember(key types.NamespacedName, p *pass) {
	u.verifiers.Store(key, untoldVerifier{p.session.UID, p.verifier})
}

// tell gives the pass what was remembered of its session, and whether it was.
func (u *untold) tell(p *pass) bool {
	known, found := u.verifiers.LoadAndDelete(client.ObjectKeyFromObject(p.session))
	if !found || known.(untoldVerifier).session != p.session.UID {
		return false
	}
	p.credentials, p.verifier = true, known.(untoldVerifier).verifier
	return true
}

func (u *untold) forget(key types.NamespacedName) { u.verifiers.Delete(key) }
