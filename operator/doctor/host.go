package doctor

import (
	"crypto/x509"
	"strings"
	"time"
)

// Names judges the name service for a session's host. Instead is ADDRESS, which
// takes its place.
func Names(host, domain, instead string, addresses []string, err error) Verdict {
	switch {
	case !strings.HasSuffix(host, "."+domain):
		return Fail("desktops get hosts such as %s, not below %s", host, domain).With("set sessions.domain, or leave DOMAIN out")
	case instead != "":
		return Unjudged("ADDRESS=%s is used instead of the name service", instead).With("leave ADDRESS out to judge the names that browsers use")
	case err != nil:
		return Fail("%s cannot be resolved from here: %v", host, err)
	case len(addresses) == 0:
		return Fail("%s has no address", host)
	}
	return Pass("%s is %s", host, List(addresses))
}

// soon is when the end of a certificate is worth a word.
const soon = 14 * 24 * time.Hour

// Certificate judges what the proxy showed for a host, as a browser would that
// knows these authorities (nil: the system's).
func Certificate(host string, chain []*x509.Certificate, roots *x509.CertPool, now time.Time) Verdict {
	if len(chain) == 0 {
		return Fail("no certificate was shown for %s", host)
	}
	leaf, between := chain[0], x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	until := leaf.NotAfter.UTC().Format(time.DateOnly)
	if err := leaf.VerifyHostname(host); err != nil {
		return Fail("the certificate is for %s, not for %s", named(leaf), host).
			With("put a certificate for *.DOMAIN into the Secret that tlsStore.default.defaultCertificate names")
	}
	if now.After(leaf.NotAfter) {
		return Fail("the certificate has ended on %s", until).With("renew it, and put it into the same Secret; the proxy reads it by itself")
	}
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between, CurrentTime: now}); err != nil {
		return Fail("browsers refuse the certificate of %s: %v", named(leaf), err).
			With("use one of a public authority; where browsers know yours, name its certificate by CA=FILE")
	}
	note := ""
	if leaf.NotAfter.Sub(now) < soon {
		note = ": renew it soon"
	}
	return Pass("certificate of %s, until %s%s", named(leaf), until, note)
}

func named(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return List(c.DNSNames)
	}
	return c.Subject.CommonName
}
