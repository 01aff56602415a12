package integration

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

var (
	slicer = visitor{name: "system:serviceaccount:kube-system:endpointslice-controller", groups: []string{"system:serviceaccounts:kube-system"}}
	mesh   = visitor{name: "system:serviceaccount:mesh:multicluster", groups: []string{"system:serviceaccounts:mesh"}}
)

type asking = func(context.Context, *guard, client.Client) error

// sharedAttempts are objects in a namespace without desktops that a shared proxy reads.
func sharedAttempts() []attempt {
	const (
		label     = "metadata.labels: the proxy of the desktops believes what carries vdi.kasm.io/proxy"
		host      = "spec.rules and spec.defaultBackend could take requests"
		hostname  = "spec.hostnames could take requests"
		listeners = "spec.listeners[].hostname could take requests"
		defaults  = "what is called default holds for all hosts of the proxy"
		brings    = "spec brings a certificate, which the proxy shows to every host"
		names     = "spec names a host of the desktops' domain vdi.example.com"
	)
	return []attempt{
		{mallory, "marks an IngressRoute", makeThere("IngressRoute", "app", routeSpec("Host(`app.example.org`)"), func(o *unstructured.Unstructured) { marked(o) }), label, noForeignLabel},
		{mallory, "marks a TLSStore", makeThere("TLSStore", "own", map[string]any{}, func(o *unstructured.Unstructured) { marked(o) }), label, noForeignLabel},
		{mallory, "marks a Middleware", makeThere("Middleware", "own", map[string]any{}, func(o *unstructured.Unstructured) { marked(o) }), label, noForeignLabel},
		{mallory, "marks a route that is there", editThere("IngressRoute", "portal", func(o *unstructured.Unstructured) { marked(o) }), label, noForeignLabel},
		{mallory, "turns a marked route", editThere("IngressRoute", "marked", func(o *unstructured.Unstructured) {
			o.Object["spec"] = routeSpec("Host(`www.example.org`)")
		}), label, noForeignLabel},
		{mallory, "adds a finalizer to a marked route", editThere("IngressRoute", "marked", func(o *unstructured.Unstructured) { o.SetFinalizers([]string{"example.com/dns"}) }), "", part{}},
		{operator, "marks a route", makeThere("IngressRoute", "app", routeSpec("Host(`app.example.org`)"), func(o *unstructured.Unstructured) { marked(o) }), "", writesRoutes},

		{mallory, "writes an Ingress for all hosts", make1(func(g *guard) client.Object { return ingress(g.elsewhere, "app", "") }), host, namesHosts},
		{mallory, "writes an Ingress for all that nobody else serves", make1(func(g *guard) client.Object {
			return object("networking.k8s.io/v1", "Ingress", g.elsewhere, "app", map[string]any{"defaultBackend": backend()})
		}), host, namesHosts},
		{mallory, "puts an Ingress without a host before all", editIngress("hostless", note("traefik.ingress.kubernetes.io/router.priority", "100000")), host, namesHosts},
		{mallory, "adds a finalizer to an Ingress without a host", editIngress("hostless", func(o *unstructured.Unstructured) { o.SetFinalizers([]string{"example.com/dns"}) }), "", part{}},
		{mallory, "asks for a desktop's certificate by annotation", make1(func(g *guard) client.Object {
			o := ingress(g.elsewhere, "app", "app.example.org")
			note("traefik.ingress.kubernetes.io/router.tls.domains.0.sans", "app.example.org, alice-x.vdi.example.com")(o)
			return o
		}), names, noForeignHost},

		{mallory, "writes an HTTPRoute for all hosts", make1(func(g *guard) client.Object { return httpRoute(g.elsewhere, "app") }), hostname, namesHostnames},
		{mallory, "writes a TLSRoute for all hosts", make1(func(g *guard) client.Object { return gatewayRoute(g, "v1alpha2", "TLSRoute") }), hostname, namesHostnames},
		{mallory, "writes a TCPRoute", make1(func(g *guard) client.Object { return gatewayRoute(g, "v1alpha2", "TCPRoute") }), hostname, namesHostnames},
		{mallory, "writes an HTTPRoute of a mesh", make1(func(g *guard) client.Object {
			o := httpRoute(g.elsewhere, "app")
			o.Object["spec"] = map[string]any{"parentRefs": []any{map[string]any{"group": "", "kind": "Service", "name": "web"}}}
			return o
		}), "", part{}},

		{mallory, "listens to all hosts", make1(func(g *guard) client.Object { return gateway(g, "HTTP") }), listeners, namesListeners},
		{mallory, "listens to TCP", make1(func(g *guard) client.Object { return gateway(g, "TCP") }), listeners, namesListeners},
		{mallory, "listens to all desktops", make1(func(g *guard) client.Object { return gateway(g, "HTTP", "*.vdi.example.com") }), names, noForeignHost},
		{mallory, "listens above the desktops", make1(func(g *guard) client.Object { return gateway(g, "HTTP", "*.example.com") }), names, noForeignHost},
		{mallory, "listens to another host", make1(func(g *guard) client.Object { return gateway(g, "HTTP", "*.example.org") }), "", part{}},
		{mallory, "listens to UDP", make1(func(g *guard) client.Object { return gateway(g, "UDP") }), "", part{}},

		{mallory, "writes the default TLSStore", makeThere("TLSStore", "default", map[string]any{}), defaults, noDefaults},
		{mallory, "writes the default TLSOption", makeThere("TLSOption", "default", map[string]any{"clientAuth": map[string]any{"clientAuthType": "RequireAndVerifyClientCert"}}), defaults, noDefaults},
		{mallory, "writes another TLSOption", makeThere("TLSOption", "modern", map[string]any{"minVersion": "VersionTLS13"}), "", part{}},

		{mallory, "brings a certificate with an IngressRoute", makeThere("IngressRoute", "app", tlsSpec(map[string]any{"secretName": "own"})), brings, noCertificates},
		{mallory, "brings a certificate with an Ingress", make1(func(g *guard) client.Object {
			return withCertificate(ingress(g.elsewhere, "app", "app.example.org"), "own")
		}), brings, noCertificates},
		{mallory, "has a TLSStore of its own, which nobody is shown", makeThere("TLSStore", "own", map[string]any{"certificates": []any{map[string]any{"secretName": "own"}}}), "", part{}},
		{mallory, "brings a certificate with a Gateway", make1(func(g *guard) client.Object {
			o := gateway(g, "HTTPS", "app.example.org")
			listener := o.Object["spec"].(map[string]any)["listeners"].([]any)[0].(map[string]any)
			listener["tls"] = map[string]any{"certificateRefs": []any{map[string]any{"name": "own"}}}
			return o
		}), brings, noCertificates},
		{mallory, "adds a path to an Ingress with a certificate", editIngress("own-certificate", otherHost), "", part{}},
		{mallory, "brings another certificate with an Ingress", editIngress("own-certificate", func(o *unstructured.Unstructured) { withCertificate(o, "other") }), brings, noCertificates},
		{mallory, "asks for a desktop's certificate", makeThere("IngressRoute", "app", tlsSpec(map[string]any{
			"certResolver": "letsencrypt", "domains": []any{map[string]any{"main": "app.example.org", "sans": []any{"alice-x.vdi.example.com"}}},
		})), names, noForeignHost},
		{mallory, "asks for a desktop's certificate on another entry point", makeThere("IngressRoute", "app", func() map[string]any {
			spec := routeSpec("Host(`alice-x.vdi.example.com`)", "internal")
			spec["tls"] = map[string]any{"certResolver": "letsencrypt"}
			return spec
		}()), "spec.routes[].match could take requests", noForeignRule},
		{mallory, "asks for a certificate of another host", makeThere("IngressRoute", "app", tlsSpec(map[string]any{"certResolver": "letsencrypt"})), "", part{}},
		{mallory, "lets a desktop's certificate be made", makeThere("TLSStore", "own", map[string]any{
			"defaultGeneratedCert": map[string]any{"resolver": "letsencrypt", "domain": map[string]any{"main": "*.vdi.example.com"}},
		}), names, noForeignHost},
		{root, "writes the default TLSStore", makeThere("TLSStore", "default", map[string]any{}), "", writesRoutes},
	}
}

// endpointAttempts lead the visitors of Services.
func endpointAttempts() []attempt {
	const words = "is a namespace of desktops, where endpointslices lead visitors to them and only the control plane writes them"
	slice := make1(func(g *guard) client.Object { return endpointSlice(g.ns, "planted", desk) })
	return []attempt{
		{mallory, "leads a desktop's visitors elsewhere", slice, words, noForeignEndpoints},
		{mallory, "leads a desktop's visitors elsewhere by Endpoints", make1(func(g *guard) client.Object {
			return &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "v1", "kind": "Endpoints", "metadata": map[string]any{"namespace": g.ns, "name": desk},
				"subsets": []any{map[string]any{"addresses": []any{map[string]any{"ip": "192.0.2.7"}}, "ports": []any{map[string]any{"port": int64(8080)}}}},
			}}
		}), "where endpoints lead visitors", noForeignEndpoints},
		{teamAdmin, "leads a desktop's visitors elsewhere", slice, words, noForeignEndpoints},
		{mallory, "leads visitors elsewhere beside desktops", make1(func(g *guard) client.Object { return endpointSlice(g.elsewhere, "web", "web") }), "", part{}},
		{slicer, "leads a desktop's visitors to its pod", slice, "", controlPlane},
		{manager, "leads a desktop's visitors to its pod", slice, "", controlPlane},
		{mesh, "leads a desktop's visitors to its pod", slice, "", writesEndpoints},
		{root, "leads a desktop's visitors elsewhere", slice, "", leadsByRoutes},
	}
}

// classesOfTheProxy: what other proxies of the cluster serve is nobody's business.
func classesOfTheProxy(t *testing.T, p *plane) {
	t.Helper()
	g := p.newGuard(t, "classes")
	g.install(t, policiesOf(chartObjects(t, "sessions.proxy.reads={IngressRoute,Ingress,Gateway}", "sessions.proxy.ingressClasses={traefik}", "sessions.proxy.gatewayClasses={traefik}", "sessions.proxy.gateways={shared/edge}"))["routes"], nil)
	g.isInForce(t, "routes")
	hostless := func(change func(o *unstructured.Unstructured)) asking {
		return make1(func(g *guard) client.Object { o := ingress(g.elsewhere, "app", ""); change(o); return o })
	}
	class := func(name string) func(o *unstructured.Unstructured) {
		return func(o *unstructured.Unstructured) { ofClass(o, name) }
	}
	onGateway := func(namespace, name string) asking {
		return make1(func(g *guard) client.Object {
			o := httpRoute(g.elsewhere, "app")
			o.Object["spec"] = map[string]any{"parentRefs": []any{map[string]any{"namespace": namespace, "name": name}}}
			return o
		})
	}
	const host = "spec.rules and spec.defaultBackend could take requests"
	for _, a := range []attempt{
		{mallory, "an Ingress of nginx without a host", hostless(class("nginx")), "", part{}},
		{mallory, "an Ingress of nginx by annotation without a host", hostless(note("kubernetes.io/ingress.class", "nginx")), "", part{}},
		{mallory, "an Ingress of nginx with a certificate", make1(func(g *guard) client.Object {
			return ofClass(withCertificate(ingress(g.elsewhere, "app", "app.example.org"), "own"), "nginx")
		}), "", part{}},
		{mallory, "an Ingress of traefik without a host", hostless(class("traefik")), host, part{}},
		{mallory, "an Ingress of traefik by annotation without a host", hostless(note("kubernetes.io/ingress.class", "traefik")), host, part{}},
		{mallory, "an Ingress of nobody without a host", hostless(func(*unstructured.Unstructured) {}), host, part{}},
		{mallory, "an Ingress of nginx for a desktop", make1(func(g *guard) client.Object {
			return ofClass(ingress(g.elsewhere, "app", "a.vdi.example.com"), "nginx")
		}), "spec names a host", part{}},
		{mallory, "turns an Ingress with a certificate to the proxy", editIngress("others", class("traefik")), "spec brings a certificate", part{}},
		{mallory, "an IngressRoute of another Traefik", makeThere("IngressRoute", "app", routeSpec("PathPrefix(`/`)"), note("kubernetes.io/ingress.class", "internal")), "", part{}},
		{mallory, "an IngressRoute without a class", makeThere("IngressRoute", "app", routeSpec("PathPrefix(`/`)")), "spec.routes[].match could take requests", part{}},
		{mallory, "a Gateway of another class", make1(func(g *guard) client.Object {
			o := gateway(g, "HTTP")
			o.Object["spec"].(map[string]any)["gatewayClassName"] = "envoy"
			return o
		}), "", part{}},
		{mallory, "a Gateway of the proxy's class", make1(func(g *guard) client.Object { return gateway(g, "HTTP") }), "spec.listeners[].hostname", part{}},
		{mallory, "a route on another Gateway", onGateway("mesh", "edge"), "", part{}},
		{mallory, "a route on the proxy's Gateway", onGateway("shared", "edge"), "spec.hostnames could take", part{}},
	} {
		t.Run(a.what, func(t *testing.T) { _ = g.try(t, a) })
	}
}

// namesOfMiddlewares: a Middleware that the proxy could take for a desktop's guard.
func namesOfMiddlewares(t *testing.T, p *plane) {
	t.Helper()
	g := p.newGuard(t, "middlewares")
	g.install(t, policiesOf(chartObjects(t, "access.mode=OIDC", "access.oidc.issuerURL=https://login.example.com", "access.oidc.clientID=vdi",
		"access.oidc.clientSecret.name=vdi", "frontDoor.routes=Always", "sessions.proxy.certificateNamespaces={*}"))["routes"], nil)
	g.isInForce(t, "routes")
	for _, a := range []attempt{
		{mallory, "a guard's name", makeThere("Middleware", "a-alice-forward-auth", map[string]any{}), "the proxy could take this Middleware for the one that guards a desktop", part{}},
		{mallory, "another name", makeThere("Middleware", "login", map[string]any{}), "", part{}},
		{mallory, "brings a certificate", makeThere("IngressRoute", "app", tlsSpec(map[string]any{"secretName": "own"})), "", part{}},
	} {
		t.Run(a.what, func(t *testing.T) { _ = g.try(t, a) })
	}
}

// nobodyElsesObjects: where the proxy reads the platform's objects alone, others need not
// name their hosts. Names of desktops and the label stay the platform's.
func nobodyElsesObjects(t *testing.T, p *plane) {
	t.Helper()
	g := p.newGuard(t, "own")
	g.install(t, policiesOf(chartObjects(t, "sessions.proxy.reads=[]"))["routes"], nil)
	g.isInForce(t, "routes")
	for _, a := range sharedAttempts() {
		switch a.because {
		case noForeignLabel, noForeignHost, noForeignRule, writesRoutes:
		default:
			a.refused = ""
		}
		t.Run(a.who.name+" "+a.what, func(t *testing.T) { _ = g.try(t, a) })
	}
	require.NoError(t, p.admin.DeleteAllOf(t.Context(), ingress(g.elsewhere, "", ""), client.InNamespace(g.elsewhere)))
}

// makeThere makes one of Traefik's objects in a namespace without desktops.
func makeThere(kind, name string, spec map[string]any, changes ...func(*unstructured.Unstructured)) asking {
	return make1(func(g *guard) client.Object {
		o := object("traefik.io/v1alpha1", kind, g.elsewhere, name, spec).DeepCopy()
		for _, change := range changes {
			change(o)
		}
		return o
	})
}

// editThere changes an object that is there.
func editThere(kind, name string, change func(*unstructured.Unstructured)) asking {
	return editOf(func(g *guard) *unstructured.Unstructured {
		return object("traefik.io/v1alpha1", kind, g.elsewhere, name, nil)
	}, change)
}

func editIngress(name string, change func(*unstructured.Unstructured)) asking {
	return editOf(func(g *guard) *unstructured.Unstructured { return ingress(g.elsewhere, name, "") }, change)
}

func editOf(of func(*guard) *unstructured.Unstructured, change func(*unstructured.Unstructured)) asking {
	return func(ctx context.Context, g *guard, c client.Client) error {
		o := of(g)
		if err := c.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		change(o)
		return c.Update(ctx, o)
	}
}

func note(key, value string) func(*unstructured.Unstructured) {
	return func(o *unstructured.Unstructured) { o.SetAnnotations(map[string]string{key: value}) }
}

func marked(o *unstructured.Unstructured) *unstructured.Unstructured {
	o.SetLabels(map[string]string{wire.LabelProxy: "true"})
	return o
}

func ofClass(o *unstructured.Unstructured, name string) *unstructured.Unstructured {
	o.Object["spec"].(map[string]any)["ingressClassName"] = name
	return o
}

func withCertificate(o *unstructured.Unstructured, secret string) *unstructured.Unstructured {
	o.Object["spec"].(map[string]any)["tls"] = []any{map[string]any{"secretName": secret}}
	return o
}

func otherHost(o *unstructured.Unstructured) {
	rule := o.Object["spec"].(map[string]any)["rules"].([]any)[0].(map[string]any)
	rule["host"] = "www.example.org"
}

func routeSpec(match string, entryPoints ...any) map[string]any {
	return route("", "IngressRoute", "", match, entryPoints...).Object["spec"].(map[string]any)
}

func tlsSpec(tls map[string]any) map[string]any {
	spec := routeSpec("Host(`app.example.org`)")
	spec["tls"] = tls
	return spec
}

func backend() map[string]any {
	return map[string]any{"service": map[string]any{"name": "web", "port": map[string]any{"number": int64(80)}}}
}

func gateway(g *guard, protocol string, hostnames ...any) *unstructured.Unstructured {
	listener := map[string]any{"name": "web", "port": int64(8443), "protocol": protocol}
	for _, name := range hostnames {
		listener["hostname"] = name
	}
	return object("gateway.networking.k8s.io/v1", "Gateway", g.elsewhere, "edge", map[string]any{"gatewayClassName": "traefik", "listeners": []any{listener}})
}

func gatewayRoute(g *guard, version, kind string) *unstructured.Unstructured {
	rule := map[string]any{"backendRefs": []any{map[string]any{"name": "web", "port": int64(80)}}}
	return object("gateway.networking.k8s.io/"+version, kind, g.elsewhere, "app", map[string]any{"rules": []any{rule}})
}

func endpointSlice(ns, name, service string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
		"metadata":  map[string]any{"namespace": ns, "name": name, "labels": map[string]any{"kubernetes.io/service-name": service}},
		"endpoints": []any{map[string]any{"addresses": []any{"192.0.2.7"}}},
		"ports":     []any{map[string]any{"name": "http", "port": int64(8080)}},
	}}
}
