package scale

import (
	"context"
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/renderer"
	"github.com/vdi-platform/vdi-platform/tests/audit"
)

var (
	sessions = flag.Int("sessions", 100, "how many sessions run; 'make test-long' has 1000")
	state    = flag.String("state", "", "folder that keeps state, logs and audit log; a temporary one when empty")
)

const (
	// beyond the children, the design's floor has the finalizer, one status
	// while the desktop starts and one when it runs.
	beyond = 3

	// patience bounds how long the API server, scheduler and volumes may take
	// for one session on a busy machine with few cores.
	patience = 500 * time.Millisecond
)

// TestSessionsAtRest brings many sessions up, counts what that asked of the API
// server, sees that nothing is asked for a minute in which nothing happens, and
// that the operator is awake when something does.
func TestSessionsAtRest(t *testing.T) {
	ctx, n := t.Context(), *sessions
	r, err := Start(ctx, *state, n)
	require.NoError(t, err, "run 'make tools' at the top of the repository")
	t.Cleanup(func() { require.NoError(t, r.Stop()) })
	operator, err := r.InstallOperator(ctx, t.TempDir())
	require.NoError(t, err)
	r.installPolicies(t)
	replica, err := operator.Start()
	require.NoError(t, err)

	r.createSessions(t, n)
	lives, cancel := replica.While(ctx)
	defer cancel()
	require.NoError(t, r.WaitSessions(lives, n, time.Minute+time.Duration(n)*patience, runsWithEnd), "see %s", replica.Log())
	rest := r.comesToRest(t, n)
	r.tellCost(t, replica, n)
	r.policiesFirst(t, n)

	rest = r.staysAtRest(t, rest)
	r.suspendIsActedUpon(t, rest)
	require.NoError(t, replica.Running())
	rest = r.comesToRest(t, n-1)
	r.tellResume(t, rest, n)
	r.comesToRest(t, n)
	r.restartWritesNothing(t, operator, replica, n)
}

// installPolicies installs the chart's admission policies: by those on its account the operator
// knows its Secrets, which a resume renews.
func (r *Rig) installPolicies(t *testing.T) {
	t.Helper()
	objects, err := r.ChartObjects(t.Context())
	require.NoError(t, err)
	for _, o := range objects {
		if strings.HasPrefix(o.GetKind(), "ValidatingAdmissionPolicy") {
			require.NoError(t, r.Driver.Create(t.Context(), o))
		}
	}
}

// runsWithEnd: a session that runs knows when its timeout ends it.
func runsWithEnd(s *vdi.VDISession) bool { return IsRunning(s) && s.Status.ExpiresAt != nil }

func (r *Rig) createSessions(t *testing.T, n int) {
	t.Helper()
	namespaces, err := r.Namespaces(t.Context(), "sessions", 4)
	require.NoError(t, err)
	require.NoError(t, r.Driver.Create(t.Context(), Template()))
	require.NoError(t, Each(t.Context(), n, func(ctx context.Context, i int) error {
		return r.Driver.Create(ctx, Session(i, namespaces))
	}))
}

// comesToRest returns the end of the audit log after a moment in which the
// operator asked nothing: events about the last starts are sent by a
// broadcaster beside the controllers.
func (r *Rig) comesToRest(t *testing.T, running int) (rest int64) {
	t.Helper()
	require.Eventually(t, func() bool {
		template := &vdi.VDITemplate{}
		require.NoError(t, r.Driver.Get(t.Context(), client.ObjectKey{Name: TemplateName}, template))
		return template.Status.Sessions.Running == int32(running)
	}, time.Minute, time.Second, "the template counts its running sessions")
	require.Eventually(t, func() bool { return r.isCalm(t, &rest) }, time.Minute, 2*time.Second, "the operator comes to rest")
	return rest
}

// isCalm reports whether the operator asked nothing since the last look, which the
// first cannot tell.
func (r *Rig) isCalm(t *testing.T, rest *int64) bool {
	t.Helper()
	first := *rest == 0
	count, end, err := r.Counted(OperatorUser, *rest)
	require.NoError(t, err)
	*rest = end
	return !first && count.All.Total() == 0
}

// tellCost prints what the starts cost, beside the floor. Only what depends on
// nothing but the operator is asserted: no time, no number of passes.
func (r *Rig) tellCost(t *testing.T, replica *Replica, n int) {
	t.Helper()
	count, _, err := r.Counted(OperatorUser, 0)
	require.NoError(t, err)
	passes, err := Reconciles(t.Context(), replica.Metrics, "session")
	require.NoError(t, err)
	now, peak, err := ResidentMemory(replica.PID())
	require.NoError(t, err)
	cpu, err := ProcessorTime(replica.PID())
	require.NoError(t, err)
	per := func(x int) float64 { return float64(x) / float64(n) }
	perSession := per(count.Writes - count.EventWrites - count.TemplateWrites - count.All["create leases"])
	children := per(count.Children)
	t.Logf("%d sessions to Running; sessions.verifyRoute is off, since made-up nodes run no desktop; load average %s\n%s", n, Load(), count.All)
	t.Logf("per session: %.2f writes (floor %.0f: %.0f children + 3), beside that %.2f events; %.2f passes; %.1f ms of processor time",
		perSession, children+beyond, children, per(count.EventWrites), per(passes), float64(cpu.Milliseconds())/float64(n))
	t.Logf("in all: %d live reads, %d Secret reads, %d conflicts, %d writes of the template's counts, %d lease and watch requests; %.1f MiB resident, %.1f at most",
		count.LiveReads, count.SecretReads, count.Conflicts, count.TemplateWrites, count.Upkeep, mebibytes(now), mebibytes(peak))
	require.Zero(t, count.Forbidden, "the chart grants what the operator uses")
	require.Zero(t, count.LiveReads, "everything is read from the cache")
	require.Zero(t, count.Conflicts, "nothing is decided on stale knowledge")
}

// policiesFirst: no desktop was there before its network policy (attack A19).
func (r *Rig) policiesFirst(t *testing.T, n int) {
	t.Helper()
	order, err := r.Order(OperatorUser)
	require.NoError(t, err)
	require.Equal(t, n, order.Sessions)
	require.Empty(t, order.Early, "pods before their policy")
	t.Logf("of %d sessions, every policy was made before its pod was asked for", order.Sessions)
}

func mebibytes(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// staysAtRest: between events nothing is asked but the lease and reopened watches.
func (r *Rig) staysAtRest(t *testing.T, rest int64) int64 {
	t.Helper()
	upkeep := 0
	require.Never(t, func() bool {
		count, end, err := r.Counted(OperatorUser, rest)
		require.NoError(t, err)
		rest = end
		upkeep += count.Upkeep
		if count.All.Total() > 0 {
			t.Logf("asked at rest:\n%s", count.All)
		}
		return count.All.Total() > 0
	}, time.Minute, time.Second, "an idle operator asks nothing")
	require.Positive(t, upkeep, "it renews its lease, and so was looked at")
	t.Logf("in the idle minute: %d lease and watch requests and nothing else", upkeep)
	return rest
}

// suspendIsActedUpon changes one session and sees that the others cost nothing.
func (r *Rig) suspendIsActedUpon(t *testing.T, rest int64) {
	t.Helper()
	ctx := t.Context()
	s := Session(0, []string{"sessions-0"})
	require.NoError(t, r.Driver.Patch(ctx, s, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"runPolicy":"Suspended"}}`))))
	isSuspended := func(s *vdi.VDISession) bool { return s.Status.Phase == vdi.PhaseSuspended }
	require.NoError(t, r.WaitSessions(ctx, 1, time.Minute, isSuspended))
	err := r.Driver.Get(ctx, client.ObjectKeyFromObject(s), &corev1.Pod{})
	require.True(t, apierrors.IsNotFound(err), "its slice is free: %v", err)
	others := 0
	_, err = r.ReadAudit(rest, func(q audit.Request) {
		if q.User == OperatorUser && !q.IsUpkeep() && q.Namespace != "" && q.Namespace != OperatorNamespace &&
			q.Resource != "events" && q.Name != s.Name && q.Name != renderer.HomeClaimName(s.Name) {
			others++
			t.Logf("asked about another session: %s %s", q.Verb, q.URI)
		}
	})
	require.NoError(t, err)
	require.Zero(t, others, "one session's change is no other's business")
	count, _, err := r.Counted(OperatorUser, rest)
	require.NoError(t, err)
	t.Logf("one session suspended:\n%s", count.All)
}

// tellResume prints what a resume costs: the session takes its home again, and the
// API server is asked once who else uses it.
func (r *Rig) tellResume(t *testing.T, rest int64, n int) {
	t.Helper()
	ctx := t.Context()
	s := Session(0, []string{"sessions-0"})
	require.NoError(t, r.Driver.Patch(ctx, s, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"runPolicy":"Running"}}`))))
	require.NoError(t, r.WaitSessions(ctx, n, time.Minute, runsWithEnd))
	count, _, err := r.Counted(OperatorUser, rest)
	require.NoError(t, err)
	t.Logf("one session resumed: %d writes, %d live reads, %d Secret reads\n%s", count.Writes-count.EventWrites-count.TemplateWrites, count.LiveReads, count.SecretReads, count.All)
	require.Equal(t, 2, count.LiveReads, "one list of pods, and before the password changes one look for the desktop itself")
}

// restartWritesNothing: an operator that starts finds everything as it should be.
func (r *Rig) restartWritesNothing(t *testing.T, operator *Operator, replica *Replica, n int) {
	t.Helper()
	replica.Kill()
	from, err := r.AuditEnd()
	require.NoError(t, err)
	replica, err = operator.Start()
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		require.NoError(t, replica.Running())
		passes, err := Reconciles(t.Context(), replica.Metrics, "session")
		return err == nil && passes >= n // before it serves its metrics, it is starting
	}, time.Minute+time.Duration(n)*patience, time.Second, "every session is looked at")
	rest := int64(0)
	require.Eventually(t, func() bool { return r.isCalm(t, &rest) }, time.Minute, 2*time.Second, "the operator comes to rest")
	count, _, err := r.Counted(OperatorUser, from)
	require.NoError(t, err)
	t.Logf("killed and started again:\n%s", count.All)
	require.Zero(t, count.Writes-count.EventWrites, "a restart writes nothing but the event about its leader")
	require.Zero(t, count.LiveReads, "and reads nothing past its cache")
}
