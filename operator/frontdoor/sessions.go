package frontdoor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/story"
	"github.com/vdi-platform/vdi-platform/platform"
)

// Sessions is what the front door knows about sessions. Nothing in what it
// returns may be changed.
type Sessions interface {
	// ByHost returns the one session that has a host.
	ByHost(ctx context.Context, host string) (*vdi.VDISession, bool, error)
	// ByUser returns all sessions of a user.
	ByUser(ctx context.Context, user string) ([]vdi.VDISession, error)
	// All returns all sessions.
	All(ctx context.Context) ([]vdi.VDISession, error)
	// InPool returns all sessions that wait for the same thing, see story.PoolOf.
	InPool(ctx context.Context, pool string) ([]vdi.VDISession, error)
	// Follow returns a channel that says when what a session's page shows may
	// have changed, until stop is called; nothing where too many do so already.
	Follow(host string) (changed <-chan struct{}, stop func(), ok bool)
	// FollowUser is Follow for what shows all sessions of a user.
	FollowUser(user string) (changed <-chan struct{}, stop func(), ok bool)
}

// Indexes of the cache.
const (
	indexHost = "host"
	indexUser = "user"
	indexPool = "pool"
)

// Watched is what a watch of the API server says of sessions.
type Watched struct {
	cache cache.Cache
	hub   *hub
}

// NewWatched prepares the watch. Namespaces limit it; none means all.
func NewWatched(ctx context.Context, cluster *rest.Config, namespaces []string) (*Watched, error) {
	scheme := runtime.NewScheme()
	if err := vdi.AddToScheme(scheme); err != nil {
		return nil, err
	}
	c, err := cache.New(cluster, cacheOptions(scheme, namespaces))
	if err != nil {
		return nil, fmt.Errorf("build the watch of sessions: %w", err)
	}
	w := &Watched{cache: c, hub: newHub()}
	if err := w.index(ctx); err != nil {
		return nil, fmt.Errorf("index sessions: %w", err)
	}
	sessions, err := c.GetInformer(ctx, &vdi.VDISession{})
	if err != nil {
		return nil, fmt.Errorf("watch sessions: %w", err)
	}
	_, err = sessions.AddEventHandler(w.hub.handler())
	return w, err
}

// cacheOptions watch sessions. Objects are handed out as they are: the front door
// changes none.
func cacheOptions(scheme *runtime.Scheme, namespaces []string) cache.Options {
	shared := true
	sessions := cache.ByObject{Transform: cache.TransformStripManagedFields(), UnsafeDisableDeepCopy: &shared}
	for _, namespace := range namespaces {
		if sessions.Namespaces == nil {
			sessions.Namespaces = map[string]cache.Config{}
		}
		sessions.Namespaces[namespace] = cache.Config{}
	}
	return cache.Options{
		Scheme:                      scheme,
		ReaderFailOnMissingInformer: true,
		ByObject:                    map[client.Object]cache.ByObject{&vdi.VDISession{}: sessions},
	}
}

func (w *Watched) index(ctx context.Context) error {
	by := func(name string, value func(*vdi.VDISession) string) error {
		return w.cache.IndexField(ctx, &vdi.VDISession{}, name, func(o client.Object) []string {
			if text := value(o.(*vdi.VDISession)); text != "" {
				return []string{text}
			}
			return nil
		})
	}
	return errors.Join(
		by(indexHost, func(s *vdi.VDISession) string { return s.Status.Host }),
		by(indexUser, func(s *vdi.VDISession) string { return s.Spec.User }),
		by(indexPool, story.PoolOf),
	)
}

// Start watches until the context ends.
func (w *Watched) Start(ctx context.Context) error { return w.cache.Start(ctx) }

// Ready waits until everything has been read once.
func (w *Watched) Ready(ctx context.Context) bool { return w.cache.WaitForCacheSync(ctx) }

// ByHost returns nothing where two live sessions claim one host: the front door
// does not choose between people.
func (w *Watched) ByHost(ctx context.Context, host string) (*vdi.VDISession, bool, error) {
	found, err := w.list(ctx, indexHost, host)
	if err != nil {
		return nil, false, err
	}
	s, one := theOne(found)
	return s, one, nil
}

// theOne prefers a session that lives over those that are being removed.
func theOne(sessions []vdi.VDISession) (*vdi.VDISession, bool) {
	if len(sessions) == 1 {
		return &sessions[0], true
	}
	var living []*vdi.VDISession
	for i := range sessions {
		if sessions[i].DeletionTimestamp == nil {
			living = append(living, &sessions[i])
		}
	}
	if len(living) != 1 {
		return nil, false
	}
	return living[0], true
}

// ByUser returns a user's sessions.
func (w *Watched) ByUser(ctx context.Context, user string) ([]vdi.VDISession, error) {
	return w.list(ctx, indexUser, user)
}

// All returns all sessions.
func (w *Watched) All(ctx context.Context) ([]vdi.VDISession, error) {
	found := &vdi.VDISessionList{}
	if err := w.cache.List(ctx, found); err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return found.Items, nil
}

// InPool returns the sessions that wait for the same thing.
func (w *Watched) InPool(ctx context.Context, pool string) ([]vdi.VDISession, error) {
	return w.list(ctx, indexPool, pool)
}

func (w *Watched) list(ctx context.Context, index, value string) ([]vdi.VDISession, error) {
	found := &vdi.VDISessionList{}
	if err := w.cache.List(ctx, found, client.MatchingFields{index: value}); err != nil {
		return nil, fmt.Errorf("look for sessions by %s: %w", index, err)
	}
	return found.Items, nil
}

// Follow signals changes.
func (w *Watched) Follow(host string) (<-chan struct{}, func(), bool) { return w.hub.follow(host) }

// FollowUser signals changes.
func (w *Watched) FollowUser(user string) (<-chan struct{}, func(), bool) {
	return w.hub.follow(userKey(platform.Identity(user)))
}

// CatalogueChanged signals open pages that what they show beside sessions has changed.
func (w *Watched) CatalogueChanged() CatalogueChanged {
	return CatalogueChanged{All: w.hub.wakeAll, Of: func(identity string) { w.hub.wake(userKey(identity)) }}
}

// Changer writes what the front door may write.
type Changer interface {
	// Resume asks for a desktop that its user suspended, and writes the user's groups
	// where they are known (not nil).
	Resume(ctx context.Context, s *vdi.VDISession, groups []string) error
	// KeepAlive moves the end of the run to a time.
	KeepAlive(ctx context.Context, s *vdi.VDISession, until time.Time) error
	// Create makes a session.
	Create(ctx context.Context, s *vdi.VDISession) error
	// Suspend stops a desktop, and no start begins.
	Suspend(ctx context.Context, s *vdi.VDISession) error
	// Rename gives a session a name that people see.
	Rename(ctx context.Context, s *vdi.VDISession, name string) error
	// Grow lets the home of a session grow, where it is smaller.
	Grow(ctx context.Context, s *vdi.VDISession, size vdi.Quantity) error
	// KeepHome says for how long a home is kept that a session has left, from when it did, 0
	// for ever, as long as the claim has this resource version.
	KeepHome(ctx context.Context, claim types.NamespacedName, version string, keep time.Duration) error
	// Delete deletes a session as long as allowed has no error for its state.
	Delete(ctx context.Context, s *vdi.VDISession, allowed func(now *vdi.VDISession) error) error
}
