package gpu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	pluginapi "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const (
	configLabel   = "nvidia.com/device-plugin.config"
	daemonSetName = "nvidia-device-plugin-daemonset"
)

// Options shape the stand-in.
type Options struct {
	// Cards is the number of made-up GPUs.
	Cards int `json:"cards"`
	// Product is the value of the nvidia.com/gpu.product label, without -SHARED.
	Product string `json:"product"`
	// ConfigMap holds the sharing configuration; Namespace narrows the search,
	// empty means any. Default is the key for nodes without a label of their own.
	ConfigMap string `json:"configMap"`
	Namespace string `json:"namespace"`
	Default   string `json:"default"`
}

// Run serves the node's GPUs until the context ends, or until a real plugin
// would be restarted: when the kubelet restarts, or when the pod template of
// its DaemonSet changes. Like the real one it reads its configuration only at
// the start, so whoever changes the ConfigMap must cause a restart.
func Run(ctx context.Context, client kubernetes.Interface, node string, opts Options) error {
	sharing, err := findSharing(ctx, client, node, opts)
	if err != nil {
		return err
	}
	p := &plugin{sharing: sharing, cards: opts.Cards}
	ctx, restart := context.WithCancelCause(ctx)
	defer restart(nil)
	if err := watchKubelet(ctx, restart); err != nil {
		return err
	}
	watchDaemonSet(ctx, client, opts.Namespace, restart)
	stop, err := p.serve(ctx)
	if err != nil {
		return err
	}
	defer stop()
	if err := label(ctx, client, node, sharing.labelsOf(opts.Cards, opts.Product)); err != nil {
		return err
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// findSharing reads the configuration that applies to the node.
func findSharing(ctx context.Context, client kubernetes.Interface, name string, opts Options) (Sharing, error) {
	node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return Sharing{}, fmt.Errorf("read node: %w", err)
	}
	maps, err := client.CoreV1().ConfigMaps(opts.Namespace).List(ctx, byName(opts.ConfigMap))
	if err != nil {
		return Sharing{}, fmt.Errorf("find sharing configuration: %w", err)
	}
	if len(maps.Items) == 0 {
		return DefaultSharing(), nil
	}
	return sharingFor(node, &maps.Items[0], opts.Default)
}

// sharingFor picks the key for the node: its label beats the default, and a
// label that names no key is an error, as it is for NVIDIA's config manager.
func sharingFor(node *corev1.Node, config *corev1.ConfigMap, key string) (Sharing, error) {
	if label := node.Labels[configLabel]; label != "" {
		key = label
	}
	text, ok := config.Data[key]
	if !ok {
		return Sharing{}, fmt.Errorf("ConfigMap %s/%s has no key %q", config.Namespace, config.Name, key)
	}
	return ParseSharing(text)
}

func byName(name string) metav1.ListOptions {
	return metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()}
}

func label(ctx context.Context, client kubernetes.Interface, node string, labels map[string]string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
	if err != nil {
		return fmt.Errorf("label node: %w", err)
	}
	_, err = client.CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("label node: %w", err)
	}
	return nil
}

var (
	errKubeletRestarted = errors.New("kubelet restarted")
	errTemplateChanged  = errors.New("pod template of the device plugin's DaemonSet changed")
)

// watchKubelet notices that the kubelet made its socket anew, which means that
// it forgot its plugins.
func watchKubelet(ctx context.Context, restart context.CancelCauseFunc) error {
	before, err := os.Stat(pluginapi.KubeletSocket)
	if err != nil {
		return fmt.Errorf("look for kubelet: %w", err)
	}
	go func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if now, err := os.Stat(pluginapi.KubeletSocket); err == nil && !os.SameFile(before, now) {
					restart(errKubeletRestarted)
				}
			}
		}
	}()
	return nil
}

// watchDaemonSet plays the DaemonSet controller's part: a changed pod template
// replaces the plugin's pod.
func watchDaemonSet(ctx context.Context, client kubernetes.Interface, namespace string, restart context.CancelCauseFunc) {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.FieldSelector = byName(daemonSetName).FieldSelector }))
	_, _ = factory.Apps().V1().DaemonSets().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		UpdateFunc: func(before, after any) {
			old, isOld := before.(*appsv1.DaemonSet)
			now, isNow := after.(*appsv1.DaemonSet)
			if isOld && isNow && !equality.Semantic.DeepEqual(old.Spec.Template, now.Spec.Template) {
				restart(errTemplateChanged)
			}
		},
	})
	factory.Start(ctx.Done())
}
