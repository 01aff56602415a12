package bench

import (
	"context"

	"github.com/vdi-platform/vdi-platform/tests/scale"
)

// ours is the operator as the chart installs it.
func ours() contender {
	return contender{
		name: Ours, settings: "the chart's flags: --workers=8 --leader-elect, client unthrottled; sessions.verifyRoute=false",
		users: []string{scale.OperatorUser}, asked: "vdisessions", controller: "session",
		start: func(_ context.Context, b *bed) (*scale.Replica, error) { return b.operator.Start() },
		ask:   askSession, done: sessionsDone, is: sessionRuns, pod: samePod,
	}
}

// askSession is all that a user does.
func askSession(ctx context.Context, b *bed, i int) error {
	return b.Driver.Create(ctx, b.session(i))
}
