package relay

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"github.com/pion/turn/v4"
	"github.com/stretchr/testify/require"
)

const relayPort = "3478"

// credential in coturn's REST format: the expiry and an ID, signed.
type credential struct{ user, password string }

func signed(secret, id string, expiry time.Time) credential {
	user := fmt.Sprintf("%d:%s", expiry.Unix(), id)
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(user))
	return credential{user, base64.StdEncoding.EncodeToString(mac.Sum(nil))}
}

func valid(id string) credential { return signed(secret, id, time.Now().Add(time.Hour)) }

// allocate asks for a relay address as a browser does, with pion's client.
func allocate(t *testing.T, c credential, server string) (*turn.Client, net.PacketConn, error) {
	t.Helper()
	conn, err := net.ListenPacket("udp4", server+":0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	client, err := turn.NewClient(&turn.ClientConfig{
		TURNServerAddr: net.JoinHostPort(server, relayPort), Conn: conn, Username: c.user, Password: c.password,
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

// meet lets two users of the relay talk through it, one packet each way.
func meet(t *testing.T, a, b credential, server string) {
	t.Helper()
	oneClient, one, err := allocate(t, a, server)
	require.NoError(t, err)
	twoClient, two, err := allocate(t, b, server)
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

// raw is a client that says what no library would let it say.
type raw struct {
	conn         net.Conn
	user         credential
	realm, nonce string
}

// Families of REQUESTED-ADDRESS-FAMILY.
const (
	family4 byte = 1
	family6 byte = 2
)

var udpTransport = stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{17, 0, 0, 0}}

// rawAllocate gets a relay address of the family; it returns the STUN error code, 0 for none.
func rawAllocate(t *testing.T, user credential, family byte) (*raw, int) {
	t.Helper()
	conn, err := net.Dial("udp", net.JoinHostPort(public4, relayPort))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	r := &raw{conn: conn, user: user}
	wanted := stun.RawAttribute{Type: stun.AttrRequestedAddressFamily, Value: []byte{family, 0, 0, 0}}
	answer := r.ask(t, stun.MethodAllocate, udpTransport, wanted)
	require.Equal(t, 401, codeOf(answer), "coturn takes anonymous users")
	r.realm, r.nonce = attribute(answer, stun.AttrRealm), attribute(answer, stun.AttrNonce)
	return r, codeOf(r.ask(t, stun.MethodAllocate, udpTransport, wanted))
}

// permit asks to send to a peer.
func (r *raw) permit(t *testing.T, peer netip.Addr) int {
	t.Helper()
	return codeOf(r.ask(t, stun.MethodCreatePermission, peerAttribute{netip.AddrPortFrom(peer, 9)}))
}

func (r *raw) bind(t *testing.T, peer netip.Addr) int {
	t.Helper()
	channel := stun.RawAttribute{Type: stun.AttrChannelNumber, Value: []byte{0x40, 0, 0, 0}}
	return codeOf(r.ask(t, stun.MethodChannelBind, channel, peerAttribute{netip.AddrPortFrom(peer, 9)}))
}

func (r *raw) ask(t *testing.T, method stun.Method, attributes ...stun.Setter) *stun.Message {
	t.Helper()
	setters := append([]stun.Setter{stun.TransactionID, stun.NewType(method, stun.ClassRequest)}, attributes...)
	if r.nonce != "" {
		setters = append(setters, stun.NewUsername(r.user.user), stun.NewRealm(r.realm), stun.NewNonce(r.nonce),
			stun.NewLongTermIntegrity(r.user.user, r.realm, r.user.password))
	}
	request, err := stun.Build(append(setters, stun.Fingerprint)...)
	require.NoError(t, err)
	answer, err := r.roundTrip(request)
	require.NoError(t, err)
	return answer
}

// roundTrip asks again when UDP lost something, as RFC 8489 §6.2.1 wants.
func (r *raw) roundTrip(request *stun.Message) (*stun.Message, error) {
	buffer := make([]byte, 1500)
	for wait := 500 * time.Millisecond; wait < 10*time.Second; wait *= 2 {
		if _, err := r.conn.Write(request.Raw); err != nil {
			return nil, err
		}
		if err := r.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return nil, err
		}
		n, err := r.conn.Read(buffer)
		if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
			continue
		}
		if err != nil {
			return nil, err
		}
		answer := &stun.Message{Raw: append([]byte(nil), buffer[:n]...)}
		return answer, answer.Decode()
	}
	return nil, errors.New("the relay does not answer")
}

// peerAttribute is XOR-PEER-ADDRESS in exactly the form given: net.IP would
// turn ::ffff:127.0.0.1 into 127.0.0.1.
type peerAttribute struct{ addr netip.AddrPort }

func (p peerAttribute) AddTo(m *stun.Message) error {
	mask := binary.BigEndian.AppendUint32(nil, 0x2112A442)
	mask = append(mask, m.TransactionID[:]...)
	family := family6
	if p.addr.Addr().Is4() {
		family = family4
	}
	value := []byte{0, family}
	value = binary.BigEndian.AppendUint16(value, p.addr.Port()^0x2112)
	for i, b := range p.addr.Addr().AsSlice() {
		value = append(value, b^mask[i])
	}
	m.Add(stun.AttrXORPeerAddress, value)
	return nil
}

func attribute(m *stun.Message, name stun.AttrType) string {
	value, _ := m.Get(name)
	return string(value)
}

func codeOf(m *stun.Message) int {
	if m.Type.Class != stun.ClassErrorResponse {
		return 0
	}
	var code stun.ErrorCodeAttribute
	if err := code.GetFrom(m); err != nil {
		return -1
	}
	return int(code.Code)
}
