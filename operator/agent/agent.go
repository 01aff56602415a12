// Package agent is the way into one desktop: a reverse proxy beside it that lets
// in who may come, hands the desktop its own login, counts viewers and input,
// and says goodbye before the end. It runs in the session's pod, so it knows one
// session, holds no right in the cluster and imports no Kubernetes client. What
// it cannot check it refuses, and it writes no secret anywhere.
package agent

import (
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"sync/atomic"
	"time"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/folder"
	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/operator/web"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Agent serves one desktop.
type Agent struct {
	config        Config
	log           *slog.Logger
	credentials   *folder.Folder[credentials]
	statementKeys *folder.Folder[[]ed25519.PublicKey] // nil in Password mode
	turn          *folder.Folder[platform.TURNLogin]  // nil without WebRTC
	visitorOf     func(*http.Request) (visitor, *refusal)
	// isPassword checks a password; admit answers whoever has a login, welcome whoever
	// has just sent the password.
	isPassword func(r *http.Request, password string) bool
	admit      func(e *exchange)
	welcome    func(e *exchange, next string)
	attempts   *web.Attempts
	revoked    *revoked
	activity   *activity
	input      inputRule
	exchanges  *exchanges
	desktop    *desktop
	proxy      *httputil.ReverseProxy
	pages      *pages
	metrics    *metrics
	// stopping is set by the first goodbye and stays.
	stopping atomic.Bool
}

// New reads the mounted folders and keeps following them until Close. Errors
// name the setting or file, and the remedy.
func New(c Config) (*Agent, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.FileTransfer = cmp.Or(c.FileTransfer, vdi.FileTransferBoth)
	if err := c.check(); err != nil {
		return nil, err
	}
	rule := inputRules()[c.Input]
	a := &Agent{
		config: c, log: c.Log, input: rule,
		attempts: web.NewAttempts(c.Now, attemptBurst, attemptEvery), revoked: newRevoked(c.Now, c.StateDir),
		activity: newActivity(rule == nil, c.Now), exchanges: newExchanges(),
		pages: newPages(), metrics: newMetrics(),
	}
	a.metrics.observe(a.activity)
	a.loadRevoked()
	if err := a.watchFolders(); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	a.desktop = newDesktop(c.Desktop, c.DesktopHealth, c.Endpoints == platform.EndpointsSelkies, a.credentials.Get)
	a.proxy = a.newProxy()
	a.isPassword, a.admit, a.welcome = a.isOwnPassword, a.authorize, a.grantLogin
	return a, nil
}

// loadRevoked takes over the logins that an earlier container of this pod has ended.
func (a *Agent) loadRevoked() {
	err := a.revoked.load(a.config.MaxSessionAge)
	if err == nil {
		return
	}
	a.log.Error("the list of ended logins cannot be read; whoever logged in before has to do so again", "error", err.Error())
	a.logSaveError(a.revoked.save())
}

func (a *Agent) logSaveError(err error) {
	if err != nil {
		a.log.Error("the list of ended logins cannot be written; it is forgotten when the agent's container starts again", "error", err.Error())
	}
}

func (a *Agent) watchFolders() (err error) {
	a.credentials, err = folder.Watch(a.config.CredentialsDir, a.log, readCredentials(a.config.Mode), a.credentialsChanged)
	if err != nil {
		return fmt.Errorf("--credentials-dir: %w", err)
	}
	if err := a.watchTURN(); err != nil {
		return err
	}
	a.visitorOf = a.visitorByPassword
	if a.config.Mode != wire.AccessOIDC {
		return nil
	}
	a.statementKeys, err = folder.Watch(a.config.StatementKeysDir, a.log, readStatementKeys, a.statementKeysChanged)
	if err != nil {
		return fmt.Errorf("--statement-keys-dir: %w", err)
	}
	a.visitorOf = a.visitorByStatement
	return nil
}

// watchTURN follows the login at the TURN relay, where there is one.
func (a *Agent) watchTURN() (err error) {
	if a.config.TURNDir == "" {
		return nil
	}
	a.turn, err = folder.Watch(a.config.TURNDir, a.log, readTURNLogin, a.turnChanged)
	if err != nil {
		return fmt.Errorf("--turn-dir: %w", err)
	}
	return nil
}

// Close stops following the folders.
func (a *Agent) Close() error {
	var errs []error
	if a.credentials != nil {
		errs = append(errs, a.credentials.Close())
	}
	if a.statementKeys != nil {
		errs = append(errs, a.statementKeys.Close())
	}
	if a.turn != nil {
		errs = append(errs, a.turn.Close())
	}
	return errors.Join(errs...)
}

// Session is the handler of the listener that the proxy leads visitors to.
func (a *Agent) Session() http.Handler { return httpserver.Guard(http.HandlerFunc(a.serve)) }

// serve is one request's way in.
func (a *Agent) serve(w http.ResponseWriter, r *http.Request) {
	e := a.begin(w, r)
	defer a.finish(e)
	denied := checkTarget(r, a.config.Host) // for this desktop?
	if denied == nil {
		denied = checkFetch(r) // not on behalf of another site?
	}
	switch {
	case denied != nil:
		a.refuse(e, denied)
	case web.IsOwnPath(r.URL.Path):
		a.serveOwnPage(e)
	default:
		a.authenticate(e) // by whom? then on to the desktop
	}
}

// authenticate finds out who the visitor is.
func (a *Agent) authenticate(e *exchange) {
	v, denied := a.visitorOf(e.request)
	if denied != nil {
		a.refuse(e, denied)
		return
	}
	e.visitor = v
	a.admit(e)
}

// authorize lets a visitor through to the desktop, where everything speaks for it.
func (a *Agent) authorize(e *exchange) {
	denied := a.checkStopping() // strangers do not learn of it
	if denied == nil {
		denied = checkOrigin(e.request, e.visitor.login != loginBasic)
	}
	if denied == nil {
		denied = checkBody(e.request)
	}
	if denied == nil {
		denied = checkFiles(e.request, a.config.FileTransfer)
	}
	if denied == nil {
		denied = a.checkEndpoint(e.request)
	}
	if denied != nil {
		a.refuse(e, denied)
		return
	}
	a.forward(e)
}

// checkStopping refuses everything after a goodbye.
func (a *Agent) checkStopping() *refusal {
	if !a.stopping.Load() {
		return nil
	}
	return &refusal{http.StatusServiceUnavailable, reasonStopping, stoppingSentence}
}

// stoppingSentence is the reason of close frames and the text of pages.
const stoppingSentence = "this desktop is stopping"
