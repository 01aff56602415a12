package contract_test

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/require"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/doctor"
	"github.com/vdi-platform/vdi-platform/tests/image"
	"github.com/vdi-platform/vdi-platform/tests/image/contract"
)

// TestStatic: each point that an archive shows is red for an image that breaks it, with a
// remedy, and only that one; what only a run shows is not judged.
func TestStatic(t *testing.T) {
	program := emptyProgram(t)
	asRoot := func(t *vdi.VDITemplate) {
		t.Spec.Security.Profile, t.Spec.Security.RunAsUser = vdi.ProfileBaseline, new(int64)
	}
	for name, c := range map[string]struct {
		change   func(*image.Config)
		template func(*vdi.VDITemplate)
		red      []string
		open     []string // not judged
		seen     string
	}{
		"good":               {},
		"other architecture": {change: func(c *image.Config) { c.Architecture = "s390x" }, red: []string{"architecture"}, seen: "the image is for linux/s390x"},
		"no program":         {change: func(c *image.Config) { c.Entrypoint = nil }, red: []string{"program"}, seen: "names no program"},
		"template's program": {change: func(c *image.Config) { c.Entrypoint = nil }, template: func(t *vdi.VDITemplate) { t.Spec.Command = []string{"/usr/bin/desk"} }},
		"root":               {change: func(c *image.Config) { c.User = "" }, open: []string{"user"}, seen: "starts as root, the pod runs it as user 1000: only a run"},
		"root, as wanted":    {change: func(c *image.Config) { c.User = "root" }, template: asRoot},
		"other user":         {change: func(c *image.Config) { c.User = "other" }, red: []string{"user"}, seen: "made for user 2000, the pod runs it as 1000"},
		"user by name":       {change: func(c *image.Config) { c.User = "ubuntu:ubuntu" }},
		"unknown user":       {change: func(c *image.Config) { c.User = "nobody-else" }, red: []string{"user"}, seen: "not in its /etc/passwd"},
		"home elsewhere":     {change: func(c *image.Config) { c.Env["HOME"] = "/config" }, red: []string{"home"}, seen: "programs write to /config"},
		"home of the user":   {change: func(c *image.Config) { delete(c.Env, "HOME") }},
		"home of nobody": {
			change:   func(c *image.Config) { delete(c.Env, "HOME"); c.User = "3000" },
			template: func(t *vdi.VDITemplate) { t.Spec.Security.RunAsUser = new(int64(3000)) },
			red:      []string{"home"}, seen: "programs take / for their home",
		},
		"WebRTC": {template: func(t *vdi.VDITemplate) { t.Spec.Streamer = vdi.StreamerSelkiesGStreamer }, open: []string{"variables"}, seen: "not known of streamer SelkiesGStreamer"},
		"custom": {
			change: func(c *image.Config) { c.Env["SELKIES_PUBLIC"] = "true" },
			template: func(t *vdi.VDITemplate) {
				t.Spec.Streamer, t.Spec.Port, t.Spec.HealthPath = vdi.StreamerCustom, 8080, "/"
			},
			open: []string{"variables"}, seen: "not known of streamer Custom",
		},
		"way past the agent": {change: func(c *image.Config) { c.Env["SELKIES_PUBLIC"] = "true" }, red: []string{"variables"}, seen: "the image sets SELKIES_PUBLIC"},
	} {
		t.Run(name, func(t *testing.T) {
			img, err := contract.Desk{Change: c.change}.Image(program)
			require.NoError(t, err)
			lines := staticOf(t, img, c.template)
			require.Equal(t, c.red, doctor.Red(lines))
			require.Equal(t, c.open, notJudged(lines))
			for _, l := range lines {
				if l.State != doctor.Passed {
					require.Contains(t, l.Seen, c.seen)
					require.NotEmpty(t, l.Remedy)
				}
			}
		})
	}
}

// TestPortIsNoProof: EXPOSE does nothing, so another one is not judged, and never passed.
func TestPortIsNoProof(t *testing.T) {
	for _, ports := range [][]string{nil, {"3000/tcp"}} {
		img, err := contract.Desk{Change: func(c *image.Config) { c.Ports = ports }}.Image(emptyProgram(t))
		require.NoError(t, err)
		lines := staticOf(t, img, nil)
		require.Equal(t, []string{"port"}, notJudged(lines))
		require.Empty(t, doctor.Red(lines))
	}
}

func notJudged(lines []doctor.Line) (names []string) {
	for _, l := range lines {
		if l.State == doctor.NotJudged {
			names = append(names, l.Check)
		}
	}
	return names
}

func staticOf(t *testing.T, img v1.Image, change func(*vdi.VDITemplate)) []doctor.Line {
	t.Helper()
	template, err := contract.ReadTemplate("")
	require.NoError(t, err)
	if change != nil {
		change(template)
	}
	plan, err := contract.NewPlan(template, "desk", "agent")
	require.NoError(t, err)
	lines, err := contract.Static(img, plan)
	require.NoError(t, err)
	return lines
}

func emptyProgram(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "desk")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	return file
}

// TestRead: archives of others are read, too: those of "docker save", and those with several
// architectures.
func TestRead(t *testing.T) {
	good, err := contract.Desk{}.Image(emptyProgram(t))
	require.NoError(t, err)
	other, err := contract.Desk{Change: func(c *image.Config) { c.Architecture = "s390x" }}.Image(emptyProgram(t))
	require.NoError(t, err)
	both, err := image.Join(other, good)
	require.NoError(t, err)
	tag, err := name.NewTag("example.test/desk:1")
	require.NoError(t, err)
	docker, oci, two, foreign := file(t), file(t), file(t), file(t)
	require.NoError(t, tarball.WriteToFile(docker, tag, good))
	require.NoError(t, image.WriteFile(oci, tag.Name(), good))
	require.NoError(t, image.WriteFile(two, tag.Name(), both))
	require.NoError(t, image.WriteFile(foreign, tag.Name(), other))
	for archive, want := range map[string]v1.Image{docker: good, oci: good, two: good, foreign: other} {
		img, err := contract.Read(archive, t.TempDir(), contract.Machine())
		require.NoError(t, err)
		require.Equal(t, configOf(t, want), configOf(t, img))
	}
}

// TestReadOnePlatformOfSeveral: archives of "docker save" name all platforms of an image and
// hold one. What is only named does not count, and is no error beside one that is there.
func TestReadOnePlatformOfSeveral(t *testing.T) {
	good, err := contract.Desk{}.Image(emptyProgram(t))
	require.NoError(t, err)
	other, err := contract.Desk{Change: func(c *image.Config) { c.Architecture = "s390x" }}.Image(emptyProgram(t))
	require.NoError(t, err)
	both, err := image.Join(other, good)
	require.NoError(t, err)
	full := file(t)
	require.NoError(t, image.WriteFile(full, "example.test/desk:1", both))
	manifest, err := other.Digest()
	require.NoError(t, err)
	for what, absent := range map[string]v1.Hash{"manifest": manifest, "configuration": configOf(t, other)} {
		img, err := contract.Read(without(t, full, absent), t.TempDir(), contract.Machine())
		require.NoError(t, err, what)
		require.Equal(t, configOf(t, good), configOf(t, img), what)
	}
	img, err := contract.Read(without(t, full, configOf(t, good)), t.TempDir(), contract.Machine())
	require.NoError(t, err)
	require.Equal(t, configOf(t, other), configOf(t, img), "its architecture is judged")

	layers, err := good.Layers()
	require.NoError(t, err)
	layer, err := layers[0].Digest()
	require.NoError(t, err)
	_, err = contract.Read(without(t, full, layer), t.TempDir(), contract.Machine())
	require.ErrorContains(t, err, "names 2 images and holds none of them whole; give an archive of one image")
}

// without copies an archive but for one blob.
func without(t *testing.T, archive string, blob v1.Hash) (copied string) {
	t.Helper()
	in, err := os.Open(archive)
	require.NoError(t, err)
	defer in.Close()
	copied = file(t)
	out, err := os.Create(copied)
	require.NoError(t, err)
	defer out.Close()
	to, left := tar.NewWriter(out), 0
	for from := tar.NewReader(in); ; {
		header, err := from.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if path.Base(header.Name) == blob.Hex {
			left++
			continue
		}
		require.NoError(t, to.WriteHeader(header))
		_, err = io.Copy(to, from)
		require.NoError(t, err)
	}
	require.NoError(t, to.Close())
	require.Equal(t, 1, left, "the archive has no blob %s", blob)
	return copied
}

func configOf(t *testing.T, img v1.Image) v1.Hash {
	t.Helper()
	digest, err := img.ConfigName()
	require.NoError(t, err)
	return digest
}

func file(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "image.tar")
}

// TestReadNoArchive: what is none gets a sentence that says how to get one, and nothing is
// written outside of the folder.
func TestReadNoArchive(t *testing.T) {
	text, empty, escape := file(t), file(t), file(t)
	require.NoError(t, os.WriteFile(text, []byte("no archive"), 0o600))
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	out, err := os.Create(escape)
	require.NoError(t, err)
	files := tar.NewWriter(out)
	require.NoError(t, files.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "blobs/../../escaped", Size: 1, Mode: 0o600}))
	_, err = files.Write([]byte("x"))
	require.NoError(t, err)
	require.NoError(t, files.Close())
	require.NoError(t, out.Close())
	for _, archive := range []string{text, empty, escape, filepath.Join(t.TempDir(), "missing.tar")} {
		folder := t.TempDir()
		_, err := contract.Read(archive, folder, contract.Machine())
		require.ErrorContains(t, err, "skopeo copy docker://IMAGE oci-archive:image.tar", archive)
		require.NoFileExists(t, filepath.Join(folder, "..", "escaped"))
	}
}

// TestReadTemplate: another kind is refused.
func TestReadTemplate(t *testing.T) {
	session := filepath.Join(t.TempDir(), "session.yaml")
	require.NoError(t, os.WriteFile(session, []byte("kind: VDISession\nspec: {}\n"), 0o600))
	_, err := contract.ReadTemplate(session)
	require.ErrorContains(t, err, `is no VDITemplate (kind is "VDISession")`)
}
