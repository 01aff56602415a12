package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A point within the terminal that the desktop starts with, in the browser's
// pixels (tests/images/desktop/etc/jwm/system.jwmrc: 88 columns at 60, 48).
const (
	terminalX, terminalY = 400, 300
	terminalColumns      = 88
)

// bands of colour in a painted picture, each two lines high.
const bands = 8

// colour is one of xterm's 256, by its number there (256colres.h).
type colour struct {
	number  int
	r, g, b int
}

// colours are far from each other and from what else is on the desktop, so that
// what video encoding does to them does not matter.
var colours = []colour{{196, 255, 0, 0}, {46, 0, 255, 0}, {21, 0, 0, 255}, {226, 255, 255, 0}, {201, 255, 0, 255}, {51, 0, 255, 255}}

// column reads one column of pixels from the video in the page, as red, green,
// blue and opacity of one pixel after the other.
var column = fmt.Sprintf(`(() => {
  const video = document.querySelector('#videoStream'), canvas = document.createElement('canvas');
  canvas.width = video.videoWidth; canvas.height = video.videoHeight;
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0);
  const x = Math.round(%d * video.videoWidth / video.getBoundingClientRect().width);
  return Array.from(context.getImageData(x, 0, 1, canvas.height).data);
})()`, terminalX)

// paints types a command that fills the terminal with bands of random colours,
// and waits until the video in the page shows them in that order.
func (b browser) paints(name string) {
	b.T.Helper()
	pattern := randomPattern()
	var numbers []string
	for _, c := range pattern {
		numbers = append(numbers, fmt.Sprint(c.number))
	}
	b.types(fmt.Sprintf(`clear; for c in %s; do printf "\e[48;5;${c}m%%%ds\e[0m" ""; done; echo`, strings.Join(numbers, " "), 2*terminalColumns))
	var seen []colour
	require.Eventually(b.T, func() bool {
		pixels, err := chromedp.Run(b.Context, chromedp.Evaluate[[]int](column))
		seen = bandsOf(pixels)
		return err == nil && assert.ObjectsAreEqual(pattern, seen)
	}, patience, 200*time.Millisecond, "the picture of %v comes back", numbers)
	b.T.Logf("typed and seen: %v", seen)
	b.Screenshot(name)
}

// randomPattern has no colour beside itself.
func randomPattern() []colour {
	var pattern []colour
	for len(pattern) < bands {
		c := colours[rand.IntN(len(colours))]
		if len(pattern) == 0 || pattern[len(pattern)-1] != c {
			pattern = append(pattern, c)
		}
	}
	return pattern
}

// bandsOf are the known colours in a column of pixels, from top to bottom. A
// band is at least minBand pixels high: less is the seam between two.
func bandsOf(pixels []int) []colour {
	const minBand = 8
	var found []colour
	var current *colour
	height := 0
	for i := 0; i+3 < len(pixels); i += 4 {
		c := nearest(pixels[i], pixels[i+1], pixels[i+2])
		if c == nil || current == nil || *c != *current {
			current, height = c, 0
		}
		height++
		if current != nil && height == minBand {
			found = append(found, *current)
		}
	}
	return found
}

// nearest is the colour that a pixel shows, nil for none of them.
func nearest(r, g, b int) *colour {
	const tolerance = 60 // per channel, of 255; the colours are 255 apart
	near := func(a, b int) bool { return max(a-b, b-a) <= tolerance }
	for i, c := range colours {
		if near(r, c.r) && near(g, c.g) && near(b, c.b) {
			return &colours[i]
		}
	}
	return nil
}
