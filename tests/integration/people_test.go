package integration

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/ended"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/people"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/audit"
)

const loginHost = "portal.vdi.example.com"

// listed is somebody on the list of people. No groups: the list does not say.
type listed struct {
	name, user, password, hash string
	groups                     []string
}

func newListed(t *testing.T, name, user, password string, groups ...string) listed {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), 10)
	require.NoError(t, err)
	return listed{name, user, password, string(hash), groups}
}

func listOf(all ...listed) string {
	text := "people: []\n"
	for i, p := range all {
		if i == 0 {
			text = "people:\n"
		}
		groups := ""
		if p.groups != nil {
			groups = ", groups: [" + strings.Join(p.groups, ", ") + "]"
		}
		text += fmt.Sprintf("- {name: %s, user: %s, hash: '%s'%s}\n", p.name, p.user, p.hash, groups)
	}
	return text
}

// mountedList is a Secret with the list of people, as the kubelet mounts it for one replica
// (k8s.io/kubernetes/pkg/volume/util/atomic_writer.go).
type mountedList struct {
	t     *testing.T
	dir   string
	state int
}

func newMountedList(t *testing.T, list string) *mountedList {
	t.Helper()
	m := &mountedList{t: t, dir: t.TempDir()}
	m.holds(list)
	require.NoError(t, os.Symlink(filepath.Join("..data", people.File), filepath.Join(m.dir, people.File)))
	return m
}

// holds is what the kubelet does after a change of the Secret; its files change all at once.
func (m *mountedList) holds(list string) {
	m.t.Helper()
	before := fmt.Sprintf("..state-%d", m.state)
	m.state++
	now := fmt.Sprintf("..state-%d", m.state)
	require.NoError(m.t, os.Mkdir(filepath.Join(m.dir, now), 0o700))
	require.NoError(m.t, os.WriteFile(filepath.Join(m.dir, now, people.File), []byte(list), 0o600))
	require.NoError(m.t, os.Symlink(now, filepath.Join(m.dir, "..data_tmp")))
	require.NoError(m.t, os.Rename(filepath.Join(m.dir, "..data_tmp"), filepath.Join(m.dir, "..data")))
	require.NoError(m.t, os.RemoveAll(filepath.Join(m.dir, before)))
}

// localSite is a world in access mode Local, with Alice's desktop and a proxy.
type localSite struct {
	*world
	published *publishedKeys
	cluster   *rest.Config
	config    string
	keys      string
	args      []string
	// judge is the replica that the proxy asks about what closes streams; nil: none is ready.
	judge  atomic.Pointer[door]
	mu     sync.Mutex
	closed []string // hosts whose streams were closed
}

// newLocalSite is under the chart's roles and policies.
func newLocalSite(t *testing.T, values ...string) *localSite {
	t.Helper()
	w, published := newLoginWorld(t, wire.AccessLocal, nil)
	objects := w.doorObjects(append(values, "access.mode=Local")...)
	l := &localSite{world: w, published: published, cluster: w.asFrontDoorOf(objects, policyKind, bindingKind), keys: newKeys(t), args: []string{"--watch-namespaces=" + w.ns}}
	proxy := httptest.NewTLSServer(http.HandlerFunc(l.closes))
	t.Cleanup(proxy.Close)
	l.config = fmt.Sprintf("{sessions: {domain: vdi.example.com, proxy: {address: %q}}, access: {mode: Local}}", proxy.Listener.Addr())
	return l
}

// closes does what the proxy and the agent do when a replica asks for the end of streams.
func (l *localSite) closes(out http.ResponseWriter, r *http.Request) {
	judge := l.judge.Load()
	if judge == nil {
		http.Error(out, "no front door is ready", http.StatusServiceUnavailable)
		return
	}
	question, err := questionOf(judge, r)
	if err != nil {
		http.Error(out, err.Error(), http.StatusBadRequest)
		return
	}
	answer, err := http.DefaultTransport.RoundTrip(question)
	if err != nil || answer.Body.Close() != nil || answer.StatusCode != http.StatusOK || answer.Header.Get(wire.HeaderStatement) == "" {
		http.Error(out, "the front door does not allow it", http.StatusForbidden)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = append(l.closed, r.Host)
	http.Redirect(out, r, wire.PathLogin, http.StatusSeeOther)
}

// streamsClosed are the hosts whose streams were closed.
func (l *localSite) streamsClosed() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.closed)
}

// questionOf is what the proxy asks the front door about a request (Traefik's forwardAuth).
func questionOf(d *door, r *http.Request) (*http.Request, error) {
	question, err := http.NewRequestWithContext(r.Context(), http.MethodGet, d.proxy+"/auth", nil)
	if err != nil {
		return nil, err
	}
	question.Header = r.Header.Clone()
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	for name, value := range map[string]string{
		wire.HeaderForwardedHost: host, wire.HeaderForwardedMethod: r.Method, wire.HeaderForwardedProto: "https", wire.HeaderForwardedURI: r.URL.RequestURI(),
	} {
		question.Header.Set(name, value)
	}
	return question, nil
}

// serve starts a replica with a list of its own.
func (l *localSite) serve(list *mountedList) *door {
	l.t.Helper()
	d := l.serveDoor(l.cluster, l.config, append(l.args, "--keys-dir="+l.keys, "--people-dir="+list.dir)...)
	l.judge.CompareAndSwap(nil, d)
	return d
}

// runsDesk brings Alice's desktop up, with the keys that the front door has published.
func (l *localSite) runsDesk() {
	l.t.Helper()
	keys := &corev1.ConfigMap{}
	l.eventually(func() bool {
		l.read(keys, publicKeys)
		return len(keys.Data) == 1
	}, "the front door publishes its key")
	l.published.are(keys.Data)
	l.running()
}

// guest is a browser; the proxy leads its requests to one replica after another.
type guest struct {
	*http.Client
	l  *localSite
	at *door
}

func (l *localSite) guest() *guest {
	jar, err := cookiejar.New(nil)
	require.NoError(l.t, err)
	v := &guest{l: l}
	v.Client = &http.Client{Jar: jar, Transport: v}
	return v
}

// RoundTrip is the proxy with its routes: a desktop's host is asked about, and the answer
// is what the browser gets, or what the agent would.
func (v *guest) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != loginHost {
		question, err := questionOf(v.at, r)
		if err != nil {
			return nil, err
		}
		return http.DefaultTransport.RoundTrip(question)
	}
	asked := r.Clone(r.Context())
	asked.Host = r.URL.Host
	asked.URL.Scheme, asked.URL.Host = "http", strings.TrimPrefix(v.at.people, "http://")
	return http.DefaultTransport.RoundTrip(asked)
}

// do sends a request through a replica, and follows where it leads.
func (v *guest) do(d *door, method, address string, form url.Values) (*http.Response, string) {
	v.l.t.Helper()
	v.at = d
	answer, err := v.Do(v.request(method, address, form))
	require.NoError(v.l.t, err)
	body, err := io.ReadAll(answer.Body)
	require.NoError(v.l.t, err)
	require.NoError(v.l.t, answer.Body.Close())
	return answer, string(body)
}

// request is what a browser sends.
func (v *guest) request(method, address string, form url.Values) *http.Request {
	v.l.t.Helper()
	r, err := http.NewRequestWithContext(v.l.ctx, method, address, strings.NewReader(form.Encode()))
	require.NoError(v.l.t, err)
	r.Header.Set("Accept", "text/html")
	if method == http.MethodPost {
		r.Header.Set("Origin", "https://"+loginHost)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

// logIn fills in the form of the login page.
func (v *guest) logIn(d *door, who listed) (status int, body string) {
	v.l.t.Helper()
	_, page := v.do(d, http.MethodGet, "https://"+loginHost+"/login", nil)
	found := doorForm.FindStringSubmatch(page)
	require.NotNil(v.l.t, found, page)
	answer, body := v.do(d, http.MethodPost, "https://"+loginHost+"/login", url.Values{"form": {found[1]}, "name": {who.name}, "password": {who.password}})
	return answer.StatusCode, body
}

// comesIn logs in, which must work.
func (v *guest) comesIn(d *door, who listed) *guest {
	v.l.t.Helper()
	status, body := v.logIn(d, who)
	require.Equal(v.l.t, http.StatusOK, status, body)
	require.True(v.l.t, v.isLoggedIn(d))
	return v
}

// refused tries to log in, which must not work.
func (l *localSite) refused(d *door, who listed, status int, sentence string) {
	l.t.Helper()
	v := l.guest()
	got, body := v.logIn(d, who)
	assert.Equal(l.t, status, got, who.name)
	assert.Contains(l.t, body, sentence)
	assert.False(l.t, v.isLoggedIn(d))
}

func (v *guest) isLoggedIn(d *door) bool {
	v.l.t.Helper()
	_, body := v.do(d, http.MethodGet, "https://"+loginHost+"/", nil)
	require.NotContains(v.l.t, body, "This did not work")
	return strings.Contains(body, `action="/logout"`)
}

// opensDesk opens Alice's desktop, and returns what its agent would learn about who comes.
func (v *guest) opensDesk(d *door) (statement string) {
	v.l.t.Helper()
	answer, _ := v.do(d, http.MethodGet, "https://"+v.l.session().Status.Host+"/", nil)
	return answer.Header.Get(wire.HeaderStatement)
}

// stays asks for a login that holds in all replicas.
func (l *localSite) stays(v *guest, all ...*door) {
	l.t.Helper()
	for _, d := range all {
		require.True(l.t, v.isLoggedIn(d))
	}
}

// leaves waits until a login has ended in all replicas.
func (l *localSite) leaves(v *guest, all ...*door) {
	l.t.Helper()
	for _, d := range all {
		l.eventually(func() bool { return !v.isLoggedIn(d) }, "a login ends in every replica")
	}
}

const (
	wrongPassword = "do not go together"
	staleList     = "The list of people is just being changed"
	noList        = "the list of people cannot be read"
)

// TestPeople: people log in by the list at any replica. Who leaves it, or has another
// password, is out everywhere as soon as one replica knows it, and comes in nowhere by the
// old list of another.
func TestPeople(t *testing.T) {
	t.Parallel()
	l := newLocalSite(t)
	anna, bob := newListed(t, "anna.artist", alice, "anna's password"), newListed(t, "bob.builder", "bob@example.com", "bob's password")
	carol := newListed(t, "carol.curator", "carol@example.com", "carol's password")
	first, second := newMountedList(t, listOf(anna, bob, carol)), newMountedList(t, listOf(anna, bob, carol))
	one, two := l.serve(first), l.serve(second)
	l.runsDesk()

	hers, his, third := l.guest().comesIn(one, anna), l.guest().comesIn(two, bob), l.guest().comesIn(one, carol)
	l.stays(hers, one, two)
	l.believes(hers.opensDesk(two))
	l.believes(hers.opensDesk(one))
	require.Empty(t, his.opensDesk(one), "it is another's desktop")

	changed := time.Now()
	first.holds(listOf(bob, carol))
	late := []*guest{hers}
	l.eventually(func() bool { // all the time, with the list that she is on
		v := l.guest()
		late = append(late, v)
		status, _ := v.logIn(two, anna)
		return status == http.StatusServiceUnavailable
	}, "her password does not count any more")
	for _, v := range late {
		l.leaves(v, one, two)
		require.Empty(t, v.opensDesk(one))
		require.Empty(t, v.opensDesk(two))
	}
	t.Logf("%d logins have ended in both replicas within %s of the change of one list", len(late), time.Since(changed))
	l.eventually(func() bool { return slices.Contains(l.streamsClosed(), l.session().Status.Host) }, "her streams end")
	l.refused(one, anna, http.StatusUnauthorized, wrongPassword)
	l.refused(two, anna, http.StatusServiceUnavailable, staleList)
	l.stays(his, one, two)
	l.stays(third, one, two)

	l.changesPassword(bob, carol, third, first, second, one, two)
	l.refused(two, anna, http.StatusUnauthorized, wrongPassword)
	l.stays(his, one, two)
	require.Equal(t, []string{l.session().Status.Host}, slices.Compact(l.streamsClosed()), "nobody else's; each replica closes them when it has the list")
	l.namesNobody(anna, bob, carol)
	l.asksNothingAtRest()
}

// changesPassword gives Carol another password, in one list after the other; Anna is on
// neither from then on.
func (l *localSite) changesPassword(bob, carol listed, hers *guest, first, second *mountedList, one, two *door) {
	l.t.Helper()
	now := newListed(l.t, carol.name, carol.user, "carol's new password")
	first.holds(listOf(bob, now))
	l.leaves(hers, one, two)
	l.refused(one, carol, http.StatusUnauthorized, wrongPassword)
	l.refused(two, carol, http.StatusServiceUnavailable, staleList)
	l.refused(two, now, http.StatusUnauthorized, wrongPassword)
	again := l.guest().comesIn(one, now)
	l.eventually(func() bool { return again.isLoggedIn(two) }, "the new login holds everywhere")

	second.holds(listOf(bob, now))
	l.eventually(func() bool {
		status, _ := l.guest().logIn(two, now)
		return status == http.StatusOK
	}, "the other list comes")
	l.refused(two, carol, http.StatusUnauthorized, wrongPassword)
	l.stays(again, one, two)
}

// believes checks a statement as the agent does, with the keys that the operator reads.
func (l *localSite) believes(statement string) {
	l.t.Helper()
	found := &corev1.ConfigMap{}
	l.read(found, publicKeys)
	key, err := platform.ParseStatementKey([]byte(found.Data["1.pem"]))
	require.NoError(l.t, err)
	s := l.session()
	said, err := platform.VerifyStatement(statement, []ed25519.PublicKey{key}, string(s.UID), s.Status.Host, time.Now())
	require.NoError(l.t, err)
	require.Equal(l.t, platform.Identity(alice), said.Identity)
}

// parts are the ConfigMaps of ended logins.
func (l *localSite) parts() (all []corev1.ConfigMap) {
	l.t.Helper()
	for n := range ended.Parts {
		found := &corev1.ConfigMap{}
		l.read(found, ended.Store{Name: frontdoor.DefaultEndedLogins}.Part(n).Name)
		all = append(all, *found)
	}
	return all
}

// namesNobody: what the front door keeps names nobody who is on the list, and nothing at all
// holds a hash or a password.
func (l *localSite) namesNobody(all ...listed) {
	l.t.Helper()
	bound := 0
	for _, part := range l.parts() {
		text := strings.ToLower(asJSON(l.t, part))
		bound += strings.Count(text, `.entry":"`)
		for _, p := range all {
			for _, part := range []string{p.name, p.user} {
				require.NotContains(l.t, text, part)
			}
		}
	}
	require.Equal(l.t, len(all), bound, "everybody's name is bound to their account")
	for _, list := range []client.ObjectList{
		&corev1.ConfigMapList{}, &corev1.SecretList{}, &corev1.EventList{}, &corev1.PodList{}, &vdi.VDISessionList{},
	} {
		require.NoError(l.t, l.client.List(l.ctx, list, client.InNamespace(l.ns)))
		text := asJSON(l.t, list)
		if secrets, are := list.(*corev1.SecretList); are {
			for _, s := range secrets.Items {
				text += fmt.Sprintf("%s", s.Data)
			}
		}
		for _, p := range all {
			require.NotContains(l.t, text, p.password)
			require.NotContains(l.t, text, p.hash)
		}
	}
}

// asksNothingAtRest: the lists are not read again and again, and neither are logins.
func (l *localSite) asksNothingAtRest() {
	l.t.Helper()
	log := sharedPlane(l.t).AuditLog()
	asked := func(from int64) ([]audit.Request, int64) {
		requests, end, err := audit.Of(log, "system:serviceaccount:"+l.ns+":"+doorName, from)
		require.NoError(l.t, err)
		return requests, end
	}
	all, from := asked(0)
	for _, kind := range []string{"vdisessions", "vditemplates", "vdiquotas", "vdiusages", "configmaps"} {
		watches := func(q audit.Request) bool { return q.Verb == "watch" && q.Resource == kind }
		require.True(l.t, slices.ContainsFunc(all, watches), "%s are watched", kind)
	}
	require.False(l.t, slices.ContainsFunc(all, audit.Request.IsForbidden), "every right that it needs is granted")
	require.Never(l.t, func() bool {
		requests, end := asked(from)
		from = end
		return slices.ContainsFunc(requests, func(q audit.Request) bool {
			if !q.IsUpkeep() {
				l.t.Logf("asked at rest: %s %s", q.Verb, q.URI)
			}
			return !q.IsUpkeep()
		})
	}, 20*time.Second, time.Second, "idle replicas ask nothing")
}

// TestPeopleChangeWhileNobodyLooks: no replica runs when the list changes. The logins of
// those who have left it end all the same.
func TestPeopleChangeWhileNobodyLooks(t *testing.T) {
	t.Parallel()
	l := newLocalSite(t)
	anna, bob := newListed(t, "anna.artist", alice, "anna's password"), newListed(t, "bob.builder", "bob@example.com", "bob's password")
	carol := newListed(t, "carol.curator", "carol@example.com", "carol's password")
	list := newMountedList(t, listOf(anna, bob, carol))
	door := l.serve(list)
	l.runsDesk()
	hers, his, third := l.guest().comesIn(door, anna), l.guest().comesIn(door, bob), l.guest().comesIn(door, carol)
	l.believes(hers.opensDesk(door))
	l.judge.Store(nil)
	door.stop()

	now := newListed(t, carol.name, carol.user, "carol's new password")
	list.holds(listOf(bob, now))
	door = l.serve(list)
	l.leaves(hers, door)
	l.leaves(third, door)
	require.Empty(t, hers.opensDesk(door))
	l.stays(his, door)
	l.eventually(func() bool { return slices.Contains(l.streamsClosed(), l.session().Status.Host) },
		"her streams end, as soon as the proxy can ask the front door about that")
	l.guest().comesIn(door, now)
	l.refused(door, anna, http.StatusUnauthorized, wrongPassword)

	list.holds(listOf(anna, bob, now))
	back := l.guest()
	l.eventually(func() bool {
		status, _ := back.logIn(door, anna)
		return status == http.StatusOK
	}, "she is on the list again")
	l.believes(back.opensDesk(door))
	require.False(t, hers.isLoggedIn(door), "what has ended stays so")
}

// TestPeopleUnusable: a list that cannot be used stops no replica and ends nobody's login.
// A replica that starts with it lets nobody in and says so, until the list is good.
func TestPeopleUnusable(t *testing.T) {
	t.Parallel()
	l := newLocalSite(t)
	anna := newListed(t, "anna.artist", alice, "anna's password")
	good := listOf(anna)
	list := newMountedList(t, good)
	one := l.serve(list)
	l.runsDesk()
	hers := l.guest().comesIn(one, anna)
	before := l.parts()

	for name, bad := range map[string]string{"no YAML": "people: [", "a password": "people: [{name: anna.artist, password: x}]", "nothing": ""} {
		broken := newMountedList(t, bad)
		two := l.serve(broken) // which waits until it is ready
		assert.Equal(t, "0", l.usable(two), name)
		answer, page := l.guest().do(two, http.MethodGet, "https://"+loginHost+"/login", nil)
		assert.Equal(t, http.StatusServiceUnavailable, answer.StatusCode, name)
		assert.Contains(t, page, noList, name)
		l.refused(two, anna, http.StatusServiceUnavailable, noList)
		l.stays(hers, one, two)
		l.believes(hers.opensDesk(two))

		broken.holds(good)
		l.eventually(func() bool { return l.usable(two) == "1" }, "a good list is used without a restart")
		l.guest().comesIn(two, anna)
	}

	list.holds("people: [")
	l.eventually(func() bool { return l.usable(one) == "0" }, "the list is not that of the Secret")
	l.guest().comesIn(one, anna)
	l.stays(hers, one)
	require.Equal(t, before, l.parts(), "nothing has ended")
	require.Empty(t, l.streamsClosed())
}

// usable is the metric that says whether the list of people can be used.
func (l *localSite) usable(d *door) string {
	l.t.Helper()
	answer, err := http.Get(d.metrics + "/metrics")
	require.NoError(l.t, err)
	body, err := io.ReadAll(answer.Body)
	require.NoError(l.t, err)
	require.NoError(l.t, answer.Body.Close())
	_, value, found := strings.Cut(string(body), "\nvdi_frontdoor_people_usable ")
	require.True(l.t, found)
	value, _, _ = strings.Cut(value, "\n")
	return value
}
