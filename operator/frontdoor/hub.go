package frontdoor

import (
	"sync"

	toolscache "k8s.io/client-go/tools/cache"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/story"
	"github.com/vdi-platform/vdi-platform/platform"
)

// hub signals open pages that something they show has changed. It never waits
// for a page: changes that come quickly are one signal.
type hub struct {
	mu        sync.Mutex
	followers map[string]map[chan struct{}]bool // by host, or by userKey
}

// userKey is under which those follow who show what a user has: no host has a slash.
func userKey(identity string) string { return "user/" + identity }

func newHub() *hub { return &hub{followers: map[string]map[chan struct{}]bool{}} }

// maxFollowers bounds the open pages of one session, and those of one person, in one replica.
const maxFollowers = 32

func (h *hub) follow(key string) (<-chan struct{}, func(), bool) {
	changed := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.followers[key]) >= maxFollowers {
		return nil, nil, false
	}
	if h.followers[key] == nil {
		h.followers[key] = map[chan struct{}]bool{}
	}
	h.followers[key][changed] = true
	return changed, func() { h.leave(key, changed) }, true
}

func (h *hub) leave(key string, changed chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.followers[key], changed)
	if len(h.followers[key]) == 0 {
		delete(h.followers, key)
	}
}

func (h *hub) handler() toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(after any) { h.notify(nil, sessionIn(after)) },
		UpdateFunc: func(before, after any) { h.notify(sessionIn(before), sessionIn(after)) },
		DeleteFunc: func(before any) { h.notify(sessionIn(before), nil) },
	}
}

// sessionIn also looks into what stands for an object whose deletion was missed.
func sessionIn(o any) *vdi.VDISession {
	if missed, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		o = missed.Obj
	}
	s, _ := o.(*vdi.VDISession)
	return s
}

// notify wakes the pages of a session, and, where a queue has changed, those of
// everybody: each shows how many are before it.
func (h *hub) notify(before, after *vdi.VDISession) {
	poolBefore, poolAfter := "", ""
	for _, s := range []*vdi.VDISession{before, after} {
		if s != nil {
			h.wake(s.Status.Host)
			h.wake(userKey(platform.Identity(s.Spec.User)))
		}
	}
	if before != nil {
		poolBefore = story.PoolOf(before)
	}
	if after != nil {
		poolAfter = story.PoolOf(after)
	}
	if poolBefore != poolAfter {
		h.wakeAll()
	}
}

func (h *hub) wake(key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	wake(h.followers[key])
}

func (h *hub) wakeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, followers := range h.followers {
		wake(followers)
	}
}

func wake(followers map[chan struct{}]bool) {
	for changed := range followers {
		select {
		case changed <- struct{}{}:
		default: // it will look again anyway
		}
	}
}
