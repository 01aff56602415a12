package judge

import (
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
	"github.com/vdi-platform/vdi-platform/operator/doctor"
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
func PullSecrets(names []string, from string) doctor.Verdict {
	if len(names) > 0 && from == "" {
		return doctor.Unjudged("desktops pull with %s (sessions.images.pullSecrets), which a new namespace does not hold", doctor.List(names)).
			With("PULL_SECRETS_FROM=NAMESPACE of one that holds them: they are copied for the desktop that is tried")
	}
	return doctor.Pass("desktops can pull")
}

// NoPullSecret is the verdict where the namespace to copy from lacks one.
func NoPullSecret(name, from string) doctor.Verdict {
	return doctor.Unjudged("namespace %s holds no Secret %s (sessions.images.pullSecrets)", from, name).
		With("PULL_SECRETS_FROM=NAMESPACE of a session namespace, which holds them all")
}

// Start judges a session that was waited for.
func Start(s vdi.VDISession, template string, took time.Duration) doctor.Verdict {
	switch {
	case s.Status.Phase == vdi.PhaseRunning:
		return doctor.Pass("a session from template %s runs after %s", template, took.Round(time.Second))
	case s.Status.WaitingFor == vdi.WaitingForGPU:
		return doctor.Unjudged("no free slice: %s", s.Status.Message).With("end or suspend a desktop, or give TEMPLATE=NAME of one that needs no GPU")
	case s.Status.WaitingFor == vdi.WaitingForImage:
		return doctor.Fail("after %s: %s", took.Round(time.Second), said(s)).With("nodes must be able to pull the images of template %s and of the operator; pull secrets of session namespaces: sessions.images.pullSecrets", template)
	case s.Status.WaitingFor == vdi.WaitingForVolume:
		return doctor.Fail("after %s: %s", took.Round(time.Second), said(s)).With("a default StorageClass must make volumes: kubectl get storageclass")
	case s.Status.WaitingFor == vdi.WaitingForRoute:
		return doctor.Fail("after %s: %s", took.Round(time.Second), said(s)).With("the proxy must serve IngressRoutes labelled vdi.kasm.io/proxy=true, and sessions.proxy name its Service")
	}
	return doctor.Fail("after %s: %s", took.Round(time.Second), said(s))
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

// Route judges the answer to the operator's question, by which the front door says
// when it stands in the desktop's place.
func Route(host string, routeThere bool, code int, err error) doctor.Verdict {
	switch {
	case !routeThere:
		return doctor.Fail("the session has no IngressRoute").With("look at the session's condition Reachable and at the operator's log")
	case err != nil:
		return doctor.Fail("the proxy does not answer for %s: %v", host, err)
	case code == http.StatusNotFound:
		return doctor.Fail("the proxy knows no route for %s (404)", host)
	case code == http.StatusServiceUnavailable:
		return doctor.Fail("the front door answers in the desktop's place (503): the proxy does not serve the session's route")
	case code >= http.StatusInternalServerError:
		return doctor.Fail("the proxy does not get through to the desktop (%d)", code).With("the session's NetworkPolicy must name the proxy's pods: sessions.proxy.namespace and podLabels")
	}
	return doctor.Pass("the proxy leads %s to the desktop", host)
}

// Login judges how strangers and the owner are answered, in mode Password.
func Login(stranger, owner int, err error) doctor.Verdict {
	switch {
	case err != nil:
		return doctor.Fail("the desktop could not be asked: %v", err)
	case stranger != http.StatusUnauthorized:
		return doctor.Fail("without a login the desktop answers %d instead of 401", stranger)
	case owner != http.StatusOK:
		return doctor.Fail("with the session's password the desktop answers %d instead of 200", owner)
	}
	return doctor.Pass("401 without a login, 200 with the session's password")
}

// SingleSignOn judges the way to the identity provider, in mode OIDC: where redirects
// led, the last one outside of the platform's domain.
func SingleSignOn(domain, clientID string, way []*url.URL, err error) doctor.Verdict {
	door := "auth." + domain
	switch {
	case err != nil:
		return doctor.Fail("the way to the login: %v", err)
	case len(way) == 0:
		return doctor.Fail("a stranger is not sent to a login")
	case !slices.ContainsFunc(way, func(u *url.URL) bool { return u.Hostname() == door }):
		return doctor.Fail("a stranger is sent to %s, not to %s", way[0].Hostname(), door)
	}
	last := way[len(way)-1]
	back, badBack := url.Parse(last.Query().Get("redirect_uri"))
	switch {
	case last.Hostname() == door || strings.HasSuffix(last.Hostname(), "."+domain):
		return doctor.Fail("the front door does not lead to the identity provider: it ends at %s%s", last.Host, last.Path).
			With("look at the front door's log: it must reach access.oidc.issuerURL")
	case last.Query().Get("client_id") != clientID:
		return doctor.Fail("%s is asked for client %q, not %q", last.Hostname(), last.Query().Get("client_id"), clientID)
	case badBack != nil || back.Hostname() != door || back.Path != "/callback":
		return doctor.Fail("%s is asked to come back to %q, not to https://%s/callback", last.Hostname(), last.Query().Get("redirect_uri"), door)
	}
	return doctor.Pass("a stranger is sent to the login at %s, which comes back to %s", last.Hostname(), back.Host)
}

// LocalLogin judges the way to the portal's login, in mode Local: where redirects led, and
// what answered at the end.
func LocalLogin(portal string, way []*url.URL, code int, err error) doctor.Verdict {
	switch {
	case err != nil:
		return doctor.Fail("the way to the login: %v", err)
	case len(way) == 0:
		return doctor.Fail("a stranger is not sent to a login")
	case way[len(way)-1].Hostname() != portal:
		return doctor.Fail("a stranger is sent to %s, not to %s", way[len(way)-1].Hostname(), portal)
	case code == http.StatusServiceUnavailable:
		return doctor.Fail("nobody can log in at %s: the list of people cannot be used", portal).
			With("the front door's log says why; make the Secret access.local.secret, and try the file with `vdi-frontdoor check`")
	case code != http.StatusOK:
		return doctor.Fail("the login at %s answers %d instead of 200", portal, code)
	}
	return doctor.Pass("a stranger is sent to the login at %s", portal)
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
func Policies(reported Reached, control string, closed map[string]string, listening map[string]bool) doctor.Verdict {
	if why, tried := reported[control]; !tried || why != "" {
		return doctor.Unjudged("the probe pod reaches nothing, not even the API server's Service (%s): its failures prove nothing", why).
			With("let pods of new namespaces reach the API server, or name no default policy for them")
	}
	var open, tried []string
	for address, what := range closed {
		switch why, asked := reported[address]; {
		case !asked:
			return doctor.Unjudged("the probe pod said nothing about %s", what)
		case why == "":
			open = append(open, what)
		case strings.Contains(why, "connection refused") && !listening[portOf(address)]:
			continue
		default:
			tried = append(tried, what)
		}
	}
	if len(open) > 0 {
		return doctor.Fail("another pod reaches the desktop's %s", doctor.List(open))
	}
	if len(tried) == 0 {
		return doctor.Unjudged("the desktop has no port at which a knock would prove anything").
			With("TEMPLATE=NAME of a desktop with a shell, in which can be seen what listens")
	}
	return doctor.Pass("another pod of the namespace is refused at the desktop's %s, and reaches what is open to all", doctor.List(tried))
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// Suspended judges a session whose suspension was asked for. Held are the slices
// that pods of its namespace still hold.
func Suspended(s vdi.VDISession, gpu *vdi.GPUStatus, held int64, podThere bool, took time.Duration) doctor.Verdict {
	switch {
	case s.Status.Phase != vdi.PhaseSuspended:
		return doctor.Fail("not suspended after %s: %s", took.Round(time.Second), said(s))
	case podThere:
		return doctor.Fail("the session is Suspended, but its pod is still there")
	case held > 0:
		return doctor.Fail("the session is Suspended, but %s=%d is still held", gpu.ResourceName, held)
	case gpu == nil || gpu.Count == 0:
		return doctor.Pass("suspended after %s, its pod is gone; the template gives no GPU that could be freed", took.Round(time.Second))
	}
	return doctor.Pass("suspended after %s, its pod is gone and %s=%d is free", took.Round(time.Second), gpu.ResourceName, gpu.Count)
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
func Resumed(s vdi.VDISession, want, got string, unwritten, unread error, took time.Duration) doctor.Verdict {
	switch {
	case s.Status.Phase != vdi.PhaseRunning && s.Status.WaitingFor == vdi.WaitingForGPU:
		return doctor.Unjudged("somebody else took the slice: %s", s.Status.Message).With("run this again when a slice is free")
	case s.Status.Phase != vdi.PhaseRunning:
		return doctor.Fail("not running again after %s: %s", took.Round(time.Second), said(s))
	case unwritten != nil:
		return doctor.Unjudged("it runs again after %s; no file could be written: %v", took.Round(time.Second), unwritten).With("TEMPLATE=NAME of a desktop with a home and a shell")
	case unread != nil || got != want:
		return doctor.Fail("it runs again after %s, but the file in its home is not there", took.Round(time.Second))
	}
	return doctor.Pass("it runs again after %s and finds its file", took.Round(time.Second))
}
