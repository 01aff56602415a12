package httpserver

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func listening(t *testing.T, h http.HandlerFunc) Listening {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return Listening{New(Guard(h), slog.New(slog.DiscardHandler), 4<<10), l}
}

// TestServeDrains: what is under way at the end is answered, after drain has been called.
func TestServeDrains(t *testing.T) {
	drained, asked := make(chan struct{}), make(chan struct{})
	slow := listening(t, func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-drained
		_, _ = io.WriteString(w, "done")
	})
	other := listening(t, func(http.ResponseWriter, *http.Request) {})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, []Listening{slow, other}, func(context.Context) { close(drained) }) }()
	answered := make(chan string, 1)
	go func() {
		answer, err := http.Get("http://" + slow.Listener.Addr().String())
		if err != nil {
			answered <- err.Error()
			return
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		answered <- string(text)
	}()
	<-asked
	cancel()
	require.NoError(t, <-ended)
	assert.Equal(t, "done", <-answered)
	_, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", other.Listener.Addr().String())
	assert.Error(t, err, "it does not listen any more")
}

// TestServeEndsTogether: where one listener fails, the others end, too.
func TestServeEndsTogether(t *testing.T) {
	broken, other := listening(t, nil), listening(t, func(http.ResponseWriter, *http.Request) {})
	require.NoError(t, broken.Listener.Close())
	require.ErrorIs(t, Serve(t.Context(), []Listening{broken, other}, nil), net.ErrClosed)
	_, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", other.Listener.Addr().String())
	assert.Error(t, err)
}
