package wire_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

func TestPasswordVerifier(t *testing.T) {
	verifier := wire.PasswordVerifier("secret")
	assert.Equal(t, "K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=", verifier, "operators and front doors of other releases know it")
	assert.True(t, wire.IsPasswordVerifier(verifier))
	assert.True(t, wire.VerifyPassword("secret", verifier))
	for _, other := range []string{"", "Secret", "secret ", verifier} {
		assert.False(t, wire.VerifyPassword(other, verifier), other)
	}
}

// TestNotAVerifier: what is none opens nothing, whatever the password.
func TestNotAVerifier(t *testing.T) {
	for _, text := range []string{"", "K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols", "K7gN", strings.Repeat("A", 44), wire.PasswordVerifier("secret") + "AAAA"} {
		assert.False(t, wire.IsPasswordVerifier(text), text)
		for _, password := range []string{"", "secret", text, strings.Repeat("\x00", 32)} {
			assert.False(t, wire.VerifyPassword(password, text), text)
		}
	}
}
