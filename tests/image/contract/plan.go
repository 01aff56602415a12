package contract

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

const (
	sessionName = "check"
	// Host of the desktop, which the agent demands of a request.
	host = "check.vdi.example.com"
)

// Plan is the pod in which the platform would run an image.
type Plan struct {
	pod    *corev1.Pod
	claims []string // that the pod mounts beside the home
	wanted wanted
}

// ReadTemplate reads a VDITemplate from a file. Without one it is what the platform takes
// where a template names nothing but its image, without a GPU.
func ReadTemplate(file string) (*vdi.VDITemplate, error) {
	t := &vdi.VDITemplate{ObjectMeta: metav1.ObjectMeta{Name: sessionName}}
	if file == "" {
		return t, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read template: %w", err)
	}
	if err := yaml.UnmarshalStrict(data, t); err != nil || t.Kind != "VDITemplate" {
		return nil, errors.Join(fmt.Errorf("%s is no VDITemplate (kind is %q); see values/templates", file, t.Kind), err)
	}
	return t, nil
}

// NewPlan asks the operator's own renderer for the pod of a session of the template with
// these images. What a cluster for tests cannot give is left out: GPUs, and reserved memory
// and cores; limits stay.
func NewPlan(t *vdi.VDITemplate, image, agent string) (*Plan, error) {
	template := t.DeepCopy()
	template.Spec.Image = image
	template.Spec.Resources.Min.GPU = nil
	config := platform.Config{Sessions: platform.Sessions{Domain: "vdi.example.com"}}
	config.Sessions.Agent.Image = cmp.Or(agent, "agent") // without a cluster none is started
	config.Sessions.TURN.Host = "turn.vdi.example.com"   // for those that stream over WebRTC
	r, err := renderer.New()
	if err != nil {
		return nil, err
	}
	rendered, err := r.Render(renderer.Input{Session: session(), Template: *template, Platform: config, Host: host})
	if err != nil {
		return nil, err
	}
	pod, err := podIn(rendered)
	if err != nil {
		return nil, err
	}
	return planOf(pod, template.Spec, rendered.Claims), nil
}

func podIn(rendered renderer.Rendered) (*corev1.Pod, error) {
	for _, o := range rendered.Objects {
		if o.GetKind() != wire.KindPod {
			continue
		}
		pod := &corev1.Pod{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, pod); err != nil {
			return nil, fmt.Errorf("read the rendered pod: %w", err)
		}
		return pod, nil
	}
	return nil, errors.New("the renderer made no pod")
}

func session() vdi.VDISession {
	return vdi.VDISession{
		ObjectMeta: metav1.ObjectMeta{Name: sessionName, Namespace: sessionName, UID: "00000000-0000-0000-0000-000000000000"},
		Spec:       vdi.VDISessionSpec{User: "check", Template: sessionName, Resources: vdi.SessionResources{GPU: new(int32)}},
	}
}

func planOf(pod *corev1.Pod, t vdi.VDITemplateSpec, claims []string) *Plan {
	desktop := &pod.Spec.Containers[0]
	w := wanted{
		template: t, streamer: platform.FactsOf(t.Streamer),
		uid: *pod.Spec.SecurityContext.RunAsUser, port: int64(desktop.Ports[0].ContainerPort),
	}
	for _, m := range desktop.VolumeMounts {
		if m.Name == wire.VolumeHome {
			w.home = m.MountPath
		}
	}
	desktop.Resources.Requests = corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("16Mi"),
	}
	for _, containers := range [][]corev1.Container{pod.Spec.Containers[:1], pod.Spec.InitContainers[:1]} {
		containers[0].ImagePullPolicy = corev1.PullNever // they were loaded
	}
	// Who asks for what is no node of this cluster, and the session that owns it is not there.
	pod.Spec.NodeSelector, pod.Spec.Affinity, pod.Spec.PriorityClassName, pod.Spec.RuntimeClassName = nil, nil, "", nil
	pod.ObjectMeta = metav1.ObjectMeta{Name: pod.Name, Labels: pod.Labels}
	return &Plan{pod: pod, claims: claims, wanted: w}
}

// overWebRTC reports whether the desktop streams over a relay, of which there is none.
func (p *Plan) overWebRTC() bool {
	return platform.TransportOf(p.wanted.template) == vdi.TransportWebRTC
}

// level is the Pod Security level that the pod must keep to.
func (p *Plan) level() string {
	if cmp.Or(p.wanted.template.Security.Profile, vdi.ProfileRestricted) == vdi.ProfileBaseline {
		return "baseline"
	}
	return "restricted"
}
