package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// ErrConfig is the kind of every error about the agent's settings.
var ErrConfig = errors.New("invalid setting")

// Config is everything that an agent gets at its start. Secrets are not in
// it: they are files.
type Config struct {
	// Desktop is the desktop's address, host:port.
	Desktop string
	// DesktopHealth is the path that answers below 400 when the desktop is up;
	// "": an open port has to do.
	DesktopHealth string
	// CredentialsDir is a mounted Secret with the files username, password and
	// cookie-key (Password mode) and, where the desktop has a login of its own,
	// desktop-username and desktop-password.
	CredentialsDir string
	// Host is the session's one host, without a port.
	Host string
	// Session is the session's NAMESPACE/NAME, SessionUID what the API server
	// calls it.
	Session, SessionUID string
	Mode                wire.AccessMode
	// StatementKeysDir is a mounted folder of the front door's statement keys, one
	// PEM per file (OIDC mode).
	StatementKeysDir string
	// TURNDir is the mounted Secret NAME-turn with the session's login at the TURN
	// relay; "": the desktop does not stream over WebRTC.
	TURNDir string
	// StateDir is a folder of the agent's own that outlives its container, and not its
	// pod: logins that were ended are kept there; "": they are forgotten with the
	// container.
	StateDir string
	// Input names the rule for what counts as use of the desktop, see InputRules.
	Input string
	// Endpoints names the list of what visitors may ask of the desktop, see
	// platform.EndpointsOf; empty: there is none.
	Endpoints string
	// FileTransfer is the direction in which files may pass; empty: Both.
	FileTransfer vdi.FileTransferPolicy
	// MaxSessionAge is how long one login holds.
	MaxSessionAge time.Duration
	// Now is the clock; nil: the real one.
	Now func() time.Time
	// Log takes the access log.
	Log *slog.Logger
}

// check names the first setting that cannot work, and the remedy.
func (c Config) check() error {
	if _, port, err := net.SplitHostPort(c.Desktop); err != nil || port == "" {
		return fmt.Errorf("%w: --desktop is %q; give the desktop's address as host:port", ErrConfig, c.Desktop)
	}
	if c.DesktopHealth != "" && !strings.HasPrefix(c.DesktopHealth, "/") {
		return fmt.Errorf("%w: --desktop-health is %q; give a path that begins with /, or nothing", ErrConfig, c.DesktopHealth)
	}
	if !platform.ValidHost(c.Host) {
		return fmt.Errorf("%w: --host is %q; give the session's lower-case DNS name without a port", ErrConfig, c.Host)
	}
	if namespace, name, found := strings.Cut(c.Session, "/"); !found || namespace == "" || name == "" || strings.Contains(name, "/") {
		return fmt.Errorf("%w: --session is %q; give NAMESPACE/NAME", ErrConfig, c.Session)
	}
	if c.SessionUID == "" {
		return fmt.Errorf("%w: --session-uid is empty; give the session's metadata.uid", ErrConfig)
	}
	if c.CredentialsDir == "" {
		return fmt.Errorf("%w: --credentials-dir is empty; give the folder where the session's Secret is mounted", ErrConfig)
	}
	if info, err := os.Stat(c.StateDir); c.StateDir != "" && (err != nil || !info.IsDir()) {
		return fmt.Errorf("%w: --state-dir is %q; give a folder that only the agent mounts, or nothing", ErrConfig, c.StateDir)
	}
	if c.MaxSessionAge <= 0 {
		return fmt.Errorf("%w: --max-session-age is %s; give a positive duration such as 12h", ErrConfig, c.MaxSessionAge)
	}
	if _, known := inputRules()[c.Input]; !known {
		return fmt.Errorf("%w: --input is %q; give one of %s", ErrConfig, c.Input, strings.Join(InputRules(), ", "))
	}
	if c.Endpoints != "" && !slices.Contains(platform.EndpointLists(), c.Endpoints) {
		return fmt.Errorf("%w: --endpoints is %q; give one of %s", ErrConfig, c.Endpoints, strings.Join(platform.EndpointLists(), ", "))
	}
	if c.FileTransfer != "" && !slices.Contains(fileTransfers(), c.FileTransfer) {
		return fmt.Errorf("%w: --file-transfer is %q; give one of Both, Upload, Download, None", ErrConfig, c.FileTransfer)
	}
	return c.checkMode()
}

func fileTransfers() []vdi.FileTransferPolicy {
	return []vdi.FileTransferPolicy{vdi.FileTransferBoth, vdi.FileTransferUpload, vdi.FileTransferDownload, vdi.FileTransferNone}
}

func (c Config) checkMode() error {
	switch {
	case c.Mode != wire.AccessPassword && c.Mode != wire.AccessOIDC:
		return fmt.Errorf("%w: --mode is %q; give %s or %s", ErrConfig, c.Mode, wire.AccessPassword, wire.AccessOIDC)
	case c.Mode == wire.AccessOIDC && c.StatementKeysDir == "":
		return fmt.Errorf("%w: --statement-keys-dir is empty; in mode %s give the folder with the front door's public keys", ErrConfig, wire.AccessOIDC)
	}
	return nil
}
