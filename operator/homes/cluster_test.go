package homes

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// errDown is an API server that does not answer.
var errDown = errors.New("no answer")

// errDenied is the answer of a policy that does not want a write.
var errDenied = apierrors.NewForbidden(schema.GroupResource{Resource: "persistentvolumeclaims"}, "vdi-data-desk", errors.New("not on Sundays"))

// cluster has claims, sessions and pods, and counts what is asked of it. Its cache shows
// nothing but what a test puts there.
type cluster struct {
	Claims
	client         client.Client
	patches, lists int      // writes of claims, looks at pods
	freed          []string // the holders whose claims were released
	answer         error    // to every write of a claim
	silent         error    // to every list
}

func newCluster(t *testing.T, stored ...client.Object) *cluster {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, corev1.AddToScheme(scheme))
	require.NoError(t, vdi.AddToScheme(scheme))
	w := &cluster{}
	answers := interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
			w.patches++
			if w.answer != nil {
				return w.answer
			}
			return c.Patch(ctx, o, patch, opts...)
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if _, pods := list.(*corev1.PodList); pods {
				w.lists++
			}
			if w.silent != nil {
				return w.silent
			}
			return c.List(ctx, list, opts...)
		},
	}
	w.client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(stored...).WithInterceptorFuncs(answers).Build()
	w.Claims = Claims{
		Objects: objects.Store{Client: w.client, Live: w.client, Owner: "test"},
		Users: Users{
			Cache: fake.NewClientBuilder().WithScheme(scheme).Build(), Live: w.client,
			OnClaim: func(namespace, _ string) []client.ListOption {
				return []client.ListOption{client.InNamespace(namespace)}
			},
		},
		Known: &Known{},
		Freed: func(_ context.Context, claim *corev1.PersistentVolumeClaim) {
			w.freed = append(w.freed, claim.Annotations[wire.AnnotationHolder])
		},
	}
	return w
}

// caches shows objects in the cache.
func (w *cluster) caches(stored ...client.Object) *cluster {
	w.Users.Cache = fake.NewClientBuilder().WithScheme(w.client.Scheme()).WithObjects(stored...).Build()
	return w
}

// home is the claim as the cluster has it.
func (w *cluster) home(t *testing.T) *corev1.PersistentVolumeClaim {
	t.Helper()
	claim, err := w.Read(t.Context(), "ns", "vdi-data-desk")
	require.NoError(t, err)
	require.NotNil(t, claim)
	return claim
}

func heldAs(holder string) func(*corev1.PersistentVolumeClaim) {
	return annotated(wire.AnnotationHolder, holder)
}

// sessionNamed is another session, whose home is the claim of these tests.
func sessionNamed(name string, uid types.UID) *vdi.VDISession {
	s := fixture.Session()
	s.Name, s.UID, s.Status.ObservedGeneration = name, uid, s.Generation
	s.Spec.Persistence.ExistingClaim = "vdi-data-desk"
	return s
}

// desktopOf is the desktop of a session, with its home.
func desktopOf(s *vdi.VDISession, changes ...func(*corev1.Pod)) *corev1.Pod {
	pod := fixture.Pod(fixture.AtHome)
	pod.Name, pod.Namespace, pod.OwnerReferences = s.Name, s.Namespace, []metav1.OwnerReference{s.OwnerReference()}
	pod.Labels = map[string]string{wire.LabelName: wire.NameSession, wire.LabelManagedBy: wire.Operator}
	for _, change := range changes {
		change(pod)
	}
	return pod
}

// requireReason wants a verdict for a reason, or with "" no error.
func requireReason(t *testing.T, reason string, err error) {
	t.Helper()
	if reason == "" {
		require.NoError(t, err)
		return
	}
	var v *verdict.Verdict
	require.ErrorAs(t, err, &v)
	require.Equal(t, reason, v.Reason)
}

// paged answers lists of pods with one pod a page.
type paged struct {
	client.Reader
	pods  []*corev1.Pod
	asked int
	limit int64
}

func (p *paged) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	asked, page := (&client.ListOptions{}).ApplyOptions(opts), list.(*corev1.PodList)
	next, _ := strconv.Atoi(asked.Continue)
	page.Items = []corev1.Pod{*p.pods[next]}
	if next+1 < len(p.pods) {
		page.Continue = strconv.Itoa(next + 1)
	}
	p.asked, p.limit = p.asked+1, asked.Limit
	return nil
}
