package agent

import (
	"crypto/rand"
	"encoding/binary"
)

// Opcodes of WebSocket frames (RFC 6455 §5.2).
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPong         = 0xA
)

const (
	maxFrameHeader = 14  // bytes: 2, up to 8 of length, 4 of mask
	maxControl     = 125 // bytes of payload in a control frame
	maxHead        = 16  // bytes of a message that are looked at
)

// frames follows one direction of a WebSocket by the bytes that pass. It keeps
// no payload but the first bytes of a message, changes nothing, and when the
// bytes are no WebSocket frames it says so and looks no further: the two ends
// will notice themselves.
type frames struct {
	// masked is true for the direction from the client.
	masked bool
	// message is called with the opcode and the first ≤ 16 payload bytes of
	// each data message; nil: nobody wants to know. The bytes hold only during
	// the call.
	message func(opcode byte, head []byte)

	header    [maxFrameHeader]byte
	have      int    // bytes of the header so far
	remaining uint64 // bytes of payload to come
	opcode    byte
	mask      [4]byte
	head      [maxHead]byte
	headLen   int
	looking   bool // the head of a message is being collected
	partial   bool // more frames of this message are to come
	malformed bool
}

// feed takes the next bytes.
func (f *frames) feed(p []byte) {
	for len(p) > 0 && !f.malformed {
		p = p[f.step(p):]
	}
}

// untilBoundary takes bytes up to the end of the current frame and returns how
// many those were. At a boundary it takes none.
func (f *frames) untilBoundary(p []byte) int {
	taken := 0
	for taken < len(p) && !f.malformed && !f.atBoundary() {
		taken += f.step(p[taken:])
	}
	return taken
}

// atBoundary reports whether a frame has just ended, so that another may be put in.
func (f *frames) atBoundary() bool { return f.have == 0 && f.remaining == 0 && !f.malformed }

// step takes at least one byte and returns how many it took.
func (f *frames) step(p []byte) int {
	if f.remaining > 0 {
		return f.payload(p)
	}
	f.header[f.have] = p[0]
	f.have++
	if f.have == f.headerLength() {
		f.begin()
	}
	return 1
}

// headerLength is how long the header will be, by what is known so far.
func (f *frames) headerLength() int {
	if f.have < 2 {
		return 2
	}
	n := 2
	switch f.header[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if f.header[1]&0x80 != 0 {
		n += 4
	}
	return n
}

// begin reads a complete header.
func (f *frames) begin() {
	header := f.header[:f.have]
	f.have = 0
	f.opcode = header[0] & 0x0f
	length, rest := uint64(header[1]&0x7f), header[2:]
	switch length {
	case 126:
		length, rest = uint64(binary.BigEndian.Uint16(rest)), rest[2:]
	case 127:
		length, rest = binary.BigEndian.Uint64(rest), rest[8:]
	}
	if f.malformed = f.impossible(header, length); f.malformed {
		return
	}
	if f.opcode < opClose {
		f.partial = header[0]&0x80 == 0
	}
	copy(f.mask[:], rest)
	f.remaining = length
	f.looking = f.message != nil && (f.opcode == opText || f.opcode == opBinary)
	f.headLen = 0
	if length == 0 {
		f.end()
	}
}

// impossible judges a header: reserved bits (no extension was agreed on),
// reserved opcodes, the wrong mask, lengths that RFC 6455 §5.2 and §5.5 forbid.
func (f *frames) impossible(header []byte, length uint64) bool {
	control := f.opcode >= opClose
	return header[0]&0x70 != 0 ||
		f.opcode > opPong || (f.opcode > opBinary && !control) ||
		(header[1]&0x80 != 0) != f.masked ||
		length > 1<<63-1 ||
		control && (length > maxControl || header[0]&0x80 == 0)
}

// payload takes bytes of the payload and keeps the first ones, unmasked.
func (f *frames) payload(p []byte) int {
	n := int(min(uint64(len(p)), f.remaining))
	if f.looking {
		for _, b := range p[:min(n, maxHead-f.headLen)] {
			f.head[f.headLen] = b ^ f.mask[f.headLen%4]
			f.headLen++
		}
	}
	f.remaining -= uint64(n)
	if f.remaining == 0 || f.headLen == maxHead {
		f.end()
	}
	return n
}

// end reports a message once its head is known.
func (f *frames) end() {
	if f.looking {
		f.looking = false
		f.message(f.opcode, f.head[:f.headLen])
	}
}

// closeFrame is an unmasked close frame as a server sends it. The reason is at
// most 123 bytes (RFC 6455 §5.5.1).
func closeFrame(code uint16, reason string) []byte {
	reason = reason[:min(len(reason), maxControl-2)]
	frame := []byte{0x80 | opClose, byte(2 + len(reason))}
	return append(binary.BigEndian.AppendUint16(frame, code), reason...)
}

// textFrame is an unmasked text message of at most 125 bytes, the rest is cut off.
func textFrame(text string) []byte {
	text = text[:min(len(text), maxControl)]
	return append([]byte{0x80 | opText, byte(len(text))}, text...)
}

// maskedCloseFrame is a close frame as a client sends it.
func maskedCloseFrame(code uint16) []byte {
	frame := []byte{0x80 | opClose, 0x80 | 2}
	mask := make([]byte, 4)
	_, _ = rand.Read(mask) // never fails
	frame = append(frame, mask...)
	return append(frame, byte(code>>8)^mask[0], byte(code)^mask[1])
}
