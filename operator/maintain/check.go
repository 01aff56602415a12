package maintain

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/proxycheck"
)

// check is what `helm test` runs. It needs no rights: everybody may discover
// what an API server serves.
func check(ctx context.Context, j job) error {
	if err := j.checkReady(ctx); err != nil {
		return err
	}
	j.report("the operator is ready")
	if err := j.checkKinds(); err != nil {
		return err
	}
	j.report("its kinds are served")
	return j.checkProxy(ctx)
}

// checkProxy is made through the proxy, at the front door. Both may need a moment
// after an install, and the proxy reads routes by itself.
func (j job) checkProxy(ctx context.Context) error {
	if j.options.proxy == "" {
		j.report("the proxy was not asked: no route leads to the front door, or sessions.verifyRoute is off")
		return nil
	}
	var last error
	for {
		passes, err := proxycheck.Passes(ctx, j.options.proxy, j.options.proxyHost)
		if err != nil && last != nil && ctx.Err() != nil {
			err = last // which says more than that there is no time left
		}
		last = err
		switch {
		case err == nil && passes:
			return fmt.Errorf("%w: %s", ErrRefused, proxycheck.Advice)
		case err == nil:
			j.report("the proxy keeps what follows a CONNECT to itself")
			return nil
		}
		select {
		case <-ctx.Done():
			if errors.Is(err, proxycheck.ErrNotLetIn) {
				j.report("it is not known whether the proxy is safe: %v", err)
				return nil
			}
			return fmt.Errorf("%w; check sessions.proxy and that the proxy serves the route of the front door", err)
		case <-time.After(pollInterval):
		}
	}
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
	for _, name := range []string{"vdisessions", "vditemplates", "vdiquotas", "vdiusages"} {
		if !slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == name }) {
			return fmt.Errorf("the API server does not serve %s.%s", name, vdi.GroupVersion.Group)
		}
	}
	return nil
}
