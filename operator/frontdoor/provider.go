package frontdoor

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"

	"github.com/vdi-platform/vdi-platform/operator/frontdoor/ended"
	"github.com/vdi-platform/vdi-platform/platform"
)

var (
	// errProvider: the identity provider does not answer, or not as it should.
	errProvider = errors.New("the identity provider cannot be used")
	// errIdentity: the identity provider answered, and we do not accept who it names.
	errIdentity = errors.New("the identity is not accepted")
)

// providerTimeout bounds one request to the identity provider.
const providerTimeout = 10 * time.Second

// groupsTimeout bounds the question for groups alone, without which a login goes on: where
// the userinfo endpoint cannot be reached, nobody waits for long.
const groupsTimeout = 3 * time.Second

// providerConnections is how many requests to the identity provider are under way at a
// time: strangers make us ask it.
const providerConnections = 32

// Provider logs people in at an OpenID Connect provider: authorization code flow
// with PKCE, state and nonce.
type Provider struct {
	settings platform.OIDC
	secret   func() (string, error)
	scopes   []string
	redirect string
	client   *http.Client
	logouts  *logoutTokens

	asking singleflight.Group
	found  atomic.Pointer[oidc.Provider]
}

// NewProvider prepares a provider; it is asked at the first login only, so that
// desktops stay reachable while it is down. The secret is read at each login, so
// that a new one needs no restart. Redirect is where the provider sends people
// back to.
func NewProvider(settings platform.OIDC, secret func() (string, error), scopes []string, redirect string, transport http.RoundTripper) *Provider {
	client := &http.Client{Transport: transport, Timeout: providerTimeout}
	return &Provider{
		settings: settings, secret: secret, scopes: scopes, redirect: redirect,
		client: client, logouts: newLogoutTokens(settings.ClientID, transport),
	}
}

// flow is what protects one login: it stays in the browser, sealed.
type flow struct{ state, nonce, verifier string }

func newFlow() flow { return flow{random(), random(), oauth2.GenerateVerifier()} }

// address is where a browser goes to log in. Afresh, the provider shall not go on with a
// login of its own: at a shared computer it may be that of the person before.
func (p *Provider) address(ctx context.Context, f flow, afresh bool) (string, error) {
	config, _, err := p.config(ctx)
	if err != nil {
		return "", err
	}
	options := []oauth2.AuthCodeOption{oidc.Nonce(f.nonce), oauth2.S256ChallengeOption(f.verifier)}
	if afresh {
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"))
	}
	return config.AuthCodeURL(f.state, options...), nil
}

// identity is who logged in: by the name that sessions are given to, and by the
// account that the name came from.
type identity struct {
	user    string
	account ended.Account
	// entry is the one of the list of people, in mode Local, which knows no accounts.
	entry string
	// groups are nil where they are not known; groupsErr says why they are not what the
	// provider knows.
	groups    []string
	groupsErr error
}

// account is the one of a subject at this provider. To another client the provider may
// name it otherwise (OpenID Connect Core §8.1).
func (p *Provider) account(subject string) ended.Account {
	return ended.Account{Provider: p.settings.IssuerURL + "\n" + p.settings.ClientID, Subject: subject}
}

// logoutAddress is where a browser logs out at the provider (OpenID Connect RP-Initiated
// Logout 1.0), "" where it has no such page, or has not been asked yet. It asks before it
// does so: we keep no ID token that would let it go without. No address to come back to
// is sent, since it would have to be registered.
func (p *Provider) logoutAddress(ctx context.Context) string {
	found, err := p.discover(ctx)
	if err != nil {
		return ""
	}
	var document struct {
		EndSession string `json:"end_session_endpoint"`
	}
	if err := found.Claims(&document); err != nil {
		return ""
	}
	address, err := url.Parse(document.EndSession)
	if err != nil || address.Host == "" || address.Scheme != "https" && !strings.HasPrefix(p.settings.IssuerURL, address.Scheme+"://") {
		return ""
	}
	query := address.Query()
	query.Set("client_id", p.settings.ClientID)
	address.RawQuery = query.Encode()
	return address.String()
}

// user exchanges a code for who logged in.
func (p *Provider) user(ctx context.Context, f flow, code string) (identity, error) {
	ctx = oidc.ClientContext(ctx, p.client)
	config, provider, err := p.config(ctx)
	if err != nil {
		return identity{}, err
	}
	token, err := config.Exchange(ctx, code, oauth2.VerifierOption(f.verifier))
	if err != nil {
		return identity{}, fmt.Errorf("%w: it does not accept the code: %w", errProvider, withoutBody(err))
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return identity{}, fmt.Errorf("%w: it sent no ID token; allow the scope openid for this client", errProvider)
	}
	id, err := provider.VerifierContext(ctx, &oidc.Config{ClientID: p.settings.ClientID}).Verify(ctx, raw)
	if err != nil {
		return identity{}, fmt.Errorf("%w: its ID token does not hold: %w", errIdentity, err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(f.nonce)) != 1 {
		return identity{}, fmt.Errorf("%w: the ID token was made for another login (nonce)", errIdentity)
	}
	return p.person(ctx, provider, id, oauth2.StaticTokenSource(token))
}

// person reads user and groups from the ID token, else asks the userinfo endpoint: where
// scopes asked for the claims, providers may answer them there only (OpenID
// Connect Core §5.4).
func (p *Provider) person(ctx context.Context, provider *oidc.Provider, id *oidc.IDToken, token oauth2.TokenSource) (who identity, err error) {
	who.account = p.account(id.Subject)
	sent := map[string]json.RawMessage{}
	if err := id.Claims(&sent); err != nil {
		return who, fmt.Errorf("%w: the claims cannot be read", errIdentity)
	}
	claims, mayAsk := sent, provider.UserInfoEndpoint() != ""
	if lacks(sent, p.settings.UserClaim) {
		if claims, err = userInfo(ctx, provider, id, token); err != nil {
			return who, fmt.Errorf("the ID token has no claim %q: %w", p.settings.UserClaim, err)
		}
		mayAsk = false
	}
	if who.user, err = userIn(claims, p.settings.UserClaim); err != nil || p.settings.GroupsClaim == "" {
		return who, err
	}
	switch {
	case namesGroups(sent, p.settings.GroupsClaim):
		claims = sent
	case mayAsk:
		ctx, cancel := context.WithTimeout(ctx, groupsTimeout)
		defer cancel()
		if claims, err = userInfo(ctx, provider, id, token); err != nil { // they can log in all the same
			who.groupsErr = fmt.Errorf("the ID token has no claim %q: %w", p.settings.GroupsClaim, err)
			return who, nil
		}
	}
	who.groups, who.groupsErr = groupsIn(claims, p.settings)
	return who, nil
}

// userInfo asks the userinfo endpoint.
func userInfo(ctx context.Context, provider *oidc.Provider, id *oidc.IDToken, token oauth2.TokenSource) (map[string]json.RawMessage, error) {
	claims := map[string]json.RawMessage{}
	info, err := provider.UserInfo(ctx, token)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: userinfo does not answer: %w", errProvider, withoutBody(err))
	case info.Subject != id.Subject:
		return nil, fmt.Errorf("%w: userinfo speaks of somebody else", errIdentity)
	case info.Claims(&claims) != nil:
		return nil, fmt.Errorf("%w: the claims cannot be read", errIdentity)
	}
	return claims, nil
}

// lacks reports whether claims leave open who the user is.
func lacks(claims map[string]json.RawMessage, claim string) bool {
	_, named := claims[claim]
	_, verified := claims[emailVerified]
	return !named || claim == platform.DefaultUserClaim && !verified
}

// emailVerified says of the claim email that it is really the person's (OpenID
// Connect Core §5.1).
const emailVerified = "email_verified"

// config is what the library needs for one login.
func (p *Provider) config(ctx context.Context) (*oauth2.Config, *oidc.Provider, error) {
	secret, err := p.secret()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: read the client secret: %w", errProvider, err)
	}
	found, err := p.discover(ctx)
	if err != nil {
		return nil, nil, err
	}
	return &oauth2.Config{
		ClientID: p.settings.ClientID, ClientSecret: secret, Endpoint: found.Endpoint(), RedirectURL: p.redirect, Scopes: p.scopes,
	}, found, nil
}

// discover asks the provider for its addresses. An answer is kept, a failure is
// not; many who log in at once ask once.
func (p *Provider) discover(ctx context.Context) (*oidc.Provider, error) {
	if found := p.found.Load(); found != nil {
		return found, nil
	}
	asked := p.asking.DoChan("", func() (any, error) {
		// The provider keeps this context for its keys, so it is no request's.
		return oidc.NewProvider(oidc.ClientContext(context.Background(), p.client), p.settings.IssuerURL)
	})
	select {
	case <-ctx.Done(): // nobody waits for the answer any more
		return nil, fmt.Errorf("%w: discovery: %w", errProvider, ctx.Err())
	case answer := <-asked:
		if answer.Err != nil {
			return nil, fmt.Errorf("%w: discovery: %w", errProvider, answer.Err)
		}
		p.found.Store(answer.Val.(*oidc.Provider))
		return answer.Val.(*oidc.Provider), nil
	}
}

// withoutBody keeps answers of the token endpoint out of the log: they could
// hold tokens.
func withoutBody(err error) error {
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) {
		return fmt.Errorf("status %d, error %q", refused.Response.StatusCode, refused.ErrorCode)
	}
	return err
}

// userIn is the user whom claims name. An e-mail address counts only where the
// provider says that it has verified it: else anybody could enter anybody's.
// Some providers write the word true in quotes.
func userIn(claims map[string]json.RawMessage, claim string) (string, error) {
	var user string
	if err := json.Unmarshal(claims[claim], &user); err != nil {
		return "", fmt.Errorf("%w: the claim %q is missing or no text; set access.oidc.userClaim to one that the provider sends, or add its scope", errIdentity, claim)
	}
	verified := string(claims[emailVerified])
	if claim == platform.DefaultUserClaim && verified != `true` && verified != `"true"` {
		return "", fmt.Errorf("%w: the provider has not verified the e-mail address", errIdentity)
	}
	if err := platform.ValidateUser(user); err != nil {
		return "", fmt.Errorf("%w: claim %q: %w", errIdentity, claim, err)
	}
	return user, nil
}
