package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	require.ErrorContains(t, run(t.Context(), nil), "create or config")
	require.ErrorContains(t, run(t.Context(), []string{"create"}), "--name")
}
