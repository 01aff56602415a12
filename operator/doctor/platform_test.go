package doctor

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// is compares a verdict with its state and words that it must have.
func is(t *testing.T, want State, words string, got Verdict) {
	t.Helper()
	assert.Equal(t, want, got.State, got.Seen)
	assert.Contains(t, got.Seen, words)
}

func TestCRDs(t *testing.T) {
	crd := func(name, version string, served apiextensionsv1.ConditionStatus) apiextensionsv1.CustomResourceDefinition {
		return apiextensionsv1.CustomResourceDefinition{
			ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{wire.AnnotationVersion: version}},
			Status: apiextensionsv1.CustomResourceDefinitionStatus{Conditions: []apiextensionsv1.CustomResourceDefinitionCondition{
				{Type: apiextensionsv1.Established, Status: served},
			}},
		}
	}
	judged := func(found ...apiextensionsv1.CustomResourceDefinition) Verdict {
		return CRDs(map[string]string{"a": "0.2.0", "b": "0.2.0"}, found)
	}
	good := crd("a", "0.2.0", apiextensionsv1.ConditionTrue)
	is(t, Passed, "served are a 0.2.0, b 0.3.0", judged(good, crd("b", "0.3.0", apiextensionsv1.ConditionTrue)))
	is(t, Failed, "b is not there", judged(good))
	is(t, Failed, "does not serve b", judged(good, crd("b", "0.2.0", apiextensionsv1.ConditionFalse)))
	is(t, Failed, `b is of version "0.1.9"`, judged(good, crd("b", "0.1.9", apiextensionsv1.ConditionTrue)))
	is(t, Failed, `b is of version ""`, judged(good, crd("b", "", apiextensionsv1.ConditionTrue)))
}

func TestPrograms(t *testing.T) {
	d := func(name string, want, have int32) appsv1.Deployment {
		return appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.DeploymentSpec{Replicas: ptr.To(want)},
			Status: appsv1.DeploymentStatus{AvailableReplicas: have},
		}
	}
	relay := appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: "relay"}, Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: 2, NumberAvailable: 2}}
	wanted := []string{"Deployment/operator", "DaemonSet/relay"}
	is(t, Passed, "DaemonSet/relay, Deployment/operator", Programs(wanted, []appsv1.Deployment{d("operator", 1, 1)}, []appsv1.DaemonSet{relay}))
	is(t, Failed, "Deployment/operator has 0 of 1", Programs(wanted, []appsv1.Deployment{d("operator", 1, 0)}, []appsv1.DaemonSet{relay}))
	is(t, Failed, "Deployment/operator is scaled to no pod", Programs(wanted, []appsv1.Deployment{d("operator", 0, 0)}, []appsv1.DaemonSet{relay}))
	is(t, Failed, "DaemonSet/relay is not there", Programs(wanted, []appsv1.Deployment{d("operator", 1, 1)}, nil))
	is(t, NotJudged, "names no program", Programs(nil, nil, nil))
}

func TestAdmission(t *testing.T) {
	denied := errors.New(`ValidatingAdmissionPolicy "sessions.vdi-operator.vdi-system" denied request`)
	good := Admission{Enabled: true, Wanted: []string{"P/a", "B/a"}, Found: []string{"P/a", "B/a", "P/other"}, ForOther: denied}
	with := func(change func(*Admission)) Verdict {
		a := good
		change(&a)
		return a.Judge()
	}
	is(t, Passed, "all 2 policies", good.Judge())
	is(t, Failed, "B/a is gone", with(func(a *Admission) { a.Found = []string{"P/a"} }))
	is(t, Failed, "in another's name", with(func(a *Admission) { a.ForOther = nil }))
	is(t, Failed, "not by our policy", with(func(a *Admission) { a.ForOther = errors.New("forbidden: User cannot create") }))
	is(t, Failed, "refused a session of their own", with(func(a *Admission) { a.ForSelf = denied }))
	is(t, NotJudged, "admission.enabled is off", with(func(a *Admission) { a.Enabled = false }))
	is(t, NotJudged, "was not asked", with(func(a *Admission) { a.Unasked = errors.New("cannot impersonate") }))
}

func TestSlices(t *testing.T) {
	node := func(name string, slices int64) corev1.Node {
		return corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{
			Allocatable: corev1.ResourceList{"nvidia.com/gpu": *resource.NewQuantity(slices, resource.DecimalSI)},
		}}
	}
	written := func(state string) map[string]string {
		return map[string]string{"config": "state: AsPlanned", "node.a": "state: " + state + "\nplanned: {nvidia.com/gpu: 8}\nallocatable: {nvidia.com/gpu: 8}"}
	}
	is(t, Passed, "a nvidia.com/gpu=8", Slices(true, written("AsPlanned"), []corev1.Node{node("a", 8), node("without-gpu", 0)}))
	is(t, Failed, "offers nvidia.com/gpu=4, but 8 is planned", Slices(true, written("AsPlanned"), []corev1.Node{node("a", 4)}))
	is(t, NotJudged, "is changing", Slices(true, written("Changing"), []corev1.Node{node("a", 4)}))
	is(t, Failed, "0 replicas", Slices(true, map[string]string{"config": "state: WrongConfig\nmessages: [nvidia.com/gpu has 0 replicas]"}, nil))
	is(t, Failed, "no ConfigMap", Slices(true, nil, nil))
	is(t, NotJudged, "no node has GPUs", Slices(true, map[string]string{"config": "state: AsPlanned"}, []corev1.Node{node("a", 0)}))
	is(t, NotJudged, "gpuSharing.enabled is off", Slices(false, nil, nil))
}

func TestMetrics(t *testing.T) {
	page := "# HELP\nvdi_sessions_total{phase=\"Running\"} 1\nvdi_other 2\ngo_threads 5\n"
	is(t, Passed, "2 series", Metrics("s", true, 1, page, nil))
	is(t, Failed, "Service s is gone", Metrics("s", false, 0, page, nil))
	is(t, Failed, "no pod that is ready", Metrics("s", true, 0, page, nil))
	is(t, Failed, "do not answer", Metrics("s", true, 1, "", errors.New("refused")))
	is(t, Failed, "no vdi_sessions_total", Metrics("s", true, 1, "go_threads 5\n", nil))
}

func TestScraped(t *testing.T) {
	is(t, Passed, "reads 1 target", Scraped(true, true, "http://p", []string{"1"}, nil))
	is(t, NotJudged, "is off", Scraped(false, true, "", nil, nil))
	is(t, NotJudged, "no Prometheus was asked", Scraped(true, true, "", nil, nil))
	is(t, Failed, "ServiceMonitor is gone", Scraped(true, false, "http://p", []string{"1"}, nil))
	is(t, Failed, "no target", Scraped(true, true, "http://p", nil, nil))
	is(t, Failed, "up is 0", Scraped(true, true, "http://p", []string{"0"}, nil))
	is(t, Failed, "down", Scraped(false, true, "http://p", nil, errors.New("down")))
}

func TestRelay(t *testing.T) {
	is(t, NotJudged, "no relay is configured", Relay("", 3478, nil))
	is(t, Passed, "answers over tcp, udp", Relay("r", 3478, map[string]error{"udp": nil, "tcp": nil}))
	is(t, Failed, "r:3478 does not answer over udp (refused)", Relay("r", 3478, map[string]error{"udp": errors.New("refused"), "tcp": nil}))
	is(t, NotJudged, "names none", Relay("r", 3478, nil))
}
