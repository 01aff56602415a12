package image

import (
	"bytes"
	"debug/elf"
	"encoding/pem"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// nonroot is the user that distroless images made customary.
const nonroot = 65532

const (
	passwd = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
	group  = "root:x:0:\nnonroot:x:65532:\n"
)

// certificatesFile is the first place where Go looks for authorities.
const certificatesFile = "/etc/ssl/certs/ca-certificates.crt"

// certificates are Mozilla's authorities, by a pinned module: those of this machine would
// make another image on another one. Left out are those that count for some certificates
// only, which a file of this kind cannot say.
func certificates() []byte {
	var text bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // a buffer takes all
		}
	}
	return text.Bytes()
}

// Binaries is an image of static programs in /usr/local/bin and nothing else:
// no shell, not root, and no need to write to its root filesystem. The
// entry point is the first program unless the configuration names another.
func Binaries(config Config, programs ...string) (v1.Image, error) {
	if len(programs) == 0 {
		return nil, fmt.Errorf("pack binaries: none given")
	}
	files := baseFiles()
	for _, program := range programs {
		architecture, err := architectureOf(program)
		if err != nil {
			return nil, err
		}
		if config.Architecture != "" && config.Architecture != architecture {
			return nil, fmt.Errorf("pack binaries: %s is for %s, others are for %s", program, architecture, config.Architecture)
		}
		config.Architecture = architecture
		files = append(files, File{Path: inBin(program), Mode: 0o755, Source: program})
	}
	if len(config.Entrypoint) == 0 {
		config.Entrypoint = []string{inBin(programs[0])}
	}
	layer, err := FilesLayer(files...)
	if err != nil {
		return nil, err
	}
	return New(forNonroot(config), layer)
}

func inBin(program string) string {
	return path.Join("/usr/local/bin", filepath.Base(program))
}

func forNonroot(config Config) Config {
	config.User = fmt.Sprintf("%d:%d", nonroot, nonroot)
	config.WorkingDir = "/home/nonroot"
	env := map[string]string{"PATH": "/usr/local/bin", "HOME": "/home/nonroot"}
	for name, value := range config.Env {
		env[name] = value
	}
	config.Env = env
	return config
}

func baseFiles() []File {
	return []File{
		{Path: certificatesFile, Mode: 0o644, Data: certificates()},
		{Path: "/etc/passwd", Mode: 0o644, Data: []byte(passwd)},
		{Path: "/etc/group", Mode: 0o644, Data: []byte(group)},
		{Path: "/tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
		{Path: "/home/nonroot", Mode: fs.ModeDir | 0o700, UID: nonroot, GID: nonroot},
	}
}

// machines are architectures as ELF and Go call them.
var machines = map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64"}

// architectureOf is what a program runs on. It fails where the program is not static: at
// build time, for what would otherwise be a container that ends with "no such file or
// directory" and names the wrong file.
func architectureOf(program string) (string, error) {
	file, err := elf.Open(program)
	if err != nil {
		return "", fmt.Errorf("read program %s: %w", program, err)
	}
	defer file.Close()
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP {
			return "", fmt.Errorf("program %s needs shared libraries: build it with CGO_ENABLED=0", program)
		}
	}
	architecture, known := machines[file.Machine]
	if !known {
		return "", fmt.Errorf("program %s is for %s, which no image is made for", program, file.Machine)
	}
	return architecture, nil
}
