package command

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAuthorities(t *testing.T) {
	none, err := authorities("")
	require.NoError(t, err)
	assert.Nil(t, none, "those of this machine")
	_, err = authorities(filepath.Join(t.TempDir(), "missing"))
	assert.ErrorContains(t, err, "--ca: open")
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, []byte("no certificate"), 0o600))
	_, err = authorities(empty)
	assert.ErrorContains(t, err, "give a file with certificates in PEM")
}

// Browsers ask nobody where names below localhost are.
func TestLookUpLocalhost(t *testing.T) {
	addresses, err := lookUp(t.Context(), "alice.vdi.localhost")
	require.NoError(t, err)
	assert.Equal(t, []string{"127.0.0.1"}, addresses)
}

// Every check of the doctor has a name of its own, and a remedy.
func TestFindings(t *testing.T) {
	names := map[string]bool{}
	for _, f := range findings() {
		assert.NotEmpty(t, f.remedy, f.name)
		assert.False(t, names[f.name], f.name)
		names[f.name] = true
	}
}
