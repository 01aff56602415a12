// Package progress reports on long steps to somebody who waits: what is done, how far it is,
// and how long it usually takes. It decides nothing.
package progress

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"
)

// pause is how long a step may be silent.
const pause = 20 * time.Second

// Step does a step and reports its beginning and end, and every twenty seconds what it has
// noted last. usually is its duration on two cores that have nothing else to do; 0: it is short.
func Step(out io.Writer, name string, usually time.Duration, do func(note func(string)) error) error {
	return step(out, name, usually, pause, do)
}

func step(out io.Writer, name string, usually, pause time.Duration, do func(note func(string)) error) error {
	began, last := time.Now(), atomic.Value{}
	expected := ""
	if usually > 0 {
		expected = ", usually " + short(usually)
	}
	fmt.Fprintf(out, "── %s …%s\n", name, strings.Replace(expected, ",", "", 1))
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for ticker := time.NewTicker(pause); ; {
			select {
			case <-done:
				ticker.Stop()
				return
			case <-ticker.C:
				noted, _ := last.Load().(string)
				if noted != "" {
					noted = ": " + noted
				}
				fmt.Fprintf(out, "   %s, %s so far%s%s\n", name, short(time.Since(began)), expected, noted)
			}
		}
	}()
	err := do(func(text string) { last.Store(text) })
	close(done)
	<-stopped // nothing is reported after the end
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Fprintf(out, "── %s: done in %.1fs\n", name, time.Since(began).Seconds())
	return nil
}

// short is a duration as people say it.
func short(d time.Duration) string {
	text := d.Round(time.Second).String()
	if strings.HasSuffix(text, "m0s") {
		return strings.TrimSuffix(text, "0s")
	}
	return text
}

// GoBuild runs a command "go build … PACKAGE" and notes how many packages are compiled, of how
// many; those in Go's cache are not compiled again.
func GoBuild(build *exec.Cmd, note func(string)) error {
	note("finding and downloading modules")
	list := exec.Command("go", "list", "-deps", build.Args[len(build.Args)-1])
	list.Dir, list.Env = build.Dir, build.Env
	packages, err := list.Output()
	if err != nil {
		packages = nil // the build says why
	}
	build.Args = append([]string{build.Args[0], build.Args[1], "-v"}, build.Args[2:]...)
	said, err := build.StderrPipe()
	if err != nil {
		return err
	}
	if err := build.Start(); err != nil {
		return err
	}
	rest := count(said, bytes.Count(packages, []byte("\n")), note)
	if err := build.Wait(); err != nil {
		return fmt.Errorf("%w\n%s", err, rest)
	}
	return nil
}

// count reads what "go build -v" says, and returns what is no report of progress.
func count(said io.Reader, all int, note func(string)) (rest string) {
	var other strings.Builder
	modules, compiled := 0, 0
	for lines := bufio.NewScanner(said); lines.Scan(); {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "go: downloading "):
			modules++
			note(fmt.Sprintf("%d modules downloaded", modules))
		case line != "" && !strings.ContainsAny(line, " \t:#"):
			compiled++
			note(fmt.Sprintf("%d packages compiled, of at most %d", compiled, all))
		default:
			other.WriteString(line + "\n")
		}
	}
	return other.String()
}
