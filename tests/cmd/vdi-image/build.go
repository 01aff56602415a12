package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/vdi-platform/vdi-platform/tests/image"
	"github.com/vdi-platform/vdi-platform/tests/progress"
)

// build is one archive: where it goes, and what it is made of.
type build struct {
	tag    string
	out    string
	inputs []string
}

// input adds a value that the archive depends on.
func (b *build) input(value any) {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err) // only plain structs come here
	}
	b.inputs = append(b.inputs, string(data))
}

func (b *build) inputFiles(files ...string) error {
	for _, file := range files {
		sum, err := fileSum(file)
		if err != nil {
			return err
		}
		b.input([]string{filepath.Base(file), sum})
	}
	return nil
}

// unlessCurrent makes the archive when there is none, or one of other inputs.
func (b *build) unlessCurrent(produce func() error) error {
	return once(b.out, append([]string{b.tag, toolVersion()}, b.inputs...), produce)
}

func (b *build) write(img v1.Image) error {
	err := timed("write "+b.out, func() error { return image.WriteFile(b.out, b.tag, img) })
	if err != nil {
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return fmt.Errorf("digest image: %w", err)
	}
	fmt.Printf("%s %s\n", b.tag, digest)
	return nil
}

// once makes a file or folder and notes beside it what it was made of, so the
// next call with the same inputs has nothing to do.
func once(out string, inputs []string, produce func() error) error {
	sum := sha256.Sum256([]byte(strings.Join(inputs, "\x00")))
	want, stamp := hex.EncodeToString(sum[:]), out+".stamp"
	if isCurrent(out, stamp, want) {
		fmt.Printf("%s is current\n", out)
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return fmt.Errorf("create output folder: %w", err)
	}
	// A failure must not leave a stamp beside something half made.
	if err := os.RemoveAll(stamp); err != nil {
		return fmt.Errorf("remove stamp: %w", err)
	}
	if err := produce(); err != nil {
		return err
	}
	if err := os.WriteFile(stamp, []byte(want), 0o644); err != nil {
		return fmt.Errorf("write stamp: %w", err)
	}
	return nil
}

func isCurrent(out, stamp, want string) bool {
	if _, err := os.Stat(out); err != nil {
		return false
	}
	got, err := os.ReadFile(stamp)
	return err == nil && string(got) == want
}

// toolVersion makes a changed builder build again.
func toolVersion() string {
	program, err := os.Executable()
	if err != nil {
		return ""
	}
	sum, err := fileSum(program)
	if err != nil {
		return ""
	}
	return sum
}

func fileSum(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("read input: %w", err)
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", fmt.Errorf("read input: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// timed reports on a step of seconds.
func timed(step string, do func() error) error {
	return progress.Step(os.Stdout, step, 0, func(func(string)) error { return do() })
}

// orDefault is the archive's place in the repository, wherever inside it the
// command runs.
func orDefault(out, name string) string {
	if out != "" {
		return out
	}
	return filepath.Join(repository(), "bin", "images", name+".tar")
}

func repository() string {
	dir, err := os.Getwd()
	if err != nil {
		return "."
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "tests", "go.mod")); err == nil {
			return dir
		}
	}
	return "."
}
