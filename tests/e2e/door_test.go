package e2e

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/people"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/install"
	"github.com/vdi-platform/vdi-platform/tests/oidc"
)

const passwordField = "input[type=password]"

// A person comes back to a desktop that was suspended: the same address shows
// what happened, and their press of the button starts it again. The tab alone,
// loaded again and again, starts nothing.
func TestSuspendedDesktopShowsItsPage(t *testing.T) {
	s := scratch("comeback", "ivan@example.com", "page")
	start(t, s)
	s = await(t, s, install.Running)
	tab := openBrowser(t)
	enter := func() {
		_, password, err := platform.Credentials(t.Context(), s)
		require.NoError(t, err)
		tab.Do(chromedp.WaitVisible(passwordField), chromedp.SendKeys(passwordField, password+kb.Enter))
	}
	tab.Do(chromedp.Navigate(s.Status.URL))
	enter()
	tab.Comes(`document.title == "page"`)

	setRunPolicy(t, s, vdi.RunPolicySuspended)
	s = await(t, s, suspended)
	staysSuspended := func() {
		now := &vdi.VDISession{}
		require.NoError(t, platform.Client.Get(t.Context(), client.ObjectKeyFromObject(s), now))
		assert.Equal(t, vdi.RunPolicySuspended, now.Spec.RunPolicy)
		assert.Equal(t, s.Generation, now.Generation, "nobody wrote the spec")
		err := platform.Client.Get(t.Context(), client.ObjectKeyFromObject(s), &corev1.Pod{})
		assert.True(t, apierrors.IsNotFound(err), "no pod")
	}
	for range 3 {
		tab.Do(chromedp.Navigate(s.Status.URL), chromedp.WaitVisible(passwordField))
		staysSuspended()
	}
	tab.Screenshot("suspended-login")
	enter()
	for range 3 {
		tab.Comes(`document.body.innerText.includes("Your desktop is suspended")`)
		staysSuspended()
		tab.Do(chromedp.Reload())
	}
	tab.Comes(`document.body.innerText.includes("Your desktop is suspended")`)
	tab.Screenshot("suspended")
	tab.Presses(`form[action="/.vdi/resume"] button`)
	s = await(t, s, install.Running)
	tab.Comes(`document.querySelector("` + passwordField + `") != null`) // the page has led to the desktop's own by itself
	enter()
	tab.Comes(`document.title == "page"`)
	tab.Screenshot("resumed")
}

// Single sign-on, with the release upgraded to it and a provider that the front
// door reaches from its pod: people reach their own desktops, and nobody
// another's, neither through the proxy nor past it.
func TestSingleSignOn(t *testing.T) {
	const alice, bob = "judy@example.com", "kevin@example.com"
	issuer, authority := withSingleSignOn(t, oidc.Person{Email: alice}, oidc.Person{Email: bob})
	one, other := scratch("judy", alice, "page"), scratch("kevin", bob, "page")
	start(t, one)
	start(t, other)
	one, other = await(t, one, install.Running), await(t, other, install.Running)
	assert.Equal(t, &vdi.AccessStatus{Mode: vdi.AccessMode(wire.AccessOIDC)}, one.Status.Access)
	assert.Empty(t, one.Status.CredentialsSecret, "there is no password to read")

	judy := newPerson(t, authority)
	assert.Equal(t, http.StatusUnauthorized, judy.read(judy.ask(one.Status.URL, "*/*")).code, "programs are not led to a login")
	answer := judy.logIn(one.Status.URL+"/files?a=b", issuer, alice)
	assert.Equal(t, one.Status.URL+"/files?a=b", answer.url)
	assert.Contains(t, answer.body, "<title>page</title>")
	assert.Equal(t, http.StatusOK, judy.open(one.Status.URL).code, "and stays logged in")
	answer = judy.open(other.Status.URL)
	assert.Equal(t, http.StatusForbidden, answer.code)
	assert.Contains(t, answer.body, "not your desktop")
	pastTheProxy(t, judy, one, other)

	desktops := judy.open("https://auth." + install.Domain + ":8443/")
	assert.Contains(t, desktops.body, install.HostOf(one.Status.URL))
	assert.NotContains(t, desktops.body, install.HostOf(other.Status.URL))
	waitsForRoom(t, judy, alice)
	localInstead(t, one)
}

// localInstead: where the platform's own list takes the provider's place, people have the
// desktops that they had, which go on as they are.
func localInstead(t *testing.T, s *vdi.VDISession) {
	t.Helper()
	before := podOf(t, s).UID
	judy := install.Login{Name: "judy", User: s.Spec.User, Password: rand.Text()}
	entry, err := people.Person{Name: judy.Name, User: judy.User}.Entry([]byte(judy.Password))
	require.NoError(t, err)
	list := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "vdi-people", Namespace: install.Namespace},
		StringData: map[string]string{people.File: "people:\n" + string(entry)},
	}
	require.NoError(t, platform.Client.Create(t.Context(), list))
	t.Cleanup(func() { _ = platform.Client.Delete(context.Background(), list) })
	require.NoError(t, platform.Release(t.Context(), append(withGPUOperator(), "--set", "vdi-operator.access.mode=Local,vdi-operator.portal.namespace="+install.Sessions)...))
	answer, err := platform.LogIn(t.Context(), s.Status.URL, platform.ProxyOnNode(), judy)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, answer.Code)
	assert.Contains(t, answer.Body, "<title>page</title>")
	assert.Equal(t, before, podOf(t, s).UID)
	helpsThemselves(t, judy)
}

// waitsForRoom: whom a quota lets wait sees the place at the desktop's own address, and the
// desktop when there is room.
func waitsForRoom(t *testing.T, judy person, user string) {
	t.Helper()
	quota := &vdi.VDIQuota{ObjectMeta: metav1.ObjectMeta{Name: "judy"}, Spec: vdi.VDIQuotaSpec{
		Selector: vdi.QuotaSelector{Users: []string{user}}, PerUser: &vdi.UserLimits{Running: new(int32(1))},
	}}
	require.NoError(t, platform.Client.Create(t.Context(), quota))
	t.Cleanup(func() {
		require.NoError(t, client.IgnoreNotFound(platform.Client.Delete(context.Background(), quota)))
	})
	require.Eventually(t, func() bool { // a session made in the same moment may come first
		require.NoError(t, platform.Client.Get(t.Context(), client.ObjectKeyFromObject(quota), quota))
		return quota.Status.ObservedGeneration == quota.Generation
	}, 2*time.Minute, time.Second)
	next := scratch("judy-next", user, "page")
	start(t, next)
	next = await(t, next, func(s *vdi.VDISession) bool { return s.Status.Queue != nil && s.Status.URL != "" })
	page := judy.open(next.Status.URL).body
	assert.Contains(t, page, "Your desktop is waiting")
	assert.Contains(t, page, "You are next.")
	assert.Contains(t, page, "each person may have at most 1 running desktop, 1 is in use")
	require.NoError(t, platform.Client.Delete(t.Context(), quota))
	next = await(t, next, install.Running)
	assert.Contains(t, judy.open(next.Status.URL).body, "<title>page</title>")
}

// pastTheProxy: a statement that the front door signed for one desktop opens
// that one and no other, and nothing opens without one.
func pastTheProxy(t *testing.T, judy person, one, other *vdi.VDISession) {
	t.Helper()
	door := &corev1.PodList{}
	require.NoError(t, platform.Client.List(t.Context(), door, client.InNamespace(install.Namespace), client.MatchingLabels{"app": "vdi-frontdoor"}))
	living := ""
	for _, p := range door.Items {
		if p.DeletionTimestamp == nil { // one of before the upgrade answers for some seconds more
			living = p.Status.PodIP
		}
	}
	require.NotEmpty(t, living)
	ask := func(address string, headers map[string]string) *http.Response {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/", nil)
		require.NoError(t, err)
		for name, value := range headers {
			request.Header.Set(name, value)
		}
		request.Host = headers["Host"]
		answer, err := fromTheNode(t).Do(request)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		return answer
	}
	question := map[string]string{
		"Cookie": judy.cookies(one.Status.URL), "X-Forwarded-Host": install.HostOf(one.Status.URL),
		"X-Forwarded-Method": http.MethodGet, "X-Forwarded-Uri": "/", "X-Forwarded-Proto": "https",
	}
	statement := ask(living+":8081", question).Header.Get(wire.HeaderStatement)
	require.NotEmpty(t, statement)
	atAgent := func(s *vdi.VDISession, statement string) int {
		return ask(podOf(t, s).Status.PodIP+":8090", map[string]string{"Host": install.HostOf(s.Status.URL), wire.HeaderStatement: statement}).StatusCode
	}
	assert.Equal(t, http.StatusOK, atAgent(one, statement), "its own desktop, so the statement is good")
	assert.Equal(t, http.StatusUnauthorized, atAgent(other, statement), "another's desktop")
	assert.Equal(t, http.StatusUnauthorized, atAgent(one, ""), "no statement")
}

// withSingleSignOn upgrades the release to mode OIDC, and back when the test ends.
func withSingleSignOn(t *testing.T, people ...oidc.Person) (issuer *oidc.Provider, authority []byte) {
	t.Helper()
	here := platform.Cluster.NodeIP().Prev() // the host's end of the link to the node
	authority, certificate, key, err := install.NewCertificate(here)
	require.NoError(t, err)
	pair, err := tls.X509KeyPair(certificate, key)
	require.NoError(t, err)
	issuer = oidc.StartTLS(t, here, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
		"https://auth."+install.Domain+":8443/callback", people...)
	for _, o := range []client.Object{
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "vdi-oidc", Namespace: install.Namespace}, StringData: map[string]string{"client-secret": oidc.ClientSecret}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "issuer-authority", Namespace: install.Namespace}, Data: map[string]string{"ca.crt": string(authority)}},
	} {
		require.NoError(t, platform.Client.Create(t.Context(), o))
		t.Cleanup(func() { _ = platform.Client.Delete(context.Background(), o) })
	}
	t.Cleanup(func() { require.NoError(t, platform.Release(context.Background(), withGPUOperator()...)) })
	require.NoError(t, platform.Release(t.Context(), append(withGPUOperator(),
		"--set", "vdi-operator.access.mode=OIDC", "--set", "vdi-operator.access.oidc.issuerURL="+issuer.Issuer,
		"--set", "vdi-operator.access.oidc.clientID="+oidc.ClientID, "--set", "vdi-operator.access.oidc.clientSecret.name=vdi-oidc",
		"--set", "vdi-operator.access.oidc.caBundle.configMap=issuer-authority")...))
	return issuer, authority
}

// person is somebody's browser, without its pictures.
type person struct {
	t *testing.T
	*http.Client
}

// newPerson trusts the platform's authority and the provider's.
func newPerson(t *testing.T, authority []byte) person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	dialer, roots := &net.Dialer{}, x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(platform.CA) && roots.AppendCertsFromPEM(authority))
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if host, _, _ := net.SplitHostPort(address); strings.HasSuffix(host, "."+install.Domain) {
				address = platform.ProxyOnNode()
			}
			return dialer.DialContext(ctx, network, address)
		},
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return person{t, &http.Client{Jar: jar, Timeout: 30 * time.Second, Transport: navigating{transport}}}
}

// navigating asks for pages, as a browser does also after a form, unless the
// request says that it is a program's.
type navigating struct{ http.RoundTripper }

func (n navigating) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Accept") == "" {
		r = r.Clone(r.Context())
		r.Header.Set("Accept", "text/html")
	}
	return n.RoundTripper.RoundTrip(r)
}

// seen is what a person or a program was answered, and where.
type seen struct {
	code      int
	url, body string
}

func (p person) read(answer *http.Response) seen {
	p.t.Helper()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	require.NoError(p.t, err)
	require.NoError(p.t, answer.Body.Close())
	return seen{answer.StatusCode, answer.Request.URL.String(), string(body)}
}

func (p person) ask(url, accept string) *http.Response {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, url, nil)
	require.NoError(p.t, err)
	request.Header.Set("Accept", accept)
	answer, err := p.Do(request)
	require.NoError(p.t, err)
	return answer
}

func (p person) open(url string) seen {
	p.t.Helper()
	return p.read(p.ask(url, "text/html"))
}

// logIn opens a page that leads to the provider, and logs in there.
func (p person) logIn(url string, provider *oidc.Provider, email string) seen {
	p.t.Helper()
	return p.read(provider.LogIn(p.t, p.Client, p.ask(url, "text/html"), email))
}

// cookies are what the browser sends to an address.
func (p person) cookies(address string) string {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, address, nil)
	require.NoError(p.t, err)
	for _, c := range p.Jar.Cookies(request.URL) {
		request.AddCookie(c)
	}
	return request.Header.Get("Cookie")
}
