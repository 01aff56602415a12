package people

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"

	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/bcrypt"
)

// hashCost is the cost of the hashes we make, a quarter of a second or so of a processor;
// those of others may be between minCost and maxCost. Tests make it less.
var hashCost = 12

const (
	minCost = 10
	maxCost = 14
	// hashLength is that of a bcrypt hash, in bytes, the last digestLength are its digest.
	hashLength   = 60
	digestLength = 31
	// maxPassword is what bcrypt reads of a password, in bytes.
	maxPassword = 72
)

// makeHash is what to do about a hash that cannot be used.
const makeHash = "run: vdi-frontdoor hash NAME"

var (
	hashBegin = regexp.MustCompile(`\$2[abxy]?\$`)
	hashForm  = regexp.MustCompile(`^\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}$`)
)

// holdsHash reports whether a text may be a hash in the wrong place.
func holdsHash(text string) bool { return hashBegin.MatchString(text) }

// Hash is the bcrypt hash of a password.
func Hash(password []byte) (string, error) {
	if err := checkPassword(password); err != nil {
		return "", err
	}
	if bytes.ContainsAny(password, "\r\n") {
		return "", errors.New("the password has more than one line; give one")
	}
	hash, err := bcrypt.GenerateFromPassword(password, hashCost)
	if err != nil {
		return "", fmt.Errorf("hash the password: %w", err)
	}
	return string(hash), nil
}

// checkPassword refuses what bcrypt would take for another password: it repeats the key
// with a NUL at its end, so that "a" and "a\x00a" are one.
func checkPassword(password []byte) error {
	switch {
	case len(password) == 0:
		return errors.New("the password is empty; give one")
	case len(password) > maxPassword:
		return fmt.Errorf("the password has %d bytes; use a shorter one; bcrypt reads %d bytes", len(password), maxPassword)
	case bytes.IndexByte(password, 0) >= 0:
		return errors.New("the password holds a NUL byte; use one without")
	}
	return nil
}

// wrongHash is what is wrong with a hash; "" for nothing.
func wrongHash(hash string) string {
	switch {
	case hash == "":
		return "there is none; " + makeHash
	case hashBegin.FindStringIndex(hash) == nil || hash[0] != '$':
		return "it is no bcrypt hash, and a password must not stand here in plain text; " + makeHash
	case !hashForm.MatchString(hash) || !isDigest(hash[hashLength-digestLength:]):
		return fmt.Sprintf("it is damaged: copy all %d characters of a bcrypt hash ($2a$, $2b$ or $2y$), or %s", hashLength, makeHash)
	}
	if cost := costOf(hash); cost < minCost || cost > maxCost {
		return fmt.Sprintf("its cost must be %d to %d; %s", minCost, maxCost, makeHash)
	}
	return ""
}

// costOf is the cost of a hash; 0 for one that bcrypt does not know.
func costOf(hash string) int {
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil {
		return 0
	}
	return cost
}

// isDigest reports whether bcrypt can have written a text: bits that it does not use are 0.
func isDigest(text string) bool {
	const alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	_, err := base64.NewEncoding(alphabet).WithPadding(base64.NoPadding).Strict().DecodeString(text)
	return err == nil
}

// entry is a person in a file.
type entry struct {
	Name   string   `yaml:"name"`
	User   string   `yaml:"user,omitempty"`
	Hash   string   `yaml:"hash"`
	Groups []string `yaml:"groups,omitempty,flow"`
}

// Entry is a person with a new hash as a list has it below `people:`, in YAML.
func (p Person) Entry(password []byte) ([]byte, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	hash, err := Hash(password)
	if err != nil {
		return nil, err
	}
	return yaml.Marshal([]entry{{Name: p.Name, User: p.User, Hash: hash, Groups: p.Groups}})
}
