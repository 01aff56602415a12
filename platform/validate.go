package platform

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// ErrConfig is the kind of every error of ParseConfig and Config.Validate.
var ErrConfig = errors.New("invalid platform configuration")

// ParseConfig reads the operator's configuration file, refuses keys it does not
// know, fills in defaults and validates. Errors are ErrConfig; each names the
// field and what to do.
func ParseConfig(data []byte) (Config, error) {
	c, err := decodeStrict(data)
	if err != nil {
		return Config{}, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	c = c.WithDefaults()
	return c, c.Validate()
}

// decodeStrict refuses unknown keys, keys in another case and keys given twice.
func decodeStrict(data []byte) (c Config, err error) {
	text, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return c, err
	}
	unknown, err := kjson.UnmarshalStrict(text, &c)
	return c, errors.Join(append(unknown, err)...)
}

// Validate names every field that cannot work and what to do about it. It
// expects defaults to be filled in.
func (c Config) Validate() error {
	s := c.Sessions
	problems := slices.Concat(
		s.hostProblems(), s.TLS.problems(), s.Proxy.problems(), s.Network.problems(),
		s.turnProblems(), s.Images.problems(), s.Egress.problems(), s.Allowed.problems(), s.metadataProblems(), overlayProblems(s.Overlay), c.TimeSlicing.problems(), c.Access.problems(), c.portalProblems(), c.Queue.problems(), c.Accounting.problems(),
	)
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrConfig, strings.Join(problems, "; "))
}

// mostMonths are ten years.
const mostMonths = 120

func (a Accounting) problems() (out []string) {
	if _, err := TimeZone(a.TimeZone); err != nil {
		out = append(out, fmt.Sprintf("accounting.timeZone: %v", err))
	}
	if a.Months < 0 || a.Months > mostMonths {
		out = append(out, fmt.Sprintf("accounting.months: %d is not from 1 to %d; set it to how many months of people's use are kept", a.Months, mostMonths))
	}
	return out
}

func (q Queue) problems() (out []string) {
	if q.Window < 0 {
		out = append(out, fmt.Sprintf("queue.window: %d is less than one; set it to how many desktops of a kind may wait at the scheduler at a time", q.Window))
	}
	if q.Patience != nil && q.Patience.Duration < 0 {
		out = append(out, fmt.Sprintf("queue.patience: %s is less than nothing; use a time such as 5m, or 0s for ever", q.Patience.Duration))
	}
	return out
}

func (s Sessions) hostProblems() (out []string) {
	switch {
	case s.Domain == "":
		out = append(out, "sessions.domain: not set; set it to the domain whose wildcard record points to the proxy, such as vdi.example.com")
	case !ValidHost(s.Domain):
		out = append(out, fmt.Sprintf("sessions.domain: %q is no DNS name in lower case; use a name such as vdi.example.com", s.Domain))
	}
	if s.ExternalPort < 0 || s.ExternalPort > 65535 {
		out = append(out, fmt.Sprintf("sessions.externalPort: %d is no port; use 1 to 65535", s.ExternalPort))
	}
	return append(out, s.hostTemplateProblems()...)
}

func (s Sessions) hostTemplateProblems() []string {
	tpl := s.hostTemplate()
	for _, p := range placeholder.FindAllString(tpl, -1) {
		if !slices.Contains([]string{"{user}", "{id}", "{session}", "{namespace}"}, p) {
			return []string{fmt.Sprintf("sessions.hostTemplate: %s is no placeholder; use {user}, {id}, {session} or {namespace}", p)}
		}
	}
	if !placeholder.MatchString(tpl) {
		return []string{fmt.Sprintf("sessions.hostTemplate: %q gives every session the same host; use {id}, {user} or {session}", tpl)}
	}
	if !isLabel(placeholder.ReplaceAllString(tpl, "x")) {
		return []string{fmt.Sprintf("sessions.hostTemplate: %q gives no single DNS label; use lower-case letters, digits and '-' between the placeholders", tpl)}
	}
	return nil
}

func (t TLS) problems() []string {
	switch {
	case !slices.Contains([]TLSMode{TLSWildcard, TLSCertResolver, TLSSecret}, t.Mode):
		return []string{fmt.Sprintf("sessions.tls.mode: %q is unknown; use Wildcard, CertResolver or Secret", t.Mode)}
	case t.Mode == TLSSecret && t.SecretName == "":
		return []string{"sessions.tls.secretName: not set; mode Secret needs the name of a Secret in the sessions' namespace"}
	case t.SecretName != "" && t.Mode != TLSSecret:
		return []string{fmt.Sprintf("sessions.tls.secretName: set, but mode is %s; use mode Secret or remove it", t.Mode)}
	}
	return nil
}

func (p Proxy) problems() (out []string) {
	if !isLabel(p.Namespace) {
		out = append(out, fmt.Sprintf("sessions.proxy.namespace: %q is no namespace; use the namespace of the proxy's pods", p.Namespace))
	}
	if p.Address != "" && !strings.Contains(p.Address, ":") {
		out = append(out, fmt.Sprintf("sessions.proxy.address: %q has no port; use host:port, such as vdi-traefik.vdi-system.svc:443", p.Address))
	}
	return append(out, rangeProblems("sessions.proxy.ranges", p.Ranges, "admits everybody; give the ranges of the proxy's nodes or of the load balancer alone")...)
}

func (i Images) problems() (out []string) {
	for from, to := range i.Rewrite {
		if from == "" || to == "" || strings.HasSuffix(from, "/") || strings.HasSuffix(to, "/") {
			out = append(out, fmt.Sprintf("sessions.images.rewrite: %q to %q: give two image prefixes without a '/' at the end", from, to))
		}
	}
	slices.Sort(out)
	return out
}

func (e Egress) problems() (out []string) {
	for _, proxy := range [][2]string{{"httpProxy", e.HTTPProxy}, {"httpsProxy", e.HTTPSProxy}} {
		u, err := url.Parse(proxy[1])
		switch {
		case proxy[1] == "":
		case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
			out = append(out, fmt.Sprintf("sessions.egress.%s: no address of a proxy; use one such as http://proxy.example.com:3128", proxy[0]))
		case u.User != nil:
			out = append(out, fmt.Sprintf("sessions.egress.%s: holds a login, which everybody who sees the pod could read; use a proxy that needs none", proxy[0]))
		}
	}
	if e.CABundle.Key != "" && e.CABundle.ConfigMap == "" {
		out = append(out, "sessions.egress.caBundle.key: set without a configMap; name the ConfigMap that holds it")
	}
	return out
}

func (s Sessions) metadataProblems() (out []string) {
	for field, set := range map[string]map[string]string{"labels": s.Labels, "annotations": s.Annotations} {
		for key := range set {
			if slices.ContainsFunc(wire.ReservedPrefixes(), func(p string) bool { return strings.HasPrefix(key, p) }) {
				out = append(out, fmt.Sprintf("sessions.%s: %q is set by the platform; use a key of your own", field, key))
			}
		}
	}
	slices.Sort(out)
	return out
}

func overlayProblems(overlay []Overlay) (out []string) {
	for i, o := range overlay {
		if !slices.Contains(wire.Kinds(), o.Kind) {
			out = append(out, fmt.Sprintf("sessions.overlay[%d].kind: %q is no kind of a session's objects; use one of %s", i, o.Kind, strings.Join(wire.Kinds(), ", ")))
		}
		if (o.Merge == nil) == (len(o.JSONPatch) == 0) {
			out = append(out, fmt.Sprintf("sessions.overlay[%d]: give merge or jsonPatch", i))
		}
	}
	return out
}
