package e2e

import (
	"context"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	ids "github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/tests/install"
)

// helpsThemselves: somebody makes a desktop of their own in the browser, uses it, suspends and
// resumes it, and deletes it; and takes back the files that it left.
func helpsThemselves(t *testing.T, who install.Login) {
	t.Helper()
	key := types.NamespacedName{Namespace: install.Sessions, Name: ids.SessionName(who.User, "letters")}
	t.Cleanup(func() {
		finish(t, &vdi.VDISession{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}})
	})
	tab := openBrowser(t)
	tab.Do(chromedp.Navigate(install.Portal), chromedp.SendKeys("#name", who.Name), chromedp.SendKeys("#password", who.Password+kb.Enter))
	home := makesLetters(t, tab, key, "/new")

	const open = "a.button[href^='https://']"
	tab.Presses(open) // the page has followed the start by itself
	tab.Comes(`document.title == "page"`)
	tab.Do(chromedp.NavigateBack())
	tab.Presses("details > summary")
	tab.Presses("details > form > button")
	tab.Shows("Suspended.")
	tab.Presses("form[action$='/resume'] button")
	tab.Do(chromedp.WaitVisible(open))
	tab.Screenshot("portal-resumed")
	deletesLetters(t, tab, key)

	tab.Presses("a[href='/homes']")
	tab.Shows("They are kept.")
	assert.Equal(t, home, makesLetters(t, tab, key, "/new?files="+key.Name), "a new desktop takes the home back")
	deletesLetters(t, tab, key)
	tab.Presses("a[href='/homes']")
	tab.Presses("details > summary")
	tab.Presses("form[action$='/discard'] button")
	tab.Shows("They are deleted ")
	tab.Do(chromedp.WaitVisible("form[action$='/keep'] button"))
	tab.Screenshot("portal-files")
	claim := &corev1.PersistentVolumeClaim{}
	require.NoError(t, platform.Client.Get(t.Context(), types.NamespacedName{Namespace: key.Namespace, Name: "vdi-data-" + key.Name}, claim))
	assert.Equal(t, home, claim.UID)
	assert.Contains(t, claim.Annotations["vdi.kasm.io/retain-for"], "24h")
	require.NoError(t, platform.Client.Delete(context.WithoutCancel(t.Context()), claim))
}

// makesLetters makes a desktop from a page with a link to the templates, waits on its own page
// until it runs, and returns its home.
func makesLetters(t *testing.T, tab browser, key types.NamespacedName, link string) types.UID {
	t.Helper()
	tab.Do(chromedp.WaitVisible("a[href='" + link + "']"))
	tab.Presses("a[href='" + link + "']")
	tab.Presses("a[href^='/new/page']")
	tab.Do(chromedp.WaitVisible("#homeSize"), chromedp.SetValue("#name", "Letters"), chromedp.SetValue("#homeSize", "1"))
	tab.Presses("form[action='/new/page'] button")
	tab.Comes("location.pathname == '/desktop/" + key.String() + "'")
	s := &vdi.VDISession{}
	require.NoError(t, platform.Client.Get(t.Context(), key, s))
	assert.Equal(t, "Letters", s.Spec.DisplayName)
	s = await(t, s, install.Running)
	require.NotNil(t, s.Status.Home)
	return s.Status.Home.UID
}

// deletesLetters deletes the desktop from its page, where the question says what becomes of its
// files, and sees it go.
func deletesLetters(t *testing.T, tab browser, key types.NamespacedName) {
	t.Helper()
	tab.Presses("a[href='/desktop/" + key.String() + "/delete']")
	tab.Shows("Its home is kept with its files. A new desktop of the same name finds it again, and so do you under “Your files”.")
	tab.Presses("form[action$='/delete'] button")
	tab.Comes("location.pathname == '/'")
	tab.Comes("!document.body.innerText.includes('Letters')")
	err := platform.Client.Get(t.Context(), key, &vdi.VDISession{})
	require.NoError(t, client.IgnoreNotFound(err))
	require.Error(t, err)
}
