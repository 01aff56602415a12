package agent

import (
	"bufio"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vdi-platform/vdi-platform/platform"
)

// Codes of WebSocket close frames (RFC 6455 §7.4.1).
const (
	closeGoingAway = 1001
	closePolicy    = 1008
	// closeSuperseded is Selkies' own (platform.FarewellSuperseded).
	closeSuperseded = 4001
)

const (
	// closeGrace is how long a viewer has to answer a goodbye.
	closeGrace = 3 * time.Second
	// Buffers: what a person types is short, video frames are long.
	inputBuffer = 4 << 10
	videoBuffer = 32 << 10
)

// stream is the visitor's end of a WebSocket. The bytes pass as they are; they
// are counted and followed, and a goodbye is put in between two frames. Read
// and Write are each called by one goroutine at a time, end and farewell by any.
type stream struct {
	net.Conn
	page platform.Farewell // how the page learns of the end
	// early are bytes that came together with the handshake.
	early *bufio.Reader

	in     frames // from the visitor; only Read uses it
	onLost func()
	lost   atomic.Bool // the visitor's frames cannot be followed
	counts *counts

	why   atomic.Pointer[ending] // set: nothing of the visitor's goes on to the desktop
	begun chan struct{}          // closed when the handshake is over, or the connection
	begin sync.Once

	up      sync.Mutex // guards sent, and the order of writes to the desktop
	sent    frames     // to the desktop
	desktop io.Writer  // set before begun is closed; nil: there was no stream

	mu          sync.Mutex // guards out and what follows, and the order of writes
	out         frames     // to the visitor
	lastMessage []byte     // the message to send before the goodbye
	goodbye     []byte     // the close frame to send at the next boundary
	departed    bool       // it was sent; nothing may follow it
}

func newStream(conn net.Conn, early *bufio.Reader, c *counts, message func(byte, []byte), lost func()) *stream {
	return &stream{
		Conn: conn, early: early, counts: c, in: frames{masked: true, message: message}, onLost: lost,
		begun: make(chan struct{}), sent: frames{masked: true},
	}
}

// Read takes bytes from the visitor.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.read(p)
	s.counts.read(n)
	if s.why.Load() == nil { // later bytes are no use of the desktop
		s.in.feed(p[:n])
	}
	if s.in.malformed && s.lost.CompareAndSwap(false, true) {
		s.onLost()
	}
	if errors.Is(err, io.EOF) {
		// A viewer who went stays away: both directions end.
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (s *stream) read(p []byte) (int, error) {
	if s.early != nil && s.early.Buffered() > 0 {
		return s.early.Read(p[:min(len(p), s.early.Buffered())])
	}
	s.early = nil
	return s.Conn.Read(p)
}

// WriteTo implements io.WriterTo, so that copying takes a small buffer, and so that
// the desktop's end is known.
func (s *stream) WriteTo(w io.Writer) (int64, error) {
	s.begin.Do(func() {
		s.desktop = w
		close(s.begun)
	})
	if s.desktop == nil { // it was closed before it began, and early bytes would still be there
		return 0, net.ErrClosed
	}
	return io.CopyBuffer(input{s}, struct{ io.Reader }{s}, make([]byte, inputBuffer))
}

// Close ends the visitor's connection.
func (s *stream) Close() error {
	s.begin.Do(func() { close(s.begun) })
	return s.Conn.Close()
}

// input is the desktop's end for what the visitor sends.
type input struct{ s *stream }

// Write hands bytes to the desktop, until the end.
func (i input) Write(p []byte) (int, error) {
	i.s.up.Lock()
	defer i.s.up.Unlock()
	if i.s.why.Load() != nil {
		return len(p), nil
	}
	i.s.sent.feed(p)
	return i.s.desktop.Write(p)
}

// end stops the visitor's input at once and notifies both sides. It waits for neither.
func (s *stream) end(why ending) {
	if !s.why.CompareAndSwap(nil, &why) {
		return
	}
	farewellSent := make(chan struct{})
	go func() {
		<-s.begun
		s.farewell(why.code, why.reason)
		close(farewellSent)
	}()
	go func() {
		<-s.begun
		s.hangUp(farewellSent)
	}()
}

// hangUp notifies the desktop that the visitor is gone. It must not depend on the
// visitor's answer to the farewell: without a close frame Selkies waits for the
// network to come back, with keys held and media flowing. Within a frame of the
// visitor's there is no place for one, so the connection is cut when the visitor
// has the farewell.
func (s *stream) hangUp(farewellSent <-chan struct{}) {
	if s.desktop == nil || s.writeToDesktop(maskedCloseFrame(closeGoingAway)) {
		return
	}
	<-farewellSent
	if desktop, can := s.desktop.(io.Closer); can {
		_ = desktop.Close() // the copying ends by it
	}
}

// writeToDesktop reports whether there was a place for a frame.
func (s *stream) writeToDesktop(frame []byte) bool {
	s.up.Lock()
	defer s.up.Unlock()
	if !s.sent.atBoundary() {
		return false
	}
	_, err := s.desktop.Write(frame)
	return err == nil
}

// Write hands bytes to the visitor. After a goodbye they are dropped: the
// connection stays open for the viewer's answer.
func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if why := s.why.Load(); why != nil && s.hasBegun() {
		s.prepare(why.code, why.reason) // the desktop may be the first to say that it ends
	}
	if s.goodbye != nil && !s.departed && s.out.atBoundary() {
		return len(p), s.depart()
	}
	if s.goodbye == nil {
		s.out.feed(p)
		return s.write(p)
	}
	if s.departed {
		return len(p), nil
	}
	n, err := s.write(p[:s.out.untilBoundary(p)])
	if err != nil {
		return n, err
	}
	return len(p), s.depart()
}

func (s *stream) write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	s.counts.wrote(n)
	return n, err
}

// ReadFrom implements io.ReaderFrom, so that copying takes one buffer of a
// known size and every read goes out at once.
func (s *stream) ReadFrom(r io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{s}, r, make([]byte, videoBuffer))
}

// depart sends the goodbye if a frame has just ended.
func (s *stream) depart() error {
	switch {
	case s.out.malformed: // no place to put it in
		s.departed = true
		return io.ErrClosedPipe
	case !s.out.atBoundary():
		return nil
	}
	s.departed = true
	last := s.goodbye
	if !s.out.partial { // a message may not begin within another
		last = append(s.lastMessage, last...)
	}
	_, err := s.write(last)
	return err
}

// farewell sends the viewer the end, and closes the connection when
// the viewer answers, at the latest after closeGrace. A viewer who reads slowly
// holds nobody up. Only the first farewell counts.
func (s *stream) farewell(code uint16, reason string) {
	// Also frees a Write that a slow viewer holds.
	_ = s.SetDeadline(time.Now().Add(closeGrace)) // fails only on a closed connection
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.goodbye != nil {
		return
	}
	s.prepare(code, reason)
	if err := s.depart(); err != nil {
		_ = s.Close() // the copying ends by it
	}
}

// hasBegun reports whether the handshake is over: what is written before that is no frame.
func (s *stream) hasBegun() bool {
	select {
	case <-s.begun:
		return true
	default:
		return false
	}
}

// prepare sets what the viewer gets at the end. Only the first counts.
func (s *stream) prepare(code uint16, reason string) {
	if s.goodbye != nil {
		return
	}
	if code == closePolicy { // else the page shall come back, and see what the front door says
		switch s.page {
		case platform.FarewellKill:
			s.lastMessage = textFrame("KILL " + reason)
		case platform.FarewellSuperseded:
			code = closeSuperseded
		}
	}
	s.goodbye = closeFrame(code, reason)
}

// CloseWrite is called when the desktop has closed its end. The viewer has a
// moment to read what is left.
func (s *stream) CloseWrite() error {
	if half, can := s.Conn.(interface{ CloseWrite() error }); can {
		if err := half.CloseWrite(); err != nil {
			return err
		}
	}
	return s.SetReadDeadline(time.Now().Add(closeGrace))
}
