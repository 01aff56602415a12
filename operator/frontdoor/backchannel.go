package frontdoor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/ended"
	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/operator/proxycheck"
	"github.com/vdi-platform/vdi-platform/operator/web"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// When somebody logs out at the identity provider, or their account is locked there,
// the provider says so itself (OpenID Connect Back-Channel Logout 1.0): all logins of
// that account end, in all browsers, and the streams that came by them.

const (
	// maxLogoutToken bounds the provider's message, in bytes.
	maxLogoutToken = 16 << 10
	// maxLogoutAge is how old a logout token may be. A copy of it ends nothing that the
	// first has not: what it ends depends on the token's own time alone.
	maxLogoutAge = 10 * time.Minute
	// clockSkew is how far the clocks of the provider and of our replicas may differ. A
	// login that begins after a logout counts all the same, see [ended.List.Stamp].
	clockSkew = time.Minute
	// closersAtOnce is how many desktops are asked at a time to close streams,
	// closeTimeout how long one may take, closingTimeout how long all may.
	closersAtOnce  = 16
	closeTimeout   = 5 * time.Second
	closingTimeout = 30 * time.Second

	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
)

// logoutClaims are the claims of a logout token (§2.4) that an ID token lacks, or has
// where a logout token must not.
type logoutClaims struct {
	Events map[string]json.RawMessage `json:"events"`
	Nonce  *string                    `json:"nonce"`
}

// loggedOut returns whom a logout token of the provider names, and when it was made.
func (p *Provider) loggedOut(ctx context.Context, raw string, now time.Time) (ended.Account, time.Time, error) {
	provider, err := p.discover(ctx)
	if err != nil {
		return ended.Account{}, time.Time{}, err
	}
	token, err := p.logouts.of(provider, now).Verify(ctx, raw)
	if err != nil {
		return ended.Account{}, time.Time{}, fmt.Errorf("%w: the logout token does not hold: %w", errIdentity, err)
	}
	var claims logoutClaims
	if err := token.Claims(&claims); err != nil {
		return ended.Account{}, time.Time{}, fmt.Errorf("%w: the logout token's claims cannot be read", errIdentity)
	}
	_, event := claims.Events[logoutEvent]
	switch {
	case !event || claims.Nonce != nil:
		err = errors.New("it is no logout token")
	case token.Subject == "":
		err = errors.New("it names nobody (sub); let the provider send sub")
	case token.IssuedAt.Before(now.Add(-maxLogoutAge)) || token.IssuedAt.After(now.Add(clockSkew)):
		err = errors.New("it is too old, or from the future; compare the clocks of the provider and of the front door")
	case !token.Expiry.IsZero() && !now.Before(token.Expiry.Add(clockSkew)):
		err = errors.New("it has expired")
	default:
		return p.account(token.Subject), token.IssuedAt, nil
	}
	return ended.Account{}, time.Time{}, fmt.Errorf("%w: %w", errIdentity, err)
}

// backChannelLogout takes the provider's message. It comes from the provider itself,
// not from a browser: what counts is its signature.
func (d *Door) backChannelLogout(w http.ResponseWriter, v visit) {
	v.at.Body = http.MaxBytesReader(w, v.at.Body, maxLogoutToken)
	var tokens []string
	if err := v.at.ParseForm(); err == nil {
		tokens = v.at.PostForm["logout_token"]
	}
	if len(tokens) != 1 {
		d.backChannelError(w, http.StatusBadRequest, "invalid_request", "send one logout_token, as application/x-www-form-urlencoded")
		return
	}
	ctx := v.at.Context()
	account, issued, err := d.Provider.loggedOut(ctx, tokens[0], d.Now())
	switch {
	case errors.Is(err, errIdentity):
		d.Log.Warn("a logout of the identity provider is refused", "error", web.Truncate(err.Error()))
		d.backChannelError(w, http.StatusBadRequest, "invalid_request", "the logout token is not accepted")
		return
	case err != nil:
		d.Log.Error("a logout of the identity provider cannot be checked", "error", err.Error())
		d.backChannelError(w, http.StatusServiceUnavailable, "temporarily_unavailable", "the token cannot be checked now; try again")
		return
	}
	httpserver.LoggedIn(w)
	wrote, err := d.Ended.EndAccount(ctx, account, issued.Add(clockSkew))
	if wrote {
		// Requests are refused from now on. Streams that cannot be closed end with their
		// logins. A message that comes again must not close those of a later login.
		sessions, err := d.Known.All(ctx)
		if err == nil {
			_, err = d.closeStreams(ctx, sessions, func(s *vdi.VDISession) (bool, error) { return d.Ended.Holds(ctx, person(s.Spec.User, ""), account) })
		}
		if err != nil {
			d.Log.Error("streams stay open after a logout at the identity provider", "error", err.Error())
		}
	}
	if err != nil {
		d.Log.Error("a logout cannot be written", "error", err.Error())
		d.backChannelError(w, http.StatusServiceUnavailable, "temporarily_unavailable", "the logout could not be completed; try again")
		return
	}
	d.Metrics.logins.WithLabelValues("logout-by-provider").Inc()
	if !wrote {
		d.Log.Info("a logout of the identity provider ends nothing: no name belongs to the account, or it was taken before")
	}
	web.SetSecurityHeaders(w.Header())
	w.WriteHeader(http.StatusOK)
}

// backChannelError answers as OAuth 2.0 does (RFC 6749 §5.2).
func (d *Door) backChannelError(w http.ResponseWriter, status int, code, sentence string) {
	d.Metrics.logins.WithLabelValues("logout-by-provider-refused").Inc()
	web.SetSecurityHeaders(w.Header())
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": sentence}) // whoever has gone needs no answer
}

// closeStreams ends the streams of some desktops, also where whoever asked for it does not
// wait for the answer: the end of their users' logins is written, and comes only once. It
// returns those whose agents have said that they did it.
func (d *Door) closeStreams(ctx context.Context, sessions []vdi.VDISession, of func(s *vdi.VDISession) (bool, error)) (closed []types.UID, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closingTimeout)
	defer cancel()
	var group errgroup.Group
	var unknown error
	var mu sync.Mutex
	group.SetLimit(closersAtOnce)
	for i := range sessions {
		s := &sessions[i]
		if s.Status.Phase != vdi.PhaseRunning || !d.isSessionHost(s.Status.Host) || hasPassword(s) {
			continue
		}
		theirs, err := of(s)
		if err != nil {
			unknown = err
			break
		}
		if !theirs {
			continue
		}
		group.Go(func() error {
			if err := d.closeStreamsOf(ctx, s); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			closed = append(closed, s.UID)
			return nil
		})
	}
	err = errors.Join(unknown, group.Wait())
	return closed, err
}

// hasPassword reports whether a desktop was started in mode Password, and goes on in it:
// nobody's login opens it.
func hasPassword(s *vdi.VDISession) bool {
	return s.Status.Access != nil && s.Status.Access.Mode == vdi.AccessMode(wire.AccessPassword)
}

// closeStreamsOf asks the agent of a desktop, by the way that visitors take, to end what
// came by its user's logins. The proxy asks us whether it may, see [Door.closeForUs]. Whoever
// stands in the proxy's place gets a ticket that closes the streams of one desktop.
func (d *Door) closeStreamsOf(ctx context.Context, s *vdi.VDISession) error {
	sealed, err := d.Keys().seal(forClose, ticket{
		Expires: d.Now().Add(codeLifetime).Unix(), Host: s.Status.Host, SessionUID: string(s.UID), User: s.Spec.User,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	address := d.origin(s.Status.Host) + wire.PathLogout + "?" + url.Values{closeField: {sealed}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Origin", d.origin(s.Status.Host))
	answer, err := proxycheck.Client(d.Sessions.Proxy.Address).Do(request)
	if err != nil {
		var at *url.Error
		if errors.As(err, &at) {
			err = at.Err // without the address, which holds the ticket
		}
		return fmt.Errorf("session %s/%s: ask its agent: %w", s.Namespace, s.Name, err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxForm))
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusSeeOther {
		return fmt.Errorf("session %s/%s: ask its agent: it answered %s", s.Namespace, s.Name, answer.Status)
	}
	return nil
}

// closeField is the field of a query with the ticket that closes streams.
const closeField = "close"

// isCloseForUs reports whether a request is one of closeStreamsOf.
func isCloseForUs(v visit) bool {
	return v.path == wire.PathLogout && v.method == http.MethodPost && v.query.Has(closeField)
}

// mayClose returns the ticket of a request of closeStreamsOf, and answers all others.
func (d *Door) mayClose(w http.ResponseWriter, v visit) (t ticket, ours bool) {
	t, err := d.Keys().open(forClose, v.query.Get(closeField), d.Now())
	if err != nil || t.Host != v.host {
		d.refuse(w, v, http.StatusForbidden, "forged", "This address is too old.")
		return ticket{}, false
	}
	return t, true
}

// closeForUs lets our own request go on to the agent: with a statement that stands for
// the desktop's user, good for nothing but the path that the proxy asks about.
func (d *Door) closeForUs(w http.ResponseWriter, v visit) {
	t, ours := d.mayClose(w, v)
	if !ours {
		return
	}
	s, found, err := d.Known.ByHost(v.at.Context(), v.host)
	if err != nil || !found || string(s.UID) != t.SessionUID || s.Spec.User != t.User {
		d.refuse(w, v, http.StatusServiceUnavailable, "error", "There is no such desktop now.")
		return
	}
	d.allow(w, v, caller{standing: allowed, login: ticket{User: t.User, LoginExpires: d.Now().Add(platform.MaxStatementAge).Unix()}, session: s})
}
