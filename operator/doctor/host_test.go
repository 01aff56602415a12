package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNames(t *testing.T) {
	is(t, Passed, "is 10.0.0.1", Names("a.vdi.example.com", "vdi.example.com", "", []string{"10.0.0.1"}, nil))
	is(t, Failed, "cannot be resolved", Names("a.vdi.example.com", "vdi.example.com", "", nil, errors.New("no such host")))
	is(t, Failed, "has no address", Names("a.vdi.example.com", "vdi.example.com", "", nil, nil))
	is(t, Failed, "not below other.example.com", Names("a.vdi.example.com", "other.example.com", "", []string{"10.0.0.1"}, nil))
	is(t, NotJudged, "ADDRESS=10.0.0.1:8443 is used", Names("a.vdi.example.com", "vdi.example.com", "10.0.0.1:8443", nil, nil))
}

func TestCertificate(t *testing.T) {
	now := time.Now()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	issue := func(c, parent *x509.Certificate) *x509.Certificate {
		c.SerialNumber, c.NotBefore = big.NewInt(1), now.Add(-time.Hour)
		raw, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, key)
		require.NoError(t, err)
		made, err := x509.ParseCertificate(raw)
		require.NoError(t, err)
		return made
	}
	authority := &x509.Certificate{Subject: pkix.Name{CommonName: "ours"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: now.Add(time.Hour * 9999)}
	authority = issue(authority, authority)
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	leaf := func(name string, life time.Duration) []*x509.Certificate {
		return []*x509.Certificate{issue(&x509.Certificate{DNSNames: []string{name}, NotAfter: now.Add(life)}, authority)}
	}
	const host = "alice.vdi.example.com"
	is(t, Passed, "*.vdi.example.com", Certificate(host, leaf("*.vdi.example.com", 999*time.Hour), roots, now))
	is(t, Passed, "renew it soon", Certificate(host, leaf("*.vdi.example.com", 99*time.Hour), roots, now))
	is(t, Failed, "is for *.other.example.com, not for "+host, Certificate(host, leaf("*.other.example.com", 999*time.Hour), roots, now))
	is(t, Failed, "has ended on", Certificate(host, leaf("*.vdi.example.com", -time.Minute), roots, now))
	is(t, Failed, "browsers refuse", Certificate(host, leaf("*.vdi.example.com", 999*time.Hour), x509.NewCertPool(), now))
	is(t, Failed, "no certificate", Certificate(host, nil, roots, now))
}
