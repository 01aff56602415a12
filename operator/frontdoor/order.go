package frontdoor

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/portal"
	"github.com/vdi-platform/vdi-platform/operator/web"
)

// order is what the page shows on which people ask for a desktop.
type order struct {
	Offer portal.Offer
	Path  string
	// Fields are the sizes that can be chosen.
	Fields []sizeField
	// Zone is the template's time zone; "" for none.
	Zone     string
	Wish     portal.Wish
	Problems portal.Problems
	// Refused says why the whole wish cannot be met; Detail is the API server's own sentence.
	Refused, Detail string
}

// title of the page: who hears it should know that nothing was made.
func (o order) title() string {
	if !o.Fresh() {
		return "Not made yet: " + o.Offer.Title
	}
	return o.Offer.Title
}

// Fresh: nobody has filled in the form yet.
func (o order) Fresh() bool { return len(o.Problems) == 0 && o.Refused == "" }

// sizeField is a field of the form for a size.
type sizeField struct {
	Field, Label, Hint, Value, Problem string
	Size                               portal.Size
}

func fieldsOf(t *vdi.VDITemplate, w portal.Wish, problems portal.Problems) []sizeField {
	sizes := portal.Sizes(t)
	return []sizeField{
		{portal.FieldGPU, "GPU slices", "0 is without a GPU: pictures and films are slow then.", w.GPU, problems[portal.FieldGPU], sizes.GPU},
		{portal.FieldMemory, "Memory in GiB", "", w.Memory, problems[portal.FieldMemory], sizes.Memory},
		{portal.FieldCPU, "CPU cores", "", w.CPU, problems[portal.FieldCPU], sizes.CPU},
		{portal.FieldHome, "Home in GiB", "Files that are there already stay; their home only grows.", w.Home, problems[portal.FieldHome], portal.HomeSize()},
	}
}

// fieldFiles names the session whose home a new desktop takes back, in addresses and forms.
const fieldFiles = "files"

// maxSearch is how long a search may be, in bytes.
const maxSearch = 200

// shelves shows the templates that one may use.
func (d *Door) shelves(w http.ResponseWriter, v visit, login ticket) {
	if !d.makes(w, v) {
		return
	}
	templates, err := d.Catalogue.Templates(v.at.Context())
	if err != nil {
		d.serverError(w, v, "templates cannot be listed", err)
		return
	}
	p, search := d.person(login), v.query.Get("q")
	search = strings.ToValidUTF8(search[:min(len(search), maxSearch)], "")
	form, err := d.form(w, v)
	if err != nil {
		d.serverError(w, v, "a form cannot be made", err)
		return
	}
	d.pages.show(w, http.StatusOK, "shelves.html", page{
		Title: "New desktop", User: login.User, Form: form, Search: search, Home: v.query.Get(fieldFiles),
		Shelves: portal.Shelves(templates, p, search), Any: slices.ContainsFunc(templates, func(t vdi.VDITemplate) bool { return p.May(&t) }),
	})
}

// makes answers where desktops are not made here.
func (d *Door) makes(w http.ResponseWriter, v visit) bool {
	if d.PortalNamespace == "" {
		d.pages.message(w, v, http.StatusNotFound, "New desktop", "Desktops are not made here. Ask an administrator for one.")
	}
	return d.PortalNamespace != ""
}

// offered is a template that one may use. Whether there is one for others is not for strangers
// to know.
func (d *Door) offered(w http.ResponseWriter, v visit, p portal.Person, name string) (*vdi.VDITemplate, bool) {
	t, found, err := d.Catalogue.Template(v.at.Context(), name)
	switch {
	case err != nil:
		d.serverError(w, v, "a template cannot be read", err)
	case !found || !p.May(t):
		d.pages.message(w, v, http.StatusNotFound, "New desktop", "There is no such desktop that you may use.")
	default:
		return t, true
	}
	return nil, false
}

// startable is one that can also start.
func (d *Door) startable(w http.ResponseWriter, v visit, p portal.Person, name string) (*vdi.VDITemplate, bool) {
	t, may := d.offered(w, v, p, name)
	if may && portal.IsBroken(t) {
		d.pages.message(w, v, http.StatusConflict, "New desktop", "This one cannot start at present: an administrator has to change it.")
		return nil, false
	}
	return t, may
}

// order shows the form of a template.
func (d *Door) order(name string) pageOf {
	return func(w http.ResponseWriter, v visit, login ticket) {
		if !d.makes(w, v) {
			return
		}
		t, may := d.startable(w, v, d.person(login), name)
		if !may {
			return
		}
		sessions, err := d.Known.ByUser(v.at.Context(), login.User)
		if err != nil {
			d.serverError(w, v, "sessions cannot be listed", err)
			return
		}
		var taken []string
		for i := range sessions {
			taken = append(taken, portal.TitleOf(&sessions[i]))
		}
		h, _, err := d.homeNamed(v.at.Context(), login.User, v.query.Get(fieldFiles))
		if err != nil {
			d.serverError(w, v, "homes cannot be listed", err)
			return
		}
		d.ask(w, v, login, t, http.StatusOK, order{Wish: portal.WishFor(t, taken).With(h)})
	}
}

// ask shows a form, and what is wrong with it.
func (d *Door) ask(w http.ResponseWriter, v visit, login ticket, t *vdi.VDITemplate, status int, o order) {
	form, err := d.form(w, v)
	if err != nil {
		d.serverError(w, v, "a form cannot be made", err)
		return
	}
	sessions, err := d.Known.ByUser(v.at.Context(), login.User)
	if err != nil {
		d.serverError(w, v, "sessions cannot be listed", err)
		return
	}
	o.Offer, o.Path, o.Zone, o.Fields = portal.OfferOf(t), doorTemplate+t.Name, string(t.Spec.TimeZone), fieldsOf(t, o.Wish, o.Problems)
	d.pages.show(w, status, "order.html", page{
		Title: o.title(), User: login.User, Form: form, Order: o, Shares: d.shares(v.at.Context(), d.person(login), t, portal.TakesBy(t, o.Wish), sessions),
	})
}

// create makes a desktop as the form says. Sent twice, it makes one.
func (d *Door) create(name string) pageOf {
	return func(w http.ResponseWriter, v visit, login ticket) {
		p := d.person(login)
		if !d.makes(w, v) {
			return
		}
		t, may := d.startable(w, v, p, name)
		if !may {
			return
		}
		wish := wishIn(v)
		s, problems := wish.Session(d.PortalNamespace, t, p)
		if s == nil {
			d.ask(w, v, login, t, http.StatusUnprocessableEntity, order{Wish: wish, Problems: problems})
			return
		}
		full, err := "", error(nil)
		if wish.Again != "" {
			if full, err = d.takesBack(v, login, s, wish.Again); full != "" {
				wish.Again = "" // the form is for another home then
			}
		}
		if err == nil && full == "" {
			full, err = d.isFull(v, login, t, wish, s)
		}
		if err == nil && full == "" {
			err = d.Changer.Create(v.at.Context(), s)
		}
		switch {
		case full != "":
			d.ask(w, v, login, t, http.StatusConflict, order{Wish: wish, Refused: full})
		case err == nil:
			d.settle(v.at.Context(), login.User, func(all []vdi.VDISession) bool {
				return slices.ContainsFunc(all, func(known vdi.VDISession) bool { return known.UID == s.UID })
			})
			d.redirect(w, d.origin(d.ownHost)+doorDesktop+s.Namespace+"/"+s.Name+"?"+queryMade, http.StatusSeeOther)
		case apierrors.IsAlreadyExists(err):
			d.isThere(w, v, login, t, wish, s)
		default:
			d.refused(w, v, login, t, wish, err)
		}
	}
}

// maxDesktops is how many one person can have where they make them here, whatever quotas say.
const maxDesktops = 50

// isFull says why a desktop would only be refused by the operator, and stay as a memory of that;
// "" where it would not.
func (d *Door) isFull(v visit, login ticket, t *vdi.VDITemplate, wish portal.Wish, s *vdi.VDISession) (string, error) {
	sessions, err := d.Known.ByUser(v.at.Context(), login.User)
	if err != nil {
		return "", err
	}
	here := 0
	for i := range sessions {
		switch known := &sessions[i]; {
		case known.Namespace != d.PortalNamespace:
		case known.Name == s.Name: // the form was sent twice: it takes nothing more
			return "", nil
		default:
			here++
		}
	}
	if here >= maxDesktops {
		return fmt.Sprintf("Nobody can have more than %d desktops here. Delete one first. Nothing was made.", maxDesktops), nil
	}
	for _, share := range d.shares(v.at.Context(), d.person(login), t, portal.TakesBy(t, wish), sessions) {
		if share.Full && !share.Waits {
			return share.What + ": " + share.Advice + " Nothing was made.", nil
		}
	}
	return "", nil
}

// takesBack gives a new desktop the name to which a home belongs, or says why not. A form that
// is sent twice finds the desktop that has the home by now.
func (d *Door) takesBack(v visit, login ticket, s *vdi.VDISession, session string) (why string, err error) {
	h, found, err := d.homeNamed(v.at.Context(), login.User, session)
	if err != nil {
		return "", err
	}
	s.Name = session
	if !found {
		known, has, err := d.ofUser(v.at.Context(), login.User, types.NamespacedName{Namespace: s.Namespace, Name: session})
		if err != nil || has && portal.IsFor(known, s) {
			return "", err
		}
	}
	if !found || !h.Reusable {
		return "These files are not there any more, or another desktop has them. Nothing was made, and a desktop that this form makes now is without them.", nil
	}
	return "", nil
}

// wishIn is the form as it was filled in.
func wishIn(v visit) portal.Wish {
	f := v.at.PostForm
	return portal.Wish{
		Name: f.Get(portal.FieldName), GPU: f.Get(portal.FieldGPU), Memory: f.Get(portal.FieldMemory), CPU: f.Get(portal.FieldCPU),
		Home: f.Get(portal.FieldHome), TimeZone: strings.TrimSpace(f.Get(portal.FieldTimeZone)), NoHome: f.Get(portal.FieldNoHome) != "", Again: f.Get(fieldFiles),
	}
}

// isThere leads to the desktop of that name, where it is what was asked for: the form was sent
// twice. Else the name is taken.
func (d *Door) isThere(w http.ResponseWriter, v visit, login ticket, t *vdi.VDITemplate, wish portal.Wish, s *vdi.VDISession) {
	isOfName := func(known vdi.VDISession) bool { return known.Namespace == s.Namespace && known.Name == s.Name }
	d.settle(v.at.Context(), login.User, func(all []vdi.VDISession) bool { return slices.ContainsFunc(all, isOfName) })
	sessions, err := d.Known.ByUser(v.at.Context(), login.User)
	if err != nil {
		d.serverError(w, v, "sessions cannot be listed", err)
		return
	}
	problem := "You have a desktop of this name already, and nothing was made. Choose another name."
	if i := slices.IndexFunc(sessions, isOfName); i >= 0 {
		switch known := &sessions[i]; {
		case portal.IsFor(known, s):
			d.redirect(w, d.origin(d.ownHost)+doorDesktop+s.Namespace+"/"+s.Name+"?"+queryMade, http.StatusSeeOther)
			return
		case known.DeletionTimestamp != nil:
			problem = "Your desktop of this name is still being removed, and nothing was made. Try again in a moment."
		case !portal.IsCalled(known, s.Spec.DisplayName):
			problem = "Your desktop “" + portal.TitleOf(known) + "” had this name first and has its files. Nothing was made. Choose another name."
		}
	}
	d.ask(w, v, login, t, http.StatusConflict, order{Wish: wish, Problems: portal.Problems{portal.FieldName: problem}})
}

// refused says that the API server makes no such session: by one of its policies, or because
// it is not there.
func (d *Door) refused(w http.ResponseWriter, v visit, login ticket, t *vdi.VDITemplate, wish portal.Wish, err error) {
	o := order{Wish: wish, Refused: "This did not work. Look at your desktops whether it was made all the same, before you try again."}
	status := http.StatusServiceUnavailable
	var answer apierrors.APIStatus
	if errors.As(err, &answer) && (apierrors.IsForbidden(err) || apierrors.IsInvalid(err)) {
		o.Refused, o.Detail = "This is not allowed, and nothing was made. Ask an administrator.", answer.Status().Message
		status = http.StatusForbidden
	}
	d.Log.Error("a session cannot be made", "error", err.Error())
	d.ask(w, v, login, t, status, o)
}

// icon is a template's picture. It can do nothing where it is shown, nor by itself.
func (d *Door) icon(name string) pageOf {
	return func(w http.ResponseWriter, v visit, login ticket) {
		t, may := d.offered(w, v, d.person(login), name)
		if !may {
			return
		}
		data, kind, err := portal.Icon(t)
		if err != nil {
			d.pages.message(w, v, http.StatusNotFound, "New desktop", "There is no picture.")
			return
		}
		h := w.Header()
		web.SetSecurityHeaders(h)
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
		h.Set("Cache-Control", "private, max-age=86400") // its address changes with it
		h.Set("Content-Type", kind)
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(data) // a visitor who has gone needs no picture
	}
}
