package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vdi-platform/vdi-platform/tests/debian"
)

// Rootfs is a Debian root filesystem without documentation, translations or
// package lists.
type Rootfs struct {
	Suite    string
	Packages []string
	StandIn  string // control file of a package that only provides names; see Bootstrap. Empty: none
	User     string // uid and gid 1000, home in /home. Empty: none
	LowPorts string // program that may bind ports below 1024 whoever runs it. Empty: none
}

const aptSources = "/etc/apt"

// Bootstrap writes the root filesystem as a tar. It takes packages from where
// this machine takes Debian's own, when that is the same Debian, and installs
// mmdebstrap when it may.
//
// The stand-in is installed before the packages, so what it claims to provide
// is never fetched. note is given what mmdebstrap is about.
func Bootstrap(ctx context.Context, rootfs Rootfs, file string, note func(string)) error {
	if err := requireMmdebstrap(ctx); err != nil {
		return err
	}
	sources, others, err := SourcesOf(os.DirFS(aptSources), rootfs.Suite)
	if err != nil {
		return err
	}
	leftOut := ""
	if len(others) > 0 {
		leftOut = fmt.Sprintf("packages do not come from %s: not all entries there are Debian's own, at debian.org or signed-by Debian's keyring", strings.Join(others, ", "))
		if note != nil {
			note(leftOut)
		}
	}
	control, remove, err := temporary(rootfs.StandIn)
	if err != nil {
		return err
	}
	defer remove()
	unfinished := file + ".part"
	defer os.Remove(unfinished)
	args := append(rootfs.args(control), rootfs.Suite, unfinished)
	for _, source := range sources {
		args = append(args, filepath.Join(aptSources, source))
	}
	// One time for all that has none of its own keeps two builds alike.
	if err := execute(ctx, []string{"SOURCE_DATE_EPOCH=1"}, note, "mmdebstrap", args...); err != nil {
		return fmt.Errorf("%w%s", err, leftOut)
	}
	return os.Rename(unfinished, file)
}

// Recipe changes whenever the same packages would give another filesystem.
func (r Rootfs) Recipe() []string {
	return append(r.args(r.StandIn), r.Suite)
}

func (r Rootfs) args(control string) []string {
	args := []string{"--format=tar", "--variant=essential", "--include=" + strings.Join(r.Packages, ",")}
	for _, unread := range []string{"doc", "info", "locale", "man"} {
		args = append(args, "--dpkgopt=path-exclude=/usr/share/"+unread+"/*")
	}
	if r.StandIn != "" {
		args = append(args, "--essential-hook="+installStandIn(control))
	}
	if r.User != "" {
		args = append(args, "--customize-hook="+addUser(r.User))
	}
	if r.LowPorts != "" {
		args = append(args, `--customize-hook=chroot "$1" setcap cap_net_bind_service=+ep `+r.LowPorts)
	}
	return append(args, `--customize-hook=find "$1" -xdev -perm /6000 -type f -exec chmod a-s {} +`)
}

func installStandIn(control string) string {
	return strings.Join([]string{
		`mkdir -p "$1/tmp/p/DEBIAN"`,
		`cp ` + control + ` "$1/tmp/p/DEBIAN/control"`,
		`chmod 755 "$1/tmp/p/DEBIAN"`,
		`chroot "$1" dpkg-deb --root-owner-group -b /tmp/p /tmp/p.deb`,
		`chroot "$1" dpkg -i /tmp/p.deb`,
		`rm -r "$1/tmp/p" "$1/tmp/p.deb"`,
	}, " && ")
}

func addUser(name string) string {
	return fmt.Sprintf(`echo %[1]s:x:1000:1000::/home/%[1]s:/bin/bash >>"$1/etc/passwd" && `+
		`echo %[1]s:x:1000: >>"$1/etc/group" && `+
		`cp -r "$1/etc/skel" "$1/home/%[1]s" && chown -R 1000:1000 "$1/home/%[1]s"`, name)
}

func requireMmdebstrap(ctx context.Context) error {
	if _, err := exec.LookPath("mmdebstrap"); err == nil {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return errors.New("mmdebstrap is missing: run `apt-get install mmdebstrap` as root")
	}
	return debian.Install(ctx, "mmdebstrap")
}

// PipInstall unpacks the pinned requirements for the image's Python, whatever
// Python this machine has; pip's own configuration says where from.
func PipInstall(ctx context.Context, requirements, version, dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("clear %s: %w", dir, err)
	}
	file, remove, err := temporary(requirements)
	if err != nil {
		return err
	}
	defer remove()
	args := []string{
		"-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--only-binary=:all:",
		"--implementation=cp", "--python-version=" + version, "--target=" + dir, "--requirement=" + file,
	}
	if err := execute(ctx, nil, nil, "python3", append(args, platforms()...)...); err != nil {
		return err
	}
	// Scripts name this machine's Python.
	if err := os.RemoveAll(filepath.Join(dir, "bin")); err != nil {
		return fmt.Errorf("remove scripts: %w", err)
	}
	return compile(ctx, version, dir)
}

// platforms names every wheel tag that glibc 2.36 satisfies; pip derives none
// of them once one is given.
func platforms() []string {
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	var args []string
	for _, tag := range []string{
		"manylinux_2_36", "manylinux_2_35", "manylinux_2_34", "manylinux_2_31", "manylinux_2_28", "manylinux_2_27",
		"manylinux_2_26", "manylinux_2_24", "manylinux_2_17", "manylinux2014", "manylinux2010", "manylinux1", "linux",
	} {
		args = append(args, "--platform="+tag+"_"+machine)
	}
	return args
}

// compile saves each start two seconds. Layers have no times, so the result
// must be valid without them. Another Python's files would be of no use.
func compile(ctx context.Context, version, dir string) error {
	python := "python" + version
	if exec.CommandContext(ctx, python, "--version").Run() != nil {
		return nil
	}
	return execute(ctx, nil, nil, python, "-m", "compileall", "-q", "--invalidation-mode=unchecked-hash", dir)
}

// execute runs a command with this process's environment and more, and shows
// what it said only when it fails. note, if any, is given its lines "I: …".
func execute(ctx context.Context, env []string, note func(string), name string, args ...string) error {
	command := exec.CommandContext(ctx, name, args...)
	command.Env = append(os.Environ(), env...)
	said := &listener{note: note}
	command.Stdout, command.Stderr = said, said
	if err := command.Run(); err != nil {
		return fmt.Errorf("run %s: %w\n%s", name, err, said.all.Bytes())
	}
	return nil
}

// listener keeps what a command says, and hands on what it is about.
type listener struct {
	all  bytes.Buffer
	note func(string)
}

func (l *listener) Write(said []byte) (int, error) {
	for line := range strings.Lines(string(said)) {
		if about, found := strings.CutPrefix(line, "I: "); found && l.note != nil {
			l.note(strings.TrimSpace(about))
		}
	}
	return l.all.Write(said)
}

func temporary(content string) (file string, remove func(), err error) {
	f, err := os.CreateTemp("", "vdi-image-*")
	if err != nil {
		return "", nil, fmt.Errorf("write temporary file: %w", err)
	}
	_, err = f.WriteString(content)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", nil, fmt.Errorf("write temporary file: %w", err)
	}
	return f.Name(), func() { os.Remove(f.Name()) }, nil
}
