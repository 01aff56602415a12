package agent

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"syscall"
)

// sources are the loopback addresses that visitors come to the desktop from.
type sources struct {
	dialer net.Dialer
	// salt keeps programs in the desktop from reading out of an address who comes.
	salt []byte
}

func newSources(dialer *net.Dialer) *sources {
	return &sources{dialer: *dialer, salt: []byte(rand.Text())}
}

// visitorKey is the key of a context's value with a visitor's key.
type visitorKey struct{}

func withVisitor(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, visitorKey{}, key)
}

// dial connects from the address of the context's visitor where it can.
func (s *sources) dial(ctx context.Context, network, address string) (net.Conn, error) {
	key, _ := ctx.Value(visitorKey{}).(string)
	if key == "" || !hasManyLoopbacks(address) {
		return s.dialer.DialContext(ctx, network, address)
	}
	dialer := s.dialer
	dialer.LocalAddr = &net.TCPAddr{IP: s.of(key)}
	conn, err := dialer.DialContext(ctx, network, address)
	if errors.Is(err, syscall.EADDRNOTAVAIL) { // a sandbox with 127.0.0.1 alone
		return s.dialer.DialContext(ctx, network, address)
	}
	return conn, err
}

// hasManyLoopbacks reports whether an address is one that all of 127.0.0.0/8 may call:
// Linux needs nothing for it, other systems have 127.0.0.1 alone.
func hasManyLoopbacks(address string) bool {
	to, err := netip.ParseAddrPort(address)
	return err == nil && runtime.GOOS == "linux" && to.Addr().Is4() && to.Addr().IsLoopback()
}

// of is an address in 127.1.1.1 to 127.254.254.254, so it is never 127.0.0.1, from
// which everything else in the pod comes.
func (s *sources) of(key string) net.IP {
	mac := hmac.New(sha256.New, s.salt)
	_, _ = mac.Write([]byte(key)) // a hash never fails
	sum := mac.Sum(nil)
	within := func(b byte) byte { return 1 + b%254 }
	return net.IPv4(127, within(sum[0]), within(sum[1]), within(sum[2]))
}
