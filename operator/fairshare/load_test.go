package fairshare

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// TestManyWorkers: workers that ask at once are given no more than there is.
func TestManyWorkers(t *testing.T) {
	const workers, room = 64, 20
	var ledger Ledger
	ledger.SetQuotas([]vdi.VDIQuota{total(room), named("person", vdi.VDIQuotaSpec{PerUser: &vdi.UserLimits{Running: of[int32](2)}})}, 0)
	for round := range 20 {
		var mu sync.Mutex
		var granted []Session
		persons := map[string]int{}
		var all sync.WaitGroup
		for i := range workers {
			all.Go(func() {
				s := session(fmt.Sprint(round, "-", i), fmt.Sprint("user-", i%16))
				answer, _ := ledger.Ask(Request{Session: s, Accepted: true, Run: desktop(1), Now: noon})
				if answer.Short == nil {
					mu.Lock()
					defer mu.Unlock()
					granted, persons[s.User] = append(granted, s), persons[s.User]+1
				}
			})
		}
		all.Wait()
		require.Len(t, granted, room)
		for user, n := range persons {
			require.LessOrEqual(t, n, 2, user)
		}
		for i := range workers {
			all.Go(func() { ledger.Forget(session(fmt.Sprint(round, "-", i), "").NamespacedName, noon) })
		}
		all.Wait()
	}
	require.Empty(t, ledger.used)
	require.Empty(t, ledger.queue)
}

// BenchmarkAsk is a start in a house of 5,000 sessions: with room, and with 1,000 that wait.
func BenchmarkAsk(b *testing.B) {
	house := func(room, waiting int32) *Ledger {
		l := &Ledger{}
		l.SetQuotas([]vdi.VDIQuota{total(room), named("person", vdi.VDIQuotaSpec{Default: true, PerUser: &vdi.UserLimits{Sessions: of[int32](100), Running: of[int32](50)}})}, 0)
		for i := range 5000 - int(waiting) {
			s := session(fmt.Sprint("s", i), fmt.Sprint("user-", i%500))
			l.See(Seen{Session: s, Accepted: true, Run: desktop(1), Ends: noon.Add(time.Hour)})
		}
		for i := range waiting {
			s := session(fmt.Sprint("w", i), fmt.Sprint("user-", i%500))
			l.Ask(Request{Session: s, Accepted: true, Run: desktop(1), Now: noon.Add(time.Duration(i) * time.Second)})
		}
		return l
	}
	for name, l := range map[string]*Ledger{"with room": house(6000, 0), "1000 waiting": house(4000, 1000)} {
		b.Run(name, func(b *testing.B) {
			s := session("another", "user-1")
			for b.Loop() {
				l.Ask(Request{Session: s, Run: desktop(1), Now: noon.Add(time.Hour)})
				l.Forget(s.NamespacedName, noon)
			}
		})
	}
}
