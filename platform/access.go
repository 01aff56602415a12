package platform

import (
	"fmt"
	"net/netip"
	"net/url"
	"reflect"
	"strings"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Access says how people show that a desktop is theirs.
type Access struct {
	// Mode: Password (default; every session has a password of its own), OIDC
	// (people log in at an identity provider) or Local (people log in at the front
	// door, which has a list of them).
	Mode wire.AccessMode `json:"mode,omitempty"`
	// OIDC is the identity provider of mode OIDC.
	OIDC OIDC `json:"oidc,omitempty"`
	// ForwardAuth is where the proxy asks the front door, within the cluster, who
	// a visitor is (modes OIDC and Local). Default: port 8081 of the Service "vdi-frontdoor"
	// beside the operator.
	ForwardAuth string `json:"forwardAuth,omitempty"`
}

// OIDC is an OpenID Connect provider.
type OIDC struct {
	// IssuerURL of the provider, exactly as its discovery document spells it.
	IssuerURL string `json:"issuerURL,omitempty"`
	// ClientID of the platform at the provider.
	ClientID string `json:"clientID,omitempty"`
	// UserClaim is the claim that must equal a session's spec.user byte for byte.
	// Default "email", which counts only where the provider says that it verified
	// the address.
	UserClaim string `json:"userClaim,omitempty"`
	// GroupsClaim is the claim with the groups of whoever logs in, which the front door
	// writes into spec.groups of a session that they resume. Empty: it writes none.
	GroupsClaim string `json:"groupsClaim,omitempty"`
	// OnlyGroups are the groups that count, where the provider sends more than a login
	// can carry. Empty: all.
	OnlyGroups []string `json:"onlyGroups,omitempty"`
}

// Warning says why a claim may let one person be another, "" where nothing is known:
// claims of OpenID Connect Core §5.1 that people can change themselves at many providers.
// The first account that comes with a name keeps it; whoever takes a name first gets it.
func (o OIDC) Warning() string {
	switch o.UserClaim {
	case "name", "given_name", "family_name", "middle_name", "nickname", "preferred_username", "profile", "website":
		return fmt.Sprintf("access.oidc.userClaim: people can change %q themselves at many identity providers, and so take names that nobody has used yet; "+
			"use a claim that administrators alone set, such as email (verified) or sub", o.UserClaim)
	}
	return ""
}

// DefaultUserClaim is the claim that names people when nothing else is set.
const DefaultUserClaim = "email"

func (a Access) withDefaults(operator Peer) Access {
	if a.Mode == "" {
		a.Mode = wire.AccessPassword
	}
	if a.Mode.LogsIn() && a.ForwardAuth == "" {
		a.ForwardAuth = "http://" + wire.FrontDoor + "." + operator.Namespace + ".svc:8081/auth"
	}
	if a.Mode == wire.AccessOIDC && a.OIDC.UserClaim == "" {
		a.OIDC.UserClaim = DefaultUserClaim
	}
	return a
}

func (a Access) problems() []string {
	switch {
	case a.Mode != wire.AccessPassword && !a.Mode.LogsIn():
		return []string{fmt.Sprintf("access.mode: %q is unknown; use Password, OIDC or Local", a.Mode)}
	case a.Mode != wire.AccessOIDC && !reflect.ValueOf(a.OIDC).IsZero():
		return []string{fmt.Sprintf("access.oidc: set, but access.mode is %s; use mode OIDC or remove it", a.Mode)}
	case a.Mode == wire.AccessPassword && a.ForwardAuth != "":
		return []string{"access.forwardAuth: set, but access.mode is Password; use mode OIDC or Local, or remove it"}
	case a.Mode == wire.AccessPassword:
		return nil
	case a.Mode == wire.AccessLocal:
		return a.forwardAuthProblems()
	}
	return append(a.OIDC.problems(), a.forwardAuthProblems()...)
}

func (a Access) forwardAuthProblems() []string {
	address, err := url.Parse(a.ForwardAuth)
	if err != nil || address.Host == "" || address.Scheme != "http" && address.Scheme != "https" || address.User != nil || address.RawQuery != "" || address.Fragment != "" {
		return []string{fmt.Sprintf("access.forwardAuth: %q is no address; use one such as http://vdi-frontdoor.vdi-system.svc:8081/auth", a.ForwardAuth)}
	}
	return nil
}

func (o OIDC) problems() (out []string) {
	issuer, err := url.Parse(o.IssuerURL)
	switch {
	case o.IssuerURL == "":
		out = append(out, "access.oidc.issuerURL: not set; mode OIDC needs the address of the identity provider")
	case err != nil || issuer.Host == "" || !isConfidential(issuer) || issuer.User != nil || issuer.RawQuery != "" || issuer.Fragment != "":
		out = append(out, fmt.Sprintf("access.oidc.issuerURL: %q is no issuer; use its https address without a query, such as https://login.example.com/realms/main", o.IssuerURL))
	}
	if o.ClientID == "" {
		out = append(out, "access.oidc.clientID: not set; register the platform at the identity provider and set the client ID that it gives")
	}
	if strings.TrimSpace(o.UserClaim) != o.UserClaim || o.UserClaim == "" {
		out = append(out, fmt.Sprintf("access.oidc.userClaim: %q is no claim; use one such as email or sub", o.UserClaim))
	}
	if strings.TrimSpace(o.GroupsClaim) != o.GroupsClaim {
		out = append(out, fmt.Sprintf("access.oidc.groupsClaim: %q is no claim; use one such as groups, or \"\" for none", o.GroupsClaim))
	}
	for _, group := range o.OnlyGroups {
		if !IsGroup(group) {
			out = append(out, fmt.Sprintf("access.oidc.onlyGroups: %q is no group that a session can be in; use 1 to %d printable characters that do not begin with %s", group, MaxGroupLength, systemGroups))
		}
	}
	return out
}

// isConfidential: nobody on the way can read or change what goes there.
func isConfidential(u *url.URL) bool {
	ip, err := netip.ParseAddr(u.Hostname())
	local := u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
	return u.Scheme == "https" || u.Scheme == "http" && local
}

// AuthHost is the host where people log in in mode OIDC. No session can have it.
func AuthHost(cfg Sessions) string { return authLabel + "." + cfg.Domain }

const authLabel = "auth"

// DefaultPortalLabel begins the host where people log in in mode Local.
const DefaultPortalLabel = "portal"

// LoginHost is the front door's own host, where people log in: [AuthHost], in mode Local
// the portal. No session can have it.
func (c Config) LoginHost() string {
	if c.Access.Mode == wire.AccessLocal {
		return c.Sessions.PortalLabel + "." + c.Sessions.Domain
	}
	return AuthHost(c.Sessions)
}

// portalProblems judges the host of the portal.
func (c Config) portalProblems() []string {
	label, local := c.Sessions.PortalLabel, c.Access.Mode == wire.AccessLocal
	switch {
	case !local && label != "":
		return []string{fmt.Sprintf("sessions.portalLabel: set, but access.mode is %s, which has no portal; use mode Local or remove it", c.Access.Mode)}
	case local && (!isLabel(label) || label == authLabel):
		return []string{fmt.Sprintf("sessions.portalLabel: %q cannot begin the portal's host; use one DNS label other than %q, such as %q", label, authLabel, DefaultPortalLabel)}
	}
	return nil
}
