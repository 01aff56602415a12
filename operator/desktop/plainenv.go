package desktop

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// PlainEnv is the part of an environment that is written out. References name
// the session's own Secrets: no two desktops could share them.
func PlainEnv(env []corev1.EnvVar) []corev1.EnvVar {
	return slices.DeleteFunc(slices.Clone(env), func(e corev1.EnvVar) bool { return e.ValueFrom != nil })
}
