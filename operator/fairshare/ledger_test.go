package fairshare

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func of[T any](v T) *T { return &v }

func desktop(slices int64) Amounts {
	return Amounts{Running: 1, GPUSlices: slices, CPU: 2000, Memory: 4 << 30}
}

func session(name, user string) Session {
	return Session{NamespacedName: types.NamespacedName{Namespace: "team", Name: name}, UID: types.UID(name), User: user, Template: "blender"}
}

func named(name string, spec vdi.VDIQuotaSpec) vdi.VDIQuota {
	return vdi.VDIQuota{ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 1}, Spec: spec}
}

// house is a ledger with its sessions, as the operator uses it.
type house struct {
	t      *testing.T
	ledger Ledger
	now    time.Time
	woken  []string
}

func newHouse(t *testing.T, quotas ...vdi.VDIQuota) *house {
	t.Helper()
	h := &house{t: t, now: noon}
	h.wake(h.ledger.SetQuotas(quotas, 0))
	return h
}

func (h *house) wake(keys []types.NamespacedName) {
	for _, key := range keys {
		h.woken = append(h.woken, key.Name)
	}
}

// wakes is who was woken since it was last asked.
func (h *house) wakes() []string {
	defer func() { h.woken = nil }()
	return h.woken
}

func (h *house) ask(r Request) Answer {
	r.Now = h.now
	answer, woken := h.ledger.Ask(r)
	h.wake(woken)
	return answer
}

// start asks for a desktop, and makes it where there is room.
func (h *house) start(s Session, slices int64) Answer {
	answer := h.ask(Request{Session: s, Accepted: true, Run: desktop(slices)})
	seen := Seen{Session: s, Accepted: true, Asked: true}
	if answer.Short == nil {
		seen.Run, seen.Ends = desktop(slices), h.now.Add(8*time.Hour)
	}
	h.wake(h.ledger.See(seen))
	return answer
}

// stop is the end of a run.
func (h *house) stop(s Session) { h.wake(h.ledger.See(Seen{Session: s, Accepted: true, Now: h.now})) }

func (h *house) forget(s Session) {
	h.wake(h.ledger.Forget(s.NamespacedName, h.now))
}

func (h *house) starts(s Session, slices int64) {
	h.t.Helper()
	require.Nil(h.t, h.start(s, slices).Short, s.Name)
}

// waits at which place, and for which limit.
func (h *house) waits(s Session, slices int64, place int32, field Field) *Shortage {
	h.t.Helper()
	answer := h.start(s, slices)
	require.NotNil(h.t, answer.Queue, "%s waits: %+v", s.Name, answer.Short)
	require.Equal(h.t, place, answer.Queue.Place, "the place of %s", s.Name)
	require.Equal(h.t, field, answer.Short.Field)
	return answer.Short
}

func total(slices int32) vdi.VDIQuota {
	return named("all", vdi.VDIQuotaSpec{Total: &vdi.TotalLimits{GPUSlices: &slices}})
}

func TestNoQuota(t *testing.T) {
	h := newHouse(t)
	h.starts(session("a", "alice"), 64)
	require.Zero(t, h.ask(Request{Session: session("b", "alice"), Run: desktop(64)}))
}

func TestQueueInOrder(t *testing.T) {
	h := newHouse(t, total(2))
	a, b, c, d, e := session("a", "alice"), session("b", "bob"), session("c", "carol"), session("d", "dave"), session("e", "erin")
	h.starts(a, 1)
	h.now = h.now.Add(time.Minute)
	h.starts(b, 1)
	h.now = h.now.Add(time.Second)
	short := h.waits(c, 2, 1, GPUSlices)
	require.Equal(t, &Shortage{limit: limit{"all", GPUSlices, ""}, Quota: "all", Generation: 1, Field: GPUSlices, Limit: 2, Used: 2, Asked: 2, Room: noon.Add(8 * time.Hour)}, short)
	h.now = h.now.Add(time.Second)
	h.waits(d, 1, 2, GPUSlices)
	h.now = h.now.Add(time.Second)
	h.waits(e, 1, 3, GPUSlices)
	require.Empty(t, h.wakes())

	h.stop(a)
	require.Empty(t, h.wakes(), "one slice does not do for the first, and nobody overtakes")
	short = h.waits(d, 1, 2, GPUSlices)
	require.True(t, short.Ahead, "there is room for one, but not before the first")
	h.stop(b)
	require.Equal(t, []string{"c", "d", "e"}, h.wakes(), "the first may start, two move up")
	h.waits(d, 1, 1, GPUSlices)
	h.starts(c, 2)
	h.stop(c)
	require.Equal(t, []string{"d", "e"}, h.wakes())
	h.starts(e, 1)
	h.starts(d, 1)
}

func TestWhoHasMoreComesLater(t *testing.T) {
	h := newHouse(t, total(3), named("vip", vdi.VDIQuotaSpec{Selector: vdi.QuotaSelector{Users: []string{"vip"}}, Weight: of[int32](4)}))
	h.starts(session("a1", "alice"), 2)
	h.starts(session("v1", "vip"), 1)
	h.waits(session("a2", "alice"), 1, 1, GPUSlices)
	h.now = h.now.Add(10 * time.Minute)
	h.waits(session("b", "bob"), 1, 1, GPUSlices)
	h.waits(session("v2", "vip"), 1, 2, GPUSlices)
	h.waits(session("a2", "alice"), 1, 3, GPUSlices)
	h.now = h.now.Add(time.Hour)
	h.waits(session("c", "carol"), 1, 4, GPUSlices)
	h.stop(session("v1", "vip"))
	require.Contains(t, h.wakes(), "b")
}

func TestPriorityIsStrict(t *testing.T) {
	h := newHouse(t, total(1), named("first", vdi.VDIQuotaSpec{Selector: vdi.QuotaSelector{Groups: []string{"exam"}}, Priority: of[int32](10)}))
	h.starts(session("a", "alice"), 1)
	h.waits(session("b", "bob"), 1, 1, GPUSlices)
	h.now = h.now.Add(24 * time.Hour)
	c := session("c", "carol")
	c.Groups = []string{"students", "exam"}
	h.waits(c, 1, 1, GPUSlices)
	h.waits(session("b", "bob"), 1, 2, GPUSlices)
}

// TestOwnLimitHoldsUpNobody: who waits for an end of their own keeps no room from others.
func TestOwnLimitHoldsUpNobody(t *testing.T) {
	h := newHouse(t, total(2), named("one", vdi.VDIQuotaSpec{PerUser: &vdi.UserLimits{Running: of[int32](1)}}))
	h.starts(session("a1", "alice"), 1)
	short := h.waits(session("a2", "alice"), 1, 1, Running)
	require.True(t, short.PerUser)
	h.waits(session("a3", "alice"), 1, 2, Running)
	h.starts(session("b", "bob"), 1)
	h.waits(session("c", "carol"), 1, 1, GPUSlices)
	h.wakes()
	h.stop(session("a1", "alice"))
	require.Equal(t, []string{"c", "a2", "a3"}, h.wakes(), "alice's next comes behind carol: she had a desktop when she asked")
	h.starts(session("c", "carol"), 1)
	require.Equal(t, GPUSlices, h.start(session("a2", "alice"), 1).Short.Field)
}

func TestDefaultIsForOthers(t *testing.T) {
	h := newHouse(
		t,
		named("everybody", vdi.VDIQuotaSpec{Default: true, PerUser: &vdi.UserLimits{Running: of[int32](1), Memory: "5Gi"}}),
		named("artists", vdi.VDIQuotaSpec{Selector: vdi.QuotaSelector{Groups: []string{"artists"}}, PerUser: &vdi.UserLimits{Running: of[int32](4)}}),
	)
	h.starts(session("b1", "bob"), 1)
	h.waits(session("b2", "bob"), 1, 1, Running)
	artist := func(name string) Session {
		s := session(name, "alice")
		s.Groups = []string{"artists"}
		return s
	}
	h.starts(artist("a1"), 1)
	short := h.waits(artist("a2"), 1, 1, Memory)
	require.Equal(t, "everybody", short.Quota, "only the limit of the same name is replaced")
}

func TestSessionsAndStorageRefuse(t *testing.T) {
	h := newHouse(t, named("small", vdi.VDIQuotaSpec{
		Selector: vdi.QuotaSelector{Namespaces: []string{"team"}},
		PerUser:  &vdi.UserLimits{Sessions: of[int32](1), Storage: "10Gi"},
	}))
	a := session("a", "alice")
	homes := map[string]int64{"team": 4 << 30, "elsewhere": 100 << 30}
	require.Nil(t, h.ask(Request{Session: a, Run: desktop(1), Home: 6 << 30, NewHome: true, Homes: homes}).Short)
	answer := h.ask(Request{Session: session("b", "alice"), Run: desktop(1)})
	require.Nil(t, answer.Queue)
	require.Equal(t, Sessions, answer.Short.Field)
	require.Nil(t, h.ask(Request{Session: session("b", "alice"), Accepted: true, Run: desktop(1)}).Short, "it was accepted before the quota")
	answer = h.ask(Request{Session: session("c", "alice"), Accepted: true, Run: desktop(1), Home: 1, NewHome: true, Homes: homes})
	require.Equal(t, Storage, answer.Short.Field, "the home of the first is not made yet, and counts")
	require.Equal(t, int64(10<<30), answer.Short.Used)
	require.Nil(t, h.ask(Request{Session: session("c", "alice"), Accepted: true, Run: desktop(1), Homes: homes}).Short, "an existing home is no question")
	answer = h.ask(Request{Session: session("c", "alice"), Accepted: true, Run: desktop(1), Home: 1, Homes: homes})
	require.Nil(t, answer.Short, "a home that cannot grow keeps nobody from starting")
	require.Equal(t, Storage, answer.Small.Field)
	h.wake(h.ledger.See(Seen{Session: a, Accepted: true, Asked: true, Home: true}))
	homes["team"] = 9 << 30
	require.Nil(t, h.ask(Request{Session: session("c", "alice"), Accepted: true, Home: 1 << 30, Homes: homes}).Small, "what is there is counted once")
}

// TestRefusedByNumber: who has too many sessions is woken when one is gone.
func TestRefusedByNumber(t *testing.T) {
	h := newHouse(t, named("one", vdi.VDIQuotaSpec{PerUser: &vdi.UserLimits{Sessions: of[int32](1)}}))
	a, b := session("a", "alice"), session("b", "alice")
	h.stop(a)
	require.Equal(t, Sessions, h.ask(Request{Session: b, Run: desktop(1)}).Short.Field)
	h.wake(h.ledger.See(Seen{Session: b, Asked: true}))
	require.Equal(t, Sessions, h.ask(Request{Session: b, Run: desktop(1)}).Short.Field, "it was never accepted")
	require.Empty(t, h.wakes())
	h.forget(a)
	require.Equal(t, []string{"b"}, h.wakes())
	require.Nil(t, h.ask(Request{Session: b, Run: desktop(1)}).Short)
}

func TestReject(t *testing.T) {
	h := newHouse(t, named("hard", vdi.VDIQuotaSpec{OnExceeded: vdi.QuotaReject, PerUser: &vdi.UserLimits{GPUSlices: of[int32](2)}}))
	h.starts(session("a", "alice"), 2)
	answer := h.start(session("b", "alice"), 1)
	require.NotNil(t, answer.Short)
	require.Nil(t, answer.Queue.Key)
	h.stop(session("a", "alice"))
	require.Empty(t, h.wakes(), "who was refused does not wait")
	again := Request{Session: session("b", "alice"), Accepted: true, Run: desktop(1), Refused: answer.Queue}
	require.True(t, h.ask(again).Stands, "nobody has asked again")
	changed := named("hard", vdi.VDIQuotaSpec{OnExceeded: vdi.QuotaReject, PerUser: &vdi.UserLimits{GPUSlices: of[int32](3)}})
	changed.Generation = 2
	h.wake(h.ledger.SetQuotas([]vdi.VDIQuota{changed}, 0))
	require.Equal(t, []string{"b"}, h.wakes(), "another quota is another question")
	require.Zero(t, h.ask(again))
}

// TestMoreThanBooked: a desktop that is started again with more asks for it, however often it
// asks; what nobody limits may grow.
func TestMoreThanBooked(t *testing.T) {
	h := newHouse(t, total(2))
	a := session("a", "alice")
	h.starts(a, 1)
	h.starts(session("b", "bob"), 1)
	h.wake(h.ledger.See(Seen{Session: a, Accepted: true, Keeps: true}))
	larger := desktop(1)
	larger[Memory] *= 2
	require.Nil(t, h.ask(Request{Session: a, Accepted: true, Run: larger}).Short)
	h.wake(h.ledger.See(Seen{Session: a, Accepted: true, Keeps: true}))
	h.waits(a, 2, 1, GPUSlices)
	h.waits(a, 2, 1, GPUSlices)
}

// TestImpossible: who asks for more than there ever is holds up nobody.
func TestImpossible(t *testing.T) {
	h := newHouse(t, total(2))
	h.starts(session("a", "alice"), 1)
	answer := h.start(session("b", "bob"), 4)
	require.Nil(t, answer.Queue)
	require.True(t, answer.Short.Never)
	require.Contains(t, answer.Short.Refusal(), "It can never start so: ask for less")
	h.starts(session("c", "carol"), 1)
	h.waits(session("d", "dave"), 2, 1, GPUSlices)
	h.waits(session("e", "erin"), 1, 2, GPUSlices)
	h.wakes()
	h.wake(h.ledger.SetQuotas([]vdi.VDIQuota{total(1)}, 0))
	require.ElementsMatch(t, []string{"b", "d", "e"}, h.wakes(), "who was refused, who can never start now, and who is first now")
	require.True(t, h.start(session("d", "dave"), 2).Short.Never)
	h.waits(session("e", "erin"), 1, 1, GPUSlices)
}

func TestBookingsAreGivenBack(t *testing.T) {
	h := newHouse(t, total(1))
	a, b := session("a", "alice"), session("b", "bob")
	require.Nil(t, h.ask(Request{Session: a, Accepted: true, Run: desktop(1)}).Short)
	h.waits(b, 1, 1, GPUSlices)
	h.wake(h.ledger.See(Seen{Session: a, Accepted: true, Asked: true})) // its pod was refused
	require.Equal(t, []string{"b"}, h.wakes())
	h.starts(b, 1)
	h.wake(h.ledger.See(Seen{Session: b, Accepted: true, Keeps: true})) // its node is lost
	h.waits(a, 1, 1, GPUSlices)
	h.starts(b, 1)
	h.wakes()
	h.forget(b)
	require.Equal(t, []string{"a"}, h.wakes())
}

// TestQuotaStopsNobody: a lowered quota counts what runs, and those that the platform starts
// again.
func TestQuotaStopsNobody(t *testing.T) {
	h := newHouse(t, total(2))
	a, b := session("a", "alice"), session("b", "bob")
	h.starts(a, 1)
	h.starts(b, 1)
	h.wake(h.ledger.SetQuotas([]vdi.VDIQuota{total(1)}, 0))
	h.waits(session("c", "carol"), 1, 1, GPUSlices)
	h.stop(a)
	short := h.waits(session("c", "carol"), 1, 1, GPUSlices)
	require.Equal(t, int64(1), short.Used)

	next := newHouse(t, total(1)) // another operator leads, by what it finds
	for _, s := range []Session{a, b} {
		next.wake(next.ledger.See(Seen{Session: s, Accepted: true, Run: desktop(1)}))
	}
	next.ledger.Wait(session("c", "carol"), desktop(1), vdi.QueueStatus{Since: metav1.Time{Time: noon}, Key: &metav1.MicroTime{Time: noon}, Place: 1})
	next.starts(b, 1)
	next.starts(a, 1) // above the limit, too
	next.waits(session("d", "dave"), 1, 2, GPUSlices)
	next.waits(session("c", "carol"), 1, 1, GPUSlices)
}

// TestPodThatNobodyHasSeen: what was made counts until it was seen and is gone, or the API
// server itself has it no more.
func TestPodThatNobodyHasSeen(t *testing.T) {
	h := newHouse(t, total(1))
	a, b := session("a", "alice"), session("b", "bob")
	see := func(seen Seen) {
		seen.Session, seen.Accepted = a, true
		h.wake(h.ledger.See(seen))
	}
	made := Seen{Run: desktop(1), Made: true, Asked: true}
	require.Nil(t, h.ask(Request{Session: a, Accepted: true, Run: desktop(1)}).Short)
	see(made)
	h.waits(b, 1, 1, GPUSlices)
	see(Seen{}) // suspended; the cache is late
	require.True(t, h.ledger.Assumes(a.NamespacedName))
	require.Empty(t, h.wakes())
	see(Seen{Run: desktop(1)})
	require.False(t, h.ledger.Assumes(a.NamespacedName))
	see(Seen{})
	require.Equal(t, []string{"b"}, h.wakes(), "it was seen, and is gone")

	see(made)
	h.waits(b, 1, 1, GPUSlices)
	see(Seen{Gone: true})
	require.Equal(t, []string{"b"}, h.wakes(), "the cache has missed it")
}

func TestAnotherOfThatName(t *testing.T) {
	h := newHouse(t, total(1))
	a := session("a", "alice")
	h.starts(a, 1)
	a.UID, a.User = "another", "bob"
	h.starts(a, 1)
	h.waits(session("b", "bob"), 1, 1, GPUSlices)
}

// TestRandomHouses: nobody has more than the limits, nobody is overtaken but as documented,
// everybody starts in the end, and what is counted is what is there.
func TestRandomHouses(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { randomHouse(t, rand.New(rand.NewPCG(seed, 1))) }) //nolint:gosec // to be repeated
	}
}

func randomHouse(t *testing.T, random *rand.Rand) {
	t.Helper()
	quotas := []vdi.VDIQuota{total(2 + random.Int32N(3))}
	if random.IntN(2) == 0 {
		quotas = append(quotas, named("person", vdi.VDIQuotaSpec{PerUser: &vdi.UserLimits{GPUSlices: of(2 + random.Int32N(2)), Running: of(1 + random.Int32N(2))}}))
	}
	if random.IntN(2) == 0 {
		quotas = append(quotas, named("bob", vdi.VDIQuotaSpec{Selector: vdi.QuotaSelector{Users: []string{"bob"}}, Total: &vdi.TotalLimits{Running: of[int32](1)}}))
	}
	h := newHouse(t, quotas...)
	users := []string{"alice", "bob", "carol"}
	var all []Session
	sizes, runs, started := map[string]int64{}, map[string]bool{}, map[string]bool{}
	for i := range 8 {
		s := session(fmt.Sprint("s", i), users[random.IntN(len(users))])
		all, sizes[s.Name] = append(all, s), int64(random.IntN(3))
	}
	turn := func(s Session) {
		if answer := h.start(s, sizes[s.Name]); answer.Short == nil {
			runs[s.Name], started[s.Name] = true, true
		} else {
			require.NotNil(t, answer.Queue)
		}
	}
	check := func() {
		counted := map[limit]int64{}
		for _, e := range h.ledger.entries {
			for _, b := range e.rules.limits {
				if n := e.run[b.field]; n > 0 {
					counted[b.limit] += n
					require.LessOrEqual(t, counted[b.limit], b.most, "%+v", b.limit)
				}
			}
		}
		require.Equal(t, counted, h.ledger.used)
	}
	for range 60 {
		h.now = h.now.Add(time.Duration(random.IntN(60)) * time.Second)
		s := all[random.IntN(len(all))]
		switch {
		case !runs[s.Name]:
			turn(s)
		case random.IntN(2) == 0:
			runs[s.Name] = false
			h.stop(s)
		}
		check()
	}
	// From now on everybody who runs stops after a while, and who is woken asks again: all of
	// those that wait start, the first of a queue before all others.
	for range 40 {
		h.now = h.now.Add(time.Hour)
		for _, s := range all {
			if runs[s.Name] {
				runs[s.Name] = false
				h.stop(s)
			}
		}
		for woken := h.wakes(); len(woken) > 0; woken = h.wakes() {
			for _, name := range woken {
				if i := slices.IndexFunc(all, func(s Session) bool { return s.Name == name }); !runs[name] {
					turn(all[i])
				}
			}
		}
		check()
	}
	require.Empty(t, h.ledger.queue, "everybody who was woken has started in the end")
}
