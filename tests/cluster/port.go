package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
)

// Ports that programs of the tests get. They lie below those that the kernel gives away by
// itself (net.ipv4.ip_local_port_range begins at 32768): one of these may be another's before
// the program listens on it.
const (
	firstPort = 20000
	manyPorts = 10000
)

// lastPort counts on from a place of this process's own: tests run in several at once.
var lastPort atomic.Uint32

func init() { lastPort.Store(rand.Uint32N(manyPorts)) }

// FreePort is a TCP port on 127.0.0.1 that nothing uses now, and that no one gets who asks for
// any. It never comes twice within thousands.
func FreePort() (int, error) {
	var failed error
	for range manyPorts {
		port := firstPort + int(lastPort.Add(1)%manyPorts)
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, listener.Close()
		}
		failed = err
	}
	return 0, errors.Join(errors.New("find a free port"), failed)
}

// FreeAddress is 127.0.0.1 with a FreePort.
func FreeAddress() (string, error) {
	port, err := FreePort()
	return fmt.Sprintf("127.0.0.1:%d", port), err
}
