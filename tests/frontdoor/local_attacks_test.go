package frontdoor

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/operator/frontdoor/people"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
)

// aliceAndBob are on the list of the attacked, whose hashes are made once.
var aliceAndBob = sync.OnceValue(func() string {
	entries := ""
	for name, user := range map[string]string{"Alice": alice, "bob": bob, "Zoë Moë": "zoë"} {
		hash, err := bcrypt.GenerateFromPassword([]byte(strings.ToLower(name)+"'s"), 10)
		if err != nil {
			panic(err) // as every password of the list is short
		}
		entries += fmt.Sprintf("- {name: %q, user: %q, hash: '%s'}\n", name, user, hash)
	}
	return entries
})

func newAttackedWorld(t *testing.T) *world {
	w := newWorld(t, wire.AccessLocal)
	w.list(aliceAndBob(), 0, 1)
	return w
}

// naivePortal is a login page as many are put online: it reveals everything, believes every
// page and every cookie, and knows who has logged in by a session that it made once.
type naivePortal struct {
	hashes   map[string]string // by name
	turn     *semaphore.Weighted
	locks    bool // a name with three wrong passwords
	mu       sync.Mutex
	wrong    map[string]int
	sessions map[string]string // → name
}

func newNaivePortal(t *testing.T) *naivePortal {
	n := &naivePortal{hashes: map[string]string{}, turn: semaphore.NewWeighted(1), wrong: map[string]int{}, sessions: map[string]string{}}
	for _, name := range []string{"alice", "bob"} {
		hash, err := bcrypt.GenerateFromPassword([]byte(name+"'s"), 6)
		require.NoError(t, err)
		n.hashes[name] = string(hash)
	}
	return n
}

func (n *naivePortal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		n.mu.Lock()
		defer n.mu.Unlock()
		if c, err := r.Cookie("session"); err == nil {
			fmt.Fprint(w, "desktops of ", n.sessions[c.Value])
		}
		return
	}
	name, password := r.FormValue("name"), r.FormValue("password")
	n.mu.Lock()
	hash, known := n.hashes[name]
	locked := known && n.locks && n.wrong[name] >= 3
	n.mu.Unlock()
	switch {
	case !known:
		http.Error(w, "there is no such name", http.StatusUnauthorized)
		return
	case locked:
		http.Error(w, "this name is locked", http.StatusLocked)
		return
	}
	if n.turn.Acquire(r.Context(), 1) != nil {
		return
	}
	err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password))
	n.turn.Release(1)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		n.wrong[name]++
		http.Error(w, "wrong password", http.StatusUnauthorized)
		return
	}
	session := "session of " + name
	if c, err := r.Cookie("session"); err == nil {
		session = c.Value
	}
	n.sessions[session] = name
	http.SetCookie(w, &http.Cookie{Name: "session", Value: session})
	http.Redirect(w, r, r.FormValue("to"), http.StatusSeeOther)
}

// post types into the portal, at an address, with headers.
func (n *naivePortal) post(t *testing.T, name, password, to string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	form := url.Values{"name": {name}, "password": {password}, "to": {to}}
	return ask(t, n, http.MethodPost, portal+"/login", form.Encode(), headers...)
}

// opens reports whether a session shows the desktops of somebody.
func (n *naivePortal) opens(t *testing.T, session, name string) ledger.Outcome {
	t.Helper()
	page := ask(t, n, http.MethodGet, portal+"/", "", "Cookie", "session="+session)
	return ledger.Judge(strings.Contains(page.Body.String(), "desktops of "+name), ledger.Runtime, "nobody's")
}

// ask has one request answered in the caller's own thread.
func ask(t *testing.T, h http.Handler, method, address, form string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, at(t, address).RequestURI(), strings.NewReader(form))
	r.Host = at(t, address).Host
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "text/html")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, r)
	return answer
}

// typist is somebody at one replica's login page, with its form and cookie.
type typist struct {
	t            *testing.T
	h            http.Handler
	form, cookie string
}

func (w *world) typist() *typist {
	w.t.Helper()
	p := &typist{t: w.t, h: w.doors[0].Pages()}
	page := ask(w.t, p.h, http.MethodGet, portal+"/login", "")
	p.form = formOf(w.t, page.Body.String())
	p.cookie = "__Host-vdi-browser=" + page.Result().Cookies()[0].Value
	return p
}

// types types a name and a password; from is what X-Forwarded-For says.
func (p *typist) types(name, password, from string, headers ...string) *httptest.ResponseRecorder {
	p.t.Helper()
	return p.sends(url.Values{"name": {name}, "password": {password}}.Encode(), from, headers...)
}

func (p *typist) sends(form, from string, headers ...string) *httptest.ResponseRecorder {
	p.t.Helper()
	return ask(p.t, p.h, http.MethodPost, portal+"/login", p.form+"&"+form,
		append([]string{"Origin", portal, "Cookie", p.cookie, "X-Forwarded-For", from}, headers...)...)
}

// guesses is how many wrong passwords an attacker has.
const guesses = 24

// answered judges guesses by how many of them were compared.
func answered(codes []int) ledger.Outcome {
	compared := 0
	for _, code := range codes {
		if code == http.StatusUnauthorized {
			compared++
		}
	}
	return ledger.Judge(compared > 10, ledger.Runtime, fmt.Sprintf("%d of %d were compared", compared, len(codes)))
}

// TestA48Guessing: whoever guesses a password has few guesses, however the name is written,
// from wherever in their network, and however many at a time.
func TestA48Guessing(t *testing.T) {
	const here = "192.0.2.1"
	forms := []string{"zoë moë", "zoe\u0308 moë", "zoë moe\u0308", "zoe\u0308 moe\u0308", "ZOË MOË", " zoë moë\u2003"}
	same := func(name string) func(int) (string, string) {
		return func(int) (string, string) { return name, here }
	}
	for way, of := range map[string]func(i int) (name, from string){
		"one after another":            same("alice"),
		"in upper and lower case":      func(i int) (string, string) { return []string{"alice", "ALICE", "aLicE"}[i%3], here },
		"in other Unicode forms":       func(i int) (string, string) { return forms[i%len(forms)], here },
		"with claims of other hops":    func(i int) (string, string) { return "alice", fmt.Sprintf("198.51.100.%d, %s", i, here) },
		"from the addresses of a /64":  func(i int) (string, string) { return "alice", fmt.Sprintf("2001:db8::%x:1", i+1) },
		"many at a time":               same("alice"),
		"in browsers known for others": same("alice"),
	} {
		ledger.TryAlongside(t, way, func(t *testing.T) ledger.Outcome {
			n, codes := newNaivePortal(t), []int{}
			for range guesses {
				codes = append(codes, n.post(t, "alice", "wrong", "/").Code)
			}
			return answered(codes)
		}, func(t *testing.T) ledger.Outcome {
			w := newAttackedWorld(t)
			p, codes, cookies := w.typist(), make([]int, guesses), []string{""}
			if way == "in browsers known for others" {
				cookies = []string{browserOf(t, p, "bob", here), browserOf(t, p, "bob", here), browserOf(t, p, "bob", here)}
			}
			var all sync.WaitGroup
			for i := range codes {
				name, from := of(i)
				cookie := p.cookie + "; " + cookies[i%len(cookies)]
				guess := func() { codes[i] = p.types(name, "wrong", from, "Cookie", cookie).Code }
				if way == "many at a time" {
					all.Go(guess)
				} else {
					guess()
				}
			}
			all.Wait()
			name, from := of(0)
			require.Equal(t, http.StatusTooManyRequests, p.types(name, name+"'s", from).Code, "else the right one shows")
			return answered(codes)
		})
	}
}

// browserOf is the cookie of a browser in which somebody has logged in, but not their login.
func browserOf(t *testing.T, p *typist, name, from string) string {
	t.Helper()
	for _, c := range p.types(name, name+"'s", from).Result().Cookies() {
		if c.Name == "__Host-vdi-known" {
			return c.Name + "=" + c.Value
		}
	}
	require.FailNow(t, "no browser is known")
	return ""
}

// TestA48KeepingOut: wrong guesses keep nobody out who comes from elsewhere, or in a browser
// of their own.
func TestA48KeepingOut(t *testing.T) {
	const here, elsewhere = "192.0.2.1", "192.0.2.66"
	for way, c := range map[string]struct {
		from    string // where the attacker is
		headers []string
		known   bool
	}{
		"from elsewhere":                      {elsewhere, nil, false},
		"from her own network":                {here, nil, true},
		"by a page elsewhere, in her browser": {here, []string{"Origin", "https://evil.example.com"}, true},
		"by a desktop's page, in her browser": {here, []string{"Origin", "https://" + bobHost, "Sec-Fetch-Site", "same-site"}, true},
	} {
		ledger.TryAlongside(t, way, func(t *testing.T) ledger.Outcome {
			n := newNaivePortal(t)
			n.locks = true
			for range 3 {
				n.post(t, "alice", "wrong", "/", "X-Forwarded-For", c.from)
			}
			return ledger.Judge(n.post(t, "alice", "alice's", "/", "X-Forwarded-For", here).Code != http.StatusSeeOther, ledger.Runtime, "she comes in")
		}, func(t *testing.T) ledger.Outcome {
			w := newAttackedWorld(t)
			hers, attacker := w.typist(), w.typist()
			if c.known {
				hers.cookie += "; " + browserOf(t, hers, "alice", here)
			}
			if c.headers != nil {
				attacker = hers // a browser sends the cookies along
			}
			for range 12 {
				attacker.types("alice", "wrong", c.from, c.headers...)
			}
			code := hers.types("alice", "alice's", here).Code
			return ledger.Judge(code != http.StatusSeeOther, ledger.Runtime, "she comes in")
		})
	}
}

// TestA49Names: nobody learns which names there are.
func TestA49Names(t *testing.T) {
	// Names of one length, since the page repeats them; and nobody is called alicf.
	const here = "192.0.2.1"
	shown := func(answer *httptest.ResponseRecorder, name string) string {
		body := answer.Body.String()
		if strings.Contains(body, `name="form"`) {
			body = strings.ReplaceAll(body, valueOf(body, "form"), "")
		}
		h := answer.Header().Clone()
		for _, c := range h["Set-Cookie"] {
			h.Add("Cookies", strings.SplitN(c, "=", 2)[0])
		}
		h.Del("Set-Cookie")
		return fmt.Sprint(answer.Code, h, strings.ReplaceAll(body, name, ""))
	}
	for way, c := range map[string]struct {
		password string
		before   int // wrong passwords
	}{
		"by the answer":                        {"wrong", 0},
		"by a password longer than bcrypt has": {strings.Repeat("x", 73), 0},
		"by a NUL in a password":               {"\x00", 0},
		"by a line break in a password":        {"a\nb", 0},
		"by an empty password":                 {"", 0},
		"by the limit":                         {"wrong", 10},
		"by the right password of another":     {"bob's", 0},
	} {
		ledger.Try(t, way, func(t *testing.T) ledger.Outcome {
			n := newNaivePortal(t)
			return ledger.Judge(shown(n.post(t, "alice", c.password, "/"), "alice") != shown(n.post(t, "alicf", c.password, "/"), "alicf"), ledger.Runtime, "answered alike")
		}, func(t *testing.T) ledger.Outcome {
			w := newAttackedWorld(t)
			p := w.typist()
			last := map[string]string{}
			for _, name := range []string{"alice", "alicf"} {
				for range c.before {
					p.types(name, "wrong", here)
				}
				answer := p.types(name, c.password, here)
				last[name] = shown(answer, name)
			}
			code := last["alice"][:3]
			return ledger.Judge(last["alice"] != last["alicf"], ledger.Runtime, "both are answered by "+code)
		})
	}
}

// work is the least time that a thread computes for something. How busy the machine is does
// not count.
func work(t *testing.T, do func()) time.Duration {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	spent := func() time.Duration {
		var usage unix.Rusage
		require.NoError(t, unix.Getrusage(unix.RUSAGE_THREAD, &usage))
		return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	least := time.Duration(1<<63 - 1)
	for range 2 {
		before := spent()
		do()
		least = min(least, spent()-before)
	}
	return least
}

// TestA49Work: nor by how much is computed for a name, whatever its hash costs. One hash
// of the list costs four times as much as the other.
func TestA49Work(t *testing.T) {
	list := func(t *testing.T) string {
		entries := ""
		for cost, name := range map[int]string{10: "cheap", 12: "costly"} {
			hash, err := bcrypt.GenerateFromPassword([]byte("right"), cost)
			require.NoError(t, err)
			entries += fmt.Sprintf("- {name: %s, hash: '%s'}\n", name, hash)
		}
		return entries
	}
	spread := func(took map[string]time.Duration) ledger.Outcome {
		least, most := time.Duration(1<<63-1), time.Duration(0)
		for _, d := range took {
			least, most = min(least, d), max(most, d)
		}
		return ledger.Judge(most > 2*least, ledger.Runtime, "as much for every name")
	}
	tries := map[string][2]string{
		"nobody": {"nobody", "wrong"}, "cheap": {"cheap", "wrong"}, "costly": {"costly", "wrong"},
		"long": {"cheap", strings.Repeat("x", 100)}, "a long name": {strings.Repeat("x", 600), "wrong"},
	}
	ledger.Try(t, "by the work", func(t *testing.T) ledger.Outcome {
		n, took := newNaivePortal(t), map[string]time.Duration{}
		for _, name := range []string{"bob", "nobody"} {
			took[name] = work(t, func() { n.post(t, name, "wrong", "/") })
		}
		return spread(took)
	}, func(t *testing.T) ledger.Outcome {
		w := newAttackedWorld(t)
		w.list(list(t), 0)
		p, took := w.typist(), map[string]time.Duration{}
		for what, typed := range tries {
			took[what] = work(t, func() {
				require.Equal(t, http.StatusUnauthorized, p.types(typed[0], typed[1], "192.0.2.1").Code)
			})
		}
		return spread(took)
	})
}

// TestA52Lists: a list that was made to harm is refused as a whole, at once.
func TestA52Lists(t *testing.T) {
	bomb := "a: &a [x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b]\n"
	costly := "$2b$31$" + strings.Repeat("a", 52) + "u"
	for name, data := range map[string]string{
		"aliases of aliases":       bomb + "people: [{name: alice, groups: *c}]\n",
		"a merge of aliases":       "people:\n- &a {name: alice, hash: x}\n- {<<: *a, name: bob}\n",
		"a hash that costs hours":  "people: [{name: alice, hash: '" + costly + "'}]\n",
		"a password for a hash":    "people: [{name: alice, hash: alice}]\n",
		"many without a password":  "people: [" + strings.Repeat("{name: a},", 5000) + "]\n",
		"two with one user":        "people: [{name: alice, user: x, hash: h}, {name: bob, user: x, hash: h}]\n",
		"a user of another's host": "people: [{name: alice, user: \"a\\u202eb\", hash: h}]\n",
	} {
		ledger.Try(t, name, func(t *testing.T) ledger.Outcome {
			var loose struct{ People []map[string]any }
			return ledger.Judge(yaml.Unmarshal([]byte(data), &loose) == nil && len(loose.People) > 0, ledger.Runtime, "unreadable")
		}, func(t *testing.T) ledger.Outcome {
			list, err := people.Parse([]byte(data))
			if err == nil {
				return ledger.Worked()
			}
			require.Nil(t, list)
			require.Less(t, len(err.Error()), 8<<10, "a line of the log")
			return ledger.Blocked(ledger.Runtime, "refused")
		})
	}
}

// TestA52Turns: whoever keeps the front door busy from one network lets others log in.
func TestA52Turns(t *testing.T) {
	const flood = 18
	// rush counts how many of a flood were over when somebody else was answered.
	rush := func(attack func(i int), hers func()) ledger.Outcome {
		var begun, over atomic.Int64
		var all sync.WaitGroup
		for i := range flood {
			all.Go(func() {
				begun.Add(1)
				attack(i)
				over.Add(1)
			})
		}
		require.Eventually(t, func() bool { return begun.Load() == flood }, patience, time.Millisecond)
		hers()
		before := over.Load()
		all.Wait()
		return ledger.Judge(before >= flood*2/3, ledger.Runtime, fmt.Sprintf("after %d of %d", before, flood))
	}
	ledger.Try(t, "many passwords at a time", func(t *testing.T) ledger.Outcome {
		n := newNaivePortal(t)
		hash, err := bcrypt.GenerateFromPassword([]byte("bob's"), 9)
		require.NoError(t, err)
		n.hashes["bob"] = string(hash)
		return rush(func(int) { n.post(t, "bob", "wrong", "/") }, func() { n.post(t, "alice", "alice's", "/") })
	}, func(t *testing.T) ledger.Outcome {
		w := newAttackedWorld(t)
		attacker, hers := w.typist(), w.typist()
		return rush(func(i int) { attacker.types(fmt.Sprint("name ", i), "wrong", "192.0.2.66") }, func() {
			require.Equal(t, http.StatusSeeOther, hers.types("alice", "alice's", "192.0.2.1").Code)
		})
	})
}

// TestA52Forms: forms that are too large are not read to their end, and nothing is compared.
func TestA52Forms(t *testing.T) {
	for name, c := range map[string]struct{ password, more string }{
		"a password of 4 MiB":    {strings.Repeat("x", 4<<20), ""},
		"nine thousand fields":   {"wrong", strings.Repeat("&a=", 9_000)},
		"a name of many accents": {"wrong", "&name=" + strings.Repeat("%CC%88", 8<<10)},
	} {
		ledger.Try(t, name, func(t *testing.T) ledger.Outcome {
			body := "name=bob&password=" + c.password + c.more
			answer := ask(t, newNaivePortal(t), http.MethodPost, portal+"/login", body)
			return ledger.Judge(strings.Contains(answer.Body.String(), "wrong password"), ledger.Runtime, "answered "+fmt.Sprint(answer.Code))
		}, func(t *testing.T) ledger.Outcome {
			p, code := newAttackedWorld(t).typist(), 0
			took := work(t, func() { code = p.sends("name=bob&password="+c.password+c.more, "192.0.2.1").Code })
			require.Less(t, took, bcryptWork(t), "nothing was compared")
			return ledger.Judge(code == http.StatusUnauthorized, ledger.Runtime, fmt.Sprintf("answered %d", code))
		})
	}
}

// bcryptWork is what one comparison of our list takes.
func bcryptWork(t *testing.T) time.Duration {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), 10)
	require.NoError(t, err)
	return work(t, func() { _ = bcrypt.CompareHashAndPassword(hash, []byte("wrong")) })
}
