package frontdoor

import (
	"cmp"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// ErrKeys is the kind of every error about the folder of keys. Its texts name
// files, never contents.
var ErrKeys = errors.New("unusable keys")

const (
	// signingKey ends the name of a file with an Ed25519 private key (PKCS #8 in
	// PEM), cookieKey one with at least minCookieKey random bytes.
	signingKey, cookieKey = ".pem", ".key"
	// notYet begins the name of a key that is known but not used for anything
	// new: every replica and agent must know a key before the first one uses it.
	notYet = "next-"

	minCookieKey = 32 // bytes
)

// Keys sign statements for agents, and seal what is handed to browsers. The
// first of each is used for new things; all of them are good for old ones.
type Keys struct {
	signing []ed25519.PrivateKey
	sealing [][]byte
}

// ReadKeys reads a folder of keys. The file whose name sorts last holds the
// newest key of its kind. Errors are ErrKeys.
func ReadKeys(dir fs.FS) (Keys, error) {
	files, err := fs.ReadDir(dir, ".")
	if err != nil {
		return Keys{}, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	slices.SortFunc(files, func(a, b fs.DirEntry) int {
		return cmp.Or(cmp.Compare(rank(a.Name()), rank(b.Name())), cmp.Compare(b.Name(), a.Name()))
	})
	var k Keys
	for _, file := range files {
		if err := k.add(dir, file.Name()); err != nil {
			return Keys{}, err
		}
	}
	return k, k.check(files)
}

// rank puts keys that are not used yet behind all others.
func rank(file string) int {
	if strings.HasPrefix(file, notYet) {
		return 1
	}
	return 0
}

func (k *Keys) add(dir fs.FS, file string) error {
	if strings.HasPrefix(file, ".") || !strings.HasSuffix(file, signingKey) && !strings.HasSuffix(file, cookieKey) {
		return nil // the kubelet's own, or not a key
	}
	content, err := fs.ReadFile(dir, file)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrKeys, err)
	}
	if strings.HasSuffix(file, signingKey) {
		key, err := parseSigningKey(content)
		k.signing = append(k.signing, key)
		return wrapKey(file, err)
	}
	key, err := deriveSealingKey(content)
	k.sealing = append(k.sealing, key)
	return wrapKey(file, err)
}

func wrapKey(file string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: file %q: %w", ErrKeys, file, err)
}

// check wants one key of each kind that is in use already.
func (k *Keys) check(files []fs.DirEntry) error {
	for _, kind := range []struct{ suffix, remedy string }{
		{signingKey, "put an Ed25519 private key there, such as from 'openssl genpkey -algorithm ed25519'"},
		{cookieKey, "put 32 random bytes there, such as from 'openssl rand 32'"},
	} {
		inUse := func(f fs.DirEntry) bool {
			return strings.HasSuffix(f.Name(), kind.suffix) && rank(f.Name()) == 0 && !strings.HasPrefix(f.Name(), ".")
		}
		if !slices.ContainsFunc(files, inUse) {
			return fmt.Errorf("%w: no file NAME%s without %q before its name; %s", ErrKeys, kind.suffix, notYet, kind.remedy)
		}
	}
	return nil
}

func parseSigningKey(text []byte) (ed25519.PrivateKey, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("it is no PEM block PRIVATE KEY (PKCS #8)")
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, errors.New("it holds more than one key; put each into a file of its own")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("the key cannot be read")
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("the key is not an Ed25519 key")
	}
	return key, nil
}

// deriveSealingKey makes a key for AES-256 of a file's bytes (HKDF, RFC 5869).
func deriveSealingKey(content []byte) ([]byte, error) {
	if len(content) < minCookieKey {
		return nil, fmt.Errorf("it must hold at least %d random bytes", minCookieKey)
	}
	return hkdf.Key(sha256.New, content, nil, "vdi front door: cookies", sha256.Size)
}
