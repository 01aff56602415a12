package scale

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
)

const (
	// OperatorNamespace is where the operator would be installed.
	OperatorNamespace = "vdi-system"
	// OperatorUser is whom the audit log names for its requests.
	OperatorUser = "system:serviceaccount:vdi-system:vdi-operator"

	operatorName    = "vdi-operator"
	operatorPackage = "./operator/cmd/vdi-operator"
	settingsFile    = "config.yaml"

	// tokenSeconds outlives every measurement: in a cluster the kubelet renews tokens.
	tokenSeconds = 24 * 60 * 60
)

// Operator is the operator as the chart installs it: its flags, its settings
// and its ServiceAccount with exactly the chart's permissions. Only the proxy
// is not asked (sessions.verifyRoute is off): there is none.
type Operator struct {
	// Config are the settings that the chart renders.
	Config platform.Config

	rig        *Rig
	binary     string
	args       []string
	kubeconfig string
}

// Replica is one running process of the operator.
type Replica struct {
	*cluster.Program
	// Metrics is the address of its metrics server.
	Metrics string
}

// Variant is how an operator differs from the released one with the chart's
// defaults.
type Variant struct {
	// Values of the chart, as --set of helm takes them.
	Values []string
	// BuildFlags of go build, such as -overlay=FILE.
	BuildFlags []string
}

// InstallOperator builds the operator's binary into dir and grants what the
// chart grants. Nothing runs yet.
func (r *Rig) InstallOperator(ctx context.Context, dir string) (*Operator, error) {
	return r.InstallVariant(ctx, dir, Variant{})
}

// InstallVariant is InstallOperator for an operator that differs.
func (r *Rig) InstallVariant(ctx context.Context, dir string, v Variant) (*Operator, error) {
	objects, err := r.ChartObjects(ctx, v.Values...)
	if err != nil {
		return nil, err
	}
	o := &Operator{rig: r}
	if o.binary, err = r.Build(ctx, "", dir, operatorPackage, v.BuildFlags...); err != nil {
		return nil, err
	}
	if err := r.Driver.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: OperatorNamespace}}); err != nil {
		return nil, err
	}
	for _, object := range objects {
		if err := o.take(ctx, dir, object); err != nil {
			return nil, fmt.Errorf("install %s %q: %w", object.GetKind(), object.GetName(), err)
		}
	}
	if o.kubeconfig, err = r.TokenKubeconfig(ctx, dir, OperatorNamespace, operatorName); err != nil {
		return nil, err
	}
	return o, nil
}

// take does what the cluster would do with an object of the chart.
func (o *Operator) take(ctx context.Context, dir string, object *unstructured.Unstructured) error {
	switch object.GetKind() {
	case "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding":
		return o.rig.Driver.Create(ctx, object)
	case "ConfigMap":
		if _, found, _ := unstructured.NestedString(object.Object, "data", settingsFile); found {
			return o.readSettings(dir, object)
		}
	case "Deployment":
		if object.GetName() != operatorName {
			return nil // the front door has no part in a session's start
		}
		containers, _, _ := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
		if len(containers) != 1 {
			return fmt.Errorf("it has %d containers, want 1", len(containers))
		}
		args, _, _ := unstructured.NestedStringSlice(containers[0].(map[string]any), "args")
		o.args = append(args, o.args...)
	}
	return nil
}

func (o *Operator) readSettings(dir string, object *unstructured.Unstructured) error {
	settings, _, _ := unstructured.NestedString(object.Object, "data", settingsFile)
	var err error
	if o.Config, err = platform.ParseConfig([]byte(settings)); err != nil {
		return err
	}
	path := filepath.Join(dir, settingsFile)
	o.args = append(o.args, "--config="+path)
	return os.WriteFile(path, []byte(settings), 0o600)
}

// ChartObjects renders the operator's chart with the real Helm; values are as
// --set takes them.
func (r *Rig) ChartObjects(ctx context.Context, values ...string) ([]*unstructured.Unstructured, error) {
	if err := cluster.BuildTools(ctx, os.Stderr, "helm"); err != nil {
		return nil, err
	}
	helm := exec.CommandContext(ctx, filepath.Join(r.Bin, "helm"), "template", operatorName, r.repository("charts", "vdi-operator"),
		"--namespace", OperatorNamespace, "--kube-version", "1.37.2", "--no-hooks",
		"--set", strings.Join(append([]string{"sessions.domain=vdi.example.com", "sessions.verifyRoute=false"}, values...), ","))
	out, err := helm.Output()
	if err != nil {
		return nil, fmt.Errorf("render the operator's chart: %w", err)
	}
	return decodeObjects(out)
}

func decodeObjects(text []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		o := &unstructured.Unstructured{}
		switch err := decoder.Decode(&o.Object); {
		case errors.Is(err, io.EOF):
			return objects, nil
		case err != nil:
			return nil, err
		case len(o.Object) > 0:
			objects = append(objects, o)
		}
	}
}

// Objects decodes the YAML files of another contender.
func Objects(files ...string) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		objects, err := decodeObjects(text)
		if err != nil {
			return nil, fmt.Errorf("decode %s: %w", file, err)
		}
		all = append(all, objects...)
	}
	return all, nil
}

// TokenKubeconfig writes a kubeconfig into dir that authenticates with a token
// of a ServiceAccount, as a pod does, and returns its path.
func (r *Rig) TokenKubeconfig(ctx context.Context, dir, namespace, account string) (string, error) {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(tokenSeconds))}}
	of := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account, Namespace: namespace}}
	if err := r.Driver.SubResource("token").Create(ctx, of, request); err != nil {
		return "", fmt.Errorf("request token of %s/%s: %w", namespace, account, err)
	}
	server := r.RESTConfig()
	config := clientcmdapi.NewConfig()
	config.Clusters[account] = &clientcmdapi.Cluster{Server: server.Host, CertificateAuthorityData: server.CAData}
	config.AuthInfos[account] = &clientcmdapi.AuthInfo{Token: request.Status.Token}
	config.Contexts[account] = &clientcmdapi.Context{Cluster: account, AuthInfo: account}
	config.CurrentContext = account
	path := filepath.Join(dir, account+".kubeconfig")
	return path, clientcmd.WriteToFile(*config, path)
}

// Start starts one more process of the operator. Two of them elect a leader.
func (o *Operator) Start() (*Replica, error) {
	args := append(append([]string{}, o.args...), "--health-probe-bind-address=0")
	env := []string{"KUBECONFIG=" + o.kubeconfig, "POD_NAMESPACE=" + OperatorNamespace}
	return o.rig.StartReplica(operatorName, o.binary, args, env)
}

// StartReplica starts one more process of a program of controller-runtime, with
// its metrics on an address of its own.
func (r *Rig) StartReplica(name, path string, args, env []string) (*Replica, error) {
	metrics, err := cluster.FreeAddress()
	if err != nil {
		return nil, err
	}
	r.replicas++
	args = append(append([]string{}, args...), "--metrics-bind-address="+metrics)
	p, err := r.StartProgram(fmt.Sprintf("%s-%d", name, r.replicas), path, args, env)
	if err != nil {
		return nil, err
	}
	return &Replica{Program: p, Metrics: metrics}, nil
}
