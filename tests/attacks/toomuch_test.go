package attacks

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
	"github.com/vdi-platform/vdi-platform/tests/audit"
	"github.com/vdi-platform/vdi-platform/tests/scale"
)

// TestA25TooMuch: a tenant who asks for too much costs the others nothing. Times are
// measured by tests/scale; here it is counted what the operator does. These attacks are
// made before all others: what the operator does must be theirs.
func TestA25TooMuch(t *testing.T) {
	without, with := worlds(t)
	for _, a := range []struct {
		name string
		do   func(t *testing.T, w *world) ledger.Outcome
	}{
		{"desktops at rest make the others' starts dearer", atRest},
		{"desktops asked for at once are made before the others'", atOnceFirst},
	} {
		ledger.Try(t, a.name,
			func(t *testing.T) ledger.Outcome { t.Helper(); return a.do(t, without) },
			func(t *testing.T) ledger.Outcome { t.Helper(); return a.do(t, with) })
	}
}

// TestA25Number: nobody makes any number of sessions in a namespace with the tenancy page's quota.
func TestA25Number(t *testing.T) {
	t.Parallel()
	attack(t, "any number of sessions in a namespace", anyNumber)
}

// cost is what the operator did.
type cost struct{ passes, requests int }

// atRest: a start costs as much beside many sessions as beside none.
func atRest(t *testing.T, w *world) ledger.Outcome {
	const many = 100
	ns := w.namespace(t)
	alone := w.costOfStart(t, desk(ns, "before", "before."+userIn(ns)))
	require.NoError(t, scale.Each(t.Context(), many, func(ctx context.Context, i int) error {
		return w.Driver.Create(ctx, desk(ns, fmt.Sprintf("rest-%d", i), malloryIn(ns), func(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicySuspended }))
	}))
	require.Eventually(t, func() bool { // the operator has seen them, however busy this machine is
		list := &vdi.VDISessionList{}
		require.NoError(t, w.Driver.List(t.Context(), list, client.InNamespace(ns)))
		return !slices.ContainsFunc(list.Items, func(s vdi.VDISession) bool {
			return s.Spec.User == malloryIn(ns) && s.Status.Phase != vdi.PhaseSuspended
		})
	}, patience, 8*glance, "they are at rest")
	beside := w.costOfStart(t, desk(ns, "after", "after."+userIn(ns)))
	words := fmt.Sprintf("a start beside %d sessions takes %d passes and %d requests, and without them %d and %d", many, beside.passes, beside.requests, alone.passes, alone.requests)
	t.Log(words)
	return ledger.Judge(beside.passes > alone.passes+many/4 || beside.requests > alone.requests+many/4, ledger.Operator, words)
}

// costOfStart is what the operator did from one rest to the next, with one start between.
func (w *world) costOfStart(t *testing.T, s *vdi.VDISession) cost {
	t.Helper()
	passes := w.rests(t)
	from, err := w.AuditEnd()
	require.NoError(t, err)
	w.opens(t, s)
	after := w.rests(t)
	count, _, err := w.Counted(scale.OperatorUser, from)
	require.NoError(t, err)
	return cost{after - passes, count.All.Total()}
}

// rests waits until the operator looks at no session any more. It returns how often it
// has so far.
func (w *world) rests(t *testing.T) int {
	t.Helper()
	last := -1
	require.Eventually(t, func() bool {
		before := last
		var err error
		last, err = scale.Reconciles(t.Context(), w.replica.Metrics, "session")
		require.NoError(t, err)
		return last == before
	}, patience, 8*glance, "the operator comes to rest")
	return last
}

// anyNumber: the quota of the tenancy page's recipe bounds the sessions of a namespace.
func anyNumber(t *testing.T, w *world) ledger.Outcome {
	ns := w.namespace(t)
	if w.guarded {
		w.quota(t, ns)
	}
	c := w.tenant(t, ns, malloryIn(ns))
	for i := range 2 * recipeSessions {
		err := c.Create(t.Context(), desk(ns, fmt.Sprintf("one-more-%d", i), malloryIn(ns), func(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicySuspended }))
		if err != nil {
			require.GreaterOrEqual(t, i, recipeSessions, "what the quota allows may be made: %v", err)
			require.ErrorContains(t, err, "exceeded quota: desktops, requested: count/vdisessions.vdi.kasm.io=1")
			return writes(t, err)
		}
	}
	return ledger.Worked()
}

const recipeSessions = 4

// quota makes that page's, once the quota controller counts sessions: it learns of new
// kinds every half minute, and of a kind that it did not know when a quota was made only
// much later.
func (w *world) quota(t *testing.T, ns string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(w.Bin), "charts", "vdi-operator", "docs", "tenancy.md"))
	require.NoError(t, err)
	_, hard, found := strings.Cut(string(text), "kubectl create quota desktops -n alice --hard=")
	require.True(t, found, "the page has no quota for sessions")
	hard, _, _ = strings.Cut(hard, "\n")
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "desktops", Namespace: ns}, Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{}}}
	for limit := range strings.SplitSeq(hard, ",") {
		name, amount, _ := strings.Cut(limit, "=")
		q.Spec.Hard[corev1.ResourceName(name)] = quantity(amount)
	}
	require.EqualValues(t, recipeSessions, q.Spec.Hard.Name("count/vdisessions.vdi.kasm.io", "").Value())
	require.Eventually(t, func() bool {
		made := q.DeepCopy()
		require.NoError(t, client.IgnoreAlreadyExists(w.Driver.Create(t.Context(), made)))
		require.NoError(t, w.Driver.Get(t.Context(), client.ObjectKeyFromObject(q), made))
		if len(made.Status.Used) == len(q.Spec.Hard) {
			return true
		}
		require.NoError(t, w.Driver.Delete(t.Context(), made))
		return false
	}, patience, time.Second, "the quota controller counts sessions")
}

// atOnceFirst: who asks for one desktop waits for a few of the many that somebody else has
// asked for before.
func atOnceFirst(t *testing.T, w *world) ledger.Outcome {
	const many, workers = 80, 8
	crowd, quiet := w.namespace(t), w.namespace(t)
	w.rests(t)
	from, err := w.AuditEnd()
	require.NoError(t, err)
	require.NoError(t, scale.Each(t.Context(), many, func(ctx context.Context, i int) error {
		return w.Driver.Create(ctx, desk(crowd, fmt.Sprintf("flood-%d", i), fmt.Sprintf("flood-%d.%s", i, userIn(crowd))))
	}))
	w.opens(t, desk(quiet, "desk", userIn(quiet)))
	var asked, made time.Time
	pods := map[time.Time]bool{}
	_, err = w.ReadAudit(from, func(q audit.Request) {
		switch {
		case q.Verb != "create" || q.Code != 201:
		case q.Resource == "vdisessions" && q.Namespace == quiet:
			asked = q.Done
		case q.Resource == "pods" && q.Namespace == quiet:
			made = q.Received
		case q.Resource == "pods" && q.Namespace == crowd:
			pods[q.Received] = true
		}
	})
	require.NoError(t, err)
	require.False(t, asked.IsZero() || made.IsZero())
	before, between := 0, 0
	for at := range pods {
		switch {
		case at.Before(asked):
			before++
		case at.Before(made):
			between++
		}
	}
	require.Less(t, before, many/2, "the operator is too fast for this attack: ask for more at once")
	require.NoError(t, w.Driver.DeleteAllOf(t.Context(), &vdi.VDISession{}, client.InNamespace(crowd)))
	words := fmt.Sprintf("of %d desktops asked for before, %d were made before the other's", many-before, between)
	t.Log(words)
	return ledger.Judge(between > 3*workers, ledger.Operator, words)
}
