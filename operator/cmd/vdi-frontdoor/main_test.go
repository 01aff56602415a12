package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A word that is no command starts nothing, and make-keys says what it lacks.
func TestRunRefuses(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "")
	for want, args := range map[string][]string{
		`"make-kyes" is no command; give flags, make-keys, forget-account, hash or check`: {"make-kyes"},
		"make-keys: --namespace and --name are required":                                  {"make-keys", "--name=keys"},
		"forget-account: give --namespace and one name":                                   {"forget-account", "alice@example.com"},
		"hash: give one name, and no password":                                            {"hash"},
		"check: give one file, or - for":                                                  {"check"},
		`"now" is no command`:                                                             {"make-keys", "now"},
	} {
		require.ErrorContains(t, run(t.Context(), args), want)
	}
}
