package platform

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// DefaultTURNPort is the port of TURN over UDP and TCP (RFC 8656 §15).
	DefaultTURNPort = 3478
	// TURNLoginLife is how long a session's login at the relay holds at most: a
	// relay gives nobody a new address later than that after a session's end.
	TURNLoginLife = 10 * time.Minute
	// TURNLoginVersion is the version of TURNLogin. Agents of the release before
	// know no other, so a new one comes with a new key beside this one.
	TURNLoginVersion = 1
)

// TURN says where the relay is that desktops with transport WebRTC stream through.
type TURN struct {
	// Host is the relay's DNS name or address, as browsers and desktops reach it.
	// Empty: there is no relay, and no desktop streams over WebRTC.
	Host string `json:"host,omitempty"`
	// Port of TURN without TLS. Default 3478.
	Port int32 `json:"port,omitempty"`
	// Transports of Port, best first: udp, tcp. Default both. The desktop uses
	// the first, the browser any of them.
	Transports []TURNTransport `json:"transports,omitempty"`
	// TLSPort of TURN over TLS; 0: the relay offers none.
	TLSPort int32 `json:"tlsPort,omitempty"`
	// Ranges are CIDRs of the relay, where desktops may reach its ports and
	// nothing else. Default: the host, if it is an address.
	Ranges []string `json:"ranges,omitempty"`
}

// TURNTransport is what TURN without TLS runs over.
type TURNTransport string

// Words of TURNTransport, as URIs spell them (RFC 7065 §3.1).
const (
	TURNOverUDP TURNTransport = "udp"
	TURNOverTCP TURNTransport = "tcp"
)

// Enabled says whether there is a relay.
func (t TURN) Enabled() bool { return t.Host != "" }

func (t TURN) withDefaults() TURN {
	if !t.Enabled() {
		return t
	}
	if t.Port == 0 {
		t.Port = DefaultTURNPort
	}
	if len(t.Transports) == 0 {
		t.Transports = []TURNTransport{TURNOverUDP, TURNOverTCP}
	}
	if address, err := netip.ParseAddr(t.Host); err == nil && len(t.Ranges) == 0 {
		t.Ranges = []string{netip.PrefixFrom(address, address.BitLen()).String()}
	}
	return t
}

// URIs of the relay, best first (RFC 7065). Selkies' own end uses the first one
// alone (2.1: selkies/webrtc/rtcicetransport.py, connection_kwargs).
func (t TURN) URIs() (uris []string) {
	for _, transport := range t.Transports {
		uris = append(uris, fmt.Sprintf("turn:%s:%d?transport=%s", t.uriHost(), t.Port, transport))
	}
	if t.TLSPort != 0 {
		uris = append(uris, fmt.Sprintf("turns:%s:%d?transport=tcp", t.uriHost(), t.TLSPort))
	}
	return uris
}

func (t TURN) uriHost() string {
	if strings.Contains(t.Host, ":") {
		return "[" + t.Host + "]"
	}
	return t.Host
}

// TURNPort is a port of the relay that desktops may reach.
type TURNPort struct {
	Port int32
	// Protocol: UDP or TCP, as NetworkPolicies spell it.
	Protocol string
}

// Ports of the relay in the order of URIs.
func (t TURN) Ports() (ports []TURNPort) {
	for _, transport := range t.Transports {
		ports = append(ports, TURNPort{t.Port, strings.ToUpper(string(transport))})
	}
	if t.TLSPort != 0 {
		ports = append(ports, TURNPort{t.TLSPort, "TCP"})
	}
	return ports
}

func (s Sessions) turnProblems() []string {
	t := s.TURN
	if !t.Enabled() {
		return t.strayProblems()
	}
	out := t.portProblems()
	address, err := netip.ParseAddr(t.Host)
	switch {
	case err == nil && (address.IsUnspecified() || address.IsLoopback() || address.Zone() != "" || address.Is4In6()):
		out = append(out, fmt.Sprintf("sessions.turn.host: %s is an address that browsers cannot reach; use the relay's public address or name", t.Host))
	case err != nil && !ValidHost(t.Host):
		out = append(out, fmt.Sprintf("sessions.turn.host: %q is no DNS name in lower case and no address; use one such as turn.vdi.example.com", t.Host))
	case err != nil && len(t.Ranges) == 0 && !*s.Network.Internet:
		out = append(out, "sessions.turn.ranges: empty, while sessions.network.internet is off and the relay has a name: desktops could not reach it; give the CIDRs of its addresses")
	}
	return slices.Concat(out, rangeProblems("sessions.turn.ranges", t.Ranges, ""), openingMetadata("sessions.turn.ranges", t.Ranges))
}

// strayProblems: settings of a relay that is not there would be ignored in silence.
func (t TURN) strayProblems() []string {
	if t.Port == 0 && t.TLSPort == 0 && len(t.Transports) == 0 && len(t.Ranges) == 0 {
		return nil
	}
	return []string{"sessions.turn.host: not set, while other settings of the relay are; set it to the relay's name or address, or remove them"}
}

func (t TURN) portProblems() (out []string) {
	if t.Port < 1 || t.Port > 65535 {
		out = append(out, fmt.Sprintf("sessions.turn.port: %d is no port; use 1 to 65535", t.Port))
	}
	if t.TLSPort < 0 || t.TLSPort > 65535 {
		out = append(out, fmt.Sprintf("sessions.turn.tlsPort: %d is no port; use 1 to 65535, or 0 for none", t.TLSPort))
	}
	for i, transport := range t.Transports {
		if transport != TURNOverUDP && transport != TURNOverTCP {
			out = append(out, fmt.Sprintf("sessions.turn.transports[%d]: %q is unknown; use udp or tcp", i, transport))
		}
		if slices.Contains(t.Transports[:i], transport) {
			out = append(out, fmt.Sprintf("sessions.turn.transports[%d]: %q is given twice", i, transport))
		}
	}
	return out
}

// usableTURNSecret is what may stand in a line of coturn's file: no blank, no
// newline, no comment sign, and at least 128 bits when it is hexadecimal.
var usableTURNSecret = regexp.MustCompile(`^[A-Za-z0-9+/=_-]{32,512}$`)

// ValidTURNSecret says whether a text can be the relay's shared secret.
func ValidTURNSecret(secret string) bool { return usableTURNSecret.MatchString(secret) }

// TURNLogin is what a session's Secret NAME-turn holds: the desktop's and its
// viewers' login at the relay, which the agent serves to the desktop.
type TURNLogin struct {
	Version  int    `json:"version"`
	Username string `json:"username"`
	Password string `json:"password"`
	// Expires in seconds since 1970; the relay refuses new addresses from then on.
	Expires int64 `json:"expires"`
	// URIs of the relay, best first.
	URIs []string `json:"uris"`
}

// SignTURNLogin makes the login of one session (its UID) in coturn's REST format:
// the user name is the expiry in Unix seconds, a colon and the ID; the password is the base64
// of its HMAC-SHA1 under the shared secret (coturn README.turnserver,
// use-auth-secret; draft-uberti-behave-turn-rest-00 §2.2).
func SignTURNLogin(t TURN, secret, session string, expires time.Time) TURNLogin {
	user := strconv.FormatInt(expires.Unix(), 10) + ":" + session
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(user))
	return TURNLogin{
		Version: TURNLoginVersion, Username: user, Password: base64.StdEncoding.EncodeToString(mac.Sum(nil)),
		Expires: expires.Unix(), URIs: t.URIs(),
	}
}

// ErrTURNLogin is the kind of every error of ParseTURNLogin. No error holds a password.
var ErrTURNLogin = errors.New("invalid TURN login")

// ParseTURNLogin reads a login; keys it does not know are left out.
func ParseTURNLogin(data []byte) (TURNLogin, error) {
	var l TURNLogin
	if err := json.Unmarshal(data, &l); err != nil {
		return TURNLogin{}, fmt.Errorf("%w: no JSON object of the expected form", ErrTURNLogin)
	}
	switch {
	case l.Version != TURNLoginVersion:
		return TURNLogin{}, fmt.Errorf("%w: its version is %d, not %d", ErrTURNLogin, l.Version, TURNLoginVersion)
	case l.Username == "" || l.Password == "" || l.Expires == 0 || len(l.URIs) == 0:
		return TURNLogin{}, fmt.Errorf("%w: username, password, expires or uris are missing", ErrTURNLogin)
	}
	return l, nil
}
