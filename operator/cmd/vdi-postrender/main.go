// vdi-postrender applies a site's wishes to what Helm renders, from standard
// input to standard output: labels, registries, digests, placement, and no
// privileged pod that is not listed. Helm 3 runs it by its path, Helm 4 as the
// plugin of plugin.yaml.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/renderer"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		// One line, whatever the cause looks like: Helm prints it as it is.
		fmt.Fprintln(os.Stderr, "vdi-postrender:", strings.Join(strings.Fields(err.Error()), " "))
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("vdi-postrender", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error says it
	settings := flags.String("settings", "", "file with the site's settings (YAML)")
	digests := flags.String("digests", "", "file with lines of an image and its digest")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: usage: vdi-postrender --settings FILE [--digests FILE]", flags.Arg(0))
	}
	site, err := readSite(*settings, *digests)
	if err != nil {
		return err
	}
	rendered := &bytes.Buffer{}
	if _, err := rendered.ReadFrom(in); err != nil {
		return fmt.Errorf("read what Helm rendered: %w", err)
	}
	result, err := renderer.PostRenderer{Site: site}.Run(rendered)
	if err != nil {
		return err
	}
	_, err = result.WriteTo(out)
	return err
}

func readSite(settings, digests string) (site renderer.Site, err error) {
	if settings == "" {
		return site, errors.New("--settings FILE is missing")
	}
	text, err := os.ReadFile(settings)
	if err != nil {
		return site, fmt.Errorf("read settings: %w", err)
	}
	asJSON, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return site, fmt.Errorf("settings %s: %w", settings, err)
	}
	unknown, err := kjson.UnmarshalStrict(asJSON, &site)
	if err := errors.Join(append(unknown, err)...); err != nil {
		return site, fmt.Errorf("settings %s: %w", settings, err)
	}
	return site, addDigests(&site, digests)
}

// addDigests reads the form in which registries' tools list digests.
func addDigests(site *renderer.Site, file string) error {
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read digests: %w", err)
	}
	if site.Digests == nil {
		site.Digests = map[string]string{}
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for number := 1; lines.Scan(); number++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		switch len(words) {
		case 0:
		case 2:
			site.Digests[words[0]] = words[1]
		default:
			return fmt.Errorf("digests %s: line %d: want an image and its digest", file, number)
		}
	}
	return lines.Err()
}
