package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var repository = filepath.Join("..", "..", "..")

// TestPackageMap: every package has exactly one row in the map that people read.
func TestPackageMap(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(repository, "operator", "README.md"))
	require.NoError(t, err)
	rows, err := packages(repository)
	require.NoError(t, err)
	require.Greater(t, len(rows), 20)
	for _, row := range rows {
		assert.Equal(t, 1, strings.Count(string(page), "\n| "+row[0]+" |"), "rows of %s in operator/README.md: run `make generate`", row[0])
	}
	_, table, _ := strings.Cut(string(page), packagesBegin)
	table, _, _ = strings.Cut(table, packagesEnd)
	assert.Equal(t, len(rows), strings.Count(table, "\n| ["), "operator/README.md has rows of packages that are gone: run `make generate`")
}

// TestConditionsPage: every condition and reason has a row with what it means.
func TestConditionsPage(t *testing.T) {
	page, err := conditionsPage(repository)
	require.NoError(t, err)
	for _, row := range []string{
		"| `Pending` | Accepted; something outside is awaited (see status.waitingFor). |",
		"| `Stalled` | Somebody has to change something before it goes on. |",
		"| `InvalidUser` | spec.user is not in Unicode NFC or not printable. |",
	} {
		assert.Contains(t, page, row+"\n")
	}
}

// TestFieldsPage: type, default, bounds and description of a field come from its schema.
func TestFieldsPage(t *testing.T) {
	page, err := fieldsPage(repository)
	require.NoError(t, err)
	for _, row := range []string{
		"| `spec.persistence.reclaimPolicy` | string | `Retain` | `Retain`, `Delete` | ReclaimPolicy says",
		"| `spec.resources.gpu` | integer |  | ≥ 0; ≤ 64 | GPU is the number of GPU slices.",
		"| `spec.env[].name` | string |  | required; ",
		"| `status.conditions` | list of object |  | ≤ 8 items | ",
	} {
		assert.Contains(t, page, row)
	}
	assert.NotContains(t, page, "status.conditions[]", "Kubernetes' own")
}

// TestEveryWaitIsExplained: the API's page says of each word of status.waitingFor what to
// look at.
func TestEveryWaitIsExplained(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(repository, "operator", "api", "README.md"))
	require.NoError(t, err)
	all, err := constants(filepath.Join(repository, "operator", "api", "v1alpha1", "vdisession_types.go"))
	require.NoError(t, err)
	waits := withPrefix(all, "WaitingFor")
	require.NotEmpty(t, waits)
	for _, wait := range waits {
		assert.Contains(t, string(page), "\n| `"+wait.value+"` | ", "operator/api/README.md has no row for this wait")
	}
}

func TestTable(t *testing.T) {
	assert.Equal(t, "| a | b |\n|---|---|\n| x \\| y | two lines |\n", table([]string{"a", "b"}, [][]string{{"x | y", "two\n  lines"}}))
	assert.Equal(t, "spec.user is", sentence("spec.user is"))
	assert.Equal(t, "Disabled.", sentence("disabled."))
}

// TestMarkers: a page without the lines around the map is not overwritten.
func TestMarkers(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(root, "operator"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "operator", "README.md"), []byte("# Operator\n"), 0o600))
	_, err := withPackages(root)
	require.ErrorContains(t, err, "the lines around the map of packages are missing")
}
