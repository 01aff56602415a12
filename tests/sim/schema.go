package sim

import (
	"context"
	"fmt"
	"io/fs"
	"math"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/charts"
)

// kindSchema is what the API server knows of one of our kinds: its structure with the
// defaults, and its rules. All of it is the API server's own code.
type kindSchema struct {
	structure *structuralschema.Structural
	shape     validation.SchemaValidator
	rules     *cel.Validator
}

// schemas reads our definitions once: rules take their time to compile.
var schemas = sync.OnceValue(func() map[string]*kindSchema {
	found := map[string]*kindSchema{}
	files, err := fs.Glob(charts.CRDs, "vdi-operator/crds/*.yaml")
	if err != nil || len(files) == 0 {
		panic(fmt.Errorf("no definitions in the operator's chart: %w", err))
	}
	for _, file := range files {
		text, err := fs.ReadFile(charts.CRDs, file)
		if err != nil {
			panic(err)
		}
		kind, s, err := newSchema(text)
		if err != nil {
			panic(fmt.Errorf("%s: %w", file, err))
		}
		found[kind] = s
	}
	return found
})

func newSchema(text []byte) (kind string, s *kindSchema, err error) {
	definition := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(text, definition); err != nil {
		return "", nil, err
	}
	internal := &apiextensions.JSONSchemaProps{}
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(definition.Spec.Versions[0].Schema.OpenAPIV3Schema, internal, nil); err != nil {
		return "", nil, err
	}
	structure, err := structuralschema.NewStructural(internal)
	if err != nil {
		return "", nil, err
	}
	shape, _, err := validation.NewSchemaValidator(internal)
	if err != nil {
		return "", nil, err
	}
	return definition.Spec.Names.Kind, &kindSchema{structure, shape, cel.NewValidator(structure, true, math.MaxUint32)}, nil
}

// judge completes an object with its defaults and refuses one that breaks a rule.
func (s *server) judge(kind schema.GroupVersionKind, object, before map[string]any) error {
	k := s.schemas[kind.Kind]
	if k == nil {
		return nil
	}
	pruning.Prune(object, k.structure, true)
	defaulting.Default(object, k.structure)
	errs := validation.ValidateCustomResource(nil, object, k.shape)
	if before != nil {
		errs = validation.ValidateCustomResourceUpdate(nil, object, before, k.shape)
	}
	if len(errs) == 0 {
		var old any
		if before != nil {
			old = before
		}
		errs, _ = k.rules.Validate(context.Background(), field.NewPath(""), k.structure, object, old, math.MaxInt64)
	}
	if len(errs) > 0 {
		return apierrors.NewInvalid(kind.GroupKind(), text(metaOf(object), "name"), errs)
	}
	return nil
}
