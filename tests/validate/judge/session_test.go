package judge

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
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
	is(t, Passed, "", PullSecrets(nil, ""))
	is(t, Passed, "", PullSecrets([]string{"registry"}, "vdi-sessions"))
	without := PullSecrets([]string{"registry", "other"}, "")
	is(t, NotJudged, "pull with other, registry", without)
	assert.Contains(t, without.Remedy, "PULL_SECRETS_FROM=NAMESPACE")
	is(t, NotJudged, "namespace a holds no Secret registry", NoPullSecret("registry", "a"))
}

func session(phase vdi.Phase, waiting vdi.WaitingFor, message string) vdi.VDISession {
	return vdi.VDISession{Status: vdi.VDISessionStatus{Phase: phase, WaitingFor: waiting, Message: message}}
}

func TestStart(t *testing.T) {
	is(t, Passed, "runs after 4s", Start(session(vdi.PhaseRunning, "", ""), "plain", 4*time.Second))
	full := Start(session(vdi.PhasePending, vdi.WaitingForGPU, "all slices are in use"), "plain", time.Minute)
	is(t, NotJudged, "no free slice", full)
	assert.NotEmpty(t, full.Remedy)
	is(t, Failed, "Pending: cannot pull", Start(session(vdi.PhasePending, vdi.WaitingForImage, "cannot pull"), "plain", time.Minute))
	is(t, Failed, "Failed: denied", Start(session(vdi.PhaseFailed, "", "denied"), "plain", time.Minute))
	is(t, Failed, "has said nothing", Start(session("", "", ""), "plain", time.Minute))
}

func TestNames(t *testing.T) {
	is(t, Passed, "is 10.0.0.1", Names("a.vdi.example.com", "vdi.example.com", "", []string{"10.0.0.1"}, nil))
	is(t, Failed, "cannot be resolved", Names("a.vdi.example.com", "vdi.example.com", "", nil, errors.New("no such host")))
	is(t, Failed, "has no address", Names("a.vdi.example.com", "vdi.example.com", "", nil, nil))
	is(t, Failed, "not below other.example.com", Names("a.vdi.example.com", "other.example.com", "", []string{"10.0.0.1"}, nil))
	is(t, NotJudged, "ADDRESS=10.0.0.1:8443 is used", Names("a.vdi.example.com", "vdi.example.com", "10.0.0.1:8443", nil, nil))
}

func TestCertificate(t *testing.T) {
	now := time.Now()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	issue := func(c, parent *x509.Certificate) *x509.Certificate {
		c.SerialNumber, c.NotBefore = big.NewInt(1), now.Add(-time.Hour)
		raw, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, key)
		require.NoError(t, err)
		made, err := x509.ParseCertificate(raw)
		require.NoError(t, err)
		return made
	}
	authority := &x509.Certificate{Subject: pkix.Name{CommonName: "ours"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: now.Add(time.Hour * 9999)}
	authority = issue(authority, authority)
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	leaf := func(name string, life time.Duration) []*x509.Certificate {
		return []*x509.Certificate{issue(&x509.Certificate{DNSNames: []string{name}, NotAfter: now.Add(life)}, authority)}
	}
	const host = "alice.vdi.example.com"
	is(t, Passed, "*.vdi.example.com", Certificate(host, leaf("*.vdi.example.com", 999*time.Hour), roots, now))
	is(t, Passed, "renew it soon", Certificate(host, leaf("*.vdi.example.com", 99*time.Hour), roots, now))
	is(t, Failed, "is for *.other.example.com, not for "+host, Certificate(host, leaf("*.other.example.com", 999*time.Hour), roots, now))
	is(t, Failed, "has ended on", Certificate(host, leaf("*.vdi.example.com", -time.Minute), roots, now))
	is(t, Failed, "browsers refuse", Certificate(host, leaf("*.vdi.example.com", 999*time.Hour), x509.NewCertPool(), now))
	is(t, Failed, "no certificate", Certificate(host, nil, roots, now))
}

func TestRoute(t *testing.T) {
	is(t, Passed, "leads a to the desktop", Route("a", true, http.StatusUnauthorized, nil))
	is(t, Failed, "no IngressRoute", Route("a", false, http.StatusOK, nil))
	is(t, Failed, "no route", Route("a", true, http.StatusNotFound, nil))
	is(t, Failed, "in the desktop's place", Route("a", true, http.StatusServiceUnavailable, nil))
	is(t, Failed, "does not get through", Route("a", true, http.StatusBadGateway, nil))
	is(t, Failed, "does not answer", Route("a", true, 0, errors.New("refused")))
}

func TestLogin(t *testing.T) {
	is(t, Passed, "401", Login(http.StatusUnauthorized, http.StatusOK, nil))
	is(t, Failed, "without a login", Login(http.StatusOK, http.StatusOK, nil))
	is(t, Failed, "with the session's password", Login(http.StatusUnauthorized, http.StatusUnauthorized, nil))
	is(t, Failed, "refused", Login(0, 0, errors.New("refused")))
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
	judged := func(w []*url.URL) Verdict { return SingleSignOn("vdi.example.com", "vdi", w, nil) }
	is(t, Passed, "login at id.example.com", judged(way(door, "https://id.example.com/authorize?client_id=vdi&redirect_uri=https%3A%2F%2Fauth.vdi.example.com%2Fcallback")))
	is(t, Failed, "not sent to a login", judged(nil))
	is(t, Failed, "not to auth.vdi.example.com", judged(way("https://elsewhere.example.com/")))
	is(t, Failed, "does not lead to the identity provider", judged(way(door)))
	is(t, Failed, `client "other"`, judged(way(door, "https://id.example.com/authorize?client_id=other")))
	is(t, Failed, "come back to", judged(way(door, "https://id.example.com/authorize?client_id=vdi&redirect_uri=https%3A%2F%2Felsewhere.example.com%2Fcallback")))
	is(t, Failed, "timeout", SingleSignOn("vdi.example.com", "vdi", nil, errors.New("timeout")))
}

func TestLocalLogin(t *testing.T) {
	const portal = "portal.vdi.example.com"
	way := func(host string) []*url.URL {
		return []*url.URL{{Scheme: "https", Host: host + ":8443", Path: "/login"}}
	}
	is(t, Passed, "login at "+portal, LocalLogin(portal, way(portal), http.StatusOK, nil))
	is(t, Failed, "not sent to a login", LocalLogin(portal, nil, http.StatusUnauthorized, nil))
	is(t, Failed, "sent to auth.vdi.example.com, not to "+portal, LocalLogin(portal, way("auth.vdi.example.com"), http.StatusOK, nil))
	is(t, Failed, "list of people cannot be used", LocalLogin(portal, way(portal), http.StatusServiceUnavailable, nil))
	is(t, Failed, "answers 404", LocalLogin(portal, way(portal), http.StatusNotFound, nil))
	is(t, Failed, "timeout", LocalLogin(portal, nil, 0, errors.New("timeout")))
}

func TestPolicies(t *testing.T) {
	closed := map[string]string{"10.1.0.5:8080": "port 8080 (http)", "10.1.0.5:8090": "port 8090 (agent)"}
	judged := func(log string) Verdict {
		return Policies(ParseReached(log), "10.0.0.1:443", closed, map[string]bool{"8080": true})
	}
	const control = "10.0.0.1:443 reached\n"
	is(t, Passed, "port 8080 (http), port 8090 (agent)", judged(control+"10.1.0.5:8080 not reached: dial tcp: i/o timeout\n10.1.0.5:8090 not reached: dial tcp: i/o timeout\n"))
	is(t, Failed, "reaches the desktop's port 8090 (agent)", judged(control+"10.1.0.5:8080 not reached: timeout\n10.1.0.5:8090 reached\n"))
	is(t, NotJudged, "prove nothing", judged("10.0.0.1:443 not reached: timeout\n10.1.0.5:8080 not reached: timeout\n10.1.0.5:8090 not reached: timeout\n"))
	is(t, NotJudged, "prove nothing", judged(""))
	const refused = "10.1.0.5:8080 not reached: connect: connection refused\n10.1.0.5:8090 not reached: connect: connection refused\n"
	is(t, Passed, "refused at the desktop's port 8080 (http), and", judged(control+refused))
	is(t, NotJudged, "no port at which a knock would prove anything", Policies(ParseReached(control+refused), "10.0.0.1:443", closed, nil))
	is(t, NotJudged, "no port at which a knock", Policies(ParseReached(control), "10.0.0.1:443", nil, nil))
	is(t, NotJudged, "said nothing about port 8090", judged(control+"10.1.0.5:8080 not reached: timeout\n"))
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
	is(t, Passed, "nvidia.com/gpu=1 is free", Suspended(session(vdi.PhaseSuspended, "", ""), gpu, 0, false, time.Second))
	is(t, Passed, "gives no GPU", Suspended(session(vdi.PhaseSuspended, "", ""), nil, 0, false, time.Second))
	is(t, Failed, "not suspended", Suspended(session(vdi.PhaseRunning, "", "ready"), gpu, 1, true, time.Second))
	is(t, Failed, "pod is still there", Suspended(session(vdi.PhaseSuspended, "", ""), gpu, 1, true, time.Second))
	is(t, Failed, "nvidia.com/gpu=1 is still held", Suspended(session(vdi.PhaseSuspended, "", ""), gpu, 1, false, time.Second))
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
	is(t, Passed, "finds its file", Resumed(up, "mark", "mark", nil, nil, time.Second))
	is(t, Failed, "is not there", Resumed(up, "mark", "", nil, nil, time.Second))
	is(t, Failed, "is not there", Resumed(up, "mark", "", nil, wrong, time.Second))
	is(t, NotJudged, "no file could be written", Resumed(up, "mark", "", wrong, nil, time.Second))
	is(t, Failed, "not running again", Resumed(session(vdi.PhasePending, vdi.WaitingForVolume, "no volume"), "mark", "", nil, nil, time.Minute))
	is(t, NotJudged, "somebody else took the slice", Resumed(session(vdi.PhasePending, vdi.WaitingForGPU, "all in use"), "mark", "", nil, nil, time.Minute))
}
