package release

import (
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Part is a module of Go in a program.
type Part struct{ Name, Version string }

// PartsOf are what a program says that it is made of, as `go version -m` shows it; the
// standard library among them.
func PartsOf(program string) ([]Part, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil, fmt.Errorf("read what %s is made of: %w", program, err)
	}
	// Go's releases may have experiments behind their number.
	version, _, _ := strings.Cut(info.GoVersion, " ")
	parts := []Part{{"std", strings.TrimPrefix(version, "go")}}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		parts = append(parts, Part{m.Path, m.Version})
	}
	return parts, nil
}

// component is what is read of a part in a CycloneDX document.
type component struct {
	Name       string      `json:"name"`
	Version    string      `json:"version"`
	Components []component `json:"components"`
}

// CheckList fails where a CycloneDX list of parts lacks one of a program.
func CheckList(list, program string) error {
	text, err := os.ReadFile(list)
	if err != nil {
		return fmt.Errorf("read list of parts: %w", err)
	}
	var all struct{ Components []component }
	if err := json.Unmarshal(text, &all); err != nil {
		return fmt.Errorf("read list of parts %s: %w", list, err)
	}
	listed := map[Part]bool{}
	component{Components: all.Components}.addTo(listed)
	parts, err := PartsOf(program)
	if err != nil {
		return err
	}
	var problems []error
	for _, p := range parts {
		if !listed[p] {
			problems = append(problems, fmt.Errorf("%s does not name %s %s, which is in %s: make it again with 'make sbom'", list, p.Name, p.Version, program))
		}
	}
	return errors.Join(problems...)
}

func (c component) addTo(listed map[Part]bool) {
	name, version := c.Name, c.Version
	if name == "stdlib" || name == "std" { // as the two tools call it
		name, version = "std", strings.TrimPrefix(version, "go")
	}
	listed[Part{name, version}] = true
	for _, below := range c.Components {
		below.addTo(listed)
	}
}
