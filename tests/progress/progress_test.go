package progress

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestStep: whoever waits reads what is done, for how long, how far it is, and its end.
func TestStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // its clock is the test's: nobody waits
		var out strings.Builder
		require.NoError(t, step(&out, "build kube", 7*time.Minute, 20*time.Second, func(note func(string)) error {
			note("3 packages compiled")
			time.Sleep(30 * time.Second)
			return nil
		}))
		require.Equal(t, []string{
			"── build kube … usually 7m",
			"   build kube, 20s so far, usually 7m: 3 packages compiled",
			"── build kube: done in 30.0s", "",
		}, strings.Split(out.String(), "\n"))
	})
}

// TestStepFails: the error names the step, and nothing says that it is done.
func TestStepFails(t *testing.T) {
	var out strings.Builder
	err := Step(&out, "build kube", 0, func(func(string)) error { return errors.New("no disk") })
	require.EqualError(t, err, "build kube: no disk")
	require.Equal(t, "── build kube …\n", out.String())
}

func TestShort(t *testing.T) {
	require.Equal(t, []string{"5s", "1m30s", "7m"}, []string{short(5 * time.Second), short(90 * time.Second), short(7 * time.Minute)})
}

// TestGoBuild: packages are counted, and a mistake in one is shown.
func TestGoBuild(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("go.mod", "module example.test/a\n\ngo 1.26\n")
	write("main.go", "package main\n\nfunc main() {}\n")
	build := func() (notes []string, err error) {
		command := exec.Command("go", "build", "-o", os.DevNull, ".")
		command.Dir, command.Env = dir, append(os.Environ(), "GOWORK=off", "GOFLAGS=")
		err = GoBuild(command, func(text string) { notes = append(notes, text) })
		return notes, err
	}
	notes, err := build()
	require.NoError(t, err)
	require.Regexp(t, `^\d+ packages compiled, of at most \d+$`, notes[len(notes)-1])
	write("main.go", "package main\n\nfunc main() { missing() }\n")
	_, err = build()
	require.ErrorContains(t, err, "undefined: missing")
}
