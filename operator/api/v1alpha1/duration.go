package v1alpha1

import "time"

// Or is the time span, or the fallback where none is set. The API server has checked
// the form, so that a value which does not parse counts as unset.
func (d Duration) Or(fallback time.Duration) time.Duration {
	if d == "" {
		return fallback
	}
	parsed, err := time.ParseDuration(string(d))
	if err != nil {
		return fallback
	}
	return parsed
}
