package frontdoor

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/portal"
	"github.com/vdi-platform/vdi-platform/platform"
)

// Catalogue is what the front door knows about what people may have. Nothing in what it
// returns may be changed.
type Catalogue interface {
	// Templates returns all templates.
	Templates(ctx context.Context) ([]vdi.VDITemplate, error)
	// Template returns a template.
	Template(ctx context.Context, name string) (*vdi.VDITemplate, bool, error)
	// Quotas returns all quotas.
	Quotas(ctx context.Context) ([]vdi.VDIQuota, error)
	// Usage returns what somebody's desktops have used that are over; nil for nothing.
	Usage(ctx context.Context, user string) (*vdi.VDIUsage, error)
}

// patience bounds how long pages wait, after a start, for what has not been read yet.
const patience = 2 * time.Second

// errUnread: templates have not been read since the start, as without the right to.
var errUnread = errors.New("templates, quotas and usage have not been read yet: the front door must be allowed to list and watch them")

// WatchedCatalogue is what watches say of templates, quotas and usage. Logins do without: it
// is none of the front door's readiness, and pages that need it say so.
type WatchedCatalogue struct {
	cache cache.Cache
	// read is closed once everything has been read, and late once nobody waits for it any more.
	read, late chan struct{}
}

// CatalogueChanged is called when pages may show something else: everybody's, or a user's.
type CatalogueChanged struct {
	All func()
	Of  func(user string)
}

// NewWatchedCatalogue prepares the watches.
func NewWatchedCatalogue(ctx context.Context, cluster *rest.Config, changed CatalogueChanged) (*WatchedCatalogue, error) {
	scheme := runtime.NewScheme()
	if err := vdi.AddToScheme(scheme); err != nil {
		return nil, err
	}
	shared := true
	kinds := []client.Object{&vdi.VDITemplate{}, &vdi.VDIQuota{}, &vdi.VDIUsage{}}
	options := cache.Options{Scheme: scheme, ReaderFailOnMissingInformer: true, ByObject: map[client.Object]cache.ByObject{}}
	for _, kind := range kinds {
		options.ByObject[kind] = cache.ByObject{Transform: cache.TransformStripManagedFields(), UnsafeDisableDeepCopy: &shared}
	}
	c, err := cache.New(cluster, options)
	if err != nil {
		return nil, fmt.Errorf("build the watch of templates: %w", err)
	}
	for _, kind := range kinds {
		informer, err := c.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
		if err == nil {
			_, err = informer.AddEventHandler(changed.handler())
		}
		if err != nil {
			return nil, fmt.Errorf("watch %T: %w", kind, err)
		}
	}
	return &WatchedCatalogue{c, make(chan struct{}), make(chan struct{})}, nil
}

func (c CatalogueChanged) handler() toolscache.ResourceEventHandler {
	changed := func(o any) {
		if missed, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
			o = missed.Obj
		}
		if u, ok := o.(*vdi.VDIUsage); ok {
			c.Of(u.Spec.User)
			return
		}
		c.All()
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: changed, DeleteFunc: changed,
		UpdateFunc: func(before, after any) {
			if isShown(before, after) {
				changed(after)
			}
		},
	}
}

// isShown reports whether a change is one of what pages show: the operator often writes how
// many sessions there are.
func isShown(before, after any) bool {
	switch b := before.(type) {
	case *vdi.VDITemplate:
		a := after.(*vdi.VDITemplate)
		return a.Generation != b.Generation || a.Status.Encoder != b.Status.Encoder || (a.DeletionTimestamp == nil) != (b.DeletionTimestamp == nil) ||
			portal.IsBroken(a) != portal.IsBroken(b)
	case *vdi.VDIQuota:
		return after.(*vdi.VDIQuota).Generation != b.Generation
	case *vdi.VDIUsage:
		return after.(*vdi.VDIUsage).ResourceVersion != b.ResourceVersion
	}
	return true
}

// Start watches until the context ends.
func (w *WatchedCatalogue) Start(ctx context.Context) error {
	enough := time.AfterFunc(patience, func() { close(w.late) })
	defer enough.Stop()
	go func() {
		if w.cache.WaitForCacheSync(ctx) {
			close(w.read)
		}
	}()
	return w.cache.Start(ctx)
}

// Templates implements [Catalogue].
func (w *WatchedCatalogue) Templates(ctx context.Context) ([]vdi.VDITemplate, error) {
	found := &vdi.VDITemplateList{}
	err := w.list(ctx, found)
	return found.Items, err
}

// Template implements [Catalogue].
func (w *WatchedCatalogue) Template(ctx context.Context, name string) (*vdi.VDITemplate, bool, error) {
	t := &vdi.VDITemplate{}
	found, err := w.get(ctx, name, t)
	return t, found, err
}

// Quotas implements [Catalogue].
func (w *WatchedCatalogue) Quotas(ctx context.Context) ([]vdi.VDIQuota, error) {
	found := &vdi.VDIQuotaList{}
	err := w.list(ctx, found)
	return found.Items, err
}

// Usage implements [Catalogue].
func (w *WatchedCatalogue) Usage(ctx context.Context, user string) (*vdi.VDIUsage, error) {
	u := &vdi.VDIUsage{}
	if found, err := w.get(ctx, platform.Identity(user), u); err != nil || !found || u.Spec.User != user {
		return nil, err
	}
	return u, nil
}

func (w *WatchedCatalogue) list(ctx context.Context, list client.ObjectList) error {
	if err := w.wait(ctx); err != nil {
		return err
	}
	if err := w.cache.List(ctx, list); err != nil {
		return fmt.Errorf("list %T: %w", list, err)
	}
	return nil
}

func (w *WatchedCatalogue) get(ctx context.Context, name string, o client.Object) (bool, error) {
	if err := w.wait(ctx); err != nil {
		return false, err
	}
	err := w.cache.Get(ctx, client.ObjectKey{Name: name}, o)
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("get %T %s: %w", o, name, err)
	}
	return true, nil
}

// wait waits until everything has been read, right after a start.
func (w *WatchedCatalogue) wait(ctx context.Context) error {
	select {
	case <-w.read:
		return nil
	default:
	}
	select {
	case <-w.read:
		return nil
	case <-w.late:
		return errUnread
	case <-ctx.Done():
		return ctx.Err()
	}
}
