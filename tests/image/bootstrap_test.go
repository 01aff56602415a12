package image_test

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/tests/image"
)

// debiansDomain is that of Debian's own hosts.
const debiansDomain = "debian.org"

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// TestSourcesAreDebiansOfTheSuite: of a machine's apt sources an image takes those of its suite
// that are Debian's own, by their keyring or by their host.
func TestSourcesAreDebiansOfTheSuite(t *testing.T) {
	const taken, other, unnamed = "taken", "of others", "does not name the suite"
	for name, c := range map[string]struct{ file, text, is string }{
		"Debian's host":            {"sources.list", "deb http://deb." + debiansDomain + "/debian bookworm main\ndeb http://security." + debiansDomain + " bookworm-security main\n", taken},
		"a mirror, signed":         {"sources.list", "deb [arch=amd64 signed-by=" + keyring + "] http://mirror.test/debian bookworm main\n", taken},
		"a mirror":                 {"sources.list", "deb http://mirror.test/debian bookworm main\n", other},
		"a host that looks like":   {"sources.list", "deb http://deb." + debiansDomain + ".test/debian bookworm main\n", other},
		"vendor's key":             {"sources.list.d/a.list", "deb [signed-by=/usr/share/keyrings/vendor.gpg] http://deb." + debiansDomain + "/debian bookworm main\n", other},
		"two keys":                 {"sources.list.d/a.list", "deb [signed-by=" + keyring + ",/etc/vendor.gpg] http://mirror.test/debian bookworm main\n", other},
		"key of nobody":            {"sources.list.d/a.list", "deb [trusted=yes] http://deb." + debiansDomain + "/debian bookworm main\n", other},
		"vendor in the same file":  {"sources.list", "deb http://deb." + debiansDomain + "/debian bookworm main\ndeb http://vendor.test/apt stable main\n", other},
		"vendor for the suite":     {"sources.list.d/vendor.list", "deb https://vendor.test/linux/debian bookworm stable\n", other},
		"suite in another's name":  {"sources.list.d/cloud.list", "deb http://vendor.test/apt cloud-bookworm main\n", unnamed},
		"suite as a component":     {"sources.list.d/cloud.list", "deb http://vendor.test/apt stable bookworm\n", unnamed},
		"switched off":             {"sources.list.d/off.list", "# deb http://deb." + debiansDomain + "/debian bookworm main\n", unnamed},
		"paragraphs":               {"sources.list.d/debian.sources", "Types: deb\n# http://vendor.test/\nURIs: http://mirror.test/debian\nSuites: bookworm bookworm-updates\nSigned-By: " + keyring + "\n\nTypes: deb\nURIs: http://security." + debiansDomain + "/\nSuites: bookworm-security\n", taken},
		"continued lines":          {"sources.list.d/debian.sources", "types: deb\nuris:\n http://mirror.test/debian\nsuites:\n bookworm\nsigned-by:\n " + keyring, taken},
		"paragraph of a vendor":    {"sources.list.d/vendor.sources", "Types: deb\nURIs: http://vendor.test/debian\nSuites: bookworm\nSigned-By: /etc/apt/keyrings/vendor.asc\n", other},
		"key in the file":          {"sources.list.d/vendor.sources", "Types: deb\nURIs: http://vendor.test/debian\nSuites: bookworm\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINB\n", other},
		"one of two hosts":         {"sources.list.d/a.sources", "Types: deb\nURIs: http://deb." + debiansDomain + "/debian http://vendor.test/debian\nSuites: bookworm\n", other},
		"unchecked paragraph":      {"sources.list.d/a.sources", "Types: deb\nURIs: http://deb." + debiansDomain + "/debian\nSuites: bookworm\nTrusted: yes\n", other},
		"paragraph switched off":   {"sources.list.d/a.sources", "Enabled: no\nTypes: deb\nURIs: http://vendor.test/debian\nSuites: bookworm\n", unnamed},
		"vendor's suite, own file": {"sources.list.d/vendor.sources", "Types: deb\nURIs: http://vendor.test/bookworm\nSuites: nodistro\n", unnamed},
	} {
		t.Run(name, func(t *testing.T) {
			files, others, err := image.SourcesOf(fstest.MapFS{c.file: {Data: []byte(c.text)}}, "bookworm")
			require.NoError(t, err)
			want := map[string][]string{c.is: {c.file}}
			require.Equal(t, want[taken], files)
			require.Equal(t, want[other], others)
		})
	}
}

func TestSourcesMayBeAbsent(t *testing.T) {
	files, others, err := image.SourcesOf(fstest.MapFS{}, "bookworm")

	require.NoError(t, err)
	require.Empty(t, files)
	require.Empty(t, others)
}
