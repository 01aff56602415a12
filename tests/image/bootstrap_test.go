package image_test

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/tests/image"
)

func TestSourcesAreThoseOfTheSuite(t *testing.T) {
	etc := fstest.MapFS{
		"sources.list":                  {Data: []byte("deb http://mirror.test/debian bookworm main\n")},
		"sources.list.d/debian.sources": {Data: []byte("Types: deb\nURIs: http://mirror.test/debian\nSuites: bookworm bookworm-updates\n")},
		"sources.list.d/vendor.sources": {Data: []byte("Types: deb\nURIs: http://vendor.test/bookworm\nSuites: nodistro\n")},
		"sources.list.d/cloud.list":     {Data: []byte("deb http://vendor.test/apt cloud-bookworm main\n")},
		"sources.list.d/off.list":       {Data: []byte("# deb http://mirror.test/debian bookworm main\n")},
	}

	files, err := image.SourcesOf(etc, "bookworm")

	require.NoError(t, err)
	require.Equal(t, []string{"sources.list", "sources.list.d/debian.sources"}, files)
}

func TestSourcesMayBeAbsent(t *testing.T) {
	files, err := image.SourcesOf(fstest.MapFS{}, "bookworm")

	require.NoError(t, err)
	require.Empty(t, files)
}
