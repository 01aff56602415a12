package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// strictCharts are those whose schemas refuse unknown keys.
func strictCharts() []string { return []string{"vdi-operator", "vdi-platform", "coturn"} }

// otherWords are keys that other charts have for what ours call differently, by the path of
// the object in the chart's values.
func otherWords() map[string]map[string]string {
	return map[string]map[string]string{
		"vdi-operator":            {"replicaCount": "replicas", "domain": "sessions.domain", "proxy": "sessions.proxy", "turn": "sessions.turn", "oidc": "access.oidc", "overlay": "sessions.overlay", "egress": "sessions.egress", "pdb": "podDisruptionBudget"},
		"vdi-operator.image":      {"name": "repository", "registry": "global.imageRegistry, before all images", "version": "tag"},
		"vdi-operator.sessions":   {"host": "domain, or hostTemplate", "templates": "templates, without sessions before it", "access": "access, without sessions before it"},
		"vdi-operator.gpuSharing": {"replicas": "gpuSharing.configs.KEY.replicas, or, where the umbrella installs the GPU Operator, gpu-operator.devicePlugin.config.data", "slices": "gpuSharing.configs.KEY.replicas"},
		"vdi-platform":            {"domain": "vdi-operator.sessions.domain", "sessions": "vdi-operator.sessions", "templates": "vdi-operator.templates", "access": "vdi-operator.access", "gpuSharing": "vdi-operator.gpuSharing", "operator": "vdi-operator", "gpuOperator": "gpu-operator", "turn": "coturn", "proxy": "traefik, or vdi-operator.sessions.proxy"},
		"coturn":                  {"replicaCount": "replicas", "domain": "realm"},
	}
}

// withHints is a chart's schema with what it says of keys that are almost right. A schema can
// only refuse an unknown key; Helm prints of a value that must be a constant what that is.
func withHints(chart string) func(root string) (string, error) {
	return func(root string) (string, error) {
		text, err := os.ReadFile(filepath.Join(root, "charts", chart, "values.schema.json"))
		if err != nil {
			return "", err
		}
		return addHints(chart, string(text))
	}
}

// line matches what opens, names or closes something in an indented JSON file.
var (
	keyLine    = regexp.MustCompile(`^( *)"([^"]+)": \{$`)
	hintBlock  = regexp.MustCompile(`(?m)^ *"patternProperties": \{\n(.*\{ "const": .*\n)+ *\},\n`) // of an earlier run
	strictLine = regexp.MustCompile(`^( *)"additionalProperties": false,?$`)
)

// addHints goes through the file line by line, so that nothing else of it changes. Keys of
// an object stand two levels below its own, in "properties".
func addHints(chart, text string) (string, error) {
	path, keys := []string{chart}, map[int][]string{}
	var out []string
	for line := range strings.SplitSeq(hintBlock.ReplaceAllString(text, ""), "\n") {
		if m := keyLine.FindStringSubmatch(line); m != nil {
			depth := len(m[1]) / 2
			keys[depth+1] = nil
			keys[depth] = append(keys[depth], m[2])
			path = append(path[:min(len(path), depth)], m[2])
		}
		if m := strictLine.FindStringSubmatch(line); m != nil {
			depth := len(m[1]) / 2 // of the object's own lines; its keys are one deeper
			hints, err := hintLines(m[1], hintsFor(objectPath(path[:depth]), keys[depth+1]))
			if err != nil {
				return "", err
			}
			out = append(out, hints...)
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n"), nil
}

// objectPath leaves the words of the schema out.
func objectPath(path []string) string {
	var names []string
	for i, name := range path {
		if i%2 == 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ".")
}

// hintsFor are near misses that are unambiguous and no keys themselves, and other words, by
// what was meant.
func hintsFor(object string, keys []string) map[string][]string {
	meant := map[string][]string{}
	for _, key := range keys {
		for _, wrong := range nearMisses(key) {
			if !slices.Contains(meant[wrong], key) {
				meant[wrong] = append(meant[wrong], key)
			}
		}
	}
	for wrong, right := range otherWords()[object] {
		meant[wrong] = []string{right}
	}
	hints := map[string][]string{}
	for _, wrong := range slices.Sorted(maps.Keys(meant)) {
		if right := meant[wrong]; len(right) == 1 && !slices.Contains(keys, wrong) {
			hints[right[0]] = append(hints[right[0]], wrong)
		}
	}
	return hints
}

var lastWord = regexp.MustCompile(`^([a-z].*[a-z])[A-Z][a-z]+$`)

// nearMisses are a key without its last word, in lower case, and of one instead of several.
func nearMisses(key string) (misses []string) {
	if lower := strings.ToLower(key); lower != key {
		misses = append(misses, lower)
	}
	if m := lastWord.FindStringSubmatch(key); m != nil {
		misses = append(misses, m[1])
	}
	if single := singular(key); single != key {
		misses = append(misses, single)
	}
	return misses
}

// singular of the words that keys are made of.
func singular(key string) string {
	for _, ending := range [][2]string{{"sses", "ss"}, {"ies", "y"}, {"ss", "ss"}, {"s", ""}} {
		if stem, isPlural := strings.CutSuffix(key, ending[0]); isPlural {
			return stem + ending[1]
		}
	}
	return key
}

func hintLines(indent string, hints map[string][]string) (lines []string, err error) {
	for _, right := range slices.Sorted(maps.Keys(hints)) {
		pattern, err := json.Marshal("^(" + strings.Join(hints[right], "|") + ")$")
		if err != nil {
			return nil, err
		}
		sentence, err := json.Marshal("under " + right + ", since there is no such key")
		if err != nil {
			return nil, err
		}
		lines = append(lines, fmt.Sprintf(`%s  %s: { "const": %s }`, indent, pattern, sentence))
	}
	if len(lines) == 0 {
		return nil, nil
	}
	return []string{indent + `"patternProperties": {`, strings.Join(lines, ",\n"), indent + "},"}, nil
}
