package frontdoor

import (
	"bufio"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
)

// TestA50ForcedLogin: nobody is logged in as somebody else by a form that is not the page's.
func TestA50ForcedLogin(t *testing.T) {
	for way, headers := range map[string][]string{
		"by a page elsewhere":              {"Origin", "https://evil.example.com", "Sec-Fetch-Site", "cross-site"},
		"by a desktop's page":              {"Origin", "https://" + bobHost, "Sec-Fetch-Site", "same-site"},
		"by a page of no origin":           {"Origin", "null"},
		"by a program":                     nil,
		"with the form of another browser": {"Origin", portal},
	} {
		ledger.Try(t, way, func(t *testing.T) ledger.Outcome {
			answer := newNaivePortal(t).post(t, "bob", "bob's", "/", headers...)
			return ledger.Judge(answer.Header().Get("Set-Cookie") != "", ledger.Runtime, "no login")
		}, func(t *testing.T) ledger.Outcome {
			w := newAttackedWorld(t)
			hers, attackers := w.browser(), w.browser()
			text(t, hers.get(portal+"/login"))
			form := formOf(t, text(t, attackers.get(portal+"/login")))
			answer := hers.do(http.MethodPost, portal+"/login", form+"&name=bob&password=bob%27s", headers...)
			text(t, answer)
			return ledger.Judge(hers.cookie(portal, "__Host-vdi-login") != "", ledger.Runtime, "answered "+answer.Status)
		})
	}
}

// startAt is the address of the login to which a desktop's host leads a browser.
func (b *browser) startAt(address string) string {
	b.w.t.Helper()
	answer := b.staying().get(address)
	text(b.w.t, answer)
	start := answer.Header.Get("Location")
	require.True(b.w.t, strings.HasPrefix(start, portal+"/login?to="), start)
	return start
}

// TestA50PlantedLogin: what an attacker has planted in a browser, or begun for it, gives them
// nothing when its owner logs in, and her nothing of theirs.
func TestA50PlantedLogin(t *testing.T) {
	naive := func(t *testing.T) ledger.Outcome {
		n := newNaivePortal(t)
		n.post(t, "alice", "alice's", "/", "Cookie", "session=planted")
		return n.opens(t, "planted", "alice")
	}
	ledger.Try(t, "cookies of their own login", naive, func(t *testing.T) ledger.Outcome {
		w := newAttackedWorld(t)
		attackers, hers := w.browser(), w.browser()
		text(t, attackers.typeIn(attackers.get(portal+"/login"), "bob", "bob's"))
		hers.Jar.SetCookies(at(t, portal), attackers.Jar.Cookies(at(t, portal)))
		text(t, hers.typeIn(hers.get(portal+"/"), "alice", "alice's"))
		require.Contains(t, text(t, hers.get(portal+"/")), "alice-1")
		return ledger.Judge(strings.Contains(text(t, attackers.get(portal+"/")), "alice-1"), ledger.Runtime, "they see their own")
	})
	ledger.Try(t, "a login that they began", naive, func(t *testing.T) ledger.Outcome {
		w := newAttackedWorld(t)
		attackers, hers := w.browser(), w.browser()
		hers.startAt(aliceURL)
		landed := hers.follow(hers.typeIn(hers.get(attackers.startAt(aliceURL)), "alice", "alice's"))
		require.Equal(t, http.StatusForbidden, landed.StatusCode, "the code is for the browser that began it")
		text(t, landed)
		return ledger.Judge(attackers.desktop() == http.StatusOK, ledger.Runtime, "they have no login")
	})
	ledger.Try(t, "the way to their own desktop", func(t *testing.T) ledger.Outcome {
		answer := newNaivePortal(t).post(t, "alice", "alice's", "https://"+bobHost+"/")
		return ledger.Judge(strings.Contains(answer.Header().Get("Location"), bobHost), ledger.Runtime, "not there")
	}, func(t *testing.T) ledger.Outcome {
		w := newAttackedWorld(t)
		attackers, hers := w.browser(), w.browser()
		landed := hers.follow(hers.typeIn(hers.get(attackers.startAt("https://"+bobHost+"/")), "alice", "alice's"))
		body := text(t, landed)
		return ledger.Judge(landed.Request.URL.Host == bobHost || strings.Contains(body, "desktop of"), ledger.Runtime, "answered "+landed.Status)
	})
}

// TestA50Redirect: a login leads to no address that somebody has made up.
func TestA50Redirect(t *testing.T) {
	for _, to := range []string{"https://evil.example.com/", "//evil.example.com/", `/\evil.example.com`, "javascript:evil()", `/"><a href=evil>`} {
		ledger.Try(t, to, func(t *testing.T) ledger.Outcome {
			answer := newNaivePortal(t).post(t, "alice", "alice's", to)
			return ledger.Judge(strings.Contains(answer.Header().Get("Location"), "evil"), ledger.Runtime, "not there")
		}, func(t *testing.T) ledger.Outcome {
			w := newAttackedWorld(t)
			b := w.browser().staying()
			begun := b.get(portal + "/login?" + url.Values{"to": {to}}.Encode())
			body := text(t, begun) + begun.Header.Get("Location")
			form := url.Values{"name": {"alice"}, "password": {"alice's"}, "to": {to}}
			page := text(t, b.get(portal+"/login"))
			answer := b.do(http.MethodPost, portal+"/login", formOf(t, page)+"&"+form.Encode(), "Origin", portal)
			body += text(t, answer)
			require.NotEmpty(t, b.cookie(portal, "__Host-vdi-login"))
			leads := answer.Header.Get("Location")
			return ledger.Judge(strings.Contains(body+leads, "evil"), ledger.Runtime, "leads to "+leads)
		})
	}
}

// leaver is Alice, who is logged in and about to leave the list.
type leaver struct {
	*browser
	// code is where another login of hers leads, and another is the browser that it began in.
	code    string
	another *browser
	// page is her suspended desktop's, that is open, and form is of it.
	page *http.Response
	form string
}

func newLeaver(t *testing.T) *leaver {
	w := newAttackedWorld(t)
	l := &leaver{browser: w.browser(), another: w.browser()}
	require.Contains(t, text(t, l.enter(aliceURL, "alice", "alice's")), "desktop of")
	there := l.another.staying().follow(l.another.typeIn(l.another.get(aliceURL), "alice", "alice's"))
	text(t, there)
	l.code = there.Header.Get("Location")
	require.True(t, strings.HasPrefix(l.code, aliceURL+"/.vdi/callback?code="), l.code)
	w.suspend(aliceHost)
	l.form = formOf(t, text(t, l.get(aliceURL+"/")))
	l.page = l.get(aliceURL+"/.vdi/events", "Accept", "text/event-stream")
	require.Equal(t, http.StatusOK, l.page.StatusCode)
	w.pass(time.Second)
	return l
}

// others are the entries of a list but Alice's.
func others(entries string) (left string) {
	for entry := range strings.Lines(entries) {
		if !strings.Contains(entry, alice) {
			left += entry
		}
	}
	return left
}

// leftovers are what Alice has when she has left the list in force.
var leftovers = map[string]func(l *leaver) (in bool){
	"her login at her desktop": func(l *leaver) bool {
		l.w.resume(aliceHost)
		one, two := l.desktop(), l.desktop() // at both replicas
		return one == http.StatusOK || two == http.StatusOK
	},
	"her login at the portal": func(l *leaver) bool {
		one, two := text(l.w.t, l.get(portal+"/")), text(l.w.t, l.get(portal+"/"))
		return strings.Contains(one+two, "alice-1")
	},
	"a login that was on its way": func(l *leaver) bool {
		l.w.resume(aliceHost)
		return strings.Contains(text(l.w.t, l.another.get(l.code)), "desktop of")
	},
	"a page that is open": func(l *leaver) bool {
		lines := bufio.NewScanner(l.page.Body)
		for lines.Scan() && lines.Text() != "" { // the event before
		}
		l.w.resume(aliceHost)
		return lines.Scan()
	},
	"the resume of her desktop": func(l *leaver) bool {
		text(l.w.t, l.do(http.MethodPost, aliceURL+"/.vdi/resume", l.form, "Origin", aliceURL))
		return len(l.w.known.done()) > 0
	},
	"the password of before": func(l *leaver) bool {
		for range 3 { // at both replicas
			l.w.turn.Add(1)
			b := l.w.browser()
			text(l.w.t, b.typeIn(b.get(portal+"/login"), "alice", "alice's"))
			if b.cookie(portal, "__Host-vdi-login") != "" {
				return true
			}
		}
		return false
	},
}

func (w *world) resume(host string) {
	w.known.edit(host, func(s *vdi.VDISession) { s.Status.Phase, s.Spec.RunPolicy = vdi.PhaseRunning, vdi.RunPolicyRunning })
}

// TestA51Leavers: whoever has left the list, or has another password, is out at once with
// everything from before, also where a replica has the list of before.
func TestA51Leavers(t *testing.T) {
	for leftover, use := range leftovers {
		for change, replicas := range map[string][]int{"left the list": {0, 1}, "left one replica's": {0}, "has another password": {0, 1}} {
			ledger.Try(t, leftover+", who "+change, func(t *testing.T) ledger.Outcome {
				n := newNaivePortal(t)
				n.post(t, "alice", "alice's", "/")
				delete(n.hashes, "alice")
				return n.opens(t, "session of alice", "alice")
			}, func(t *testing.T) ledger.Outcome {
				l, left := newLeaver(t), others(aliceAndBob())
				defer func() { require.NoError(t, l.page.Body.Close()) }()
				if change == "has another password" {
					left += listed(t, "Alice", alice, "new", "[]")
				}
				l.w.list(left, replicas...)
				l.w.known.done()
				return ledger.Judge(use(l), ledger.Runtime, "she is out")
			})
		}
	}
}

// TestA51Modes: a login of one access mode opens nothing in the other, to which the platform
// was moved in between, or back.
func TestA51Modes(t *testing.T) {
	naive := func(t *testing.T) ledger.Outcome {
		n := newNaivePortal(t)
		n.sessions["of the provider"] = "alice"
		return n.opens(t, "of the provider", "alice")
	}
	// opens reports whether logins from a browser open something after a move.
	opens := func(t *testing.T, b *browser, own, laterOwn string, later *world) ledger.Outcome {
		login := "__Host-vdi-login=" + b.cookie(own, "__Host-vdi-login")
		desktop := "__Host-vdi=" + b.cookie(aliceURL, "__Host-vdi")
		later.keys.Store(b.w.keys.Load())
		later.signing = b.w.signing
		for range 2 { // at both replicas
			c := later.browser().staying()
			home := text(t, c.get(laterOwn+"/", "Cookie", login))
			there := text(t, c.get(aliceURL+"/", "Accept", "*/*", "Cookie", desktop))
			if strings.Contains(home, "alice-1") || strings.Contains(there, "desktop of") {
				return ledger.Worked()
			}
		}
		return ledger.Blocked(ledger.Runtime, "nobody is logged in")
	}
	ledger.Try(t, "of the provider, by the list", naive, func(t *testing.T) ledger.Outcome {
		b := newWorld(t, wire.AccessOIDC).browser()
		require.Contains(t, text(t, b.open(aliceURL, alice)), "desktop of")
		return opens(t, b, auth, portal, newAttackedWorld(t))
	})
	ledger.Try(t, "of the list, by the provider", naive, func(t *testing.T) ledger.Outcome {
		b := newAttackedWorld(t).browser()
		require.Contains(t, text(t, b.enter(aliceURL, "alice", "alice's")), "desktop of")
		return opens(t, b, portal, auth, newWorld(t, wire.AccessOIDC))
	})
}
