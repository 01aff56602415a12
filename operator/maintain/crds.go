package maintain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/Masterminds/semver/v3"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/charts"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// crdOwner is this command's name in managed fields. Helm's own name stays on
// what it created; both then own the same fields, and ours follow the image.
const crdOwner = "vdi-operator-crds"

// applyCRDs brings the cluster's definitions to this image's version and waits
// until the API server serves them. Helm itself never upgrades CRDs. Newer ones,
// of another release in this cluster, are left: what they know would be lost.
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
	newer, err := j.newerVersion(ctx, crd)
	switch {
	case err != nil:
		return err
	case newer != "":
		j.report("left CRD %s as it is: it is of version %s, newer than this release's %s", name, newer, versionOf(crd))
		return nil
	}
	config := client.ApplyConfigurationFromUnstructured(crd)
	if err := j.client.Apply(ctx, config, client.FieldOwner(crdOwner), client.ForceOwnership); err != nil {
		return fmt.Errorf("apply CRD %s: %w", name, err)
	}
	err = wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		return j.isEstablished(ctx, name)
	})
	if err != nil {
		return fmt.Errorf("wait until CRD %s is established: %w", name, err)
	}
	j.report("applied CRD %s", name)
	return nil
}

// newerVersion is that of the cluster's definition if it is newer than ours, else
// "". One without a version is of an early release.
func (j job) newerVersion(ctx context.Context, ours *unstructured.Unstructured) (string, error) {
	found := &apiextensionsv1.CustomResourceDefinition{}
	err := j.client.Get(ctx, client.ObjectKey{Name: ours.GetName()}, found)
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read CRD %s: %w", ours.GetName(), err)
	}
	return newer(versionOf(found), versionOf(ours))
}

// newer is the first version if it is newer than the second, else "".
func newer(a, b string) (string, error) {
	if a == "" {
		return "", nil
	}
	first, errA := semver.NewVersion(a)
	second, errB := semver.NewVersion(b)
	if err := errors.Join(errA, errB); err != nil {
		return "", fmt.Errorf("compare versions %q and %q of a CRD (annotation %s): %w", a, b, wire.AnnotationVersion, err)
	}
	if first.GreaterThan(second) {
		return a, nil
	}
	return "", nil
}

func versionOf(crd client.Object) string { return crd.GetAnnotations()[wire.AnnotationVersion] }

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
