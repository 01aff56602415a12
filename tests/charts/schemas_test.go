package charts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/tests/standins"
)

// schema is a JSON schema, in the dialect of the API server.
type schema map[string]any

// definitionsFile holds the built-in types, to which the kinds' files refer.
const (
	definitionsFile = "definitions.json"
	objectMeta      = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
)

// schemaPath is where a kind's schema lies, in kubeconform's words.
const schemaPath = "{{ .Group }}/{{ .ResourceAPIVersion }}/{{ .ResourceKind }}.json"

// writeSchemas writes one schema per kind into dir: built-in kinds as the API
// server of the local cluster's Kubernetes publishes them, the others from the
// CRDs that bring them. All of it comes from this repository and pinned modules.
func writeSchemas(ctx context.Context, dir string) error {
	kubernetes, err := module(ctx, "kube", "k8s.io/kubernetes")
	if err != nil {
		return err
	}
	if err := writeBuiltIn(dir, filepath.Join(kubernetes, "api", "openapi-spec", "swagger.json")); err != nil {
		return fmt.Errorf("write schemas of built-in kinds: %w", err)
	}
	prometheus, err := module(ctx, "prometheusoperator", "github.com/prometheus-operator/prometheus-operator")
	if err != nil {
		return err
	}
	certmanager, err := module(ctx, "certmanager", "github.com/cert-manager/cert-manager")
	if err != nil {
		return err
	}
	return errors.Join(
		writeCustom(dir, filepath.Join(certmanager, "deploy", "crds")),
		writeCustom(dir, inRepository("charts", "vdi-operator", "crds")),
		writeCustom(dir, filepath.Join(umbrella, "charts", "traefik", "crds")),
		writeCustom(dir, filepath.Join(umbrella, "charts", "gpu-operator", "crds")),
		writeCustom(dir, filepath.Join(prometheus, "example", "prometheus-operator-crd")),
	)
}

func module(ctx context.Context, tool, path string) (string, error) {
	return standins.ModuleFolder(ctx, inRepository("tests", "tools", tool), path)
}

func writeBuiltIn(dir, file string) error {
	var api struct {
		Definitions map[string]schema `json:"definitions"`
	}
	if err := readFile(file, &api); err != nil {
		return err
	}
	for name, definition := range api.Definitions {
		definition.close()
		if strings.HasSuffix(name, ".api.resource.Quantity") { // a bare number is one too
			definition["type"] = []any{"string", "number"}
		}
	}
	if err := writeFile(filepath.Join(dir, definitionsFile), api); err != nil {
		return err
	}
	var errs []error
	for name, definition := range api.Definitions {
		kinds, _ := definition["x-kubernetes-group-version-kind"].([]any)
		if len(kinds) == 1 { // options belong to every group and are no objects
			kind := kinds[0].(map[string]any)
			errs = append(errs, writeKind(dir, kind["group"], kind["version"], kind["kind"], reference(name)))
		}
	}
	return errors.Join(errs...)
}

func reference(definition string) schema {
	return schema{"$ref": "../../" + definitionsFile + "#/definitions/" + definition}
}

// writeCustom writes the kinds of a folder with CRDs.
func writeCustom(dir, folder string) error {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no CRDs in %s: %w", folder, err)
	}
	var errs []error
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for document := range strings.SplitSeq("\n"+string(text), "\n---\n") {
			errs = append(errs, writeCRD(dir, document))
		}
	}
	return errors.Join(errs...)
}

func writeCRD(dir, document string) error {
	var crd struct {
		Spec struct {
			Group    string
			Names    struct{ Kind string }
			Versions []struct {
				Name   string
				Schema struct {
					OpenAPIV3Schema schema `json:"openAPIV3Schema"`
				}
			}
		}
	}
	if err := yaml.Unmarshal([]byte(document), &crd); err != nil {
		return fmt.Errorf("read CRD: %w", err)
	}
	for _, version := range crd.Spec.Versions {
		s := version.Schema.OpenAPIV3Schema
		properties := s["properties"].(map[string]any)
		properties["apiVersion"], properties["kind"] = map[string]any{"type": "string"}, map[string]any{"type": "string"}
		s.close()
		properties["metadata"] = map[string]any(reference(objectMeta))
		if err := writeKind(dir, crd.Spec.Group, version.Name, crd.Spec.Names.Kind, s); err != nil {
			return err
		}
	}
	return nil
}

// close makes unknown fields an error, as `kubectl --validate=strict` does, and
// says the API server's own words in those of JSON schema. Descriptions would
// only be read again and again.
func (s schema) close() {
	delete(s, "description")
	properties, _ := s["properties"].(map[string]any)
	if len(properties) > 0 && s["additionalProperties"] == nil && s["x-kubernetes-preserve-unknown-fields"] != true {
		s["additionalProperties"] = false
	}
	if s["format"] == "int-or-string" || s["x-kubernetes-int-or-string"] == true {
		s["type"] = []any{"integer", "string"}
	}
	if s["nullable"] == true {
		s["type"] = []any{s["type"], "null"}
	}
	for _, property := range properties {
		closeIfSchema(property)
	}
	closeIfSchema(s["items"])
	closeIfSchema(s["additionalProperties"])
}

func closeIfSchema(value any) {
	if nested, isSchema := value.(map[string]any); isSchema {
		schema(nested).close()
	}
}

// writeKind follows schemaPath. The core group has no name: kubeconform takes
// its version for one.
func writeKind(dir string, group, version, kind any, s schema) error {
	if group == "" {
		group = version
	}
	return writeFile(filepath.Join(dir, fmt.Sprint(group), fmt.Sprint(version), strings.ToLower(fmt.Sprint(kind))+".json"), s)
}

func readFile(path string, out any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, out)
}

func writeFile(path string, content any) error {
	text, err := json.Marshal(content)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}
