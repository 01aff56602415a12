package validate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gruntwork-io/terratest/modules/k8s"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/doctor"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/validate/judge"
)

const (
	// hopeless is how long a session may be failed, or wait for a slice, until we
	// stop waiting with it.
	hopeless = 30 * time.Second
	// ownTimeout ends a desktop that an interrupted run has left.
	ownTimeout = "30m"

	homeVolume, markFile = "home", ".vdi-validate"
)

// start makes a session and waits for its desktop.
func (v *visit) start(ctx context.Context) doctor.Verdict {
	if v.Quick {
		v.missing = "QUICK=1"
		return doctor.Unjudged("QUICK=1: no desktop is started").With("leave QUICK out")
	}
	if served := v.settings.WatchNamespaces; len(served) > 0 {
		v.missing = "the operator serves named namespaces only"
		return doctor.Unjudged("the operator serves %s only, and a desktop is tried in a namespace of its own", strings.Join(served, ", ")).
			With("validate an operator of all namespaces, or look at a session of your own")
	}
	if verdict := v.copyPullSecrets(ctx); verdict.State != doctor.Passed {
		v.missing = "its images cannot be pulled"
		return verdict
	}
	templates := &vdi.VDITemplateList{}
	if err := v.kube.List(ctx, templates); err != nil {
		return asked("list templates", err)
	}
	template, err := judge.Usable(templates.Items, v.Template)
	if err != nil {
		v.missing = err.Error()
		return doctor.Fail("%v", err).With("kubectl apply -f values/templates/plain-desktop.yaml, or TEMPLATE=NAME")
	}
	v.template = template.Name
	s := &vdi.VDISession{ObjectMeta: v.labelled("validate"), Spec: vdi.VDISessionSpec{
		User: "vdi-validate", Template: template.Name, Timeout: ownTimeout,
		Persistence: vdi.Persistence{Size: "1Gi", ReclaimPolicy: vdi.ReclaimDelete},
	}}
	if err := v.kube.Create(ctx, s); err != nil {
		v.missing = "the API server refused the session"
		return doctor.Fail("%s: %v", v.missing, err)
	}
	took := v.await(ctx, s, running)
	verdict := judge.Start(*s, template.Name, took)
	if verdict.State != doctor.Passed {
		v.missing = "the session did not start"
		return verdict
	}
	return v.enter(ctx, s, verdict)
}

// enter remembers the desktop, and leaves a file in its home.
func (v *visit) enter(ctx context.Context, s *vdi.VDISession, started doctor.Verdict) doctor.Verdict {
	pod := &corev1.Pod{}
	if err := v.kube.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: s.Status.PodName}, pod); err != nil {
		return asked("read the desktop's pod", err)
	}
	v.session, v.pod = s, pod
	home, err := homeOf(pod)
	if err == nil {
		_, err = v.inDesktop(ctx, fmt.Sprintf("echo '%s' > '%s/%s'", v.mark, home, markFile))
	}
	v.unwritten = err
	return started
}

// homeOf is where the desktop mounts its home.
func homeOf(pod *corev1.Pod) (string, error) {
	for _, m := range pod.Spec.Containers[0].VolumeMounts {
		if m.Name == homeVolume {
			return m.MountPath, nil
		}
	}
	return "", errors.New("the desktop mounts no home")
}

func (v *visit) inDesktop(ctx context.Context, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	out, err := k8s.ExecPodContextE(v.t, ctx, v.kubectl(v.namespace), v.pod.Name, v.pod.Spec.Containers[0].Name, "sh", "-c", command)
	return strings.TrimSpace(out), err
}

func running(s *vdi.VDISession) bool   { return s.Status.Phase == vdi.PhaseRunning }
func suspended(s *vdi.VDISession) bool { return s.Status.Phase == vdi.PhaseSuspended }

// await reads the session until it holds what is wanted, patience ends, or waiting
// has become hopeless, and says how long that was.
func (v *visit) await(ctx context.Context, s *vdi.VDISession, holds func(*vdi.VDISession) bool) time.Duration {
	began := time.Now()
	var stuck time.Time
	_ = wait.PollUntilContextTimeout(ctx, lookAgain, v.Patience, true, func(ctx context.Context) (bool, error) {
		if err := v.kube.Get(ctx, client.ObjectKeyFromObject(s), s); err != nil {
			return apierrors.IsNotFound(err), nil // the API server may be away for a moment
		}
		if s.Status.Phase != vdi.PhaseFailed && s.Status.WaitingFor != vdi.WaitingForGPU {
			stuck = time.Time{}
		} else if stuck.IsZero() {
			stuck = time.Now()
		}
		return holds(s) || !stuck.IsZero() && time.Since(stuck) > hopeless, nil
	})
	return time.Since(began)
}

func (v *visit) names(ctx context.Context) doctor.Verdict {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	var addresses []string
	var err error
	host := v.session.Status.Host
	if v.Address == "" {
		addresses, err = net.DefaultResolver.LookupHost(ctx, host)
	}
	verdict := doctor.Names(host, v.Domain, v.Address, addresses, err)
	if verdict.State == doctor.Failed {
		v.unreached = "see the line DNS"
	}
	return verdict
}

func (v *visit) certificate(ctx context.Context) doctor.Verdict {
	if v.unreached != "" {
		return doctor.Unjudged("the proxy was not asked: %s", v.unreached)
	}
	roots, err := v.roots()
	if err != nil {
		return doctor.Unjudged("%v", err).With("CA=FILE must hold certificates in PEM")
	}
	host := v.session.Status.Host
	address := v.dialAddress(host, v.settings.Sessions.ExternalPort)
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	// What is shown is judged afterwards, by reason; here it must only be shown.
	dialer := tls.Dialer{Config: &tls.Config{ServerName: host, InsecureSkipVerify: true}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		v.unreached = "see the line TLS"
		return doctor.Fail("nothing speaks TLS at %s: %v", address, err)
	}
	defer conn.Close()
	verdict := doctor.Certificate(host, conn.(*tls.Conn).ConnectionState().PeerCertificates, roots, time.Now())
	if v.trusted = verdict.State == doctor.Passed; v.trusted {
		v.authorities = roots
	}
	return verdict
}

// roots are the authorities that browsers trust: nil are the system's alone.
func (v *visit) roots() (*x509.CertPool, error) {
	if v.Authority == "" {
		return nil, nil
	}
	text, err := os.ReadFile(v.Authority)
	if err != nil {
		return nil, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", v.Authority)
	}
	return roots, nil
}

// browser asks for pages of the platform at the proxy. The certificate has a line of
// its own, so that a wrong one is reported once. Where that line has passed, every
// connection demands what it has seen.
func (v *visit) browser() *http.Client {
	return &http.Client{
		Timeout:       answerTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: !v.trusted, RootCAs: v.authorities},
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				host, port, err := net.SplitHostPort(address)
				if err != nil {
					return nil, err
				}
				if number, err := strconv.Atoi(port); err == nil && strings.HasSuffix(host, "."+v.Domain) {
					address = v.dialAddress(host, number)
				}
				return (&net.Dialer{}).DialContext(ctx, network, address)
			},
		},
	}
}

// ask is one request, whose answer's body nobody needs.
func (v *visit) ask(ctx context.Context, address string, dress func(*http.Request)) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	dress(request)
	answer, err := v.browser().Do(request)
	if err != nil {
		return nil, err
	}
	return answer, answer.Body.Close()
}

func plain(*http.Request) {}

func (v *visit) route(ctx context.Context) doctor.Verdict {
	route := &unstructured.Unstructured{}
	route.SetAPIVersion("traefik.io/v1alpha1")
	route.SetKind("IngressRoute")
	err := v.kube.Get(ctx, client.ObjectKeyFromObject(v.session), route)
	if client.IgnoreNotFound(err) != nil {
		return asked("read the session's IngressRoute", err)
	}
	there := err == nil
	if there && v.unreached != "" {
		return doctor.Unjudged("the proxy was not asked: %s", v.unreached)
	}
	code := 0
	answer, err := v.ask(ctx, v.session.Status.URL, func(r *http.Request) {
		r.Header.Set(platform.QuestionHeader, string(v.session.UID))
	})
	if err == nil {
		code = answer.StatusCode
	}
	return judge.Route(v.session.Status.Host, there, code, err)
}

func (v *visit) login(ctx context.Context) doctor.Verdict {
	if v.unreached != "" {
		return doctor.Unjudged("the desktop was not asked: %s", v.unreached)
	}
	if access := v.session.Status.Access; access != nil && wire.AccessMode(access.Mode).LogsIn() {
		way, code, err := v.wayToLogin(ctx)
		if access.Mode == vdi.AccessMode(wire.AccessLocal) {
			return judge.LocalLogin(v.settings.PortalHost(), way, code, err)
		}
		return judge.SingleSignOn(v.Domain, v.settings.Access.OIDC.ClientID, way, err)
	}
	if !v.trusted { // whoever answers might not be the platform
		return doctor.Unjudged("the session's password is not sent to a proxy whose certificate is not trusted").With("see the line TLS")
	}
	secret, err := k8s.GetSecretContextE(v.t, ctx, v.kubectl(v.namespace), v.session.Status.CredentialsSecret)
	if err != nil {
		return asked("read the session's password", err)
	}
	stranger, err := v.ask(ctx, v.session.Status.URL, plain)
	if err != nil {
		return judge.Login(0, 0, err)
	}
	owner, err := v.ask(ctx, v.session.Status.URL, func(r *http.Request) {
		r.SetBasicAuth(string(secret.Data[corev1.BasicAuthUsernameKey]), string(secret.Data[corev1.BasicAuthPasswordKey]))
	})
	if err != nil {
		return judge.Login(0, 0, err)
	}
	return judge.Login(stranger.StatusCode, owner.StatusCode, nil)
}

// wayToLogin follows redirects until they leave the platform's domain.
func (v *visit) wayToLogin(ctx context.Context) (way []*url.URL, code int, err error) {
	at := v.session.Status.URL
	for range 5 {
		answer, err := v.ask(ctx, at, func(r *http.Request) { r.Header.Set("Accept", "text/html") })
		if err != nil {
			return way, 0, err
		}
		next, err := answer.Location()
		if errors.Is(err, http.ErrNoLocation) {
			return way, answer.StatusCode, nil
		}
		if err != nil {
			return way, 0, err
		}
		way, at = append(way, next), next.String()
		if !strings.HasSuffix(next.Hostname(), "."+v.Domain) {
			return way, answer.StatusCode, nil
		}
	}
	return way, 0, errors.New("redirects do not end")
}

// policies knocks at the desktop from a pod beside it.
func (v *visit) policies(ctx context.Context) doctor.Verdict {
	api := &corev1.Service{}
	if err := v.kube.Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: "kubernetes"}, api); err != nil {
		return asked("read the API server's Service", err)
	}
	control := net.JoinHostPort(api.Spec.ClusterIP, "443")
	closed := doorsOf(v.pod)
	addresses := []string{control}
	for address := range closed {
		addresses = append(addresses, address)
	}
	pod, err := v.probe(ctx, addresses)
	if err != nil {
		return doctor.Unjudged("the probe pod: %v", err)
	}
	if pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
		return doctor.Unjudged("the probe pod does not run: it is %s", pod.Status.Phase).With("kubectl describe it: nodes must be able to pull the operator's image")
	}
	text, err := k8s.GetPodLogsContextE(v.t, ctx, v.kubectl(v.namespace), pod, pod.Spec.Containers[0].Name)
	if err != nil {
		return asked("read the probe's log", err)
	}
	if pod.Status.Phase == corev1.PodFailed {
		return doctor.Unjudged("the probe pod failed: %s", text).With("upgrade the release: its image does not know `check reach`")
	}
	// A desktop without a shell says nothing; then a refused connection proves nothing.
	tables, _ := v.inDesktop(ctx, "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null || true")
	return judge.Policies(judge.ParseReached(text), control, closed, judge.Listening(tables))
}

// doorsOf are the addresses of a pod's TCP ports, and what each is.
func doorsOf(pod *corev1.Pod) map[string]string {
	doors := map[string]string{}
	for _, c := range append(append([]corev1.Container(nil), pod.Spec.InitContainers...), pod.Spec.Containers...) {
		for _, p := range c.Ports {
			if p.Protocol != corev1.ProtocolUDP {
				doors[net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(int(p.ContainerPort)))] = fmt.Sprintf("port %d (%s)", p.ContainerPort, p.Name)
			}
		}
	}
	return doors
}

// probe runs `vdi-operator check reach` once, where the operator itself may run.
func (v *visit) probe(ctx context.Context, addresses []string) (*corev1.Pod, error) {
	name, err := v.operator()
	if err != nil {
		return nil, err
	}
	operator := &appsv1.Deployment{}
	if err := v.kube.Get(ctx, client.ObjectKey{Namespace: v.Namespace, Name: name}, operator); err != nil {
		return nil, err
	}
	like := operator.Spec.Template.Spec
	pod := &corev1.Pod{ObjectMeta: v.labelled("probe"), Spec: corev1.PodSpec{
		AutomountServiceAccountToken: ptr.To(false), EnableServiceLinks: ptr.To(false),
		RestartPolicy: corev1.RestartPolicyNever, SecurityContext: like.SecurityContext,
		NodeSelector: like.NodeSelector, Tolerations: like.Tolerations,
		Containers: []corev1.Container{{
			Name: "probe", Image: like.Containers[0].Image, ImagePullPolicy: like.Containers[0].ImagePullPolicy,
			Command:         append([]string{"/usr/local/bin/vdi-operator", "check", "reach"}, addresses...),
			SecurityContext: like.Containers[0].SecurityContext, Resources: like.Containers[0].Resources,
		}},
	}}
	for _, secret := range v.settings.Sessions.Images.PullSecrets {
		pod.Spec.ImagePullSecrets = append(pod.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: secret})
	}
	if err := v.kube.Create(ctx, pod); err != nil {
		return nil, err
	}
	err = wait.PollUntilContextTimeout(ctx, lookAgain, v.Patience, true, func(ctx context.Context) (bool, error) {
		err := v.kube.Get(ctx, client.ObjectKeyFromObject(pod), pod)
		return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed, err
	})
	if wait.Interrupted(err) {
		err = nil // its phase says so
	}
	return pod, err
}

func (v *visit) suspend(ctx context.Context) doctor.Verdict {
	gpu := v.session.Status.GPU
	if err := v.wish(ctx, vdi.RunPolicySuspended); err != nil {
		return doctor.Fail("the API server refuses to suspend: %v", err)
	}
	took := v.await(ctx, v.session, suspended)
	err := v.kube.Get(ctx, client.ObjectKeyFromObject(v.pod), &corev1.Pod{})
	if client.IgnoreNotFound(err) != nil {
		return asked("read the desktop's pod", err)
	}
	var held int64
	if gpu != nil {
		pods := &corev1.PodList{}
		if err := v.kube.List(ctx, pods, client.InNamespace(v.namespace)); err != nil {
			return asked("list pods", err)
		}
		held = judge.Held(pods.Items, gpu.ResourceName)
	}
	return judge.Suspended(*v.session, gpu, held, err == nil, took)
}

func (v *visit) resume(ctx context.Context) doctor.Verdict {
	if !suspended(v.session) {
		return doctor.Unjudged("it was not suspended").With("see the line suspend")
	}
	if err := v.wish(ctx, vdi.RunPolicyRunning); err != nil {
		return doctor.Fail("the API server refuses to resume: %v", err)
	}
	took := v.await(ctx, v.session, running)
	var found string
	var unread error
	if running(v.session) && v.unwritten == nil {
		home, err := homeOf(v.pod)
		if err == nil {
			found, err = v.inDesktop(ctx, fmt.Sprintf("cat '%s/%s'", home, markFile))
		}
		unread = err
	}
	return judge.Resumed(*v.session, v.mark, found, v.unwritten, unread, took)
}

func (v *visit) wish(ctx context.Context, policy vdi.RunPolicy) error {
	return k8s.RunKubectlContextE(v.t, ctx, v.kubectl(v.namespace), "patch", "vdisession", v.session.Name,
		"--type=merge", "--patch", fmt.Sprintf(`{"spec":{"runPolicy":%q}}`, policy))
}
