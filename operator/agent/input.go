package agent

import (
	"bytes"
	"maps"
	"slices"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// inputRule reports whether a WebSocket message from the browser is a person's
// doing, by its opcode and first ≤ 16 bytes. nil: that cannot be known, so an open
// connection counts as use.
type inputRule func(opcode byte, head []byte) bool

// inputRules is the table of --input. [wire.InputNone] is for streamers whose input comes
// another way, or in a form that nobody here knows.
func inputRules() map[string]inputRule {
	return map[string]inputRule{wire.InputSelkies: selkiesInput, wire.InputNone: nil}
}

// InputRules returns the values that --input takes.
func InputRules() []string { return slices.Sorted(maps.Keys(inputRules())) }

// selkiesInput knows the text messages of Selkies 2.x, "WORD,ARGUMENTS"
// (selkies 2.1.0, src/selkies/input_handler.py, _dispatch_message, and
// websockets_mode.py). Not input, because an open tab sends them by itself: kh
// and js,h (heartbeats of held keys), kr (keys released when the tab loses the
// focus), cr and REQUEST_CLIPBOARD, CLIENT_FRAME_ACK, START_VIDEO, STOP_VIDEO,
// SETTINGS, r and s (size and scale), vp, p, _f, _l, _gz, _pointer_echo, pong;
// binary messages are microphone, webcam and gzipped settings.
func selkiesInput(opcode byte, head []byte) bool {
	if opcode != opText {
		return false
	}
	word, rest, _ := bytes.Cut(head, []byte(","))
	switch string(word) {
	case "kd", "ku", "co", // keys and composed text
		"m", "m2", "sf", "sfe", // pointer, wheel and touchpad
		"cw", "cws", "cwd", "cwe", "cb", "cbs", "cbd", "cbe", // clipboard from the browser
		"cmd": // a program started from the side bar
		return true
	case "js": // gamepad: button and axis
		return bytes.HasPrefix(rest, []byte("b,")) || bytes.HasPrefix(rest, []byte("a,"))
	}
	return false
}
