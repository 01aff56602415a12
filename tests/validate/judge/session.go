package judge

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// Usable is the template of that name, or without a name the first that can start
// desktops, in the order of names.
func Usable(templates []vdi.VDITemplate, name string) (vdi.VDITemplate, error) {
	sorted := slices.SortedFunc(slices.Values(templates), func(a, b vdi.VDITemplate) int { return strings.Compare(a.Name, b.Name) })
	var why []string
	for _, t := range sorted {
		if name != "" && t.Name != name {
			continue
		}
		c := meta.FindStatusCondition(t.Status.Conditions, vdi.ConditionValid)
		if c == nil || c.Status != metav1.ConditionFalse {
			return t, nil
		}
		why = append(why, fmt.Sprintf("%s: %s", t.Name, c.Message))
	}
	switch {
	case len(why) > 0:
		return vdi.VDITemplate{}, fmt.Errorf("no template can be used (%s)", strings.Join(why, "; "))
	case name != "":
		return vdi.VDITemplate{}, fmt.Errorf("there is no template %q", name)
	}
	return vdi.VDITemplate{}, fmt.Errorf("there is no template")
}

// PullSecrets judges whether a desktop in a namespace of its own can have the Secrets that
// desktops pull with. Somebody puts them into each session namespace, and nobody has put
// them there.
func PullSecrets(names []string, from string) Verdict {
	if len(names) > 0 && from == "" {
		return Unjudged("desktops pull with %s (sessions.images.pullSecrets), which a new namespace does not hold", list(names)).
			With("PULL_SECRETS_FROM=NAMESPACE of one that holds them: they are copied for the desktop that is tried")
	}
	return Pass("desktops can pull")
}

// NoPullSecret is the verdict where the namespace to copy from lacks one.
func NoPullSecret(name, from string) Verdict {
	return Unjudged("namespace %s holds no Secret %s (sessions.images.pullSecrets)", from, name).
		With("PULL_SECRETS_FROM=NAMESPACE of a session namespace, which holds them all")
}

// Start judges a session that was waited for.
func Start(s vdi.VDISession, template string, took time.Duration) Verdict {
	switch {
	case s.Status.Phase == vdi.PhaseRunning:
		return Pass("a session from template %s runs after %s", template, took.Round(time.Second))
	case s.Status.WaitingFor == vdi.WaitingForGPU:
		return Unjudged("no free slice: %s", s.Status.Message).With("end or suspend a desktop, or give TEMPLATE=NAME of one that needs no GPU")
	case s.Status.WaitingFor == vdi.WaitingForImage:
		return Fail("after %s: %s", took.Round(time.Second), said(s)).With("nodes must be able to pull the images of template %s and of the operator; pull secrets of session namespaces: sessions.images.pullSecrets", template)
	case s.Status.WaitingFor == vdi.WaitingForVolume:
		return Fail("after %s: %s", took.Round(time.Second), said(s)).With("a default StorageClass must make volumes: kubectl get storageclass")
	case s.Status.WaitingFor == vdi.WaitingForRoute:
		return Fail("after %s: %s", took.Round(time.Second), said(s)).With("the proxy must serve IngressRoutes labelled vdi.kasm.io/proxy=true, and sessions.proxy name its Service")
	}
	return Fail("after %s: %s", took.Round(time.Second), said(s))
}

func said(s vdi.VDISession) string {
	switch {
	case s.Status.Phase == "":
		return "the operator has said nothing about the session"
	case s.Status.Message == "":
		return "the session is " + string(s.Status.Phase)
	}
	return fmt.Sprintf("%s: %s", s.Status.Phase, s.Status.Message)
}

// Names judges the name service for a session's host. Instead is ADDRESS, which
// takes its place.
func Names(host, domain, instead string, addresses []string, err error) Verdict {
	switch {
	case !strings.HasSuffix(host, "."+domain):
		return Fail("desktops get hosts such as %s, not below %s", host, domain).With("set sessions.domain, or leave DOMAIN out")
	case instead != "":
		return Unjudged("ADDRESS=%s is used instead of the name service", instead).With("leave ADDRESS out to judge the names that browsers use")
	case err != nil:
		return Fail("%s cannot be resolved from here: %v", host, err)
	case len(addresses) == 0:
		return Fail("%s has no address", host)
	}
	return Pass("%s is %s", host, list(addresses))
}

// soon is when the end of a certificate is worth a word.
const soon = 14 * 24 * time.Hour

// Certificate judges what the proxy showed for a host, as a browser would that
// knows these authorities (nil: the system's).
func Certificate(host string, chain []*x509.Certificate, roots *x509.CertPool, now time.Time) Verdict {
	if len(chain) == 0 {
		return Fail("no certificate was shown for %s", host)
	}
	leaf, between := chain[0], x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	until := leaf.NotAfter.UTC().Format(time.DateOnly)
	if err := leaf.VerifyHostname(host); err != nil {
		return Fail("the certificate is for %s, not for %s", named(leaf), host).
			With("put a certificate for *.DOMAIN into the Secret that tlsStore.default.defaultCertificate names")
	}
	if now.After(leaf.NotAfter) {
		return Fail("the certificate has ended on %s", until).With("renew it, and put it into the same Secret; the proxy reads it by itself")
	}
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between, CurrentTime: now}); err != nil {
		return Fail("browsers refuse the certificate of %s: %v", named(leaf), err).
			With("use one of a public authority; where browsers know yours, name its certificate by CA=FILE")
	}
	note := ""
	if leaf.NotAfter.Sub(now) < soon {
		note = ": renew it soon"
	}
	return Pass("certificate of %s, until %s%s", named(leaf), until, note)
}

func named(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return list(c.DNSNames)
	}
	return c.Subject.CommonName
}

// Route judges the answer to the operator's question, by which the front door says
// when it stands in the desktop's place.
func Route(host string, routeThere bool, code int, err error) Verdict {
	switch {
	case !routeThere:
		return Fail("the session has no IngressRoute").With("look at the session's condition Reachable and at the operator's log")
	case err != nil:
		return Fail("the proxy does not answer for %s: %v", host, err)
	case code == http.StatusNotFound:
		return Fail("the proxy knows no route for %s (404)", host)
	case code == http.StatusServiceUnavailable:
		return Fail("the front door answers in the desktop's place (503): the proxy does not serve the session's route")
	case code >= http.StatusInternalServerError:
		return Fail("the proxy does not get through to the desktop (%d)", code).With("the session's NetworkPolicy must name the proxy's pods: sessions.proxy.namespace and podLabels")
	}
	return Pass("the proxy leads %s to the desktop", host)
}

// Login judges how strangers and the owner are answered, in mode Password.
func Login(stranger, owner int, err error) Verdict {
	switch {
	case err != nil:
		return Fail("the desktop could not be asked: %v", err)
	case stranger != http.StatusUnauthorized:
		return Fail("without a login the desktop answers %d instead of 401", stranger)
	case owner != http.StatusOK:
		return Fail("with the session's password the desktop answers %d instead of 200", owner)
	}
	return Pass("401 without a login, 200 with the session's password")
}

// SingleSignOn judges the way to the identity provider, in mode OIDC: where redirects
// led, the last one outside of the platform's domain.
func SingleSignOn(domain, clientID string, way []*url.URL, err error) Verdict {
	door := "auth." + domain
	switch {
	case err != nil:
		return Fail("the way to the login: %v", err)
	case len(way) == 0:
		return Fail("a stranger is not sent to a login")
	case !slices.ContainsFunc(way, func(u *url.URL) bool { return u.Hostname() == door }):
		return Fail("a stranger is sent to %s, not to %s", way[0].Hostname(), door)
	}
	last := way[len(way)-1]
	back, badBack := url.Parse(last.Query().Get("redirect_uri"))
	switch {
	case last.Hostname() == door || strings.HasSuffix(last.Hostname(), "."+domain):
		return Fail("the front door does not lead to the identity provider: it ends at %s%s", last.Host, last.Path).
			With("look at the front door's log: it must reach access.oidc.issuerURL")
	case last.Query().Get("client_id") != clientID:
		return Fail("%s is asked for client %q, not %q", last.Hostname(), last.Query().Get("client_id"), clientID)
	case badBack != nil || back.Hostname() != door || back.Path != "/callback":
		return Fail("%s is asked to come back to %q, not to https://%s/callback", last.Hostname(), last.Query().Get("redirect_uri"), door)
	}
	return Pass("a stranger is sent to the login at %s, which comes back to %s", last.Hostname(), back.Host)
}

// LocalLogin judges the way to the portal's login, in mode Local: where redirects led, and
// what answered at the end.
func LocalLogin(portal string, way []*url.URL, code int, err error) Verdict {
	switch {
	case err != nil:
		return Fail("the way to the login: %v", err)
	case len(way) == 0:
		return Fail("a stranger is not sent to a login")
	case way[len(way)-1].Hostname() != portal:
		return Fail("a stranger is sent to %s, not to %s", way[len(way)-1].Hostname(), portal)
	case code == http.StatusServiceUnavailable:
		return Fail("nobody can log in at %s: the list of people cannot be used", portal).
			With("the front door's log says why; make the Secret access.local.secret, and try the file with `vdi-frontdoor check`")
	case code != http.StatusOK:
		return Fail("the login at %s answers %d instead of 200", portal, code)
	}
	return Pass("a stranger is sent to the login at %s", portal)
}

// Reached is what a probe pod reported of each address: "" where it got through.
type Reached map[string]string

// ParseReached reads what `vdi-operator check reach` wrote.
func ParseReached(text string) Reached {
	reported := Reached{}
	for line := range strings.Lines(text) {
		words := strings.TrimSpace(line)
		if address, why, found := strings.Cut(words, " not reached: "); found {
			reported[address] = why
		} else if address, found := strings.CutSuffix(words, " reached"); found {
			reported[address] = ""
		}
	}
	return reported
}

// Listening reads /proc/net/tcp and tcp6 of a pod: the ports at which something takes
// connections from outside of it.
func Listening(tables string) map[string]bool {
	const state, ofLoopback4, loopback6 = "0A", "7F", "00000000000000000000000001000000" // the last byte is the first
	ports := map[string]bool{}
	for line := range strings.Lines(tables) {
		words := strings.Fields(line)
		if len(words) < 4 || words[3] != state {
			continue
		}
		address, port, _ := strings.Cut(words[1], ":")
		number, err := strconv.ParseUint(port, 16, 16)
		if err == nil && !strings.HasSuffix(address, ofLoopback4) && address != loopback6 {
			ports[strconv.FormatUint(number, 10)] = true
		}
	}
	return ports
}

// Policies judges them by the probe: the desktop's ports must be closed to it, and
// what is open to all must not be, or its failures would prove nothing. Neither does a
// refused connection where nobody listens; some network plugins refuse what they forbid.
func Policies(reported Reached, control string, closed map[string]string, listening map[string]bool) Verdict {
	if why, tried := reported[control]; !tried || why != "" {
		return Unjudged("the probe pod reaches nothing, not even the API server's Service (%s): its failures prove nothing", why).
			With("let pods of new namespaces reach the API server, or name no default policy for them")
	}
	var open, tried []string
	for address, what := range closed {
		switch why, asked := reported[address]; {
		case !asked:
			return Unjudged("the probe pod said nothing about %s", what)
		case why == "":
			open = append(open, what)
		case strings.Contains(why, "connection refused") && !listening[portOf(address)]:
			continue
		default:
			tried = append(tried, what)
		}
	}
	if len(open) > 0 {
		return Fail("another pod reaches the desktop's %s", list(open))
	}
	if len(tried) == 0 {
		return Unjudged("the desktop has no port at which a knock would prove anything").
			With("TEMPLATE=NAME of a desktop with a shell, in which can be seen what listens")
	}
	return Pass("another pod of the namespace is refused at the desktop's %s, and reaches what is open to all", list(tried))
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// Suspended judges a session whose suspension was asked for. Held are the slices
// that pods of its namespace still hold.
func Suspended(s vdi.VDISession, gpu *vdi.GPUStatus, held int64, podThere bool, took time.Duration) Verdict {
	switch {
	case s.Status.Phase != vdi.PhaseSuspended:
		return Fail("not suspended after %s: %s", took.Round(time.Second), said(s))
	case podThere:
		return Fail("the session is Suspended, but its pod is still there")
	case held > 0:
		return Fail("the session is Suspended, but %s=%d is still held", gpu.ResourceName, held)
	case gpu == nil || gpu.Count == 0:
		return Pass("suspended after %s, its pod is gone; the template gives no GPU that could be freed", took.Round(time.Second))
	}
	return Pass("suspended after %s, its pod is gone and %s=%d is free", took.Round(time.Second), gpu.ResourceName, gpu.Count)
}

// Held is how many of a resource pods hold.
func Held(pods []corev1.Pod, resource string) (n int64) {
	for _, p := range pods {
		if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
			continue
		}
		for _, c := range p.Spec.Containers {
			amount := c.Resources.Limits[corev1.ResourceName(resource)]
			n += amount.Value()
		}
	}
	return n
}

// Resumed judges a session that was resumed, and its file.
func Resumed(s vdi.VDISession, want, got string, unwritten, unread error, took time.Duration) Verdict {
	switch {
	case s.Status.Phase != vdi.PhaseRunning && s.Status.WaitingFor == vdi.WaitingForGPU:
		return Unjudged("somebody else took the slice: %s", s.Status.Message).With("run this again when a slice is free")
	case s.Status.Phase != vdi.PhaseRunning:
		return Fail("not running again after %s: %s", took.Round(time.Second), said(s))
	case unwritten != nil:
		return Unjudged("it runs again after %s; no file could be written: %v", took.Round(time.Second), unwritten).With("TEMPLATE=NAME of a desktop with a home and a shell")
	case unread != nil || got != want:
		return Fail("it runs again after %s, but the file in its home is not there", took.Round(time.Second))
	}
	return Pass("it runs again after %s and finds its file", took.Round(time.Second))
}
