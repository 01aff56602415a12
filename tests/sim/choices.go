package sim

import "math/rand/v2"

// choices are bytes of which every step reads what happens next. Where they end,
// everything is 0, which is always the plainest choice.
type choices struct {
	given []byte
	more  *rand.Rand // nil: the given ones are all
	read  int
}

// seeded are as many choices as are asked for.
func seeded(seed uint64) *choices {
	return &choices{more: rand.New(rand.NewPCG(seed, seed))} //nolint:gosec // to be repeated, not to be secret
}

// byte is the next choice.
func (c *choices) byte() byte {
	switch {
	case c.read < len(c.given):
		c.read++
		return c.given[c.read-1]
	case c.more != nil:
		c.read++
		return byte(c.more.UintN(256))
	default:
		return 0
	}
}

// of is one of n.
func (c *choices) of(n int) int { return int(c.byte()) % n }

// rarely is true once in so many times; 256 at most.
func (c *choices) rarely(in int) bool { return int(c.byte()) >= 256-256/in }
