// Package local runs Debian's docker-registry, the real one, for as long as a test lasts.
// It starts no service of the machine and leaves no file.
package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"golang.org/x/crypto/bcrypt"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/tests/debian"
)

// Options of a registry. The zero value listens on 127.0.0.1 and lets everybody in.
type Options struct {
	Host     string // address to listen on
	User     string // the one who may use it. Empty: everybody
	Password string
}

// Registry is a running one. It speaks plain HTTP.
type Registry struct {
	Address string // host:port
	command *exec.Cmd
	folder  string
}

// Start starts a registry on a free port and returns when it listens. It ends with the
// context, or with the thread that started it. Its package is installed where it is missing.
func Start(ctx context.Context, options Options) (_ *Registry, err error) {
	if err := debian.Ensure(ctx, "docker-registry", "docker-registry"); err != nil {
		return nil, err
	}
	r := &Registry{}
	if r.folder, err = os.MkdirTemp("", "vdi-registry-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Stop())
		}
	}()
	file, err := r.configure(options)
	if err != nil {
		return nil, err
	}
	r.command = exec.CommandContext(ctx, "docker-registry", "serve", file)
	r.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := r.command.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := r.command.Start(); err != nil {
		return nil, fmt.Errorf("start docker-registry: %w", err)
	}
	r.Address, err = listening(log)
	return r, err
}

// configure writes the configuration file.
func (r *Registry) configure(options Options) (string, error) {
	host := options.Host
	if host == "" {
		host = "127.0.0.1"
	}
	config := map[string]any{
		"version": "0.1",
		"storage": map[string]any{"filesystem": map[string]any{"rootdirectory": filepath.Join(r.folder, "data")}},
		"http":    map[string]any{"addr": host + ":0"},
	}
	if options.User != "" {
		hash, err := bcrypt.GenerateFromPassword([]byte(options.Password), bcrypt.MinCost)
		if err != nil {
			return "", err
		}
		users := filepath.Join(r.folder, "htpasswd")
		if err := os.WriteFile(users, fmt.Appendf(nil, "%s:%s\n", options.User, hash), 0o600); err != nil {
			return "", err
		}
		config["auth"] = map[string]any{"htpasswd": map[string]any{"realm": "test", "path": users}}
	}
	text, err := yaml.Marshal(config)
	if err != nil {
		return "", err
	}
	file := filepath.Join(r.folder, "config.yml")
	return file, os.WriteFile(file, text, 0o600)
}

var listens = regexp.MustCompile(`listening on ([0-9.]+:[0-9]+)`)

// listening reads the log until it names the address, and lets go of the rest.
func listening(log io.Reader) (string, error) {
	var said strings.Builder
	for lines := bufio.NewScanner(log); lines.Scan(); {
		if found := listens.FindStringSubmatch(lines.Text()); found != nil {
			go func() { _, _ = io.Copy(io.Discard, log) }()
			return found[1], nil
		}
		said.WriteString(lines.Text() + "\n")
	}
	return "", fmt.Errorf("docker-registry ended:\n%s", said.String())
}

// Stop ends the registry and removes what it held.
func (r *Registry) Stop() error {
	if r.command != nil && r.command.Process != nil {
		_ = r.command.Process.Kill()
		_ = r.command.Wait() // that it was killed is no news
	}
	return os.RemoveAll(r.folder)
}
