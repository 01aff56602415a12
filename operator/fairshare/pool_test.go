package fairshare

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
	c.ledger.Window.Patience = 5 * time.Minute
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
