package renderer

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer/manifest"
)

// expectation is what the objects of one session must look like, whatever the
// values and the site's overlay say.
type expectation struct {
	session       vdi.VDISession
	names         map[string]string // kind to name; every one must be there, once
	host          string
	claim         string // the home, "" without one
	secret        string
	passwords     []string // variables that carry the password
	users         []string
	profile       vdi.SecurityProfile
	gpuResource   string
	gpus          int64
	forwardAuth   string // its address in modes OIDC and Local, else ""
	statementKeys map[string]string
	foreign       foreign
}

func expectationOf(in Input, all values) expectation {
	name := in.Session.Name
	e := expectation{
		session:     in.Session,
		names:       map[string]string{wire.KindNetworkPolicy: name, wire.KindService: name, wire.KindPod: name, wire.KindIngressRoute: name},
		host:        in.Host,
		secret:      CredentialsName(name),
		passwords:   textsAt(all, "credentials", "passwordVariables"),
		users:       textsAt(all, "credentials", "userVariables"),
		profile:     vdi.SecurityProfile(textAt(all, "security", "profile")),
		gpuResource: gpuResource(in.Template.Spec),
		foreign:     foreignOf(in),
	}
	e.gpus, _ = manifest.Nested(all, "resources", "gpu", "count").(int64)
	e.expectHome(all)
	e.expectFrontDoor(in)
	if enabled, _ := manifest.Nested(all, "pod", "disruptionBudget", "enabled").(bool); enabled {
		e.names[wire.KindPodDisruptionBudget] = name
	}
	return e
}

func (e *expectation) expectHome(all values) {
	if enabled, _ := manifest.Nested(all, "home", "persistence", "enabled").(bool); !enabled {
		return
	}
	if e.claim = textAt(all, "home", "persistence", "existingClaim"); e.claim == "" {
		e.claim = HomeClaimName(e.session.Name)
		e.names[wire.KindPersistentVolumeClaim] = e.claim
	}
}

// expectFrontDoor: where the front door logs people in, nobody reaches the agent but by way of the front door.
func (e *expectation) expectFrontDoor(in Input) {
	if !in.Platform.Access.Mode.LogsIn() {
		return
	}
	e.forwardAuth, e.statementKeys = in.Platform.Access.ForwardAuth, in.StatementKeys
	e.names[wire.KindConfigMap], e.names[wire.KindMiddleware] = StatementKeysName(e.session.Name), ForwardAuthName(e.session.Name)
}

// finding says which object breaks which rule.
type findings struct {
	kind  string
	texts []string
}

func (f *findings) add(format string, args ...any) {
	f.texts = append(f.texts, f.kind+": "+fmt.Sprintf(format, args...))
}

// refuse adds a finding if a condition holds.
func (f *findings) refuse(when bool, format string, args ...any) {
	if when {
		f.add(format, args...)
	}
}

// guard refuses sets of objects that break a rule of the platform. It changes
// nothing. Errors are ErrGuard and list every finding.
func guard(e expectation) step {
	return func(r *Rendered) error {
		f := &findings{}
		e.checkSet(f, r.Objects)
		for _, obj := range r.Objects {
			f.kind = obj.GetKind()
			e.checkMetadata(f, obj)
			e.checkKind(f, obj)
		}
		if len(f.texts) > 0 {
			return fmt.Errorf("%w: %s", ErrGuard, strings.Join(f.texts, "; "))
		}
		return nil
	}
}

// checkSet allows exactly the expected kinds, each once, with its name.
func (e expectation) checkSet(f *findings, objs []*unstructured.Unstructured) {
	seen := map[string]int{}
	for _, obj := range objs {
		f.kind = obj.GetKind()
		name, expected := e.names[f.kind]
		seen[f.kind]++
		switch {
		case !expected:
			f.add("kind is not allowed here")
		case obj.GetAPIVersion() != wire.ChildKind(f.kind).APIVersion():
			f.add("apiVersion must be %s", wire.ChildKind(f.kind).APIVersion())
		case obj.GetName() != name:
			f.add("name must be %q, not %q", name, obj.GetName())
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(e.names)) {
		f.kind = kind
		f.refuse(seen[kind] != 1, "there must be exactly one, not %d", seen[kind])
	}
}

func (e expectation) checkMetadata(f *findings, obj *unstructured.Unstructured) {
	metadata, _ := obj.Object["metadata"].(map[string]any)
	f.refuse(obj.GetNamespace() != e.session.Namespace, "metadata.namespace must be %q, not %q", e.session.Namespace, obj.GetNamespace())
	for _, field := range []string{"generateName", "finalizers", "managedFields", "resourceVersion", "uid"} {
		_, found := metadata[field]
		f.refuse(found, "metadata.%s is not allowed", field)
	}
	e.checkAnnotations(f, obj)
	owners, found := metadata["ownerReferences"]
	if f.kind == wire.KindPersistentVolumeClaim {
		f.refuse(found, "metadata.ownerReferences is not allowed: a home has no owner")
		return
	}
	f.refuse(!reflect.DeepEqual(owners, []any{ownerOf(e.session)}), "metadata.ownerReferences must be the session alone")
}

func (e expectation) checkKind(f *findings, obj *unstructured.Unstructured) {
	if f.kind == wire.KindConfigMap {
		e.checkStatementKeys(f, obj)
		return
	}
	spec, isMap := obj.Object["spec"].(map[string]any)
	f.refuse(!isMap, "spec must be an object")
	onlyKeys(f, "", obj.Object, "apiVersion", "kind", "metadata", "spec")
	switch f.kind {
	case wire.KindPod:
		e.checkPod(f, spec)
	case wire.KindIngressRoute:
		e.checkRoute(f, spec)
	case wire.KindService:
		e.checkService(f, spec)
	case wire.KindNetworkPolicy:
		e.checkPolicy(f, spec)
	case wire.KindPodDisruptionBudget:
		e.checkBudget(f, spec)
	case wire.KindMiddleware:
		e.checkForwardAuth(f, spec)
	case wire.KindPersistentVolumeClaim:
		onlyKeys(f, "spec.", spec, claimFields()...)
	}
}

// onlyKeys refuses keys that are not listed.
func onlyKeys(f *findings, at string, m map[string]any, allowed ...string) {
	var found []string
	for key := range m {
		if !slices.Contains(allowed, key) {
			found = append(found, key)
		}
	}
	slices.Sort(found)
	for _, key := range found {
		f.add("%s%s is not allowed", at, key)
	}
}

// checkRoute allows one rule with one host matcher, built from the host alone,
// to this session's Service, and nothing of another namespace.
func (e expectation) checkRoute(f *findings, spec map[string]any) {
	onlyKeys(f, "spec.", spec, "entryPoints", "routes", "tls", "ingressClassName")
	e.checkEntryPoints(f, spec)
	tls, _ := spec["tls"].(map[string]any)
	onlyKeys(f, "spec.tls.", tls, "secretName", "certResolver", "options")
	options, _ := tls["options"].(map[string]any)
	onlyKeys(f, "spec.tls.options.", options, "name")
	routes := manifest.Maps(spec["routes"])
	if len(routes) != 1 || !isListOf(spec["routes"], 1) {
		f.add("spec.routes must hold exactly one route")
		return
	}
	e.checkRule(f, routes[0])
}

func (e expectation) checkRule(f *findings, route map[string]any) {
	onlyKeys(f, "spec.routes[0].", route, "kind", "match", "priority", "middlewares", "services")
	want := "Host(`" + e.host + "`)"
	f.refuse(route["match"] != want, "spec.routes[0].match must be %s", want)
	f.refuse(route["priority"] != int64(routePriority), "spec.routes[0].priority must be %d", routePriority)
	services := []any{map[string]any{"name": e.session.Name, "port": wire.ServicePort}}
	f.refuse(!reflect.DeepEqual(route["services"], services), "spec.routes[0].services must be the session's Service alone")
	middlewares := manifest.Maps(route["middlewares"])
	for i, m := range middlewares {
		onlyKeys(f, fmt.Sprintf("spec.routes[0].middlewares[%d].", i), m, "name")
	}
	if e.forwardAuth != "" {
		asked := len(middlewares) > 0 && middlewares[0]["name"] == ForwardAuthName(e.session.Name)
		f.refuse(!asked, "spec.routes[0].middlewares[0] must be %s: the front door is asked first", ForwardAuthName(e.session.Name))
	}
}

// checkForwardAuth: the proxy asks the platform's front door and nobody else,
// believes no visitor's X-Forwarded-For and hands on the statement alone.
func (e expectation) checkForwardAuth(f *findings, spec map[string]any) {
	want := map[string]any{"forwardAuth": map[string]any{
		"address": e.forwardAuth, "authResponseHeaders": []any{wire.HeaderStatement}, "trustForwardHeader": false,
	}}
	f.refuse(!reflect.DeepEqual(spec, want), "spec must ask the front door at %s and nothing else", e.forwardAuth)
}

// checkStatementKeys: another key could sign for anybody.
func (e expectation) checkStatementKeys(f *findings, obj *unstructured.Unstructured) {
	onlyKeys(f, "", obj.Object, "apiVersion", "kind", "metadata", "data")
	f.refuse(!reflect.DeepEqual(obj.Object["data"], any(anyMap(e.statementKeys))), "data must be the front door's keys alone")
}

// routePriority is fixed, because Traefik would else rank routes by the length
// of their rules, which users choose.
const routePriority = 100

func (e expectation) checkService(f *findings, spec map[string]any) {
	onlyKeys(f, "spec.", spec, "type", "selector", "ports", "clusterIP", "ipFamilies", "ipFamilyPolicy", "sessionAffinity", "internalTrafficPolicy", "trafficDistribution")
	kind, found := spec["type"]
	f.refuse(found && kind != "ClusterIP", "spec.type must be ClusterIP")
	f.refuse(!reflect.DeepEqual(spec["selector"], any(anyMap(selectorOf(e.session.Name)))), "spec.selector must select this session's pod alone")
	for i, port := range manifest.Maps(spec["ports"]) {
		f.refuse(port["targetPort"] != wire.ContainerAgent, "spec.ports[%d].targetPort must be %q: nothing leads past the agent", i, wire.ContainerAgent)
	}
}

func (e expectation) checkPolicy(f *findings, spec map[string]any) {
	selector := map[string]any{"matchLabels": anyMap(selectorOf(e.session.Name))}
	f.refuse(!reflect.DeepEqual(spec["podSelector"], any(selector)), "spec.podSelector must select this session's pod alone")
	f.refuse(!reflect.DeepEqual(spec["policyTypes"], any([]any{"Ingress", "Egress"})), "spec.policyTypes must be Ingress and Egress")
	checkEgress(f, spec)
}

// checkBudget keeps a session's budget to its own pod: it would else hold up the
// drain of other people's desktops.
func (e expectation) checkBudget(f *findings, spec map[string]any) {
	onlyKeys(f, "spec.", spec, "minAvailable", "maxUnavailable", "selector", "unhealthyPodEvictionPolicy")
	selector := map[string]any{"matchLabels": anyMap(selectorOf(e.session.Name))}
	f.refuse(!reflect.DeepEqual(spec["selector"], any(selector)), "spec.selector must select this session's pod alone")
}

func isListOf(v any, length int) bool {
	list, isList := v.([]any)
	return isList && len(list) == length
}

func textsAt(v values, path ...string) (out []string) {
	list, _ := manifest.Nested(v, path...).([]any)
	for _, e := range list {
		out = append(out, manifest.Text(e))
	}
	return out
}
