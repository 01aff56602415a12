// Package chromium is the real browser, for tests of what a person sees and does.
package chromium

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/tests/cluster"
	"github.com/vdi-platform/vdi-platform/tests/debian"
)

// patience bounds how long a page may take on a busy machine.
const patience = 2 * time.Minute

// Tab is one tab of a browser, which ends with the test.
type Tab struct {
	T       testing.TB
	Context context.Context
}

// Open starts a browser. Names are found by rules of --host-resolver-rules, such
// as "MAP *.example.com 127.0.0.1".
func Open(t testing.TB, names string, more ...chromedp.ExecAllocatorOption) Tab {
	t.Helper()
	require.NoError(t, debian.Ensure(t.Context(), "chromium", "chromium"))
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, // the tests run as root
		chromedp.Flag("host-resolver-rules", names),
		chromedp.Flag("disable-quic", true),
		chromedp.IgnoreCertErrors,
		chromedp.WindowSize(1024, 700),
	)
	allocator, stop := chromedp.NewExecAllocator(t.Context(), append(options, more...)...)
	t.Cleanup(stop)
	return Tab{t, allocator}.Another()
}

// Another is one more tab of the same browser, with the same cookies.
func (b Tab) Another() Tab {
	b.T.Helper()
	ctx, closeTab := chromedp.NewContext(b.Context)
	b.T.Cleanup(closeTab)
	require.NoError(b.T, chromedp.Do(ctx), "the tab starts, and ends with this context, not with that of its first step")
	return Tab{b.T, ctx}
}

// Do does what a person does, in order.
func (b Tab) Do(steps ...chromedp.Action[chromedp.Void]) {
	b.T.Helper()
	ctx, cancel := context.WithTimeout(b.Context, patience)
	defer cancel()
	require.NoError(b.T, chromedp.Do(ctx, steps...))
}

// Presses clicks on something, once more where the page has just replaced it, as pages
// that follow events do at any time.
func (b Tab) Presses(selector string) {
	b.T.Helper()
	const replaced = "Could not find node with given id"
	ctx, cancel := context.WithTimeout(b.Context, patience)
	defer cancel()
	for {
		err := chromedp.Do(ctx, chromedp.Click(selector))
		if err == nil {
			return
		}
		require.ErrorContains(b.T, err, replaced)
	}
}

// Comes waits until an expression is true in the page. It is asked from outside:
// a page's own policy may let no text be run as a script.
func (b Tab) Comes(expression string) {
	b.T.Helper()
	require.Eventually(b.T, func() bool {
		is, err := chromedp.Run(b.Context, chromedp.Evaluate[bool](expression))
		return err == nil && is
	}, patience, 100*time.Millisecond, expression)
}

// Shows waits until the page has the words.
func (b Tab) Shows(words string) {
	b.T.Helper()
	b.Comes(fmt.Sprintf("!!document.body && document.body.innerText.includes(%q)", words))
}

// Screenshot keeps what the browser shows, below the folder VDI_SCREENSHOTS,
// else below screenshots beside the tools.
func (b Tab) Screenshot(name string) {
	b.T.Helper()
	dir := os.Getenv("VDI_SCREENSHOTS")
	if dir == "" {
		bin, err := cluster.BinDir()
		require.NoError(b.T, err)
		dir = filepath.Join(bin, "screenshots")
	}
	require.NoError(b.T, os.MkdirAll(dir, 0o750))
	picture, err := chromedp.Run(b.Context, chromedp.CaptureScreenshot())
	require.NoError(b.T, err)
	test := strings.ReplaceAll(b.T.Name(), "/", "-")
	require.NoError(b.T, os.WriteFile(filepath.Join(dir, test+"-"+name+".png"), picture, 0o600))
}
