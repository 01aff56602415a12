package frontdoor

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// People find the files that their desktops have left, by the names that they gave them, and
// nobody else's.
func TestHomes(t *testing.T) {
	w := newPortalWorld(t)
	name := platform.SessionName(alice, "letters")
	w.known.leave(name, alice, map[string]string{wire.AnnotationDisplayName: "Letters <b>"})
	w.known.leave("alice-1", alice, nil) // its session is there, in another namespace
	w.known.leave(platform.SessionName(bob, "secrets"), bob, map[string]string{wire.AnnotationDisplayName: "Secrets"})
	b := w.member("alice")
	page := b.reads("/homes")
	assert.Contains(t, page, "Letters <b>")
	assert.Contains(t, page, "Office, 20 GiB")
	assert.Contains(t, page, `href="/new?files=`+name+`"`)
	assert.NotContains(t, page, `href="/new?files=alice-1"`, "its name is none that is made here")
	assert.NotContains(t, page, "Secrets")
	assert.NotContains(t, text(t, b.get(portal+"/homes")), "<b>")

	shelves := b.reads("/new?files=" + name)
	assert.Contains(t, shelves, `href="/new/office?files=`+name+`"`)
	form := b.reads("/new/office?files=" + name)
	assert.Contains(t, form, "It takes back the files that are kept.")
	assert.Contains(t, form, `value="20"`)
	answer := b.sends(form, "/new/office", url.Values{"name": {"Anything"}, "files": {name}, "homeSize": {"20"}})
	text(t, answer)
	assert.Equal(t, []string{"create " + name}, w.known.done())
	s := w.known.sessions[name+"."+domain]
	assert.Equal(t, vdi.Quantity("20Gi"), s.Spec.Persistence.Size)
	assert.Equal(t, "Anything", s.Spec.DisplayName)
	assert.NotContains(t, b.reads("/homes"), "Letters", "a desktop has it")

	again := b.sends(form, "/new/office", url.Values{"name": {"Anything"}, "files": {name}, "homeSize": {"20"}})
	assert.Contains(t, text(t, again), "<h1>Anything</h1>", "pressed twice it leads to the same desktop")
	assert.Empty(t, w.known.done())
	taken := b.sends(form, "/new/office", url.Values{"name": {"Something else"}, "files": {name}, "homeSize": {"20"}})
	assert.Contains(t, text(t, taken), "another desktop has them", "a desktop of another name has the files now")
	taken = b.sends(b.reads("/new/office"), "/new/office", url.Values{"name": {"letters"}})
	assert.Contains(t, text(t, taken), "“Anything” had this name first and has its files.")
	assert.Empty(t, w.known.done())
}

// Others' files, and such as a desktop has, are not to be had by their name.
func TestHomesOfOthers(t *testing.T) {
	w := newPortalWorld(t)
	name := platform.SessionName(bob, "secrets")
	w.known.leave(name, bob, nil)
	b := w.member("alice")
	form := b.reads("/new/office?files=" + name)
	assert.NotContains(t, form, "It takes back")
	for _, home := range []string{name, "alice-1", "x"} {
		answer := b.sends(form, "/new/office", url.Values{"name": {"Mine"}, "files": {home}})
		assert.Equal(t, http.StatusConflict, answer.StatusCode)
		assert.Contains(t, text(t, answer), "These files are not there any more, or another desktop has them.")
	}
	for _, act := range []string{"discard", "keep"} {
		text(t, b.sends(form, "/homes/"+name+"/"+act, url.Values{"uid": {"home of " + name}}))
	}
	assert.Empty(t, w.known.done())
}

// Files that somebody deletes are there for a day, in which they can be kept after all.
func TestDiscardHome(t *testing.T) {
	w := newPortalWorld(t)
	name := platform.SessionName(alice, "letters")
	w.known.leave(name, alice, map[string]string{wire.AnnotationDisplayName: "Letters"})
	w.pass(48 * time.Hour)
	b := w.member("alice")
	page := b.reads("/homes")
	assert.Contains(t, page, "They are kept.")
	act := func(what, uid string) string {
		return text(t, b.sends(page, "/homes/"+name+"/"+what, url.Values{"uid": {uid}}))
	}
	act("discard", "of another home")
	assert.Empty(t, w.known.done())
	assert.Contains(t, act("discard", "home of "+name), "They are deleted")
	assert.Equal(t, []string{"keep vdi-data-" + name + " for 72h0m0s"}, w.known.done())
	w.known.offer("office", func(o *vdi.VDITemplate) { o.Spec.Lifecycle.RetainHomesFor = "720h" })
	assert.Contains(t, b.reads("/homes"), "Keep them until <time")
	act("keep", "home of "+name)
	assert.Equal(t, []string{"keep vdi-data-" + name + " for 720h0m0s"}, w.known.done())
	act("keep", "home of "+name)
	w.known.offer("office", func(o *vdi.VDITemplate) { o.Spec.Lifecycle.RetainHomesFor = "1h" })
	act("keep", "home of "+name)
	assert.Empty(t, w.known.done(), "no time is made shorter")
	w.known.offer("office")
	act("keep", "home of "+name)
	assert.Equal(t, []string{"keep vdi-data-" + name + " for 0s"}, w.known.done(), "for ever, as the template says")
}

// The page follows what happens to the files.
func TestHomesLive(t *testing.T) {
	w := newPortalWorld(t)
	name := platform.SessionName(alice, "letters")
	b := w.member("alice")
	assert.Contains(t, b.reads("/homes"), `data-events="/homes/events"`)
	next, stop := b.follows("/homes/events")
	defer stop()
	assert.Contains(t, next(), "There are none.")
	w.known.leave(name, alice, map[string]string{wire.AnnotationDisplayName: "Letters"})
	assert.Contains(t, next(), "Letters")
}

// A home grows and never shrinks.
func TestGrow(t *testing.T) {
	w := newPortalWorld(t)
	b := w.member("alice")
	grow := func(size string) *http.Response {
		return b.sends(b.reads("/desktop/team/alice-1"), "/desktop/team/alice-1/grow", url.Values{"uid": {"uid of alice-1"}, "homeSize": {size}, "here": {"1"}})
	}
	assert.Contains(t, text(t, grow("25")), "<dt>Home</dt><dd>25 GiB")
	assert.Equal(t, []string{"grow alice-1 to 25Gi"}, w.known.done())
	for _, size := range []string{"25", "10", "", "x"} {
		answer := grow(size)
		assert.Equal(t, http.StatusUnprocessableEntity, answer.StatusCode, size)
		assert.Contains(t, text(t, answer), "Nothing was changed.", size)
	}
	assert.Empty(t, w.known.done())
	w.known.edit("alice-1."+domain, func(s *vdi.VDISession) {
		s.Status.Conditions = []metav1.Condition{{Type: vdi.ConditionHomeReady, Reason: vdi.ReasonHomeGrowthRefused, Message: "The home stays at 10Gi: <no>"}}
	})
	assert.Contains(t, b.reads("/desktop/team/alice-1"), "it has not grown to that yet:<br>The home stays at 10Gi: <no>")
}

// A name that people see can be changed; home, host and address stay.
func TestRename(t *testing.T) {
	w := newPortalWorld(t)
	b := w.member("alice")
	rename := func(name string) *http.Response {
		return b.sends(b.reads("/desktop/team/alice-1"), "/desktop/team/alice-1/rename", url.Values{"uid": {"uid of alice-1"}, "name": {name}, "here": {"1"}})
	}
	assert.Contains(t, text(t, rename(" Project  X ")), "<h1>Project X</h1>")
	answer := rename("")
	assert.Equal(t, http.StatusUnprocessableEntity, answer.StatusCode)
	assert.Contains(t, text(t, answer), "Give it a name. Nothing was changed.")
	assert.Equal(t, []string{"rename alice-1"}, w.known.done())
}
