package maintain

import (
	"context"
	"fmt"
	"io/fs"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/charts"
)

// crdOwner is this command's name in managed fields. Helm's own name stays on
// what it created; both then own the same fields, and ours follow the image.
const crdOwner = "vdi-operator-crds"

// applyCRDs brings the cluster's definitions to this image's version and waits
// until the API server serves them. Helm itself never upgrades CRDs.
func applyCRDs(ctx context.Context, j job) error {
	crds, err := ownCRDs()
	if err != nil {
		return err
	}
	for _, crd := range crds {
		if err := j.applyCRD(ctx, crd); err != nil {
			return err
		}
	}
	return nil
}

func (j job) applyCRD(ctx context.Context, crd *unstructured.Unstructured) error {
	name := crd.GetName()
	config := client.ApplyConfigurationFromUnstructured(crd)
	if err := j.client.Apply(ctx, config, client.FieldOwner(crdOwner), client.ForceOwnership); err != nil {
		return fmt.Errorf("apply CRD %s: %w", name, err)
	}
	err := wait.PollUntilContextCancel(ctx, lookAgain, true, func(ctx context.Context) (bool, error) {
		return j.isEstablished(ctx, name)
	})
	if err != nil {
		return fmt.Errorf("wait until CRD %s is established: %w", name, err)
	}
	j.say("applied CRD %s", name)
	return nil
}

func (j job) isEstablished(ctx context.Context, name string) (bool, error) {
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := j.client.Get(ctx, client.ObjectKey{Name: name}, crd); err != nil {
		return false, err
	}
	for _, condition := range crd.Status.Conditions {
		if condition.Type == apiextensionsv1.Established {
			return condition.Status == apiextensionsv1.ConditionTrue, nil
		}
	}
	return false, nil
}

// ownCRDs are the definitions this image was built with.
func ownCRDs() ([]*unstructured.Unstructured, error) {
	files, err := fs.Glob(charts.CRDs, "vdi-operator/crds/*.yaml")
	if err != nil {
		return nil, err
	}
	var out []*unstructured.Unstructured
	for _, file := range files {
		text, err := fs.ReadFile(charts.CRDs, file)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		crd := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(text, &crd.Object); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		out = append(out, crd)
	}
	return out, nil
}
