package command

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
	"k8s.io/client-go/util/retry"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// fieldOwner names us in managed fields.
const fieldOwner = "kubectl-vdi"

// Resources that the commands read.
var (
	sessionResource  = vdi.GroupVersion.WithResource("vdisessions")
	templateResource = vdi.GroupVersion.WithResource("vditemplates")
	usageResource    = vdi.GroupVersion.WithResource("vdiusages")
	quotaResource    = vdi.GroupVersion.WithResource("vdiquotas")
)

var getOptions = metav1.GetOptions{}

// cluster is the API server, and the namespace that is meant.
type cluster struct {
	dynamic   dynamic.Interface
	namespace string
}

func (t *tool) connect() (*cluster, error) {
	config, err := t.flags.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	namespace, _, err := t.flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, err
	}
	client, err := dynamic.NewForConfig(config)
	return &cluster{client, namespace}, err
}

func (c *cluster) sessions() dynamic.ResourceInterface {
	return c.dynamic.Resource(sessionResource).Namespace(c.namespace)
}

// session reads one session.
func (c *cluster) session(ctx context.Context, name string) (*vdi.VDISession, error) {
	o, err := c.sessions().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return as[vdi.VDISession](o)
}

// as is an object in its Go type.
func as[T any](o *unstructured.Unstructured) (*T, error) {
	out := new(T)
	return out, runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, out)
}

// decision is which fields of a session's spec become what, as the session is.
type decision func(*vdi.VDISession) (map[string]any, error)

// change decides on a session as it is, and writes to exactly what was decided on: the
// operator and the front door write the same object. After a conflict it decides again.
func (c *cluster) change(ctx context.Context, name string, decide decision, dryRun []string) (before, after *unstructured.Unstructured, err error) {
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		var spec map[string]any
		if before, spec, err = c.decided(ctx, name, decide); err != nil {
			return err
		}
		text, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"uid": before.GetUID(), "resourceVersion": before.GetResourceVersion()},
			"spec":     spec,
		})
		if err != nil {
			return err
		}
		after, err = c.sessions().Patch(ctx, name, types.MergePatchType, text, metav1.PatchOptions{FieldManager: fieldOwner, DryRun: dryRun})
		return err
	})
	return before, after, err
}

// decided reads a session and decides.
func (c *cluster) decided(ctx context.Context, name string, decide decision) (*unstructured.Unstructured, map[string]any, error) {
	o, err := c.sessions().Get(ctx, name, getOptions)
	if err != nil {
		return nil, nil, err
	}
	s, err := as[vdi.VDISession](o)
	if err != nil {
		return nil, nil, err
	}
	spec, err := decide(s)
	return o, spec, err
}

// follow shows a session as it is and after every change, until look is done or fails; nil
// when it is gone.
func (c *cluster) follow(ctx context.Context, name string, look func(*vdi.VDISession) (done bool, err error)) error {
	only := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()}
	for ctx.Err() == nil {
		list, err := c.sessions().List(ctx, only)
		if err != nil {
			return err
		}
		var now *unstructured.Unstructured
		if len(list.Items) > 0 {
			now = &list.Items[0]
		}
		if done, err := show(now, look); done || err != nil {
			return err
		}
		done, err := c.followFrom(ctx, list.GetResourceVersion(), only, look)
		if done || err != nil {
			return err
		}
	}
	return ctx.Err()
}

// followFrom watches from a state on; not done where the server does not know that state any
// more, so that the list has to be read again.
func (c *cluster) followFrom(ctx context.Context, version string, only metav1.ListOptions, look func(*vdi.VDISession) (bool, error)) (bool, error) {
	watcher, err := watchtools.NewRetryWatcherWithContext(ctx, version, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.FieldSelector = only.FieldSelector
			return c.sessions().Watch(ctx, options)
		},
	})
	if err != nil {
		return false, err
	}
	defer watcher.Stop()
	for event := range watcher.ResultChan() {
		var now *unstructured.Unstructured
		switch event.Type {
		case watch.Added, watch.Modified:
			now, _ = event.Object.(*unstructured.Unstructured)
		case watch.Deleted:
		case watch.Error:
			err := apierrors.FromObject(event.Object)
			if apierrors.IsGone(err) || apierrors.IsResourceExpired(err) {
				return false, nil
			}
			return false, err
		default:
			continue
		}
		if done, err := show(now, look); done || err != nil {
			return done, err
		}
	}
	return false, ctx.Err()
}

func show(o *unstructured.Unstructured, look func(*vdi.VDISession) (bool, error)) (bool, error) {
	if o == nil {
		return look(nil)
	}
	s, err := as[vdi.VDISession](o)
	if err != nil {
		return false, err
	}
	return look(s)
}

// nameOf takes a name with or without its kind, as `-o name` prints it.
func nameOf(arg string) (string, error) {
	kind, name, found := strings.Cut(arg, "/")
	if !found {
		return arg, nil
	}
	switch kind {
	case "vdisession.vdi.kasm.io", "vdisessions.vdi.kasm.io", "vdisession", "vdisessions", "vdi":
		return name, nil
	}
	return "", fmt.Errorf("%s is no session: give its name, or vdisession/NAME", arg)
}

// namesOf are names with or without their kind.
func namesOf(args []string) (names []string, err error) {
	for _, arg := range args {
		name, err := nameOf(arg)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// requester is the name by which the API server knows who calls.
func (c *cluster) requester(ctx context.Context) (string, error) {
	review := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}}
	answer, err := c.dynamic.Resource(schema.GroupVersionResource{Group: "authentication.k8s.io", Version: "v1", Resource: "selfsubjectreviews"}).Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	name, _, err := unstructured.NestedString(answer.Object, "status", "userInfo", "username")
	return name, err
}

// may reports whether who calls may do something with a resource of ours everywhere.
func (c *cluster) may(ctx context.Context, verb string, resource schema.GroupVersionResource) bool {
	review := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
		"spec": map[string]any{"resourceAttributes": map[string]any{"verb": verb, "group": resource.Group, "resource": resource.Resource}},
	}}
	answer, err := c.dynamic.Resource(schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "selfsubjectaccessreviews"}).Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false
	}
	allowed, _, _ := unstructured.NestedBool(answer.Object, "status", "allowed")
	return allowed
}

// stamp is a time as the API writes it.
func stamp(t time.Time) string { return t.UTC().Truncate(time.Second).Format(time.RFC3339) }
