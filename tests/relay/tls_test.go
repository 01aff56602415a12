package relay

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pion/turn/v4"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/tests/relay/coturn"
)

// certificateFolder is where the pod mounts tls.secretName.
const certificateFolder = "/etc/coturn-tls"

// writeCertificate lays down a TLS Secret as the kubelet does, and returns who trusts it.
func writeCertificate(t *testing.T) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.ParseIP(public4)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(certificateFolder, 0o755))
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "PRIVATE KEY", Bytes: private}} {
		file := filepath.Join(certificateFolder, name)
		require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(block), 0o400))
		require.NoError(t, os.Chown(file, coturn.Nobody, coturn.Nobody))
	}
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	trusted := x509.NewCertPool()
	trusted.AddCert(certificate)
	return trusted
}

// TestTLS: with a certificate the relay also takes users over TLS, and only with a credential.
func TestTLS(t *testing.T) {
	trusted := writeCertificate(t)
	relay := start(t, setup{set: []string{"tls.enabled=true", "tls.secretName=any"}})
	require.NotContains(t, relay.Log(), bad)
	for user, works := range map[credential]bool{valid("alice"): true, signed(otherSecret, "alice", time.Now().Add(time.Hour)): false} {
		conn, err := tls.Dial("tcp", net.JoinHostPort(public4, "5349"), &tls.Config{RootCAs: trusted})
		require.NoError(t, err)
		client, err := turn.NewClient(&turn.ClientConfig{TURNServerAddr: net.JoinHostPort(public4, "5349"), Conn: turn.NewSTUNConn(conn), Username: user.User, Password: user.Password})
		require.NoError(t, err)
		t.Cleanup(client.Close)
		require.NoError(t, client.Listen())
		_, err = client.Allocate()
		require.Equal(t, works, err == nil, "%v", err)
	}
}
