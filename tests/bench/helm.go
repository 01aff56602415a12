package bench

import (
	"context"
	"fmt"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/renderer"
	"github.com/vdi-platform/vdi-platform/tests/scale"
)

// helm is what operators do that make one release per object, through the SDK:
// the same chart and values. Capabilities, discovery and the parsed chart are
// kept between releases, and kinds are not validated against OpenAPI.
func helm() contender {
	return contender{
		name: Helm, settings: "Helm SDK v3.22.0, 8 installs at once, unthrottled; capabilities, discovery and chart cached, no wait, no OpenAPI validation",
		users: []string{scale.DriverUser}, asked: "vdisessions",
		install: installHelm, ask: askHelm, done: sessionsDone, is: sessionRuns, pod: samePod,
	}
}

// helmClient is what is kept between releases.
type helmClient struct {
	config       *rest.Config
	discovery    discovery.CachedDiscoveryInterface
	mapper       meta.RESTMapper
	clientset    kubernetes.Interface
	chart        *chart.Chart
	capabilities *chartutil.Capabilities
}

func installHelm(_ context.Context, b *bed) (err error) {
	h := helmClient{}
	if h.config, err = b.UserConfig(scale.DriverUser); err != nil {
		return err
	}
	if h.clientset, err = kubernetes.NewForConfig(h.config); err != nil {
		return err
	}
	h.discovery = memory.NewMemCacheClient(h.clientset.Discovery())
	h.mapper = restmapper.NewDeferredDiscoveryRESTMapper(h.discovery)
	files, err := renderer.ChartFiles()
	if err != nil {
		return err
	}
	if h.chart, err = loader.LoadFiles(files); err != nil {
		return err
	}
	version, err := h.discovery.ServerVersion()
	if err != nil {
		return err
	}
	versions, err := action.GetVersionSet(h.discovery)
	if err != nil {
		return err
	}
	h.capabilities = &chartutil.Capabilities{
		APIVersions: versions, HelmVersion: chartutil.DefaultCapabilities.HelmVersion,
		KubeVersion: chartutil.KubeVersion{Version: version.GitVersion, Major: version.Major, Minor: version.Minor},
	}
	b.helm = h
	return nil
}

func askHelm(ctx context.Context, b *bed, i int) error {
	s := b.session(i)
	if err := b.Driver.Create(ctx, s); err != nil {
		return err
	}
	if err := b.Driver.Create(ctx, secret(s)); err != nil {
		return err
	}
	in, err := b.input(s)
	if err != nil {
		return err
	}
	values, err := b.renderer.Values(in)
	if err != nil {
		return err
	}
	install := action.NewInstall(b.helm.configuration(s.Namespace))
	install.ReleaseName, install.Namespace, install.DisableOpenAPIValidation = s.Name, s.Namespace, true
	if _, err := install.RunWithContext(ctx, b.helm.chart, values); err != nil {
		return fmt.Errorf("install release %s: %w", s.Name, err)
	}
	before := s.DeepCopy()
	s.Status = finalStatus(b, s)
	return b.Driver.Status().Patch(ctx, s, client.MergeFrom(before))
}

// configuration is one release's.
func (h helmClient) configuration(namespace string) *action.Configuration {
	getter := &getter{helmClient: h, namespace: namespace}
	return &action.Configuration{
		RESTClientGetter: getter, KubeClient: kube.New(getter), Capabilities: h.capabilities,
		Releases: storage.Init(driver.NewSecrets(h.clientset.CoreV1().Secrets(namespace))),
		Log:      func(string, ...any) {},
	}
}

// getter gives Helm the kept clients, with the release's namespace.
type getter struct {
	helmClient
	namespace string
}

// ToRESTConfig implements action.RESTClientGetter.
func (g *getter) ToRESTConfig() (*rest.Config, error) { return rest.CopyConfig(g.config), nil }

// ToDiscoveryClient implements action.RESTClientGetter.
func (g *getter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return g.discovery, nil
}

// ToRESTMapper implements action.RESTClientGetter.
func (g *getter) ToRESTMapper() (meta.RESTMapper, error) { return g.mapper, nil }

// ToRawKubeConfigLoader implements action.RESTClientGetter.
func (g *getter) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	overrides := &clientcmd.ConfigOverrides{Context: clientcmdapi.Context{Namespace: g.namespace}}
	return clientcmd.NewDefaultClientConfig(*clientcmdapi.NewConfig(), overrides)
}
