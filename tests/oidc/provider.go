// Package oidc runs a real OpenID Connect provider in process, over HTTP: the
// library and the sample server of github.com/zitadel/oidc, with people of the
// test's own.
package oidc

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
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
	// Account is what the provider calls the account (the claim sub); by default one of
	// the address.
	Account string
	// Groups of the person (the claim groups); nil: the provider sends no such claim.
	Groups []string
	// The ID token says the address, or the groups; else userinfo alone does, which may
	// answer nothing.
	EmailInToken, GroupsInToken, NoUserInfo bool
}

func (p Person) account() string {
	if p.Account != "" {
		return p.Account
	}
	return "id of " + p.Email
}

// Provider is a running provider.
type Provider struct {
	// Issuer is its address.
	Issuer string
	nonce  atomic.Pointer[string]
	store  *storage.Storage
	people *users
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
	p.people = &users{people: people}
	p.store = storage.NewStorageWithClients(p.people, clients)
	store := &liar{p.store, p}
	server.Config.Handler = exampleop.SetupServer(p.Issuer, store, slog.New(slog.DiscardHandler), false)
	t.Cleanup(server.Close)
}

// Replace makes an account of somebody's anew, under another name of the provider's.
func (p *Provider) Replace(person Person) {
	p.people.mu.Lock()
	defer p.people.mu.Unlock()
	for i := range p.people.people {
		if p.people.people[i].Email == person.Email {
			p.people.people[i] = person
		}
	}
}

// LogoutToken is what the provider sends when an account has logged out (OpenID Connect
// Back-Channel Logout 1.0 §2.4); change may spoil it.
func (p *Provider) LogoutToken(t *testing.T, account string, now time.Time, change func(claims, header map[string]any)) string {
	t.Helper()
	claims := map[string]any{
		"iss": p.Issuer, "sub": account, "aud": ClientID, "iat": now.Unix(), "exp": now.Add(2 * time.Minute).Unix(), "jti": "one of its own",
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}
	header := map[string]any{"typ": "logout+jwt"}
	if change != nil {
		change(claims, header)
	}
	key, err := p.store.SigningKey(t.Context())
	require.NoError(t, err)
	options := &jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{}}
	for name, value := range header {
		options.ExtraHeaders[jose.HeaderKey(name)] = value
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: key.SignatureAlgorithm(), Key: jose.JSONWebKey{Key: key.Key(), KeyID: key.ID()}}, options)
	require.NoError(t, err)
	content, err := json.Marshal(claims)
	require.NoError(t, err)
	signed, err := signer.Sign(content)
	require.NoError(t, err)
	token, err := signed.CompactSerialize()
	require.NoError(t, err)
	return token
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

// SetUserinfoFromRequest adds to an ID token.
func (l *liar) SetUserinfoFromRequest(ctx context.Context, info *oidc.UserInfo, request op.IDTokenRequest, scopes []string) error {
	err := l.Storage.SetUserinfoFromRequest(ctx, info, request, scopes)
	if p, found := l.provider.people.byAccount(request.GetSubject()); found {
		if p.EmailInToken {
			info.Email, info.EmailVerified = p.Email, oidc.Bool(!p.Unverified)
		}
		if p.GroupsInToken {
			info.AppendClaims("groups", p.Groups)
		}
	}
	return err
}

// SetUserinfoFromToken answers who an access token is about.
func (l *liar) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, token, subject, origin string) error {
	p, found := l.provider.people.byAccount(subject)
	if found && p.NoUserInfo {
		return errors.New("userinfo is out of order")
	}
	if found && p.Groups != nil && !p.GroupsInToken {
		info.AppendClaims("groups", p.Groups)
	}
	return l.Storage.SetUserinfoFromToken(ctx, info, token, subject, origin)
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
type users struct {
	mu     sync.Mutex
	people []Person
}

func (u *users) byAccount(account string) (Person, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	i := slices.IndexFunc(u.people, func(p Person) bool { return p.account() == account })
	if i < 0 {
		return Person{}, false
	}
	return u.people[i], true
}

func (u *users) find(is func(Person) bool) *storage.User {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, p := range u.people {
		if is(p) {
			return &storage.User{ID: p.account(), Username: p.Email, Password: Password, Email: p.Email, EmailVerified: !p.Unverified}
		}
	}
	return nil
}

func (u *users) GetUserByUsername(name string) *storage.User {
	return u.find(func(p Person) bool { return p.Email == name })
}

func (u *users) GetUserByID(id string) *storage.User {
	return u.find(func(p Person) bool { return p.account() == id })
}

func (u *users) ExampleClientID() string { return ClientID }
