package platform

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestRewriter(t *testing.T) {
	t.Parallel()
	rewrite := Images{Rewrite: map[string]string{"ghcr.io": "m/ghcr", "ghcr.io/a": "m/a", "docker.io": "m/hub"}}.Rewriter()
	for image, want := range map[string]string{
		"ghcr.io/a/b:1":        "m/a/b:1",
		"ghcr.io/a:1":          "m/a:1",
		"ghcr.io/ab:1":         "m/ghcr/ab:1",
		"ghcr.io.evil.com/a:1": "ghcr.io.evil.com/a:1",
		"busybox":              "m/hub/library/busybox",
		"busybox:1":            "m/hub/library/busybox:1",
		"user/app:1":           "m/hub/user/app:1",
		"docker.io/user/app":   "m/hub/user/app",
		"localhost/app":        "localhost/app",
		"host:5000/app":        "host:5000/app",
		"":                     "",
	} {
		assert.Equal(t, want, rewrite(image), image)
	}
}

func TestIsRewritten(t *testing.T) {
	t.Parallel()
	images := Images{Rewrite: map[string]string{"docker.io": "docker.io/mirror"}}
	for image, want := range map[string]bool{
		"docker.io/mirror/busybox":  true,
		"docker.io/mirror":          true,
		"docker.io/mirrors/busybox": false,
		"busybox":                   false,
	} {
		assert.Equal(t, want, images.IsRewritten(image), image)
	}
}
