package doctor

import (
	"fmt"
	"io/fs"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/charts"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Definitions are the CRDs that this program was built with, and the version of each.
func Definitions() (map[string]string, error) {
	files, err := fs.Glob(charts.CRDs, "vdi-operator/crds/*.yaml")
	if err != nil {
		return nil, err
	}
	versions := map[string]string{}
	for _, file := range files {
		text, err := fs.ReadFile(charts.CRDs, file)
		if err != nil {
			return nil, err
		}
		var crd metav1.PartialObjectMetadata
		if err := yaml.Unmarshal(text, &crd); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		versions[crd.Name] = crd.Annotations[wire.AnnotationVersion]
	}
	return versions, nil
}
