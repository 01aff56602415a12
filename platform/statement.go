package platform

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

const (
	// StatementVersion is the version of the claims. Agents of the release
	// before know them too; they ignore claims that are new to them.
	StatementVersion = 1
	// MaxStatementAge is how long a statement may be valid.
	MaxStatementAge = 60 * time.Second
	// StatementLeeway is how far two machines' clocks may differ.
	StatementLeeway = 5 * time.Second

	// statementType keeps tokens that the same key signs for other purposes apart
	// (RFC 8725 §3.11).
	statementType = "vdi-statement+jwt"
	maxStatement  = 4 << 10 // bytes; a statement has a few hundred
)

// ErrStatement is the kind of every error about a statement. Its texts repeat
// nothing of the statement.
var ErrStatement = errors.New("invalid statement")

// Statement is what the front door says about a visitor to the agent of one
// session: a compact JWS (RFC 7515) with EdDSA over Ed25519 (RFC 8037). Times
// are in seconds since 1970.
type Statement struct {
	Version int `json:"v"`
	// SessionUID and Host name the one session that the statement is for.
	SessionUID string `json:"uid"`
	Host       string `json:"host"`
	// Identity is the visitor's, see [Identity]; never the user as text.
	Identity string `json:"identity"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	// LoginExpires is when the login behind the statement ends, and with it
	// every stream; 0: the agent's own limit alone applies.
	LoginExpires int64 `json:"loginExp,omitempty"`
}

// SignStatement returns the statement as a header value. It must be valid for
// at most MaxStatementAge.
func SignStatement(key ed25519.PrivateKey, s Statement) (string, error) {
	s.Version = StatementVersion
	if err := s.complete(); err != nil {
		return "", err
	}
	if len(key) != ed25519.PrivateKeySize {
		return "", fmt.Errorf("%w: the key is not an Ed25519 private key", ErrStatement)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: key}, (&jose.SignerOptions{}).WithType(statementType))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrStatement, err)
	}
	claims, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrStatement, err)
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrStatement, err)
	}
	return signed.CompactSerialize()
}

// VerifyStatement returns the claims of a header value that one of the keys
// signed for this session and host, and that is valid now.
func VerifyStatement(token string, keys []ed25519.PublicKey, sessionUID, host string, now time.Time) (Statement, error) {
	claims, err := signedClaims(token, keys)
	if err != nil {
		return Statement{}, err
	}
	var s Statement
	if err := json.Unmarshal(claims, &s); err != nil {
		return Statement{}, fmt.Errorf("%w: its claims cannot be read", ErrStatement)
	}
	if err := s.complete(); err != nil {
		return Statement{}, err
	}
	return s, s.holds(sessionUID, host, now)
}

// signedClaims returns what one of the keys signed. The algorithm is fixed: what
// a token says about its own key or algorithm counts for nothing.
func signedClaims(token string, keys []ed25519.PublicKey) ([]byte, error) {
	if len(token) > maxStatement {
		return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrStatement, maxStatement)
	}
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return nil, fmt.Errorf("%w: it is no compact JWS with EdDSA", ErrStatement)
	}
	if typ := jws.Signatures[0].Protected.ExtraHeaders[jose.HeaderType]; typ != statementType {
		return nil, fmt.Errorf("%w: its type is not %s", ErrStatement, statementType)
	}
	for _, key := range keys {
		if claims, err := jws.Verify(key); err == nil {
			return claims, nil
		}
	}
	return nil, fmt.Errorf("%w: none of %d keys signed it", ErrStatement, len(keys))
}

// complete checks what does not depend on the reader.
func (s Statement) complete() error {
	switch {
	case s.Version != StatementVersion:
		return fmt.Errorf("%w: its version is not %d", ErrStatement, StatementVersion)
	case s.SessionUID == "" || s.Host == "" || s.Identity == "":
		return fmt.Errorf("%w: uid, host and identity are required", ErrStatement)
	// The first two also keep the difference from overflowing.
	case s.IssuedAt <= 0 || s.Expires < s.IssuedAt || s.Expires-s.IssuedAt > int64(MaxStatementAge/time.Second):
		return fmt.Errorf("%w: it must be valid for at most %s", ErrStatement, MaxStatementAge)
	case s.LoginExpires < 0:
		return fmt.Errorf("%w: loginExp is negative", ErrStatement)
	}
	return nil
}

// holds checks the statement for one session at one time.
func (s Statement) holds(sessionUID, host string, now time.Time) error {
	switch {
	case s.SessionUID != sessionUID:
		return fmt.Errorf("%w: it is for another session", ErrStatement)
	case s.Host != host:
		return fmt.Errorf("%w: it is for another host", ErrStatement)
	case time.Unix(s.IssuedAt, 0).After(now.Add(StatementLeeway)):
		return fmt.Errorf("%w: it is from the future; compare the clocks of the front door and of this node", ErrStatement)
	case !now.Before(time.Unix(s.Expires, 0).Add(StatementLeeway)):
		return fmt.Errorf("%w: it has expired", ErrStatement)
	case s.LoginExpires != 0 && !now.Before(time.Unix(s.LoginExpires, 0).Add(StatementLeeway)):
		return fmt.Errorf("%w: the login behind it has ended", ErrStatement)
	}
	return nil
}

// FormatStatementKey writes the public half of a key as [ParseStatementKey] reads it.
func FormatStatementKey(key ed25519.PrivateKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "", fmt.Errorf("%w: its public half cannot be written", ErrStatement)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: wire.PEMPublicKey, Bytes: der})), nil
}

// ParseStatementKey reads one Ed25519 public key in PEM ("PUBLIC KEY", RFC 8410).
func ParseStatementKey(text []byte) (ed25519.PublicKey, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != wire.PEMPublicKey {
		return nil, fmt.Errorf("%w: a key must be one PEM block %s", ErrStatement, wire.PEMPublicKey)
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, fmt.Errorf("%w: a file must hold one key; put others into files of their own", ErrStatement)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: the key cannot be read", ErrStatement)
	}
	key, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: the key is not an Ed25519 key", ErrStatement)
	}
	return key, nil
}
