package validate

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/gruntwork-io/terratest/modules/testing"
	corev1 "k8s.io/api/core/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/doctor"
)

// cleanupTime bounds the way out, which an interrupt does not shorten.
const cleanupTime = 3 * time.Minute

// check is one promise of the platform.
type check struct {
	name string
	// remedy is what helps when it is not kept, where the verdict knows nothing nearer.
	remedy string
	// desktop says that it needs one.
	desktop bool
	judge   func(*visit, context.Context) doctor.Verdict
}

// checks are in the order in which they are made: each may use what those before
// it have brought about.
func checks() []check {
	return []check{
		{"release", "helm history says what was wrong; correct it and run helm upgrade again", false, (*visit).deployed},
		{"CRDs", "kubectl apply --server-side -f charts/vdi-operator/crds of the release's version; crds.upgradeJob does so at every helm upgrade", false, (*visit).crds},
		{"programs", "kubectl describe it, and look at the logs of its pods", false, (*visit).programs},
		{"admission", "helm upgrade brings back what was deleted; leave admission.enabled on", false, (*visit).admission},
		{"keys", "restore the Secret from a backup, or let helm upgrade make new keys: everybody logs in again", false, (*visit).keys},
		{"slices", "look at the device plugin's pod on that node", false, (*visit).slices},
		{"metrics", "helm upgrade brings the Service back; look at the operator's pods", false, (*visit).metrics},
		{"scraped", "let Prometheus read the platform's ServiceMonitors", false, (*visit).scraped},
		{"relay", "look at the relay's pods; firewalls must let its port through, and sessions.turn.host lead to it from here", false, (*visit).relay},
		{"session", "kubectl describe the session, and look at the operator's log", false, (*visit).start},
		{"DNS", "make a wildcard record *.DOMAIN that leads to the proxy, or give ADDRESS=HOST[:PORT] of the proxy to go on without", true, (*visit).names},
		{"TLS", "the wildcard record must lead to the proxy's TLS port, and firewalls let it through", true, (*visit).certificate},
		{"route", "the proxy must serve IngressRoutes labelled vdi.kasm.io/proxy=true of all namespaces, on the entry point websecure", true, (*visit).route},
		{"login", "look at the logs of the container agent in the session's pod and of the front door", true, (*visit).login},
		{"policies", "use a network plugin that enforces NetworkPolicies, and take away policies that admit everything", true, (*visit).policies},
		{"suspend", "kubectl describe the session, and look at the operator's log", true, (*visit).suspend},
		{"resume", "kubectl describe the session and its claim, and look at the StorageClass", true, (*visit).resume},
	}
}

// visit is one validation, and what it has found so far.
type visit struct {
	*site
	label     string // of this run, on all that it makes
	namespace string // its own
	template  string
	session   *vdi.VDISession // while its desktop runs
	pod       *corev1.Pod     // of that desktop
	missing   string          // why there is no desktop
	unreached string          // why the proxy cannot be asked
	trusted   bool            // the proxy has shown a good certificate
	// authorities that browsers trust; nil: the system's
	authorities *x509.CertPool
	mark        string // what is written into the home
	unwritten   error  // why it could not be
}

// Run validates an installation. An error says what keeps it from judging at all,
// and how to go on; everything else is in the lines.
func Run(t testing.TestingT, ctx context.Context, o Options) (lines []doctor.Line, err error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s, err := open(ctx, t, o.withDefaults())
	if err != nil {
		return nil, err
	}
	v := &visit{site: s, missing: "no session was started"}
	if err := v.settle(ctx); err != nil {
		return nil, err
	}
	for _, c := range checks() {
		began := time.Now()
		lines = append(lines, doctor.Of(c.name, c.remedy, v.verdict(ctx, c)))
		v.report(lines[len(lines)-1], time.Since(began))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	return append(lines, doctor.Of("leaves nothing", "kubectl delete namespace "+v.namespace, v.leave(ctx))), nil
}

func (v *visit) verdict(ctx context.Context, c check) doctor.Verdict {
	if c.desktop && v.session == nil {
		return doctor.Unjudged("there is no desktop: %s", v.missing).With("see the line session")
	}
	verdict := c.judge(v, ctx)
	if ctx.Err() != nil { // then nothing that it saw counts
		return doctor.Unjudged("interrupted").With("run it again")
	}
	return verdict
}

// report shows progress to those who watch a test run.
func (v *visit) report(l doctor.Line, took time.Duration) {
	if t, ok := v.t.(interface{ Logf(string, ...any) }); ok {
		t.Logf("%-10s %-10s %5.1fs  %s", l.Check, l.State, took.Seconds(), l.Seen)
	}
}

// asked is the verdict where the cluster did not answer: nobody knows.
func asked(what string, err error) doctor.Verdict {
	return doctor.Unjudged("%s", fmt.Errorf("%s: %w", what, err)).With("run this with the rights of an administrator of the cluster")
}
