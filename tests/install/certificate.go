package install

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// wildcardSecret is the proxy's default certificate (values/local.yaml).
const wildcardSecret = "vdi-wildcard"

// certificateLife is short: the key exists for a demo or a test run.
const certificateLife = 30 * 24 * time.Hour

// certificate makes an authority and a wildcard certificate, once per cluster.
func (p *Platform) certificate(ctx context.Context) error {
	secret := &corev1.Secret{}
	err := p.Client.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: wildcardSecret}, secret)
	if apierrors.IsNotFound(err) {
		if secret, err = newWildcard("*." + Domain); err != nil {
			return err
		}
		err = p.Client.Create(ctx, secret)
	}
	p.CA = secret.Data[corev1.ServiceAccountRootCAKey]
	return err
}

// authorityFile is below the checkout, where nobody else of the machine can have put a
// file or a link before us; an existing cluster's kubeconfig lies in a folder not ours.
func (p *Platform) authorityFile() string {
	folder := p.Cluster.Name()
	if p.Cluster.Existing() {
		folder += "-existing"
	}
	return filepath.Join(p.root, ".cluster", folder, "ca.crt")
}

// WriteAuthority writes the authority of the proxy's certificate into a file, for curl.
func (p *Platform) WriteAuthority() (file string, err error) {
	file = p.authorityFile()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", fmt.Errorf("write the authority's certificate: %w", err)
	}
	if err := os.WriteFile(file, p.CA, 0o600); err != nil {
		return "", fmt.Errorf("write the authority's certificate: %w", err)
	}
	return file, nil
}

// ForgetAuthority removes that file of an existing cluster, with its folder.
func (p *Platform) ForgetAuthority() error {
	if !p.Cluster.Existing() {
		return nil
	}
	return os.RemoveAll(filepath.Dir(p.authorityFile()))
}

// NewCertificate makes an authority of its own and a certificate of that for an
// address of this machine, both as PEM, and the certificate's key.
func NewCertificate(address netip.Addr) (authority, certificate, key []byte, err error) {
	root, rootKey, err := newCertificate(&x509.Certificate{
		Subject: pkix.Name{CommonName: "VDI platform test authority"},
		IsCA:    true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	if err != nil {
		return nil, nil, nil, err
	}
	leaf, leafKey, err := newCertificate(&x509.Certificate{
		Subject: pkix.Name{CommonName: address.String()}, IPAddresses: []net.IP{address.AsSlice()},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, root, rootKey)
	if err != nil {
		return nil, nil, nil, err
	}
	raw, err := x509.MarshalECPrivateKey(leafKey)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("encode key: %w", err)
	}
	return pemOf("CERTIFICATE", root.Raw), pemOf("CERTIFICATE", leaf.Raw), pemOf("EC PRIVATE KEY", raw), nil
}

func newWildcard(name string) (*corev1.Secret, error) {
	authority, authorityKey, err := newCertificate(&x509.Certificate{
		Subject: pkix.Name{CommonName: "VDI platform local authority"},
		IsCA:    true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	if err != nil {
		return nil, err
	}
	leaf, leafKey, err := newCertificate(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, authority, authorityKey)
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalECPrivateKey(leafKey)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: wildcardSecret, Namespace: Namespace},
		Type:       corev1.SecretTypeTLS,
		Data: map[string][]byte{
			corev1.TLSCertKey:              pemOf("CERTIFICATE", leaf.Raw),
			corev1.TLSPrivateKeyKey:        pemOf("EC PRIVATE KEY", key),
			corev1.ServiceAccountRootCAKey: pemOf("CERTIFICATE", authority.Raw),
		},
	}, nil
}

// newCertificate signs the template with the parent, or with itself when there is none.
func newCertificate(template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, fmt.Errorf("make serial number: %w", err)
	}
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(certificateLife)
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, nil, fmt.Errorf("sign certificate: %w", err)
	}
	made, err := x509.ParseCertificate(raw)
	return made, key, err
}

func pemOf(kind string, raw []byte) []byte {
	var out bytes.Buffer
	_ = pem.Encode(&out, &pem.Block{Type: kind, Bytes: raw}) // a buffer takes everything
	return out.Bytes()
}
