package frontdoor

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	door "github.com/vdi-platform/vdi-platform/operator/frontdoor"
	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
)

// apiServer has sessions as the API server does, and counts the writes that it takes.
type apiServer struct {
	*memory
	client client.Client
	mu     sync.Mutex
	writes []string
}

// atAPIServer is a seat whose front door writes to the API server, where Alice has the
// desktops that are given.
func atAPIServer(t *testing.T, desktops ...*vdi.VDISession) (*seat, *apiServer) {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, vdi.AddToScheme(scheme))
	build := fake.NewClientBuilder().WithScheme(scheme)
	for _, s := range desktops {
		build = build.WithObjects(s)
	}
	w := newDesks(t)
	a := &apiServer{memory: w.known}
	a.client = interceptor.NewClient(build.Build(), interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			o.SetUID(types.UID("uid of " + o.GetName()))
			return a.took("create", c.Create(ctx, o, options...))
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
			body, err := patch.Data(o)
			require.NoError(t, err)
			_, spec, _ := strings.Cut(string(body), `"spec":`)
			return a.took("patch "+spec, c.Patch(ctx, o, patch, options...))
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.DeleteOption) error {
			return a.took("delete", c.Delete(ctx, o, options...))
		},
	})
	s := w.seat("alice")
	w.doors[0].Known, w.doors[0].Changer = a, door.NewChanger(a.client)
	return s, a
}

func (a *apiServer) took(write string, err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		a.writes = append(a.writes, write)
	}
	return err
}

// count is how many writes begin so.
func (a *apiServer) count(begin string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, write := range a.writes {
		if strings.HasPrefix(write, begin) {
			n++
		}
	}
	return n
}

// FollowUser lets nobody wait for what others have done before.
func (a *apiServer) FollowUser(string) (<-chan struct{}, func(), bool) { return nil, nil, false }

func (a *apiServer) ByUser(ctx context.Context, user string) (found []vdi.VDISession, _ error) {
	all := &vdi.VDISessionList{}
	err := a.client.List(ctx, all)
	for i := range all.Items {
		if all.Items[i].Spec.User == user {
			found = append(found, all.Items[i])
		}
	}
	return found, err
}

// presses is how often a button is pressed at a time.
const presses = 20

// press sends one form many times at once, and returns how they were answered.
func press(h http.Handler, request func(h http.Handler) *httptest.ResponseRecorder) map[int]int {
	var all sync.WaitGroup
	codes := make([]int, presses)
	for i := range codes {
		all.Go(func() { codes[i] = request(h).Code })
	}
	all.Wait()
	counted := map[int]int{}
	for _, code := range codes {
		counted[code]++
	}
	return counted
}

// TestA56Presses: a button that is pressed many times at once does once what it says.
func TestA56Presses(t *testing.T) {
	ends := metav1.NewTime(time.Now().Add(time.Hour).Truncate(time.Second))
	desktop := func(policy vdi.RunPolicy) *vdi.VDISession {
		return &vdi.VDISession{
			ObjectMeta: metav1.ObjectMeta{Name: "one", Namespace: "desks", UID: "uid of one", ResourceVersion: "7"},
			Spec:       vdi.VDISessionSpec{User: alice, Template: "office", RunPolicy: policy},
			Status:     vdi.VDISessionStatus{Phase: vdi.PhaseRunning, ExpiresAt: &ends, ExpiryReason: vdi.StopExpired},
		}
	}
	fields := url.Values{"uid": {"uid of one"}, "fate": {"Its home, if it has one by now, is kept as its template says. You find it under “Your files”."}}
	for button, c := range map[string]struct {
		address string
		fields  url.Values
		policy  vdi.RunPolicy
		write   string
	}{
		"make":    {"/new/office", url.Values{"name": {"One"}}, vdi.RunPolicyRunning, "create"},
		"suspend": {"/desktop/desks/one/suspend", fields, vdi.RunPolicyRunning, `patch {"runPolicy":"Suspended"}`},
		"resume":  {"/desktop/desks/one/resume", fields, vdi.RunPolicySuspended, `patch {`},
		"extend":  {"/desktop/desks/one/extend", fields, vdi.RunPolicyRunning, `patch {"keepAliveUntil":"` + ends.Add(time.Hour).UTC().Format(time.RFC3339)},
		"delete":  {"/desktop/desks/one/delete", fields, vdi.RunPolicyRunning, "delete"},
	} {
		request := func(t *testing.T, s *seat) func(http.Handler) *httptest.ResponseRecorder {
			return func(h http.Handler) *httptest.ResponseRecorder {
				return raw(t, h, http.MethodPost, c.address, "form="+s.form+"&"+c.fields.Encode(), "Cookie", s.cookie, "Origin", portal)
			}
		}
		ledger.Try(t, button, func(t *testing.T) ledger.Outcome {
			n := &naiveDesks{}
			press(n, request(t, &seat{}))
			return ledger.Judge(len(n.changes) > 1, ledger.Runtime, "once")
		}, func(t *testing.T) ledger.Outcome {
			s, a := atAPIServer(t, desktop(c.policy))
			codes := press(s.h, request(t, s))
			require.Equal(t, 1, a.count(c.write), "it was done: %v", a.writes)
			require.Equal(t, map[int]int{http.StatusSeeOther: presses}, codes)
			others := len(a.writes) - a.count(c.write)
			if button == "delete" {
				others -= a.count("patch ") // for whom it is deleted
				require.Equal(t, 1, a.count("patch "))
			}
			return ledger.Judge(others != 0, ledger.Runtime, "once")
		})
	}
	ledger.Try(t, "meant for the desktop of that name before", func(t *testing.T) ledger.Outcome {
		n := &naiveDesks{}
		raw(t, n, http.MethodPost, "/desktop/desks/one/delete", fields.Encode())
		return ledger.Judge(len(n.changes) > 0, ledger.Runtime, "it stays")
	}, func(t *testing.T) ledger.Outcome {
		later := desktop(vdi.RunPolicyRunning)
		later.UID = "uid of a later one"
		s, a := atAPIServer(t, later)
		for _, act := range []string{"suspend", "resume", "extend", "delete"} {
			require.Equal(t, http.StatusGone, s.does(t, "/desktop/desks/one/"+act, fields).Code)
		}
		return ledger.Judge(len(a.writes) > 0, ledger.Runtime, "it stays")
	})
}

// TestA58EndedLogins: a login that has ended, at whichever replica, shows and does nothing.
func TestA58EndedLogins(t *testing.T) {
	for end, by := range map[string]func(s *seat){
		"by a logout at another replica": func(s *seat) {
			answer := raw(s.t, s.doors[1].Pages(), http.MethodPost, "/logout", "form="+s.form, "Cookie", s.cookie, "Origin", portal)
			require.Contains(s.t, answer.Body.String(), "Logged out")
		},
		"by time":                  func(s *seat) { s.pass(9 * time.Hour) },
		"as she has left the list": func(s *seat) { s.list(others(aliceAndBob()), 0, 1) },
		"by new keys":              func(s *seat) { s.useKeys(map[string]string{"2.key": "two"}) },
	} {
		ledger.Try(t, end, func(t *testing.T) ledger.Outcome {
			answer := raw(t, &naiveDesks{}, http.MethodGet, "/desktop/team/alice-1", "")
			return ledger.Judge(strings.Contains(answer.Body.String(), "alice-1"), ledger.Runtime, "nothing is shown")
		}, func(t *testing.T) ledger.Outcome {
			s := newDesks(t).seat("alice")
			acts := s.acts(t)
			by(s)
			s.known.done() // streams may have been closed
			shown := ""
			for address := range portalPages {
				page := s.asks(t, http.MethodGet, address, "")
				require.Contains(t, []int{http.StatusOK, http.StatusSeeOther, http.StatusNotFound}, page.Code, address)
				shown += page.Body.String()
			}
			for _, address := range []string{"/events", "/desktop/team/alice-1/events", "/icon/office"} {
				require.Equal(t, http.StatusUnauthorized, s.asks(t, http.MethodGet, address, "", "Accept", "text/event-stream").Code, address)
			}
			for address, fields := range acts {
				shown += s.does(t, address, fields).Body.String()
			}
			harm := strings.Contains(shown, "alice-") || strings.Contains(shown, alice) || strings.Contains(shown, "Office") || len(s.known.done()) > 0
			return ledger.Judge(harm, ledger.Runtime, "nothing is shown")
		})
	}
}

// TestA58PlantedCookies: cookies that were in the browser before somebody logged in do not
// become theirs.
func TestA58PlantedCookies(t *testing.T) {
	naive := func(t *testing.T) ledger.Outcome {
		n := newNaivePortal(t)
		n.post(t, "alice", "alice's", "/", "Cookie", "session=planted")
		return n.opens(t, "planted", "alice")
	}
	for what, planted := range map[string]func(s *seat) string{
		"a login that was made up":    func(*seat) string { return "__Host-vdi-login=planted" },
		"her own, that has ended":     func(s *seat) string { return s.cookie[len(s.browserCookie)+2:] },
		"a proof of a form":           func(s *seat) string { return "__Host-vdi-login=" + s.form },
		"the login of her desktop":    func(s *seat) string { return "__Host-vdi=planted; __Host-vdi-page=planted" },
		"the browser's cookie itself": func(s *seat) string { return s.browserCookie },
	} {
		ledger.Try(t, what, naive, func(t *testing.T) ledger.Outcome {
			s := newDesks(t).seat("alice")
			cookie := planted(s)
			require.Contains(t, s.asks(t, http.MethodPost, "/logout", "form="+s.form).Body.String(), "Logged out")
			p := s.typist()
			p.cookie += "; " + cookie
			require.Equal(t, http.StatusSeeOther, p.types("alice", "alice's", "192.0.2.1").Code)
			page := raw(t, s.h, http.MethodGet, "/", "", "Cookie", cookie).Body.String()
			return ledger.Judge(strings.Contains(page, "alice-"), ledger.Runtime, "it is nobody's")
		})
	}
}

// TestA58OpenPages: a page that is open learns nothing any more when its login ends.
func TestA58OpenPages(t *testing.T) {
	for _, address := range []string{"/events", "/desktop/team/alice-1/events"} {
		ledger.Try(t, address, func(t *testing.T) ledger.Outcome {
			answer := raw(t, &naiveDesks{}, http.MethodGet, "/desktop/team/alice-1/events", "")
			return ledger.Judge(strings.Contains(answer.Body.String(), "alice-1"), ledger.Runtime, "it ends")
		}, func(t *testing.T) ledger.Outcome {
			w := newDesks(t)
			b := w.browser()
			w.only.Store(1)
			form := formOf(t, text(t, b.typeIn(b.get(portal+"/login"), "alice", "alice's")))
			stream := b.get(portal+address, "Accept", "text/event-stream")
			defer stream.Body.Close()
			lines := bufio.NewScanner(stream.Body)
			require.True(t, lines.Scan() && strings.HasPrefix(lines.Text(), "data: "))
			w.only.Store(2)
			require.Contains(t, text(t, b.do(http.MethodPost, portal+"/logout", form, "Origin", portal)), "Logged out")
			w.suspend(aliceHost)
			more := ""
			for lines.Scan() {
				more += lines.Text()
			}
			return ledger.Judge(strings.Contains(more, "data:"), ledger.Runtime, "it ends")
		})
	}
}

// watching is what the front door knows of who follows what: the watch itself, of an API
// server that has no sessions.
type watching struct {
	*memory
	*door.Watched
}

func (w watching) FollowUser(user string) (<-chan struct{}, func(), bool) {
	return w.Watched.FollowUser(user)
}

func (w watching) Follow(host string) (<-chan struct{}, func(), bool) { return w.Watched.Follow(host) }

func (w watching) ByUser(ctx context.Context, user string) ([]vdi.VDISession, error) {
	return w.memory.ByUser(ctx, user)
}

func (w watching) ByHost(ctx context.Context, host string) (*vdi.VDISession, bool, error) {
	return w.memory.ByHost(ctx, host)
}

func (w watching) All(ctx context.Context) ([]vdi.VDISession, error) { return w.memory.All(ctx) }

func (w watching) InPool(ctx context.Context, pool string) ([]vdi.VDISession, error) {
	return w.memory.InPool(ctx, pool)
}

func newWatched(t *testing.T) *door.Watched {
	t.Helper()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": %q, "resources": [{"name": "vdisessions", "kind": "VDISession", "namespaced": true}]}`, vdi.GroupVersion)
	}))
	t.Cleanup(api.Close)
	watched, err := door.NewWatched(t.Context(), &rest.Config{Host: api.URL}, nil)
	require.NoError(t, err)
	return watched
}

// TestA59LivePages: whoever opens pages without end has as many as others leave them, and
// takes none from others.
func TestA59LivePages(t *testing.T) {
	const pages = 40
	// opens is how many live pages of somebody are open at once.
	opens := func(t *testing.T, b *browser, from string, addresses ...string) (n int) {
		for i := range pages {
			stream := b.get(portal+addresses[i%len(addresses)], "Accept", "text/event-stream", "Sec-Fetch-Site", from)
			t.Cleanup(func() { _ = stream.Body.Close() })
			if stream.StatusCode == http.StatusOK {
				n++
			}
		}
		return n
	}
	door := func(t *testing.T, bounded bool) *world {
		w := newDesks(t)
		w.only.Store(1)
		if bounded {
			w.doors[0].Known = watching{w.known, newWatched(t)}
		}
		return w
	}
	logIn := func(w *world, name string) *browser {
		b := w.browser()
		require.Contains(w.t, text(w.t, b.typeIn(b.get(portal+"/login"), name, name+"'s")), "Your desktops")
		return b
	}
	for way, addresses := range map[string][]string{
		"of the list": {"/events"}, "of all kinds": {"/events", "/desktop/team/alice-1/events", "/desktop/desks/alice-3/events"},
	} {
		ledger.Try(t, way, func(t *testing.T) ledger.Outcome {
			w := door(t, false)
			return ledger.Judge(opens(t, logIn(w, "alice"), "same-origin", addresses...) == pages, ledger.Runtime, "too many")
		}, func(t *testing.T) ledger.Outcome {
			w := door(t, true)
			hers := logIn(w, "alice")
			open := opens(t, hers, "same-origin", addresses...)
			require.Equal(t, http.StatusTooManyRequests, hers.get(portal+"/events", "Accept", "text/event-stream").StatusCode)
			require.Contains(t, text(t, hers.get(portal+"/")), "alice-1", "pages that are not live are there")
			his := opens(t, logIn(w, "bob"), "same-origin", "/events")
			return ledger.Judge(open != 32 || his != 32, ledger.Runtime, fmt.Sprintf("%d of hers, %d of his", open, his))
		})
	}
	ledger.Try(t, "by a desktop's page", func(t *testing.T) ledger.Outcome {
		w := door(t, false)
		return ledger.Judge(opens(t, logIn(w, "alice"), "same-origin", "/events") == pages, ledger.Runtime, "none")
	}, func(t *testing.T) ledger.Outcome {
		w := door(t, true)
		return ledger.Judge(opens(t, logIn(w, "alice"), "same-site", "/events", "/desktop/team/alice-1/events") > 0, ledger.Runtime, "none")
	})
}

// TestA59Desktops: nobody fills the cluster with desktops, whatever of them may start.
func TestA59Desktops(t *testing.T) {
	const wishes = 300
	send := func(t *testing.T, h http.Handler, proof string, headers ...string) {
		for n := range wishes {
			raw(t, h, http.MethodPost, "/new/office", fmt.Sprintf("form=%s&name=Number+%d", proof, n), headers...)
		}
	}
	for way, quotas := range map[string][]vdi.VDIQuota{
		"without a quota":  nil,
		"beyond her quota": {{ObjectMeta: metav1.ObjectMeta{Name: "all"}, Spec: vdi.VDIQuotaSpec{PerUser: &vdi.UserLimits{Sessions: ptr.To[int32](3)}}}},
	} {
		ledger.Try(t, way, func(t *testing.T) ledger.Outcome {
			n := &naiveDesks{}
			send(t, n, "")
			return ledger.Judge(len(n.made) == wishes, ledger.Runtime, "few were made")
		}, func(t *testing.T) ledger.Outcome {
			s := newDesks(t).seat("alice")
			s.known.quotas = quotas
			send(t, s.h, s.form, "Cookie", s.cookie, "Origin", portal)
			made := len(s.known.done())
			require.NotZero(t, made+len(quotas))
			return ledger.Judge(made == wishes, ledger.Runtime, fmt.Sprintf("%d were made", made))
		})
	}
}

// TestA59Questions: forms, addresses and searches that are too large are not read.
func TestA59Questions(t *testing.T) {
	s := newDesks(t).seat("alice")
	naive := func(address, body string) ledger.Attempt {
		return func(t *testing.T) ledger.Outcome {
			n := &naiveDesks{}
			raw(t, n, http.MethodPost, address, body)
			return ledger.Judge(len(n.made) == 1 && n.made[0].Has("q"), ledger.Runtime, "not read")
		}
	}
	small := "form=" + s.form + "&name=Mine&q="
	for way, body := range map[string]string{
		"a form of 8 KiB and one byte": small + strings.Repeat("x", 8<<10+1-len(small)), "nine thousand fields": small + strings.Repeat("&a=", 9_000),
	} {
		ledger.Try(t, way, naive("/new/office", body), func(t *testing.T) ledger.Outcome {
			answer := s.asks(t, http.MethodPost, "/new/office", body)
			return ledger.Judge(len(s.known.done()) > 0, ledger.Runtime, fmt.Sprintf("answered %d", answer.Code))
		})
	}
	require.Equal(t, http.StatusSeeOther, s.asks(t, http.MethodPost, "/new/office", small+strings.Repeat("x", 8<<10-len(small))).Code, "the largest form")
	many := "/new?q=nothing" + strings.Repeat("&a", 9_000)
	ledger.Try(t, "nine thousand parameters", naive("/new/office?q=nothing"+strings.Repeat("&a", 9_000), ""), func(t *testing.T) ledger.Outcome {
		page := s.asks(t, http.MethodGet, many, "").Body.String()
		return ledger.Judge(strings.Contains(page, "Nothing was found"), ledger.Runtime, "they are not there")
	})
	const long = 60_000
	ledger.Try(t, "a search of 60,000 characters", naive("/new/office?q="+strings.Repeat("x", long), ""), func(t *testing.T) ledger.Outcome {
		page := s.asks(t, http.MethodGet, "/new?q="+strings.Repeat("x", long), "").Body.String()
		require.Contains(t, page, "Nothing was found")
		return ledger.Judge(len(page) > long/2, ledger.Runtime, fmt.Sprintf("a page of %d bytes", len(page)))
	})
}

// TestA59Heads: nor does a search of a megabyte get to the pages at all.
func TestA59Heads(t *testing.T) {
	w := newDesks(t)
	search := func(t *testing.T, server interface {
		Serve(net.Listener) error
		Close() error
	},
	) ledger.Outcome {
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		go func() { _ = server.Serve(listener) }() // until it is closed
		defer server.Close()
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", listener.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		go func() { // it may be cut before its end
			_, _ = fmt.Fprintf(conn, "GET /new?q=%s HTTP/1.1\r\nHost: %s\r\n\r\n", strings.Repeat("x", 1<<20-8<<10), at(t, portal).Host)
		}()
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		return ledger.Judge(answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge, ledger.Runtime, answer.Status)
	}
	ledger.Try(t, "a search of a megabyte", func(t *testing.T) ledger.Outcome {
		return search(t, &http.Server{Handler: w.doors[0].Pages()}) //nolint:gosec // no limit of ours
	}, func(t *testing.T) ledger.Outcome {
		return search(t, httpserver.New(w.doors[0].Pages(), slog.New(slog.DiscardHandler), 64<<10))
	})
}

// TestA59Pictures: templates with large pictures make no page large, nor slow.
func TestA59Pictures(t *testing.T) {
	const templates, picture = 200, 64 << 10
	s := newDesks(t).seat("alice")
	offer := func(icon string) {
		for n := range templates {
			s.known.offer(fmt.Sprint("many-", n), func(o *vdi.VDITemplate) { o.Spec.DisplayName, o.Spec.Icon = fmt.Sprint("Many ", n), icon })
		}
	}
	data := "data:image/png;base64," + base64.StdEncoding.EncodeToString(make([]byte, picture))
	ledger.Try(t, "in the size of a page", func(t *testing.T) ledger.Outcome {
		return ledger.Judge(templates*len(data) > 1<<20, ledger.Runtime, "small")
	}, func(t *testing.T) ledger.Outcome {
		offer(data)
		page := s.asks(t, http.MethodGet, "/new", "")
		require.Contains(t, page.Body.String(), "Many 199")
		require.Equal(t, picture, s.asks(t, http.MethodGet, "/icon/many-7", "").Body.Len())
		return ledger.Judge(page.Body.Len() > 256<<10, ledger.Runtime, fmt.Sprintf("%d bytes", page.Body.Len()))
	})
	for _, address := range []string{"/new", "/", "/desktop/team/alice-1"} {
		ledger.Try(t, "in the work for "+address, func(t *testing.T) ledger.Outcome {
			decode := func(icon string) time.Duration {
				return work(t, func() {
					for range templates {
						_, err := base64.StdEncoding.DecodeString(icon)
						require.NoError(t, err)
					}
				})
			}
			return ledger.Judge(decode(data[len("data:image/png;base64,"):]) > 5*decode("AAAA"), ledger.Runtime, "as much")
		}, func(t *testing.T) ledger.Outcome {
			took := func(icon string) time.Duration {
				offer(icon)
				return work(t, func() { s.asks(t, http.MethodGet, address, "") })
			}
			small, large := took("data:image/png;base64,AAAA"), took(data)
			words := fmt.Sprintf("%v, and %v without", large, small)
			t.Log(words)
			return ledger.Judge(large > 5*small+10*time.Millisecond, ledger.Runtime, words)
		})
	}
	for what, icon := range map[string]string{
		"larger than they may be": "data:image/png;base64," + base64.StdEncoding.EncodeToString(make([]byte, picture+1)), "that is none": "data:image/png;base64,%%%",
	} {
		ledger.Try(t, "one "+what, func(t *testing.T) ledger.Outcome {
			return ledger.Judge(strings.HasPrefix(icon, "data:image/png"), ledger.Runtime, "not shown")
		}, func(t *testing.T) ledger.Outcome {
			offer(icon)
			code := s.asks(t, http.MethodGet, "/icon/many-7", "").Code
			return ledger.Judge(code == http.StatusOK, ledger.Runtime, "not shown")
		})
	}
}
