package wire

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
)

// PasswordVerifier is what the operator publishes instead of a session's password, and
// by which the front door judges one: its SHA-256 in base64. The password has 160 bits,
// so nobody finds it from there.
func PasswordVerifier(password string) string {
	sum := sha256.Sum256([]byte(password))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// IsPasswordVerifier reports whether a text can be one: others may write annotations.
func IsPasswordVerifier(text string) bool {
	_, valid := sumIn(text)
	return valid
}

// VerifyPassword reports whether a password is the one behind a verifier. It takes the
// same time whether there is a verifier or not.
func VerifyPassword(password, verifier string) bool {
	given := sha256.Sum256([]byte(password))
	want, valid := sumIn(verifier)
	return subtle.ConstantTimeCompare(given[:], want[:]) == 1 && valid
}

// sumIn is the hash in a verifier, and all zeros where the text is none.
func sumIn(verifier string) (sum [sha256.Size]byte, valid bool) {
	decoded, err := base64.StdEncoding.DecodeString(verifier)
	if err != nil || len(decoded) != len(sum) {
		return sum, false
	}
	return [sha256.Size]byte(decoded), true
}
