package kubectl

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the golden outputs (make golden); read the diff before committing it")

// changing is what differs from run to run, and what stands for it.
var changing = []struct {
	what *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`(uid|resourceVersion): \S+`), "$1: X"},
	{regexp.MustCompile(`creationTimestamp: \S+`), "creationTimestamp: X"},
	{regexp.MustCompile(`\(for [0-9a-z]+\)`), "(for AGE)"},
	{regexp.MustCompile(`it has waited for [0-9a-z]+`), "it has waited for AGE"},
	{regexp.MustCompile(`announced [0-9a-z]+ ago`), "announced AGE ago"},
	{regexp.MustCompile(`[0-9]+[smh](?:[0-9]+s)? ago: `), "AGE ago: "},
	{regexp.MustCompile(`https://127\.0\.0\.1:\d+`), "https://SERVER"},
}

// transcript is what a person sees: the command, its two outputs and its exit code.
func (w *world) transcript(t *testing.T, line string) string {
	t.Helper()
	words := strings.Fields(line)
	c := w.command(t, "kubectl-vdi", words...)
	var out, errOut bytes.Buffer
	c.Stdout, c.Stderr = &out, &errOut
	err := c.Run()
	var exit *exec.ExitError
	require.True(t, err == nil || errors.As(err, &exit), "%v", err)
	text := "$ kubectl vdi " + line + "\n" + out.String()
	if errOut.Len() > 0 {
		text += "── on stderr:\n" + errOut.String()
	}
	if code := c.ProcessState.ExitCode(); code != 0 {
		text += "── exit code " + c.ProcessState.String()[len("exit status "):] + "\n"
	}
	for _, change := range changing {
		text = change.what.ReplaceAllString(text, change.by)
	}
	return withoutAges(text)
}

// An age in a column, and how far behind it the next column begins, which depends on ages.
var (
	age      = regexp.MustCompile(`(?m)( {2,}|^)[0-9]+[smhdy](?:[0-9]+[smhd])?(?:(   ) *|$)`)
	afterAge = regexp.MustCompile(`\b(AGE|LAST SEEN|WAITING) {2,}`)
)

func withoutAges(text string) string {
	return afterAge.ReplaceAllString(age.ReplaceAllString(text, "${1}AGE$2"), "$1   ")
}

// Each file of testdata names commands, in lines that begin with "$ kubectl vdi"; what
// follows a command is what a person sees.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			var got strings.Builder
			commands := 0
			for text := range strings.Lines(string(want)) {
				if strings.HasPrefix(text, "# ") {
					got.WriteString(text)
				}
				if line, found := strings.CutPrefix(text, "$ kubectl vdi "); found {
					got.WriteString(w.transcript(t, strings.TrimSpace(line)) + "\n")
					commands++
				}
			}
			require.Positive(t, commands)
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(got.String()), 0o644))
				return
			}
			assert.Equal(t, string(want), got.String())
		})
	}
}
