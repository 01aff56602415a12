package judge

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/doctor"
)

func TestUsable(t *testing.T) {
	template := func(name string, valid metav1.ConditionStatus) vdi.VDITemplate {
		return vdi.VDITemplate{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Status:     vdi.VDITemplateStatus{Conditions: []metav1.Condition{{Type: vdi.ConditionValid, Status: valid, Message: "bad values"}}},
		}
	}
	all := []vdi.VDITemplate{template("c", metav1.ConditionTrue), template("a", metav1.ConditionFalse), template("b", metav1.ConditionTrue)}
	got, err := Usable(all, "")
	require.NoError(t, err)
	assert.Equal(t, "b", got.Name)
	got, err = Usable(all, "c")
	require.NoError(t, err)
	assert.Equal(t, "c", got.Name)
	_, err = Usable(all, "a")
	require.ErrorContains(t, err, "a: bad values")
	_, err = Usable(all, "d")
	require.ErrorContains(t, err, `no template "d"`)
	_, err = Usable(nil, "")
	require.ErrorContains(t, err, "there is no template")
}

// A healthy installation whose desktops need Secrets to pull with is not red.
func TestPullSecrets(t *testing.T) {
	is(t, doctor.Passed, "", PullSecrets(nil, ""))
	is(t, doctor.Passed, "", PullSecrets([]string{"registry"}, "vdi-sessions"))
	without := PullSecrets([]string{"registry", "other"}, "")
	is(t, doctor.NotJudged, "pull with other, registry", without)
	assert.Contains(t, without.Remedy, "PULL_SECRETS_FROM=NAMESPACE")
	is(t, doctor.NotJudged, "namespace a holds no Secret registry", NoPullSecret("registry", "a"))
}

func session(phase vdi.Phase, waiting vdi.WaitingFor, message string) vdi.VDISession {
	return vdi.VDISession{Status: vdi.VDISessionStatus{Phase: phase, WaitingFor: waiting, Message: message}}
}

func TestStart(t *testing.T) {
	is(t, doctor.Passed, "runs after 4s", Start(session(vdi.PhaseRunning, "", ""), "plain", 4*time.Second))
	full := Start(session(vdi.PhasePending, vdi.WaitingForGPU, "all slices are in use"), "plain", time.Minute)
	is(t, doctor.NotJudged, "no free slice", full)
	assert.NotEmpty(t, full.Remedy)
	is(t, doctor.Failed, "Pending: cannot pull", Start(session(vdi.PhasePending, vdi.WaitingForImage, "cannot pull"), "plain", time.Minute))
	is(t, doctor.Failed, "Failed: denied", Start(session(vdi.PhaseFailed, "", "denied"), "plain", time.Minute))
	is(t, doctor.Failed, "has said nothing", Start(session("", "", ""), "plain", time.Minute))
}

func TestRoute(t *testing.T) {
	is(t, doctor.Passed, "leads a to the desktop", Route("a", true, http.StatusUnauthorized, nil))
	is(t, doctor.Failed, "no IngressRoute", Route("a", false, http.StatusOK, nil))
	is(t, doctor.Failed, "no route", Route("a", true, http.StatusNotFound, nil))
	is(t, doctor.Failed, "in the desktop's place", Route("a", true, http.StatusServiceUnavailable, nil))
	is(t, doctor.Failed, "does not get through", Route("a", true, http.StatusBadGateway, nil))
	is(t, doctor.Failed, "does not answer", Route("a", true, 0, errors.New("refused")))
}

func TestLogin(t *testing.T) {
	is(t, doctor.Passed, "401", Login(http.StatusUnauthorized, http.StatusOK, nil))
	is(t, doctor.Failed, "without a login", Login(http.StatusOK, http.StatusOK, nil))
	is(t, doctor.Failed, "with the session's password", Login(http.StatusUnauthorized, http.StatusUnauthorized, nil))
	is(t, doctor.Failed, "refused", Login(0, 0, errors.New("refused")))
}

func TestSingleSignOn(t *testing.T) {
	way := func(addresses ...string) (out []*url.URL) {
		for _, a := range addresses {
			u, err := url.Parse(a)
			require.NoError(t, err)
			out = append(out, u)
		}
		return out
	}
	const door = "https://auth.vdi.example.com/login"
	judged := func(w []*url.URL) doctor.Verdict { return SingleSignOn("vdi.example.com", "vdi", w, nil) }
	is(t, doctor.Passed, "login at id.example.com", judged(way(door, "https://id.example.com/authorize?client_id=vdi&redirect_uri=https%3A%2F%2Fauth.vdi.example.com%2Fcallback")))
	is(t, doctor.Failed, "not sent to a login", judged(nil))
	is(t, doctor.Failed, "not to auth.vdi.example.com", judged(way("https://elsewhere.example.com/")))
	is(t, doctor.Failed, "does not lead to the identity provider", judged(way(door)))
	is(t, doctor.Failed, `client "other"`, judged(way(door, "https://id.example.com/authorize?client_id=other")))
	is(t, doctor.Failed, "come back to", judged(way(door, "https://id.example.com/authorize?client_id=vdi&redirect_uri=https%3A%2F%2Felsewhere.example.com%2Fcallback")))
	is(t, doctor.Failed, "timeout", SingleSignOn("vdi.example.com", "vdi", nil, errors.New("timeout")))
}

func TestLocalLogin(t *testing.T) {
	const portal = "portal.vdi.example.com"
	way := func(host string) []*url.URL {
		return []*url.URL{{Scheme: "https", Host: host + ":8443", Path: "/login"}}
	}
	is(t, doctor.Passed, "login at "+portal, LocalLogin(portal, way(portal), http.StatusOK, nil))
	is(t, doctor.Failed, "not sent to a login", LocalLogin(portal, nil, http.StatusUnauthorized, nil))
	is(t, doctor.Failed, "sent to auth.vdi.example.com, not to "+portal, LocalLogin(portal, way("auth.vdi.example.com"), http.StatusOK, nil))
	is(t, doctor.Failed, "list of people cannot be used", LocalLogin(portal, way(portal), http.StatusServiceUnavailable, nil))
	is(t, doctor.Failed, "answers 404", LocalLogin(portal, way(portal), http.StatusNotFound, nil))
	is(t, doctor.Failed, "timeout", LocalLogin(portal, nil, 0, errors.New("timeout")))
}

func TestPolicies(t *testing.T) {
	closed := map[string]string{"10.1.0.5:8080": "port 8080 (http)", "10.1.0.5:8090": "port 8090 (agent)"}
	judged := func(log string) doctor.Verdict {
		return Policies(ParseReached(log), "10.0.0.1:443", closed, map[string]bool{"8080": true})
	}
	const control = "10.0.0.1:443 reached\n"
	is(t, doctor.Passed, "port 8080 (http), port 8090 (agent)", judged(control+"10.1.0.5:8080 not reached: dial tcp: i/o timeout\n10.1.0.5:8090 not reached: dial tcp: i/o timeout\n"))
	is(t, doctor.Failed, "reaches the desktop's port 8090 (agent)", judged(control+"10.1.0.5:8080 not reached: timeout\n10.1.0.5:8090 reached\n"))
	is(t, doctor.NotJudged, "prove nothing", judged("10.0.0.1:443 not reached: timeout\n10.1.0.5:8080 not reached: timeout\n10.1.0.5:8090 not reached: timeout\n"))
	is(t, doctor.NotJudged, "prove nothing", judged(""))
	const refused = "10.1.0.5:8080 not reached: connect: connection refused\n10.1.0.5:8090 not reached: connect: connection refused\n"
	is(t, doctor.Passed, "refused at the desktop's port 8080 (http), and", judged(control+refused))
	is(t, doctor.NotJudged, "no port at which a knock would prove anything", Policies(ParseReached(control+refused), "10.0.0.1:443", closed, nil))
	is(t, doctor.NotJudged, "no port at which a knock", Policies(ParseReached(control), "10.0.0.1:443", nil, nil))
	is(t, doctor.NotJudged, "said nothing about port 8090", judged(control+"10.1.0.5:8080 not reached: timeout\n"))
}

func TestListening(t *testing.T) {
	const tables = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1 0000000000000000 100 0 0 10 0
   1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 2 1 0000000000000000 100 0 0 10 0
   2: 0500010A:1F99 0600010A:B1C2 01 00000000:00000000 00:00000000 00000000  1000        0 3 1 0000000000000000 100 0 0 10 0
   0: 00000000000000000000000000000000:1F9A 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4
   1: 00000000000000000000000001000000:1F9B 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 5
`
	assert.Equal(t, map[string]bool{"8080": true, "8090": true}, Listening(tables))
	assert.Empty(t, Listening(""))
}

func TestSuspended(t *testing.T) {
	gpu := &vdi.GPUStatus{ResourceName: "nvidia.com/gpu", Count: 1}
	is(t, doctor.Passed, "nvidia.com/gpu=1 is free", Suspended(session(vdi.PhaseSuspended, "", ""), gpu, 0, false, time.Second))
	is(t, doctor.Passed, "gives no GPU", Suspended(session(vdi.PhaseSuspended, "", ""), nil, 0, false, time.Second))
	is(t, doctor.Failed, "not suspended", Suspended(session(vdi.PhaseRunning, "", "ready"), gpu, 1, true, time.Second))
	is(t, doctor.Failed, "pod is still there", Suspended(session(vdi.PhaseSuspended, "", ""), gpu, 1, true, time.Second))
	is(t, doctor.Failed, "nvidia.com/gpu=1 is still held", Suspended(session(vdi.PhaseSuspended, "", ""), gpu, 1, false, time.Second))
}

func TestHeld(t *testing.T) {
	pod := func(phase corev1.PodPhase) corev1.Pod {
		limits := corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("1")}
		return corev1.Pod{
			Spec:   corev1.PodSpec{Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{Limits: limits}}, {}}},
			Status: corev1.PodStatus{Phase: phase},
		}
	}
	assert.EqualValues(t, 2, Held([]corev1.Pod{pod(corev1.PodRunning), pod(corev1.PodPending), pod(corev1.PodSucceeded)}, "nvidia.com/gpu"))
	assert.EqualValues(t, 0, Held([]corev1.Pod{pod(corev1.PodRunning)}, "amd.com/gpu"))
}

func TestResumed(t *testing.T) {
	up, wrong := session(vdi.PhaseRunning, "", ""), errors.New("no shell")
	is(t, doctor.Passed, "finds its file", Resumed(up, "mark", "mark", nil, nil, time.Second))
	is(t, doctor.Failed, "is not there", Resumed(up, "mark", "", nil, nil, time.Second))
	is(t, doctor.Failed, "is not there", Resumed(up, "mark", "", nil, wrong, time.Second))
	is(t, doctor.NotJudged, "no file could be written", Resumed(up, "mark", "", wrong, nil, time.Second))
	is(t, doctor.Failed, "not running again", Resumed(session(vdi.PhasePending, vdi.WaitingForVolume, "no volume"), "mark", "", nil, nil, time.Minute))
	is(t, doctor.NotJudged, "somebody else took the slice", Resumed(session(vdi.PhasePending, vdi.WaitingForGPU, "all in use"), "mark", "", nil, nil, time.Minute))
}
