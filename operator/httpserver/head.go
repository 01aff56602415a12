package httpserver

import (
	"bytes"
	"errors"
	"sync/atomic"
)

// maxLines is how many lines the head of a request may have. A short line costs many
// times its length in memory once it is a field.
const maxLines = 256

var errHead = errors.New("the head of the request has too many lines")

// head counts the lines of a request's head while it arrives.
type head struct {
	// under way: what arrives belongs to a head.
	under atomic.Bool
	// The rest is the reader's alone.
	lines, length int  // length of the line that has begun
	text          bool // some line was not empty; net/http skips empty ones in front
}

func (h *head) begin() {
	h.lines, h.length, h.text = 0, 0, false
	h.under.Store(true)
}

func (h *head) end() { h.under.Store(false) }

// takes reports whether the head may be this long. It ends itself behind an empty line.
func (h *head) takes(p []byte) bool {
	for {
		line, rest, whole := bytes.Cut(p, []byte{'\n'})
		h.length += len(bytes.TrimSuffix(line, []byte{'\r'}))
		if !whole {
			return true
		}
		if h.length == 0 && h.text {
			h.end()
			return true
		}
		h.text = h.text || h.length > 0
		if h.lines++; h.lines > maxLines {
			return false
		}
		p, h.length = rest, 0
	}
}
