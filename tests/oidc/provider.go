// Package oidc runs a real OpenID Connect provider in process, over HTTP: the
// library and the sample server of github.com/zitadel/oidc, with people of the
// test's own.
package oidc

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// What the provider calls its one client, and everybody's password.
const (
	ClientID     = "vdi"
	ClientSecret = "client secret of the test"
	Password     = "password of the test"
)

// Person can log in at the provider.
type Person struct {
	// Email is the person's address and name at the provider.
	Email string
	// Unverified: the provider does not know whether the address is theirs.
	Unverified bool
}

// Provider is a running provider.
type Provider struct {
	// Issuer is its address.
	Issuer string
	nonce  atomic.Pointer[string]
}

// Start runs a provider on this machine's loopback until the test ends.
func Start(t *testing.T, redirect string, people ...Person) *Provider {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	p := &Provider{Issuer: "http://" + server.Listener.Addr().String()}
	p.serve(t, server, redirect, people)
	server.Start()
	return p
}

// StartTLS runs a provider at an address of this machine, for those who are
// elsewhere, with the certificate in tls.
func StartTLS(t *testing.T, address netip.Addr, tls *tls.Config, redirect string, people ...Person) *Provider {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", netip.AddrPortFrom(address, 0).String())
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(nil)
	require.NoError(t, server.Listener.Close())
	server.Listener, server.TLS = listener, tls
	p := &Provider{Issuer: "https://" + listener.Addr().String()}
	p.serve(t, server, redirect, people)
	server.StartTLS()
	return p
}

func (p *Provider) serve(t *testing.T, server *httptest.Server, redirect string, people []Person) {
	t.Helper()
	clients := map[string]*storage.Client{ClientID: storage.WebClient(ClientID, ClientSecret, redirect)}
	store := &liar{storage.NewStorageWithClients(users(people), clients), p}
	server.Config.Handler = exampleop.SetupServer(p.Issuer, store, slog.New(slog.DiscardHandler), false)
	t.Cleanup(server.Close)
}

// LieAboutNonce puts a nonce of the test's into all ID tokens from now on.
func (p *Provider) LieAboutNonce(nonce string) { p.nonce.Store(&nonce) }

// liar is the sample's storage, which can mix up two logins.
type liar struct {
	*storage.Storage
	provider *Provider
}

func (l *liar) CreateAuthRequest(ctx context.Context, request *oidc.AuthRequest, user string) (op.AuthRequest, error) {
	if nonce := l.provider.nonce.Load(); nonce != nil {
		request.Nonce = *nonce
	}
	return l.Storage.CreateAuthRequest(ctx, request, user)
}

var formID = regexp.MustCompile(`name="id" value="([^"]+)"`)

// LogIn fills in the provider's form, which the browser has reached, and returns
// the provider's answer. Redirects are followed as the browser does.
func (p *Provider) LogIn(t *testing.T, browser *http.Client, form *http.Response, email string) *http.Response {
	t.Helper()
	body, err := io.ReadAll(form.Body)
	require.NoError(t, err)
	require.NoError(t, form.Body.Close())
	require.True(t, strings.HasPrefix(form.Request.URL.String(), p.Issuer), "the browser is at %s", form.Request.URL)
	id := formID.FindSubmatch(body)
	require.NotNil(t, id, string(body))
	answer, err := browser.PostForm(p.Issuer+"/login/username", url.Values{"username": {email}, "password": {Password}, "id": {string(id[1])}})
	require.NoError(t, err)
	return answer
}

// users are people as the sample's storage knows them.
type users []Person

func (u users) find(email string) *storage.User {
	for _, person := range u {
		if person.Email == email {
			return &storage.User{ID: "id of " + email, Username: email, Password: Password, Email: email, EmailVerified: !person.Unverified}
		}
	}
	return nil
}

func (u users) GetUserByUsername(name string) *storage.User { return u.find(name) }

func (u users) GetUserByID(id string) *storage.User { return u.find(strings.TrimPrefix(id, "id of ")) }

func (u users) ExampleClientID() string { return ClientID }
