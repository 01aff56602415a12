package session

import (
	"context"
	"errors"

	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
)

// errEnded ends a pass whose session the operator has just deleted.
var errEnded = errors.New("session ended")

// step is a part of a pass. It stops the pass by returning a *verdict.Verdict.
type step func(context.Context, *plan.Pass) error

// take takes the steps in order until one stops the pass or fails.
func take(ctx context.Context, p *plan.Pass, steps ...step) error {
	for _, step := range steps {
		err := step(ctx, p)
		var h *verdict.Verdict
		if errors.As(err, &h) {
			p.StoppedBy = h
			p.LookAgainAfter(h.Retry)
			return nil
		}
		if errors.Is(err, errEnded) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// forTheNextStart takes the steps that a start needs. What stops one of them keeps
// a desktop from starting; one that lives, and one that is to stop, only report
// it: nothing that may be refused disturbs a desktop or holds up an end.
func forTheNextStart(steps ...step) step {
	return func(ctx context.Context, p *plan.Pass) error {
		for _, step := range steps {
			err := step(ctx, p)
			var h *verdict.Verdict
			if errors.As(err, &h) && p.MayBeRefused() {
				p.Refuse(h)
				return nil
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}
