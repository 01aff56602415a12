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
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor"
	"github.com/vdi-platform/vdi-platform/operator/run"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
)

const (
	doorName     = "vdi-frontdoor"
	publicKeys   = "vdi-frontdoor-public-keys"
	deskPassword = "abcdefghijklmnopqrstuvwxyz234567"
)

// door is one replica of the front door, with the addresses of what it serves.
type door struct {
	t                      *testing.T
	people, proxy, metrics string
	// stop ends it before the test does.
	stop func()
	// cookies of the one browser that uses it.
	cookies *[]*http.Cookie
	host    string
}

// doorObjects are what the chart makes for the front door, with the real Helm.
func (w *world) doorObjects(values ...string) []*unstructured.Unstructured {
	w.t.Helper()
	root, err := repositoryRoot()
	require.NoError(w.t, err)
	bin, err := cluster.BinDir()
	require.NoError(w.t, err)
	helm := exec.CommandContext(w.ctx, filepath.Join(bin, "helm"), "template", "vdi", filepath.Join(root, "charts", "vdi-operator"),
		"--no-hooks", "--namespace", w.ns, "--kube-version", "1.37.2", "--set", strings.Join(append(values, "sessions.domain=vdi.example.com,frontDoor.keys.existingSecret=mine"), ","))
	out, err := helm.Output()
	require.NoError(w.t, err, missingToolFix)
	all, err := decodeObjects(string(out))
	require.NoError(w.t, err)
	return slices.DeleteFunc(all, func(o *unstructured.Unstructured) bool { return o.GetLabels()["app"] != doorName })
}

// asFrontDoor makes the front door's account with the chart's rules, and logs in
// as it.
func (w *world) asFrontDoor(more ...string) *rest.Config {
	w.t.Helper()
	return w.asFrontDoorOf(w.doorObjects(), more...)
}

// asFrontDoorOf is asFrontDoor with what the chart makes. Cluster-wide objects are gone
// after the test.
func (w *world) asFrontDoorOf(objects []*unstructured.Unstructured, more ...string) *rest.Config {
	w.t.Helper()
	kinds := append([]string{"ServiceAccount", "ConfigMap", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}, more...)
	admin := w.client
	for _, o := range objects {
		if !slices.Contains(kinds, o.GetKind()) {
			continue
		}
		require.NoError(w.t, w.client.Create(w.ctx, o))
		if o.GetNamespace() == "" {
			w.t.Cleanup(func() { _ = admin.Delete(context.Background(), o) })
		}
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: doorName, Namespace: w.ns}}
	token := &authenticationv1.TokenRequest{}
	require.NoError(w.t, w.client.SubResource("token").Create(w.ctx, account, token))
	config := rest.AnonymousClientConfig(sharedPlane(w.t).RESTConfig())
	config.BearerToken = token.Status.Token
	return config
}

// runDoor serves a replica until the test ends.
func (w *world) runDoor(cluster *rest.Config, keys string, cookies *[]*http.Cookie) *door {
	w.t.Helper()
	d := w.serveDoor(cluster, "sessions: {domain: vdi.example.com}", "--keys-dir="+keys)
	d.cookies = cookies
	return d
}

// serveDoor serves a replica with some settings, and waits until it is ready.
func (w *world) serveDoor(cluster *rest.Config, config string, args ...string) *door {
	w.t.Helper()
	settings := filepath.Join(w.t.TempDir(), "config.yaml")
	require.NoError(w.t, os.WriteFile(settings, []byte(config), 0o600))
	flags := frontdoor.Flags{Namespace: w.ns}
	set := flag.NewFlagSet(doorName, flag.ContinueOnError)
	flags.Register(set)
	require.NoError(w.t, set.Parse(append(args, "--config="+settings, "--log-level=error")))
	listen := func() net.Listener {
		l, err := (&net.ListenConfig{}).Listen(w.ctx, "tcp", "127.0.0.1:0")
		require.NoError(w.t, err)
		return l
	}
	l := frontdoor.Listeners{People: listen(), Proxy: listen(), Metrics: listen()}
	ended := make(chan error, 1)
	running, stop := context.WithCancel(context.WithoutCancel(w.ctx))
	go func() { ended <- frontdoor.Serve(running, cluster, flags, l) }()
	address := func(l net.Listener) string { return "http://" + l.Addr().String() }
	d := &door{t: w.t, people: address(l.People), proxy: address(l.Proxy), metrics: address(l.Metrics), stop: sync.OnceFunc(func() {
		stop()
		require.NoError(w.t, <-ended)
	})}
	w.t.Cleanup(d.stop)
	require.Eventually(w.t, func() bool {
		answer, err := http.Get(d.metrics + "/readyz")
		return err == nil && answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
	}, othersWork, glance, "the front door is ready")
	return d
}

func newKeys(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "1.pem"), newSigningKey(t), 0o600))
	cookieKey := make([]byte, 32)
	_, err := rand.Read(cookieKey)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "1.key"), cookieKey, 0o600))
	return dir
}

func newSigningKey(t *testing.T) []byte {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
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
func (d *door) press(page, action string) *http.Response {
	d.t.Helper()
	found := doorForm.FindStringSubmatch(page)
	require.NotNil(d.t, found, page)
	return d.ask(http.MethodPost, action, url.Values{"form": {found[1]}}.Encode())
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
	one.body(two.ask(http.MethodPost, "/.vdi/login", url.Values{"password": {deskPassword}}.Encode()))
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
		"read quotas":            c.List(w.ctx, &vdi.VDIQuotaList{}),
		"read usages":            c.List(w.ctx, &vdi.VDIUsageList{}),
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
	require.NoError(t, changer.Resume(w.ctx, seen, nil), "another's change in between is no obstacle")
	require.Equal(t, vdi.RunPolicyRunning, w.session().Spec.RunPolicy)
	require.Equal(t, vdi.Duration("1h"), w.session().Spec.IdleTimeout, "and is kept")
	version := w.session().ResourceVersion
	require.NoError(t, changer.Resume(w.ctx, seen, nil), "a second press finds nothing to do")
	require.Equal(t, version, w.session().ResourceVersion)

	later := w.clock.Now().Add(2 * time.Hour).Truncate(time.Second)
	require.NoError(t, changer.KeepAlive(w.ctx, seen, later))
	require.NoError(t, changer.KeepAlive(w.ctx, seen, later.Add(-time.Hour)), "an earlier end changes nothing")
	require.Equal(t, later.Unix(), w.session().Spec.KeepAliveUntil.Unix())

	w.deleteSession()
	require.Error(t, changer.Resume(w.ctx, seen, nil), "a session that is gone")
	fresh := w.createSession(func(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicySuspended })
	require.Error(t, changer.Resume(w.ctx, seen, nil), "another session of that name")
	require.Equal(t, vdi.RunPolicySuspended, w.session().Spec.RunPolicy)
	require.Equal(t, fresh.ResourceVersion, w.session().ResourceVersion)
}

// TestFrontDoorTellsItsKeys: the public halves of all keys, those of tomorrow
// included, are where the operator reads them, and follow every change.
func TestFrontDoorTellsItsKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	account, keys := w.asFrontDoor(), newKeys(t)
	told := func() map[string]string {
		found := &corev1.ConfigMap{}
		w.read(found, publicKeys)
		return found.Data
	}
	require.Empty(t, told(), "as the chart makes it")
	w.runDoor(account, keys, &[]*http.Cookie{})
	names := func(want ...string) func() bool {
		return func() bool { return slices.Equal(want, slices.Sorted(maps.Keys(told()))) }
	}
	w.eventually(names("1.pem"), "the key is told")
	first := told()["1.pem"]
	_, err := platform.ParseStatementKey([]byte(first))
	require.NoError(t, err)

	require.NoError(t, os.WriteFile(filepath.Join(keys, "next-2.pem"), newSigningKey(t), 0o600))
	w.eventually(names("1.pem", "next-2.pem"), "a key is told before it is used")
	require.NoError(t, os.Rename(filepath.Join(keys, "next-2.pem"), filepath.Join(keys, "2.pem")))
	w.eventually(names("1.pem", "2.pem"), "and under its new name")
	require.NoError(t, os.Remove(filepath.Join(keys, "1.pem")))
	w.eventually(names("2.pem"), "a key that is taken away is no longer told")
	require.NotEqual(t, first, told()["2.pem"])

	found := &corev1.ConfigMap{}
	w.read(found, publicKeys)
	w.runDoor(account, keys, &[]*http.Cookie{})
	again := &corev1.ConfigMap{}
	w.read(again, publicKeys)
	require.Equal(t, found.ResourceVersion, again.ResourceVersion, "another replica finds nothing to write")
}

// TestMakeKeys: the hook's Job makes the Secret once, with the Job's own rights,
// and never changes one.
func TestMakeKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	core, err := kubernetes.NewForConfig(sharedPlane(t).RESTConfig())
	require.NoError(t, err)
	secrets := core.CoreV1().Secrets(w.ns)
	makeKeys := func() (bool, error) { return frontdoor.MakeKeys(w.ctx, secrets, "keys", time.Now()) }
	made, err := makeKeys()
	require.NoError(t, err)
	require.True(t, made)
	before := &corev1.Secret{}
	w.read(before, "keys")
	made, err = makeKeys()
	require.NoError(t, err)
	require.False(t, made)
	after := &corev1.Secret{}
	w.read(after, "keys")
	require.Equal(t, before, after)

	after.Data = map[string][]byte{"mine.pem": []byte("hunter2")}
	require.NoError(t, w.client.Update(w.ctx, after))
	_, err = makeKeys()
	require.ErrorIs(t, err, frontdoor.ErrKeys)
	require.ErrorContains(t, err, `"mine.pem"`)
	require.NotContains(t, err.Error(), "hunter2")
}
