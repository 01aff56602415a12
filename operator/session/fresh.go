package session

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// cacheLag is when a session is looked at again whose cached state is older than
// our own last write; the watch event is on its way.
const cacheLag = 20 * time.Millisecond

// longestLag bounds that wait. After a restore the API server knows nothing of our
// last writes, and nothing newer may ever come; a cache that is later than that
// costs a conflict.
const longestLag = time.Second

// superseded remembers, until the cache shows something newer, the resource
// versions of sessions that our own writes replaced. A pass that began from one
// of them would decide on the past, and each of its writes would be a conflict.
type superseded struct{ perSession[replaced] }

type replaced struct {
	versions []string
	at       time.Time
}

// isStale tells whether the cache has not seen our last write yet.
func (s *superseded) isStale(key types.NamespacedName, version string, now time.Time) bool {
	last, known := s.load(key)
	if !known {
		return false
	}
	if slices.Contains(last.versions, version) && now.Sub(last.at).Abs() < longestLag {
		return true
	}
	s.delete(key)
	return false
}

// remember keeps what a pass replaced.
func (s *superseded) remember(key types.NamespacedName, versions []string, now time.Time) {
	if len(versions) > 0 {
		s.store(key, replaced{versions, now})
	}
}

// wrote notes the version of the session that a write replaced. A write that
// changed nothing replaced nothing.
func (p *pass) wrote(version string) {
	if version != p.session.ResourceVersion {
		p.replaced = append(p.replaced, version)
	}
}

// written remembers when this operator last wrote the status of each session.
type written struct{ perSession[time.Time] }

// ownWrite is how long after that a change of the status may be our own: longer than a
// cache takes to show it, and shorter than the API server is away while it is restored.
const ownWrite = 10 * time.Second

// statusIsNotOurs lets pass a status that this operator cannot have written just now: what
// somebody else has written, or what the API server has gone back to, is looked at.
func (r *Reconciler) statusIsNotOurs() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		DeleteFunc: func(event.DeleteEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, after := e.ObjectOld.(*vdi.VDISession), e.ObjectNew.(*vdi.VDISession)
			wrote, _ := r.written.load(client.ObjectKeyFromObject(after))
			return r.Clock.Since(wrote).Abs() > ownWrite && !statusEqual(before.Status, after.Status)
		},
	}
}
