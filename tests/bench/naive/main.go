// Command naive is the operator that the first tutorial builds, to measure ours
// against: it gets or creates each child, writes the status at every pass, and
// comes back every 30 seconds. Its reads are cached, its client is not
// throttled, and its objects are rendered as ours are.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// requeue is how often it looks at every session.
const requeue = 30 * time.Second

func main() {
	ctrl.SetLogger(logr.Discard())
	if err := run(ctrl.SetupSignalHandler(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "naive:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("naive", flag.ContinueOnError)
	settings := flags.String("settings", "", "settings file of the platform")
	metrics := flags.String("metrics-bind-address", "0", "address of /metrics")
	workers := flags.Int("workers", 8, "sessions looked at at the same time")
	namespace := flags.String("namespace", "default", "of the leader's lease")
	if err := flags.Parse(args); err != nil {
		return err
	}
	text, err := os.ReadFile(*settings)
	if err != nil {
		return err
	}
	r := &reconciler{}
	if r.config, err = platform.ParseConfig(text); err != nil {
		return err
	}
	if r.renderer, err = renderer.New(); err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme(), Metrics: metricsserver.Options{BindAddress: *metrics},
		Client:         client.Options{Cache: &client.CacheOptions{Unstructured: true}},
		LeaderElection: true, LeaderElectionID: "naive", LeaderElectionNamespace: *namespace,
	})
	if err != nil {
		return err
	}
	r.Client = mgr.GetClient()
	err = ctrl.NewControllerManagedBy(mgr).For(&vdi.VDISession{}).
		Owns(&corev1.Pod{}).Owns(&corev1.Service{}).Owns(&networkingv1.NetworkPolicy{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: *workers}).
		Complete(r)
	if err != nil {
		return err
	}
	return mgr.Start(ctx)
}

func scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	_ = clientgoscheme.AddToScheme(s) // fails only for types registered twice
	_ = vdi.AddToScheme(s)
	return s
}

type reconciler struct {
	client.Client
	renderer *renderer.Renderer
	config   platform.Config
}

// Reconcile gets or creates each child and writes the status.
func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	s := &vdi.VDISession{}
	if err := r.Get(ctx, req.NamespacedName, s); err != nil || s.DeletionTimestamp != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if controllerutil.AddFinalizer(s, "bench.vdi.kasm.io/naive") {
		return ctrl.Result{}, r.Update(ctx, s) // the update brings it back
	}
	t := &vdi.VDITemplate{}
	if err := r.Get(ctx, client.ObjectKey{Name: s.Spec.Template}, t); err != nil {
		return ctrl.Result{}, err
	}
	host, err := platform.Host(r.config.Sessions, s.Spec.User, s.Name, s.Namespace, string(s.UID))
	if err != nil {
		return ctrl.Result{}, err
	}
	out, err := r.renderer.Render(renderer.Input{Session: *s, Template: *t, Platform: r.config, Host: host})
	if err != nil {
		return ctrl.Result{}, err
	}
	credentials := secret(s)
	credentials.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(s, vdi.GroupVersion.WithKind("VDISession"))}
	if err := r.ensure(ctx, &corev1.Secret{}, credentials); err != nil {
		return ctrl.Result{}, err
	}
	for _, o := range out.Objects {
		found := &unstructured.Unstructured{}
		found.SetGroupVersionKind(o.GroupVersionKind())
		if err := r.ensure(ctx, found, o); err != nil {
			return ctrl.Result{}, err
		}
	}
	if err := r.writeStatus(ctx, s, host); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: requeue}, nil
}

func (r *reconciler) ensure(ctx context.Context, found, wanted client.Object) error {
	err := r.Get(ctx, client.ObjectKeyFromObject(wanted), found)
	if apierrors.IsNotFound(err) {
		err = r.Create(ctx, wanted)
		if apierrors.IsAlreadyExists(err) {
			return nil // the cache is late
		}
	}
	return err
}

func (r *reconciler) writeStatus(ctx context.Context, s *vdi.VDISession, host string) error {
	pod := &corev1.Pod{}
	err := r.Get(ctx, client.ObjectKeyFromObject(s), pod)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	s.Status.ObservedGeneration, s.Status.PodName = s.Generation, s.Name
	s.Status.Host, s.Status.URL = host, platform.URL(r.config.Sessions, host)
	s.Status.Phase, s.Status.Message = vdi.PhaseCreating, "The desktop is being created"
	if err == nil && isReady(pod) {
		s.Status.Phase, s.Status.Message = vdi.PhaseRunning, "The desktop is ready"
	}
	if err := r.Status().Update(ctx, s); err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	return nil
}

func isReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// secret has the form of the operator's credentials; the password is none.
func secret(s *vdi.VDISession) *corev1.Secret {
	o := &corev1.Secret{
		Type: corev1.SecretTypeBasicAuth,
		Data: map[string][]byte{corev1.BasicAuthUsernameKey: []byte("desktop"), corev1.BasicAuthPasswordKey: []byte("00000000000000000000000000000000")},
	}
	o.Name, o.Namespace = renderer.CredentialsName(s.Name), s.Namespace
	return o
}
