package integration

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/drain"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Parts of the policies by what they say.
var (
	oneselfOnly   = part{policy: "sessions", number: 1}
	ownOnly       = part{policy: "sessions", number: 2}
	templateUse   = part{policy: "sessions", number: 3}
	foreignGroups = part{policy: "sessions", number: 4}
	orderlyEnd    = part{policy: "sessions", number: 5}
	isPlatform    = part{policy: "sessions", name: "not-the-platform"}
	endsNamespace = part{policy: "sessions", name: "not-the-end-of-a-namespace"}
	isFrontDoor   = part{policy: "sessions", name: "not-the-front-door"}
	isCreator     = part{policy: "sessions", name: "not-a-creator"}
	managesAll    = part{policy: "sessions", name: "not-an-administrator"}

	leftOut        = part{policy: "quotas", number: 1}
	countsCreator  = part{policy: "quotas", name: "not-a-creator"}
	countsManager  = part{policy: "quotas", name: "not-an-administrator"}
	countsVisitors = part{policy: "quotas", name: "not-the-front-door"}

	frontDoorsWord = part{policy: "requested-by", number: 1}
	platformsWord  = part{policy: "requested-by", name: "not-the-platform"}
	systemsWord    = part{policy: "requested-by", name: "not-the-system"}
	ownWord        = part{policy: "requested-by", name: "not-the-front-door"}
	managersWord   = part{policy: "requested-by", name: "not-an-administrator"}

	ordersDrain   = part{policy: "drain", number: 1}
	drainInOrder  = part{policy: "drain", number: 2}
	platformDrain = part{policy: "drain", name: "not-the-platform"}
	systemDrain   = part{policy: "drain", name: "not-the-system"}
	writesOrder   = part{policy: "drain", name: "writes-an-order"}

	ourLabels     = part{policy: "labels", number: 1}
	ourOwners     = part{policy: "labels", number: 2}
	isOperator    = part{policy: "labels", name: "not-the-operator"}
	ofADesktop    = part{policy: "labels", name: "of-a-desktop"}
	managesLabels = part{policy: "labels", name: "not-an-administrator"}

	noForeignRoute = part{policy: "routes", number: 1}
	noForeignLabel = part{policy: "routes", number: 2}
	noForeignRule  = part{policy: "routes", number: 3}
	noForeignHost  = part{policy: "routes", number: 4}
	namesHosts     = part{policy: "routes", number: 5}
	namesHostnames = part{policy: "routes", number: 6}
	namesListeners = part{policy: "routes", number: 7}
	noDefaults     = part{policy: "routes", number: 8}
	noCertificates = part{policy: "routes", number: 9}
	endsRoutes     = part{policy: "routes", name: "not-the-end-of-a-namespace"}
	writesRoutes   = part{policy: "routes", name: "not-a-writer-of-routes"}

	noForeignEndpoints = part{policy: "endpoints", number: 1}
	controlPlane       = part{policy: "endpoints", name: "not-the-control-plane"}
	writesEndpoints    = part{policy: "endpoints", name: "not-a-writer-of-endpoints"}
	leadsByRoutes      = part{policy: "endpoints", name: "not-a-writer-of-routes"}
)

func attempts() []attempt {
	return slices.Concat(sessionAttempts(), requestedByAttempts(), drainAttempts(), labelAttempts(), routeAttempts(), ruleAttempts(), hostAttempts(), sharedAttempts(), endpointAttempts())
}

func sessionAttempts() []attempt {
	const notYours, notOurs = `spec.user is "alice@example.com"`, "belongs to somebody else"
	return []attempt{
		{mallory, "creates a session for Alice", createSession(alice), notYours + `, but this request comes from "mallory@example.com": set spec.user to "mallory@example.com", or ask for the role vdi-admin`, oneselfOnly},
		{manager, "creates a session for Alice", createSession(alice), notYours, oneselfOnly},
		{aPerson, "creates a session", createSession(alice), "", part{}},
		{portal, "creates a session for Alice", createSession(alice), "", isCreator},
		{teamAdmin, "creates a session for Alice", createSession(alice), "", managesAll},
		{root, "creates a session for Alice", createSession(alice), "", managesAll},

		{mallory, "suspends Alice's desktop", editSession(suspend), notOurs, ownOnly},
		{mallory, "fakes Alice's activity", editSession(fakeActivity), notOurs, ownOnly},
		{mallory, "adds a finalizer to Alice's session", editSession(addFinalizer), notOurs, ownOnly},
		{mallory, "deletes Alice's session", deleteDesk, notOurs + ` than "mallory@example.com" (spec.user): only they may change or delete it`, ownOnly},
		{mallory, "deletes all sessions", deleteSessions, notOurs, ownOnly},
		{aPerson, "suspends her desktop", editSession(suspend), "", part{}},
		{aPerson, "deletes her session", deleteDesk, "", part{}},
		{portal, "suspends Alice's desktop", editSession(suspend), "", isCreator},
		{portal, "deletes Alice's session", deleteDesk, "", isCreator},
		{teamAdmin, "deletes Alice's session", deleteDesk, "", managesAll},

		{aPerson, "creates a session from a template for artists", createFrom(artists), `"alice@example.com" may not use template "artists": choose another, or ask an administrator for the verb use on it`, templateUse},
		{aPerson, "suspends a desktop whose template she may use no longer", edit(studio, suspend), "", part{}},
		{aPerson, "deletes a session whose template she may use no longer", deleteStudio, "", part{}},
		{portal, "creates a session from a template for artists", createFrom(artists), "", isCreator},
		{teamAdmin, "creates a session from a template for artists", createFrom(artists), "", managesAll},

		{aPerson, "creates a session in a group of others", createIn("artists"), `spec.groups: "alice@example.com" is not in the group "artists": leave it out, or ask for the role vdi-admin`, foreignGroups},
		{aPerson, "creates a session in a group of the cluster's", createIn("authenticated"), `is not in the group "authenticated"`, foreignGroups},
		{anArtist, "creates a session in her groups and one of others", createIn("artists", "managers"), `is not in the group "managers"`, foreignGroups},
		{aPerson, "joins a group of others", editSession(inGroups("artists")), `is not in the group "artists"`, foreignGroups},
		{aPerson, "joins a group beside the one that she has left", edit(gallery, inGroups("artists", "team")), `is not in the group "artists"`, foreignGroups},
		{aPerson, "resumes by a group that she has left", edit(gallery, resume), `is not in the group "artists"`, foreignGroups},
		{aPerson, "names a group that she has left, and resumes", edit(gallery, inGroups("artists"), resume), `is not in the group "artists"`, foreignGroups},
		{aPerson, "leaves the group and resumes", edit(gallery, inGroups(), resume), "", part{}},
		{aPerson, "changes something else", edit(gallery, extend), "", part{}},
		{anArtist, "creates a session in one of her groups", createIn("artists"), "", part{}},
		{anArtist, "names her groups", editSession(inGroups("artists", "team")), "", part{}},
		{anArtist, "resumes by her group", edit(gallery, resume), "", part{}},
		{portal, "creates a session in any group", createIn("artists"), "", isCreator},
		{teamAdmin, "creates a session in any group", createIn("artists"), "", managesAll},
		{frontDoor, "resumes a desktop with the groups of its user", patchSession(inGroups("artists")), "", isFrontDoor},

		{counted(alice), "creates a session beside a group that a quota counts", createIn("team"), `spec.groups: "alice@example.com" is in the group "counted", by which VDIQuota "counted" counts: add it to spec.groups`, leftOut},
		{counted(alice), "leaves the group that a quota counts", editSession(inGroups("team")), `is in the group "counted"`, leftOut},
		{counted(alice), "resumes beside it", edit(gallery, inGroups("team"), resume), `is in the group "counted"`, leftOut},
		{counted(alice), "resumes in it", edit(gallery, inGroups("counted"), resume), "", part{}},
		{counted(alice), "creates a session in it, and in none that quotas count elsewhere", createIn("counted"), "", part{}},
		{counted(alice), "changes something else of one that is suspended", edit(gallery, extend), "", part{}},
		{counted(portal.name, portal.groups...), "creates a session beside it for somebody", createIn("team"), "", countsCreator},
		{counted(teamAdmin.name), "creates a session beside it for somebody", createIn("team"), "", countsManager},
		{counted(frontDoor.name), "resumes a desktop with the groups of its user", patchSession(inGroups("artists")), "", countsVisitors},
		{counted(frontDoor.name), "creates a session with the groups of its user", createIn("artists"), "", countsVisitors},

		{aPerson, "takes the operator's finalizer off", editSession(noFinalizer), "metadata.finalizers: vdi.kasm.io/session-cleanup is taken off by the operator", orderlyEnd},
		{operator, "takes its finalizer off", patchSession(noFinalizer), "", isPlatform},
		{operator, "deletes an expired session", deleteDesk, "", isPlatform},
		{uninstall, "takes the operator's finalizer off", patchSession(noFinalizer), "", isPlatform},
		{frontDoor, "resumes a desktop", patchSession(resume), "", isFrontDoor},
		{frontDoor, "creates a session for Alice", createSession(alice), "", isFrontDoor},
		{frontDoor, "deletes Alice's session", deleteDesk, "", isFrontDoor},
		{collector, "deletes a session", deleteDesk, "", endsNamespace},
		{nsEnder, "deletes all sessions", deleteSessions, "", endsNamespace},
	}
}

// requestedByAttempts are about the word of the front door, which audits believe.
func requestedByAttempts() []attempt {
	const words = `metadata.annotations: vdi.kasm.io/requested-by says for whom the front door acted, and "`
	noWord := func(s *vdi.VDISession) { delete(s.Annotations, wire.AnnotationRequestedBy) }
	made := make1(func(g *guard) client.Object { return askedFor(g.session("new", alice)) })
	return []attempt{
		{aPerson, "creates a session with the front door's word", made, words + `alice@example.com" is not it: leave it out, or ask for the role vdi-admin`, frontDoorsWord},
		{aPerson, "gives her session the front door's word", editSession(requestedBy(alice)), words + `alice@example.com" is not it: leave it as it is`, frontDoorsWord},
		{aPerson, "changes it", edit(studio, requestedBy(mallory.name)), "leave it as it is", frontDoorsWord},
		{aPerson, "takes it away", edit(studio, noWord), "leave it as it is", frontDoorsWord},
		{portal, "creates a session with the front door's word", made, words, frontDoorsWord},
		{aPerson, "changes something else beside it", edit(studio, extend), "", part{}},
		{frontDoor, "gives a session its word", patchSession(requestedBy(alice)), "", ownWord},
		{frontDoor, "creates a session with its word", made, "", ownWord},
		{operator, "gives a session the word", patchSession(requestedBy(alice)), "", platformsWord},
		{manager, "gives a session the word", patchSession(requestedBy(alice)), "", systemsWord},
		{teamAdmin, "restores a session with the word", made, "", managersWord},
		{root, "restores a session with the word", made, "", managersWord},
		{teamAdmin, "takes it away", edit(studio, noWord), "", managersWord},
	}
}

// drained gives a session an order to leave its node.
func drained(order string) func(*vdi.VDISession) {
	return func(s *vdi.VDISession) { annotate(s, wire.AnnotationDrain, order) }
}

// drainAttempts are about orders that the operator obeys.
func drainAttempts() []attempt {
	const words, shape = `vdi.kasm.io/drain orders a desktop off its node, which "alice@example.com" may not: `, "vdi.kasm.io/drain is not in order: write it with kubectl vdi drain"
	at := metav1.NewTime(time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC))
	order := drain.Order{Node: "gpu-1.example.com", At: at, Restart: true, Message: `New driver, "580" \ & <more>`}.String()
	short := drain.Order{Node: "g", At: at}.String()
	made := make1(func(g *guard) client.Object { s := g.session("new", alice); drained(short)(s); return s })
	all := []attempt{
		{aPerson, "orders her desktop off its node", editSession(drained(order)), words + "leave it as it is", ordersDrain},
		{aPerson, "creates a session with an order", made, words + "leave it out", ordersDrain},
		{portal, "orders a desktop off its node", editSession(drained(order)), "orders a desktop off its node", ordersDrain},
		{frontDoor, "orders a desktop off its node", patchSession(drained(order)), "orders a desktop off its node", ordersDrain},
		{aPerson, "changes something else", editSession(extend), "", writesOrder},
		{operator, "orders a desktop off its node", patchSession(drained(order)), "", platformDrain},
		{manager, "orders a desktop off its node", patchSession(drained(order)), "", systemDrain},
		{teamAdmin, "orders a desktop off its node", editSession(drained(order)), "", part{}},
		{teamAdmin, "orders it with nothing more than node and time", editSession(drained(short)), "", part{}},
		{root, "restores a session with an order", made, "", part{}},
	}
	for _, bad := range []string{
		"true", "{}", `{"node":"gpu-1"}`, `{"node":"gpu-1","at":"now"}`, `{"node":"GPU 1","at":"2026-01-02T12:00:00Z"}`, `{"node":"gpu-1","at":"2026-01-02T12:00:00+01:00"}`,
		`{"at":"2026-01-02T12:00:00Z","node":"gpu-1"}`, short + " ", `{"node":"gpu-1","at":"2026-01-02T12:00:00Z","restart":"yes"}`, `{"node":"gpu-1","at":"2026-01-02T12:00:00Z","message":"a"b"}`,
	} {
		all = append(all, attempt{teamAdmin, "orders it by " + bad, editSession(drained(bad)), shape, drainInOrder})
	}
	return all
}

func labelAttempts() []attempt {
	const words = "by vdi.kasm.io/* and app.kubernetes.io/name=vdi-session the operator knows the objects of desktops"
	plant := func(o func(g *guard) client.Object) func(context.Context, *guard, client.Client) error {
		return func(ctx context.Context, g *guard, c client.Client) error { return c.Create(ctx, o(g)) }
	}
	home := func(g *guard) client.Object {
		claim := claimNamed(g.ns, "planted")
		claim.ObjectMeta = labelled(claim.ObjectMeta, wire.LabelHomeFor, "x")
		return claim
	}
	ofAlice := func(g *guard) client.Object { o := g.pod(desk); o.Name = "other"; return o }
	web := func(g *guard) client.Object {
		o := g.pod("web")
		o.Labels = map[string]string{"app.kubernetes.io/name": "web", "app.kubernetes.io/instance": desk}
		return o
	}
	meta := func(o client.Object) func(g *guard) client.Object {
		return func(g *guard) client.Object {
			o := o.DeepCopyObject().(client.Object)
			o.SetNamespace(g.ns)
			o.SetName("planted")
			o.SetLabels(ofDesktop(g.meta(""), desk).Labels)
			return o
		}
	}
	owned := func(o client.Object, controls bool) func(g *guard) client.Object {
		return func(g *guard) client.Object {
			o := o.DeepCopyObject().(client.Object)
			o.SetNamespace(g.ns)
			o.SetName(desk + "-credentials")
			o.SetOwnerReferences([]metav1.OwnerReference{{
				APIVersion: vdi.GroupVersion.String(), Kind: "VDISession", Name: desk, UID: "0", Controller: &controls,
			}})
			return o
		}
	}
	port := corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 8080}}}
	return []attempt{
		{mallory, "makes a pod that Alice's Service selects", plant(ofAlice), "metadata.labels of pods", ourLabels},
		{mallory, "makes a pod of another kind", plant(web), "", ofADesktop},
		{mallory, "plants a home", plant(home), words, ourLabels},
		{mallory, "plants a Service", plant(meta(&corev1.Service{Spec: port})), words, ourLabels},
		{mallory, "plants a Secret", plant(meta(&corev1.Secret{})), words, ourLabels},
		{mallory, "plants a ConfigMap", plant(meta(&corev1.ConfigMap{})), words, ourLabels},
		{mallory, "plants a NetworkPolicy", plant(meta(&networkingv1.NetworkPolicy{})), words, ourLabels},
		{mallory, "plants a PodDisruptionBudget", plant(meta(&policyv1.PodDisruptionBudget{})), words, ourLabels},
		{mallory, "plants a password as the session's own", plant(owned(&corev1.Secret{}, true)), "is made by the operator alone", ourOwners},
		{mallory, "makes notes about a session", plant(owned(&corev1.ConfigMap{}, false)), "", part{}},
		{mallory, "turns a desktop's pod into another's", editPod("app.kubernetes.io/instance", "mallory"), words, ourLabels},
		{mallory, "gives Alice's home to somebody", editClaim(wire.LabelHomeFor, "x"), words, ourLabels},
		{mallory, "takes the user off Alice's home", editClaim(wire.LabelUser, ""), words, ourLabels},
		{mallory, "adds another label to Alice's home", editClaim("example.com/backup", "daily"), "", part{}},
		{operator, "makes a desktop's pod", plant(ofAlice), "", isOperator},
		{teamAdmin, "hands a home to somebody", plant(home), "", managesLabels},
		{root, "hands a home to somebody", editClaim(wire.LabelHomeFor, "x"), "", managesLabels},
	}
}

func routeAttempts() []attempt {
	const words = "is a namespace of desktops, where only the platform writes routes"
	const app = "Host(`app.example.org`)"
	middleware := func(g *guard) client.Object {
		return object("traefik.io/v1alpha1", "Middleware", g.ns, "login", map[string]any{"stripPrefix": map[string]any{}})
	}
	return []attempt{
		{mallory, "writes an IngressRoute beside desktops", make1(func(g *guard) client.Object { return g.route("app", app) }), words, noForeignRoute},
		{mallory, "writes an IngressRouteUDP beside desktops", make1(func(g *guard) client.Object {
			return object("traefik.io/v1alpha1", "IngressRouteUDP", g.ns, "app", map[string]any{"routes": []any{}})
		}), words, noForeignRoute},
		{mallory, "writes a Middleware beside desktops", make1(middleware), words, noForeignRoute},
		{mallory, "writes an Ingress beside desktops", make1(func(g *guard) client.Object { return ingress(g.ns, "app", "app.example.org") }), words, noForeignRoute},
		{mallory, "writes an HTTPRoute beside desktops", make1(func(g *guard) client.Object { return httpRoute(g.ns, "app", "app.example.org") }), words, noForeignRoute},
		{mallory, "deletes Alice's route", deleteRoute, words, noForeignRoute},
		{teamAdmin, "deletes Alice's route", deleteRoute, words, noForeignRoute},
		{collector, "deletes Alice's route", deleteRoute, "", endsRoutes},
		{operator, "deletes Alice's route", deleteRoute, "", writesRoutes},
		{operator, "writes a desktop's route", make1(func(g *guard) client.Object { return g.route("bob", "Host(`bob.vdi.example.com`)") }), "", writesRoutes},
		{root, "writes a route beside desktops", make1(func(g *guard) client.Object { return g.route("app", app) }), "", writesRoutes},
		{root, "writes a route for the desktops' domain", make1(func(g *guard) client.Object {
			return route(g.elsewhere, "IngressRoute", "auth", "Host(`auth.vdi.example.com`)")
		}), "", writesRoutes},
	}
}

// ruleAttempts are rules of Traefik in a namespace without desktops.
func ruleAttempts() []attempt {
	const words = "spec.routes[].match could take requests for desktops under vdi.example.com"
	write := func(kind, match string, entryPoints ...any) func(context.Context, *guard, client.Client) error {
		return make1(func(g *guard) client.Object { return route(g.elsewhere, kind, "app", match, entryPoints...) })
	}
	var all []attempt
	for what, match := range map[string]string{
		"a desktop's host":                "Host(`alice-x.vdi.example.com`)",
		"a desktop's host in capitals":    "Host(`ALICE-X.VDI.EXAMPLE.COM`)",
		"a desktop's host with a dot":     "Host(`alice-x.vdi.example.com.`)",
		"a desktop's host beside others":  "Host(`app.example.org`) || Host(`alice-x.vdi.example.com`)",
		"two hosts at once":               "Host(`app.example.org`, `alice-x.vdi.example.com`)",
		"the domain":                      "Host(`vdi.example.com`)",
		"an escaped host":                 `Host("alice-x.\x76di.example.com")`,
		"all hosts by their pattern":      "HostRegexp(`.*`)",
		"all hosts by their paths":        "PathPrefix(`/`)",
		"some paths of all hosts":         "Host(`app.example.org`) || PathPrefix(`/x`)",
		"all hosts but one":               "!Host(`app.example.org`)",
		"all hosts behind a comment":      "Host(`app.example.org`) && Path(`/`) /* ` */ || HostRegexp(`.*`) /* ` */",
		"all hosts behind a quoted quote": "Host(`app.example.org`) && Header(`a`, \"`\") || HostRegexp(`.*`) && !Header(`a`, \"`\")",
		"the function in capitals":        "HOST(`alice-x.vdi.example.com`)",
	} {
		all = append(all, attempt{mallory, "writes a rule for " + what, write("IngressRoute", match), words, noForeignRule})
	}
	for what, match := range map[string]string{
		"another host":             "Host(`app.example.org`) && PathPrefix(`/x`)",
		"two other hosts":          "(Host(`app.example.org`) || Host(`www.example.org`)) && !ClientIP(`192.0.2.1`)",
		"a host that ends like it": "Host(`notvdi.example.com`)",
		"a host above the domain":  "Host(`example.com`)",
	} {
		all = append(all, attempt{mallory, "writes a rule for " + what, write("IngressRoute", match), "", part{}})
	}
	return append(all,
		attempt{mallory, "passes a desktop's TLS through", write("IngressRouteTCP", "HostSNI(`alice-x.vdi.example.com`)"), words, noForeignRule},
		attempt{mallory, "takes all of TCP", write("IngressRouteTCP", "HostSNI(`*`)", "websecure"), words, noForeignRule},
		attempt{mallory, "takes an entry point of its own", write("IngressRouteTCP", "HostSNI(`*`)", "postgres"), "", part{}},
		attempt{mallory, "turns the portal's route to all hosts", func(ctx context.Context, g *guard, c client.Client) error {
			o := newRoute()
			if err := c.Get(ctx, client.ObjectKey{Namespace: g.elsewhere, Name: "portal"}, o); err != nil {
				return err
			}
			o.Object["spec"] = route(g.elsewhere, "IngressRoute", "portal", "PathPrefix(`/`)").Object["spec"]
			return c.Update(ctx, o)
		}, words, noForeignRule},
		attempt{mallory, "adds a finalizer to the portal's route", func(ctx context.Context, g *guard, c client.Client) error {
			o := newRoute()
			if err := c.Get(ctx, client.ObjectKey{Namespace: g.elsewhere, Name: "portal"}, o); err != nil {
				return err
			}
			o.SetFinalizers([]string{"example.com/dns"})
			return c.Update(ctx, o)
		}, "", part{}},
	)
}

// hostAttempts are routes for other proxies in a namespace without desktops.
func hostAttempts() []attempt {
	const words = "spec names a host of the desktops' domain vdi.example.com"
	withTLS := func(g *guard) client.Object {
		o := ingress(g.elsewhere, "app", "app.example.org")
		tls := []any{map[string]any{"hosts": []any{"alice-x.vdi.example.com"}}}
		_ = unstructured.SetNestedSlice(o.Object, tls, "spec", "tls")
		return o
	}
	return []attempt{
		{mallory, "writes an Ingress for a desktop", make1(func(g *guard) client.Object { return ingress(g.elsewhere, "app", "alice-x.vdi.example.com") }), words, noForeignHost},
		{mallory, "writes an Ingress for all desktops", make1(func(g *guard) client.Object { return ingress(g.elsewhere, "app", "*.vdi.example.com") }), words, noForeignHost},
		{mallory, "brings a certificate for a desktop", make1(withTLS), words, noForeignHost},
		{mallory, "writes an HTTPRoute for a desktop", make1(func(g *guard) client.Object {
			return httpRoute(g.elsewhere, "app", "app.example.org", "alice-x.vdi.example.com")
		}), words, noForeignHost},
		{mallory, "writes an HTTPRoute above the domain", make1(func(g *guard) client.Object { return httpRoute(g.elsewhere, "app", "*.example.com") }), words, noForeignHost},
		{mallory, "writes an Ingress for another host", make1(func(g *guard) client.Object { return ingress(g.elsewhere, "app", "app.example.org") }), "", part{}},
		{mallory, "writes an HTTPRoute for other hosts", make1(func(g *guard) client.Object { return httpRoute(g.elsewhere, "app", "*.example.org") }), "", part{}},
	}
}

// make1 creates one object.
func make1(o func(g *guard) client.Object) func(context.Context, *guard, client.Client) error {
	return func(ctx context.Context, g *guard, c client.Client) error { return c.Create(ctx, o(g)) }
}

func createSession(user string) func(context.Context, *guard, client.Client) error {
	return make1(func(g *guard) client.Object { return g.session("new", user) })
}

// createFrom is a session of Alice's from a template.
func createFrom(template string) func(context.Context, *guard, client.Client) error {
	return make1(func(g *guard) client.Object {
		s := g.session("new", alice)
		s.Spec.Template = template
		return s
	})
}

// createIn is a session of Alice's that names groups.
func createIn(groups ...string) func(context.Context, *guard, client.Client) error {
	return make1(func(g *guard) client.Object {
		s := g.session("new", alice)
		s.Spec.Groups = groups
		return s
	})
}

// counted is somebody in the group that a quota counts, and in one that another quota counts
// where this person has no sessions.
func counted(name string, groups ...string) visitor {
	return visitor{name: name, groups: append([]string{"counted", "team"}, groups...)}
}

func inGroups(groups ...string) func(*vdi.VDISession) {
	return func(s *vdi.VDISession) { s.Spec.Groups = groups }
}

// askedFor is a session that says that the front door acted for Alice.
func askedFor(s *vdi.VDISession) *vdi.VDISession {
	requestedBy(alice)(s)
	return s
}

func extend(s *vdi.VDISession) { s.Spec.IdleTimeout = "1h" }

func editSession(change func(*vdi.VDISession)) func(context.Context, *guard, client.Client) error {
	return edit(desk, change)
}

func edit(name string, changes ...func(*vdi.VDISession)) func(context.Context, *guard, client.Client) error {
	return func(ctx context.Context, g *guard, c client.Client) error {
		s := &vdi.VDISession{}
		if err := c.Get(ctx, client.ObjectKey{Namespace: g.ns, Name: name}, s); err != nil {
			return err
		}
		for _, change := range changes {
			change(s)
		}
		return c.Update(ctx, s)
	}
}

// patchSession is how the platform itself writes: it may not update.
func patchSession(edit func(*vdi.VDISession)) func(context.Context, *guard, client.Client) error {
	return func(ctx context.Context, g *guard, c client.Client) error {
		s := &vdi.VDISession{}
		if err := c.Get(ctx, client.ObjectKey{Namespace: g.ns, Name: desk}, s); err != nil {
			return err
		}
		before := s.DeepCopy()
		edit(s)
		return c.Patch(ctx, s, client.MergeFrom(before))
	}
}

func fakeActivity(s *vdi.VDISession) {
	s.Annotations = map[string]string{wire.AnnotationLastActivity: "2000-01-01T00:00:00Z"}
}
func addFinalizer(s *vdi.VDISession) { s.Finalizers = append(s.Finalizers, "example.com/stay") }
func noFinalizer(s *vdi.VDISession)  { s.Finalizers = nil }

func deleteDesk(ctx context.Context, g *guard, c client.Client) error {
	return c.Delete(ctx, g.session(desk, alice))
}

func deleteStudio(ctx context.Context, g *guard, c client.Client) error {
	return c.Delete(ctx, g.session(studio, alice))
}

func deleteSessions(ctx context.Context, g *guard, c client.Client) error {
	return c.DeleteAllOf(ctx, &vdi.VDISession{}, client.InNamespace(g.ns))
}

func deleteRoute(ctx context.Context, g *guard, c client.Client) error {
	return c.Delete(ctx, g.route(desk, ""))
}

func editPod(label, value string) func(context.Context, *guard, client.Client) error {
	return editLabel(label, value, func(g *guard) client.Object { return &corev1.Pod{ObjectMeta: g.meta(desk)} })
}

func editClaim(label, value string) func(context.Context, *guard, client.Client) error {
	return editLabel(label, value, func(g *guard) client.Object {
		return &corev1.PersistentVolumeClaim{ObjectMeta: g.meta("vdi-data-" + desk)}
	})
}

// editLabel sets a label, or takes it off.
func editLabel(label, value string, of func(*guard) client.Object) func(context.Context, *guard, client.Client) error {
	return func(ctx context.Context, g *guard, c client.Client) error {
		o := of(g)
		if err := c.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		labels := o.GetLabels()
		labels[label] = value
		if value == "" {
			delete(labels, label)
		}
		o.SetLabels(labels)
		return c.Update(ctx, o)
	}
}
