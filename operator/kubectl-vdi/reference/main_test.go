package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The page is what --help says now, and whole.
func TestPage(t *testing.T) {
	text, err := page()
	require.NoError(t, err)
	written, err := os.ReadFile("../reference.md")
	require.NoError(t, err)
	assert.Equal(t, string(written), text, "run 'make generate'")
	for _, name := range strings.Fields("list templates create open suspend resume extend delete wait why password events version completion") {
		assert.Contains(t, text, "\n## kubectl vdi "+name+"\n")
	}
}
