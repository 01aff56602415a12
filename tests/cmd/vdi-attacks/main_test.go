package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestListIsDescribed: every attack has a row in the list that people read, and every
// row names the attack's tests, all of them and no others.
func TestListIsDescribed(t *testing.T) {
	rows := rowsOf(t, filepath.Join("..", "..", "attacks", "README.md"))
	tests := testsOf(t, filepath.Join("..", ".."))
	require.NotEmpty(t, rows)
	require.NotEmpty(t, tests)
	for _, id := range list {
		assert.Contains(t, rows, id, "the list has no row for %s", id)
		assert.Contains(t, tests, id, "no test makes %s", id)
	}
	for id, named := range rows {
		assert.Contains(t, list, id, "vdi-attacks does not demand %s", id)
		assert.ElementsMatch(t, tests[id], named, "tests that the row of %s names", id)
	}
	for id := range tests {
		assert.Contains(t, list, id, "vdi-attacks does not demand %s, which has tests", id)
	}
}

var testName = regexp.MustCompile(`\bTest(A\d\d)[A-Z]\w*`)

// rowsOf are the tests that each row names, by ID. No ID has two rows, and no cell is empty.
func rowsOf(t *testing.T, page string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	rows := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || !regexp.MustCompile(`^ A\d\d $`).MatchString(cells[1]) {
			continue
		}
		id := strings.TrimSpace(cells[1])
		require.NotContains(t, rows, id, "two rows")
		for _, cell := range cells[2:5] {
			require.NotEmpty(t, strings.TrimSpace(cell), "the row of %s has an empty cell", id)
		}
		rows[id] = testName.FindAllString(cells[4], -1)
	}
	return rows
}

// testsOf are the tests that make attacks, by ID.
func testsOf(t *testing.T, dir string) map[string][]string {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func (Test(A\d\d)[A-Z]\w*)\(`)
	tests := map[string][]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, found := range declared.FindAllStringSubmatch(string(text), -1) {
			if !slices.Contains(tests[found[2]], found[1]) {
				tests[found[2]] = append(tests[found[2]], found[1])
			}
		}
		return nil
	}))
	return tests
}
