package integration

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/run"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
)

const (
	policyKind  = "ValidatingAdmissionPolicy"
	bindingKind = "ValidatingAdmissionPolicyBinding"
	// guardLabel tells which set of policies judges a namespace.
	guardLabel = "test/guard"
	// sentinel is an annotation that a policy refuses once it is in force.
	sentinel = "test/sentinel"

	plain   = "plain"   // a template that everybody in these tests may use
	artists = "artists" // and one that is not for them
	studio  = "studio"  // a session of Alice's from that one
	gallery = "gallery" // one that is suspended, and in the group of the artists
)

// visitor is somebody who asks the API server for something.
type visitor struct {
	name   string
	groups []string
}

var (
	aPerson   = visitor{name: alice}
	anArtist  = visitor{name: alice, groups: []string{"artists", "team"}}
	mallory   = visitor{name: "mallory@example.com"}
	teamAdmin = visitor{name: "carol@example.com"} // holds vdi-admin in every namespace of these tests
	portal    = visitor{name: "system:serviceaccount:portal:web", groups: []string{"system:serviceaccounts:portal"}}
	operator  = visitor{name: operatorUser}
	uninstall = visitor{name: operatorUser + "-uninstall"}
	frontDoor = visitor{name: "system:serviceaccount:vdi-system:vdi-frontdoor"}
	root      = visitor{name: "root", groups: []string{"system:masters"}}
	collector = visitor{name: "system:serviceaccount:kube-system:generic-garbage-collector"}
	nsEnder   = visitor{name: "system:serviceaccount:kube-system:namespace-controller"}
	manager   = visitor{name: "system:kube-controller-manager"}
)

// part is one line of a policy: a validation by its number or a match condition by its name.
type part struct {
	policy string
	number int    // of the validation, from 1
	name   string // of the match condition
}

func (p part) String() string {
	if p.name != "" {
		return p.policy + "." + p.name
	}
	return fmt.Sprintf("%s.%d", p.policy, p.number)
}

// guard is a namespace for desktops and one beside it, judged by one set of policies.
type guard struct {
	plane     *plane
	name      string
	ns        string // with desktops
	elsewhere string
	closed    string // stands for kube-public and the release's namespace
}

// attempt is one request. Nothing of it is stored.
type attempt struct {
	who  visitor
	what string
	do   func(ctx context.Context, g *guard, c client.Client) error
	// refused is part of the API server's words; empty: it passes.
	refused string
	// because names the part without which it would go the other way.
	because part
}

// TestAdmissionPolicies: every validation has requests that it refuses and that
// pass once it is taken away; every match condition has some that it lets pass,
// and that are refused without it.
func TestAdmissionPolicies(t *testing.T) {
	t.Parallel()
	p := startGuarded(t, gcController)
	objects := chartObjects(t, "admission.creatorGroups={"+portal.groups[0]+"}", "admission.endpointWriters={"+mesh.name+"}", "tenancy.templates.everyone=false", "sessions.proxy.reads={IngressRoute,Ingress,Gateway}")
	policies := policiesOf(objects)
	p.grant(t, slices.DeleteFunc(objects, isPolicy))
	p.furnish(t)

	t.Run("every part", func(t *testing.T) { everyPart(t, p, policies, attempts()) })
	t.Run("prefix of usernames", func(t *testing.T) { prefixOfUsernames(t, p) })
	t.Run("routes beside desktops only", func(t *testing.T) { besideDesktopsOnly(t, p) })
	t.Run("a shared proxy with classes", func(t *testing.T) { classesOfTheProxy(t, p) })
	t.Run("a shared proxy with single sign-on", func(t *testing.T) { namesOfMiddlewares(t, p) })
	t.Run("a proxy of our own", func(t *testing.T) { nobodyElsesObjects(t, p) })
	t.Run("some namespaces", func(t *testing.T) { someNamespaces(t, p) })
}

// gcController removes what belongs to sessions that are not there, as in these tests, as soon
// as it has learned that there is such a kind.
const gcController = "garbage-collector-controller"

func isPolicy(o *unstructured.Unstructured) bool {
	return o.GetKind() == policyKind || o.GetKind() == bindingKind
}

func everyPart(t *testing.T, p *plane, policies map[string]*unstructured.Unstructured, all []attempt) {
	t.Helper()

	whole := p.newGuard(t, "whole")
	for _, policy := range policies {
		whole.install(t, policy, nil)
	}
	lacking := map[part]*guard{}
	for _, policy := range policies {
		for _, missing := range partsOf(policy) {
			g := p.newGuard(t, strings.ToLower(missing.String()))
			g.install(t, policy, &missing)
			lacking[missing] = g
		}
	}
	whole.isInForce(t, slices.Sorted(maps.Keys(policies))...)
	for missing, g := range lacking {
		g.isInForce(t, missing.policy)
	}
	p.requireSound(t)

	proved := map[part]bool{}
	for _, a := range all {
		t.Run(a.who.name+" "+a.what, func(t *testing.T) {
			err := whole.try(t, a)
			if a.because == (part{}) {
				return
			}
			g, known := lacking[a.because]
			require.True(t, known, "the chart has no %s", a.because)
			proved[a.because] = true
			without := a.do(t.Context(), g, p.as(t, a.who))
			if a.refused != "" {
				require.NoError(t, without, "without %s it works", a.because)
			} else {
				require.Error(t, without, "without %s it is refused", a.because)
				require.NoError(t, err)
			}
		})
	}
	for missing := range lacking {
		assert.True(t, proved[missing], "no request shows what %s is for", missing)
	}
}

// try makes the request under all policies.
func (g *guard) try(t *testing.T, a attempt) error {
	t.Helper()
	err := a.do(t.Context(), g, g.plane.as(t, a.who))
	if a.refused == "" {
		require.NoError(t, err)
		return nil
	}
	require.True(t, apierrors.IsForbidden(err), "%v", err)
	require.ErrorContains(t, err, a.refused)
	t.Log(err)
	return err
}

// prefixed is a person as an API server with --oidc-username-prefix=oidc: names them.
func prefixed(v visitor) visitor { return visitor{name: "oidc:" + v.name, groups: v.groups} }

// prefixOfUsernames: with a prefix, only who logged in that way is somebody, and only
// groups of that way count.
func prefixOfUsernames(t *testing.T, p *plane) {
	t.Helper()
	g := p.newGuard(t, "prefix")
	g.install(t, policiesOf(chartObjects(t, "access.requesterPrefix=oidc:", "access.requesterGroupPrefix=ldap:"))["sessions"], nil)
	g.isInForce(t, "sessions")
	member := visitor{name: prefixed(aPerson).name, groups: []string{"ldap:artists", "team", "ldap:system:nodes"}}
	for _, a := range []attempt{
		{member, "creates a session in her group", createIn("artists"), "", part{}},
		{member, "creates a session in a group of another login", createIn("team"), `is not in the group "team", which the API server would call "ldap:team"`, part{}},
		{member, "creates a session in her group as the API server calls it", createIn("ldap:artists"), `is not in the group "ldap:artists"`, part{}},
		{prefixed(aPerson), "creates a session", createSession(alice), "", part{}},
		{prefixed(aPerson), "deletes her session", deleteDesk, "", part{}},
		{prefixed(mallory), "creates a session for Alice", createSession(alice), `set spec.user to "mallory@example.com"`, part{}},
		{aPerson, "creates a session by another login", createSession(alice), `comes from "alice@example.com", whose name lacks the prefix oidc: (access.requesterPrefix)`, part{}},
		{prefixed(aPerson), "creates a session of her whole name", createSession("oidc:" + alice), `set spec.user to "alice@example.com"`, part{}},
		{teamAdmin, "creates a session for Alice", createSession(alice), "", part{}},
	} {
		t.Run(a.who.name+" "+a.what, func(t *testing.T) { _ = g.try(t, a) })
	}
}

// besideDesktopsOnly: elsewhere, routes are nobody's business.
func besideDesktopsOnly(t *testing.T, p *plane) {
	t.Helper()
	g := p.newGuard(t, "narrow")
	g.install(t, policiesOf(chartObjects(t, "admission.routeScope=SessionNamespaces"))["routes"], nil)
	g.isInForce(t, "routes")
	for _, a := range append(ruleAttempts(), hostAttempts()...) {
		require.NoError(t, a.do(t.Context(), g, p.as(t, a.who)), a.what)
	}
	for _, a := range routeAttempts() {
		t.Run(a.who.name+" "+a.what, func(t *testing.T) { _ = g.try(t, a) })
	}
}

// someNamespaces installs the policies as rendered for one namespace.
func someNamespaces(t *testing.T, p *plane) {
	t.Helper()
	served, other := p.newGuard(t, "served"), p.newGuard(t, "other")
	for _, o := range chartObjects(t, "watchNamespaces={"+served.ns+"}") {
		if isPolicy(o) {
			require.NoError(t, p.admin.Create(t.Context(), o))
		}
	}
	plant := make1(func(g *guard) client.Object {
		return &corev1.ConfigMap{ObjectMeta: ofDesktop(g.meta("planted"), desk)}
	})
	write := make1(func(g *guard) client.Object { return g.route("app", "Host(`app.example.org`)") })
	hijack := make1(func(g *guard) client.Object { return g.route("app", "Host(`alice-x.vdi.example.com`)") })
	for what, do := range map[string]func(context.Context, *guard, client.Client) error{
		"creates a session for Alice": createSession(alice), "plants a ConfigMap": plant, "writes a route beside desktops": write,
	} {
		require.Eventually(t, func() bool { return apierrors.IsForbidden(do(t.Context(), served, p.as(t, mallory))) }, othersWork, glance, what)
		require.NoError(t, do(t.Context(), other, p.as(t, mallory)), "%s where another release may serve", what)
	}
	require.ErrorContains(t, hijack(t.Context(), other, p.as(t, mallory)), "could take requests for desktops", "the domain is this release's everywhere")
}

// startGuarded is a control plane with every kind that the policies speak of.
func startGuarded(t *testing.T, without ...string) *plane {
	t.Helper()
	p, err := startPlane(t.Context(), without...)
	require.NoError(t, err, missingToolFix)
	t.Cleanup(func() { require.NoError(t, p.Stop()) })
	const gateways = "sigs.k8s.io/gateway-api"
	for _, from := range [][2]string{
		{traefikModule, traefikCRDs},
		{gateways, "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"},
		{gateways, "config/crd/standard/gateway.networking.k8s.io_gateways.yaml"},
		{gateways, "config/crd/experimental/gateway.networking.k8s.io_tlsroutes.yaml"},
		{gateways, "config/crd/experimental/gateway.networking.k8s.io_tcproutes.yaml"},
	} {
		path, err := cluster.ModuleFile(t.Context(), "traefik", from[0], from[1])
		require.NoError(t, err)
		require.NoError(t, p.installCRDs(t.Context(), path, ""))
	}
	return p
}

// policiesOf are the rendered policies that refuse, by what they are about.
func policiesOf(objects []*unstructured.Unstructured) map[string]*unstructured.Unstructured {
	policies := map[string]*unstructured.Unstructured{}
	for _, o := range objects {
		about, _, _ := strings.Cut(o.GetName(), ".")
		if o.GetKind() == policyKind && slices.Contains([]string{"sessions", "quotas", "requested-by", "drain", "labels", "routes", "endpoints"}, about) {
			policies[about] = o
		}
	}
	return policies
}

// inClosed names the guard's own closed namespace where a policy names the release's or
// one of the cluster's: these belong to no guard.
func (g *guard) inClosed(t *testing.T, policy *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	text, err := policy.MarshalJSON()
	require.NoError(t, err)
	for _, name := range []string{"kube-public", operatorNamespace} {
		text = []byte(strings.ReplaceAll(string(text), `\"`+name+`\"`, `\"`+g.closed+`\"`))
	}
	out := &unstructured.Unstructured{}
	require.NoError(t, out.UnmarshalJSON(text))
	return out
}

// partsOf are all parts of a policy that can be taken away.
func partsOf(policy *unstructured.Unstructured) []part {
	about, _, _ := strings.Cut(policy.GetName(), ".")
	var parts []part
	validations, _, _ := unstructured.NestedSlice(policy.Object, "spec", "validations")
	for i := range validations {
		parts = append(parts, part{policy: about, number: i + 1})
	}
	conditions, _, _ := unstructured.NestedSlice(policy.Object, "spec", "matchConditions")
	for _, c := range conditions {
		parts = append(parts, part{policy: about, name: c.(map[string]any)["name"].(string)})
	}
	return parts
}

// install puts a policy in charge of the guard's namespaces, less a part.
func (g *guard) install(t *testing.T, policy *unstructured.Unstructured, missing *part) {
	t.Helper()
	policy = g.inClosed(t, policy)
	policy.SetName(policy.GetName() + "." + g.name)
	validations, _, _ := unstructured.NestedSlice(policy.Object, "spec", "validations")
	conditions, _, _ := unstructured.NestedSlice(policy.Object, "spec", "matchConditions")
	if missing != nil && missing.number > 0 {
		validations = slices.Delete(validations, missing.number-1, missing.number)
	}
	if missing != nil && missing.name != "" {
		conditions = slices.DeleteFunc(conditions, func(c any) bool { return c.(map[string]any)["name"] == missing.name })
	}
	// First: of several refusals the API server tells the first.
	validations = slices.Insert(validations, 0, any(map[string]any{
		"expression": fmt.Sprintf("object == null || !has(object.metadata.annotations) || !('%s' in object.metadata.annotations)", sentinel),
		"message":    "in force",
	}))
	require.NoError(t, unstructured.SetNestedSlice(policy.Object, validations, "spec", "validations"))
	require.NoError(t, unstructured.SetNestedSlice(policy.Object, conditions, "spec", "matchConditions"))
	require.NoError(t, g.plane.admin.Create(t.Context(), policy))
	selector := "namespaceSelector"
	if strings.HasPrefix(policy.GetName(), "operator-gpus.") {
		selector = "objectSelector" // of what is in no namespace
	}
	spec := map[string]any{
		"policyName": policy.GetName(), "validationActions": []any{"Deny"},
		"matchResources": map[string]any{selector: map[string]any{"matchLabels": map[string]any{guardLabel: g.name}}},
	}
	if _, reads, _ := unstructured.NestedMap(policy.Object, "spec", "paramKind"); reads {
		spec["paramRef"] = map[string]any{"selector": map[string]any{}, "parameterNotFoundAction": "Allow"}
	}
	binding := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": policy.GetAPIVersion(), "kind": bindingKind, "metadata": map[string]any{"name": policy.GetName()}, "spec": spec,
	}}
	require.NoError(t, g.plane.admin.Create(t.Context(), binding))
}

// isInForce waits until the API server judges by the policies.
func (g *guard) isInForce(t *testing.T, policies ...string) {
	t.Helper()
	asked := &vdi.VDISession{ObjectMeta: g.meta("sentinel"), Spec: vdi.VDISessionSpec{User: mallory.name, Template: "plain"}}
	marked := map[string]client.Object{
		"sessions": asked, "quotas": asked, "requested-by": asked, "drain": asked, "places": asked, "operator-sessions": asked,
		"labels": &corev1.ConfigMap{ObjectMeta: labelled(g.meta("sentinel"), "vdi.kasm.io/user", "x")},
		"routes": ingress(g.elsewhere, "sentinel", "app.example.org"),
		// The others stand in the way of none of these.
		"endpoints":      endpointSlice(g.ns, "sentinel", "web"),
		"operator":       &corev1.ConfigMap{ObjectMeta: g.meta("sentinel")},
		"operator-pods":  g.pod("sentinel"),
		"operator-homes": claimNamed(g.ns, "sentinel"),
		"operator-gpus":  g.plugin("sentinel"),
	}
	for _, policy := range policies {
		o := marked[policy]
		o.SetAnnotations(map[string]string{sentinel: ""})
		if policy == "drain" { // it looks at nothing else
			o.SetAnnotations(map[string]string{sentinel: "", wire.AnnotationDrain: "{}"})
		}
		who := mallory
		if strings.HasPrefix(policy, "operator") {
			who = operator
		}
		c := g.plane.as(t, who)
		require.EventuallyWithT(t, func(collect *assert.CollectT) {
			assert.ErrorContains(collect, c.Create(t.Context(), o.DeepCopyObject().(client.Object)), "in force")
		}, othersWork, glance, "policy %s of %s is in force", policy, g.name)
	}
}

// requireSound reads what the API server thinks of the expressions.
func (p *plane) requireSound(t *testing.T) {
	t.Helper()
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion("admissionregistration.k8s.io/v1")
	list.SetKind(policyKind + "List")
	require.Eventually(t, func() bool {
		require.NoError(t, p.admin.List(t.Context(), list))
		return !slices.ContainsFunc(list.Items, func(o unstructured.Unstructured) bool {
			seen, _, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
			return seen != o.GetGeneration()
		})
	}, othersWork, glance, "the policies are type-checked")
	for _, o := range list.Items {
		warnings, _, _ := unstructured.NestedSlice(o.Object, "status", "typeChecking", "expressionWarnings")
		assert.Empty(t, warnings, o.GetName())
	}
}

// newGuard makes the namespaces, with a desktop of Alice's as its operator left it.
func (p *plane) newGuard(t *testing.T, name string) *guard {
	t.Helper()
	g := &guard{plane: p, name: name}
	for namespace, labels := range map[*string]map[string]string{
		&g.ns:        {guardLabel: name, "vdi.kasm.io/sessions": "true"},
		&g.elsewhere: {guardLabel: name},
		&g.closed:    {guardLabel: name, "vdi.kasm.io/sessions": "true"},
	} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "g-", Labels: labels}}
		require.NoError(t, p.admin.Create(t.Context(), ns))
		*namespace = ns.Name
	}
	for _, o := range []client.Object{
		&rbacv1.RoleBinding{
			ObjectMeta: g.meta("admin"), Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: teamAdmin.name}},
			RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "vdi-admin"},
		},
		g.session(desk, alice, wire.Finalizer), g.pod(desk), g.claim(desk), askedFor(fromArtists(g.session(studio, alice))), g.suspended(gallery, "artists"),
		g.route(desk, "Host(`alice-x.vdi.example.com`)"),
		route(g.elsewhere, "IngressRoute", "portal", "Host(`portal.vdi.example.com`)"),
		marked(route(g.elsewhere, "IngressRoute", "marked", "Host(`app.example.org`)")),
		ingress(g.elsewhere, "hostless", ""), withCertificate(ingress(g.elsewhere, "own-certificate", "app.example.org"), "own"),
		ofClass(withCertificate(ingress(g.elsewhere, "others", "app.example.org"), "own"), "nginx"),
	} {
		require.NoError(t, p.admin.Create(t.Context(), o))
	}
	return g
}

// furnish lets everybody in these tests write everything, as far as RBAC goes, and use
// one template: what is refused then is refused by a policy. No verb is manage or route.
func (p *plane) furnish(t *testing.T) {
	t.Helper()
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "vdi-tenants"},
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{"", "vdi.kasm.io", "traefik.io", "networking.k8s.io", "policy", "gateway.networking.k8s.io", "discovery.k8s.io"},
			Resources: []string{"*"},
			Verbs:     []string{"get", "list", "create", "update", "patch", "delete", "deletecollection"},
		}, {
			APIGroups: []string{"vdi.kasm.io"}, Resources: []string{"vditemplates"}, ResourceNames: []string{plain}, Verbs: []string{"use"},
		}},
	}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: role.ObjectMeta, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: role.Name}}
	for _, v := range []visitor{aPerson, prefixed(aPerson), mallory, prefixed(mallory), teamAdmin, portal, manager, uninstall, frontDoor, slicer, mesh} {
		binding.Subjects = append(binding.Subjects, rbacv1.Subject{Kind: rbacv1.UserKind, Name: v.name})
	}
	nine := int32(9)
	for name, selector := range map[string]vdi.QuotaSelector{
		"counted":   {Groups: []string{"counted", "system:authenticated"}, Templates: []string{plain, artists}},
		"elsewhere": {Groups: []string{"team"}, Namespaces: []string{"elsewhere"}},
		"others":    {Groups: []string{"team"}, Users: []string{"bob@example.com"}},
	} {
		q := &vdi.VDIQuota{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: vdi.VDIQuotaSpec{Selector: selector, PerUser: &vdi.UserLimits{Sessions: &nine}}}
		require.NoError(t, p.admin.Create(t.Context(), q))
	}
	require.NoError(t, p.admin.Create(t.Context(), role))
	require.NoError(t, p.admin.Create(t.Context(), binding))
}

// as is the client of somebody, which stores nothing.
func (p *plane) as(t *testing.T, who visitor) client.Client {
	t.Helper()
	return client.NewDryRunClient(p.really(t, who))
}

// really is the client of somebody.
func (p *plane) really(t *testing.T, who visitor) client.WithWatch {
	t.Helper()
	config := p.RESTConfig()
	config.Impersonate = rest.ImpersonationConfig{UserName: who.name, Groups: append([]string{"system:authenticated"}, who.groups...)}
	c, err := client.NewWithWatch(config, client.Options{Scheme: run.Scheme()})
	require.NoError(t, err)
	return c
}

func (g *guard) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: g.ns, Name: name}
}

func labelled(meta metav1.ObjectMeta, pairs ...string) metav1.ObjectMeta {
	meta.Labels = map[string]string{}
	for pair := range slices.Chunk(pairs, 2) {
		meta.Labels[pair[0]] = pair[1]
	}
	return meta
}

// ofDesktop are labels that the operator gives.
func ofDesktop(meta metav1.ObjectMeta, session string) metav1.ObjectMeta {
	return labelled(meta, "app.kubernetes.io/name", "vdi-session", "app.kubernetes.io/instance", session, wire.LabelUser, "x")
}

func (g *guard) session(name, user string, finalizers ...string) *vdi.VDISession {
	s := &vdi.VDISession{ObjectMeta: g.meta(name), Spec: vdi.VDISessionSpec{User: user, Template: plain}}
	s.Finalizers = finalizers
	return s
}

// suspended is a session of Alice's that may be resumed.
func (g *guard) suspended(name string, groups ...string) *vdi.VDISession {
	s := g.session(name, alice)
	s.Spec.RunPolicy, s.Spec.Groups = vdi.RunPolicySuspended, groups
	return s
}

func fromArtists(s *vdi.VDISession) *vdi.VDISession {
	s.Spec.Template = artists
	return s
}

func (g *guard) pod(session string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: ofDesktop(g.meta(session), session),
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: image}}},
	}
}

func (g *guard) claim(session string) *corev1.PersistentVolumeClaim {
	claim := claimNamed(g.ns, "vdi-data-"+session)
	claim.ObjectMeta = ofDesktop(claim.ObjectMeta, session)
	return claim
}

func (g *guard) route(name, match string) *unstructured.Unstructured {
	return route(g.ns, "IngressRoute", name, match)
}

// route is a route of one of Traefik's kinds.
func route(ns, kind, name, match string, entryPoints ...any) *unstructured.Unstructured {
	rule := map[string]any{"match": match, "services": []any{map[string]any{"name": "web", "port": int64(80)}}}
	if kind == "IngressRoute" {
		rule["kind"] = "Rule"
	}
	spec := map[string]any{"routes": []any{rule}}
	if len(entryPoints) > 0 {
		spec["entryPoints"] = entryPoints
	}
	return object("traefik.io/v1alpha1", kind, ns, name, spec)
}

func ingress(ns, name, host string) *unstructured.Unstructured {
	backend := map[string]any{"service": map[string]any{"name": "web", "port": map[string]any{"number": int64(80)}}}
	path := map[string]any{"path": "/", "pathType": "Prefix", "backend": backend}
	return object("networking.k8s.io/v1", "Ingress", ns, name, map[string]any{
		"rules": []any{map[string]any{"host": host, "http": map[string]any{"paths": []any{path}}}},
	})
}

func httpRoute(ns, name string, hostnames ...any) *unstructured.Unstructured {
	return object("gateway.networking.k8s.io/v1", "HTTPRoute", ns, name, map[string]any{"hostnames": hostnames})
}

func object(version, kind, ns, name string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": version, "kind": kind, "metadata": map[string]any{"namespace": ns, "name": name}, "spec": spec,
	}}
}
