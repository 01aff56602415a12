package session

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// memory is what the operator knows of its sessions beside what is written. All
// of it is lost with the operator and none of it is missed then: it only saves
// requests and work. The zero value is ready to use.
type memory struct {
	superseded superseded
	untold     untold
	settled    settled
	turnLogins turnLogins
	held       held
	released   released
	endedPods  endedPods
	written    written
	news       news
	routes     questions[error]
	uses       questions[use]
}

// forget is called for a session that is gone.
func (m *memory) forget(key types.NamespacedName) {
	m.superseded.delete(key)
	m.untold.delete(key)
	m.settled.delete(key)
	m.turnLogins.delete(key)
	m.held.delete(key)
	m.released.delete(key)
	m.endedPods.delete(key)
	m.written.delete(key)
	m.routes.delete(key)
	m.uses.delete(key)
}

// perSession holds one value of each session that has one, for all workers. The
// zero value is ready to use.
type perSession[T any] struct{ values sync.Map } // types.NamespacedName → T

func (m *perSession[T]) load(key types.NamespacedName) (T, bool) {
	value, found := m.values.Load(key)
	if !found {
		var none T
		return none, false
	}
	return value.(T), true
}

func (m *perSession[T]) store(key types.NamespacedName, value T) { m.values.Store(key, value) }

func (m *perSession[T]) delete(key types.NamespacedName) { m.values.Delete(key) }
