package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certLife outlives any test or demo; the certificates are made anew at each start.
const certLife = 365 * 24 * time.Hour

// keyPair is a private key, and the certificate for it unless it is a bare key.
type keyPair struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// newAuthority makes a real CA. A self-signed serving certificate instead makes
// the controller-manager complain for ever that it may not sign.
func newAuthority(name string) (keyPair, error) {
	return keyPair{}.issue(&x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	})
}

// client issues a certificate that authenticates as user, a member of groups.
func (k keyPair) client(user string, groups ...string) (keyPair, error) {
	return k.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: groups},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// server issues a certificate for the given DNS names and addresses.
func (k keyPair) server(names []string, addresses []net.IP) (keyPair, error) {
	return k.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: names[0]},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    names,
		IPAddresses: addresses,
	})
}

// issue signs the certificate with k, or with its own key when k is empty.
func (k keyPair) issue(template *x509.Certificate) (keyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return keyPair{}, fmt.Errorf("make key for %s: %w", template.Subject, err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return keyPair{}, fmt.Errorf("make serial for %s: %w", template.Subject, err)
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Minute) // clocks of containers may lag
	template.NotAfter = template.NotBefore.Add(certLife)
	parent, signer := k.cert, k.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return keyPair{}, fmt.Errorf("sign certificate of %s: %w", template.Subject, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return keyPair{}, fmt.Errorf("parse certificate of %s: %w", template.Subject, err)
	}
	return keyPair{key: key, cert: cert}, nil
}

func (k keyPair) certPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.cert.Raw})
}

func (k keyPair) keyPEM() ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(k.key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func (k keyPair) publicPEM() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(k.key.Public())
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// write stores the pair as NAME.crt and NAME.key (and NAME.pub, for tokens).
func (k keyPair) write(dir, name string) error {
	key, err := k.keyPEM()
	if err != nil {
		return err
	}
	pub, err := k.publicPEM()
	if err != nil {
		return err
	}
	for ext, content := range map[string][]byte{"key": key, "pub": pub, "crt": k.certPEM()} {
		if err := os.WriteFile(filepath.Join(dir, name+"."+ext), content, 0o600); err != nil {
			return fmt.Errorf("write %s.%s: %w", name, ext, err)
		}
	}
	return nil
}

// pki is the set of authorities and certificates of one cluster, on disk.
type pki struct {
	dir string
	ca  keyPair
}

func (p pki) file(name string) string { return filepath.Join(p.dir, name) }

// newPKI makes the certificates every control plane needs; the API server's is
// valid for the given addresses.
func newPKI(dir string, addresses []net.IP) (pki, error) {
	if err := ensureDirs(dir); err != nil {
		return pki{}, fmt.Errorf("make pki: %w", err)
	}
	ca, err := newAuthority("kubernetes-ca")
	if err != nil {
		return pki{}, err
	}
	proxyCA, err := newAuthority("front-proxy-ca")
	if err != nil {
		return pki{}, err
	}
	p := pki{dir: dir, ca: ca}
	names := []string{
		"kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local", "localhost",
	}
	pairs := []struct {
		name string
		new  func() (keyPair, error)
	}{
		{"ca", func() (keyPair, error) { return ca, nil }},
		{"front-proxy-ca", func() (keyPair, error) { return proxyCA, nil }},
		{"front-proxy-client", func() (keyPair, error) { return proxyCA.client("front-proxy-client") }},
		{"apiserver", func() (keyPair, error) { return ca.server(names, addresses) }},
		{"apiserver-kubelet-client", func() (keyPair, error) {
			return ca.client("kube-apiserver-kubelet-client", "system:masters")
		}},
		{"service-account", func() (keyPair, error) { return newAuthority("service-account") }},
	}
	for _, m := range pairs {
		pair, err := m.new()
		if err != nil {
			return pki{}, err
		}
		if err := pair.write(dir, m.name); err != nil {
			return pki{}, err
		}
	}
	return p, nil
}
