package contract

import (
	"archive/tar"
	"bytes"
	"io"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/require"
)

// TestAccounts: the users of an image are those of its highest /etc/passwd. A whiteout hides
// the file of lower layers, and never the one of its own layer.
func TestAccounts(t *testing.T) {
	file := func(name, content string) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)), Linkname: content}
	}
	link := func(name, target string) tar.Header {
		return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}
	}
	for name, c := range map[string]struct {
		layers [][]tar.Header // the lowest first
		want   string
	}{
		"none":                     {[][]tar.Header{{file("etc/group", "group")}}, ""},
		"lower":                    {[][]tar.Header{{file("etc/passwd", "low")}, {file("etc/group", "group")}}, "low"},
		"higher":                   {[][]tar.Header{{file("etc/passwd", "low")}, {file("./etc/passwd", "high")}}, "high"},
		"removed":                  {[][]tar.Header{{file("etc/passwd", "low")}, {file("etc/.wh.passwd", "")}}, ""},
		"folder removed":           {[][]tar.Header{{file("etc/passwd", "low")}, {file(".wh.etc", "")}}, ""},
		"folder made anew":         {[][]tar.Header{{file("etc/passwd", "low")}, {file("etc/.wh..wh..opq", ""), file("etc/group", "group")}}, ""},
		"file of a new folder":     {[][]tar.Header{{file("etc/passwd", "low")}, {file("etc/.wh..wh..opq", ""), file("etc/passwd", "high")}}, "high"},
		"file before the whiteout": {[][]tar.Header{{file("etc/passwd", "low")}, {file("etc/passwd", "high"), file("etc/.wh..wh..opq", "")}}, "high"},
		"another file removed":     {[][]tar.Header{{file("etc/passwd", "low")}, {file("etc/.wh.passwd-", "")}}, "low"},
		"hard link":                {[][]tar.Header{{file("etc/passwd", "low")}, {file("usr/passwd", "linked"), link("etc/passwd", "usr/passwd")}}, "linked"},
	} {
		t.Run(name, func(t *testing.T) {
			img := v1.Image(empty.Image)
			for _, headers := range c.layers {
				layer, err := tarball.LayerFromOpener(tarOf(t, headers))
				require.NoError(t, err)
				img, err = mutate.AppendLayers(img, layer)
				require.NoError(t, err)
			}
			got, err := accounts(img)
			require.NoError(t, err)
			require.Equal(t, c.want, string(got))
		})
	}
}

// tarOf packs files whose content stands in Linkname.
func tarOf(t *testing.T, headers []tar.Header) tarball.Opener {
	t.Helper()
	var packed bytes.Buffer
	files := tar.NewWriter(&packed)
	for _, header := range headers {
		content := ""
		if header.Typeflag == tar.TypeReg {
			content, header.Linkname = header.Linkname, ""
		}
		require.NoError(t, files.WriteHeader(&header))
		_, err := files.Write([]byte(content))
		require.NoError(t, err)
	}
	require.NoError(t, files.Close())
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed.Bytes())), nil }
}
