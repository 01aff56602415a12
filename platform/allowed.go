package platform

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Allowed lists what templates may name beyond a session's own objects. A template's
// author could else read whatever lies in the namespaces of the sessions, and leave
// notes that other controllers obey.
type Allowed struct {
	// Secrets of the session's namespace that containers may read, as variables or files.
	Secrets []string `json:"secrets,omitempty"`
	// ConfigMaps of the session's namespace that containers may read.
	ConfigMaps []string `json:"configMaps,omitempty"`
	// Annotations are keys that templates may set on a session's objects; a '*' at the
	// end stands for any rest. The platform's own, and those of sessions.annotations,
	// are allowed in any case.
	Annotations []string `json:"annotations,omitempty"`
	// EntryPoints of the proxy that templates may choose, beside websecure and what
	// sessions.values says.
	EntryPoints []string `json:"entryPoints,omitempty"`
}

// DefaultEntryPoint is the proxy's entry point with TLS.
const DefaultEntryPoint = "websecure"

// AllowsAnnotation says whether a key is in the settings' list.
func (a Allowed) AllowsAnnotation(key string) bool {
	return slices.ContainsFunc(a.Annotations, func(pattern string) bool {
		prefix, open := strings.CutSuffix(pattern, "*")
		return pattern == key || open && strings.HasPrefix(key, prefix)
	})
}

// MayBeSessions says whether a Secret's name is of the form that sessions' own have.
func MayBeSessions(secret string) bool {
	return strings.HasSuffix(secret, wire.SuffixCredentials) || strings.HasSuffix(secret, wire.SuffixTURN)
}

var (
	objectName    = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	annotationKey = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._/-]*\*?|\*)$`)
	entryPoint    = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
)

func (a Allowed) problems() (out []string) {
	out = append(out, namesIn("sessions.allowed.secrets", a.Secrets, objectName, "is no name of a Secret")...)
	out = append(out, namesIn("sessions.allowed.configMaps", a.ConfigMaps, objectName, "is no name of a ConfigMap")...)
	out = append(out, namesIn("sessions.allowed.annotations", a.Annotations, annotationKey, "is no key of an annotation; a '*' may stand at its end")...)
	out = append(out, namesIn("sessions.allowed.entryPoints", a.EntryPoints, entryPoint, "is no name of an entry point")...)
	for i, name := range a.Secrets {
		if MayBeSessions(name) {
			out = append(out, fmt.Sprintf("sessions.allowed.secrets[%d]: %q could be a session's own Secret, with its login; keep yours under a name that does not end in -credentials or -turn", i, name))
		}
	}
	for i, key := range a.Annotations {
		if slices.ContainsFunc(wire.ReservedPrefixes(), func(p string) bool { return strings.HasPrefix(key, p) }) {
			out = append(out, fmt.Sprintf("sessions.allowed.annotations[%d]: %q is set by the platform; remove it", i, key))
		}
	}
	return out
}

func namesIn(field string, list []string, form *regexp.Regexp, problem string) (out []string) {
	for i, name := range list {
		if !form.MatchString(name) {
			out = append(out, fmt.Sprintf("%s[%d]: %q %s", field, i, name, problem))
		}
	}
	return out
}
