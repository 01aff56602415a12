package attacks

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
)

// edge is the real proxy, which reads its routes from a cluster and ends with it.
type edge struct{ address string }

var (
	edges  = map[*world]*edge{}
	edging sync.Mutex
)

// proxy starts the proxy of a cluster, once. The guarded one has the platform's
// settings; the other follows references into other namespaces.
func (w *world) proxy(t *testing.T) *edge {
	t.Helper()
	edging.Lock()
	defer edging.Unlock()
	if edges[w] != nil {
		return edges[w]
	}
	e := &edge{address: freeAddress(t)}
	_, err := w.StartProgram("traefik", filepath.Join(w.Bin, "traefik"), []string{
		"--entryPoints.websecure.address=" + e.address,
		"--providers.kubernetescrd=true", "--providers.kubernetescrd.allowCrossNamespace=" + strconv.FormatBool(!w.guarded),
		"--providers.providersThrottleDuration=50ms", "--global.checkNewVersion=false", "--global.sendAnonymousUsage=false", "--log.level=INFO",
	}, []string{"KUBECONFIG=" + w.Kubeconfig()})
	require.NoError(t, err, "run 'make tools' at the top of the repository")
	edges[w] = e
	return e
}

// asks is who answers a request for a host: what the page says, or where it leads.
func (e *edge) asks(t *testing.T, host, path string) string {
	t.Helper()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, e.address)
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the test's own servers
	}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+host+path, nil)
	require.NoError(t, err)
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	if leads := answer.Header.Get("Location"); leads != "" {
		return leads
	}
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return strings.TrimSpace(string(text))
}

// desktop is a web server that says a name, behind a Service of that name.
func (w *world) desktop(t *testing.T, ns, name string) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { fmt.Fprint(out, name) }))
	w.behind(t, ns, name, server, server.Start)
}

// behind puts a server on an address that a cluster takes for an endpoint's.
func (w *world) behind(t *testing.T, ns, name string, server *httptest.Server, start func()) {
	t.Helper()
	require.NoError(t, server.Listener.Close())
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(outwardAddress(t), "0"))
	require.NoError(t, err)
	server.Listener = listener
	start()
	t.Cleanup(server.Close)
	address := listener.Addr().(*net.TCPAddr)
	port := int32(address.Port)
	require.NoError(t, w.Driver.Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 8080}}},
	}))
	require.NoError(t, w.Driver.Create(t.Context(), &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: name, Namespace: ns, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{address.IP.String()}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)}}},
		Ports:       []discoveryv1.EndpointPort{{Name: new("http"), Port: &port}},
	}))
}

// outwardAddress is one of this machine's that is no loopback address, which no
// endpoint may have.
func outwardAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range addresses {
		if ip, is := a.(*net.IPNet); is && ip.IP.To4() != nil && ip.IP.IsGlobalUnicast() {
			return ip.IP.String()
		}
	}
	require.Fail(t, "this machine has no address but loopback ones")
	return ""
}

// route is an object of the proxy's.
func route(kind, ns, name string, spec map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	o.SetGroupVersionKind(routeKind.GroupVersion().WithKind(kind))
	o.SetNamespace(ns)
	o.SetName(name)
	return o
}

func httpRoute(match string, priority int64, service map[string]any, middlewares ...any) map[string]any {
	rule := map[string]any{"kind": "Rule", "match": match, "services": []any{service}}
	if priority != 0 {
		rule["priority"] = priority
	}
	if len(middlewares) > 0 {
		rule["middlewares"] = middlewares
	}
	return map[string]any{"entryPoints": []any{"websecure"}, "routes": []any{rule}, "tls": map[string]any{}}
}

func to(service string) map[string]any {
	return map[string]any{"name": service, "port": int64(8080)}
}

// victimOnline has a desktop at a host, with the very route that the operator
// renders for a session.
func (w *world) victimOnline(t *testing.T, ns string) (host string) {
	t.Helper()
	w.desktop(t, ns, "victim")
	host = w.victimsRoute(t, ns)
	e := w.proxy(t)
	require.Eventually(t, func() bool { return e.asks(t, host, "/") == "victim" }, patience, glance, "the victim is online")
	return host
}

// victimsRoute makes the very route that the operator renders for a session.
func (w *world) victimsRoute(t *testing.T, ns string) (host string) {
	t.Helper()
	host = hostOf(userIn(ns))
	in := aSession()
	in.Session, in.Host = *desk(ns, "victim", userIn(ns)), host
	in.Session.UID = "00000000-0000-4000-8000-000000000001"
	rendered, err := newRenderer(t).Render(in)
	require.NoError(t, err)
	for _, o := range rendered.Objects {
		if o.GetKind() == routeKind.Kind {
			o.SetOwnerReferences(nil) // there is no such session
			require.NoError(t, w.Driver.Create(t.Context(), o))
		}
	}
	return host
}

// TestA06PriorityHijack: a tenant's route never gets what is meant for another's
// desktop.
func TestA06PriorityHijack(t *testing.T) {
	t.Parallel()
	for name, evil := range map[string]func(ns, host string) *unstructured.Unstructured{
		"a longer rule": func(ns, host string) *unstructured.Unstructured {
			return route("IngressRoute", ns, "evil", httpRoute("Host(`"+host+"`) && PathPrefix(`/`) && !Header(`x`, `"+strings.Repeat("a", 100)+"`)", 0, to("mallory")))
		},
		"an explicit priority": func(ns, host string) *unstructured.Unstructured {
			return route("IngressRoute", ns, "evil", httpRoute("Host(`"+host+"`)", 100_000, to("mallory")))
		},
		"a regular expression": func(ns, host string) *unstructured.Unstructured {
			return route("IngressRoute", ns, "evil", httpRoute("HostRegexp(`^"+strings.ReplaceAll(host, ".", "[.]")+"$`)", 100_000, to("mallory")))
		},
		"a rule without a host": func(ns, host string) *unstructured.Unstructured {
			return route("IngressRoute", ns, "evil", httpRoute("PathPrefix(`/only-"+ns+"`)", 100_000, to("mallory")))
		},
		"a part of the victim's paths": func(ns, host string) *unstructured.Unstructured {
			return route("IngressRoute", ns, "evil", httpRoute("Host(`"+host+"`) && PathPrefix(`/.vdi/login`)", 100_000, to("mallory")))
		},
	} {
		attack(t, name, func(t *testing.T, w *world) ledger.Outcome {
			ns := w.namespace(t)
			host, e := w.victimOnline(t, ns), w.proxy(t)
			theirs := w.namespace(t)
			w.desktop(t, theirs, "mallory")
			if err := w.tenant(t, theirs, malloryIn(theirs)).Create(t.Context(), evil(theirs, host)); err != nil {
				require.Equal(t, "victim", e.asks(t, host, "/"))
				return writes(t, err)
			}
			w.markedOnline(t, theirs)
			for _, path := range []string{"/", "/.vdi/login", "/only-" + theirs} {
				if got := e.asks(t, host, path); strings.HasPrefix(got, "mallory") {
					return ledger.Worked()
				}
			}
			return ledger.Blocked(ledger.Runtime, "the victim's desktop answers")
		})
	}
}

// TestA06TCPHijack: nor does a route of TCP connections, which takes the hosts that no
// desktop is online under, such as those of suspended ones.
func TestA06TCPHijack(t *testing.T) {
	t.Parallel()
	for name, match := range map[string]string{
		"by name": "HostSNI(`HOST`)", "by a regular expression": "HostSNIRegexp(`^HOST$`)", "all": "HostSNIRegexp(`.+`)",
	} {
		attack(t, name, func(t *testing.T, w *world) ledger.Outcome {
			ns, e := w.namespace(t), w.proxy(t)
			host := "suspended-" + ns + "." + domain
			w.desktop(t, ns, "mallory")
			w.desktopTLS(t, ns, "mallory-tls")
			evil := tcpRoute(ns, "evil", strings.ReplaceAll(match, "HOST", host))
			mallory := w.tenant(t, ns, malloryIn(ns))
			if err := mallory.Create(t.Context(), evil); err != nil {
				return writes(t, err)
			}
			w.markedOnlineTCP(t, ns)
			got := e.asks(t, host, "/")
			require.NoError(t, mallory.Delete(t.Context(), evil), "else it takes others' traffic")
			return ledger.Judge(got == "mallory-tls of "+ns, ledger.Runtime, "the platform answers: "+got)
		})
	}
}

// markedOnline returns when the proxy has read all routes and middlewares that were
// written before. It watches each kind by itself: a route may be known before the
// middleware that was made earlier, and is not followed until then.
func (w *world) markedOnline(t *testing.T, ns string) {
	t.Helper()
	e := w.proxy(t)
	mark := "mark-" + ns + "." + domain
	require.NoError(t, w.Driver.Create(t.Context(), route("Middleware", ns, "mark", map[string]any{"headers": map[string]any{"customResponseHeaders": map[string]any{"X-Mark": ns}}})))
	require.NoError(t, w.Driver.Create(t.Context(), route("IngressRoute", ns, "mark", httpRoute("Host(`"+mark+"`)", 1_000_000, to("mallory"), map[string]any{"name": "mark"}))))
	require.Eventually(t, func() bool { return e.asks(t, mark, "/") == "mallory" }, patience, glance, "the proxy knows the latest routes and middlewares")
}

// markedOnlineTCP is markedOnline for routes of TCP connections.
func (w *world) markedOnlineTCP(t *testing.T, ns string) {
	t.Helper()
	e := w.proxy(t)
	mark := "mark-" + ns + "." + domain
	require.NoError(t, w.Driver.Create(t.Context(), tcpRoute(ns, "mark", "HostSNI(`"+mark+"`)")))
	require.Eventually(t, func() bool { return e.asks(t, mark, "/") == "mallory-tls of "+ns }, patience, glance, "the proxy knows the latest routes")
}

// tcpRoute leads connections to mallory-tls.
func tcpRoute(ns, name, match string) *unstructured.Unstructured {
	return route("IngressRouteTCP", ns, name, map[string]any{
		"entryPoints": []any{"websecure"}, "tls": map[string]any{"passthrough": true},
		"routes": []any{map[string]any{"match": match, "services": []any{to("mallory-tls")}}},
	})
}

// desktopTLS is a desktop that shows a certificate of its own. It says whose it is: a route
// of another attack may take all traffic meanwhile.
func (w *world) desktopTLS(t *testing.T, ns, name string) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { fmt.Fprint(out, name, " of ", ns) }))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, MinVersion: tls.VersionTLS12}
	w.behind(t, ns, name, server, server.StartTLS)
}

func selfSigned(t *testing.T) tls.Certificate { return certificateOf(t, "mallory") }

// certificateOf is one for all desktops that somebody has made for themselves.
func certificateOf(t *testing.T, whose string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: whose}, NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"*." + domain}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestA12CrossNamespace: no object of a tenant's reaches into another namespace.
func TestA12CrossNamespace(t *testing.T) {
	t.Parallel()
	for name, spec := range map[string]func(host, victims string) map[string]any{
		"another namespace's Service": func(host, victims string) map[string]any {
			service := to("victim")
			service["namespace"] = victims
			return httpRoute("Host(`"+host+"`)", 0, service)
		},
		"another namespace's Middleware": func(host, victims string) map[string]any {
			return httpRoute("Host(`"+host+"`)", 0, to("mallory"), map[string]any{"name": "victims", "namespace": victims})
		},
		"another namespace's Middleware by the provider's name": func(host, victims string) map[string]any {
			return httpRoute("Host(`"+host+"`)", 0, to("mallory"), map[string]any{"name": victims + "-victims@kubernetescrd"})
		},
	} {
		attack(t, name, func(t *testing.T, w *world) ledger.Outcome {
			ns, theirs := w.namespace(t), w.namespace(t)
			w.victimOnline(t, ns)
			require.NoError(t, w.Driver.Create(t.Context(), route("Middleware", ns, "victims", map[string]any{
				"redirectRegex": map[string]any{"regex": ".*", "replacement": "https://victims-secret." + domain + "/"},
			})))
			w.desktop(t, theirs, "mallory")
			host := "evil-" + theirs + "." + domain
			if err := w.tenant(t, theirs, malloryIn(theirs)).Create(t.Context(), route("IngressRoute", theirs, "evil", spec(host, ns))); err != nil {
				return writes(t, err)
			}
			w.markedOnline(t, theirs)
			got := w.proxy(t).asks(t, host, "/")
			reached := got == "victim" || strings.HasPrefix(got, "https://victims-secret.")
			return ledger.Judge(reached, ledger.Runtime, "the proxy does not follow it: "+got)
		})
	}
	attack(t, "another namespace's home", func(t *testing.T, w *world) ledger.Outcome {
		ns, theirs := w.namespace(t), w.namespace(t)
		w.opens(t, desk(ns, "desk", userIn(ns)))
		mine := desk(theirs, "mine", malloryIn(theirs), func(s *vdi.VDISession) { s.Spec.Persistence.ExistingClaim = ns + "/vdi-data-desk" })
		if !w.guarded {
			// An operator that splits the name at the slash and asks with its own rights.
			claim := &corev1.PersistentVolumeClaim{}
			return ledger.Judge(w.stolen(t, "vdi-system", "vdi-operator").Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "vdi-data-desk"}, claim) == nil, ledger.Operator, "")
		}
		require.NoError(t, w.Driver.Create(t.Context(), mine))
		refusal := ""
		require.Eventually(t, func() bool { refusal = w.settles(t, mine); return refusal != "" }, patience, glance)
		require.False(t, w.exists(t, &corev1.Pod{}, theirs, "mine"))
		return ledger.Blocked(ledger.Operator, refusal)
	})
}
