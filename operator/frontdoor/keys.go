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
	"maps"
	"slices"
	"strings"

	"github.com/vdi-platform/vdi-platform/platform"
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
	// statementKeys are the public halves of the signing keys: file name to PEM.
	statementKeys map[string]string
}

// ReadKeys reads a folder of keys. The file whose name sorts last holds the
// newest key of its kind. Errors are ErrKeys.
func ReadKeys(dir fs.FS) (Keys, error) {
	files, err := fs.ReadDir(dir, ".")
	if err != nil {
		return Keys{}, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	contents := map[string][]byte{}
	for _, file := range files {
		if !isKey(file.Name()) {
			continue
		}
		content, err := fs.ReadFile(dir, file.Name())
		if err != nil {
			return Keys{}, fmt.Errorf("%w: %w", ErrKeys, err)
		}
		contents[file.Name()] = content
	}
	return keysIn(contents)
}

// isKey leaves out the kubelet's own files, and what is no key.
func isKey(file string) bool {
	return !strings.HasPrefix(file, ".") && (strings.HasSuffix(file, signingKey) || strings.HasSuffix(file, cookieKey))
}

// keysIn are the keys in files, by name.
func keysIn(files map[string][]byte) (Keys, error) {
	names := slices.SortedFunc(maps.Keys(files), func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b, a))
	})
	names = slices.DeleteFunc(names, func(name string) bool { return !isKey(name) })
	k := Keys{statementKeys: map[string]string{}}
	for _, name := range names {
		if err := k.add(name, files[name]); err != nil {
			return Keys{}, fmt.Errorf("%w: file %q: %w", ErrKeys, name, err)
		}
	}
	return k, k.check(names)
}

// rank puts keys that are not used yet behind all others.
func rank(file string) int {
	if strings.HasPrefix(file, notYet) {
		return 1
	}
	return 0
}

func (k *Keys) add(file string, content []byte) error {
	if strings.HasSuffix(file, cookieKey) {
		key, err := deriveSealingKey(content)
		k.sealing = append(k.sealing, key)
		return err
	}
	key, err := parseSigningKey(content)
	if err != nil {
		return err
	}
	k.signing = append(k.signing, key)
	k.statementKeys[file], err = platform.FormatStatementKey(key)
	return err
}

// check wants one key of each kind that is in use already.
func (k *Keys) check(files []string) error {
	for _, kind := range []struct{ suffix, remedy string }{
		{signingKey, "put an Ed25519 private key there, such as from 'openssl genpkey -algorithm ed25519'"},
		{cookieKey, "put 32 random bytes there, such as from 'openssl rand 32'"},
	} {
		inUse := func(file string) bool { return strings.HasSuffix(file, kind.suffix) && rank(file) == 0 }
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
