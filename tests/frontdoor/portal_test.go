package frontdoor

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

const picture = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><path d="M0 0h8v8z"/></svg>`

// newPortalWorld has Alice and Bob on its list, and templates to choose from.
func newPortalWorld(t *testing.T) *world {
	w := newWorld(t, wire.AccessLocal, func(w *world, _ *platform.Sessions) { w.known.portal = "desks" })
	w.list(listed(t, "alice", alice, "alice's", "[artists]")+listed(t, "bob", bob, "bob's", "[]"), 0, 1)
	w.known.offer("office", func(o *vdi.VDITemplate) {
		o.Spec.DisplayName, o.Spec.Description, o.Spec.Category = "Office", "Letters and tables.", "Work"
		one, four := int32(0), int32(4)
		o.Spec.Resources = vdi.TemplateResources{DefaultGPU: &one, Max: vdi.SessionResources{GPU: &four, Memory: "8Gi", CPU: "4"}, Min: vdi.SessionResources{Memory: "512Mi"}}
	})
	w.known.offer("studio", func(o *vdi.VDITemplate) {
		o.Spec.DisplayName, o.Spec.Description, o.Spec.Category = "Studio", "Pictures and films.", "Art"
		o.Spec.Icon = "data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString([]byte(picture))
		o.Spec.Access.Groups, o.Spec.Deprecated = []string{"artists"}, "Use Studio 2."
		o.Status.Encoder = vdi.OutcomeNVENC
	})
	w.known.offer("broken", func(o *vdi.VDITemplate) {
		o.Status.Conditions = []metav1.Condition{{Type: vdi.ConditionValid, Status: metav1.ConditionFalse}}
	})
	return w
}

// member is somebody who is logged in.
func (w *world) member(name string) *browser {
	b := w.browser()
	require.Contains(w.t, text(w.t, b.typeIn(b.get(portal+"/login"), name, name+"'s")), "Your desktops")
	return b
}

// sends sends a form of a page, as a person does.
func (b *browser) sends(page, path string, fields url.Values) *http.Response {
	b.w.t.Helper()
	return b.do(http.MethodPost, portal+path, formOf(b.w.t, page)+"&"+fields.Encode(), "Origin", portal)
}

// reads is a page's text.
func (b *browser) reads(path string) string {
	b.w.t.Helper()
	return html.UnescapeString(text(b.w.t, b.get(portal+path)))
}

// People see what they may use, find it by words, and see what cannot start.
func TestShelves(t *testing.T) {
	w := newPortalWorld(t)
	page := w.member("alice").reads("/new")
	assert.Less(t, strings.Index(page, "<h2>Art</h2>"), strings.Index(page, "<h2>Work</h2>"))
	for _, shown := range []string{"Pictures and films.", "Letters and tables.", "without a GPU", "1 GPU slice, video encoded by the GPU", "Use Studio 2.", `href="/new/office"`, `src="/icon/studio?`} {
		assert.Contains(t, page, shown)
	}
	assert.Contains(t, page, "an administrator has to change it")
	assert.NotContains(t, page, `href="/new/broken"`)

	b := w.member("bob")
	page = b.reads("/new")
	assert.NotContains(t, page, "Studio")
	assert.Contains(t, b.reads("/new?q=LETTERS+work"), "Office")
	assert.Contains(t, b.reads("/new?q=films"), "Nothing was found")
	for _, path := range []string{"/new/studio", "/new/nothing", "/icon/studio"} {
		answer := b.get(portal + path)
		assert.Equal(t, http.StatusNotFound, answer.StatusCode, path)
		assert.Contains(t, text(t, answer), "There is no such desktop that you may use", path)
	}
}

// A picture can do nothing, wherever it is opened.
func TestIcon(t *testing.T) {
	w := newPortalWorld(t)
	answer := w.member("alice").get(portal + "/icon/studio")
	assert.Equal(t, picture, text(t, answer))
	assert.Equal(t, "image/svg+xml", answer.Header.Get("Content-Type"))
	assert.Contains(t, answer.Header.Get("Content-Security-Policy"), "default-src 'none'")
	assert.Contains(t, answer.Header.Get("Content-Security-Policy"), "sandbox")
	assert.Equal(t, "nosniff", answer.Header.Get("X-Content-Type-Options"))
}

// A form makes the desktop that it says, once, for whoever sends it, in the portal's namespace.
func TestMakeDesktop(t *testing.T) {
	w := newPortalWorld(t)
	both := int32(2) // the one that she has, and this one
	w.known.quotas = []vdi.VDIQuota{{ObjectMeta: metav1.ObjectMeta{Name: "all"}, Spec: vdi.VDIQuotaSpec{PerUser: &vdi.UserLimits{Sessions: &both}}}}
	b := w.member("alice")
	page := b.reads("/new/office")
	assert.Contains(t, page, `value="Office"`)
	assert.Contains(t, page, "From 0.5 to 8.")
	wish := url.Values{"name": {" My  Office "}, "gpu": {"2"}, "memory": {"1,5"}, "cpu": {"4"}, "homeSize": {"20"}, "timeZone": {"Europe/Berlin"}}
	for range 2 { // a second press of the button
		answer := b.sends(page, "/new/office", wish)
		assert.Contains(t, text(t, answer), "My Office")
		assert.Equal(t, "/desktop/desks/"+platform.SessionName(alice, "my office"), answer.Request.URL.Path)
	}
	name := platform.SessionName(alice, "my office")
	assert.Equal(t, []string{"create " + name}, w.known.done())
	two, kept := int32(2), true
	s := w.known.sessions[name+"."+domain]
	assert.Equal(t, "desks", s.Namespace)
	assert.Equal(t, map[string]string{wire.AnnotationRequestedBy: alice}, s.Annotations)
	assert.Equal(t, vdi.VDISessionSpec{
		User: alice, Template: "office", Groups: []string{"artists"}, DisplayName: "My Office", RunPolicy: vdi.RunPolicyRunning, TimeZone: "Europe/Berlin",
		Resources: vdi.SessionResources{GPU: &two, Memory: "1536Mi", CPU: "4"}, Persistence: vdi.Persistence{Enabled: &kept, Size: "20Gi"},
	}, s.Spec)
	assert.Contains(t, b.reads("/new/office"), `value="Office"`)

	more := b.sends(page, "/new/office", url.Values{"name": {"Another"}})
	assert.Equal(t, http.StatusConflict, more.StatusCode)
	assert.Contains(t, text(t, more), "You have as many desktops as you may. Delete one first. Nothing was made.")
	again := b.sends(page, "/new/studio", url.Values{"name": {"my OFFICE"}})
	assert.Equal(t, http.StatusConflict, again.StatusCode)
	assert.Contains(t, text(t, again), "You have a desktop of this name already, and nothing was made")
	larger := url.Values{"name": {"My Office"}, "memory": {"8"}}
	assert.Equal(t, http.StatusConflict, b.sends(page, "/new/office", larger).StatusCode, "another size is another wish")
	w.known.edit(name+"."+domain, func(s *vdi.VDISession) { s.DeletionTimestamp = &metav1.Time{Time: w.time()} })
	assert.Contains(t, text(t, b.sends(page, "/new/office", wish)), "still being removed")
	assert.Empty(t, w.known.done())
}

// hasHome is what the operator writes once it has made the home.
func hasHome(s *vdi.VDISession) {
	s.Status.Home = &vdi.HomeStatus{ClaimName: "vdi-data-" + s.Name, UID: "1", CreatedByOperator: true}
}

// What cannot start, and what is about to go, cannot be chosen by its address either.
func TestBrokenTemplate(t *testing.T) {
	w := newPortalWorld(t)
	b := w.member("alice")
	page := b.reads("/new/office")
	for _, answer := range []*http.Response{b.get(portal + "/new/broken"), b.sends(page, "/new/broken", url.Values{"name": {"Mine"}})} {
		assert.Equal(t, http.StatusConflict, answer.StatusCode)
		assert.Contains(t, text(t, answer), "cannot start at present")
	}
	assert.Empty(t, w.known.done())
}

// A desktop that another replica has just made is being made, not missing.
func TestMadeElsewhere(t *testing.T) {
	w := newPortalWorld(t)
	b := w.member("alice")
	answer := b.get(portal + "/desktop/desks/alice-abcdefghijklmnop?made")
	assert.Equal(t, http.StatusOK, answer.StatusCode)
	page := text(t, answer)
	assert.Contains(t, page, "It is being made.")
	assert.Contains(t, page, `http-equiv="refresh" content="2"`)
	answer = b.get(portal + "/desktop/desks/alice-abcdefghijklmnop")
	assert.Equal(t, http.StatusNotFound, answer.StatusCode)
	text(t, answer)
}

// What the template gives is left to it; another person's same words are another desktop.
func TestMakeDesktopAsOffered(t *testing.T) {
	w := newPortalWorld(t)
	for name, user := range map[string]string{"alice": alice, "bob": bob} {
		b := w.member(name)
		text(t, b.sends(b.reads("/new/office"), "/new/office", url.Values{"name": {"Office"}, "gpu": {"0"}, "memory": {"4"}, "cpu": {"2"}, "homeSize": {"10"}, "noHome": {"1"}}))
		s := w.known.sessions[platform.SessionName(user, "office")+"."+domain]
		require.NotNil(t, s, name)
		assert.Equal(t, vdi.SessionResources{}, s.Spec.Resources)
		assert.False(t, *s.Spec.Persistence.Enabled)
		assert.Empty(t, s.Spec.TimeZone)
	}
}

// Wrong words make nothing, and are shown again beside what is wrong with them.
func TestWrongWishes(t *testing.T) {
	w := newPortalWorld(t)
	b := w.member("alice")
	for field, wrong := range map[string]map[string]string{
		"name":     {"": "Give it a name", strings.Repeat("x", 65): "at most 64 characters", "a\u202eb": "cannot be seen", "\xff": "not valid text"},
		"gpu":      {"5": "from 0 to 4", "-1": "from 0 to 4", "1.5": "number from 0 to 4", "x": "number from 0 to 4", "1e9": "number"},
		"memory":   {"9": "from 0.5 to 8", "0": "from 0.5 to 8", "NaN": "number from 0.5 to 8", "8Gi": "number"},
		"cpu":      {"5": "of at most 4", "0": "of at most 4", "-1": "of at most 4"},
		"homeSize": {"0": "above 0", "many": "number above 0"},
		"timeZone": {"Mars/Olympus": "no such time zone", "../etc/passwd": "no such time zone"},
	} {
		for typed, sentence := range wrong {
			wish := url.Values{"name": {"Kept"}, "memory": {"2"}}
			wish.Set(field, typed)
			answer := b.sends(b.reads("/new/office"), "/new/office", wish)
			assert.Equal(t, http.StatusUnprocessableEntity, answer.StatusCode, typed)
			page := html.UnescapeString(text(t, answer))
			assert.Contains(t, page, sentence, "%s: %q", field, typed)
			assert.Contains(t, page, `id="`+field+`-problem"`)
			if field != "name" {
				assert.Contains(t, page, `value="Kept"`)
			}
		}
	}
	assert.Empty(t, w.known.done())
}

// What the API server refuses is said in its words, and the form keeps what was typed.
func TestRefusedWishes(t *testing.T) {
	w := newPortalWorld(t)
	b := w.member("alice")
	w.known.refuses = apierrors.NewForbidden(sessionsResource, "x", assert.AnError)
	answer := b.sends(b.reads("/new/office"), "/new/office", url.Values{"name": {"Mine"}})
	assert.Equal(t, http.StatusForbidden, answer.StatusCode)
	page := html.UnescapeString(text(t, answer))
	assert.Contains(t, page, assert.AnError.Error())
	assert.Contains(t, page, `value="Mine"`)
	w.known.refuses = assert.AnError
	answer = b.sends(b.reads("/new/office"), "/new/office", url.Values{"name": {"Mine"}})
	assert.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
	assert.NotContains(t, text(t, answer), assert.AnError.Error(), "it may say anything")
}

// What somebody has of their limits, and what one more takes.
func TestShares(t *testing.T) {
	w := newPortalWorld(t)
	two, slices := int32(2), int32(1)
	w.known.quotas = []vdi.VDIQuota{{ObjectMeta: metav1.ObjectMeta{Name: "all"}, Spec: vdi.VDIQuotaSpec{PerUser: &vdi.UserLimits{Running: &two, Sessions: &two, GPUSlices: &slices}}}}
	w.known.edit(aliceHost, func(s *vdi.VDISession) {
		s.Status.PodName, s.Status.Resources = "alice-1", &vdi.ResourcesStatus{GPU: &slices}
	})
	b := w.member("alice")
	page := b.reads("/")
	assert.Contains(t, page, "Running desktops")
	assert.Contains(t, page, "1 of 2")
	page = b.reads("/new/studio")
	assert.Contains(t, page, "1 of 2; this one takes 1")
	assert.Contains(t, page, "<strong>GPU slices in use.</strong> There is no room for this one now. It waits for its turn, and starts by itself.")
	assert.NotContains(t, b.reads("/new/office"), "no room")
	assert.Contains(t, w.member("bob").reads("/new/office"), "0 of 1", "others' desktops count for others")
}

// People act on their own desktops, by buttons that are there where they do something.
func TestActs(t *testing.T) {
	w := newPortalWorld(t)
	b := w.member("alice")
	ends := w.time().Add(time.Hour).UTC().Truncate(time.Second)
	w.known.edit(aliceHost, func(s *vdi.VDISession) {
		s.Status.ExpiresAt, s.Status.ExpiryReason = &metav1.Time{Time: ends}, vdi.StopExpired
	})
	page := b.reads("/")
	for _, shown := range []string{`href="` + aliceURL + `"`, "/desktop/team/alice-1/suspend", "/desktop/team/alice-1/extend", "It is removed then. Your files are kept."} {
		assert.Contains(t, page, shown)
	}
	for _, hidden := range []string{"bob", "/resume", "/delete"} {
		assert.NotContains(t, page, hidden)
	}
	act := func(what string) string {
		return text(t, b.sends(b.reads("/"), "/desktop/team/alice-1/"+what, url.Values{"uid": {"uid of alice-1"}}))
	}
	act("extend")
	assert.Contains(t, act("suspend"), "Shutting down")
	assert.Contains(t, act("resume"), "Running")
	assert.Equal(t, []string{"keep alice-1 until " + ends.Add(time.Hour).Format(time.RFC3339), "suspend alice-1", "resume alice-1"}, w.known.done())
	assert.Equal(t, []string{"artists"}, w.known.resumed)

	answer := b.sends(page, "/desktop/team/alice-1/suspend", url.Values{"uid": {"uid of an earlier one"}})
	assert.Equal(t, http.StatusGone, answer.StatusCode)
	text(t, answer)
	assert.Empty(t, w.known.done())
}

// Before somebody deletes a desktop they learn what becomes of their files; where that changes
// meanwhile, nothing is deleted.
func TestDeleteDesktop(t *testing.T) {
	w := newPortalWorld(t)
	b := w.member("alice")
	text(t, b.sends(b.reads("/new/office"), "/new/office", url.Values{"name": {"Office"}}))
	path := "/desktop/desks/" + platform.SessionName(alice, "office")
	host := platform.SessionName(alice, "office") + "." + domain
	w.known.edit(host, hasHome)
	question := b.reads(path + "/delete")
	kept := "Its home is kept with its files. A new desktop of the same name finds it again, and so do you under “Your files”."
	assert.Contains(t, question, kept)
	w.known.done()
	form := url.Values{"uid": {string(w.known.sessions[host].UID)}, "fate": {kept}}

	w.known.edit(host, func(s *vdi.VDISession) { s.Spec.Persistence.ReclaimPolicy = vdi.ReclaimDelete })
	page := html.UnescapeString(text(t, b.sends(question, path+"/delete", form)))
	assert.Contains(t, page, "Its home is deleted, too: all files in it are gone.")
	assert.Empty(t, w.known.done())

	w.known.edit(host, func(s *vdi.VDISession) { s.Spec.Persistence.ReclaimPolicy = vdi.ReclaimRetain })
	page = text(t, b.sends(question, path+"/delete", form))
	assert.Contains(t, page, "Being removed")
	assert.Len(t, w.known.done(), 1)
	assert.NotContains(t, b.reads(path), "/delete")
	assert.Equal(t, "/desktop/team/alice-1", b.get(portal+"/desktop/team/alice-1/delete").Request.URL.Path, "made elsewhere, deleted elsewhere")
}

// Without a namespace to make them in, people have their desktops and make none.
func TestPortalWithoutNamespace(t *testing.T) {
	w := newPortalWorld(t)
	w.known.portal = ""
	w = newLocalWorld(t)
	b := w.member("bob")
	assert.NotContains(t, b.reads("/"), `href="/new"`)
	assert.NotContains(t, b.reads("/"), `href="/homes"`)
	for _, path := range []string{"/new", "/new/office", "/homes"} {
		answer := b.get(portal + path)
		assert.Equal(t, http.StatusNotFound, answer.StatusCode)
		assert.Contains(t, text(t, answer), "Desktops are not made here")
	}
}

// Open pages follow what changes, without being asked for anything.
func TestPortalEvents(t *testing.T) {
	w := newPortalWorld(t)
	b := w.member("alice")
	for path, goal := range map[string]string{"/events": "Waiting", "/desktop/team/alice-1/events": "You are next."} {
		next, stop := b.follows(path)
		assert.Contains(t, next(), "Running")
		w.known.edit(aliceHost, func(s *vdi.VDISession) {
			s.Status.Phase, s.Status.WaitingFor = vdi.PhasePending, vdi.WaitingForGPU
		})
		assert.Contains(t, next(), goal)
		w.known.edit(aliceHost, func(s *vdi.VDISession) { s.Status.Phase, s.Status.WaitingFor = vdi.PhaseRunning, "" })
		assert.Contains(t, next(), "Running")
		assert.Empty(t, w.known.done())
		stop()
	}
	w.pass(9 * time.Hour)
	answer := b.get(portal+"/events", "Accept", "text/event-stream")
	assert.Equal(t, http.StatusUnauthorized, answer.StatusCode)
	text(t, answer)
}

// follows opens a live page: next is what it shows then.
func (b *browser) follows(path string) (next func() string, stop func()) {
	t := b.w.t
	t.Helper()
	stream := b.get(portal+path, "Accept", "text/event-stream")
	require.Equal(t, "text/event-stream", stream.Header.Get("Content-Type"))
	lines := bufio.NewScanner(stream.Body)
	next = func() string {
		for lines.Scan() {
			if data, found := strings.CutPrefix(lines.Text(), "data: "); found {
				var sent struct{ HTML string }
				require.NoError(t, json.Unmarshal([]byte(data), &sent))
				return sent.HTML
			}
		}
		require.FailNow(t, "the stream ended")
		return ""
	}
	return next, func() { stream.Body.Close() }
}

// verbs are the first words of what was done.
func verbs(done []string) (all []string) {
	for _, what := range done {
		verb, _, _ := strings.Cut(what, " ")
		all = append(all, verb)
	}
	return all
}
