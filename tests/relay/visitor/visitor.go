// Package visitor uses a TURN relay as a browser does, with pion's client. It
// knows nothing about how the relay runs.
package visitor

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/pion/turn/v4"
	"github.com/stretchr/testify/require"
)

// Port for TURN over UDP that every relay of the tests listens on.
const Port = "3478"

// Credential in coturn's REST format: the expiry and an ID, signed.
type Credential struct{ User, Password string }

// Signed is what the relay's owner gives to a user.
func Signed(secret, id string, expiry time.Time) Credential {
	user := fmt.Sprintf("%d:%s", expiry.Unix(), id)
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(user))
	return Credential{user, base64.StdEncoding.EncodeToString(mac.Sum(nil))}
}

// Path is from an address of this machine to a relay.
type Path struct{ From, Relay string }

// Allocate asks for a relay address. All of it ends with the test.
func (p Path) Allocate(t *testing.T, c Credential) (*turn.Client, net.PacketConn, error) {
	t.Helper()
	conn, err := net.ListenPacket("udp4", net.JoinHostPort(p.From, "0"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	client, err := turn.NewClient(&turn.ClientConfig{
		TURNServerAddr: net.JoinHostPort(p.Relay, Port), Conn: conn, Username: c.User, Password: c.Password,
	})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	require.NoError(t, client.Listen())
	relayed, err := client.Allocate()
	if err == nil {
		t.Cleanup(func() { _ = relayed.Close() })
	}
	return client, relayed, err
}

// Meet lets two users of the relay talk through it, one packet each way.
func (p Path) Meet(t *testing.T, a, b Credential) {
	t.Helper()
	oneClient, one, err := p.Allocate(t, a)
	require.NoError(t, err)
	twoClient, two, err := p.Allocate(t, b)
	require.NoError(t, err)
	require.NoError(t, oneClient.CreatePermission(two.LocalAddr()))
	require.NoError(t, twoClient.CreatePermission(one.LocalAddr()))
	for _, way := range [][2]net.PacketConn{{one, two}, {two, one}} {
		_, err := way[0].WriteTo([]byte("hello"), way[1].LocalAddr())
		require.NoError(t, err)
		require.NoError(t, way[1].SetReadDeadline(time.Now().Add(5*time.Second)))
		buffer := make([]byte, 64)
		n, from, err := way[1].ReadFrom(buffer)
		require.NoError(t, err)
		require.Equal(t, "hello", string(buffer[:n]))
		require.Equal(t, way[0].LocalAddr().String(), from.String())
	}
}
