package frontdoor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/portal"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
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
	// Homes returns somebody's homes where desktops are made for people, those in use included.
	Homes(ctx context.Context, user string) ([]corev1.PersistentVolumeClaim, error)
}

// patience bounds how long pages wait, after a start, for what has not been read yet.
const patience = 2 * time.Second

// errUnread: templates have not been read since the start, as without the right to.
var errUnread = errors.New("templates, quotas, usage or homes have not been read yet: the front door must be allowed to list and watch them")

// WatchedCatalogue is what watches say of templates, quotas, usage and homes. Logins do without:
// it is none of the front door's readiness, and pages that need it say so.
type WatchedCatalogue struct {
	common, homes *watched
}

// watched are kinds that are watched together.
type watched struct {
	cache cache.Cache
	// read is closed once everything has been read, and late once nobody waits for it any more.
	read, late chan struct{}
}

// CatalogueChanged is called when pages may show something else: everybody's, or those of the
// user with an identity.
type CatalogueChanged struct {
	All func()
	Of  func(identity string)
}

// NewWatchedCatalogue prepares the watches. Homes are watched in one namespace, "" for none.
func NewWatchedCatalogue(ctx context.Context, cluster *rest.Config, namespace string, changed CatalogueChanged) (*WatchedCatalogue, error) {
	common, err := watch(ctx, cluster, changed, map[client.Object]cache.ByObject{&vdi.VDITemplate{}: {}, &vdi.VDIQuota{}: {}, &vdi.VDIUsage{}: {}})
	if err != nil || namespace == "" {
		return &WatchedCatalogue{common: common}, err
	}
	ours := labels.SelectorFromSet(labels.Set{wire.LabelManagedBy: wire.Operator, wire.LabelName: wire.NameSession})
	homes, err := watch(ctx, cluster, changed, map[client.Object]cache.ByObject{
		&corev1.PersistentVolumeClaim{}: {Namespaces: map[string]cache.Config{namespace: {}}, Label: ours},
	})
	if err == nil {
		err = homes.cache.IndexField(ctx, &corev1.PersistentVolumeClaim{}, indexUser, func(o client.Object) []string { return []string{o.GetLabels()[wire.LabelUser]} })
	}
	return &WatchedCatalogue{common, homes}, err
}

func watch(ctx context.Context, cluster *rest.Config, changed CatalogueChanged, kinds map[client.Object]cache.ByObject) (*watched, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(vdi.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	shared := true
	for kind, options := range kinds {
		options.Transform, options.UnsafeDisableDeepCopy = cache.TransformStripManagedFields(), &shared
		kinds[kind] = options
	}
	c, err := cache.New(cluster, cache.Options{Scheme: scheme, ReaderFailOnMissingInformer: true, ByObject: kinds})
	if err != nil {
		return nil, fmt.Errorf("build the watch of templates: %w", err)
	}
	for kind := range kinds {
		informer, err := c.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
		if err == nil {
			_, err = informer.AddEventHandler(changed.handler())
		}
		if err != nil {
			return nil, fmt.Errorf("watch %T: %w", kind, err)
		}
	}
	return &watched{c, make(chan struct{}), make(chan struct{})}, nil
}

func (c CatalogueChanged) handler() toolscache.ResourceEventHandler {
	changed := func(o any) {
		if missed, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
			o = missed.Obj
		}
		switch o := o.(type) {
		case *vdi.VDIUsage:
			c.Of(o.Name)
		case *corev1.PersistentVolumeClaim:
			c.Of(o.Labels[wire.LabelUser])
		default:
			c.All()
		}
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
	}
	return before.(client.Object).GetResourceVersion() != after.(client.Object).GetResourceVersion()
}

// Start watches until the context ends.
func (w *WatchedCatalogue) Start(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, each := range []*watched{w.common, w.homes} {
		if each != nil {
			group.Go(func() error { return each.start(ctx) })
		}
	}
	return group.Wait()
}

func (w *watched) start(ctx context.Context) error {
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
	err := w.common.list(ctx, found)
	return found.Items, err
}

// Template implements [Catalogue].
func (w *WatchedCatalogue) Template(ctx context.Context, name string) (*vdi.VDITemplate, bool, error) {
	t := &vdi.VDITemplate{}
	found, err := w.common.get(ctx, name, t)
	return t, found, err
}

// Quotas implements [Catalogue].
func (w *WatchedCatalogue) Quotas(ctx context.Context) ([]vdi.VDIQuota, error) {
	found := &vdi.VDIQuotaList{}
	err := w.common.list(ctx, found)
	return found.Items, err
}

// Usage implements [Catalogue].
func (w *WatchedCatalogue) Usage(ctx context.Context, user string) (*vdi.VDIUsage, error) {
	u := &vdi.VDIUsage{}
	if found, err := w.common.get(ctx, platform.Identity(user), u); err != nil || !found || u.Spec.User != user {
		return nil, err
	}
	return u, nil
}

// Homes implements [Catalogue].
func (w *WatchedCatalogue) Homes(ctx context.Context, user string) ([]corev1.PersistentVolumeClaim, error) {
	if w.homes == nil {
		return nil, nil
	}
	found := &corev1.PersistentVolumeClaimList{}
	err := w.homes.list(ctx, found, client.MatchingFields{indexUser: platform.Identity(user)})
	return found.Items, err
}

func (w *watched) list(ctx context.Context, list client.ObjectList, which ...client.ListOption) error {
	if err := w.wait(ctx); err != nil {
		return err
	}
	if err := w.cache.List(ctx, list, which...); err != nil {
		return fmt.Errorf("list %T: %w", list, err)
	}
	return nil
}

func (w *watched) get(ctx context.Context, name string, o client.Object) (bool, error) {
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
func (w *watched) wait(ctx context.Context) error {
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
