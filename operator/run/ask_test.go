package run

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A thousand ends in one second are confirmed with one question, each second anew.
func TestServerTimeIsAskedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		says, questions := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), 0
		c := &serverClock{ask: func(context.Context) (time.Time, error) {
			questions++
			return says, nil
		}}
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				now, err := c.now(t.Context())
				require.NoError(t, err)
				require.Equal(t, says, now)
			})
		}
		all.Wait()
		require.Equal(t, 1, questions)

		time.Sleep(serverTimeLifetime / 2)
		now, err := c.now(t.Context())
		require.NoError(t, err)
		require.Equal(t, says.Add(serverTimeLifetime/2), now, "our clock carries it on")
		require.Equal(t, 1, questions)

		says = says.Add(-time.Hour)
		time.Sleep(serverTimeLifetime / 2)
		now, err = c.now(t.Context())
		require.NoError(t, err)
		require.Equal(t, says, now)
		require.Equal(t, 2, questions)
	})
}

// What could not be asked is not made up.
func TestServerTimeIsNeverGuessed(t *testing.T) {
	t.Parallel()
	silent := errors.New("no route to host")
	c := &serverClock{ask: func(context.Context) (time.Time, error) { return time.Time{}, silent }}
	for range 2 {
		now, err := c.now(t.Context())
		require.ErrorIs(t, err, silent)
		require.Zero(t, now)
	}
}
