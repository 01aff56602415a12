package renderer

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer/manifest"
)

// What a session's objects may have to do with things that are not the session's:
// Secrets, ConfigMaps, claims, annotations, entry points and GPUs. Most of it is
// written by authors of templates, who own no more than their templates.

// foreign is what the settings allow.
type foreign struct {
	platform.Allowed
	// site are the annotations that the settings set themselves.
	site map[string]string
	// configMaps are the session's own and the site's certificate authorities.
	configMaps []string
	// turn is the session's login at the relay.
	turn string
}

func foreignOf(in Input) foreign {
	s := in.Platform.Sessions
	out := foreign{
		Allowed: s.Allowed, site: s.Annotations,
		configMaps: []string{StatementKeysName(in.Session.Name)},
		turn:       TURNLoginName(in.Session.Name),
	}
	out.EntryPoints = slices.Concat([]string{platform.DefaultEntryPoint}, out.EntryPoints, textsAt(s.Values, "ingressRoute", "entryPoints"))
	if ca := s.Egress.CABundle.ConfigMap; ca != "" {
		out.configMaps = append(out.configMaps, ca)
	}
	return out
}

// ownAnnotations are those that platform and session chart set themselves.
func ownAnnotations() []string {
	return []string{
		wire.AnnotationUser, wire.AnnotationTransport, wire.AnnotationRevision, wire.AnnotationSessionUID, wire.AnnotationSessionRevision,
		"helm.sh/resource-policy", "cluster-autoscaler.kubernetes.io/safe-to-evict",
	}
}

// checkAnnotations: by annotations, pods get further networks, devices and sidecars, and
// routes and services other properties, of whoever listens.
func (e expectation) checkAnnotations(f *findings, obj *unstructured.Unstructured) {
	annotations, _ := manifest.Nested(obj.Object, "metadata", "annotations").(map[string]any)
	e.checkAnnotationKeys(f, "metadata.annotations", annotations)
}

func (e expectation) checkAnnotationKeys(f *findings, at string, annotations map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		_, site := e.foreign.site[key]
		known := site || slices.Contains(ownAnnotations(), key) || e.foreign.AllowsAnnotation(key)
		switch {
		case isLegacySecurity(key):
			f.add("%s: %s is not allowed", at, key)
		case !known:
			f.add("%s: %s is not allowed; an administrator can add it to sessions.allowed.annotations", at, key)
		}
	}
}

// isLegacySecurity knows the old spelling of security settings, which no list allows.
func isLegacySecurity(key string) bool {
	return strings.HasPrefix(key, "container.apparmor.security.") || strings.Contains(key, "seccomp.security.")
}

// checkEntryPoints: one without TLS would carry passwords in the clear, and none means
// all that the proxy has.
func (e expectation) checkEntryPoints(f *findings, spec map[string]any) {
	names := list(spec["entryPoints"])
	f.refuse(len(names) == 0, "spec.entryPoints must name the proxy's entry points")
	for _, name := range names {
		known := slices.Contains(e.foreign.EntryPoints, manifest.Text(name))
		f.refuse(!known, "spec.entryPoints: %v is not allowed; an administrator can add it to sessions.allowed.entryPoints", name)
	}
}

// ownSecrets hold the visitor's login, the keys of their cookies, and the login at the relay.
func (e expectation) ownSecrets() []string { return []string{e.secret, e.foreign.turn} }

func (e expectation) checkSecret(f *findings, at string, name any) {
	switch {
	case slices.Contains(e.ownSecrets(), manifest.Text(name)):
		f.add("%s: the Secret %v is the agent's alone", at, name)
	case platform.MayBeSessions(manifest.Text(name)):
		f.add("%s: the Secret %v could be another session's own; keep yours under a name that does not end in -credentials or -turn", at, name)
	case !slices.Contains(e.foreign.Secrets, manifest.Text(name)):
		f.add("%s: the Secret %v is not allowed; an administrator can add it to sessions.allowed.secrets", at, name)
	}
}

func (e expectation) checkConfigMap(f *findings, at string, name any) {
	known := slices.Contains(e.foreign.configMaps, manifest.Text(name)) || slices.Contains(e.foreign.ConfigMaps, manifest.Text(name))
	f.refuse(!known, "%s: the ConfigMap %v is not allowed; an administrator can add it to sessions.allowed.configMaps", at, name)
}

// checkSources judges where a container's environment comes from. The desktop's own
// login is its Secret's one use as a variable.
func (e expectation) checkSources(f *findings, at string, c map[string]any, desktop bool) {
	for _, entry := range manifest.Maps(c["env"]) {
		from, isMap := entry["valueFrom"].(map[string]any)
		if !isMap || desktop && e.isLogin(entry) {
			continue
		}
		here := fmt.Sprintf("%senv: %s: valueFrom.", at, manifest.Text(entry["name"]))
		onlyKeys(f, here, from, "configMapKeyRef", "fieldRef", "fileKeyRef", "resourceFieldRef", "secretKeyRef")
		e.checkRefs(f, here, from, "secretKeyRef", "configMapKeyRef")
	}
	for i, from := range manifest.Maps(c["envFrom"]) {
		here := fmt.Sprintf("%senvFrom[%d].", at, i)
		onlyKeys(f, here, from, "prefix", "configMapRef", "secretRef")
		e.checkRefs(f, here, from, "secretRef", "configMapRef")
	}
}

func (e expectation) checkRefs(f *findings, at string, from map[string]any, secret, configMap string) {
	if _, found := from[secret]; found {
		e.checkSecret(f, at+secret, manifest.Nested(from, secret, "name"))
	}
	if _, found := from[configMap]; found {
		e.checkConfigMap(f, at+configMap, manifest.Nested(from, configMap, "name"))
	}
}

func (e expectation) isLogin(entry map[string]any) bool {
	is := func(names []string, key string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return reflect.DeepEqual(entry, e.loginEntry(name, key)) })
	}
	return is(e.passwords, wire.KeyDesktopPassword) || is(e.users, wire.KeyDesktopUsername)
}

// checkContent judges what a volume holds. Only the agent mounts those with the
// session's own Secrets (checkOtherContainer).
func (e expectation) checkContent(f *findings, at string, v map[string]any) {
	if _, found := v["secret"]; found && !e.isAgents(v) {
		e.checkSecret(f, at+"secret.secretName", manifest.Nested(v, "secret", "secretName"))
	}
	if _, found := v["configMap"]; found {
		e.checkConfigMap(f, at+"configMap.name", manifest.Nested(v, "configMap", "name"))
	}
	for i, source := range manifest.Maps(manifest.Nested(v, "projected", "sources")) {
		here := fmt.Sprintf("%sprojected.sources[%d].", at, i)
		if _, found := source["secret"]; found {
			e.checkSecret(f, here+"secret.name", manifest.Nested(source, "secret", "name"))
		}
		if _, found := source["configMap"]; found {
			e.checkConfigMap(f, here+"configMap.name", manifest.Nested(source, "configMap", "name"))
		}
	}
	e.checkEphemeral(f, at+"ephemeral.volumeClaimTemplate.", manifest.Nested(v, "ephemeral", "volumeClaimTemplate"))
}

// isAgents says whether a volume is one of those by which the agent reads the session's
// own Secrets.
func (e expectation) isAgents(v map[string]any) bool {
	secret := map[string]string{wire.VolumeCredentials: e.secret, wire.VolumeTURN: e.foreign.turn}[manifest.Text(v["name"])]
	return secret != "" && manifest.Nested(v, "secret", "secretName") == secret
}

// checkEphemeral: a volume of the pod's own is a new and empty one, of no chosen name.
func (e expectation) checkEphemeral(f *findings, at string, v any) {
	claim, isMap := v.(map[string]any)
	if !isMap {
		return
	}
	onlyKeys(f, at, claim, "metadata", "spec")
	metadata, _ := claim["metadata"].(map[string]any)
	onlyKeys(f, at+"metadata.", metadata, "annotations", "labels")
	annotations, _ := metadata["annotations"].(map[string]any)
	e.checkAnnotationKeys(f, at+"metadata.annotations", annotations)
	labels, _ := metadata["labels"].(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		ours := slices.ContainsFunc(wire.ReservedPrefixes(), func(prefix string) bool { return strings.HasPrefix(key, prefix) })
		f.refuse(ours, "%smetadata.labels: %s is the platform's", at, key)
	}
	spec, _ := claim["spec"].(map[string]any)
	onlyKeys(f, at+"spec.", spec, claimFields()...)
}

// claimFields are what a claim may say: neither a volume of choice nor the content of
// another claim.
func claimFields() []string {
	return []string{"accessModes", "resources", "storageClassName", "volumeMode", "volumeAttributesClassName"}
}

// checkPullSecrets: the kubelet logs in with them at the registry that they are for, and
// nobody in the pod reads them.
func (e expectation) checkPullSecrets(f *findings, spec map[string]any) {
	for i, ref := range manifest.Maps(spec["imagePullSecrets"]) {
		own := slices.Contains(e.ownSecrets(), manifest.Text(ref["name"]))
		f.refuse(own, "spec.imagePullSecrets[%d]: the Secret %v is the agent's alone", i, ref["name"])
	}
}

// foreignClaims are the claims that a session's pod mounts beside its home. Only the
// cluster knows whether an administrator has given them to desktops.
func foreignClaims(r *Rendered, home string) (out []string) {
	for _, pod := range r.ofKind(wire.KindPod) {
		for _, v := range manifest.Maps(manifest.Nested(pod.Object, "spec", "volumes")) {
			claim := manifest.Text(manifest.Nested(v, "persistentVolumeClaim", "claimName"))
			if claim != "" && claim != home && !slices.Contains(out, claim) {
				out = append(out, claim)
			}
		}
	}
	slices.Sort(out)
	return out
}

// checkUsers keeps others than the agent from being its user, by whose rights its
// memory and its files are guarded.
func checkUsers(f *findings, at string, security map[string]any) {
	for _, field := range []string{"runAsUser", "runAsGroup", "fsGroup"} {
		value, found := security[field]
		number, whole := value.(int64)
		f.refuse(found && value != nil && !whole, "%s%s: %v is no whole number", at, field, value)
		f.refuse(whole && number == agentGroup, "%s%s: %d is the agent's; use another", at, field, number)
	}
}
