package renderer

import (
	"fmt"
	"slices"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
)

// policySettings are the streamer's settings for the template's policy. env is
// what the template and the layers below it ask for: asking for one of them is
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

// checkBypasses refuses variables that open a way to the desktop past the agent.
func checkBypasses(t vdi.VDITemplate, env []any) error {
	facts := platform.FactsOf(t.Spec.Streamer)
	for _, e := range env {
		if name, _ := e.(values)["name"].(string); facts.IsBypass(name) {
			return fmt.Errorf("%w: template %q: env: %s would open a way into or out of the desktop past its agent; remove it", ErrValues, t.Name, name)
		}
	}
	return nil
}
