package maintain

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

const (
	// templateOwner is this command's name in managed fields.
	templateOwner = "vdi-operator-templates"
)

// applyTemplates applies the default templates. All are judged before any is
// written, so that a mistake in one changes nothing. Templates that left the
// file stay: sessions may still name them.
func applyTemplates(ctx context.Context, j job) error {
	templates, err := readTemplates(j.options.templates)
	if err != nil {
		return err
	}
	if err := judge(templates, j.options.config); err != nil {
		return err
	}
	if err := j.awaitKinds(ctx); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(templates)) {
		if err := j.applyTemplate(ctx, templates[name]); err != nil {
			return err
		}
	}
	return nil
}

// awaitKinds waits for the CRDs: where no hooks are run, all is applied at the same time.
func (j job) awaitKinds(ctx context.Context) error {
	var last error
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(context.Context) (bool, error) {
		last = j.checkKinds()
		return last == nil, nil
	})
	if err != nil {
		return errors.Join(last, err)
	}
	return nil
}

// readTemplates reads a map from names to specs as strictly as the API server.
func readTemplates(file string) (map[string]*vdi.VDITemplate, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read templates: %w", err)
	}
	asJSON, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, fmt.Errorf("%w: templates: %w", ErrRefused, err)
	}
	var specs map[string]vdi.VDITemplateSpec
	unknown, err := kjson.UnmarshalStrict(asJSON, &specs)
	if err := errors.Join(append(unknown, err)...); err != nil {
		return nil, fmt.Errorf("%w: templates: %w", ErrRefused, err)
	}
	out := map[string]*vdi.VDITemplate{}
	for name, spec := range specs {
		out[name] = &vdi.VDITemplate{
			TypeMeta:   metav1.TypeMeta{APIVersion: vdi.GroupVersion.String(), Kind: "VDITemplate"},
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{wire.LabelDefaultTemplate: wire.LabelOn}},
			Spec:       spec,
		}
	}
	return out, nil
}

func readConfig(file string) (platform.Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return platform.Config{}, fmt.Errorf("read settings: %w", err)
	}
	config, err := platform.ParseConfig(text)
	if err != nil {
		return platform.Config{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return config, nil
}

// judge renders a sample session of each template, as the operator will.
func judge(templates map[string]*vdi.VDITemplate, configFile string) error {
	config, err := readConfig(configFile)
	if err != nil {
		return err
	}
	r, err := renderer.New()
	if err != nil {
		return err
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(templates)) {
		if err := r.ValidateTemplate(templates[name], config); err != nil {
			problems = append(problems, fmt.Errorf("templates.%s: %w", name, err))
		}
	}
	if len(problems) > 0 {
		return fmt.Errorf("%w: %w", ErrRefused, errors.Join(problems...))
	}
	return nil
}

// applyTemplate forces ownership: what the values say holds, as for every other
// object of the chart. Fields the values do not set stay with whoever set them.
func (j job) applyTemplate(ctx context.Context, t *vdi.VDITemplate) error {
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(t)
	if err != nil {
		return fmt.Errorf("template %q: %w", t.Name, err)
	}
	delete(object, "status") // the operator's own
	u := &unstructured.Unstructured{Object: object}
	u.SetCreationTimestamp(metav1.Time{})
	err = j.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(templateOwner), client.ForceOwnership)
	if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
		return fmt.Errorf("%w: template %q: %w", ErrRefused, t.Name, err)
	}
	if err != nil {
		return fmt.Errorf("apply template %q: %w", t.Name, err)
	}
	j.report("applied template %s", t.Name)
	return nil
}
