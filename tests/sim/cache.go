package sim

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// caches are an operator's: one informer of each kind, and each lags behind by itself.
type caches struct {
	*server

	mutex     sync.Mutex // controllers start all at once
	informers map[string]*informer
	indexes   map[string]client.IndexerFunc // by kind and field
	options   cache.Options
	// since chooses where in the history a new informer's first list is of.
	since func() int
}

// informer is what an operator knows of a kind.
type informer struct {
	*server
	kind     schema.GroupVersionKind
	selector labels.Selector
	field    string // the one name that is watched
	trim     toolscache.TransformFunc
	known    map[key]*version
	next     int // the entry of the history that is delivered next
	epoch    int

	mutex    sync.Mutex
	handlers []toolscache.ResourceEventHandler
	stuck    bool // nothing arrives
}

// informer returns the one of a kind, which begins with a list.
func (c *caches) informer(o runtime.Object) (*informer, error) {
	kind, err := apiutil.GVKForObject(o, c.scheme)
	if err != nil {
		return nil, err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if i := c.informers[kind.Kind]; i != nil {
		return i, nil
	}
	i := &informer{
		server: c.server, kind: kind, selector: c.options.DefaultLabelSelector, trim: c.options.DefaultTransform,
		next: c.since(), epoch: c.epoch, known: map[key]*version{},
	}
	for o, by := range c.options.ByObject {
		if k, err := apiutil.GVKForObject(o, c.scheme); err != nil || k != kind {
			continue
		}
		if by.Label != nil {
			i.selector = by.Label
		}
		if by.Field != nil {
			i.field, _ = by.Field.RequiresExactMatch("metadata.name")
		}
		if by.Transform != nil {
			i.trim = by.Transform
		}
	}
	for k, v := range c.stateAt(kind.Kind, i.next) {
		if v = i.seen(v); v != nil {
			i.known[k] = v
		}
	}
	c.informers[kind.Kind] = i
	return i, nil
}

// seen is the version as the informer keeps it, nil where it does not select it.
func (i *informer) seen(v *version) *version {
	if v == nil || !i.selector.Matches(labelsOf(v.object)) || (i.field != "" && i.field != v.name) {
		return nil
	}
	if i.kind.Kind == crds.Kind {
		return v
	}
	trimmed, err := i.trim(v.as(i.scheme).DeepCopyObject())
	if err != nil {
		panic(err)
	}
	return &version{key: v.key, kind: v.kind, revision: v.revision, object: v.object, typed: trimmed.(client.Object)}
}

// late reports whether there is something to deliver.
func (i *informer) late() bool {
	if i.epoch != i.server.epoch {
		return true
	}
	for i.next < len(i.log) && i.log[i.next].key().kind != i.kind.Kind {
		i.next++ // of other kinds
	}
	return i.next < len(i.log)
}

// deliver hands out the next event.
func (i *informer) deliver() {
	if i.epoch != i.server.epoch {
		i.relist(i.list(i.kind.Kind))
		return
	}
	c := i.log[i.next]
	i.next++
	i.become(c.key(), i.seen(c.after), c)
}

// relist takes the newest state for all that was missed.
func (i *informer) relist(all []*version) {
	i.next, i.epoch = len(i.log), i.server.epoch
	there := map[key]bool{}
	for _, v := range all {
		if seen := i.seen(v); seen != nil {
			there[v.key] = true
			i.become(v.key, seen, change{})
		}
	}
	for _, gone := range i.all() {
		if !there[gone.key] {
			i.become(gone.key, nil, change{})
		}
	}
}

// become makes a state known, and word of it goes to all handlers. Where the end of an
// object was missed, nobody knows how it was last.
func (i *informer) become(k key, after *version, c change) {
	before := i.known[k]
	if after == nil {
		delete(i.known, k)
	} else {
		i.known[k] = after
	}
	for _, h := range i.handlers {
		switch {
		case before == nil && after != nil:
			h.OnAdd(i.object(after), false)
		case before != nil && after != nil:
			h.OnUpdate(i.object(before), i.object(after))
		case before != nil && c.after == nil && i.seen(c.before) != nil:
			h.OnDelete(i.object(i.seen(c.before)))
		case before != nil:
			h.OnDelete(toolscache.DeletedFinalStateUnknown{Key: k.namespace + "/" + k.name, Obj: i.object(before)})
		}
	}
}

// object is what handlers and readers get.
func (i *informer) object(v *version) client.Object {
	if i.kind.Kind != crds.Kind {
		return v.typed
	}
	meta := newDefinition()
	read(v, i.scheme, meta)
	return meta
}

func (i *informer) all() []*version {
	all := make([]*version, 0, len(i.known))
	for _, v := range i.known {
		all = append(all, v)
	}
	return sorted(all)
}

// --- cache.Cache

// Get implements client.Reader.
func (c *caches) Get(_ context.Context, k client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	i, err := c.existing(o)
	if err != nil {
		return err
	}
	found := i.known[key{i.kind.Kind, k.Namespace, k.Name}]
	if found == nil {
		return apierrors.NewNotFound(resourceOf(i.kind), k.Name)
	}
	read(found, c.scheme, o)
	return nil
}

// existing is an informer that somebody has asked for before.
func (c *caches) existing(o runtime.Object) (*informer, error) {
	kind, err := apiutil.GVKForObject(o, c.scheme)
	if err != nil {
		return nil, err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if i := c.informers[trimList(kind.Kind)]; i != nil {
		return i, nil
	}
	return nil, &cache.ErrResourceNotCached{GVK: kind}
}

func trimList(kind string) string { return strings.TrimSuffix(kind, "List") }

// List implements client.Reader.
func (c *caches) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	i, err := c.existing(list)
	if err != nil {
		return err
	}
	return fill(list, c.scheme, i.all(), opts, func(v *version, field string) []string {
		index := c.indexes[i.kind.Kind+" "+field]
		if index == nil {
			panic("there is no index of " + i.kind.Kind + " by " + field)
		}
		return index(v.typed)
	})
}

// GetInformer implements cache.Informers.
func (c *caches) GetInformer(_ context.Context, o client.Object, _ ...cache.InformerGetOption) (cache.Informer, error) {
	i, err := c.informer(o)
	if err != nil {
		return nil, err
	}
	return handle{i}, nil
}

// GetInformerForKind implements cache.Informers.
func (c *caches) GetInformerForKind(context.Context, schema.GroupVersionKind, ...cache.InformerGetOption) (cache.Informer, error) {
	return nil, errNobodyAsks
}

var errNobodyAsks = errors.New("the simulation has none: nobody has asked for it before")

// RemoveInformer implements cache.Informers.
func (c *caches) RemoveInformer(context.Context, client.Object) error { return errNobodyAsks }

// Start implements cache.Informers.
func (c *caches) Start(context.Context) error { return nil }

// WaitForCacheSync implements cache.Informers.
func (c *caches) WaitForCacheSync(context.Context) bool { return true }

// IndexField implements client.FieldIndexer.
func (c *caches) IndexField(_ context.Context, o client.Object, field string, by client.IndexerFunc) error {
	i, err := c.informer(o)
	if err != nil {
		return err
	}
	c.indexes[i.kind.Kind+" "+field] = by
	return nil
}

// handle is an informer as controllers see it.
type handle struct{ *informer }

// AddEventHandler implements cache.Informer.
func (h handle) AddEventHandler(handler toolscache.ResourceEventHandler) (toolscache.ResourceEventHandlerRegistration, error) {
	return h.AddEventHandlerWithOptions(handler, toolscache.HandlerOptions{})
}

// AddEventHandlerWithResyncPeriod implements cache.Informer.
func (h handle) AddEventHandlerWithResyncPeriod(handler toolscache.ResourceEventHandler, _ time.Duration) (toolscache.ResourceEventHandlerRegistration, error) {
	return h.AddEventHandler(handler)
}

// AddEventHandlerWithOptions implements cache.Informer.
func (h handle) AddEventHandlerWithOptions(handler toolscache.ResourceEventHandler, _ toolscache.HandlerOptions) (toolscache.ResourceEventHandlerRegistration, error) {
	h.mutex.Lock()
	h.handlers = append(h.handlers, handler)
	h.mutex.Unlock()
	for _, v := range h.all() {
		handler.OnAdd(h.object(v), true)
	}
	return synced{}, nil
}

// AddIndexers implements cache.Informer.
func (h handle) AddIndexers(toolscache.Indexers) error { return errNobodyAsks }

// RemoveEventHandler implements cache.Informer.
func (h handle) RemoveEventHandler(toolscache.ResourceEventHandlerRegistration) error {
	return errNobodyAsks
}

// HasSynced implements cache.Informer.
func (h handle) HasSynced() bool { return true }

// HasSyncedChecker implements cache.Informer.
func (h handle) HasSyncedChecker() toolscache.DoneChecker { return synced{} }

// IsStopped implements cache.Informer.
func (h handle) IsStopped() bool { return false }

// synced says that everything was handed out.
type synced struct{}

// HasSynced implements toolscache.ResourceEventHandlerRegistration.
func (synced) HasSynced() bool { return true }

// HasSyncedChecker implements toolscache.ResourceEventHandlerRegistration.
func (synced) HasSyncedChecker() toolscache.DoneChecker { return synced{} }

// Name implements toolscache.DoneChecker.
func (synced) Name() string { return "simulated" }

// Done implements toolscache.DoneChecker.
func (synced) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}
