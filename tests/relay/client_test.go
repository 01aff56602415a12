package relay

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/tests/relay/visitor"
)

const relayPort = visitor.Port

// credential in coturn's REST format.
type credential = visitor.Credential

var signed = visitor.Signed

func valid(id string) credential { return signed(secret, id, time.Now().Add(time.Hour)) }

// meet lets two users of the relay talk through it.
func meet(t *testing.T, a, b credential, server string) {
	t.Helper()
	visitor.Path{From: server, Relay: server}.Meet(t, a, b)
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
	for {
		// 437: an earlier client had this very port, and its allocation still holds.
		if r, code := allocateOnce(t, user, family); code != 437 {
			return r, code
		}
	}
}

func allocateOnce(t *testing.T, user credential, family byte) (*raw, int) {
	t.Helper()
	conn, err := net.Dial("udp", net.JoinHostPort(public4, relayPort))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	r := &raw{conn: conn, user: user}
	wanted := stun.RawAttribute{Type: stun.AttrRequestedAddressFamily, Value: []byte{family, 0, 0, 0}}
	answer := r.ask(t, stun.MethodAllocate, udpTransport, wanted)
	if codeOf(answer) == 437 {
		return nil, 437
	}
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
		setters = append(setters, stun.NewUsername(r.user.User), stun.NewRealm(r.realm), stun.NewNonce(r.nonce),
			stun.NewLongTermIntegrity(r.user.User, r.realm, r.user.Password))
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
