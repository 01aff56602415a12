package platform

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// DefaultHostTemplate gives every session a host of its own that nobody can choose.
const DefaultHostTemplate = "{user}-{id}"

// ErrHost is the kind of every error of Host.
var ErrHost = errors.New("invalid host")

const (
	// maxSlug leaves room for "-{id}" in one DNS label of 63 characters.
	maxSlug = 40
	// maxHost is the longest DNS name in text form (RFC 1035 §2.3.4).
	maxHost = 253
	// fallbackSlug stands for users whose name has no ASCII letter or digit.
	fallbackSlug = "user"
)

// ValidHost says whether a text is a lower-case DNS name with at least two
// labels and nothing else, so that it may stand in a routing rule.
func ValidHost(host string) bool {
	labels := strings.Split(host, ".")
	if len(host) > maxHost || len(labels) < 2 {
		return false
	}
	for _, label := range labels {
		if !isLabel(label) {
			return false
		}
	}
	return true
}

// isLabel says whether a text is one lower-case DNS label (RFC 1123).
func isLabel(s string) bool {
	return s != "" && len(s) <= maxLabelValue && s[0] != '-' && s[len(s)-1] != '-' &&
		!strings.ContainsFunc(s, func(r rune) bool { return !isAlnum(r) && r != '-' })
}

func isAlnum(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' }

// Host is the DNS name of a session: cfg.HostTemplate filled in, one DNS label
// of at most 63 characters, under cfg.Domain. {id} comes from the session's
// UID, which the API server gives, so that nobody can choose it. Errors are
// ErrHost.
func Host(cfg Sessions, user, session, namespace, uid string) (string, error) {
	label, err := cfg.hostLabel(map[string]string{
		"user": slug(user), "id": hash(uid, hashLength), "session": session, "namespace": namespace,
	})
	if err != nil {
		return "", err
	}
	host := label + "." + cfg.Domain
	if !ValidHost(host) {
		return "", fmt.Errorf("%w: %q is no DNS name of at most %d characters; check sessions.domain", ErrHost, host, maxHost)
	}
	return host, nil
}

// hostLabel fills in the host template and checks that one DNS label results.
func (s Sessions) hostLabel(values map[string]string) (string, error) {
	tpl := s.hostTemplate()
	label := placeholder.ReplaceAllStringFunc(tpl, func(p string) string {
		return values[p[1:len(p)-1]]
	})
	if label == authLabel || s.PortalLabel != "" && label == s.PortalLabel {
		return "", fmt.Errorf("%w: sessions.hostTemplate %q gives %q, which is the host of the login; rename the session or use {id} in the template", ErrHost, tpl, label)
	}
	if !isLabel(label) {
		return "", fmt.Errorf("%w: sessions.hostTemplate %q gives %q, which is no DNS label of at most %d characters", ErrHost, tpl, label, maxLabelValue)
	}
	return label, nil
}

var placeholder = regexp.MustCompile(`\{[^{}]*\}`)

// HostNeedsClaim says whether two sessions could get the same host, so that
// somebody must keep who owns it: true when the template lacks {id}.
func HostNeedsClaim(cfg Sessions) bool {
	return !strings.Contains(cfg.hostTemplate(), "{id}")
}

// URL opens a host in a browser; the port is left out when it is 443.
func URL(cfg Sessions, host string) string {
	if cfg.ExternalPort == 0 || cfg.ExternalPort == 443 {
		return "https://" + host
	}
	return "https://" + host + ":" + strconv.Itoa(int(cfg.ExternalPort))
}

func (s Sessions) hostTemplate() string {
	if s.HostTemplate == "" {
		return DefaultHostTemplate
	}
	return s.HostTemplate
}

// slug is a readable form of a user for hosts: the part before "@" in lower
// case, every run of other characters one "-", at most 40 characters. Different
// users can have the same slug; it identifies nobody.
func slug(user string) string {
	local, _, _ := strings.Cut(user, "@")
	words := strings.FieldsFunc(strings.ToLower(local), func(r rune) bool { return !isAlnum(r) })
	s := strings.Join(words, "-")
	if len(s) > maxSlug {
		s = strings.TrimRight(s[:maxSlug], "-")
	}
	if s == "" {
		return fallbackSlug
	}
	return s
}

// maxSessionName is the longest name of a session; names of its objects are made of it.
const maxSessionName = 52

// SessionName is the name of the session that a person calls by a name of their own: the same
// words give the same session, and so the same home, and nobody else's words give it. It says
// who they are as far as a host does, and nothing of what they typed.
func SessionName(user, typed string) string {
	sum := hash(user+"\x00"+typed, hashLength)
	readable := slug(user)
	if readable[0] < 'a' { // a digit
		readable = "u" + readable
	}
	if most := maxSessionName - len(sum) - 1; len(readable) > most {
		readable = strings.TrimRight(readable[:most], "-")
	}
	return readable + "-" + sum
}
