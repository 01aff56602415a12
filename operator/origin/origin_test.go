package origin

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestHost(t *testing.T) {
	for header, want := range map[string]string{
		"alice.example.com":       "alice.example.com",
		"ALICE.example.com:8443":  "alice.example.com",
		"alice.example.com:https": "",
		"":                        "",
	} {
		assert.Equal(t, want, Host(header), header)
	}
}

func TestAddress(t *testing.T) {
	r := &http.Request{Header: http.Header{}, RemoteAddr: "192.0.2.2:1234"}
	assert.Equal(t, "192.0.2.2", Address(r), "nobody tells of a hop")
	r.Header["X-Forwarded-For"] = []string{"203.0.113.9, 198.51.100.1", "198.51.100.7"}
	assert.Equal(t, "198.51.100.7", Address(r), "the last hop: those before are the visitor's own words")
	assert.Equal(t, "192.0.2.2", Peer(r))
	r.Header["X-Forwarded-For"] = []string{"nonsense"}
	assert.Equal(t, "192.0.2.2", Address(r))
	r.RemoteAddr = "@"
	assert.Equal(t, "@", Peer(r))
}
