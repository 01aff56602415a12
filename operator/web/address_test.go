package web

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

func TestClientIP(t *testing.T) {
	r := &http.Request{Header: http.Header{}, RemoteAddr: "192.0.2.2:1234"}
	assert.Equal(t, "192.0.2.2", ClientIP(r), "nobody names a hop")
	r.Header["X-Forwarded-For"] = []string{"203.0.113.9, 198.51.100.1", "198.51.100.7"}
	assert.Equal(t, "198.51.100.7", ClientIP(r), "the last hop: those before are the visitor's own words")
	assert.Equal(t, "192.0.2.2", Peer(r))
	r.Header["X-Forwarded-For"] = []string{"nonsense"}
	assert.Equal(t, "192.0.2.2", ClientIP(r))
	r.RemoteAddr = "@"
	assert.Equal(t, "@", Peer(r))
}

func TestClientIPTakesTheLastHop(t *testing.T) {
	for given, want := range map[string]string{
		"": "10.0.0.1", "192.0.2.1": "192.0.2.1", "forged, 192.0.2.1": "192.0.2.1", "192.0.2.1, forged": "10.0.0.1", " 2001:db8::1 ": "2001:db8::1",
	} {
		r := &http.Request{RemoteAddr: "10.0.0.1:1234", Header: http.Header{"X-Forwarded-For": {given}}}
		assert.Equal(t, want, ClientIP(r), given)
	}
	r := &http.Request{RemoteAddr: "10.0.0.1:1234", Header: http.Header{"X-Forwarded-For": {"192.0.2.1", "192.0.2.2"}}}
	assert.Equal(t, "192.0.2.2", ClientIP(r))
}
