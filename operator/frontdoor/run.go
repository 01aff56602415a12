package frontdoor

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/folder"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/ended"
	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/operator/program"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// ErrFlags is the kind of every error about flags.
var ErrFlags = errors.New("invalid flag")

// DefaultEndedLogins begins the names of the ConfigMaps of ended logins.
const DefaultEndedLogins = "vdi-frontdoor-ended-logins"

// maxHeaderBytes is how long the head of a request may be.
const maxHeaderBytes = 64 << 10

// Flags are the program's flags; each is a value of the operator chart.
type Flags struct {
	// Config is the path of the platform's settings (platform.Config as YAML).
	Config string
	// Namespace of the front door, and of its ConfigMaps.
	Namespace string
	// EndedLogins begins the names of the ConfigMaps of ended logins, see
	// [ended.Store]; StatementKeys is the name of the one where the operator reads the
	// statement keys.
	EndedLogins, StatementKeys string
	// WatchNamespaces limits the front door to these namespaces; empty means all.
	WatchNamespaces string
	// Listen serves people, AuthListen the proxy, MetricsListen metrics and probes.
	Listen, AuthListen, MetricsListen string
	// KeysDir is a folder of keys, see ReadKeys; PeopleDir one with the list of people
	// (people.File) of mode Local.
	KeysDir, PeopleDir string
	LoginLifetime      time.Duration
	// PortalNamespace is where sessions are made for people; empty for nowhere.
	PortalNamespace string
	// Mode and the next three replace what the settings say, where they are set.
	Mode, OIDCIssuerURL, OIDCClientID, OIDCUserClaim string
	OIDCClientSecretFile, OIDCScopes                 string
	LogLevel                                         string
}

// Register declares the flags.
func (f *Flags) Register(set *flag.FlagSet) {
	set.StringVar(&f.Config, "config", wire.ConfigFile, "settings file of the platform")
	set.StringVar(&f.Namespace, "namespace", f.Namespace, "namespace of the front door (default: environment POD_NAMESPACE)")
	set.StringVar(&f.EndedLogins, "ended-logins", DefaultEndedLogins, "begins the names of the ConfigMaps of that namespace where logins that were ended are kept")
	set.StringVar(&f.StatementKeys, "public-keys", wire.StatementKeysConfigMap, "ConfigMap of that namespace where the public keys are published to the operator")
	set.StringVar(&f.WatchNamespaces, "watch-namespaces", "", "comma-separated session namespaces; empty means all")
	set.StringVar(&f.Listen, "listen", ":8080", "address for people")
	set.StringVar(&f.AuthListen, "auth-listen", ":8081", "address for the proxy's forward auth")
	set.StringVar(&f.MetricsListen, "metrics-listen", ":8082", "address of /metrics, /healthz and /readyz")
	set.StringVar(&f.KeysDir, "keys-dir", "/etc/vdi/frontdoor-keys", "folder with NAME.pem (Ed25519 private keys) and NAME.key (32 random bytes); the name that sorts last is used, the others still count")
	set.StringVar(&f.PeopleDir, "people-dir", "", "folder with people.yaml, the people of mode Local")
	set.DurationVar(&f.LoginLifetime, "login-lifetime", 8*time.Hour, "how long a person's login holds")
	set.StringVar(&f.PortalNamespace, "portal-namespace", "", "namespace where people make desktops for themselves; empty for nowhere (modes OIDC and Local)")
	set.StringVar(&f.Mode, "mode", "", "Password, OIDC or Local (default: access.mode of the settings)")
	set.StringVar(&f.OIDCIssuerURL, "oidc-issuer-url", "", "issuer (default: access.oidc.issuerURL of the settings)")
	set.StringVar(&f.OIDCClientID, "oidc-client-id", "", "client ID (default: access.oidc.clientID of the settings)")
	set.StringVar(&f.OIDCUserClaim, "oidc-user-claim", "", "claim that names people (default: access.oidc.userClaim of the settings)")
	set.StringVar(&f.OIDCClientSecretFile, "oidc-client-secret-file", "", "file with the client secret; empty for a public client")
	set.StringVar(&f.OIDCScopes, "oidc-scopes", "openid email profile", "scopes to ask for, separated by blanks")
	set.StringVar(&f.LogLevel, "log-level", "info", "debug, info, warn or error")
}

// Listeners are where the front door serves.
type Listeners struct{ People, Proxy, Metrics net.Listener }

// Run serves until the context ends.
func Run(ctx context.Context, cluster *rest.Config, f Flags) error {
	var l Listeners
	for _, each := range []struct {
		flag, address string
		listener      *net.Listener
	}{{"--listen", f.Listen, &l.People}, {"--auth-listen", f.AuthListen, &l.Proxy}, {"--metrics-listen", f.MetricsListen, &l.Metrics}} {
		var err error
		if *each.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", each.address); err != nil {
			return fmt.Errorf("%w: %s: %w; give a free address such as :8080", ErrFlags, each.flag, err)
		}
	}
	return Serve(ctx, cluster, f, l)
}

// Serve is Run on listeners that are open already.
func Serve(ctx context.Context, cluster *rest.Config, f Flags, l Listeners) error {
	config, err := f.settings()
	if err != nil {
		return err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.LogLevel)); err != nil {
		return fmt.Errorf("%w: --log-level: %w", ErrFlags, err)
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	if warning := config.Access.OIDC.Warning(); warning != "" {
		log.Warn(warning)
	}
	known, logins, writer, err := f.connect(ctx, cluster)
	if err != nil {
		return err
	}
	var keys *folder.Folder[Keys]
	published := newPublisher(StatementKeysStore{Namespace: f.Namespace, Name: f.StatementKeys}, func() Keys { return keys.Get() }, writer, log)
	keys, err = folder.Watch(f.KeysDir, log, ReadKeys, func(_, after Keys) {
		keysRead(log, after)
		published.enqueue()
	})
	if err != nil {
		return fmt.Errorf("%w: --keys-dir: %w", ErrFlags, err)
	}
	defer keys.Close()
	roster, err := f.followPeople(config.Access, log)
	if err != nil {
		return err
	}
	defer roster.close()
	catalogue, startCatalogue, err := f.openCatalogue(ctx, cluster, config.Access.Mode, known.CatalogueChanged())
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	door := New(Options{
		Sessions: config.Sessions, Access: config.Access, LoginLifetime: f.LoginLifetime, Provider: f.provider(config), People: roster.get,
		Keys: keys.Get, Known: known, Changer: NewChanger(writer), Catalogue: catalogue, PortalNamespace: f.PortalNamespace, Ended: logins,
		Now: time.Now, Log: log, Metrics: NewMetrics(registry, logins.Fullest), Closing: ctx.Done(),
	})
	group, ctx := errgroup.WithContext(ctx)
	for _, run := range []func(context.Context) error{published.run, known.Start, startCatalogue, logins.Start, roster.settling(door, registry, known.Ready, logins.Ready)} {
		group.Go(func() error { return run(ctx) })
	}
	servers := []httpserver.Listening{
		{Server: httpserver.New(probes(registry, known.Ready, logins.Ready), log, maxHeaderBytes), Listener: l.Metrics},
		{Server: httpserver.New(door.Pages(), log, door.maxHeaderBytes()), Listener: l.People},
		{Server: httpserver.New(door.ForwardAuth(), log, maxHeaderBytes), Listener: l.Proxy},
	}
	// Open pages end by themselves and find another replica, see Options.Closing.
	group.Go(func() error { return httpserver.Serve(ctx, servers, nil) })
	return group.Wait()
}

// settings are the file's, with what flags replace.
func (f Flags) settings() (platform.Config, error) {
	data, err := os.ReadFile(f.Config)
	if err != nil {
		return platform.Config{}, fmt.Errorf("read settings: %w", err)
	}
	config, err := platform.ParseConfig(data)
	if err != nil {
		return platform.Config{}, fmt.Errorf("settings in %s: %w", f.Config, err)
	}
	a := &config.Access
	for _, replace := range []struct {
		setting *string
		flag    string
	}{
		{(*string)(&a.Mode), f.Mode},
		{&a.OIDC.IssuerURL, f.OIDCIssuerURL},
		{&a.OIDC.ClientID, f.OIDCClientID},
		{&a.OIDC.UserClaim, f.OIDCUserClaim},
	} {
		if replace.flag != "" {
			*replace.setting = replace.flag
		}
	}
	config = config.WithDefaults()
	return config, errors.Join(config.Validate(), f.check(config.Access))
}

func (f Flags) check(access platform.Access) error {
	switch {
	case f.Namespace == "":
		return fmt.Errorf("%w: the namespace is unknown; set --namespace or the environment variable POD_NAMESPACE", ErrFlags)
	case f.LoginLifetime <= 0:
		return fmt.Errorf("%w: --login-lifetime is %s; give a positive duration such as 8h", ErrFlags, f.LoginLifetime)
	case access.Mode == wire.AccessLocal && f.PeopleDir == "":
		return fmt.Errorf("%w: --people-dir is empty; in mode %s give the folder with the list of people", ErrFlags, access.Mode)
	case access.Mode == wire.AccessOIDC && !strings.Contains(" "+f.OIDCScopes+" ", " "+oidc.ScopeOpenID+" "):
		return fmt.Errorf("%w: --oidc-scopes lacks openid; without it there is no ID token", ErrFlags)
	}
	return nil
}

// connect prepares the watches, and a client that writes and reads past them.
func (f Flags) connect(ctx context.Context, cluster *rest.Config) (*Watched, *ended.List, client.Client, error) {
	cluster = rest.CopyConfig(cluster)
	cluster.UserAgent = fieldOwner
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), vdi.AddToScheme(scheme)); err != nil {
		return nil, nil, nil, err
	}
	writer, err := client.New(cluster, client.Options{Scheme: scheme})
	if err != nil {
		return nil, nil, nil, fmt.Errorf("build client: %w", err)
	}
	namespaces := program.List(f.WatchNamespaces)
	known, err := NewWatched(ctx, cluster, namespaces)
	if err != nil {
		return nil, nil, nil, err
	}
	store := ended.Store{Namespace: f.Namespace, Name: f.EndedLogins}
	logins, err := ended.NewList(cluster, writer, fieldOwner, store, max(f.LoginLifetime, pageLifetime), time.Now)
	return known, logins, writer, err
}

// openCatalogue prepares what people choose from, where they log in here.
func (f Flags) openCatalogue(ctx context.Context, cluster *rest.Config, mode wire.AccessMode, changed CatalogueChanged) (Catalogue, func(context.Context) error, error) {
	if !mode.LogsIn() {
		return nil, func(context.Context) error { return nil }, nil
	}
	cluster = rest.CopyConfig(cluster)
	cluster.UserAgent = fieldOwner
	watched, err := NewWatchedCatalogue(ctx, cluster, f.PortalNamespace, changed)
	if err != nil {
		return nil, nil, err
	}
	return watched, watched.Start, nil
}

// ForgetAccount lets the name of a person pass to another account at the identity
// provider, and ends all logins by it. It reports whether an account had the name.
func ForgetAccount(ctx context.Context, cluster *rest.Config, store ended.Store, user string, lifetime time.Duration) (bool, error) {
	c, err := client.New(cluster, client.Options{})
	if err != nil {
		return false, fmt.Errorf("build client: %w", err)
	}
	return ended.Forget(ctx, c, fieldOwner, store, person(user, ""), time.Now(), lifetime)
}

func (f Flags) provider(config platform.Config) *Provider {
	if config.Access.Mode != wire.AccessOIDC {
		return nil
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxConnsPerHost = providerConnections
	return NewProvider(config.Access.OIDC, f.clientSecret, strings.Fields(f.OIDCScopes), CallbackURL(config.Sessions), transport)
}

// clientSecret is read at each login: the kubelet brings a new one by itself.
func (f Flags) clientSecret() (string, error) {
	if f.OIDCClientSecretFile == "" {
		return "", nil
	}
	secret, err := os.ReadFile(f.OIDCClientSecretFile)
	return strings.TrimSpace(string(secret)), err
}

// probes say that we live, and that everything has been read once.
func probes(registry *prometheus.Registry, read ...func(context.Context) bool) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		for _, done := range read {
			if !done(ctx) {
				http.Error(w, "sessions and ended logins have not been read yet", http.StatusServiceUnavailable)
				return
			}
		}
	})
	return httpserver.Guard(mux)
}

// keysRead logs that a change of the keys has arrived, and nothing of them.
func keysRead(log *slog.Logger, after Keys) {
	log.Info("the keys were read", "signing", len(after.signing), "cookies", len(after.sealing))
}
