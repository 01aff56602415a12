package postrender

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

func readSite(settings, digests string) (site Site, err error) {
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
func addDigests(site *Site, file string) error {
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
