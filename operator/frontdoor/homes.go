package frontdoor

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/portal"
	"github.com/vdi-platform/vdi-platform/platform"
)

// Acts on a home that its desktop has left.
const (
	actDiscard = "discard"
	actKeep    = "keep"
)

// home is a home as its owner sees it.
type home struct {
	portal.Home

	Path, TemplateTitle string
	// Keep: it can be kept for longer; KeptUntil is until when then, zero: for good.
	Keep      bool
	KeptUntil time.Time
	// Form is the field that proves that a form is ours.
	Form string
}

// homesOf are a person's homes without a desktop.
func (d *Door) homesOf(ctx context.Context, user string) ([]portal.Home, error) {
	claims, err := d.Catalogue.Homes(ctx, user)
	if err != nil {
		return nil, err
	}
	sessions, err := d.Known.ByUser(ctx, user)
	return portal.HomesOf(claims, sessions, d.Now()), err
}

// homeNamed is the one that a session of a name has left; "" has none.
func (d *Door) homeNamed(ctx context.Context, user, session string) (portal.Home, bool, error) {
	if session == "" {
		return portal.Home{}, false, nil
	}
	homes, err := d.homesOf(ctx, user)
	i := slices.IndexFunc(homes, func(h portal.Home) bool { return h.Session == session })
	if err != nil || i < 0 {
		return portal.Home{}, false, err
	}
	return homes[i], true, nil
}

// homes shows one's homes without a desktop.
func (d *Door) homes(w http.ResponseWriter, v visit, login ticket) {
	if !d.makes(w, v) {
		return
	}
	form, err := d.form(w, v)
	if err != nil {
		d.serverError(w, v, "a form cannot be made", err)
		return
	}
	shown, err := d.homesPage(v.at.Context(), login, form)
	if err != nil {
		d.serverError(w, v, "homes cannot be listed", err)
		return
	}
	d.pages.show(w, http.StatusOK, "homes.html", shown)
}

// homesEvents keeps that page up to date.
func (d *Door) homesEvents(w http.ResponseWriter, v visit, login ticket) {
	d.streamOfUser(w, v, login, func(form string) (change, error) {
		shown, err := d.homesPage(v.at.Context(), login, form)
		if err != nil {
			return change{}, err
		}
		html, err := d.pages.render("homes", shown)
		return change{HTML: string(html)}, err
	})
}

func (d *Door) homesPage(ctx context.Context, login ticket, form string) (page, error) {
	shown := page{Title: "Your files", User: login.User, Form: form, Events: doorHomes + "/" + actEvents}
	left, err := d.homesOf(ctx, login.User)
	if err != nil {
		return page{}, err
	}
	templates, err := d.Catalogue.Templates(ctx)
	for _, h := range left {
		one := home{Home: h, Path: doorHomes + "/" + h.Session, TemplateTitle: h.Template, Form: form}
		t := templateOf(templates, h)
		if t != nil {
			one.TemplateTitle = portal.TitleOfTemplate(t)
		}
		one.KeptUntil, one.Keep = h.Keep(retention(t))
		shown.Homes = append(shown.Homes, one)
	}
	return shown, err
}

// templateOf is the template from which the desktop was made that left a home; nil where there
// is none any more.
func templateOf(templates []vdi.VDITemplate, h portal.Home) *vdi.VDITemplate {
	i := slices.IndexFunc(templates, func(t vdi.VDITemplate) bool { return platform.TemplateLabel(t.Name) == h.Template })
	if i < 0 {
		return nil
	}
	return &templates[i]
}

// retention is for how long homes are kept that desktops of a template leave, 0 for ever: what
// was said before somebody discarded one, nobody knows any more.
func retention(t *vdi.VDITemplate) time.Duration {
	if t == nil {
		return 0
	}
	return t.Spec.Lifecycle.RetainHomesFor.Or(0)
}

// homeAct serves an act on a home: NAME of the session that left it, and the act.
func (d *Door) homeAct(key string) pageOf {
	name, act, _ := strings.Cut(key, "/")
	if act != actDiscard && act != actKeep {
		return nil
	}
	return func(w http.ResponseWriter, v visit, login ticket) {
		h, found, err := d.homeNamed(v.at.Context(), login.User, name)
		next := d.origin(d.ownHost) + doorHomes
		var templates []vdi.VDITemplate
		if err == nil {
			templates, err = d.Catalogue.Templates(v.at.Context())
		}
		if err != nil { // or a home would be kept as if there were no template any more
			d.serverError(w, v, "homes cannot be listed", err)
			return
		}
		if found && v.at.PostForm.Get(fieldUID) == h.UID {
			rule := retention(templateOf(templates, h))
			if _, more := h.Keep(rule); act == actKeep && more {
				err = d.keepHome(v, login, h, rule)
			} else if act == actDiscard && h.Deletable {
				err = d.keepHome(v, login, h, h.Discard(d.Now()))
			}
		}
		d.respondToChange(w, v, err, next) // where it has changed meanwhile, the page shows that
	}
}

// keepHome says for how long a home is kept, 0 for ever, and waits until that is seen here, too.
func (d *Door) keepHome(v visit, login ticket, h portal.Home, keep time.Duration) error {
	ctx := v.at.Context()
	err := d.Changer.KeepHome(ctx, types.NamespacedName{Namespace: d.PortalNamespace, Name: h.Claim}, h.Version, keep)
	if err == nil {
		d.settle(ctx, login.User, func([]vdi.VDISession) bool {
			now, found, err := d.homeNamed(ctx, login.User, h.Session)
			return err != nil || !found || now.Version != h.Version
		})
	}
	return err
}
