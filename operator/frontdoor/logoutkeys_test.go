package frontdoor

import (
	"crypto/ed25519"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/platform"
)

// issuing is an identity provider that has the keys of these names.
type issuing struct {
	mutex sync.Mutex
	keys  []string
	asked int // for its keys
}

const issuer = "https://login.example.com"

func keyOf(name string) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte((name + strings.Repeat(".", ed25519.SeedSize))[:ed25519.SeedSize]))
}

func (i *issuing) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	var document any = map[string]any{"issuer": issuer, "jwks_uri": issuer + "/keys", "id_token_signing_alg_values_supported": []string{"EdDSA"}}
	if r.URL.Path == "/keys" {
		i.asked++
		keys := jose.JSONWebKeySet{}
		for _, name := range i.keys {
			keys.Keys = append(keys.Keys, jose.JSONWebKey{Key: keyOf(name).Public(), KeyID: name, Algorithm: "EdDSA", Use: "sig"})
		}
		document = keys
	}
	text, err := json.Marshal(document)
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(string(text))), Request: r,
	}, err
}

func (i *issuing) use(keys ...string) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	i.keys = keys
}

// logoutBy is a logout token that the key of that name has signed.
func logoutBy(t *testing.T, key string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: keyOf(key), KeyID: key}}, nil)
	require.NoError(t, err)
	claims, err := json.Marshal(map[string]any{
		"iss": issuer, "aud": "vdi", "sub": "alice", "iat": time.Now().Unix(), "jti": key, "events": map[string]any{logoutEvent: map[string]any{}},
	})
	require.NoError(t, err)
	token, err := signer.Sign(claims)
	require.NoError(t, err)
	text, err := token.CompactSerialize()
	require.NoError(t, err)
	return text
}

// TestForgedLogoutTokens: strangers' tokens make us ask for keys no more often than we
// would; tokens of keys that we know do not wait for them, and those of new keys wait once.
func TestForgedLogoutTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from := &issuing{keys: []string{"first"}}
		p := NewProvider(platform.OIDC{IssuerURL: issuer, ClientID: "vdi"}, nil, nil, "", from)
		holds := func(key string) (took time.Duration, err error) {
			token, began := logoutBy(t, key), time.Now()
			_, _, err = p.loggedOut(t.Context(), token, began)
			return time.Since(began), err
		}
		began := time.Now()
		for range 30 {
			_, err := holds("stranger")
			require.ErrorIs(t, err, errIdentity)
		}
		require.LessOrEqual(t, from.asked, 1+int(time.Since(began)/logoutKeysEvery))

		asked := from.asked
		var crowd sync.WaitGroup
		for range 100 {
			crowd.Go(func() { _, _ = holds("stranger") })
		}
		synctest.Wait() // they all wait for one answer
		took, err := holds("first")
		require.NoError(t, err)
		require.Zero(t, took, "a key that is known")
		from.use("first", "second")
		took, err = holds("second")
		require.NoError(t, err, "a new key counts from its first token on")
		require.LessOrEqual(t, took, logoutKeysEvery)
		crowd.Wait()
		require.LessOrEqual(t, from.asked, asked+2)

		time.Sleep(logoutKeysEvery)
		from.use("third")
		took, err = holds("third")
		require.NoError(t, err)
		require.Zero(t, took, "nobody has asked before")
	})
}

// TestWithdrawnLogoutKey: a key that the provider has no longer counts for a bounded time.
func TestWithdrawnLogoutKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from := &issuing{keys: []string{"first"}}
		p := NewProvider(platform.OIDC{IssuerURL: issuer, ClientID: "vdi"}, nil, nil, "", from)
		_, _, err := p.loggedOut(t.Context(), logoutBy(t, "first"), time.Now())
		require.NoError(t, err)
		from.use("second")
		time.Sleep(logoutKeysAge)
		_, _, err = p.loggedOut(t.Context(), logoutBy(t, "first"), time.Now())
		require.ErrorIs(t, err, errIdentity)
	})
}
