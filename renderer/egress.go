package renderer

import (
	"slices"
	"strings"
	"unicode"

	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer/manifest"
)

const (
	caVolume = "site-ca"
	caFolder = "/etc/vdi/ca"
)

// caVariables are where common programs look for authorities: OpenSSL, Go and
// .NET; curl; Python's requests; Git; Node.js. Each names one file and nothing
// beside it, so the site's bundle holds the public authorities too.
func caVariables() []string {
	return []string{"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS"}
}

// injectEgress sets the variables by which programs find the site's proxies and
// authorities. It overrides nothing: a template may know a better way.
func injectEgress(e platform.Egress) step {
	settings := settingsOf(e)
	return func(r *Rendered) error {
		for _, pod := range r.ofKind(wire.KindPod) {
			for _, c := range manifest.Containers(pod) {
				addEnv(c, settings)
				if e.CABundle.ConfigMap != "" {
					c["volumeMounts"] = append(list(c["volumeMounts"]), map[string]any{"name": caVolume, "mountPath": caFolder, "readOnly": true})
				}
			}
			if e.CABundle.ConfigMap != "" {
				spec := manifest.EnsureMap(pod.Object, "spec")
				spec["volumes"] = append(list(spec["volumes"]), caVolumeOf(e.CABundle))
			}
		}
		return nil
	}
}

// settingsOf: programs disagree about the case of the proxies' variables.
func settingsOf(e platform.Egress) (out []platform.Setting) {
	for _, proxy := range []struct{ upper, lower, value string }{
		{"HTTP_PROXY", "http_proxy", e.HTTPProxy},
		{"HTTPS_PROXY", "https_proxy", e.HTTPSProxy},
		{"NO_PROXY", "no_proxy", noProxyOf(e)},
	} {
		if proxy.value != "" {
			out = append(out, platform.Setting{Name: proxy.upper, Value: proxy.value}, platform.Setting{Name: proxy.lower, Value: proxy.value})
		}
	}
	if e.CABundle.ConfigMap != "" {
		for _, name := range caVariables() {
			out = append(out, platform.Setting{Name: name, Value: caFolder + "/" + platform.DefaultCAKey})
		}
	}
	return out
}

// noProxyOf is what is reached directly: what the site wrote, and the pod itself,
// which no proxy can reach. A single * already means everything.
func noProxyOf(e platform.Egress) string {
	if e.HTTPProxy == "" && e.HTTPSProxy == "" || strings.TrimSpace(e.NoProxy) == "*" {
		return e.NoProxy
	}
	written := strings.FieldsFunc(e.NoProxy, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
	missing := slices.DeleteFunc([]string{"localhost", "127.0.0.1", "::1"}, func(own string) bool {
		return slices.ContainsFunc(written, func(host string) bool { return strings.EqualFold(host, own) })
	})
	switch {
	case len(missing) == 0:
		return e.NoProxy
	case len(written) == 0:
		return strings.Join(missing, ",")
	}
	return strings.TrimRight(e.NoProxy, ", ") + "," + strings.Join(missing, ",")
}

func caVolumeOf(b platform.CABundle) map[string]any {
	return map[string]any{"name": caVolume, "configMap": map[string]any{
		"name":  b.ConfigMap,
		"items": []any{map[string]any{"key": b.Key, "path": platform.DefaultCAKey}},
	}}
}

// addEnv leaves alone what is set in any case: http_proxy beside another
// HTTP_PROXY would be ambiguous.
func addEnv(c map[string]any, settings []platform.Setting) {
	written := manifest.Maps(c["env"])
	for _, s := range settings {
		same := func(e map[string]any) bool { return strings.EqualFold(manifest.Text(e["name"]), s.Name) }
		if !slices.ContainsFunc(written, same) {
			c["env"] = append(list(c["env"]), map[string]any{"name": s.Name, "value": s.Value})
		}
	}
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}
