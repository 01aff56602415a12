// Package remember keeps one value of each session that has one. What is kept is lost with
// the operator: it may only save requests and work.
package remember

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Map holds one value of each session that has one, for all workers. The
// zero value is ready to use.
type Map[T any] struct{ values sync.Map } // types.NamespacedName → T

// Load returns a session's value; false when there is none.
func (m *Map[T]) Load(key types.NamespacedName) (T, bool) {
	value, found := m.values.Load(key)
	if !found {
		var none T
		return none, false
	}
	return value.(T), true
}

// Store keeps a session's value.
func (m *Map[T]) Store(key types.NamespacedName, value T) { m.values.Store(key, value) }

// Delete forgets a session's value.
func (m *Map[T]) Delete(key types.NamespacedName) { m.values.Delete(key) }
