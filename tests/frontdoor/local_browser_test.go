package frontdoor

import (
	"context"
	"fmt"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/tests/chromium"
)

// TestLocalInTheBrowser: the login by name and password, and the logout on a desktop's
// page, in the real browser, with its scripts and without, also on a narrow screen.
func TestLocalInTheBrowser(t *testing.T) {
	for name, withoutScripts := range map[string]bool{"with scripts": false, "without scripts": true} {
		t.Run(name, func(t *testing.T) {
			w := newLocalWorld(t)
			tab := chromium.Open(t, "MAP *."+domain+" "+w.address)
			tab.Do(chromedp.EmulateViewport(320, 640), chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
				_, err := cdp.Call(ctx, target, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: withoutScripts})
				return err
			}))
			w.typeInBrowser(tab)
			tab.Shows("desktop of " + platform.Identity(alice) + " at /files")
			w.logOutInBrowser(tab, withoutScripts)
		})
	}
}

// typeInBrowser comes from a desktop's address to the login, and types a wrong password
// before the right one.
func (w *world) typeInBrowser(tab chromium.Tab) {
	tab.Do(chromedp.Navigate(aliceURL + "/files"))
	tab.Shows("Log in")
	tab.Comes("location.origin === '" + portal + "'")
	tab.Comes("document.activeElement.id === 'name'")
	fitsScreen(tab)
	tab.Screenshot("login")
	tab.Do(chromedp.SendKeys("#name", "alice"), chromedp.SendKeys("#password", "wrong\r"))
	tab.Shows("This name and this password do not go together.")
	tab.Comes("document.querySelector('#name').value === 'alice' && document.querySelector('#password').value === ''")
	tab.Comes("document.activeElement.id === 'password'")
	fitsScreen(tab)
	tab.Screenshot("wrong")
	tab.Do(chromedp.SendKeys("#password", "alice's"), chromedp.Click("button[type=submit]"))
}

// logOutInBrowser logs out on the page of a suspended desktop: the browser must show the
// answer to that form, and the way from there.
func (w *world) logOutInBrowser(tab chromium.Tab, withoutScripts bool) {
	w.suspend(aliceHost)
	tab.Do(chromedp.Navigate(aliceURL + "/"))
	tab.Shows("Your desktop is suspended")
	fitsScreen(tab)
	tab.Comes(fmt.Sprintf("(document.querySelector('noscript p') !== null) === %t", withoutScripts))
	tab.Presses("form[action='/.vdi/logout'] button")
	tab.Shows("Logged out")
	require.Empty(w.t, w.known.done(), "nothing was resumed")
	tab.Screenshot("logged-out")
	tab.Presses("a[href='" + portal + "/']")
	tab.Comes("location.href === '" + portal + "/'")
	tab.Comes("document.querySelector('#password') !== null")
	fitsScreen(tab)
}

// fitsScreen: nobody has to scroll to the side.
func fitsScreen(tab chromium.Tab) {
	tab.T.Helper()
	tab.Comes("innerWidth === 320 && document.documentElement.scrollWidth <= 320")
}
