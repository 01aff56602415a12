package validate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/go-logr/logr"
	"github.com/gruntwork-io/terratest/modules/helm"
	"github.com/gruntwork-io/terratest/modules/k8s"
	"github.com/gruntwork-io/terratest/modules/logger"
	"github.com/gruntwork-io/terratest/modules/testing"
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart/loader"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/operator/run"
	"github.com/vdi-platform/vdi-platform/tests/validate/judge"
)

// site is an installation, and how to ask about it.
type site struct {
	Options
	t        testing.TestingT
	config   *rest.Config
	kube     client.Client
	release  judge.Release
	settings judge.Settings
	manifest judge.Manifest
}

// open finds the release, and installs it before where that is asked for.
func open(ctx context.Context, t testing.TestingT, o Options) (*site, error) {
	for _, tool := range []string{"kubectl", "helm"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%s is not in the PATH: install it, or run `make tools-helm tools-control-plane` here and `make validate` again", tool)
		}
	}
	s := &site{Options: o, t: t}
	if err := s.connect(); err != nil {
		return nil, err
	}
	if o.Install {
		if err := s.install(ctx); err != nil {
			return nil, err
		}
	}
	return s, s.find(ctx)
}

func (s *site) connect() (err error) {
	ctrl.SetLogger(logr.Discard()) // else the library complains of it among the findings
	if s.config, err = clientcmd.BuildConfigFromFlags("", s.Kubeconfig); err != nil {
		return fmt.Errorf("KUBECONFIG=%s: %w", s.Kubeconfig, err)
	}
	s.config.WarningHandler = rest.NoWarnings{} // what the namespace lacks is judged, not printed
	s.config.QPS = -1                           // the API server paces us
	s.kube, err = s.client(s.config)
	if err != nil {
		return fmt.Errorf("KUBECONFIG=%s: %w", s.Kubeconfig, err)
	}
	return nil
}

func (s *site) client(config *rest.Config) (client.Client, error) {
	scheme := run.Scheme()
	if err := apiextensionsv1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return client.New(config, client.Options{Scheme: scheme})
}

// install is `helm install`, which refuses where a release of that name is.
func (s *site) install(ctx context.Context) error {
	if err := whole(s.Chart); err != nil {
		return err
	}
	if s.Release == "" {
		s.Release = defaultRelease
	}
	options := s.helm()
	options.ValuesFiles = []string{s.Values}
	options.ExtraArgs = map[string][]string{"install": {"--create-namespace", "--wait", "--timeout", s.Patience.String()}}
	if err := helm.InstallContextE(s.t, ctx, options, s.Chart, s.Release); err != nil {
		return fmt.Errorf("helm install %s in namespace %s: %w", s.Release, s.Namespace, err)
	}
	return nil
}

// whole refuses a chart's folder without its dependencies, which git does not hold. What is
// no folder is for helm to find.
func whole(folder string) error {
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return nil
	}
	c, err := loader.LoadDir(folder)
	if err != nil {
		return fmt.Errorf("CHART=%s: %w", folder, err)
	}
	if err := action.CheckDependencies(c, c.Metadata.Dependencies); err != nil {
		return fmt.Errorf("CHART=%s: %w: run `make package`, and leave CHART out or name the archive that it writes", folder, err)
	}
	return nil
}

// find reads what Helm knows of the release.
func (s *site) find(ctx context.Context) error {
	var list []judge.Release
	// Each by name: Helm 3 leaves out what is pending, and Helm 4 knows no --all.
	text, err := s.askHelm(ctx, "list", "--deployed", "--failed", "--pending", "--uninstalling", "--output", "json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return fmt.Errorf("helm list: %w", err)
	}
	if s.release, err = judge.Choose(list, s.Namespace, s.Release); err != nil {
		return err
	}
	values, err := s.askHelm(ctx, "get", "values", s.release.Name, "--all", "--output", "json")
	if err != nil {
		return err
	}
	if s.settings, err = judge.Read([]byte(values), s.release); err != nil {
		return err
	}
	if s.Domain == "" {
		s.Domain = s.settings.Sessions.Domain
	}
	manifest, err := s.askHelm(ctx, "get", "manifest", s.release.Name)
	if err != nil {
		return err
	}
	s.manifest, err = judge.ParseManifest(manifest)
	return err
}

func (s *site) askHelm(ctx context.Context, command string, args ...string) (string, error) {
	out, err := helm.RunHelmCommandAndGetStdOutContextE(s.t, ctx, s.helm(), command, args...)
	if err != nil {
		return "", fmt.Errorf("helm %s: %w", command, err)
	}
	return out, nil
}

func (s *site) helm() *helm.Options {
	return &helm.Options{KubectlOptions: s.kubectl(s.Namespace), Logger: logger.Discard}
}

func (s *site) kubectl(namespace string) *k8s.KubectlOptions {
	options := k8s.NewKubectlOptions("", s.Kubeconfig, namespace)
	options.Logger = logger.Discard
	return options
}

// operator is the operator's Deployment, as the release calls it.
func (s *site) operator() (string, error) {
	found := s.manifest.App("vdi-operator").Kind("Deployment")
	if len(found) != 1 {
		return "", errors.New("the release's manifest has no Deployment of the operator")
	}
	return found[0].GetName(), nil
}
