package cluster

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
)

// forward listens on 127.0.0.1 for each forward and joins every connection to
// one to the node, until stop.
func forward(forwards []Forward, node netip.Addr) (stop func(), err error) {
	var listeners []net.Listener
	stop = func() {
		for _, l := range listeners {
			l.Close()
		}
	}
	for _, f := range forwards {
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(f.Host)))
		if err != nil {
			stop()
			return nil, fmt.Errorf("forward %s: %w (end what listens there, such as another checkout's demo)", f, err)
		}
		listeners = append(listeners, listener)
		go acceptAll(listener, netip.AddrPortFrom(node, uint16(f.Node)).String())
	}
	return stop, nil
}

func acceptAll(listener net.Listener, target string) {
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			go join(conn, target)
		}
	}
}

// join copies both ways until both sides are done.
func join(client net.Conn, target string) {
	defer client.Close()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return // nothing listens there; the client sees its connection closed
	}
	defer server.Close()
	done := make(chan struct{})
	go func() {
		pour(server, client)
		close(done)
	}()
	pour(client, server)
	<-done
}

// pour copies until the end and passes the end on.
func pour(to, from net.Conn) {
	_, _ = io.Copy(to, from) // a broken connection is an end like any other
	if tcp, ok := to.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
}
