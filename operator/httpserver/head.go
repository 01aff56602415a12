package httpserver

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"
)

// maxLines is how many lines the head of a request may have. A short line costs many
// times its length in memory once it is a field.
const maxLines = 256

var errHead = errors.New("the head of the request has too many lines")

// cookieField begins a line of cookies, in upper or lower case.
const cookieField = "cookie:"

// head counts the lines of a request's head, and the bytes of its cookies, while it arrives.
type head struct {
	// under way: what arrives belongs to a head.
	under atomic.Bool
	// The rest is the reader's alone.
	lines, length int                    // length of the line that has begun
	text          bool                   // some line was not empty; net/http skips empty ones in front
	start         [len(cookieField)]byte // of that line
	cookies       int                    // bytes of the lines of cookies that are complete
}

func (h *head) begin() {
	h.lines, h.length, h.text, h.cookies = 0, 0, false, 0
	h.under.Store(true)
}

func (h *head) end() { h.under.Store(false) }

// takes reports whether the head may be this long. It ends itself behind an empty line.
func (h *head) takes(p []byte) bool {
	for {
		line, rest, whole := bytes.Cut(p, []byte{'\n'})
		if h.length < len(h.start) {
			copy(h.start[h.length:], line)
		}
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
		p, h.cookies, h.length = rest, h.cookieBytes(), 0
	}
}

// cookieBytes is how much of what has arrived are cookies.
func (h *head) cookieBytes() int {
	if h.length >= len(h.start) && strings.EqualFold(string(h.start[:]), cookieField) {
		return h.cookies + h.length
	}
	return h.cookies
}
