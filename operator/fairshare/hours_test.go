package fairshare

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vdi-platform/vdi-platform/operator/accounting"
	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// perDay is a budget of each person.
func perDay(hours string) vdi.VDIQuota {
	return named("hours", vdi.VDIQuotaSpec{PerUser: &vdi.UserLimits{GPUHours: &vdi.GPUHoursLimit{Limit: hours, Window: vdi.BudgetDay}}})
}

// counts lets a session's pod hold slices since a time, and its hours count for quotas.
func (h *house) counts(s Session, pod types.UID, since time.Time, slices int32, quotas ...string) {
	h.wake(h.ledger.See(Seen{
		Session: s, Accepted: true, Run: desktop(int64(slices)), Now: h.now,
		Counted: accounting.Run{UID: pod, Begin: since, Rate: accounting.RateOf(slices, 1000), Quotas: quotas},
	}))
}

// ended lets a session's pod be over that held slices since a time.
func (h *house) ended(s Session, pod types.UID, since time.Time, slices int32, quotas ...string) {
	h.wake(h.ledger.See(Seen{
		Session: s, Accepted: true, Now: h.now,
		Over: accounting.Run{UID: pod, Begin: since, End: h.now, Rate: accounting.RateOf(slices, 1000), Quotas: quotas},
	}))
}

// ends is when a session's first budget is used up; "": never.
func (h *house) ends(s Session) string {
	budgets := h.ledger.Budgets(s, h.now)
	if len(budgets) == 0 {
		return ""
	}
	end, ends := budgets[0].Ends(h.ledger.entries[s.NamespacedName].runs, h.now)
	if !ends {
		return ""
	}
	return end.Format(time.TimeOnly)
}

// asks asks for a desktop with slices, whose end is announced ten minutes before.
func (h *house) asks(s Session, slices int64) Answer {
	return h.ask(Request{Session: s, Accepted: true, Run: desktop(slices), Rate: accounting.RateOf(int32(slices), 1000), Warn: 10 * time.Minute})
}

// TestBudget: all of a person's desktops use up one budget, each start and end moves the end
// of the others, and nobody else's.
func TestBudget(t *testing.T) {
	t.Parallel()
	h := newHouse(t, perDay("8"))
	a, b, other := session("a", "alice"), session("b", "alice"), session("other", "bob")
	require.Empty(t, h.ends(a), "nothing runs")
	h.counts(a, "pod-a", noon, 1, "hours")
	h.counts(other, "pod-other", noon, 4, "hours")
	require.Equal(t, "20:00:00", h.ends(a))
	require.Equal(t, "14:00:00", h.ends(other))
	h.now = noon.Add(2 * time.Hour)
	h.wakes()
	h.counts(b, "pod-b", h.now, 2, "hours")
	require.Equal(t, []string{"a"}, h.wakes(), "its end is another")
	require.Equal(t, "16:00:00", h.ends(a))
	require.Equal(t, "16:00:00", h.ends(b))
	h.counts(b, "pod-b", noon.Add(2*time.Hour), 2, "hours")
	require.Empty(t, h.wakes(), "that is no news")

	h.now = noon.Add(3 * time.Hour)
	h.ended(b, "pod-b", noon.Add(2*time.Hour), 2, "hours")
	require.Equal(t, []string{"a"}, h.wakes())
	require.Equal(t, "18:00:00", h.ends(a), "2 of 8 hours are gone by a run that is not written down yet")
	u := &vdi.VDIUsage{}
	utc := accounting.Kept{Zone: time.UTC, Months: 13}
	utc.Record(u, accounting.Run{UID: "pod-b", Begin: noon.Add(2 * time.Hour), End: h.now, Rate: 2000, Quotas: []string{"hours"}})
	require.Equal(t, []types.NamespacedName{a.NamespacedName}, h.ledger.SetUsage("alice", u))
	require.Equal(t, "18:00:00", h.ends(a), "and counts once when it is")
	h.ledger.SetUsage("alice", nil)
	require.Equal(t, "20:00:00", h.ends(a), "somebody has forgiven what was used")
	h.ledger.SetUsage("alice", u)

	h.now = noon.Add(6 * time.Hour)
	answer := h.asks(b, 1)
	require.Equal(t, GPUHours, answer.Short.Field)
	require.Equal(t, `Quota "hours" leaves no room for this session: each person may have at most 8.00 GPU-hours until 2026-01-03T00:00:00Z, 8.00 are used, and a start takes 0.17 at least. `+
		`There are new ones at 2026-01-03T00:00:00Z, and it goes on by itself then; or ask an administrator for more`, answer.Short.Refusal())
	require.Nil(t, answer.Queue)
	require.Nil(t, h.asks(session("soft", "alice"), 0).Short, "without a GPU nothing is used")
	require.NotNil(t, h.asks(session("more", "bob"), 1).Short, "bob has used his, too")
	h.now = noon.Add(12 * time.Hour)
	require.Nil(t, h.asks(b, 1).Short, "another day")
}

// TestBudgetsOfRuns: what a run uses counts for the quotas that limited its start, whoever
// selects it meanwhile.
func TestBudgetsOfRuns(t *testing.T) {
	t.Parallel()
	h := newHouse(t, perDay("8"))
	a, b := session("a", "alice"), session("b", "alice")
	h.counts(a, "pod-a", noon, 1, "another")
	h.now = noon.Add(10 * time.Hour)
	h.counts(b, "pod-b", noon.Add(9*time.Hour), 1, "hours")
	end, _ := h.ledger.Budgets(b, h.now)[0].Ends(h.ledger.entries[b.NamespacedName].runs, h.now)
	require.Equal(t, noon.Add(20*time.Hour), end, "8 hours of the next day")
	h.ended(a, "pod-a", noon, 1, "another")
	end, _ = h.ledger.Budgets(b, h.now)[0].Ends(h.ledger.entries[b.NamespacedName].runs, h.now)
	require.Equal(t, noon.Add(20*time.Hour), end)
}

// TestLittleIsLeft: of a budget with little left nobody starts for less than the time for
// which its end is announced, nor do many at once.
func TestLittleIsLeft(t *testing.T) {
	t.Parallel()
	h := newHouse(t, perDay("1"))
	for i, granted := range []bool{true, true, true, true, true, true, false} { // of ten minutes each
		require.Equal(t, granted, h.asks(session(string(rune('a'+i)), "alice"), 1).Short == nil, i)
	}
	h.counts(session("a", "alice"), "pod-a", noon, 1, "hours")
	require.NotNil(t, h.asks(session("g", "alice"), 1).Short, "what runs has that time, too")
	h.wakes()
	h.stop(session("b", "alice"))
	require.Contains(t, h.wakes(), "g", "a start that came to nothing leaves its time")
	require.Nil(t, h.asks(session("g", "alice"), 1).Short)
	h.now = noon.Add(11 * time.Minute)
	require.NotNil(t, h.asks(session("h", "alice"), 1).Short)
	never := newHouse(t, perDay("0.1")).asks(session("a", "alice"), 1).Short
	require.True(t, never.Never)
	require.Contains(t, never.Refusal(), "It can never start so: ask for less")
}

// TestGrowthAsksForHours: a run that the platform starts again keeps what it has, and pays for
// what is more.
func TestGrowthAsksForHours(t *testing.T) {
	t.Parallel()
	h := newHouse(t, perDay("1"))
	a, b := session("a", "alice"), session("b", "alice")
	require.Nil(t, h.asks(a, 0).Short)
	h.counts(b, "pod-b", noon, 1, "hours")
	h.now = noon.Add(time.Hour)
	require.Nil(t, h.asks(a, 0).Short)
	require.NotNil(t, h.asks(a, 1).Short)
	require.Nil(t, h.asks(b, 1).Short, "it runs")
}

// TestHoursReject: who is refused stays so until they ask again.
func TestHoursReject(t *testing.T) {
	t.Parallel()
	hard := perDay("1")
	hard.Spec.OnExceeded = vdi.QuotaReject
	h := newHouse(t, hard)
	a, b := session("a", "alice"), session("b", "alice")
	h.counts(a, "pod-a", noon, 1, "hours")
	h.now = noon.Add(time.Hour)
	refused := h.asks(b, 1)
	require.Contains(t, refused.Short.Refusal(), "once somebody asks again")
	require.Nil(t, refused.Queue.Key)
	h.ended(a, "pod-a", noon, 1, "hours")
	h.now = noon.Add(24 * time.Hour)
	again := Request{Session: b, Accepted: true, Run: desktop(1), Rate: 1000, Refused: refused.Queue}
	require.True(t, h.ask(again).Stands)
	again.Refused = nil
	require.Nil(t, h.ask(again).Short)
}

// TestQuotasWakeWhatRuns: ends are others by other quotas.
func TestQuotasWakeWhatRuns(t *testing.T) {
	t.Parallel()
	h := newHouse(t, perDay("8"))
	a := session("a", "alice")
	h.counts(a, "pod-a", noon, 1, "hours")
	require.Equal(t, []types.NamespacedName{a.NamespacedName}, h.ledger.SetQuotas([]vdi.VDIQuota{perDay("9")}, 1))
	require.Equal(t, "21:00:00", h.ends(a))
}

// TestBudgetsThatHold: a default gives way, and selectors select.
func TestBudgetsThatHold(t *testing.T) {
	t.Parallel()
	everybody := perDay("1")
	everybody.Spec.Default = true
	artists := perDay("4")
	artists.Name, artists.Spec.Selector.Users = "artists", []string{"alice"}
	h := newHouse(t, artists, everybody)
	for user, quota := range map[string]string{"alice": "artists", "bob": "hours"} {
		budgets := h.ledger.Budgets(session("of-"+user, user), noon)
		require.Len(t, budgets, 1)
		require.Equal(t, quota, budgets[0].Quota)
	}
	require.True(t, h.ledger.LimitsHours())
	none := &newHouse(t, total(3)).ledger
	require.Empty(t, none.Budgets(session("a", "alice"), noon))
	require.False(t, none.LimitsHours())
}

// TestRunOfAnotherHistory: what counted only because the ledger saw it, and nobody can write
// down any more, is forgotten: the API server has gone back to a state before.
func TestRunOfAnotherHistory(t *testing.T) {
	t.Parallel()
	h := newHouse(t, perDay("1"))
	a, b := session("a", "alice"), session("b", "alice")
	h.counts(a, "pod-a", noon, 1, "hours")
	h.now = noon.Add(2 * time.Hour)
	h.ended(a, "pod-a", noon, 1, "hours")
	require.NotNil(t, h.asks(b, 1).Short)
	h.now = h.now.Add(2 * time.Minute)
	require.NotNil(t, h.asks(b, 1).Short, "it is still to be written down")
	h.stop(a)
	require.NotNil(t, h.asks(b, 1).Short, "it was, and the cache is behind")
	h.now = h.now.Add(2 * time.Minute)
	require.Nil(t, h.asks(b, 1).Short)
}

// TestForgottenRun: what somebody's session has left that is gone is returned, and counts.
func TestForgottenRun(t *testing.T) {
	t.Parallel()
	h := newHouse(t, perDay("8"))
	a, b := session("a", "alice"), session("b", "alice")
	h.counts(a, "pod-a", noon, 1, "hours")
	h.counts(b, "pod-b", noon, 1, "hours")
	h.now = noon.Add(time.Hour)
	woken := h.ledger.Forget(a.NamespacedName, h.now)
	lost := []Lost{{"alice", accounting.Run{UID: "pod-a", Begin: noon, End: h.now, Rate: 1000, Quotas: []string{"hours"}}}}
	require.Equal(t, lost, h.ledger.Lost())
	require.Empty(t, h.ledger.Lost())
	h.ledger.Lose(lost[0])
	require.Equal(t, lost, h.ledger.Lost())
	require.Contains(t, woken, b.NamespacedName)
	require.Equal(t, "19:00:00", h.ends(b))
	h.counts(Session{NamespacedName: b.NamespacedName, UID: "another", User: "alice"}, "pod-c", h.now, 1, "hours")
	require.Len(t, h.ledger.hours["alice"].over, 2, "and that of a session whose name another one has")
	require.Equal(t, types.UID("pod-b"), h.ledger.Lost()[0].Run.UID)
}

// TestPeopleAreForgotten: who has nothing any more costs nothing.
func TestPeopleAreForgotten(t *testing.T) {
	t.Parallel()
	h := newHouse(t, perDay("8"))
	a := session("a", "alice")
	h.counts(a, "", noon, 0)
	h.counts(session("b", "bob"), "pod", noon, 1)
	h.ledger.Forget(a.NamespacedName, h.now)
	h.ledger.Forget(session("b", "bob").NamespacedName, h.now)
	require.Equal(t, types.UID("pod"), h.ledger.Lost()[0].Run.UID)
	require.Empty(t, h.ledger.hours, "also of runs that no quota counts")
}
