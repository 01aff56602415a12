package command

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/cli-runtime/pkg/printers"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// isTerminal reports whether a stream is one.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// widthOf is how many columns a terminal has; 0 where the stream is none.
func widthOf(stream any) int {
	if !isTerminal(stream) {
		return 0
	}
	width, _, err := term.GetSize(int(stream.(*os.File).Fd()))
	if err != nil || width < 20 {
		return 80
	}
	return width
}

func (t *tool) checkColor() error {
	switch t.color {
	case "auto", "always", "never":
		return nil
	}
	return fmt.Errorf("--color=%s: give auto, always or never", t.color)
}

// colors reports whether what is written to a stream has colours.
func (t *tool) colors(stream any) bool {
	switch t.color {
	case "always":
		return true
	case "never":
		return false
	}
	out, ok := stream.(io.Writer)
	return ok && printers.AllowsColorOutput(out)
}

// paint is a phase in its colour.
func (t *tool) paint(stream any, phase vdi.Phase) string {
	if !t.colors(stream) {
		return string(phase)
	}
	color := 33 // yellow: under way
	switch phase {
	case vdi.PhaseRunning:
		color = 32 // green
	case vdi.PhaseFailed:
		color = 31 // red
	case vdi.PhaseSuspended, vdi.PhaseTerminating:
		color = 90 // grey
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", color, phase)
}

// bold is a heading.
func (t *tool) bold(stream any, text string) string {
	if text == "" || !t.colors(stream) {
		return text
	}
	return "\x1b[1m" + text + "\x1b[0m"
}

// Redraws of the line of progress.
const (
	redrawAtMost = 200 * time.Millisecond
	redrawEvery  = time.Second
)

// progress is one line on a terminal that shows how far a wait is, and for how long it has
// lasted. Elsewhere it shows nothing.
type progress struct {
	out   io.Writer
	width int
	begun time.Time
	texts chan string
	done  sync.WaitGroup
}

// startProgress shows nothing before the first text, and nothing at all unless it is wanted.
func (t *tool) startProgress(wanted bool) *progress {
	p := &progress{out: t.ErrOut, begun: time.Now(), texts: make(chan string, 1)}
	if wanted {
		p.width = widthOf(t.ErrOut)
	}
	if p.width > 0 {
		p.done.Go(p.draw)
	}
	return p
}

// show replaces the text.
func (p *progress) show(text string) {
	if p.width > 0 {
		p.texts <- text
	}
}

// stop takes the line away.
func (p *progress) stop() {
	if p.width > 0 {
		close(p.texts)
		p.done.Wait()
	}
}

func (p *progress) draw() {
	tick := time.NewTicker(redrawEvery)
	defer tick.Stop()
	text, drawn := "", time.Time{}
	for {
		select {
		case next, open := <-p.texts:
			if !open {
				if !drawn.IsZero() {
					fmt.Fprint(p.out, "\r\x1b[K")
				}
				return
			}
			text = next
			if time.Since(drawn) < redrawAtMost {
				continue // the next tick shows it
			}
		case <-tick.C:
		}
		if text != "" {
			line := duration.HumanDuration(time.Since(p.begun)) + "  " + text
			fmt.Fprint(p.out, "\r\x1b[K"+clip(line, p.width-1))
			drawn = time.Now()
		}
	}
}

// clip shortens a line to a width.
func clip(line string, width int) string {
	letters := []rune(strings.Join(strings.Fields(line), " "))
	if len(letters) <= width {
		return string(letters)
	}
	return string(letters[:width-1]) + "…"
}

// openBrowser opens an address in the browser of whoever sits here.
func openBrowser(ctx context.Context, address string) error {
	if u, err := url.Parse(address); err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("%q is no address of a web page", address)
	}
	opener := []string{"xdg-open"}
	switch runtime.GOOS {
	case "darwin":
		opener = []string{"open"}
	case "windows":
		opener = []string{"rundll32", "url.dll,FileProtocolHandler"}
	}
	// It may last as long as the browser, and outlives us.
	return exec.CommandContext(context.WithoutCancel(ctx), opener[0], append(opener[1:], address)...).Start()
}
