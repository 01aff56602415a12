package proxycheck

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	now, asked := time.Unix(1_000_000, 0), []string{}
	var passes bool
	var failure error
	c := NewCheck(platform.Config{})
	c.log, c.now = logr.Discard(), func() time.Time { return now }
	c.passes = func(_ context.Context, host string) (bool, error) {
		asked = append(asked, host)
		return passes, failure
	}
	look := func(host string) []string {
		asked = nil
		c.Look(t.Context(), host)
		return asked
	}
	failure = errors.New("an agent of the release before")
	assert.Equal(t, []string{"a"}, look("a"))
	assert.Zero(t, testutil.CollectAndCount(c.unsafe), "nothing is known, nothing is said")
	passes, failure = true, nil
	assert.Equal(t, []string{"b"}, look("b"), "asked again, because nobody has answered")
	assert.InDelta(t, 1, testutil.ToFloat64(c.unsafe), 0)
	passes = false
	assert.Empty(t, look("c"), "an answer holds for an hour")
	now = now.Add(holds)
	assert.Equal(t, []string{"d"}, look("d"))
	assert.InDelta(t, 0, testutil.ToFloat64(c.unsafe), 0)
	now, failure = now.Add(holds), errors.New("away")
	look("e")
	assert.InDelta(t, 0, testutil.ToFloat64(c.unsafe), 0, "the last answer stands")
}

// TestAsksNobodyIdle: a question follows a desktop that has come up.
func TestAsksNobodyIdle(t *testing.T) {
	t.Parallel()
	answers := make(chan string)
	c := NewCheck(platform.Config{Sessions: platform.Sessions{Domain: "vdi.example.com"}, Access: platform.Access{Mode: wire.AccessOIDC}})
	c.passes = func(_ context.Context, host string) (bool, error) {
		answers <- host
		return false, nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- c.Start(ctx) }()
	silent := errors.New("no route yet")
	probe := c.After(func(_ context.Context, q platform.RouteQuestion) error {
		if q.Path == "/silent" {
			return silent
		}
		return nil
	})
	require.ErrorIs(t, probe(ctx, platform.RouteQuestion{Host: "alice", Path: "/silent"}), silent)
	select {
	case host := <-answers:
		require.Fail(t, "asked for "+host)
	case <-time.After(20 * time.Millisecond):
	}
	require.NoError(t, probe(ctx, platform.RouteQuestion{Host: "alice", Path: "/"}))
	assert.Equal(t, "auth.vdi.example.com", <-answers, "the front door answers where no stranger gets through to an agent")
	cancel()
	require.NoError(t, <-done)
	assert.Nil(t, c.After(nil), "sessions.verifyRoute is off")
}
