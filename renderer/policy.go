package renderer

import (
	"fmt"
	"slices"

	"github.com/vdi-platform/vdi-platform/platform"
)

// policySettings are the streamer's settings for the template's policy. env is
// what the template and the layers below it wish for: a wish for one of them is
// refused, or people would believe that it holds.
func policySettings(in Input, env []any) ([]platform.Setting, error) {
	t := in.Template
	decided, err := platform.PolicySettings(t.Spec.Streamer, t.Spec.Policy)
	if err != nil {
		return nil, fmt.Errorf("%w: template %q: %w", ErrValues, t.Name, err)
	}
	settings := make([]platform.Setting, len(decided))
	for i, d := range decided {
		settings[i] = d.Setting
		if slices.ContainsFunc(env, func(e any) bool { return e.(values)["name"] == d.Name }) {
			return nil, fmt.Errorf("%w: template %q: env: %s is decided by %s; remove it from env and set that field", ErrValues, t.Name, d.Name, d.Field)
		}
	}
	return settings, nil
}
