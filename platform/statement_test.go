package platform

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	signingKey = ed25519.NewKeyFromSeed([]byte(strings.Repeat("a", ed25519.SeedSize)))
	otherKey   = ed25519.NewKeyFromSeed([]byte(strings.Repeat("b", ed25519.SeedSize)))
	issued     = time.Unix(1_800_000_000, 0)
)

const (
	statedUID  = "3f0e8a52-0f4d-4f7e-9d2e-3f4a5b6c7d8e"
	statedHost = "alice.vdi.example.com"
)

func statementOf(change func(*Statement)) Statement {
	s := Statement{
		SessionUID: statedUID, Host: statedHost, Identity: Identity("alice@example.com"),
		IssuedAt: issued.Unix(), Expires: issued.Add(time.Minute).Unix(),
	}
	if change != nil {
		change(&s)
	}
	return s
}

func signed(t testing.TB, change func(*Statement)) string {
	t.Helper()
	token, err := SignStatement(signingKey, statementOf(change))
	require.NoError(t, err)
	return token
}

func public(keys ...ed25519.PrivateKey) (all []ed25519.PublicKey) {
	for _, k := range keys {
		all = append(all, k.Public().(ed25519.PublicKey))
	}
	return all
}

func TestStatementRoundTrip(t *testing.T) {
	token := signed(t, nil)
	assert.Equal(t, token, signed(t, nil), "Ed25519 signs the same bytes the same way")
	for name, keys := range map[string][]ed25519.PublicKey{"one": public(signingKey), "after a rotation": public(otherKey, signingKey)} {
		got, err := VerifyStatement(token, keys, statedUID, statedHost, issued)
		require.NoError(t, err, name)
		want := statementOf(nil)
		want.Version = StatementVersion
		assert.Equal(t, want, got, name)
	}
}

func TestStatementRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change    func(*Statement)
		uid, host string
		now       time.Time
		keys      []ed25519.PublicKey
		want      string
	}{
		"another session": {uid: "other", want: "another session"},
		"another host":    {host: "bob.vdi.example.com", want: "another host"},
		"another key":     {keys: public(otherKey), want: "none of 1 keys"},
		"no key":          {keys: []ed25519.PublicKey{}, want: "none of 0 keys"},
		"expired":         {now: issued.Add(65 * time.Second), want: "has expired"},
		"from the future": {now: issued.Add(-6 * time.Second), want: "from the future"},
		"login over": {
			change: func(s *Statement) { s.LoginExpires = issued.Unix() },
			now:    issued.Add(5 * time.Second), want: "login behind it has ended",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if c.uid == "" {
				c.uid = statedUID
			}
			if c.host == "" {
				c.host = statedHost
			}
			if c.now.IsZero() {
				c.now = issued
			}
			if c.keys == nil {
				c.keys = public(signingKey)
			}
			_, err := VerifyStatement(signed(t, c.change), c.keys, c.uid, c.host, c.now)
			require.ErrorIs(t, err, ErrStatement)
			assert.ErrorContains(t, err, c.want)
		})
	}
}

func TestStatementLeeway(t *testing.T) {
	for _, now := range []time.Time{issued.Add(-5 * time.Second), issued.Add(65*time.Second - time.Nanosecond)} {
		_, err := VerifyStatement(signed(t, nil), public(signingKey), statedUID, statedHost, now)
		assert.NoError(t, err, "%s from issue", now.Sub(issued))
	}
}

func TestSignStatementRefuses(t *testing.T) {
	for name, change := range map[string]func(*Statement){
		"too long":    func(s *Statement) { s.Expires++ },
		"backwards":   func(s *Statement) { s.Expires = s.IssuedAt - 1 },
		"overflow":    func(s *Statement) { s.IssuedAt, s.Expires = -1<<63, 1<<62 },
		"no session":  func(s *Statement) { s.SessionUID = "" },
		"no host":     func(s *Statement) { s.Host = "" },
		"no identity": func(s *Statement) { s.Identity = "" },
		"bad login":   func(s *Statement) { s.LoginExpires = -1 },
	} {
		_, err := SignStatement(signingKey, statementOf(change))
		require.ErrorIs(t, err, ErrStatement, name)
	}
	_, err := SignStatement(signingKey[:10], statementOf(nil))
	require.ErrorIs(t, err, ErrStatement)
}

// A token may not choose its own algorithm, key or purpose.
func TestStatementForged(t *testing.T) {
	claims, err := json.Marshal(statementOf(func(s *Statement) { s.Version = StatementVersion }))
	require.NoError(t, err)
	parts := strings.Split(signed(t, nil), ".")
	b64 := base64.RawURLEncoding.EncodeToString
	for name, token := range map[string]string{
		"empty":            "",
		"alg none":         b64([]byte(`{"alg":"none","typ":"vdi-statement+jwt"}`)) + "." + b64(claims) + ".",
		"HMAC by key":      mac(t, claims),
		"own key":          ownKey(t, claims),
		"another purpose":  typed(t, "logout+jwt", claims),
		"other claims":     parts[0] + "." + b64([]byte(strings.Replace(string(claims), statedHost, "bob.vdi.example.com", 1))) + "." + parts[2],
		"two in one":       signed(t, nil) + "," + signed(t, nil),
		"a blank":          signed(t, nil) + " x",
		"no signature":     parts[0] + "." + parts[1] + ".",
		"claims no object": typed(t, "vdi-statement+jwt", []byte(`[]`)),
		"no claims":        typed(t, "vdi-statement+jwt", []byte(`{}`)),
		"next version":     typed(t, "vdi-statement+jwt", []byte(strings.Replace(string(claims), `"v":1`, `"v":2`, 1))),
		"a book":           strings.Repeat("a", 1<<20),
	} {
		_, err := VerifyStatement(token, public(signingKey), statedUID, statedHost, issued)
		require.ErrorIs(t, err, ErrStatement, name)
	}
	later := typed(t, "vdi-statement+jwt", []byte(strings.Replace(string(claims), `"v":1`, `"v":1,"new":true`, 1)))
	_, err = VerifyStatement(later, public(signingKey), statedUID, statedHost, issued)
	require.NoError(t, err, "claims of a later release are ignored")
}

func sign(t *testing.T, key jose.SigningKey, options *jose.SignerOptions, claims []byte) string {
	t.Helper()
	signer, err := jose.NewSigner(key, options)
	require.NoError(t, err)
	object, err := signer.Sign(claims)
	require.NoError(t, err)
	token, err := object.CompactSerialize()
	require.NoError(t, err)
	return token
}

func typed(t *testing.T, typ jose.ContentType, claims []byte) string {
	return sign(t, jose.SigningKey{Algorithm: jose.EdDSA, Key: signingKey}, (&jose.SignerOptions{}).WithType(typ), claims)
}

// mac uses the public key as the secret of an HMAC (RFC 8725 §2.1).
func mac(t *testing.T, claims []byte) string {
	return sign(t, jose.SigningKey{Algorithm: jose.HS256, Key: []byte(public(signingKey)[0])}, (&jose.SignerOptions{}).WithType("vdi-statement+jwt"), claims)
}

// ownKey brings the key that it is to be checked with.
func ownKey(t *testing.T, claims []byte) string {
	return sign(t, jose.SigningKey{Algorithm: jose.EdDSA, Key: otherKey}, (&jose.SignerOptions{EmbedJWK: true}).WithType("vdi-statement+jwt"), claims)
}

func TestParseStatementKey(t *testing.T) {
	der, err := x509.MarshalPKIXPublicKey(signingKey.Public())
	require.NoError(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	key, err := ParseStatementKey(text)
	require.NoError(t, err)
	assert.Equal(t, public(signingKey)[0], key)

	private, err := x509.MarshalPKCS8PrivateKey(signingKey)
	require.NoError(t, err)
	for name, bad := range map[string][]byte{
		"empty":     nil,
		"no PEM":    []byte("key"),
		"private":   pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		"two":       append(append([]byte{}, text...), text...),
		"truncated": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der[:10]}),
	} {
		_, err := ParseStatementKey(bad)
		require.ErrorIs(t, err, ErrStatement, name)
	}
}

func FuzzVerifyStatement(f *testing.F) {
	f.Add(signed(f, nil))
	f.Add("")
	f.Add("a.b.c")
	f.Add(signed(f, func(s *Statement) { s.Host = "x" }))
	good := signed(f, nil)
	f.Fuzz(func(t *testing.T, token string) {
		s, err := VerifyStatement(token, public(signingKey), statedUID, statedHost, issued)
		if err != nil {
			assert.ErrorIs(t, err, ErrStatement)
			return
		}
		// Nobody else has the key, so only the very claims that were signed pass.
		assert.Equal(t, strings.SplitN(good, ".", 3)[1], strings.SplitN(token, ".", 3)[1])
		assert.Equal(t, statedHost, s.Host)
	})
}
