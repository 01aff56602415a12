package integration

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor"
	"github.com/vdi-platform/vdi-platform/operator/run"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/audit"
)

const (
	bob         = "bob@example.com"
	keepsObject = "example.com/keep" // a finalizer
)

// portalSite is a site whose people make their desktops themselves: desks is the world of the
// namespace where they do.
type portalSite struct {
	*localSite
	desks     *world
	anna, bob listed
	list      *mountedList
}

func newPortalSite(t *testing.T) *portalSite {
	t.Helper()
	desks, _ := newLoginWorld(t, wire.AccessLocal, map[string]string{"1.pem": "one"})
	p := &portalSite{
		localSite: newLocalSite(t, "portal.namespace="+desks.ns), desks: desks,
		anna: newListed(t, "anna.artist", alice, "anna's password", "artists"), bob: newListed(t, "bob.builder", bob, "bob's password"),
	}
	p.list = newMountedList(t, listOf(p.anna, p.bob))
	p.args = []string{"--watch-namespaces=" + desks.ns, "--portal-namespace=" + desks.ns}
	desks.createTemplate(func(t *vdi.VDITemplate) {
		t.Spec.DisplayName, t.Spec.Access.Groups = "Drawing", []string{"artists"}
		t.Spec.Lifecycle = vdi.TemplateLifecycle{Timeout: "8h"}
	})
	desks.createTemplate(func(t *vdi.VDITemplate) {
		t.Name, t.Spec.Access.Groups = p.studio(), []string{"curators"}
	})
	p.isBounded()
	return p
}

// studio is the template of other people than Anna.
func (p *portalSite) studio() string { return "studio-" + p.desks.ns }

// isBounded waits until the front door may make desktops, and the policies bound which.
func (p *portalSite) isBounded() {
	p.t.Helper()
	account, err := client.New(p.cluster, client.Options{Scheme: run.Scheme()})
	require.NoError(p.t, err)
	dry := client.NewDryRunClient(account)
	try := func(edit func(*vdi.VDISession)) string {
		return fmt.Sprint(dry.Create(p.ctx, p.desks.newSession(func(s *vdi.VDISession) {
			s.Name, s.Spec.Groups, s.Annotations = "anna-aaaaaaaaaaaaaaaa", []string{"artists"}, map[string]string{wire.AnnotationRequestedBy: alice}
			edit(s)
		})))
	}
	p.eventually(func() bool {
		return strings.Contains(try(func(s *vdi.VDISession) { s.Labels = map[string]string{wire.LabelUser: "a"} }), "with the label "+wire.LabelUser) &&
			strings.Contains(try(func(s *vdi.VDISession) { s.Spec.Template = p.studio() }), "is for others than") &&
			try(func(*vdi.VDISession) {}) == "<nil>"
	}, "the policies are in force")
}

// reads is what a page of the portal shows.
func (v *guest) reads(d *door, path string) string {
	v.l.t.Helper()
	_, body := v.do(d, http.MethodGet, "https://"+loginHost+path, nil)
	return body
}

var (
	inputTag   = regexp.MustCompile(`<input [^>]*>`)
	inputName  = regexp.MustCompile(` name="([^"]*)"`)
	inputValue = regexp.MustCompile(` value="([^"]*)"`)
)

// sends presses the button of a page's form, after somebody has typed into some of its fields.
func (v *guest) sends(d *door, page, action string, typed map[string]string) (*http.Response, string) {
	v.l.t.Helper()
	answer, body := v.do(d, http.MethodPost, "https://"+loginHost+action, v.filled(page, action, typed))
	return answer, html.UnescapeString(body)
}

// filled are the fields of a page's form.
func (v *guest) filled(page, action string, typed map[string]string) url.Values {
	v.l.t.Helper()
	_, form, found := strings.Cut(page, `method="post" action="`+action+`">`)
	require.True(v.l.t, found, "%s: %s", action, page)
	form, _, _ = strings.Cut(form, "</form>")
	fields := url.Values{}
	for _, tag := range inputTag.FindAllString(form, -1) {
		if strings.Contains(tag, `type="checkbox"`) && !strings.Contains(tag, " checked") {
			continue
		}
		name, value := inputName.FindStringSubmatch(tag)[1], inputValue.FindStringSubmatch(tag)[1]
		fields.Set(name, html.UnescapeString(value))
	}
	for name, text := range typed {
		require.Contains(v.l.t, fields, name)
		fields.Set(name, text)
	}
	return fields
}

// pressTwice sends a form in two browsers at once, and returns where that leads them.
func pressTwice(d *door, browsers [2]*guest, action string, typed map[string]string) (led []string) {
	type answer struct {
		path string
		err  error
	}
	answers := make(chan answer, len(browsers))
	for _, v := range browsers {
		r := v.request(http.MethodPost, "https://"+loginHost+action, v.filled(v.reads(d, action), action, typed))
		go func() {
			found, err := v.Do(r)
			if err != nil {
				answers <- answer{err: err}
				return
			}
			answers <- answer{found.Request.URL.Path, found.Body.Close()}
		}()
	}
	for range browsers {
		a := <-answers
		require.NoError(d.t, a.err)
		led = append(led, a.path)
	}
	return led
}

// made are the sessions where people make theirs.
func (p *portalSite) made() []vdi.VDISession {
	p.t.Helper()
	found := &vdi.VDISessionList{}
	require.NoError(p.t, p.client.List(p.ctx, found, client.InNamespace(p.desks.ns)))
	return found.Items
}

// TestPortal: people make desktops, find them at every replica, and rule over their own.
func TestPortal(t *testing.T) {
	t.Parallel()
	p := newPortalSite(t)
	one, two := p.serve(p.list), p.serve(p.list)
	hers, his := p.guest().comesIn(one, p.anna), p.guest().comesIn(one, p.bob)
	p.makes(hers, p.guest().comesIn(one, p.anna), one)
	name := platform.SessionName(alice, "my drawings")
	path := "/desktop/" + p.desks.ns + "/" + name
	p.eventually(func() bool { return strings.Contains(hers.reads(two, "/"), `href="`+path+`"`) }, "it is seen at the other replica")
	require.NotContains(t, his.reads(one, "/"), path, "it is another's desktop")
	answer, _ := his.do(one, http.MethodGet, "https://"+loginHost+path, nil)
	require.Equal(t, http.StatusNotFound, answer.StatusCode)

	p.desks.startNamed(name)
	s := p.desks.sessionNamed(name)
	p.eventually(func() bool { return strings.Contains(hers.reads(one, path), `href="`+s.Status.URL+`"`) }, "it can be opened")
	hers.sends(one, hers.reads(one, path), path+"/extend", nil)
	require.Equal(t, s.Status.ExpiresAt.Add(time.Hour).Unix(), p.desks.sessionNamed(name).Spec.KeepAliveUntil.Unix())
	hers.sends(one, hers.reads(one, "/"), path+"/suspend", nil)
	require.Equal(t, vdi.RunPolicySuspended, p.desks.sessionNamed(name).Spec.RunPolicy)
	p.desks.passes(name)
	p.desks.podEnds(name)
	p.desks.passes(name)
	p.resumes(hers, one, path, name)

	question := hers.reads(two, path+"/delete")
	require.Contains(t, question, "Its home is kept with its files. A new desktop of the same name finds it again, and so do you under “Your files”.")
	hers.sends(two, question, path+"/delete", nil)
	require.NotNil(t, p.desks.sessionNamed(name).DeletionTimestamp)
	p.eventually(func() bool { return strings.Contains(hers.reads(two, "/"), "Being removed") }, "it goes")
	p.desks.passes(name)
	p.desks.podEnds(name)
	p.desks.passes(name)
	require.Empty(t, p.made())
	for _, d := range []*door{one, two} {
		p.eventually(func() bool { return strings.Contains(hers.reads(d, "/"), "You have no desktop") }, "it is gone")
	}
}

// makes fills in the form twice at once, and once more: the session is as it says, and one.
func (p *portalSite) makes(hers, again *guest, d *door) {
	p.t.Helper()
	action := "/new/" + p.desks.template
	require.Contains(p.t, hers.reads(d, "/new"), `href="`+action+`"`)
	require.NotContains(p.t, hers.reads(d, "/new"), p.studio())
	form := hers.reads(d, action)
	require.Contains(p.t, form, `value="Drawing"`)
	name := platform.SessionName(alice, "my drawings")
	path := "/desktop/" + p.desks.ns + "/" + name
	typed := map[string]string{"name": " My  Drawings ", "gpu": "2", "memory": "1,5", "cpu": "4", "homeSize": "20", "timeZone": "Europe/Berlin"}
	require.Equal(p.t, []string{path, path}, pressTwice(d, [2]*guest{hers, again}, action, typed))
	answer, page := hers.sends(d, form, action, typed)
	require.Equal(p.t, path, answer.Request.URL.Path, page)
	require.Contains(p.t, page, "<h1>My Drawings</h1>")
	all := p.made()
	require.Len(p.t, all, 1)
	made := all[0]
	assert.Equal(p.t, name, made.Name)
	assert.Equal(p.t, map[string]string{wire.AnnotationRequestedBy: alice}, made.Annotations)
	assert.Empty(p.t, made.Labels)
	assert.Equal(p.t, vdi.VDISessionSpec{
		User: alice, DisplayName: "My Drawings", Template: p.desks.template, Groups: []string{"artists"}, TimeZone: "Europe/Berlin", RunPolicy: vdi.RunPolicyRunning,
		Resources:   vdi.SessionResources{GPU: ptr.To(int32(2)), Memory: "1536Mi", CPU: "4"},
		Persistence: vdi.Persistence{Enabled: ptr.To(true), Size: "20Gi", ReclaimPolicy: vdi.ReclaimRetain},
	}, made.Spec)
}

// resumes starts a suspended desktop with the groups that the list says now.
func (p *portalSite) resumes(hers *guest, d *door, path, name string) {
	p.t.Helper()
	p.anna.groups = []string{"artists", "curators"}
	p.list.holds(listOf(p.anna, p.bob))
	p.eventually(func() bool { return strings.Contains(hers.reads(d, "/new"), p.studio()) }, "her groups have changed")
	hers.sends(d, hers.reads(d, path), path+"/resume", nil)
	s := p.desks.sessionNamed(name)
	require.Equal(p.t, vdi.RunPolicyRunning, s.Spec.RunPolicy)
	require.Equal(p.t, p.anna.groups, s.Spec.Groups)
	require.Equal(p.t, map[string]string{wire.AnnotationRequestedBy: alice}, s.Annotations)
	p.desks.startNamed(name)
}

// TestPortalRefused: what the API server refuses is said in its words and makes nothing, and a
// catalogue that is open follows the templates.
func TestPortalRefused(t *testing.T) {
	t.Parallel()
	p := newPortalSite(t)
	one := p.serve(p.list)
	hers := p.guest().comesIn(one, p.anna)
	action := "/new/" + p.desks.template
	form := hers.reads(one, action)
	p.refuses("Secrets", "desktops of this name are made on Sundays only")
	answer, page := hers.sends(one, form, action, map[string]string{"name": "Secrets"})
	require.Equal(t, http.StatusForbidden, answer.StatusCode)
	require.Contains(t, page, "This is not allowed, and nothing was made.")
	require.Contains(t, page, "desktops of this name are made on Sundays only")
	require.Contains(t, page, `value="Secrets"`, "what she typed stays")
	require.Empty(t, p.made())
	answer, _ = hers.sends(one, page, action, map[string]string{"name": "No secrets"})
	require.Equal(t, http.StatusOK, answer.StatusCode, "the page works on")
	require.Len(t, p.made(), 1)

	later := "later-" + p.desks.ns
	require.NotContains(t, hers.reads(one, "/new"), later)
	offer := &vdi.VDITemplate{ObjectMeta: metav1.ObjectMeta{Name: later}, Spec: vdi.VDITemplateSpec{Image: image, Access: vdi.TemplateAccess{Users: []string{alice}}}}
	require.NoError(t, p.client.Create(p.ctx, offer))
	p.eventually(func() bool { return strings.Contains(hers.reads(one, "/new"), `href="/new/`+later+`"`) }, "a new template is offered")
	require.NoError(t, p.client.Delete(p.ctx, offer))
	p.eventually(func() bool { return !strings.Contains(hers.reads(one, "/new"), later) }, "one that is deleted is not")
	answer, _ = hers.do(one, http.MethodGet, "https://"+loginHost+"/new/"+later, nil)
	require.Equal(t, http.StatusNotFound, answer.StatusCode)
}

// refuses makes a policy of an administrator's own against desktops of a name.
func (p *portalSite) refuses(displayName, sentence string) {
	p.t.Helper()
	name, admin := "refuses."+p.desks.ns, p.client
	rule := map[string]any{"apiGroups": []any{vdi.GroupVersion.Group}, "apiVersions": []any{"*"}, "operations": []any{"CREATE"}, "resources": []any{"vdisessions"}}
	const version = "admissionregistration.k8s.io/v1"
	for _, o := range []client.Object{
		object(version, policyKind, "", name, map[string]any{
			"matchConstraints": map[string]any{"resourceRules": []any{rule}},
			"matchConditions":  []any{map[string]any{"name": "place", "expression": fmt.Sprintf("request.namespace == %q", p.desks.ns)}},
			"validations":      []any{map[string]any{"expression": fmt.Sprintf("object.spec.?displayName.orValue('') != %q", displayName), "message": sentence}},
		}),
		object(version, bindingKind, "", name, map[string]any{"policyName": name, "validationActions": []any{"Deny"}}),
	} {
		require.NoError(p.t, admin.Create(p.ctx, o))
		p.t.Cleanup(func() { _ = admin.Delete(context.Background(), o) })
	}
	dry := client.NewDryRunClient(admin)
	p.eventually(func() bool {
		return dry.Create(p.ctx, p.desks.newSession(func(s *vdi.VDISession) { s.Spec.DisplayName = displayName })) != nil
	}, "the policy is in force")
}

// TestPortalDeletes: a desktop whose files would fare otherwise than its user was asked about
// stays; for whom one is deleted is written before it is.
func TestPortalDeletes(t *testing.T) {
	t.Parallel()
	p := newPortalSite(t)
	one := p.serve(p.list)
	hers := p.guest().comesIn(one, p.anna)
	p.desks.createSession(func(s *vdi.VDISession) { s.Finalizers = []string{keepsObject} })
	path := "/desktop/" + p.desks.ns + "/" + desk
	const kept, lost = "Its home, if it has one by now, is kept as its template says. You find it under “Your files”.", "Its home is deleted, too: all files in it are gone."
	p.eventually(func() bool { return strings.Contains(hers.reads(one, path+"/delete"), kept) }, "she is asked")
	question := hers.reads(one, path+"/delete")

	p.desks.change(deleteHome)
	answer, _ := hers.sends(one, question, path+"/delete", nil)
	require.Equal(t, path+"/delete", answer.Request.URL.Path, "she is asked again")
	require.Nil(t, p.desks.session().DeletionTimestamp)
	p.eventually(func() bool { return strings.Contains(hers.reads(one, path+"/delete"), lost) }, "what she is asked has changed")
	from, err := audit.End(sharedPlane(t).AuditLog())
	require.NoError(t, err)
	hers.sends(one, hers.reads(one, path+"/delete"), path+"/delete", nil)
	s := p.desks.session()
	require.NotNil(t, s.DeletionTimestamp)
	require.Equal(t, alice, s.Annotations[wire.AnnotationRequestedBy])
	require.Equal(t, []string{"patch", "delete"}, p.wroteDesk(from))
	p.desks.change(func(s *vdi.VDISession) { s.Finalizers = nil })
}

// TestPortalDeletesWhatItLookedAt: also of a desktop that the front door knows as it was before,
// nothing is deleted that its user was not asked about.
func TestPortalDeletesWhatItLookedAt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate()
	seen := w.createSession(func(s *vdi.VDISession) { s.Annotations = map[string]string{wire.AnnotationRequestedBy: alice} })
	changer := frontdoor.NewChanger(w.client)
	errLost := errors.New("her files would be lost")
	allowed := func(s *vdi.VDISession) error {
		if s.Spec.Persistence.ReclaimPolicy == vdi.ReclaimDelete {
			return errLost
		}
		return nil
	}
	w.change(deleteHome)
	require.ErrorIs(t, changer.Delete(w.ctx, seen, allowed), errLost)
	require.True(t, w.sessionExists())
	w.change(func(s *vdi.VDISession) { s.Spec.Persistence.ReclaimPolicy = vdi.ReclaimRetain })
	require.NoError(t, changer.Delete(w.ctx, seen, allowed), "another change in between is no obstacle")
	require.False(t, w.sessionExists())

	fresh := w.createSession()
	require.Error(t, changer.Delete(w.ctx, seen, allowed), "another session of that name")
	require.Equal(t, fresh.ResourceVersion, w.session().ResourceVersion)
}

// wroteDesk are the front door's writes to the session desk after a position in the log.
func (p *portalSite) wroteDesk(from int64) (verbs []string) {
	p.t.Helper()
	requests, _, err := audit.Of(sharedPlane(p.t).AuditLog(), "system:serviceaccount:"+p.ns+":"+doorName, from)
	require.NoError(p.t, err)
	for _, q := range requests {
		if q.IsWrite() && q.Namespace == p.desks.ns && q.Name == desk && q.Code == http.StatusOK {
			verbs = append(verbs, q.Verb)
		}
	}
	return verbs
}

// TestPortalWithoutTemplates: a front door that may not read templates is ready all the same. It
// lets people in and to their desktops, and reads templates as soon as it may.
func TestPortalWithoutTemplates(t *testing.T) {
	t.Parallel()
	p := newPortalSite(t)
	binding := p.catalogueBinding()
	require.NoError(t, p.client.Delete(p.ctx, binding))
	one := p.serve(p.list)
	hers := p.guest()
	p.desks.createSession()
	begun := time.Now()
	_, page := hers.logIn(one, p.anna)
	require.Contains(t, page, `action="/logout"`)
	require.Less(t, time.Since(begun), 3*time.Second, "a login, and the list")
	path := "/desktop/" + p.desks.ns + "/" + desk
	p.eventually(func() bool { return strings.Contains(hers.reads(one, "/"), path) }, "her desktops are shown")
	hers.sends(one, hers.reads(one, path), path+"/suspend", nil)
	s := p.desks.session()
	require.Equal(t, vdi.RunPolicySuspended, s.Spec.RunPolicy)
	require.Equal(t, alice, s.Annotations[wire.AnnotationRequestedBy], "an administrator has made it, and she has suspended it")

	begun = time.Now()
	answer, page := hers.do(one, http.MethodGet, "https://"+loginHost+"/new", nil)
	require.Less(t, time.Since(begun), 3*time.Second)
	require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
	require.Contains(t, page, "This did not work. Try again in a moment.")

	binding.ResourceVersion, binding.UID = "", ""
	require.NoError(t, p.client.Create(p.ctx, binding))
	p.eventually(func() bool { return strings.Contains(hers.reads(one, "/new"), `href="/new/`+p.desks.template+`"`) }, "it may read them now")
}

// catalogueBinding is what lets the front door read templates.
func (p *portalSite) catalogueBinding() *rbacv1.ClusterRoleBinding {
	p.t.Helper()
	all := &rbacv1.ClusterRoleBindingList{}
	require.NoError(p.t, p.client.List(p.ctx, all))
	found := slices.IndexFunc(all.Items, func(b rbacv1.ClusterRoleBinding) bool {
		return strings.HasSuffix(b.RoleRef.Name, ":catalogue") && b.Subjects[0].Namespace == p.ns
	})
	require.GreaterOrEqual(p.t, found, 0)
	return &all.Items[found]
}
