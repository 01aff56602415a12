package image

import (
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// aptEntry is one source of an apt configuration (man 5 sources.list).
type aptEntry struct {
	uris, suites, signedBy []string
	// unchecked: apt takes its packages whoever signed them.
	unchecked bool
}

// SourcesOf lists the files of an apt configuration whose entries are all
// Debian's own and name the suite. No file means that mmdebstrap chooses. others
// are files that name the suite and have entries of somebody else, whose
// packages have nothing to do with the image.
func SourcesOf(etc fs.FS, suite string) (files, others []string, err error) {
	for _, pattern := range []string{"sources.list", "sources.list.d/*.list", "sources.list.d/*.sources"} {
		matches, err := fs.Glob(etc, pattern)
		if err != nil {
			return nil, nil, fmt.Errorf("find apt sources: %w", err)
		}
		for _, match := range matches {
			data, err := fs.ReadFile(etc, match)
			if err != nil {
				return nil, nil, fmt.Errorf("read apt sources: %w", err)
			}
			entries := oneLineEntries(string(data))
			if path.Ext(match) == ".sources" {
				entries = deb822Entries(string(data))
			}
			switch {
			case !slices.ContainsFunc(entries, func(e aptEntry) bool { return slices.Contains(e.suites, suite) }):
			case slices.ContainsFunc(entries, func(e aptEntry) bool { return !e.isDebians() }):
				others = append(others, match)
			default:
				files = append(files, match)
			}
		}
	}
	return files, others, nil
}

// debiansDomain is the domain of Debian's own hosts.
const debiansDomain = "debian.org"

// debiansKeyring is one of the package debian-archive-keyring.
var debiansKeyring = regexp.MustCompile(`^/usr/share/keyrings/debian-archive-(keyring|[a-z]+-(automatic|security-automatic|stable))\.(gpg|pgp|asc)$`)

// isDebians reports whether only Debian can have made the packages, wherever
// they are mirrored: its keyring signed them. An entry without a keyring is
// believed by its host.
func (e aptEntry) isDebians() bool {
	if e.unchecked {
		return false
	}
	if len(e.signedBy) > 0 {
		return !slices.ContainsFunc(e.signedBy, func(by string) bool { return !debiansKeyring.MatchString(by) })
	}
	return len(e.uris) > 0 && !slices.ContainsFunc(e.uris, func(uri string) bool {
		at, err := url.Parse(uri)
		return err != nil || at.Hostname() != debiansDomain && !strings.HasSuffix(at.Hostname(), "."+debiansDomain)
	})
}

// set takes an option, which both formats name alike but for upper case.
func (e *aptEntry) set(option string, values []string) {
	switch strings.ToLower(option) {
	case "uris":
		e.uris = values
	case "suites":
		e.suites = values
	case "signed-by":
		e.signedBy = values
	case "trusted", "allow-insecure":
		e.unchecked = !slices.Equal(values, []string{"no"})
	}
}

var oneLine = regexp.MustCompile(`^deb(-src)?[ \t]+(\[([^]]*)\][ \t]*)?([^ \t]+)[ \t]+([^ \t]+)`)

func oneLineEntries(text string) (entries []aptEntry) {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		parts := oneLine.FindStringSubmatch(strings.TrimSpace(line))
		if parts == nil {
			continue
		}
		e := aptEntry{uris: parts[4:5], suites: parts[5:6]}
		for _, option := range strings.Fields(parts[3]) {
			name, value, _ := strings.Cut(option, "=")
			e.set(name, strings.Split(value, ","))
		}
		entries = append(entries, e)
	}
	return entries
}

// deb822Entries reads fields in paragraphs. A line that begins with a space
// belongs to the field before it.
func deb822Entries(text string) (entries []aptEntry) {
	fields := map[string][]string{}
	last := ""
	for line := range strings.Lines(text + "\n\n") {
		name, value, isField := strings.Cut(line, ":")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			if len(fields) > 0 && !slices.Equal(fields["enabled"], []string{"no"}) {
				e := aptEntry{}
				for field, values := range fields {
					e.set(field, values)
				}
				entries = append(entries, e)
			}
			fields, last = map[string][]string{}, ""
		case strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t"):
			fields[last] = append(fields[last], strings.Fields(line)...)
		case isField:
			last = strings.ToLower(name)
			fields[last] = strings.Fields(value)
		}
	}
	return entries
}
