package frontdoor

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// follower does one thing at the start and whenever something has changed, again and
// again until it works: people can be let in meanwhile.
type follower struct {
	do      func(context.Context) error
	failed  func(error)
	changed chan struct{}
}

func newFollower(do func(context.Context) error, failed func(error)) *follower {
	return &follower{do: do, failed: failed, changed: make(chan struct{}, 1)}
}

// enqueue asks for another go. It never waits.
func (f *follower) enqueue() {
	select {
	case f.changed <- struct{}{}:
	default: // one is due anyway
	}
}

// run ends with the context.
func (f *follower) run(ctx context.Context) error {
	for {
		f.untilDone(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-f.changed:
		}
	}
}

// untilDone tries less and less often, at once after another change, and never gives up:
// once the cap is reached, [wait.Backoff.Step] goes on to return it, while loops that count
// its steps end there.
func (f *follower) untilDone(ctx context.Context) {
	backoff := wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.1, Steps: 1 << 30, Cap: time.Minute}
	for {
		err := f.do(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		f.failed(err)
		select {
		case <-ctx.Done():
			return
		case <-f.changed:
		case <-time.After(backoff.Step()):
		}
	}
}
