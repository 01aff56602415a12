package attacks

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
)

// stage is a shared proxy with the platform's desktop behind it, and an attacker who may
// write in another namespace. It is of one attack alone: what such a proxy is made to
// believe holds for everybody behind it.
type stage struct {
	*world
	platform, theirs string // namespaces
	host             string // the victim's
	edge             *edge
	mallory          client.Client
	marks            int
}

// entry is the entry point's port, to which listeners of the Gateway API belong.
func (s *stage) entry(t *testing.T) int64 {
	t.Helper()
	_, port, err := net.SplitHostPort(s.edge.address)
	require.NoError(t, err)
	number, err := strconv.ParseInt(port, 10, 32)
	require.NoError(t, err)
	return number
}

// newStage puts up everything but the proxy itself.
func (w *world) newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{world: w, theirs: w.namespace(t), edge: &edge{address: freeAddress(t)}}
	s.platform = s.theirs + "-desks"
	require.NoError(t, w.Driver.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.platform, Labels: withDesktops}}))
	w.desktop(t, s.platform, "victim")
	s.host = w.victimsRoute(t, s.platform)
	w.certificate(t, s.platform, "wildcard", "platform")
	store := route("TLSStore", s.platform, "default", map[string]any{"defaultCertificate": map[string]any{"secretName": "wildcard"}})
	store.SetLabels(map[string]string{wire.LabelProxy: "true"})
	require.NoError(t, w.Driver.Create(t.Context(), store))
	w.desktop(t, s.theirs, "mallory")
	w.certificate(t, s.theirs, "mallorys", "mallory")
	s.mallory = w.tenant(t, s.theirs, malloryIn(s.theirs))
	return s
}

// starts starts the real proxy of these two namespaces, with further settings.
func (s *stage) starts(t *testing.T, settings ...string) {
	t.Helper()
	namespaces := s.platform + "," + s.theirs
	args := []string{
		"--entryPoints.websecure.address=" + s.edge.address, "--providers.providersThrottleDuration=50ms",
		"--providers.kubernetescrd=true", "--providers.kubernetescrd.namespaces=" + namespaces,
		"--global.checkNewVersion=false", "--global.sendAnonymousUsage=false", "--log.level=INFO",
	}
	for _, setting := range settings {
		args = append(args, strings.ReplaceAll(setting, "NAMESPACES", namespaces))
	}
	proxy, err := s.StartProgram("traefik-"+s.theirs, filepath.Join(s.Bin, "traefik"), args, []string{"KUBECONFIG=" + s.Kubeconfig()})
	require.NoError(t, err)
	t.Cleanup(proxy.Kill)
}

// shared are settings of a proxy that serves whatever it can.
var shared = []string{
	"--providers.kubernetesingress=true", "--providers.kubernetesingress.namespaces=NAMESPACES",
	"--providers.kubernetesgateway=true", "--providers.kubernetesgateway.namespaces=NAMESPACES", "--providers.kubernetesgateway.experimentalchannel=true",
}

// shows is whose certificate a visitor of a host sees, or why none.
func (e *edge) shows(t *testing.T, host string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", e.address, &tls.Config{ServerName: host, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}) //nolint:gosec // the test's own servers
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

// speaks says whether visitors get a version of TLS.
func (e *edge) speaks(t *testing.T, host string, version uint16) bool {
	t.Helper()
	conn, err := tls.Dial("tcp", e.address, &tls.Config{ServerName: host, InsecureSkipVerify: true, MinVersion: version}) //nolint:gosec // the test's own servers
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// certificate stores one for all desktops.
func (w *world) certificate(t *testing.T, ns, name, whose string) {
	t.Helper()
	made := certificateOf(t, whose)
	key, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
	require.NoError(t, err)
	require.NoError(t, w.Driver.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{
			"tls.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made.Certificate[0]}),
			"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		},
	}))
}

// foreign is what an attacker writes, and the harm that the real proxy does then. Without
// a harm to see here, that the API server takes it is enough.
type foreign struct {
	writes func(t *testing.T, s *stage) error
	harm   func(t *testing.T, s *stage) bool
}

func answersForVictim(t *testing.T, s *stage) bool {
	t.Helper()
	return s.edge.asks(t, s.host, "/") == "mallory"
}

func hidesCertificate(t *testing.T, s *stage) bool {
	t.Helper()
	return s.edge.shows(t, s.host) != "platform"
}

// makes writes objects one after the other.
func makes(objects ...func(s *stage) *unstructured.Unstructured) func(*testing.T, *stage) error {
	return func(t *testing.T, s *stage) error {
		t.Helper()
		for _, o := range objects {
			if err := s.mallory.Create(t.Context(), o(s)); err != nil {
				return err
			}
		}
		return nil
	}
}

// TestA44ForeignObjects: what a tenant writes for a proxy that others share changes
// nothing for the desktops behind it.
func TestA44ForeignObjects(t *testing.T) {
	t.Parallel()
	foreigns := sharedTLS()
	for name, f := range sharedRoutes() {
		foreigns[name] = f
	}
	for name, f := range foreigns {
		attack(t, name, func(t *testing.T, w *world) ledger.Outcome {
			s := w.newStage(t)
			if err := f.writes(t, s); err != nil {
				return writes(t, err)
			}
			if f.harm == nil {
				return ledger.Worked()
			}
			s.starts(t, shared...)
			require.Eventually(t, func() bool { return f.harm(t, s) }, patience, glance, "it harms")
			return ledger.Worked()
		})
	}
}

func sharedTLS() map[string]foreign {
	certificates := func(spec map[string]any) func(*stage) *unstructured.Unstructured {
		return func(s *stage) *unstructured.Unstructured {
			o := httpRoute("Host(`app.example.org`)", 0, to("mallory"))
			o["tls"] = spec
			return route("IngressRoute", s.theirs, "evil", o)
		}
	}
	return map[string]foreign{
		"the default TLS store": {makes(func(s *stage) *unstructured.Unstructured {
			return route("TLSStore", s.theirs, "default", map[string]any{"defaultCertificate": map[string]any{"secretName": "mallorys"}})
		}), hidesCertificate},
		"the default TLS options": {makes(func(s *stage) *unstructured.Unstructured {
			return route("TLSOption", s.theirs, "default", map[string]any{"maxVersion": "VersionTLS12"})
		}), func(t *testing.T, s *stage) bool {
			t.Helper()
			return s.edge.asks(t, s.host, "/") == "victim" && !s.edge.speaks(t, s.host, tls.VersionTLS13)
		}},
		"a certificate for all desktops": {makes(certificates(map[string]any{"secretName": "mallorys"})), showsMallorys},
		"a certificate with an Ingress": {makes(func(s *stage) *unstructured.Unstructured {
			o := ingress(s.theirs, "app.example.org")
			o.Object["spec"].(map[string]any)["tls"] = []any{map[string]any{"secretName": "mallorys"}}
			return o
		}), showsMallorys},
		"a desktop's certificate from the issuer": {makes(certificates(map[string]any{
			"certResolver": "letsencrypt", "domains": []any{map[string]any{"main": "alice-x." + domain}},
		})), nil},
	}
}

func showsMallorys(t *testing.T, s *stage) bool {
	t.Helper()
	return s.edge.shows(t, s.host) == "mallory"
}

func sharedRoutes() map[string]foreign {
	first := map[string]string{
		"traefik.ingress.kubernetes.io/router.priority": "100000", "traefik.ingress.kubernetes.io/router.tls": "true",
		"traefik.ingress.kubernetes.io/router.entrypoints": "websecure",
	}
	hostless := func(s *stage) *unstructured.Unstructured {
		o := ingress(s.theirs, "")
		o.SetAnnotations(first)
		return o
	}
	backend := func(s *stage) []any { return []any{map[string]any{"name": "mallory", "port": int64(8080)}} }
	paths := func(s *stage) map[string]any {
		match := map[string]any{"path": map[string]any{"type": "Exact", "value": "/"}}
		return map[string]any{"matches": []any{match}, "backendRefs": backend(s)}
	}
	hangsOn := func(namespace string) map[string]any {
		return map[string]any{"name": "edge", "namespace": namespace}
	}
	return map[string]foreign{
		"an Ingress without a host": {makes(hostless), answersForVictim},
		"an Ingress for whom nobody else serves": {makes(func(s *stage) *unstructured.Unstructured {
			o := ingress(s.theirs, "")
			o.Object["spec"] = map[string]any{"defaultBackend": map[string]any{"service": map[string]any{"name": "mallory", "port": map[string]any{"number": int64(8080)}}}}
			o.SetAnnotations(first)
			return o
		}), nil},
		"an old Ingress without a host is put before all": {func(t *testing.T, s *stage) error {
			t.Helper()
			o := ingress(s.theirs, "")
			require.NoError(t, s.Driver.Create(t.Context(), o), "it was there before the platform")
			patch := `{"metadata":{"annotations":{"traefik.ingress.kubernetes.io/router.priority":"100000","traefik.ingress.kubernetes.io/router.tls":"true"}}}`
			return s.mallory.Patch(t.Context(), o, client.RawPatch(types.MergePatchType, []byte(patch)))
		}, answersForVictim},
		"an HTTPRoute without hostnames": {func(t *testing.T, s *stage) error {
			t.Helper()
			s.gatewayClass(t)
			require.NoError(t, s.Driver.Create(t.Context(), s.gateway(t, s.platform, "wildcard", "")))
			return s.mallory.Create(t.Context(), ofGateways("HTTPRoute", s.theirs, map[string]any{"parentRefs": []any{hangsOn(s.platform)}, "rules": []any{paths(s)}}))
		}, answersForVictim},
		"a Gateway for all desktops": {func(t *testing.T, s *stage) error {
			t.Helper()
			s.gatewayClass(t)
			if err := s.mallory.Create(t.Context(), s.gateway(t, s.theirs, "mallorys", "*."+domain)); err != nil {
				return err
			}
			return s.mallory.Create(t.Context(), ofGateways("HTTPRoute", s.theirs, map[string]any{"parentRefs": []any{hangsOn(s.theirs)}, "rules": []any{paths(s)}}))
		}, answersForVictim},
		"a route of TCP connections": {makes(func(s *stage) *unstructured.Unstructured {
			o := ofGateways("TCPRoute", s.theirs, map[string]any{"parentRefs": []any{hangsOn(s.platform)}, "rules": []any{map[string]any{"backendRefs": backend(s)}}})
			o.SetAPIVersion("gateway.networking.k8s.io/v1alpha2")
			return o
		}), nil},
		"a desktop's visitors led elsewhere": {func(t *testing.T, s *stage) error {
			t.Helper()
			inside := s.tenant(t, s.platform, malloryIn(s.theirs))
			theirs, slice := &discoveryv1.EndpointSlice{}, &discoveryv1.EndpointSlice{}
			s.read(t, theirs, s.theirs, "mallory")
			s.read(t, slice, s.platform, "victim")
			slice.Endpoints, slice.Ports = theirs.Endpoints, theirs.Ports
			return inside.Update(t.Context(), slice)
		}, answersForVictim},
		"the label by which the proxy reads": {func(t *testing.T, s *stage) error {
			t.Helper()
			o := route("TLSOption", s.theirs, "own", map[string]any{})
			o.SetLabels(map[string]string{wire.LabelProxy: "true"})
			return s.mallory.Create(t.Context(), o)
		}, nil},
	}
}

// TestA44ForeignObjectsBesideOurs: a proxy that reads by the label serves the platform's
// objects, and believes nothing that others wrote, although the cluster has admitted it.
func TestA44ForeignObjectsBesideOurs(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]foreign{
		"a route for a desktop": {makes(func(s *stage) *unstructured.Unstructured {
			return route("IngressRoute", s.theirs, "evil", httpRoute("Host(`"+s.host+"`)", 100_000, to("mallory")))
		}), answersForVictim},
		"a Middleware that is taken for a desktop's guard": takenForAGuard(),

		"the default TLS store":          sharedTLS()["the default TLS store"],
		"the default TLS options":        sharedTLS()["the default TLS options"],
		"a certificate for all desktops": sharedTLS()["a certificate for all desktops"],
	} {
		unguarded, _ := worlds(t)
		try := func(settings ...string) ledger.Attempt {
			return func(t *testing.T) ledger.Outcome {
				t.Helper()
				s := unguarded.newStage(t)
				s.starts(t, settings...)
				serves := func() bool { return s.edge.asks(t, s.host, "/") == "victim" && s.edge.shows(t, s.host) == "platform" }
				require.Eventually(t, serves, patience, glance, "the victim is online")
				require.NoError(t, f.writes(t, s))
				s.readsOn(t)
				return ledger.Judge(f.harm(t, s), ledger.Runtime, "the proxy does not read it")
			}
		}
		ledger.TryAlongside(t, name, try(), try("--providers.kubernetescrd.labelselector="+wire.LabelProxy+"=true"))
	}
}

// readsOn returns when the proxy has read what was written before: each kind by itself, of
// which the last is the mark's.
func (s *stage) readsOn(t *testing.T) {
	t.Helper()
	s.marks++
	name := fmt.Sprintf("mark-%d", s.marks)
	host := name + "." + domain
	mark := route("IngressRoute", s.platform, name, httpRoute("Host(`"+host+"`)", 1_000_000, to("victim"), map[string]any{"name": name}))
	headers := route("Middleware", s.platform, name, map[string]any{"headers": map[string]any{"customResponseHeaders": map[string]any{"X-Mark": "mark"}}})
	for _, o := range []*unstructured.Unstructured{headers, mark} {
		o.SetLabels(map[string]string{wire.LabelProxy: "true"})
		require.NoError(t, s.Driver.Create(t.Context(), o))
	}
	require.Eventually(t, func() bool { return s.edge.asks(t, host, "/") == "victim" }, patience, glance, "the proxy has read the mark")
}

// guardedDesktop is one more desktop of the platform's, before which a Middleware stands.
func (s *stage) guardedDesktop(t *testing.T) (host string) {
	t.Helper()
	host = "guarded-" + s.theirs + "." + domain
	for _, o := range []*unstructured.Unstructured{
		route("Middleware", s.platform, "guarded-forward-auth", map[string]any{"headers": map[string]any{"customResponseHeaders": map[string]any{"X-Guard": "ours"}}}),
		route("IngressRoute", s.platform, "guarded", httpRoute("Host(`"+host+"`)", 100, to("victim"), map[string]any{"name": "guarded-forward-auth"})),
	} {
		o.SetLabels(map[string]string{wire.LabelProxy: "true"})
		require.NoError(t, s.Driver.Create(t.Context(), o))
	}
	require.Eventually(t, func() bool { return s.edge.asks(t, host, "/") == "victim" }, patience, glance, "it is online")
	return host
}

// takenForAGuard is a Middleware whose namespace and name, with a hyphen between, are
// those of a desktop's. Which of the two a proxy without safeNaming takes is chance, each
// time that it reads.
func takenForAGuard() foreign {
	const elsewhere = "https://mallorys.example.org/"
	return foreign{func(t *testing.T, s *stage) error {
		t.Helper()
		s.guardedDesktop(t)
		return s.mallory.Create(t.Context(), route("Middleware", s.theirs, "desks-guarded-forward-auth", map[string]any{
			"redirectRegex": map[string]any{"regex": ".*", "replacement": elsewhere},
		}))
	}, func(t *testing.T, s *stage) bool {
		t.Helper()
		for range 20 {
			s.readsOn(t)
			if s.edge.asks(t, "guarded-"+s.theirs+"."+domain, "/") == elsewhere {
				return true
			}
		}
		return false
	}}
}

func ingress(ns, host string) *unstructured.Unstructured {
	path := map[string]any{"path": "/", "pathType": "Prefix", "backend": map[string]any{"service": map[string]any{"name": "mallory", "port": map[string]any{"number": int64(8080)}}}}
	rule := map[string]any{"http": map[string]any{"paths": []any{path}}}
	if host != "" {
		rule["host"] = host
	}
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": map[string]any{"rules": []any{rule}}}}
	o.SetNamespace(ns)
	o.SetName("evil")
	return o
}

func ofGateways(kind, ns string, spec map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "spec": spec}}
	o.SetNamespace(ns)
	o.SetName("evil")
	return o
}

// gatewayClass makes the proxy's class, which the cluster has once.
func (s *stage) gatewayClass(t *testing.T) {
	t.Helper()
	class := ofGateways("GatewayClass", "", map[string]any{"controllerName": "traefik.io/gateway-controller"})
	class.SetName("traefik")
	require.NoError(t, client.IgnoreAlreadyExists(s.Driver.Create(t.Context(), class)))
}

// gateway listens at the proxy's entry point for everybody's routes.
func (s *stage) gateway(t *testing.T, ns, secret, hostname string) *unstructured.Unstructured {
	t.Helper()
	listener := map[string]any{
		"name": "websecure", "port": s.entry(t), "protocol": "HTTPS", "tls": map[string]any{"certificateRefs": []any{map[string]any{"name": secret}}},
		"allowedRoutes": map[string]any{"namespaces": map[string]any{"from": "All"}},
	}
	if hostname != "" {
		listener["hostname"] = hostname
	}
	o := ofGateways("Gateway", ns, map[string]any{"gatewayClassName": "traefik", "listeners": []any{listener}})
	o.SetName("edge")
	return o
}
