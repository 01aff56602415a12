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

// untold remembers by which rules of its template a desktop was started for the first time,
// until they are in the status: the template may go meanwhile.
type untold struct{ perSession[unreported] }

type unreported struct {
	session types.UID
	rules   *vdi.TemplateLifecycle
}

func (u *untold) remember(key types.NamespacedName, p *pass) {
	u.store(key, unreported{p.session.UID, p.lastRules()})
}

// recall gives the pass what was remembered of its session.
func (u *untold) recall(p *pass) {
	key := client.ObjectKeyFromObject(p.session)
	known, found := u.load(key)
	u.delete(key)
	if found && known.session == p.session.UID {
		p.startedBy = known.rules
	}
}
