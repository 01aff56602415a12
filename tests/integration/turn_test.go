package integration

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
	relayed "github.com/vdi-platform/vdi-platform/tests/relay/visitor"
)

// The relay's shared secret, before and after a rotation.
var (
	relaySecret = strings.Repeat("c0ffee", 10)
	nextSecret  = strings.Repeat("decade", 10)
)

// withRelay names a relay in the platform's settings.
func withRelay(c *platform.Config) { c.Sessions.TURN.Host = "203.0.113.10" }

func overWebRTC(t *vdi.VDITemplate) { t.Spec.Transport = vdi.TransportWebRTC }

// mounted is the relay's shared secret as the operator has it.
type mounted struct{ secret string }

func (m *mounted) Changed() <-chan event.GenericEvent { return nil }
func (m *mounted) Get() (string, error) {
	if m.secret == "" {
		return "", errors.New("its shared secret is not there")
	}
	return m.secret, nil
}

// newTURNWorld has a relay, and a template whose desktops stream through it.
func newTURNWorld(t *testing.T) (*world, *mounted) {
	w := newWorld(t, withRelay)
	m := &mounted{relaySecret}
	w.operator.Relay = m
	w.createTemplate(overWebRTC)
	return w, m
}

// turnLogin is the session's login at the relay.
func (w *world) turnLogin() platform.TURNLogin {
	w.t.Helper()
	secret := &corev1.Secret{}
	w.read(secret, renderer.TURNLoginName(desk))
	login, err := platform.ParseTURNLogin(secret.Data[wire.KeyTURNLogin])
	require.NoError(w.t, err)
	return login
}

func (w *world) hasTURNLogin() bool {
	w.t.Helper()
	return w.exists(&corev1.Secret{}, renderer.TURNLoginName(desk))
}

// requireSigned: the login is the session's own, holds until then, and the relay accepts it.
func (w *world) requireSigned(secret string, expires time.Time) {
	w.t.Helper()
	login := w.turnLogin()
	require.Equal(w.t, strconv.FormatInt(expires.Unix(), 10)+":"+string(w.session().UID), login.Username)
	require.Equal(w.t, relayed.Signed(secret, string(w.session().UID), expires), relayed.Credential{User: login.Username, Password: login.Password})
	require.Equal(w.t, []string{"turn:203.0.113.10:3478?transport=udp", "turn:203.0.113.10:3478?transport=tcp"}, login.URIs)
}

// TestTURNLogin: a desktop that streams over WebRTC has a login at the relay
// before its pod is there, which is renewed at half its life while it runs, and
// never after.
func TestTURNLogin(t *testing.T) {
	t.Parallel()
	w, _ := newTURNWorld(t)
	w.createSession()
	w.start()
	first := w.clock.Now()
	w.requireSigned(relaySecret, first.Add(10*time.Minute))
	secret := &corev1.Secret{}
	w.read(secret, renderer.TURNLoginName(desk))
	require.True(t, metav1.IsControlledBy(secret, w.session()), "it goes with the session")
	require.False(t, secret.CreationTimestamp.After(w.pod().CreationTimestamp.Time))

	// Nothing is written before it is due, and the deadline wakes the operator.
	w.clock.SetTime(first.Add(5*time.Minute - time.Second))
	require.LessOrEqual(t, w.pass().RequeueAfter, time.Second)
	w.requireSigned(relaySecret, first.Add(10*time.Minute))
	w.clock.SetTime(first.Add(5 * time.Minute))
	require.Equal(t, 5*time.Minute, w.pass().RequeueAfter)
	w.requireSigned(relaySecret, first.Add(15*time.Minute))
	require.LessOrEqual(t, time.Until(time.Unix(w.turnLogin().Expires, 0))-time.Until(w.clock.Now()), platform.TURNLoginLife)

	// A suspended session's is not renewed, and no deadline of it is left.
	w.clock.SetTime(first.Add(11 * time.Minute)) // a new one would be due
	w.change(func(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicySuspended })
	w.pass()
	require.Zero(t, w.pass().RequeueAfter, "while the pod ends")
	w.podEnds(desk)
	require.Zero(t, w.pass().RequeueAfter, "suspended")
	w.requireSigned(relaySecret, first.Add(15*time.Minute))

	// A resume gets a fresh one before its pod.
	w.change(func(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicyRunning })
	w.pass()
	w.requireSigned(relaySecret, first.Add(21*time.Minute))
}

// TestTURNLoginEnds: a session that is being deleted gets no new login.
func TestTURNLoginEnds(t *testing.T) {
	t.Parallel()
	w, _ := newTURNWorld(t)
	w.createSession()
	w.start()
	start := w.clock.Now()
	w.deleteSession()
	w.clock.SetTime(start.Add(6 * time.Minute))
	w.pass()
	require.Equal(t, start.Add(10*time.Minute).Unix(), w.turnLogin().Expires)
	w.podEnds(desk)
	w.pass()
	w.eventually(func() bool { return !w.sessionExists() && !w.hasTURNLogin() }, "the garbage collector takes the login")
}

// TestTURNLoginExpired: nor does one whose time is over.
func TestTURNLoginExpired(t *testing.T) {
	t.Parallel()
	w, _ := newTURNWorld(t)
	w.createSession(func(s *vdi.VDISession) { s.Spec.Timeout = "20m" })
	w.start()
	start := w.clock.Now()
	w.announced()
	w.clock.SetTime(start.Add(21 * time.Minute))
	w.pass()
	require.Equal(t, start.Add(10*time.Minute).Unix(), w.turnLogin().Expires)
}

// TestTURNLoginOverWebSocket: who does not stream over WebRTC has none.
func TestTURNLoginOverWebSocket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withRelay)
	w.operator.Relay = &mounted{relaySecret}
	w.running()
	require.False(t, w.hasTURNLogin())
	w.clock.SetTime(w.clock.Now().Add(6 * time.Minute))
	require.Greater(t, w.pass().RequeueAfter, time.Hour)
}

// TestTURNLoginKeepsComing: whatever becomes of template, Secret and operator.
func TestTURNLoginKeepsComing(t *testing.T) {
	t.Parallel()
	w, m := newTURNWorld(t)
	w.createSession()
	w.start()
	start := w.clock.Now()

	w.deleteTemplate()
	w.clock.SetTime(start.Add(6 * time.Minute))
	w.pass()
	w.requireSigned(relaySecret, start.Add(16*time.Minute))

	require.NoError(t, w.client.Delete(w.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: renderer.TURNLoginName(desk), Namespace: w.ns}}))
	w.clock.SetTime(start.Add(12 * time.Minute))
	w.pass()
	w.requireSigned(relaySecret, start.Add(22*time.Minute))

	w.restart()
	w.operator.Relay = m
	w.clock.SetTime(start.Add(13 * time.Minute))
	w.pass()
	w.requireSigned(relaySecret, start.Add(23*time.Minute))

	// A clock that went back does not leave a desktop without.
	w.clock.SetTime(start.Add(-time.Hour))
	w.pass()
	w.requireSigned(relaySecret, start.Add(-50*time.Minute))
}

// TestTURNSecretRotates: a new shared secret signs at once.
func TestTURNSecretRotates(t *testing.T) {
	t.Parallel()
	w, m := newTURNWorld(t)
	w.createSession()
	w.start()
	m.secret = nextSecret
	w.pass()
	w.requireSigned(nextSecret, w.clock.Now().Add(10*time.Minute))
	version := w.turnSecretVersion()
	w.pass()
	require.Equal(t, version, w.turnSecretVersion(), "nothing new to write")
}

func (w *world) turnSecretVersion() string {
	w.t.Helper()
	secret := &corev1.Secret{}
	w.read(secret, renderer.TURNLoginName(desk))
	return secret.ResourceVersion
}

// TestNoRelay: a desktop that nobody could see is not started; it says why, and
// starts when it can.
func TestNoRelay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate(func(t *vdi.VDITemplate) { t.Spec.Streamer = vdi.StreamerSelkiesGStreamer })
	w.templatePass()
	template := &vdi.VDITemplate{}
	require.NoError(t, w.client.Get(w.ctx, client.ObjectKey{Name: w.template}, template))
	require.Equal(t, metav1.ConditionFalse, template.Status.Conditions[0].Status)
	require.Contains(t, template.Status.Conditions[0].Message, "sessions.turn.host")

	w.createSession()
	w.pass()
	c := w.requireCondition(vdi.ConditionAccepted, metav1.ConditionFalse, vdi.ReasonRelayNotConfigured)
	require.Contains(t, c.Message, "sessions.turn.host")
	require.Empty(t, w.existing())
	require.False(t, w.hasTURNLogin())
}

// TestNoRelaySecret: the same for a relay whose shared secret is missing. A
// desktop that runs goes on.
func TestNoRelaySecret(t *testing.T) {
	t.Parallel()
	w, m := newTURNWorld(t)
	m.secret = ""
	w.createSession()
	w.pass()
	c := w.requireCondition(vdi.ConditionReachable, metav1.ConditionFalse, vdi.ReasonRelaySecretMissing)
	require.Contains(t, c.Message, "its shared secret is not there")
	w.requirePhase(vdi.PhasePending)
	require.Empty(t, w.existing())

	m.secret = relaySecret
	w.start()
	m.secret = ""
	w.clock.SetTime(w.clock.Now().Add(6 * time.Minute))
	w.pass()
	s := w.requirePhase(vdi.PhaseRunning)
	require.Contains(t, condition(s, vdi.ConditionUpdatePending).Message, "its shared secret is not there")
	require.True(t, w.podExists())
}

// TestPlantedTURNLogin: a Secret of the name that is somebody else's gets no
// login, and a desktop does not start on it.
func TestPlantedTURNLogin(t *testing.T) {
	t.Parallel()
	w, _ := newTURNWorld(t)
	planted := func() *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: renderer.TURNLoginName(desk), Namespace: w.ns}, StringData: map[string]string{"mine": "x"}}
	}
	require.NoError(t, w.client.Create(w.ctx, planted()))
	w.createSession()
	w.pass()
	c := w.requireCondition(vdi.ConditionNameConflict, metav1.ConditionTrue, vdi.ReasonNameTaken)
	require.Contains(t, c.Message, renderer.TURNLoginName(desk))
	require.False(t, w.podExists())
	w.requireStillPlanted()

	// The same under a desktop that runs, which goes on.
	require.NoError(t, w.client.Delete(w.ctx, planted()))
	w.start()
	require.NoError(t, w.client.Delete(w.ctx, planted()))
	require.NoError(t, w.client.Create(w.ctx, planted()))
	w.clock.SetTime(w.clock.Now().Add(6 * time.Minute))
	require.Equal(t, time.Minute, w.pass().RequeueAfter)
	w.requirePhase(vdi.PhaseRunning)
	w.requireStillPlanted()
	w.requireCondition(vdi.ConditionUpdatePending, metav1.ConditionTrue, vdi.ReasonNameTaken)
	w.requireCondition(vdi.ConditionNameConflict, metav1.ConditionTrue, vdi.ReasonNameTaken)
}

func (w *world) requireStillPlanted() {
	w.t.Helper()
	secret := &corev1.Secret{}
	w.read(secret, renderer.TURNLoginName(desk))
	require.Equal(w.t, map[string][]byte{"mine": []byte("x")}, secret.Data)
}

// TestRelaySecretStaysInside: the shared secret stands in no object of a session,
// and the session's login in its Secret alone.
func TestRelaySecretStaysInside(t *testing.T) {
	t.Parallel()
	w, _ := newTURNWorld(t)
	w.createSession()
	w.start()
	seen := w.events.all() + asJSON(t, w.session())
	for _, c := range children() {
		o := c.new()
		w.read(o, c.name)
		seen += asJSON(t, o)
	}
	login := &corev1.Secret{}
	w.read(login, renderer.TURNLoginName(desk))
	for _, data := range login.Data {
		require.NotContains(t, string(data), relaySecret)
	}
	require.NotContains(t, seen, relaySecret)
	require.NotContains(t, seen, w.turnLogin().Password)
	pod := w.pod()
	require.Equal(t, string(vdi.TransportWebRTC), pod.Annotations[wire.AnnotationTransport])
	for _, mount := range pod.Spec.Containers[0].VolumeMounts {
		require.NotEqual(t, "turn", mount.Name, "the desktop asks the agent")
	}
}

// TestTransportOfStreamer: combinations that no streamer has are refused by the
// API server, with the field and the remedy.
func TestTransportOfStreamer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for words, spec := range map[string]vdi.VDITemplateSpec{
		"streamer SelkiesGStreamer (1.6.x) streams over WebRTC only": {Streamer: vdi.StreamerSelkiesGStreamer, Transport: vdi.TransportWebSocket},
		"spec.transport is for the Selkies streamers only":           {Streamer: vdi.StreamerCustom, Port: 80, HealthPath: "/", Transport: vdi.TransportWebRTC},
		`Unsupported value: "QUIC"`:                                  {Transport: "QUIC"},
	} {
		spec.Image = image
		err := w.client.Create(w.ctx, &vdi.VDITemplate{ObjectMeta: metav1.ObjectMeta{Name: w.template}, Spec: spec})
		require.ErrorContains(t, err, words)
	}
	w.createTemplate(func(t *vdi.VDITemplate) {
		t.Spec.Streamer, t.Spec.Transport = vdi.StreamerSelkiesGStreamer, vdi.TransportWebRTC
	})
}

// relaySecretComesLater: the operator's own rights suffice for the logins, and the
// relay's Secret wakes the sessions that wait for it.
func relaySecretComesLater(w *world, in installed) {
	w.t.Helper()
	relayed := w.template + "-webrtc"
	template := &vdi.VDITemplate{ObjectMeta: metav1.ObjectMeta{Name: relayed}, Spec: vdi.VDITemplateSpec{Image: image, Transport: vdi.TransportWebRTC}}
	require.NoError(w.t, w.client.Create(w.ctx, template))
	s := w.createSession(func(s *vdi.VDISession) { s.Name, s.Spec.Template = "relayed", relayed })
	w.eventually(func() bool {
		return condition(w.sessionNamed(s.Name), vdi.ConditionReachable).Reason == vdi.ReasonRelaySecretMissing
	}, "the relay's secret is missing")

	data := filepath.Join(in.relaySecret, "..first")
	require.NoError(w.t, os.Mkdir(data, 0o700))
	require.NoError(w.t, os.WriteFile(filepath.Join(data, wire.KeyTURNSecret), []byte(relaySecret), 0o600))
	require.NoError(w.t, os.Symlink(filepath.Base(data), filepath.Join(in.relaySecret, "..data")))
	w.eventually(func() bool {
		return w.exists(&corev1.Secret{}, renderer.TURNLoginName(s.Name)) && w.exists(&corev1.Pod{}, s.Name)
	}, "the desktop starts without a restart")
	require.NoError(w.t, w.client.Delete(w.ctx, w.sessionNamed(s.Name)))
	w.podEnds(s.Name)
	w.eventually(func() bool { return !w.exists(&vdi.VDISession{}, s.Name) }, "the session ends")
}
