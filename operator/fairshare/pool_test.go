package fairshare

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// cluster is a house whose scheduler has room for so many desktops of each pool.
type cluster struct {
	*house
	room   map[string]int
	placed map[string]map[string]bool // sessions with a node, by pool
	pods   map[string][]Session       // those without, by pool
	made   map[string]time.Time       // by session
}

func newCluster(t *testing.T, room map[string]int) *cluster {
	t.Helper()
	c := &cluster{newHouse(t), room, map[string]map[string]bool{}, map[string][]Session{}, map[string]time.Time{}}
	c.ledger.SetWindow(Window{Patience: 5 * time.Minute})
	for pool := range room {
		c.placed[pool] = map[string]bool{}
	}
	return c
}

// asks asks for a desktop, and lets the scheduler look at it.
func (c *cluster) asks(s Session, pool string) Answer {
	answer := c.ask(Request{Session: s, Accepted: true, Run: desktop(1), Pool: pool})
	if answer.Short != nil {
		c.wake(c.ledger.See(Seen{Session: s, Accepted: true, Asked: true}))
		return answer
	}
	c.wake(c.ledger.See(Seen{Session: s, Accepted: true, Asked: true, Run: desktop(1), Made: true, Pool: pool, Placed: Asked, Since: c.now, Now: c.now}))
	c.pods[pool], c.made[s.Name] = append(c.pods[pool], s), c.now
	c.schedule(pool)
	return answer
}

func (c *cluster) schedule(pool string) {
	var left []Session
	for _, s := range c.pods[pool] {
		p := Full
		if len(c.placed[pool]) < c.room[pool] {
			p, c.placed[pool][s.Name] = Placed, true
		} else {
			left = append(left, s)
		}
		c.wake(c.ledger.See(Seen{Session: s, Accepted: true, Run: desktop(1), Pool: pool, Placed: p, Since: c.made[s.Name], Now: c.now}))
	}
	c.pods[pool] = left
}

func (c *cluster) ends(s Session, pool string) {
	delete(c.placed[pool], s.Name)
	c.stop(s)
	c.schedule(pool)
}

// goOn lets those ask that were woken and have no pod.
func (c *cluster) goOn(sessions map[string]Session, pool string) {
	for _, name := range c.wakes() {
		if _, made := c.made[name]; !made {
			c.asks(sessions[name], pool)
		}
	}
}

// TestPool: without any quota desktops start in the order in which they were asked for, and
// only the first is offered to a scheduler that has no room.
func TestPool(t *testing.T) {
	c := newCluster(t, map[string]int{"a100": 2, "l4": 1})
	a, b, first, second, third := session("a", "alice"), session("b", "bob"), session("first", "carol"), session("second", "dave"), session("third", "erin")
	require.Nil(t, c.asks(a, "a100").Short)
	require.Nil(t, c.asks(b, "a100").Short)
	require.Empty(t, c.ledger.pools, "nothing is held back while there is room")
	require.Nil(t, c.asks(first, "a100").Short, "it is offered")
	c.now = c.now.Add(time.Second)
	answer := c.asks(second, "a100")
	require.Equal(t, int32(2), answer.Queue.Place)
	require.Equal(t, "Waiting for room in the cluster at place 2: no node has room at present, and those who wait start in order", answer.Short.Waiting(answer.Queue.Place))
	c.now = c.now.Add(time.Second)
	require.Equal(t, int32(3), c.asks(third, "a100").Queue.Place)
	require.Nil(t, c.asks(session("other", "frank"), "l4").Short, "another pool has room")
	require.Nil(t, c.asks(session("soft", "grace"), "").Short, "without a GPU there is no pool")
	c.wakes()

	c.ends(a, "a100")
	require.True(t, c.placed["a100"]["first"])
	require.Equal(t, []string{"second", "third"}, c.wakes(), "the next is offered, one moves up")
	require.Nil(t, c.asks(second, "a100").Short)
	require.Equal(t, int32(2), c.asks(third, "a100").Queue.Place)
	c.now = c.now.Add(time.Second)
	require.Equal(t, int32(3), c.asks(session("late", "henry"), "a100").Queue.Place)
	c.room["a100"] = 10 // nodes come
	c.schedule("a100")
	require.Contains(t, c.wakes(), "third")
	require.Nil(t, c.asks(third, "a100").Short)
	require.Contains(t, c.wakes(), "late")
	require.Nil(t, c.asks(session("late", "henry"), "a100").Short)
	require.Empty(t, c.ledger.pools)
	require.Empty(t, c.ledger.queue)
}

// TestPatience: a head that never fits is passed over after a while, and keeps what it has.
func TestPatience(t *testing.T) {
	c := newCluster(t, map[string]int{"a100": 0})
	head, next := session("head", "alice"), session("next", "bob")
	require.Nil(t, c.asks(head, "a100").Short)
	require.NotNil(t, c.asks(next, "a100").Queue)
	require.Equal(t, 5*time.Minute, c.ledger.Stuck(head.NamespacedName, noon, c.now))
	c.wakes()
	c.now = noon.Add(5 * time.Minute)
	c.schedule("a100")
	require.Equal(t, []string{"next"}, c.wakes())
	require.Zero(t, c.ledger.Stuck(head.NamespacedName, noon, c.now))
	require.Nil(t, c.asks(next, "a100").Short)
	require.Equal(t, int64(1), c.ledger.used[poolLimit("a100")], "the next is offered; the head is passed over")
}

// TestPatienceDoubles: a cluster that is full for hours is not offered all who wait.
func TestPatienceDoubles(t *testing.T) {
	c := newCluster(t, map[string]int{"a100": 0})
	waiting := map[string]Session{}
	for i := range 200 {
		s := session(fmt.Sprintf("s%03d", i), fmt.Sprintf("user-%d", i))
		waiting[s.Name] = s
		c.asks(s, "a100")
	}
	for range 8 * 60 {
		c.now = c.now.Add(time.Minute)
		c.schedule("a100")
		c.goOn(waiting, "a100")
	}
	require.Len(t, c.pods["a100"], 7, "the first, and after 5, 10, 20, 40, 80 and 160 minutes one more")
	require.Len(t, c.ledger.queue, 200-7)
	c.room["a100"] = 200
	for range 200 {
		c.schedule("a100")
		c.goOn(waiting, "a100")
	}
	require.Len(t, c.placed["a100"], 200, "nobody is left behind")
	require.Empty(t, c.ledger.pools)
}

// TestSilence: a pod of which the scheduler says nothing is being bound, and one that is not
// there waits nowhere.
func TestSilence(t *testing.T) {
	c := newCluster(t, map[string]int{"a100": 0})
	head, next, third := session("head", "alice"), session("next", "bob"), session("third", "carol")
	at := func(s Session, p Placement, since time.Time) {
		c.wake(c.ledger.See(Seen{Session: s, Accepted: true, Run: desktop(1), Pool: "a100", Placed: p, Since: since, Now: c.now}))
	}
	c.asks(head, "a100")
	c.asks(next, "a100")
	c.asks(third, "a100")
	at(head, Placed, time.Time{})
	require.Contains(t, c.wakes(), "next")
	require.Nil(t, c.ask(Request{Session: next, Accepted: true, Run: desktop(1), Pool: "a100"}).Short)
	at(next, Asked, c.now)
	require.Equal(t, Silence, c.ledger.Stuck(next.NamespacedName, c.now, c.now))
	c.wakes()
	began := c.now
	c.now = c.now.Add(Silence)
	at(next, Asked, began)
	require.Equal(t, []string{"third"}, c.wakes())

	c = newCluster(t, map[string]int{"a100": 0})
	c.asks(head, "a100")
	c.asks(next, "a100")
	c.wakes()
	c.wake(c.ledger.See(Seen{Session: head, Accepted: true, Keeps: true, Now: c.now})) // its pod was deleted, and its start waits for something
	require.Equal(t, []string{"next"}, c.wakes())
}

// TestPoolIsRemembered: neither another quota nor another leader offers all who wait at once.
func TestPoolIsRemembered(t *testing.T) {
	c := newCluster(t, map[string]int{"a100": 0})
	head := session("head", "alice")
	c.asks(head, "a100")
	var queued []Answer
	for i := range 3 {
		queued = append(queued, c.asks(session(fmt.Sprint("s", i), fmt.Sprint("user-", i)), "a100"))
	}
	being := Seen{Session: head, Accepted: true, Run: desktop(1), Made: true, Pool: "a100", Placed: Asked, Since: c.now, Now: c.now}
	c.wake(c.ledger.See(Seen{Session: head, Accepted: true, Now: c.now}))
	c.wake(c.ledger.See(being)) // it was started again, and the scheduler has said nothing yet
	c.wakes()
	c.wake(c.ledger.SetQuotas([]vdi.VDIQuota{total(10)}, 1))
	require.NotContains(t, c.wakes(), "s2")

	another := newHouse(t)
	another.wake(another.ledger.See(being))
	for i, answer := range queued {
		another.ledger.Wait(session(fmt.Sprint("s", i), fmt.Sprint("user-", i)), desktop(1), *answer.Queue)
	}
	another.wake(another.ledger.SetQuotas(nil, 1))
	require.Equal(t, int32(4), another.ask(Request{Session: session("s2", "user-2"), Accepted: true, Run: desktop(1), Pool: "a100"}).Queue.Place)
}

// TestPoolPlaces: a place counts all who are offered, moves once for each that starts, and is
// kept up to date for the first ten that wait, however many are offered.
func TestPoolPlaces(t *testing.T) {
	const window = 12
	c := newCluster(t, map[string]int{"a100": 0})
	c.ledger.SetWindow(Window{Pods: window})
	sessions := map[string]Session{}
	for i := range window + 12 {
		s := session(fmt.Sprintf("s%02d", i), fmt.Sprint("user-", i))
		sessions[s.Name] = s
		answer := c.asks(s, "a100")
		if i >= window {
			require.Equal(t, int32(i+1), answer.Queue.Place, s.Name)
		}
	}
	c.wakes()
	c.room["a100"] = 1
	c.schedule("a100")
	woken := c.wakes()
	require.Equal(t, "s12", woken[0], "the next is offered")
	require.Nil(t, c.asks(sessions["s12"], "a100").Short)
	woken = append(woken, c.wakes()...)
	for i := window + 1; i < window+11; i++ {
		name := fmt.Sprintf("s%02d", i)
		require.Equal(t, int32(i), c.asks(sessions[name], "a100").Queue.Place)
		moves := 0
		for _, w := range woken {
			if w == name {
				moves++
			}
		}
		require.LessOrEqual(t, moves, 1, name)
	}
}
