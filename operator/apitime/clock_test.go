package apitime

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// server answers as an API server whose clock is so far ahead of ours.
type server struct {
	ahead   time.Duration
	latency func() time.Duration
}

func (s *server) RoundTrip(*http.Request) (*http.Response, error) {
	time.Sleep(s.latency())
	answer := &http.Response{Header: http.Header{}}
	answer.Header.Set("Date", time.Now().Add(s.ahead).UTC().Format(http.TimeFormat))
	time.Sleep(s.latency())
	return answer, nil
}

// off is how far a clock is from the server's.
func (s *server) off(c *Clock) time.Duration { return c.Now().Sub(time.Now().Add(s.ahead)).Abs() }

// The clock follows the API server's, however wrong this machine's is, as
// exactly as the header and the way allow.
func TestClockFollowsTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		latency := func() time.Duration { return time.Duration(r.Int64N(int64(50 * time.Millisecond))) }
		for range 200 {
			s := &server{ahead: time.Duration(r.Int64N(int64(1000*time.Hour))) - 500*time.Hour, latency: latency}
			c := New()
			for range 3 {
				_, err := c.Listen(s).RoundTrip(nil)
				require.NoError(t, err)
				require.LessOrEqual(t, s.off(c), resolution+100*time.Millisecond)
				time.Sleep(time.Duration(r.Int64N(int64(time.Minute))))
			}
			s.ahead -= time.Duration(r.Int64N(int64(time.Hour))) // an administrator sets it
			_, err := c.Listen(s).RoundTrip(nil)
			require.NoError(t, err)
			require.LessOrEqual(t, s.off(c), resolution+100*time.Millisecond)
			before := c.Now()
			time.Sleep(time.Hour)
			require.Equal(t, time.Hour, c.Since(before), "it goes on by itself")
		}
	})
}

// A clock that agrees is left alone: what is counted by it does not tremble.
func TestAgreeingClockIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := &server{latency: func() time.Duration { return time.Millisecond }}, New()
		for range 100 {
			_, err := c.Listen(s).RoundTrip(nil)
			require.NoError(t, err)
			require.Zero(t, s.off(c))
			time.Sleep(777 * time.Millisecond)
		}
	})
}

// Answers without a time, and none, teach nothing.
func TestNothingToLearn(t *testing.T) {
	c := New()
	lost := errors.New("connection lost")
	_, err := c.Listen(transport(func(*http.Request) (*http.Response, error) { return nil, lost })).RoundTrip(nil)
	require.ErrorIs(t, err, lost)
	for _, date := range []string{"", "yesterday"} {
		_, err := c.Listen(transport(func(*http.Request) (*http.Response, error) {
			return &http.Response{Header: http.Header{"Date": {date}}}, nil
		})).RoundTrip(nil)
		require.NoError(t, err)
	}
	require.WithinDuration(t, time.Now(), c.Now(), time.Minute)
}
