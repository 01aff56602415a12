// Package maintain holds what the operator's image does besides serving
// sessions: the short commands that Helm's hooks and `helm test` run as Jobs and
// pods. Each ends by itself and may be run again.
//
// It must not serve sessions, delete one, or touch a home.
package maintain

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-logr/logr"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// ErrRefused is the kind of every error that a second try cannot heal.
var ErrRefused = errors.New("refused")

// pollInterval is how often something that is under way is polled.
const pollInterval = 250 * time.Millisecond

// job is what a command has to work with.
type job struct {
	cluster *rest.Config
	client  client.Client
	options options
	out     io.Writer
}

// options are the flags of all commands; each reads those it needs.
type options struct {
	config          string
	templates       string
	namespace       string
	deployment      string
	replicas        int
	watchNamespaces string
	release         string
	revision        int
	force           bool
	ready           string
	proxyReads      string
	admission       bool
	podVolumes      string
	podSources      string
	podCapabilities string
	proxy           string
	proxyHost       string
	portalHost      string
	settings        string
	confirmed       string
	confirmBy       string
	timeout         time.Duration
}

func (o *options) register(f *flag.FlagSet) {
	f.StringVar(&o.config, "config", wire.ConfigFile, "settings file of the platform (templates apply, check install, check upgrade)")
	f.StringVar(&o.templates, "templates", "/etc/vdi/templates.yaml", "file that maps names to specs (templates apply, check install, check upgrade)")
	f.StringVar(&o.namespace, "namespace", o.namespace, "namespace of the operator (default: environment POD_NAMESPACE)")
	f.StringVar(&o.deployment, "deployment", wire.Operator, "the operator's Deployment (uninstall)")
	f.IntVar(&o.replicas, "replicas", 0, "the Deployment's replicas, for an uninstall that fails after an earlier try has stopped the operator (uninstall)")
	f.StringVar(&o.watchNamespaces, "watch-namespaces", "", "comma-separated session namespaces; empty means all (uninstall, routes label, check upgrade)")
	f.StringVar(&o.release, "release", "", "name of the Helm release in the operator's namespace (routes label, uninstall)")
	f.IntVar(&o.revision, "revision", 0, "the release's revision; later ones count, too (uninstall)")
	f.BoolVar(&o.force, "force", false, "uninstall though no release of Helm's is being uninstalled (uninstall)")
	f.StringVar(&o.ready, "ready", "", "URL of the operator's readiness (check)")
	f.StringVar(&o.proxyReads, "proxy-reads", "", "comma-separated kinds of others that the proxy will read besides those with the label (check upgrade)")
	f.BoolVar(&o.admission, "admission", true, "whether admission policies will hold (check upgrade)")
	f.StringVar(&o.podVolumes, "pod-volumes", "", "comma-separated fields that admission lets the volumes of desktops have (check upgrade)")
	f.StringVar(&o.podSources, "pod-sources", "", "comma-separated sources that it lets their projected volumes have (check upgrade)")
	f.StringVar(&o.podCapabilities, "pod-capabilities", "", "comma-separated capabilities that it lets their containers add (check upgrade)")
	f.StringVar(&o.proxy, "proxy", "", "host:port of the proxy; empty to leave it alone (check)")
	f.StringVar(&o.proxyHost, "proxy-host", "", "host that the proxy leads to the front door (check)")
	f.StringVar(&o.portalHost, "portal-host", "", "host where people will log in, which no session may have; empty where there is none (check upgrade)")
	f.StringVar(&o.settings, "settings", "", "ConfigMap with the release's settings as they are before the upgrade (check upgrade)")
	f.StringVar(&o.confirmed, "confirmed", "", "comma-separated keys of findings that are known; * means all (check upgrade)")
	f.StringVar(&o.confirmBy, "confirm-by", "upgradeCheck.confirmed", "the chart's value by which findings are confirmed (check upgrade)")
	f.DurationVar(&o.timeout, "timeout", 4*time.Minute, "longest time the command may take")
}

// usage lists the commands.
const usage = `commands:
  crds apply        bring the cluster's CRDs to this image's version; newer ones stay
  templates apply   apply the default templates
  routes label      give routes of earlier versions the label by which the proxy reads them
  uninstall         while Helm uninstalls the release: stop the operator and let go of all sessions, which stay
  check             is the operator ready, are its kinds served, and is the proxy safe?
  check install     do the settings work, and what does the cluster lack?
  check reach       which of the given HOST:PORT take a TCP connection from here?
  check upgrade     what works now and would be refused after an upgrade to this image?`

// commandOf finds the command that the words name, and what follows them.
func commandOf(args []string) (do func(context.Context, job) error, rest []string, err error) {
	commands := map[string]func(context.Context, job) error{
		"crds apply": applyCRDs, "templates apply": applyTemplates, "routes label": labelRoutes,
		"uninstall": uninstall, "check": check,
		"check install": checkInstall, "check upgrade": checkUpgrade,
	}
	for _, words := range []int{2, 1} { // the longest name counts
		if len(args) < words {
			continue
		}
		if do := commands[strings.Join(args[:words], " ")]; do != nil {
			return do, args[words:], nil
		}
	}
	return nil, nil, fmt.Errorf("%w: no such command: %s\n%s", ErrRefused, strings.Join(args, " "), usage)
}

// Run runs the command that the words on the command line name.
func Run(ctx context.Context, args []string, namespace string, out io.Writer) error {
	if len(args) > 1 && args[0] == "check" && args[1] == "reach" { // from a pod that has no account
		return checkReach(ctx, args[2:], out)
	}
	do, rest, err := commandOf(args)
	if err != nil {
		return err
	}
	o := options{namespace: namespace}
	flags := flag.NewFlagSet(strings.Join(args[:len(args)-len(rest)], " "), flag.ContinueOnError)
	flags.SetOutput(out)
	o.register(flags)
	if err := flags.Parse(rest); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	cluster, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the cluster: %w", err)
	}
	j, err := newJob(cluster, o, out)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	return do(ctx, j)
}

func newJob(cluster *rest.Config, o options, out io.Writer) (job, error) {
	ctrl.SetLogger(logr.Discard()) // the commands speak for themselves
	cluster = rest.CopyConfig(cluster)
	cluster.UserAgent = "vdi-operator-maintain"
	c, err := client.New(cluster, client.Options{Scheme: scheme()})
	if err != nil {
		return job{}, fmt.Errorf("build client: %w", err)
	}
	return job{cluster: cluster, client: c, options: o, out: out}, nil
}

func scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	_ = clientgoscheme.AddToScheme(s) // fails only for types registered twice
	_ = apiextensionsv1.AddToScheme(s)
	_ = vdi.AddToScheme(s)
	return s
}

// report writes what was done, one line each.
func (j job) report(format string, args ...any) { fmt.Fprintf(j.out, format+"\n", args...) }
