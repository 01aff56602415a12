package tests

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// maxFrontPage is what somebody reads who sees the project for the first time.
const maxFrontPage = 6 << 10

// documents are the text of all Markdown files of the repository, by path; what is built
// or fetched is not ours.
func documents(t *testing.T) map[string]string {
	t.Helper()
	pages := map[string]string{}
	err := filepath.WalkDir("..", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && slices.Contains([]string{".git", ".cluster", "bin", "dist"}, entry.Name()) {
			return filepath.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(file, ".md") && !strings.HasSuffix(file, ".md.gotmpl") {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name, err := filepath.Rel("..", file)
		pages[filepath.ToSlash(name)] = string(text)
		return err
	})
	require.NoError(t, err)
	require.Greater(t, len(pages), 10)
	return pages
}

// The front page is finished in two minutes.
func TestFrontPageIsShort(t *testing.T) {
	assert.LessOrEqual(t, len(documents(t)["README.md"]), maxFrontPage, "README.md: move details beside what they describe")
}

var link = regexp.MustCompile(`\]\(([^()\s]+)\)`)

// Every link inside the repository leads to a file, and to a heading where it names one.
func TestLinksResolve(t *testing.T) {
	pages := documents(t)
	found := 0
	for name, text := range pages {
		for _, match := range link.FindAllStringSubmatch(withoutCode(text), -1) {
			target, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			found++
			file := name
			if target != "" {
				file = path.Join(path.Dir(name), target)
			}
			_, err := os.Stat(filepath.Join("..", file))
			assert.NoError(t, err, "%s links to %s", name, match[1])
			if anchor == "" {
				continue
			}
			assert.Contains(t, anchors(pages[file]), anchor, "%s links to %s: no such heading", name, match[1])
		}
	}
	require.Greater(t, found, 50)
}

// withoutCode leaves out code, where brackets are no links.
func withoutCode(text string) string {
	var kept []string
	inside := false
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			inside = !inside
			continue
		}
		if !inside {
			kept = append(kept, line)
		}
	}
	return regexp.MustCompile("`[^`\n]*`").ReplaceAllString(strings.Join(kept, "\n"), "``")
}

// anchors are the names by which a page's headings are linked to.
func anchors(text string) (names []string) {
	inside := false
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "```") {
			inside = !inside
		}
		title := strings.TrimLeft(line, "#")
		if inside || title == line || !strings.HasPrefix(title, " ") {
			continue
		}
		names = append(names, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(title)))
	}
	return names
}

// Every make command that a document names is a target.
func TestMakeTargetsExist(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	require.NoError(t, err)
	targets := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^([a-z0-9-]+):`).FindAllStringSubmatch(string(makefile), -1) {
		targets[match[1]] = true
	}
	require.True(t, targets["help"] && targets["demo"])
	// In a code span or at the beginning of a line of commands; behind variables, perhaps.
	named := regexp.MustCompile("(?m)(?:`|^)(?:[A-Z_]+=\\S+ )*make((?: +(?:[a-z][a-z0-9-]*|[A-Z_]+=[^\\s`]+))+)")
	found := 0
	for name, text := range documents(t) {
		for _, match := range named.FindAllStringSubmatch(text, -1) {
			for word := range strings.FieldsSeq(match[1]) {
				if !strings.Contains(word, "=") {
					found++
					assert.True(t, targets[word], "%s names `make %s`: no such target", name, word)
				}
			}
		}
	}
	require.Greater(t, found, 30)
}

// Paths of the repository that documents name in code are there; NAME stands for some name.
func TestNamedPathsExist(t *testing.T) {
	named := regexp.MustCompile("`((?:charts|operator|platform|renderer|tests|values)/[A-Za-z0-9_./-]+)`")
	for name, text := range documents(t) {
		for _, match := range named.FindAllStringSubmatch(text, -1) {
			if strings.Contains(match[1], "NAME") {
				continue
			}
			_, err := os.Stat(filepath.Join("..", match[1]))
			assert.NoError(t, err, "%s names %s", name, match[1])
		}
	}
}
