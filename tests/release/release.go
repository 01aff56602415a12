// Package release judges what a release is made of: that its charts, base images and
// workflow name everything by content and not by a tag that somebody can move, and that
// its lists of parts are complete. It changes nothing but the copies of charts that it is
// given to pin.
package release

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
)

// digest is how a registry names content.
var digest = regexp.MustCompile(`^sha256:[a-f0-9]{64}$`)

// place is where a chart names an image's digest.
type place struct {
	image string
	chart string
	path  string // of the value
}

// places are those of all images that our charts start by themselves. Desktops' images
// are named by templates; those of the GPU Operator by its own chart.
func places() []place {
	return []place{
		{"vdi-operator", "vdi-operator", "image.digest"},
		{"vdi-operator", "coturn", "tool.image.digest"},
		{"coturn", "coturn", "image.digest"},
		{"traefik", "vdi-platform", "traefik.image.digest"},
	}
}

// Digests are what images are, by their names in [places].
type Digests map[string]string

// ReadDigests reads lines of an image's name and its digest.
func ReadDigests(text string) (Digests, error) {
	digests := Digests{}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if len(words) != 2 || !digest.MatchString(words[1]) {
			return nil, fmt.Errorf("read digests: %q is not an image's name and its sha256:…", strings.TrimSpace(line))
		}
		digests[words[0]] = words[1]
	}
	for _, p := range places() {
		if digests[p.image] == "" {
			return nil, fmt.Errorf("read digests: there is none for image %s, which chart %s starts (%s)", p.image, p.chart, p.path)
		}
	}
	return digests, nil
}

// Pin writes digests into the values of the charts in a folder.
func Pin(charts string, digests Digests) error {
	for _, p := range places() {
		file := filepath.Join(charts, p.chart, "values.yaml")
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("pin image %s: %w", p.image, err)
		}
		var values yaml.Node
		if err := yaml.Unmarshal(text, &values); err != nil || len(values.Content) != 1 {
			return fmt.Errorf("pin image %s: read %s: %w", p.image, file, err)
		}
		set(values.Content[0], digests[p.image], strings.Split(p.path, ".")...)
		if text, err = yaml.Marshal(&values); err != nil {
			return fmt.Errorf("pin image %s: %w", p.image, err)
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return fmt.Errorf("pin image %s: %w", p.image, err)
		}
	}
	return nil
}

// set makes maps on the way where there are none.
func set(values *yaml.Node, value string, path ...string) {
	next := (*yaml.Node)(nil)
	for i := 0; i+1 < len(values.Content); i += 2 {
		if values.Content[i].Value == path[0] {
			next = values.Content[i+1]
		}
	}
	if next == nil {
		next = &yaml.Node{Kind: yaml.MappingNode}
		values.Content = append(values.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: path[0]}, next)
	}
	if len(path) == 1 {
		*next = yaml.Node{Kind: yaml.ScalarNode, Value: value, Style: yaml.DoubleQuotedStyle, LineComment: next.LineComment}
		return
	}
	set(next, value, path[1:]...)
}

// CheckCharts fails where a packaged chart, or one that it brings, names an image by its
// tag alone.
func CheckCharts(archives ...string) error {
	var problems []error
	seen := map[string]bool{}
	for _, archive := range archives {
		c, err := loader.Load(archive)
		if err != nil {
			problems = append(problems, fmt.Errorf("read %s: %w", archive, err))
			continue
		}
		problems = append(problems, checkChart(c, filepath.Base(archive), seen)...)
	}
	for _, p := range places() {
		if !seen[p.chart] {
			problems = append(problems, fmt.Errorf("no archive holds chart %s", p.chart))
		}
	}
	return errors.Join(problems...)
}

func checkChart(c *chart.Chart, archive string, seen map[string]bool) (problems []error) {
	seen[c.Name()] = true
	for _, p := range places() {
		if p.chart != c.Name() {
			continue
		}
		if value := valueAt(c.Values, strings.Split(p.path, ".")...); !digest.MatchString(value) {
			problems = append(problems, fmt.Errorf("%s: chart %s names image %s by its tag, which can be moved: package with DIGESTS=FILE, a line for each image (%s is %q)", archive, c.Name(), p.image, p.path, value))
		}
	}
	for _, dependency := range c.Dependencies() {
		problems = append(problems, checkChart(dependency, archive, seen)...)
	}
	return problems
}

func valueAt(values map[string]any, path ...string) string {
	if len(path) == 1 {
		text, _ := values[path[0]].(string)
		return text
	}
	below, _ := values[path[0]].(map[string]any)
	return valueAt(below, path[1:]...)
}

// Bases are the images that a Dockerfile starts from, with the build's arguments.
func Bases(dockerfile string, args map[string]string) []string {
	values, stages, bases := map[string]string{}, []string{"scratch"}, []string{}
	for line := range strings.Lines(dockerfile) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch strings.ToUpper(words[0]) {
		case "ARG":
			name, value, _ := strings.Cut(words[1], "=")
			if given, found := args[name]; found {
				value = given
			}
			values[name] = value
		case "FROM":
			base := os.Expand(words[1], func(name string) string { return values[name] })
			if !slices.Contains(stages, base) {
				bases = append(bases, base)
			}
			if len(words) == 4 {
				stages = append(stages, words[3])
			}
		}
	}
	return bases
}

// CheckBases fails where a Dockerfile starts from an image by its tag alone.
func CheckBases(dockerfile string, args map[string]string) error {
	var problems []error
	for _, base := range Bases(dockerfile, args) {
		if _, is, _ := strings.Cut(base, "@"); !digest.MatchString(is) {
			problems = append(problems, fmt.Errorf("base image %s is named by its tag, which can be moved: give the build NAME@sha256:…", base))
		}
	}
	return errors.Join(problems...)
}

// commit is what an action must be named by.
var commit = regexp.MustCompile(`^[^@]+@[a-f0-9]{40}$`)

// CheckWorkflow fails where a workflow of GitHub runs somebody's action by a tag, or an
// image by one.
func CheckWorkflow(text string) error {
	var workflow yaml.Node
	if err := yaml.Unmarshal([]byte(text), &workflow); err != nil {
		return fmt.Errorf("read workflow: %w", err)
	}
	return errors.Join(checkNode(&workflow)...)
}

func checkNode(n *yaml.Node) (problems []error) {
	for i, below := range n.Content {
		problems = append(problems, checkNode(below)...)
		if n.Kind != yaml.MappingNode || i%2 == 1 {
			continue
		}
		value := n.Content[i+1].Value
		_, is, _ := strings.Cut(value, "@")
		switch {
		case below.Value == "uses" && !strings.HasPrefix(value, "./") && !commit.MatchString(value):
			problems = append(problems, fmt.Errorf("line %d: action %q is not named by a commit of 40 digits: a tag can be moved", below.Line, value))
		case (below.Value == "image" || below.Value == "container") && value != "" && !digest.MatchString(is):
			problems = append(problems, fmt.Errorf("line %d: image %q is not named by its digest", below.Line, value))
		}
	}
	return problems
}
