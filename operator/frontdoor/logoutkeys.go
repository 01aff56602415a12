package frontdoor

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/time/rate"
)

const (
	// logoutKeysEvery is how often a replica asks the provider for the keys of logout
	// tokens. Anybody may send one that names a key which we do not know.
	logoutKeysEvery = 2 * time.Second
	// logoutKeysAge is how long a key counts that the provider has withdrawn.
	logoutKeysAge = 5 * time.Minute
)

// logoutTokens verifies logout tokens. It keeps the provider's keys and asks for them anew
// when a token holds by none of them. Such tokens wait for a common answer, so that a new
// key counts from its first token on, [logoutKeysEvery] late at most, and those of keys
// that we know wait for nothing. Logins have keys of their own: nobody comes to these
// without a code of the provider's.
type logoutTokens struct {
	client *http.Client
	config *oidc.Config

	mutex    sync.Mutex
	verifier *oidc.IDTokenVerifier
	until    time.Time
}

func newLogoutTokens(clientID string, transport http.RoundTripper) *logoutTokens {
	return &logoutTokens{
		client: &http.Client{
			Transport: slowly{transport, rate.NewLimiter(rate.Every(logoutKeysEvery), 1)},
			Timeout:   logoutKeysEvery + providerTimeout,
		},
		// A token's age is judged by us: earlier editions of the standard had no exp.
		config: &oidc.Config{ClientID: clientID, SkipExpiryCheck: true},
	}
}

// of is the verifier of the provider's tokens.
func (l *logoutTokens) of(provider *oidc.Provider, now time.Time) *oidc.IDTokenVerifier {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.verifier == nil || !now.Before(l.until) {
		// The verifier keeps this context for its requests, so it is no request's.
		l.verifier = provider.VerifierContext(oidc.ClientContext(context.Background(), l.client), l.config)
		l.until = now.Add(logoutKeysAge)
	}
	return l.verifier
}

// slowly lets requests go when it is their turn.
type slowly struct {
	http.RoundTripper
	turns *rate.Limiter
}

// RoundTrip implements http.RoundTripper.
func (s slowly) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := s.turns.Wait(r.Context()); err != nil {
		return nil, err
	}
	return s.RoundTripper.RoundTrip(r)
}
