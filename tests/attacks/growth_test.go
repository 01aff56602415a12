package attacks

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/operator/frontdoor/ended"
	"github.com/vdi-platform/vdi-platform/operator/run"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
)

// logouts is what the front door writes of them, and how much that is.
type logouts struct {
	client.Client
	config        *rest.Config
	namespace     string
	writes, bytes atomic.Int64
}

// roundTrip counts writes.
func (l *logouts) roundTrip(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPatch {
			l.writes.Add(1)
			l.bytes.Add(r.ContentLength)
		}
		return next.RoundTrip(r)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

const endedLogins = "ended-logins"

func newLogouts(t *testing.T, w *world) *logouts {
	t.Helper()
	l := &logouts{config: w.RESTConfig()}
	l.config.QPS = -1
	l.config.Wrap(l.roundTrip)
	var err error
	l.Client, err = client.New(l.config, client.Options{Scheme: run.Scheme(), Mapper: w.Driver.RESTMapper()})
	require.NoError(t, err)
	home := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "logouts-"}}
	require.NoError(t, w.Driver.Create(t.Context(), home))
	l.namespace = home.Name
	t.Cleanup(func() { assert.NoError(t, w.Driver.Delete(context.WithoutCancel(t.Context()), home)) })
	names := []string{endedLogins}
	for n := range ended.Parts {
		names = append(names, ended.Store{Name: endedLogins}.Part(n).Name)
	}
	for _, name := range names {
		require.NoError(t, w.Driver.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: l.namespace}}))
	}
	return l
}

// list is the front door's own.
func (l *logouts) list(t *testing.T, lifetime time.Duration) *ended.List {
	t.Helper()
	list, err := ended.NewList(l.config, l, "front-door", ended.Store{Namespace: l.namespace, Name: endedLogins}, lifetime, time.Now)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- list.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		assert.NoError(t, <-over)
	})
	require.True(t, list.Ready(t.Context()))
	return list
}

// one writes a logout as it comes, as the first front doors did.
func (l *logouts) one(ctx context.Context, login ended.Login) error {
	patch, err := json.Marshal(map[string]any{"data": map[string]string{login.Name: strconv.FormatInt(login.Until.Unix(), 10)}})
	if err != nil {
		return err
	}
	list := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: endedLogins, Namespace: l.namespace}}
	return l.Patch(ctx, list, client.RawPatch(types.MergePatchType, patch))
}

// TestA35LogoutLoop: a program that logs in and out writes no cluster full, brings nobody's
// logout back, and does not keep its own user out.
func TestA35LogoutLoop(t *testing.T) {
	const lifetime, loop, programs = time.Hour, 5 * time.Second, 32
	_, w := worlds(t)
	// harm makes logins and logouts for a while, and says what came of it.
	harm := func(t *testing.T, l *logouts, stamp func(context.Context, string) (time.Time, error), end func(context.Context, ended.Login) error) string {
		t.Helper()
		began, all := time.Now(), sync.WaitGroup{}
		var number atomic.Int64
		for range programs {
			all.Go(func() {
				for time.Since(began) < loop {
					issued, err := stamp(t.Context(), "mallory")
					assert.NoError(t, err)
					login := ended.Login{Person: "mallory", Name: fmt.Sprint("login-", number.Add(1)), Issued: issued, Until: issued.Add(lifetime)}
					assert.NoError(t, end(t.Context(), login))
				}
			})
		}
		all.Wait()
		if most := int64(time.Since(began)/time.Second) + 1; l.writes.Load() > most {
			return fmt.Sprintf("%d logouts, %d writes of %d bytes", number.Load(), l.writes.Load(), l.bytes.Load())
		}
		return ""
	}
	ledger.Try(t, "logouts in a loop",
		func(t *testing.T) ledger.Outcome {
			t.Helper()
			l := newLogouts(t, w)
			now := func(context.Context, string) (time.Time, error) { return time.Now(), nil }
			did := harm(t, l, now, l.one)
			t.Log(did)
			return ledger.Judge(did != "", ledger.Runtime, did)
		},
		func(t *testing.T) ledger.Outcome {
			t.Helper()
			l := newLogouts(t, w)
			list := l.list(t, lifetime)
			victim := ended.Login{Person: "alice", Name: "stolen", Issued: time.Now(), Until: time.Now().Add(lifetime)}
			require.NoError(t, list.End(t.Context(), victim))
			l.writes.Store(0)
			did := harm(t, l, list.Stamp, list.End)
			for _, replica := range []*ended.List{list, l.list(t, lifetime)} {
				gone, err := replica.Ended(t.Context(), victim)
				require.NoError(t, err)
				if !gone {
					did += ", and a stolen login holds again"
				}
				issued, err := replica.Stamp(t.Context(), "mallory")
				require.NoError(t, err)
				gone, err = replica.Ended(t.Context(), ended.Login{Person: "mallory", Name: "new", Issued: issued, Until: issued.Add(lifetime)})
				require.NoError(t, err)
				if gone {
					did += ", and a new login does not hold"
				}
			}
			words := fmt.Sprintf("%d writes of %d bytes%s", l.writes.Load(), l.bytes.Load(), did)
			t.Log(words)
			return ledger.Judge(did != "", ledger.Runtime, words)
		})
}
