// Package frontdoor logs people in at a real identity provider and sees which
// doors open. Sessions are kept in memory; tests/integration has them at a real
// API server.
package frontdoor

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	door "github.com/vdi-platform/vdi-platform/operator/frontdoor"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/ended"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/people"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/oidc"
)

const (
	domain = "vdi.example.com"
	auth   = "https://auth." + domain

	alice     = "alice@example.com"
	aliceHost = "alice-1." + domain
	aliceURL  = "https://" + aliceHost
	bob       = "bob@example.com"
	bobHost   = "bob-1." + domain
	mallory   = "mallory@example.com" // whose address nobody has verified
	nobody    = "nobody-1." + domain  // a host without a session
	password  = "abcdefghijklmnopqrstuvwxyz234567"
)

// world is a platform with two replicas of the front door behind a proxy, and a
// desktop of Alice's and one of Bob's.
type world struct {
	t        *testing.T
	provider *oidc.Provider
	issuer   string // of a provider that is not ours, "" for ours
	known    *memory
	groups   []string // that count, all by default
	now      atomic.Int64
	clock    func() time.Time // w.time by default
	registry *prometheus.Registry
	log      *recorder
	// keys are the files of the folder of keys.
	keys    atomic.Pointer[door.Keys]
	signing ed25519.PublicKey
	pem     []byte
	doors   []*door.Door
	// lists are the replicas' lists of people, in mode Local.
	lists [2]atomic.Pointer[people.List]
	// turn chooses the replica of the next request, unless only, counted from 1, does.
	turn    atomic.Int64
	only    atomic.Int64
	address string
	// away: the proxy reaches nothing.
	away atomic.Bool
}

type recorder struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

func newWorld(t *testing.T, mode wire.AccessMode, settings ...func(*world, *platform.Sessions)) *world {
	t.Helper()
	w := &world{t: t, known: newMemory(), registry: prometheus.NewRegistry(), log: &recorder{}}
	w.now.Store(time.Now().UnixNano())
	w.known.now = w.time
	w.known.add("alice-1", alice, vdi.PhaseRunning)
	w.known.add("bob-1", bob, vdi.PhaseRunning)
	w.makeSigningKey()
	w.useKeys(map[string]string{"1.key": "one"})
	w.clock = w.time
	config := platform.Config{Sessions: platform.Sessions{Domain: domain}, Access: platform.Access{Mode: mode}}
	for _, set := range settings {
		set(w, &config.Sessions)
	}
	if mode == wire.AccessOIDC {
		if w.issuer == "" {
			w.provider = oidc.Start(t, door.CallbackURL(config.Sessions), oidc.Person{Email: alice}, oidc.Person{Email: bob}, oidc.Person{Email: mallory, Unverified: true})
			w.issuer = w.provider.Issuer
		}
		config.Access.OIDC = platform.OIDC{IssuerURL: w.issuer, ClientID: oidc.ClientID, GroupsClaim: "groups", OnlyGroups: w.groups}
	}
	if w.address == "" {
		server := httptest.NewTLSServer(http.HandlerFunc(w.proxy))
		t.Cleanup(server.Close)
		w.address = server.Listener.Addr().String()
	}
	config.Sessions.Proxy.Address = w.address
	config = config.WithDefaults()
	require.NoError(t, config.Validate())
	metrics := door.NewMetrics(w.registry, func() float64 { return 0 })
	for n := range w.lists {
		options := door.Options{
			Sessions: config.Sessions, Access: config.Access, LoginLifetime: 8 * time.Hour, Keys: func() door.Keys { return *w.keys.Load() },
			Known: w.known, Changer: w.known, Catalogue: w.known, PortalNamespace: w.known.portal, Ended: w.known, Now: w.clock, Metrics: metrics, People: w.lists[n].Load,
			Log: slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		}
		if mode == wire.AccessOIDC {
			secret := func() (string, error) { return oidc.ClientSecret, nil }
			options.Provider = door.NewProvider(config.Access.OIDC, secret, []string{"openid", "email"}, door.CallbackURL(config.Sessions), http.DefaultTransport)
		}
		w.doors = append(w.doors, door.New(options))
	}
	return w
}

func (w *world) time() time.Time { return time.Unix(0, w.now.Load()) }

func (w *world) pass(d time.Duration) { w.now.Add(int64(d)) }

func (w *world) makeSigningKey() {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(w.t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(w.t, err)
	w.signing, w.pem = public, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// useKeys replaces the keys of cookies, in all replicas: file → seed.
func (w *world) useKeys(cookies map[string]string) {
	files := fstest.MapFS{"1.pem": {Data: w.pem}}
	for name, seed := range cookies {
		key := sha256.Sum256([]byte(seed))
		files[name] = &fstest.MapFile{Data: key[:]}
	}
	keys, err := door.ReadKeys(files)
	require.NoError(w.t, err)
	w.keys.Store(&keys)
}

// replica is the front door that gets the next request: they take turns.
func (w *world) replica() *door.Door {
	if only := w.only.Load(); only > 0 {
		return w.doors[only-1]
	}
	return w.doors[int(w.turn.Add(1))%len(w.doors)]
}

// proxy does what Traefik does with its routes, here by the session's phase,
// and with its middleware forwardAuth (traefik/v3 pkg/middlewares/auth/forward.go).
func (w *world) proxy(out http.ResponseWriter, r *http.Request) {
	if w.away.Load() {
		http.Error(out, "nothing answers", http.StatusBadGateway)
		return
	}
	s, found, _ := w.known.ByHost(r.Context(), r.Host)
	if !found || s.Status.Phase != vdi.PhaseRunning {
		r.Header.Set("X-Forwarded-Host", r.Host)
		r.Header.Set("X-Forwarded-Proto", "https")
		w.replica().Pages().ServeHTTP(out, r)
		return
	}
	answer := w.ask(r)
	if answer.Code < 200 || answer.Code > 299 {
		for name, values := range answer.Header() {
			out.Header()[name] = values
		}
		out.WriteHeader(answer.Code)
		_, _ = answer.Body.WriteTo(out)
		return
	}
	r.Header.Del(wire.HeaderStatement)
	r.Header[wire.HeaderStatement] = answer.Header()[wire.HeaderStatement]
	w.agent(out, r, s)
}

// ask is the request that the middleware makes.
func (w *world) ask(r *http.Request) *httptest.ResponseRecorder {
	question := httptest.NewRequest(http.MethodGet, "http://front-door:8081/auth", nil)
	question.Header = r.Header.Clone()
	for _, hop := range []string{"Connection", "Upgrade", "Te", "Trailers", "Transfer-Encoding", "Keep-Alive"} {
		question.Header.Del(hop)
	}
	question.Header.Set("X-Forwarded-Method", r.Method)
	question.Header.Set("X-Forwarded-Proto", "https")
	question.Header.Set("X-Forwarded-Host", r.Host)
	question.Header.Set("X-Forwarded-Uri", r.URL.RequestURI())
	answer := httptest.NewRecorder()
	w.replica().ForwardAuth().ServeHTTP(answer, question)
	return answer
}

// agent judges the statement as the agent of the session does, and tells who
// came to which path.
func (w *world) agent(out http.ResponseWriter, r *http.Request, s *vdi.VDISession) {
	statement, err := platform.VerifyStatement(r.Header.Get(wire.HeaderStatement), []ed25519.PublicKey{w.signing}, string(s.UID), r.Host, w.time())
	if err != nil {
		http.Error(out, err.Error(), http.StatusUnauthorized)
		return
	}
	if r.Method == http.MethodPost && r.URL.Path == "/.vdi/logout" {
		if r.Header.Get("Origin") != "https://"+r.Host { // the agent's checkOrigin
			http.Error(out, "this did not come from the desktop's own page", http.StatusForbidden)
			return
		}
		_ = w.known.did("close streams of " + s.Name + " for " + statement.Identity)
		http.SetCookie(out, &http.Cookie{Name: "__Host-vdi", Path: "/", Secure: true, MaxAge: -1})
		http.Redirect(out, r, "/.vdi/login", http.StatusSeeOther)
		return
	}
	fmt.Fprintf(out, "desktop of %s at %s until %d", statement.Identity, r.URL.RequestURI(), statement.LoginExpires)
}

// browser is one with no cookies yet.
type browser struct {
	*http.Client
	w *world
}

func (w *world) browser() *browser {
	jar, err := cookiejar.New(nil)
	require.NoError(w.t, err)
	dialer := &net.Dialer{}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if host, _, _ := net.SplitHostPort(address); strings.HasSuffix(host, domain) {
				address = w.address
			}
			return dialer.DialContext(ctx, network, address)
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the test's own server
	}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &browser{&http.Client{Jar: jar, Transport: transport}, w}
}

// staying stops at the first redirect.
func (b *browser) staying() *browser {
	client := *b.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &browser{&client, b.w}
}

// do sends a request as a navigation unless headers say otherwise.
func (b *browser) do(method, url string, body string, headers ...string) *http.Response {
	b.w.t.Helper()
	r, err := http.NewRequestWithContext(b.w.t.Context(), method, url, strings.NewReader(body))
	require.NoError(b.w.t, err)
	r.Header.Set("Accept", "text/html")
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header[headers[i]] = append(r.Header[headers[i]], headers[i+1])
	}
	if r.Header.Get("Accept") == "text/html" && len(r.Header["Accept"]) > 1 {
		r.Header["Accept"] = r.Header["Accept"][1:]
	}
	answer, err := b.Do(r)
	require.NoError(b.w.t, err)
	return answer
}

func (b *browser) get(url string, headers ...string) *http.Response {
	b.w.t.Helper()
	return b.do(http.MethodGet, url, "", headers...)
}

// open opens a page and, where it leads to the provider, logs in there.
func (b *browser) open(url, email string) *http.Response {
	b.w.t.Helper()
	answer := b.get(url)
	if strings.HasPrefix(answer.Request.URL.String(), b.w.provider.Issuer) {
		answer = b.logIn(answer, email)
	}
	return answer
}

func (b *browser) logIn(form *http.Response, email string) *http.Response {
	b.w.t.Helper()
	client := *b.Client
	client.Transport = navigating{b.Transport}
	return b.w.provider.LogIn(b.w.t, &client, form, email)
}

// navigating asks for pages, as a browser does after a form.
type navigating struct{ http.RoundTripper }

func (n navigating) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("Accept", "text/html")
	return n.RoundTripper.RoundTrip(r)
}

// cookie is a cookie that the browser holds for an address; "" for none.
func (b *browser) cookie(address, name string) string {
	r, err := http.NewRequestWithContext(b.w.t.Context(), http.MethodGet, address, nil)
	require.NoError(b.w.t, err)
	for _, c := range b.Jar.Cookies(r.URL) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

func text(t *testing.T, answer *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	return string(body)
}

var formField = regexp.MustCompile(`name="form" value="([^"]+)"`)

// formOf is the hidden field of a page's form.
func formOf(t *testing.T, page string) string {
	t.Helper()
	found := formField.FindStringSubmatch(page)
	require.NotNil(t, found, page)
	return "form=" + found[1]
}

// --- what the API server would know

// binding is what a name is bound to in mode Local.
type binding struct {
	entry string
	since time.Time
}

type memory struct {
	now      func() time.Time
	mu       sync.Mutex
	sessions map[string]*vdi.VDISession // by host
	ended    map[string]bool
	pins     map[string]ended.Account // by person
	bindings map[string]binding
	until    map[string]time.Time // by person: what has begun until then has ended
	follow   map[chan struct{}]bool
	changes  []string
	resumed  []string                  // the groups of the last resume
	holds    func(person string) error // if set: what goes wrong in Holds
	stamping func()                    // if set: what happens before the next Stamp
	portal   string                    // where people make desktops
	offers   map[string]*vdi.VDITemplate
	quotas   []vdi.VDIQuota
	claims   []corev1.PersistentVolumeClaim // homes that were left
	refuses  error                          // if set: what the API server says of a change
	version  int
}

func newMemory() *memory {
	return &memory{sessions: map[string]*vdi.VDISession{}, ended: map[string]bool{}, pins: map[string]ended.Account{}, bindings: map[string]binding{}, until: map[string]time.Time{}, follow: map[chan struct{}]bool{}, offers: map[string]*vdi.VDITemplate{}}
}

func (m *memory) add(label, user string, phase vdi.Phase) {
	sum := sha256.Sum256([]byte(password))
	s := &vdi.VDISession{
		ObjectMeta: metav1.ObjectMeta{Name: label, Namespace: "team", UID: types.UID("uid of " + label)},
		Spec:       vdi.VDISessionSpec{User: user, Template: "office", RunPolicy: vdi.RunPolicyRunning},
		Status: vdi.VDISessionStatus{
			Phase: phase, Host: label + "." + domain, URL: "https://" + label + "." + domain,
			Access: &vdi.AccessStatus{PasswordVerifier: base64.StdEncoding.EncodeToString(sum[:])},
		},
	}
	m.sessions[s.Status.Host] = s
}

// edit replaces a session, as a watch does.
func (m *memory) edit(host string, change func(*vdi.VDISession)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sessions[host].DeepCopy()
	change(s)
	m.version++
	s.ResourceVersion = strconv.Itoa(m.version)
	m.sessions[host] = s
	m.wake()
}

// wake signals all pages.
func (m *memory) wake() {
	for c := range m.follow {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (m *memory) ByHost(_ context.Context, host string) (*vdi.VDISession, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, found := m.sessions[host]
	return s, found, nil
}

func (m *memory) ByUser(_ context.Context, user string) (found []vdi.VDISession, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.sessions {
		if s.Spec.User == user {
			found = append(found, *s)
		}
	}
	return found, nil
}

func (m *memory) All(context.Context) (found []vdi.VDISession, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.sessions {
		found = append(found, *s)
	}
	return found, nil
}

func (m *memory) InPool(context.Context, string) (found []vdi.VDISession, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.sessions {
		if s.Status.WaitingFor == vdi.WaitingForGPU {
			found = append(found, *s)
		}
	}
	return found, nil
}

func (m *memory) Follow(string) (<-chan struct{}, func(), bool) {
	c := make(chan struct{}, 1)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.follow[c] = true
	return c, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.follow, c)
	}, true
}

func (m *memory) Resume(_ context.Context, s *vdi.VDISession, groups []string) error {
	m.mu.Lock()
	m.resumed = groups
	m.mu.Unlock()
	m.edit(s.Status.Host, func(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicyRunning })
	return m.did("resume " + s.Name)
}

func (m *memory) KeepAlive(_ context.Context, s *vdi.VDISession, until time.Time) error {
	m.edit(s.Status.Host, func(s *vdi.VDISession) { s.Spec.KeepAliveUntil = &metav1.Time{Time: until} })
	return m.did("keep " + s.Name + " until " + until.UTC().Format(time.RFC3339))
}

func (m *memory) did(what string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changes = append(m.changes, what)
	return nil
}

// done returns what was written, and forgets it.
func (m *memory) done() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	changes := m.changes
	m.changes = nil
	return changes
}

func (m *memory) Ended(_ context.Context, login ended.Login) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ended[login.Name] || !login.Issued.After(m.until[login.Person]), nil
}

func (m *memory) End(_ context.Context, login ended.Login) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended[login.Name] = true
	return nil
}

func (m *memory) Stamp(_ context.Context, person string) (time.Time, error) {
	if happens := m.stamping; happens != nil {
		m.stamping = nil
		happens()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if until := m.until[person]; !until.Before(m.now()) {
		return until.Add(time.Millisecond), nil
	}
	return m.now(), nil
}

func (m *memory) Pin(_ context.Context, person string, account ended.Account, keep bool) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	pinned, found := m.pins[person]
	if !found {
		if keep {
			m.pins[person] = account
		}
		return true, nil
	}
	return pinned == account, nil
}

func (m *memory) Bind(_ context.Context, person, entry string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, found := m.bindings[person]
	if found && b.entry != entry && m.now().Before(b.since.Add(ended.ListLag)) {
		return false, nil
	}
	if b.entry != entry {
		m.bindings[person] = binding{entry, m.now()}
	}
	return true, nil
}

func (m *memory) IsBound(_ context.Context, person, entry string) (bound, lately bool, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, found := m.bindings[person]
	bound = found && b.entry == entry
	return bound, bound && m.now().Before(b.since.Add(ended.ListLag)), nil
}

func (m *memory) Settle(_ context.Context, entries map[string]string) (func(string) bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	changed := map[string]bool{}
	for person, b := range m.bindings {
		if b.entry != entries[person] {
			changed[person], m.until[person] = true, m.now()
			m.bindings[person] = binding{entries[person], m.now()}
		}
	}
	return func(person string) bool { return changed[person] }, nil
}

func (m *memory) Holds(_ context.Context, person string, account ended.Account) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.holds != nil {
		if err := m.holds(person); err != nil {
			return false, err
		}
	}
	return m.pins[person] == account, nil
}

func (m *memory) EndAccount(_ context.Context, account ended.Account, until time.Time) (wrote bool, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for person, pinned := range m.pins {
		if pinned == account && until.After(m.until[person]) {
			m.until[person] = until
			wrote = true
		}
	}
	return wrote, nil
}

// isFollowed says whether a page listens.
func (m *memory) isFollowed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.follow) > 0
}
