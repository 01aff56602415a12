package integration

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"flag"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor"
	"github.com/vdi-platform/vdi-platform/operator/run"
)

const (
	doorName     = "vdi-frontdoor"
	endedLogins  = "vdi-frontdoor-ended-logins"
	deskPassword = "abcdefghijklmnopqrstuvwxyz234567"
)

// doorRules are everything that the front door may do with sessions, and with
// the list of ended logins of its own namespace.
var (
	doorRules = []rbacv1.PolicyRule{
		{APIGroups: []string{"vdi.kasm.io"}, Resources: []string{"vdisessions"}, Verbs: []string{"get", "list", "watch", "patch"}},
	}
	endedRules = []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{endedLogins}, Verbs: []string{"list", "watch", "patch"}},
	}
)

// door is one replica of the front door.
type door struct {
	t      *testing.T
	people string
	// cookies of the one browser that uses it.
	cookies *[]*http.Cookie
	host    string
}

// asFrontDoor makes the front door's account with its rules, and logs in as it.
func (w *world) asFrontDoor() *rest.Config {
	w.t.Helper()
	p := sharedPlane(w.t)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: doorName, Namespace: w.ns}}
	subjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: doorName, Namespace: w.ns}}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: doorName + "-" + w.ns}, Rules: doorRules}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name}, Subjects: subjects,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
	}
	for _, o := range []client.Object{
		account, role, binding,
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: doorName, Namespace: w.ns}, Rules: endedRules},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: doorName, Namespace: w.ns}, Subjects: subjects,
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: doorName},
		},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: endedLogins, Namespace: w.ns}},
	} {
		require.NoError(w.t, w.client.Create(w.ctx, o))
	}
	admin := w.client
	w.t.Cleanup(func() {
		_ = admin.Delete(context.Background(), role)
		_ = admin.Delete(context.Background(), binding)
	})
	token := &authenticationv1.TokenRequest{}
	require.NoError(w.t, w.client.SubResource("token").Create(w.ctx, account, token))
	config := rest.AnonymousClientConfig(p.RESTConfig())
	config.BearerToken = token.Status.Token
	return config
}

// runDoor serves a replica until the test ends.
func (w *world) runDoor(cluster *rest.Config, keys string, cookies *[]*http.Cookie) *door {
	w.t.Helper()
	settings := filepath.Join(w.t.TempDir(), "config.yaml")
	require.NoError(w.t, os.WriteFile(settings, []byte("sessions: {domain: vdi.example.com}"), 0o600))
	flags := frontdoor.Flags{Namespace: w.ns}
	set := flag.NewFlagSet(doorName, flag.ContinueOnError)
	flags.Register(set)
	require.NoError(w.t, set.Parse([]string{"--config=" + settings, "--keys-dir=" + keys, "--log-level=error"}))
	listen := func() net.Listener {
		l, err := (&net.ListenConfig{}).Listen(w.ctx, "tcp", "127.0.0.1:0")
		require.NoError(w.t, err)
		return l
	}
	l := frontdoor.Listeners{People: listen(), Proxy: listen(), Metrics: listen()}
	ended := make(chan error, 1)
	running, stop := context.WithCancel(context.WithoutCancel(w.ctx))
	go func() { ended <- frontdoor.Serve(running, cluster, flags, l) }()
	w.t.Cleanup(func() {
		stop()
		require.NoError(w.t, <-ended)
	})
	d := &door{t: w.t, people: "http://" + l.People.Addr().String(), cookies: cookies}
	require.Eventually(w.t, func() bool {
		answer, err := http.Get("http://" + l.Metrics.Addr().String() + "/readyz")
		return err == nil && answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
	}, othersWork, glance, "the front door is ready")
	return d
}

func newKeys(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "1.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	cookieKey := make([]byte, 32)
	_, err = rand.Read(cookieKey)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "1.key"), cookieKey, 0o600))
	return dir
}

// ask sends what a browser sends, behind a proxy that speaks TLS.
func (d *door) ask(method, path, form string) *http.Response {
	d.t.Helper()
	r, err := http.NewRequestWithContext(d.t.Context(), method, d.people+path, strings.NewReader(form))
	require.NoError(d.t, err)
	r.Host = d.host
	r.Header.Set("Accept", "text/html")
	if method == http.MethodPost {
		r.Header.Set("Origin", "https://"+d.host)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, c := range *d.cookies {
		r.AddCookie(c)
	}
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := browser.Do(r)
	require.NoError(d.t, err)
	for _, c := range answer.Cookies() {
		if c.MaxAge >= 0 {
			*d.cookies = append(*d.cookies, &http.Cookie{Name: c.Name, Value: c.Value})
		}
	}
	return answer
}

func (d *door) page(path string) string {
	d.t.Helper()
	return d.body(d.ask(http.MethodGet, path, ""))
}

func (d *door) body(answer *http.Response) string {
	d.t.Helper()
	text, err := io.ReadAll(answer.Body)
	require.NoError(d.t, err)
	require.NoError(d.t, answer.Body.Close())
	return string(text)
}

var doorForm = regexp.MustCompile(`name="form" value="([^"]+)"`)

// press sends a page's form.
func (d *door) press(page, action string, fields ...string) *http.Response {
	d.t.Helper()
	found := doorForm.FindStringSubmatch(page)
	require.NotNil(d.t, found, page)
	values := url.Values{"form": {found[1]}}
	for i := 0; i < len(fields); i += 2 {
		values.Set(fields[i], fields[i+1])
	}
	return d.ask(http.MethodPost, action, values.Encode())
}

// TestFrontDoor: a suspended session is seen, resumed and followed through two
// replicas, on a real API server, with the front door's own permissions.
func TestFrontDoor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.running()
	w.publishVerifier()
	w.change(func(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicySuspended })
	w.pass()
	w.podEnds(desk)
	w.pass()
	require.Equal(t, vdi.PhaseSuspended, w.session().Status.Phase)

	cluster, keys, cookies := w.asFrontDoor(), newKeys(t), &[]*http.Cookie{}
	one, two := w.runDoor(cluster, keys, cookies), w.runDoor(cluster, keys, cookies)
	one.host, two.host = w.session().Status.Host, w.session().Status.Host

	login := one.page("/")
	require.Contains(t, login, `name="password"`)
	one.body(two.press(login, "/.vdi/login", "password", deskPassword))
	page := one.page("/")
	require.Contains(t, page, "Your desktop is suspended")
	before := w.session()
	require.Contains(t, two.page("/"), "Your desktop is suspended", "the other replica knows the login")
	require.Equal(t, before.ResourceVersion, w.session().ResourceVersion, "a look writes nothing")

	events := bufio.NewScanner(two.ask(http.MethodGet, "/.vdi/events", "").Body)
	require.Contains(t, nextEvent(t, events), "is suspended")
	answer := two.press(page, "/.vdi/resume")
	require.Equal(t, http.StatusSeeOther, answer.StatusCode, one.body(answer))
	require.Equal(t, vdi.RunPolicyRunning, w.session().Spec.RunPolicy)
	require.Contains(t, nextEvent(t, events), "is about to start", "the watch tells the page")
	w.start()
	for said := nextEvent(t, events); !strings.Contains(said, `"running":true`); {
		said = nextEvent(t, events)
	}

	one.body(one.press(page, "/.vdi/logout"))
	require.Eventually(t, func() bool { return strings.Contains(two.page("/"), `name="password"`) }, othersWork, glance,
		"a logout at one replica ends the login at the other")
	w.doorMayNoMore(cluster)
}

// publishVerifier does what the operator does in mode Password.
func (w *world) publishVerifier() {
	w.t.Helper()
	sum := sha256.Sum256([]byte(deskPassword))
	s := w.session()
	before := s.DeepCopy()
	s.Status.Access = &vdi.AccessStatus{PasswordVerifier: base64.StdEncoding.EncodeToString(sum[:])}
	require.NoError(w.t, w.client.Status().Patch(w.ctx, s, client.MergeFrom(before)))
}

func nextEvent(t *testing.T, lines *bufio.Scanner) string {
	t.Helper()
	for lines.Scan() {
		if data, found := strings.CutPrefix(lines.Text(), "data: "); found {
			require.True(t, json.Valid([]byte(data)))
			return data
		}
	}
	require.FailNow(t, "the stream ended")
	return ""
}

// doorMayNoMore: the account can do what the front door does, and nothing else.
func (w *world) doorMayNoMore(cluster *rest.Config) {
	w.t.Helper()
	c, err := client.New(cluster, client.Options{Scheme: run.Scheme()})
	require.NoError(w.t, err)
	s := w.session()
	in := client.InNamespace(w.ns)
	named := metav1.ObjectMeta{Name: "other", Namespace: w.ns}
	for name, err := range map[string]error{
		"read a Secret":          c.Get(w.ctx, client.ObjectKey{Namespace: w.ns, Name: s.Status.CredentialsSecret}, &corev1.Secret{}),
		"list Secrets":           c.List(w.ctx, &corev1.SecretList{}, in),
		"list pods":              c.List(w.ctx, &corev1.PodList{}, in),
		"read other ConfigMaps":  c.List(w.ctx, &corev1.ConfigMapList{}, in),
		"make a ConfigMap":       c.Create(w.ctx, &corev1.ConfigMap{ObjectMeta: named}),
		"write a status":         c.Status().Patch(w.ctx, s.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{"status":{"host":"x"}}`))),
		"make a session":         c.Create(w.ctx, w.newSession(func(s *vdi.VDISession) { s.Name = "other" })),
		"delete a session":       c.Delete(w.ctx, s.DeepCopy()),
		"read templates":         c.List(w.ctx, &vdi.VDITemplateList{}),
		"read another ConfigMap": c.Get(w.ctx, client.ObjectKey{Namespace: w.ns, Name: "kube-root-ca.crt"}, &corev1.ConfigMap{}),
	} {
		require.True(w.t, apierrors.IsForbidden(err), "%s: %v", name, err)
	}
}

// TestFrontDoorWritesWhatItLookedAt: a write counts only for the session, and
// the state of it, that the decision was made on.
func TestFrontDoorWritesWhatItLookedAt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate()
	seen := w.createSession(func(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicySuspended })
	changer := frontdoor.NewChanger(w.client)

	w.change(func(s *vdi.VDISession) { s.Spec.IdleTimeout = "1h" })
	require.NoError(t, changer.Resume(w.ctx, seen), "another's change in between is no obstacle")
	require.Equal(t, vdi.RunPolicyRunning, w.session().Spec.RunPolicy)
	require.Equal(t, vdi.Duration("1h"), w.session().Spec.IdleTimeout, "and is kept")
	version := w.session().ResourceVersion
	require.NoError(t, changer.Resume(w.ctx, seen), "a second press finds nothing to do")
	require.Equal(t, version, w.session().ResourceVersion)

	later := w.clock.Now().Add(2 * time.Hour).Truncate(time.Second)
	require.NoError(t, changer.KeepAlive(w.ctx, seen, later))
	require.NoError(t, changer.KeepAlive(w.ctx, seen, later.Add(-time.Hour)), "an earlier end changes nothing")
	require.Equal(t, later.Unix(), w.session().Spec.KeepAliveUntil.Unix())

	w.deleteSession()
	require.Error(t, changer.Resume(w.ctx, seen), "a session that is gone")
	fresh := w.createSession(func(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicySuspended })
	require.Error(t, changer.Resume(w.ctx, seen), "another session of that name")
	require.Equal(t, vdi.RunPolicySuspended, w.session().Spec.RunPolicy)
	require.Equal(t, fresh.ResourceVersion, w.session().ResourceVersion)
}
