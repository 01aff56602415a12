// Package run puts the operator together: settings, cache, controllers, health
// and metrics. It decides nothing about sessions.
package run

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/apitime"
	"github.com/vdi-platform/vdi-platform/operator/gpunodes"
	"github.com/vdi-platform/vdi-platform/operator/gpusharing"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/program"
	"github.com/vdi-platform/vdi-platform/operator/proxycheck"
	"github.com/vdi-platform/vdi-platform/operator/quota"
	"github.com/vdi-platform/vdi-platform/operator/session"
	"github.com/vdi-platform/vdi-platform/operator/template"
	"github.com/vdi-platform/vdi-platform/operator/trim"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// Options are the operator's flags; each is a value of the operator chart.
type Options struct {
	// Config is the path of the settings file (platform.Config as YAML).
	Config string
	// Namespace the operator runs in.
	Namespace string
	// StatementKeysDir is a folder with the front door's statement keys, one PEM per
	// file; needed in access modes OIDC and Local.
	StatementKeysDir string
	// TURNSecretDir is a folder with the TURN relay's shared secret; needed with
	// sessions.turn.host.
	TURNSecretDir string
	// WatchNamespaces limits the operator to these namespaces; empty means all.
	WatchNamespaces string
	// LeaderElect lets several replicas stand by.
	LeaderElect bool
	// MetricsAddress of the metrics server; "0" switches it off.
	MetricsAddress string
	// HealthAddress of the probes; "0" switches them off.
	HealthAddress string
	// PprofAddress of the profiler (net/http/pprof); "0" switches it off.
	PprofAddress string
	// Workers is how many sessions are reconciled at the same time.
	Workers int
	// LogLevel: debug, info, warn or error.
	LogLevel string
	// Registry takes the metrics; the process-wide one when nil. With one of its
	// own, several managers may run in a process.
	Registry metrics.RegistererGatherer
}

// Register declares the flags.
func (o *Options) Register(f *flag.FlagSet) {
	f.StringVar(&o.Config, "config", wire.ConfigFile, "settings file of the platform")
	f.StringVar(&o.Namespace, "namespace", o.Namespace, "namespace of the operator (default: environment POD_NAMESPACE)")
	f.StringVar(&o.StatementKeysDir, "statement-keys-dir", "", "folder with the front door's public keys (access modes OIDC and Local)")
	f.StringVar(&o.TURNSecretDir, "turn-secret-dir", "", "folder with the shared secret of the TURN relay (sessions.turn)")
	f.StringVar(&o.WatchNamespaces, "watch-namespaces", "", "comma-separated session namespaces; empty means all")
	f.BoolVar(&o.LeaderElect, "leader-elect", false, "let several replicas stand by for each other")
	f.StringVar(&o.MetricsAddress, "metrics-bind-address", ":8080", "address of /metrics; 0 switches it off")
	f.StringVar(&o.HealthAddress, "health-probe-bind-address", ":8081", "address of /healthz and /readyz; 0 switches them off")
	f.StringVar(&o.PprofAddress, "pprof-bind-address", "0", "address of the profiler, such as 127.0.0.1:6060; 0 switches it off")
	f.IntVar(&o.Workers, "workers", 8, "sessions looked at at the same time")
	f.StringVar(&o.LogLevel, "log-level", "info", "debug, info, warn or error")
}

// Run runs the operator until the context ends.
func Run(ctx context.Context, o Options) error {
	if err := setLogger(o.LogLevel); err != nil {
		return err
	}
	cluster, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the cluster: %w", err)
	}
	mgr, err := New(ctx, cluster, o)
	if err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// New builds the operator's manager.
func New(ctx context.Context, cluster *rest.Config, o Options) (ctrl.Manager, error) {
	if o.Namespace == "" {
		return nil, errors.New("the operator's namespace is unknown: set --namespace or the environment variable POD_NAMESPACE")
	}
	config, err := readConfig(o.Config)
	if err != nil {
		return nil, err
	}
	cluster = rest.CopyConfig(cluster)
	cluster.UserAgent = wire.Operator
	serverTime := apitime.New()
	cluster.Wrap(serverTime.Listen)
	own := newLease(o.Namespace, wire.Operator)
	cluster.Wrap(own.listen)
	mgr, err := ctrl.NewManager(cluster, managerOptions(o))
	if err != nil {
		return nil, fmt.Errorf("build manager: %w", err)
	}
	if err := errors.Join(
		mgr.AddHealthzCheck("ping", healthz.Ping),
		mgr.AddReadyzCheck("ping", healthz.Ping),
		addControllers(ctx, mgr, config, serverTime, own, o),
	); err != nil {
		return nil, err
	}
	return mgr, nil
}

func addControllers(ctx context.Context, mgr ctrl.Manager, config platform.Config, now clock.PassiveClock, own *lease, o Options) error {
	render, err := renderer.New()
	if err != nil {
		return fmt.Errorf("load session chart: %w", err)
	}
	serverTime, err := newServerTime(mgr.GetConfig())
	if err != nil {
		return err
	}
	counters := session.NewMetrics(mgr.GetClient())
	if err := errors.Join(o.registry().Register(counters), o.registry().Register(homes.NewMetrics(mgr.GetClient()))); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	keys, err := watchStatementKeys(ctx, config.Access, o.StatementKeysDir)
	if err != nil {
		return err
	}
	nodes, err := watchNodes(ctx, mgr, config.Encoder)
	if err != nil {
		return err
	}
	relay, err := watchRelaySecret(ctx, config.Sessions.TURN, o.TURNSecretDir)
	if err != nil {
		return err
	}
	proxy := proxycheck.NewCheck(config)
	if err := errors.Join(o.registry().Register(proxy.Metrics()), mgr.Add(proxy)); err != nil {
		return fmt.Errorf("check the proxy: %w", err)
	}
	sessions := &session.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Renderer: render, Config: config,
		Namespace: o.Namespace, Clock: now, ServerTime: serverTime,
		Probe: proxy.After(newRouteProbe(config.Sessions)), Activity: newAgents(now), StatementKeys: keys, Relay: relay, Nodes: nodes,
		Events: mgr.GetEventRecorder(wire.Operator), Metrics: counters,
	}
	if o.LeaderElect {
		sessions.Leads = own.isFresh
	}
	templates := &template.Reconciler{Client: mgr.GetClient(), Nodes: nodes, Renderer: render, Config: config, Clock: now}
	quotas := &quota.Reconciler{Client: mgr.GetClient(), Use: sessions.QuotaUse, Clock: now}
	left := &homes.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Clock: now, ServerTime: serverTime,
		Events: mgr.GetEventRecorder(wire.Operator),
	}
	return errors.Join(sessions.Setup(ctx, mgr, o.Workers), templates.Setup(mgr), quotas.Setup(mgr), left.Setup(ctx, mgr), addGPUSharing(mgr, config.TimeSlicing, now, o))
}

// watchNodes watches the nodes for templates and sessions, where that is configured.
func watchNodes(ctx context.Context, mgr ctrl.Manager, settings platform.Encoder) (gpunodes.Reader, error) {
	if !settings.ReadNodes {
		return nil, nil
	}
	return gpunodes.Watch(ctx, mgr.GetCache())
}

// addGPUSharing adds the controller of GPU sharing, where it is configured.
func addGPUSharing(mgr ctrl.Manager, settings platform.TimeSlicing, now clock.PassiveClock, o Options) error {
	if !settings.Enabled {
		return nil
	}
	if settings.Namespace == "" {
		settings.Namespace = o.Namespace
	}
	sharing := &gpusharing.Reconciler{
		Settings: settings, Namespace: o.Namespace, Clock: now,
		Events: mgr.GetEventRecorder(wire.Operator), Metrics: gpusharing.NewMetrics(),
	}
	if err := o.registry().Register(sharing.Metrics); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return sharing.Setup(mgr)
}

func (o Options) registry() metrics.RegistererGatherer {
	if o.Registry != nil {
		return o.Registry
	}
	return metrics.Registry
}

// Scheme knows every type the operator handles.
func Scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	_ = clientgoscheme.AddToScheme(s) // fails only for types registered twice
	_ = vdi.AddToScheme(s)
	session.AddToScheme(s)
	return s
}

func managerOptions(o Options) ctrl.Options {
	return ctrl.Options{
		Scheme:                        Scheme(),
		Cache:                         CacheOptions(o.WatchNamespaces),
		Metrics:                       metricsserver.Options{BindAddress: o.MetricsAddress},
		HealthProbeBindAddress:        o.HealthAddress,
		PprofBindAddress:              o.PprofAddress,
		LeaderElection:                o.LeaderElect,
		LeaderElectionID:              wire.Operator,
		LeaderElectionNamespace:       o.Namespace,
		LeaderElectionReleaseOnCancel: true,
		// A standby works only when it leads (no EnableWarmup). It knows the sessions,
		// their pods and the nodes before that, since those caches have indexes and
		// are counted: that may be older than the former leader's last writes, and the
		// API server itself is asked before any write that could do harm then.
		Controller: config.Controller{SkipNameValidation: new(o.Registry != nil)},
	}
}

// CacheOptions keep the cache small and the RBAC narrow: of the sessions'
// objects only what the operator made, without managed fields, and no Secret at
// all. The proxy's kinds are not named here: they may be installed later.
func CacheOptions(namespaces string) cache.Options {
	all, trimmed := cache.ByObject{Label: labels.Everything()}, trim.New()
	opts := cache.Options{
		DefaultTransform:            trimmed.Meta,
		DefaultLabelSelector:        labels.SelectorFromSet(labels.Set{wire.LabelManagedBy: wire.Operator}),
		ReaderFailOnMissingInformer: true,
		ByObject: map[client.Object]cache.ByObject{
			&vdi.VDISession{}:  all,
			&vdi.VDITemplate{}: all,
			&vdi.VDIQuota{}:    all,
			&vdi.VDIUsage{}:    all,
			&corev1.Pod{}:      {Transform: trimmed.Pod},
			&corev1.Node{}:     gpunodes.CacheOptions(),

			&corev1.PersistentVolumeClaim{}: {Transform: trimmed.Claim},
			&networkingv1.NetworkPolicy{}:   {Transform: trimmed.Policy},
			crdMetadata():                   {Label: labels.Everything(), Field: fields.OneTermEqualSelector("metadata.name", session.RouteCRD)},
		},
	}
	for _, ns := range program.List(namespaces) {
		if opts.DefaultNamespaces == nil {
			opts.DefaultNamespaces = map[string]cache.Config{}
		}
		opts.DefaultNamespaces[ns] = cache.Config{}
	}
	return opts
}

func crdMetadata() *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	return m
}

func readConfig(path string) (platform.Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return platform.Config{}, fmt.Errorf("read settings: %w", err)
	}
	config, err := platform.ParseConfig(data)
	if err != nil {
		return platform.Config{}, fmt.Errorf("settings in %s: %w", path, err)
	}
	return config, nil
}

func setLogger(level string) error {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return fmt.Errorf("--log-level: %w", err)
	}
	ctrl.SetLogger(logr.FromSlogHandler(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: l})))
	return nil
}
