package agent

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// frame builds one frame as RFC 6455 §5.2 draws it.
func frame(first byte, payload []byte, mask []byte) []byte {
	var bit byte
	if mask != nil {
		bit = 0x80
	}
	out := []byte{first}
	switch n := len(payload); {
	case n < 126:
		out = append(out, bit|byte(n))
	case n <= 0xffff:
		out = binary.BigEndian.AppendUint16(append(out, bit|126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, bit|127), uint64(n))
	}
	out = append(out, mask...)
	for i, b := range payload {
		if mask != nil {
			b ^= mask[i%4]
		}
		out = append(out, b)
	}
	return out
}

const fin = 0x80

var testMask = []byte{1, 2, 3, 4}

// heads feeds bytes in pieces and returns the messages' opcodes and heads.
func heads(stream []byte, piece int) (got []string, f *frames) {
	f = &frames{masked: true, message: func(opcode byte, head []byte) {
		got = append(got, string('0'+rune(opcode))+":"+string(head))
	}}
	for p := stream; len(p) > 0; {
		n := min(piece, len(p))
		f.feed(p[:n])
		p = p[n:]
	}
	return got, f
}

func TestFrames(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	var stream []byte
	for _, part := range [][]byte{
		frame(fin|opText, []byte("kd,65"), testMask),
		frame(fin|opText, nil, testMask),
		frame(fin|opBinary, []byte(long), testMask),
		frame(opText, []byte("cw,first"), testMask),         // a message in two frames …
		frame(fin|0x9, []byte("ping"), testMask),            // … with a ping between
		frame(fin|opContinuation, []byte("kd,1"), testMask), // not a message of its own
		frame(fin|opText, []byte(long[:300]), testMask),
		frame(fin|opClose, []byte{3, 232}, testMask),
	} {
		stream = append(stream, part...)
	}
	want := []string{"1:kd,65", "1:", "2:" + long[:16], "1:cw,first", "1:" + long[:16]}
	for _, piece := range []int{1, 2, 3, 7, 16, 100, 4096, len(stream)} {
		got, f := heads(stream, piece)
		assert.Equal(t, want, got, "in pieces of %d", piece)
		assert.True(t, f.atBoundary())
	}
}

func TestFramesBroken(t *testing.T) {
	for name, bad := range map[string][]byte{
		"no mask":            frame(fin|opText, []byte("kd"), nil),
		"reserved bit":       frame(fin|0x40|opText, []byte("kd"), testMask),
		"reserved opcode":    frame(fin|0x3, []byte("kd"), testMask),
		"reserved control":   frame(fin|0xB, nil, testMask),
		"long ping":          frame(fin|0x9, make([]byte, 126), testMask),
		"ping in pieces":     frame(0x9, nil, testMask),
		"length of 64 bits":  append([]byte{fin | opText, 0x80 | 127}, bytes.Repeat([]byte{0xff}, 12)...),
		"HTTP after upgrade": []byte("GET / HTTP/1.1\r\n\r\n"),
	} {
		got, f := heads(append(bad, frame(fin|opText, []byte("kd"), testMask)...), 1)
		assert.True(t, f.malformed, name)
		assert.Empty(t, got, name)
		assert.False(t, f.atBoundary(), name)
	}
}

func TestUntilBoundary(t *testing.T) {
	f := frames{}
	one := frame(fin|opBinary, make([]byte, 300), nil)
	two := frame(fin|opText, []byte("next"), nil)
	assert.Zero(t, f.untilBoundary(one), "nothing has begun")
	f.feed(one[:100])
	assert.False(t, f.atBoundary())
	assert.Equal(t, 50, f.untilBoundary(one[100:150]))
	assert.Equal(t, len(one)-150, f.untilBoundary(append(one[150:len(one):len(one)], two...)))
	assert.True(t, f.atBoundary())
}

func TestCloseFrame(t *testing.T) {
	assert.Equal(t, append([]byte{0x88, 2 + 4, 0x03, 0xe9}, "ends"...), closeFrame(closeGoingAway, "ends"))
	assert.Len(t, closeFrame(closeGoingAway, strings.Repeat("a", 500)), 2+maxControl)
}

// Bytes of any kind, in pieces of any size: the same findings, and no panic.
func FuzzFrames(f *testing.F) {
	f.Add(frame(fin|opText, []byte("kd,65"), testMask), 1)
	f.Add(frame(fin|opBinary, make([]byte, 200), testMask), 3)
	f.Add(append(frame(opText, []byte("m,1,1"), testMask), frame(fin|opContinuation, []byte("x"), testMask)...), 5)
	f.Add([]byte{0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4}, 2)
	f.Fuzz(func(t *testing.T, stream []byte, piece int) {
		if piece < 1 {
			piece = 1
		}
		whole, a := heads(stream, len(stream)+1)
		pieces, b := heads(stream, piece)
		assert.Equal(t, whole, pieces)
		assert.Equal(t, a.malformed, b.malformed)
		assert.Equal(t, a.atBoundary(), b.atBoundary())
		for _, m := range whole {
			assert.LessOrEqual(t, len(m), 2+maxHead)
		}
	})
}
