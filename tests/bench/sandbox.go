package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/tests/cluster"
	"github.com/vdi-platform/vdi-platform/tests/scale"
)

// Of the module sigs.k8s.io/agent-sandbox, v1.0.3, pinned in tests/tools/agentsandbox.
const (
	sandboxTool      = "agent-sandbox-controller"
	sandboxModule    = "sigs.k8s.io/agent-sandbox"
	sandboxNamespace = "agent-sandbox-system"
)

var sandboxKind = schema.GroupVersionKind{Group: "agents.x-k8s.io", Version: "v1beta1", Kind: "Sandbox"}

// sandbox is Kubernetes SIGs' agent-sandbox: a Sandbox with a claim template and
// a Service; the client writes the extras that it does not know (Secret,
// NetworkPolicy, route). Its own defaults are more workers and no client limit.
func sandbox() contender {
	return contender{
		name: Sandbox, settings: "agent-sandbox v1.0.3: --sandbox-concurrent-workers=8 --kube-api-qps=-1 --leader-elect; 8 writers of Sandbox and extras",
		users: []string{"system:serviceaccount:" + sandboxNamespace + ":" + sandboxTool}, asked: "sandboxes", controller: "sandbox",
		install: installSandbox, start: startSandbox, ask: askSandbox,
		done: func() client.ObjectList {
			list := &unstructured.UnstructuredList{}
			list.SetGroupVersionKind(sandboxKind)
			return list
		},
		is: sandboxReady, pod: samePod,
	}
}

func sandboxReady(o client.Object) bool {
	u, is := o.(*unstructured.Unstructured)
	if !is {
		return false
	}
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	return slices.ContainsFunc(conditions, func(c any) bool {
		m, is := c.(map[string]any)
		return is && m["type"] == "Ready" && m["status"] == "True"
	})
}

// installSandbox does what its release's manifests do, less the Deployment.
func installSandbox(ctx context.Context, b *bed) error {
	var files []string
	for _, name := range []string{"controller.yaml", "rbac.generated.yaml", "crds/agents.x-k8s.io_sandboxes.yaml"} {
		file, err := cluster.ModuleFile(ctx, "agentsandbox", sandboxModule, filepath.Join("k8s", name))
		if err != nil {
			return err
		}
		files = append(files, file)
	}
	if err := b.InstallCRDs(files[2]); err != nil {
		return err
	}
	objects, err := scale.Objects(files[:2]...)
	if err != nil {
		return err
	}
	for _, o := range objects {
		if o.GetKind() == "Deployment" || o.GetKind() == "Service" {
			continue
		}
		if err := b.Driver.Create(ctx, o); err != nil {
			return fmt.Errorf("install agent-sandbox: %w", err)
		}
	}
	return cluster.BuildTools(ctx, os.Stderr, sandboxTool)
}

func startSandbox(ctx context.Context, b *bed) (*scale.Replica, error) {
	kubeconfig, err := b.TokenKubeconfig(ctx, b.dir, sandboxNamespace, sandboxTool)
	if err != nil {
		return nil, err
	}
	return b.StartReplica(sandboxTool, filepath.Join(b.Bin, sandboxTool), []string{
		"--kubeconfig=" + kubeconfig, "--leader-elect=true", "--leader-election-namespace=" + sandboxNamespace,
		fmt.Sprintf("--sandbox-concurrent-workers=%d", workers), "--kube-api-qps=-1",
		"--health-probe-bind-address=0",
	}, nil)
}

func askSandbox(ctx context.Context, b *bed, i int) error {
	s := b.session(i)
	p, err := b.parts(s)
	if err != nil {
		return err
	}
	pod, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&p.pod.Spec)
	if err != nil {
		return err
	}
	claim, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&p.claim.Spec)
	if err != nil {
		return err
	}
	wish := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"service":              true,
		"podTemplate":          map[string]any{"metadata": map[string]any{"labels": anyOf(p.pod.Labels)}, "spec": pod},
		"volumeClaimTemplates": []any{map[string]any{"metadata": map[string]any{"name": p.homeVolume}, "spec": claim}},
	}}}
	wish.SetGroupVersionKind(sandboxKind)
	wish.SetName(s.Name)
	wish.SetNamespace(s.Namespace)
	if err := b.Driver.Create(ctx, wish); err != nil {
		return err
	}
	extras := slices.DeleteFunc(p.extras, func(o *unstructured.Unstructured) bool { return o.GetKind() == "Service" })
	return b.createExtras(ctx, s, *metav1.NewControllerRef(wish, sandboxKind), extras)
}

func anyOf(m map[string]string) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	return out
}
