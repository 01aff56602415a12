package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"github.com/vdi-platform/vdi-platform/tests/image"
)

const (
	probeImage       = "vdi.local/probe:test"
	probePort        = 8080
	probeServiceName = "prober" // a pod's own name is in its hosts file and proves nothing
)

// TestNode needs root on Debian and fails elsewhere: a skipped test would hide
// that nothing real was run.
func TestNode(t *testing.T) {
	t.Parallel() // with the other: clusters must not get in each other's way
	ports, err := freePorts(1)
	require.NoError(t, err)
	n := startNode(t, Options{Name: "node-test", Forwards: []Forward{{Host: ports[0], Node: 80}}})
	n.loadProbe(t)
	n.create(t, n.gpuPod("probe"), probeService(), claim())
	probe := n.running(t, "probe")
	podURL := fmt.Sprintf("http://%s:%d", probe.Status.PodIP, probePort)

	t.Run("pod has a GPU and answers on its address", func(t *testing.T) {
		assert.Contains(t, get(t, podURL+"/hello"), "hello from probe with GPU-")
	})
	t.Run("service answers on its address", func(t *testing.T) {
		service, err := n.client.CoreV1().Services("default").Get(t.Context(), probeServiceName, metav1.GetOptions{})
		require.NoError(t, err)
		assert.Contains(t, get(t, "http://"+service.Spec.ClusterIP+"/hello"), "hello from probe")
	})
	t.Run("host port answers through the forward", func(t *testing.T) {
		assert.Contains(t, get(t, fmt.Sprintf("http://127.0.0.1:%d/hello", ports[0])), "hello from probe")
	})
	t.Run("pods find services by name", func(t *testing.T) {
		for _, target := range []string{
			"http://" + probeServiceName + "/hello",
			"http://" + probeServiceName + ".default.svc.cluster.local/hello",
			"http://desk.vdi.localhost/hello", // the node, where a proxy would listen
		} {
			assert.Contains(t, get(t, podURL+"/get?url="+url.QueryEscape(target)), "hello from probe", target)
		}
	})
	t.Run("claim is a folder that pods may write", func(t *testing.T) {
		get(t, podURL+"/write?file=/home/probe/note")
		found, err := filepath.Glob(filepath.Join(n.Volumes(), "*", "note"))
		require.NoError(t, err)
		assert.Len(t, found, 1)
	})
	t.Run("claim grows", n.testClaimGrows)
	t.Run("policies hold", func(t *testing.T) { n.testPolicies(t, podURL+"/hello") })
	t.Run("ninth slice is refused", n.testNinthSlice)
	t.Run("changed sharing is read at a restart", n.testSharing)
	t.Run("killed program comes back", n.testKill)
	t.Run("audit log tells of requests", func(t *testing.T) {
		audit, err := os.ReadFile(n.AuditLog())
		require.NoError(t, err)
		assert.Contains(t, string(audit), `"name":"probe"`)
	})
	t.Run("up leaves a healthy cluster alone", func(t *testing.T) {
		again, err := Up(t.Context(), Options{Name: n.Name(), Progress: io.Discard})
		require.NoError(t, err)
		assert.Equal(t, n.state.Init, again.state.Init)
	})
	t.Run("down leaves nothing", func(t *testing.T) {
		require.NoError(t, Down(t.Context(), n.Name()), "it looks for leftovers itself")
		require.NoDirExists(t, n.state.Dir)
		require.NoError(t, Down(t.Context(), n.Name()), "again is no error")
	})
}

// TestNodeCrash kills the outermost process, as a shortage of memory might.
func TestNodeCrash(t *testing.T) {
	t.Parallel()
	n := startNode(t, Options{Name: "crash-test", NoGPU: true})
	require.NoError(t, syscall.Kill(n.state.Daemon.PID, syscall.SIGKILL))
	require.NoError(t, waitGone(t.Context(), n.state.Init), "the kernel ends the namespaces with the daemon")
	_, err := Open(n.Name())
	require.ErrorContains(t, err, "has died")
	require.NoError(t, Down(t.Context(), n.Name()))
}

// node is a running cluster under test.
type node struct {
	*Cluster
	client kubernetes.Interface
}

func startNode(t *testing.T, opts Options) *node {
	t.Helper()
	opts.DieWithParent = true
	c, err := Up(t.Context(), opts)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, Down(context.Background(), opts.Name)) })
	config, err := c.RESTConfig()
	require.NoError(t, err)
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	return &node{Cluster: c, client: client}
}

func (n *node) loadProbe(t *testing.T) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "probe")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "./testdata/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	img, err := image.Binaries(image.Config{}, program)
	require.NoError(t, err)
	archive := filepath.Join(t.TempDir(), "probe.tar")
	require.NoError(t, image.WriteFile(archive, probeImage, img))
	require.NoError(t, n.LoadImage(t.Context(), archive))
	require.NoError(t, n.LoadImage(t.Context(), archive), "again is no error")
}

func (n *node) create(t *testing.T, objects ...any) {
	t.Helper()
	core := n.client.CoreV1()
	for _, object := range objects {
		var err error
		switch o := object.(type) {
		case *corev1.Pod:
			_, err = core.Pods("default").Create(t.Context(), o, metav1.CreateOptions{})
		case *corev1.Service:
			_, err = core.Services("default").Create(t.Context(), o, metav1.CreateOptions{})
		case *corev1.PersistentVolumeClaim:
			_, err = core.PersistentVolumeClaims("default").Create(t.Context(), o, metav1.CreateOptions{})
		case *corev1.ConfigMap:
			_, err = core.ConfigMaps("default").Create(t.Context(), o, metav1.CreateOptions{})
		default:
			err = fmt.Errorf("cannot create %T", o)
		}
		require.NoError(t, err)
	}
}

// gpuPod wants one slice, the claim and port 80 of the node.
func (n *node) gpuPod(name string) *corev1.Pod {
	pod := slicePod(name, probeImage)
	c := &pod.Spec.Containers[0]
	c.Ports = []corev1.ContainerPort{{ContainerPort: probePort, HostPort: 80}}
	c.VolumeMounts = []corev1.VolumeMount{{Name: "home", MountPath: "/home/probe"}}
	pod.Spec.Volumes = []corev1.Volume{{Name: "home", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "home"},
	}}}
	return pod
}

func slicePod(name, image string) *corev1.Pod {
	grace := int64(0)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: &grace,
			Containers: []corev1.Container{{
				Name: "main", Image: image, ImagePullPolicy: corev1.PullNever,
				Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("1")}},
			}},
		},
	}
}

func probeService() *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: probeServiceName}, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": "probe"},
		Ports:    []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(probePort)}},
	}}
}

func claim() *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "home"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
	}}
}

// eventually waits for something of the cluster, up to a generous limit.
func eventually(t *testing.T, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, waitFor(ctx, what, check))
}

func (n *node) pod(ctx context.Context, name string) (*corev1.Pod, error) {
	return n.client.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
}

func (n *node) running(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	var pod *corev1.Pod
	eventually(t, "pod "+name, func(ctx context.Context) (err error) {
		if pod, err = n.pod(ctx, name); err == nil && pod.Status.Phase != corev1.PodRunning {
			err = fmt.Errorf("it is %s: %v", pod.Status.Phase, pod.Status.ContainerStatuses)
		}
		return err
	})
	return pod
}

// get asks until it is answered: rules for a new service take a moment.
func get(t *testing.T, url string) string {
	t.Helper()
	var body string
	eventually(t, url, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		content, err := io.ReadAll(response.Body)
		body = string(content)
		if err == nil && response.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", response.Status, body)
		}
		return err
	})
	return body
}

func (n *node) testClaimGrows(t *testing.T) {
	claims := n.client.CoreV1().PersistentVolumeClaims("default")
	home, err := claims.Get(t.Context(), "home", metav1.GetOptions{})
	require.NoError(t, err)
	want := resource.MustParse("2Gi")
	home.Spec.Resources.Requests[corev1.ResourceStorage] = want
	home.ResourceVersion = "" // its controllers write it too
	_, err = claims.Update(t.Context(), home, metav1.UpdateOptions{})
	require.NoError(t, err)
	eventually(t, "the larger claim", func(ctx context.Context) error {
		home, err := claims.Get(ctx, "home", metav1.GetOptions{})
		if has := home.Status.Capacity[corev1.ResourceStorage]; err == nil && has.Cmp(want) != 0 {
			err = fmt.Errorf("it has %s", has.String())
		}
		return err
	})
}

func (n *node) testNinthSlice(t *testing.T) {
	for i := 2; i <= 9; i++ { // the probe has the first
		n.create(t, slicePod(fmt.Sprintf("slice-%d", i), pauseImage))
	}
	pods := n.client.CoreV1().Pods("default")
	eventually(t, "eight running pods and one refused", func(ctx context.Context) error {
		all, err := pods.List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		running, refused := count(all.Items)
		if running != 8 || refused != 1 {
			return fmt.Errorf("%d run, %d are refused", running, refused)
		}
		return nil
	})
}

func count(pods []corev1.Pod) (running, refused int) {
	for _, pod := range pods {
		if pod.Status.Phase == corev1.PodRunning {
			running++
		}
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodScheduled && strings.Contains(c.Message, "Insufficient nvidia.com/gpu") {
				refused++
			}
		}
	}
	return running, refused
}

// testSharing changes the configuration and then does what an operator must do
// to make it count: it changes the pod template of the plugin's DaemonSet.
func (n *node) testSharing(t *testing.T) {
	sets := n.client.AppsV1().DaemonSets("default")
	set, err := sets.Create(t.Context(), pluginDaemonSet(), metav1.CreateOptions{})
	require.NoError(t, err)
	n.create(t, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "time-slicing-config"},
		Data: map[string]string{
			"any": "version: v1\nsharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 10}]}}",
		},
	})
	set.Spec.Template.Annotations = map[string]string{"config": "changed"}
	set.ResourceVersion = "" // its controller writes it too
	_, err = sets.Update(t.Context(), set, metav1.UpdateOptions{})
	require.NoError(t, err)
	eventually(t, "ten slices", func(ctx context.Context) error {
		node, err := n.client.CoreV1().Nodes().Get(ctx, n.NodeName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		if slices := node.Status.Allocatable["nvidia.com/gpu"]; slices.Value() != 10 {
			return fmt.Errorf("there are %s", slices.String())
		}
		return nil
	})
	assert.Equal(t, corev1.PodRunning, n.running(t, "slice-9").Status.Phase, "the refused pod fits now")
}

// pluginDaemonSet has the name that NVIDIA's operator gives it, and runs nowhere.
func pluginDaemonSet() *appsv1.DaemonSet {
	labels := map[string]string{"app": "nvidia-device-plugin-daemonset"}
	return &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: "nvidia-device-plugin-daemonset"},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					NodeSelector: map[string]string{"runs": "nowhere"},
					Containers:   []corev1.Container{{Name: "main", Image: pauseImage}},
				},
			},
		},
	}
}

// testPolicies: a policy closes a pod, and its end opens it again.
func (n *node) testPolicies(t *testing.T, url string) {
	policies := n.client.NetworkingV1().NetworkPolicies("default")
	closed := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "closed"}}
	_, err := policies.Create(t.Context(), closed, metav1.CreateOptions{})
	require.NoError(t, err)
	answers := func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
		if err != nil {
			return err
		}
		return response.Body.Close()
	}
	eventually(t, "the policy", func(ctx context.Context) error {
		if answers(ctx) == nil {
			return errors.New("the pod still answers")
		}
		return nil
	})
	require.NoError(t, policies.Delete(t.Context(), closed.Name, metav1.DeleteOptions{}))
	eventually(t, "an end of the policy", answers)
}

// A kernel that cannot is said at once, with what to do.
func TestKernelWithoutSetsIsNamed(t *testing.T) {
	err := checkKernel(t.Context(), [][]string{{"true"}, {"ls", "/no/such/set"}})
	require.ErrorContains(t, err, "cannot enforce NetworkPolicies: ls /no/such/set")
	require.ErrorContains(t, err, "modprobe -a ip_set_hash_ip")
	require.ErrorContains(t, err, "--no-policies")
}

func (n *node) testKill(t *testing.T) {
	require.NoError(t, n.Kill("kube-apiserver"))
	eventually(t, "the API server", func(ctx context.Context) error {
		_, err := n.pod(ctx, "probe")
		return err
	})
	require.NoError(t, n.Kill("kubelet"))
	require.ErrorContains(t, n.Kill("nothing"), "no program")
	n.running(t, "probe")
}
