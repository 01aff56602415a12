package maintain

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// check is what `helm test` runs. It needs no rights: everybody may discover
// what an API server serves.
func check(ctx context.Context, j job) error {
	if err := j.checkReady(ctx); err != nil {
		return err
	}
	j.say("the operator is ready")
	if err := j.checkKinds(); err != nil {
		return err
	}
	j.say("its kinds are served")
	return nil
}

func (j job) checkReady(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, j.options.ready, nil)
	if err != nil {
		return fmt.Errorf("%w: --ready: %w", ErrRefused, err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("ask the operator: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the operator is not ready: %s answers %s", j.options.ready, answer.Status)
	}
	return nil
}

func (j job) checkKinds() error {
	served, err := discovery.NewDiscoveryClientForConfig(j.cluster)
	if err != nil {
		return fmt.Errorf("build client: %w", err)
	}
	list, err := served.ServerResourcesForGroupVersion(vdi.GroupVersion.String())
	if err != nil {
		return fmt.Errorf("the API server does not serve %s: %w", vdi.GroupVersion, err)
	}
	for _, name := range []string{"vdisessions", "vditemplates"} {
		if !slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == name }) {
			return fmt.Errorf("the API server does not serve %s.%s", name, vdi.GroupVersion.Group)
		}
	}
	return nil
}
