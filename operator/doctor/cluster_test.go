package doctor

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes/kept"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// A release of a later version than its CRDs is as healthy as one of the same.
func TestDefinitions(t *testing.T) {
	versions, err := Definitions()
	require.NoError(t, err)
	require.Len(t, versions, 4)
	for name, version := range versions {
		assert.NotEmpty(t, version, name)
	}
}

func made[T any](edit func(*T)) T {
	var o T
	edit(&o)
	return o
}

func TestRelease(t *testing.T) {
	program := func(name, version string, has int32) appsv1.Deployment {
		return made(func(d *appsv1.Deployment) {
			d.Name, d.Labels, d.Status.AvailableReplicas = name, map[string]string{labelVersion: version}, has
		})
	}
	is(t, Passed, "Deployment/front, Deployment/operator have all their pods", Release([]appsv1.Deployment{program("operator", "0.2.0", 1), program("front", "0.2.0", 1)}, "0.2.0"))
	is(t, Failed, "Deployment/operator has 0 of 1 pods available", Release([]appsv1.Deployment{program("operator", "0.1.0", 0)}, "0.2.0"))
	is(t, NotJudged, "operator is of version 0.1.0; this program is of version 0.2.0", Release([]appsv1.Deployment{program("operator", "0.1.0", 1)}, "0.2.0"))
	for _, checkout := range []string{"", "dev", "0.0.0-test"} {
		is(t, Passed, "operator", Release([]appsv1.Deployment{program("operator", "0.1.0", 1)}, checkout))
	}
	is(t, Failed, "no Deployment of the platform", Release(nil, "0.2.0"))
}

func TestGuarded(t *testing.T) {
	var all []string
	for _, part := range Policies() {
		all = append(all, part+".vdi-operator.vdi-system")
	}
	others := append([]string{"others", "vdi-frontdoor.vdi-system"}, all...)
	is(t, Passed, "policies and bindings are there", Guarded(others, others))
	is(t, Failed, "ValidatingAdmissionPolicy/"+all[0]+" is gone", Guarded(all[1:], all))
	is(t, Failed, "ValidatingAdmissionPolicyBinding/"+all[3]+" is gone", Guarded(all, slices.Delete(slices.Clone(all), 3, 4)))
	is(t, NotJudged, "guarded by RBAC alone", Guarded([]string{"others"}, nil))
}

func TestRoles(t *testing.T) {
	all := []string{"cluster-admin", "vdi-admin", "vdi-catalogue", "vdi-template-user", "vdi-user", "vdi-viewer"}
	is(t, Passed, "vdi-viewer are there", Roles(all))
	is(t, Failed, "ClusterRole vdi-viewer is gone", Roles(all[:5]))
	is(t, NotJudged, "none of the roles", Roles(all[:1]))
}

func TestTemplates(t *testing.T) {
	template := func(name string, status metav1.ConditionStatus, words string) vdi.VDITemplate {
		return made(func(o *vdi.VDITemplate) {
			o.Name = name
			if status != "" {
				o.Status.Conditions = []metav1.Condition{{Type: vdi.ConditionValid, Status: status, Message: words}}
			}
		})
	}
	good := template("plain", metav1.ConditionTrue, "")
	is(t, Passed, "templates that can be used: 2", Templates([]vdi.VDITemplate{good, template("kiosk", metav1.ConditionTrue, "")}))
	is(t, Failed, "kiosk: spec.image: not set", Templates([]vdi.VDITemplate{good, template("kiosk", metav1.ConditionFalse, "spec.image: not set")}))
	is(t, NotJudged, "has not looked at template new", Templates([]vdi.VDITemplate{good, template("new", "", "")}))
	edited := good
	edited.Generation = 2
	is(t, NotJudged, "has not looked at template plain", Templates([]vdi.VDITemplate{edited}))
	is(t, Failed, "there is no template", Templates(nil))
}

func TestEncoders(t *testing.T) {
	node := func(name, product string) corev1.Node {
		return made(func(n *corev1.Node) {
			n.Name, n.Labels = name, map[string]string{"nvidia.com/gpu.present": "true", "nvidia.com/gpu.product": product}
		})
	}
	is(t, Passed, "a has NVENC, b has none (NVIDIA-A100-SXM4-40GB)", Encoders([]corev1.Node{node("b", "NVIDIA-A100-SXM4-40GB"), node("a", "NVIDIA-L4"), {}}))
	is(t, NotJudged, `of c (product "")`, Encoders([]corev1.Node{node("a", "NVIDIA-L4"), node("c", "")}))
	is(t, NotJudged, "no node is labelled", Encoders([]corev1.Node{{}}))
}

func TestStorage(t *testing.T) {
	class := func(name string, byDefault bool, grows *bool) storagev1.StorageClass {
		return made(func(c *storagev1.StorageClass) {
			c.Name, c.AllowVolumeExpansion = name, grows
			if byDefault {
				c.Annotations = map[string]string{isDefaultClass: "true"}
			}
		})
	}
	is(t, Passed, "fast is the default, and its volumes can grow", Storage([]storagev1.StorageClass{class("slow", false, nil), class("fast", true, new(true))}))
	is(t, Passed, "cannot grow", Storage([]storagev1.StorageClass{class("fast", true, nil)}))
	is(t, Failed, "no StorageClass is the default", Storage([]storagev1.StorageClass{class("slow", false, nil)}))
	is(t, NotJudged, "2 StorageClasses are the default", Storage([]storagev1.StorageClass{class("a", true, nil), class("b", true, nil)}))
}

func TestStuck(t *testing.T) {
	session := func(name string, status metav1.ConditionStatus) vdi.VDISession {
		return made(func(s *vdi.VDISession) {
			s.Name, s.Namespace, s.Status.Conditions = name, "desks", []metav1.Condition{{Type: vdi.ConditionStalled, Status: status}}
		})
	}
	is(t, Passed, "sessions: 2, and none waits", Stuck([]vdi.VDISession{session("a", metav1.ConditionFalse), session("b", metav1.ConditionFalse)}))
	v := Stuck([]vdi.VDISession{session("a", metav1.ConditionFalse), session("b", metav1.ConditionTrue)})
	is(t, Failed, "sessions that do not go on by themselves: 1 of 2, desks/b", v)
	assert.Equal(t, "kubectl vdi why b -n desks says what each needs", v.Remedy)
	many := slices.Repeat([]vdi.VDISession{session("a", metav1.ConditionTrue)}, 7)
	is(t, Failed, "and 2 more", Stuck(many))
}

func TestHomes(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	home := func(keep time.Duration, left bool) corev1.PersistentVolumeClaim {
		return made(func(c *corev1.PersistentVolumeClaim) {
			c.Name, c.UID = wire.PrefixHome+"desk", "1"
			c.Labels = map[string]string{wire.LabelManagedBy: wire.Operator, wire.LabelInstance: "desk"}
			c.Annotations = map[string]string{wire.AnnotationSessionUID: "s"}
			if left {
				kept.Leave(c, now, keep)
			}
		})
	}
	is(t, Passed, "homes without a session: 1, each with an end", Homes([]corev1.PersistentVolumeClaim{home(time.Hour, true), home(0, false)}, now))
	is(t, Passed, "homes without a session: 2, of them kept for ever: 1", Homes([]corev1.PersistentVolumeClaim{home(time.Hour, true), home(0, true)}, now))
}

func TestProxies(t *testing.T) {
	for _, image := range []string{"traefik:v3.6.25", "registry.example.com:5000/traefik:3.7.11@sha256:00", "traefik:v3.8.0", "traefik:v4.0.0"} {
		is(t, Passed, image, Proxies([]string{image}))
	}
	for _, image := range []string{"traefik:v3.6.24", "traefik:v3.7.10", "traefik:v3.5.99", "traefik:v2.11.0"} {
		is(t, Failed, "CVE-2026-71324", Proxies([]string{"traefik:v3.7.12", image}))
	}
	is(t, NotJudged, "does not say its version", Proxies([]string{"traefik@sha256:00"}))
	is(t, NotJudged, "does not say its version", Proxies([]string{"registry.example.com:5000/traefik"}))
	is(t, NotJudged, "no Deployment of Traefik", Proxies(nil))
}

func TestMonitors(t *testing.T) {
	is(t, Passed, "2 ServiceMonitors", Monitors(true, 2))
	is(t, NotJudged, "nobody reads its metrics", Monitors(true, 0))
	is(t, NotJudged, "no Prometheus Operator", Monitors(false, 0))
}
