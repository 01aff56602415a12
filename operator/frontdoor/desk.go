package frontdoor

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/portal"
)

// errChanged: what somebody was asked about is not as they were shown it.
var errChanged = errors.New("the session has changed since")

// queryMade marks the address of a desktop that was made just now.
const queryMade = "made"

// Fields of the forms about one desktop: which one it is, what was said of its home, and whether
// its own page was in front of the person.
const (
	fieldUID  = "uid"
	fieldFate = "fate"
	fieldHere = "here"
)

// extension is how far one press of the button moves the end of a run; the
// template bounds it.
const extension = time.Hour

// desktopPage serves what is about one desktop: NAMESPACE/NAME, and what follows.
func (d *Door) desktopPage(method, key string) pageOf {
	parts := strings.Split(key, "/")
	if len(parts) < 2 || len(parts) > 3 {
		return nil
	}
	name, act := types.NamespacedName{Namespace: parts[0], Name: parts[1]}, ""
	if len(parts) == 3 {
		if act = parts[2]; act == "" {
			return nil
		}
	}
	serve := map[string]func(http.ResponseWriter, visit, ticket, *vdi.VDISession){
		"GET ":               d.desktop,
		"GET " + actEvents:   d.desktopEvents,
		"GET " + actDelete:   d.askDelete,
		"POST " + actSuspend: d.suspend,
		"POST " + actResume:  d.resumeFromList,
		"POST " + actRename:  d.rename,
		"POST " + actGrow:    d.grow,
		"POST " + actExtend:  d.extend,
		"POST " + actDelete:  d.deleteDesktop,
	}[method+" "+act]
	if serve == nil {
		return nil
	}
	return func(w http.ResponseWriter, v visit, login ticket) {
		s, found, err := d.ofUser(v.at.Context(), login.User, name)
		made := act == "" && v.query.Has(queryMade)
		if err == nil && !found && made { // at another replica, which knew it first
			d.settle(v.at.Context(), login.User, func(all []vdi.VDISession) bool {
				return slices.ContainsFunc(all, func(s vdi.VDISession) bool { return s.Namespace == name.Namespace && s.Name == name.Name })
			})
			s, found, err = d.ofUser(v.at.Context(), login.User, name)
		}
		switch {
		case err != nil:
			d.serverError(w, v, "sessions cannot be listed", err)
		case !found && made:
			d.pages.show(w, http.StatusOK, "message.html", page{Title: "Your desktop", Text: "It is being made.", Refresh: 2})
		case !found && act == "":
			d.pages.show(w, http.StatusNotFound, "message.html", page{
				Title: "No such desktop", Text: "You have no desktop at this address. It may have been removed.", Link: doorHome, LinkText: "Your desktops",
			})
		case !found:
			d.redirect(w, d.origin(d.ownHost)+doorHome, http.StatusSeeOther)
		case method == http.MethodPost && v.at.PostForm.Get(fieldUID) != string(s.UID):
			d.respondToChange(w, v, errGone, "")
		default:
			serve(w, v, login, s)
		}
	}
}

// ofUser is a session of a user. That of somebody else is not there.
func (d *Door) ofUser(ctx context.Context, user string, name types.NamespacedName) (*vdi.VDISession, bool, error) {
	sessions, err := d.Known.ByUser(ctx, user)
	for i := range sessions {
		if s := &sessions[i]; s.Namespace == name.Namespace && s.Name == name.Name {
			return s, true, err
		}
	}
	return nil, false, err
}

// desktop shows one desktop.
func (d *Door) desktop(w http.ResponseWriter, v visit, login ticket, s *vdi.VDISession) {
	d.showDesktop(w, v, login, s, "desktop.html")
}

// askDelete asks whether a desktop is to go, and says what becomes of its home.
func (d *Door) askDelete(w http.ResponseWriter, v visit, login ticket, s *vdi.VDISession) {
	if !portal.ActsOn(s, d.PortalNamespace).Delete {
		d.redirect(w, d.origin(d.ownHost)+doorDesktop+s.Namespace+"/"+s.Name, http.StatusSeeOther)
		return
	}
	d.showDesktop(w, v, login, s, "delete.html")
}

func (d *Door) showDesktop(w http.ResponseWriter, v visit, login ticket, s *vdi.VDISession, template string) {
	form, err := d.form(w, v)
	if err != nil {
		d.serverError(w, v, "a form cannot be made", err)
		return
	}
	one, err := d.desktopOf(v, s, d.titles(v.at.Context()), form)
	one.Here = true
	if err != nil {
		d.serverError(w, v, "a queue cannot be counted", err)
		return
	}
	title := one.Title
	if template == "delete.html" {
		title = "Delete " + one.Title + "?"
	}
	d.pages.show(w, http.StatusOK, template, page{Title: title, User: login.User, Form: form, Events: one.Path + "/" + actEvents, Desktop: one})
}

// suspend stops a desktop of one's own.
func (d *Door) suspend(w http.ResponseWriter, v visit, login ticket, s *vdi.VDISession) {
	d.respondToAct(w, v, login, s, d.Changer.Suspend(v.at.Context(), s), s.Spec.RunPolicy != vdi.RunPolicySuspended)
}

// resumeFromList starts one's own desktop, as [Door.resume] does on its own page.
func (d *Door) resumeFromList(w http.ResponseWriter, v visit, login ticket, s *vdi.VDISession) {
	err := d.Changer.Resume(v.at.Context(), s, d.groupsOf(login))
	d.Metrics.resumes.WithLabelValues(resultOf(err)).Inc()
	d.respondToAct(w, v, login, s, err, s.Spec.RunPolicy == vdi.RunPolicySuspended)
}

// rename changes the name that people see.
func (d *Door) rename(w http.ResponseWriter, v visit, login ticket, s *vdi.VDISession) {
	name, problem := portal.NameOf(v.at.PostForm.Get(portal.FieldName))
	if problem != "" {
		d.unchanged(w, v, s, "Rename "+portal.TitleOf(s), problem)
		return
	}
	d.respondToAct(w, v, login, s, d.Changer.Rename(v.at.Context(), s, name), name != s.Spec.DisplayName)
}

// grow makes the home of a desktop larger.
func (d *Door) grow(w http.ResponseWriter, v visit, login ticket, s *vdi.VDISession) {
	size, problem := portal.LargerHome(s, v.at.PostForm.Get(portal.FieldHome))
	if problem != "" {
		d.unchanged(w, v, s, "Larger home: "+portal.TitleOf(s), problem)
		return
	}
	d.respondToAct(w, v, login, s, d.Changer.Grow(v.at.Context(), s, size), true)
}

// unchanged says what is wrong with a form about a desktop, and leads back to it.
func (d *Door) unchanged(w http.ResponseWriter, v visit, s *vdi.VDISession, title, problem string) {
	d.pages.show(w, http.StatusUnprocessableEntity, "message.html", page{
		Title: title, Text: problem + " Nothing was changed.", Link: doorDesktop + s.Namespace + "/" + s.Name, LinkText: "Back to the desktop",
	})
}

// extend moves the end of a run of one's own.
func (d *Door) extend(w http.ResponseWriter, v visit, login ticket, s *vdi.VDISession) {
	var err error
	can := portal.ActsOn(s, d.PortalNamespace).Extend
	if can {
		err = d.Changer.KeepAlive(v.at.Context(), s, s.Status.ExpiresAt.Add(extension))
	}
	d.respondToAct(w, v, login, s, err, can)
}

// deleteDesktop deletes a desktop of one's own, as long as its home fares as was said.
func (d *Door) deleteDesktop(w http.ResponseWriter, v visit, login ticket, s *vdi.VDISession) {
	said := v.at.PostForm.Get(fieldFate)
	err := d.Changer.Delete(v.at.Context(), s, func(now *vdi.VDISession) error {
		switch {
		case portal.HomeWords(now) != said, !portal.ActsOn(now, d.PortalNamespace).Delete && now.DeletionTimestamp == nil:
			return errChanged
		case now.DeletionTimestamp != nil:
			return errGone
		}
		return nil
	})
	switch {
	case errors.Is(err, errChanged):
		d.redirect(w, d.origin(d.ownHost)+doorDesktop+s.Namespace+"/"+s.Name+"/"+actDelete, http.StatusSeeOther)
	case err != nil && !errors.Is(err, errGone):
		d.serverError(w, v, "a session cannot be deleted", err)
	default:
		d.settle(v.at.Context(), login.User, func(all []vdi.VDISession) bool {
			for i := range all {
				if all[i].UID == s.UID && all[i].DeletionTimestamp == nil {
					return false
				}
			}
			return true
		})
		d.redirect(w, d.origin(d.ownHost)+doorHome, http.StatusSeeOther)
	}
}

// respondToAct leads back to the page from which somebody acted, once it shows what they did,
// where they changed anything.
func (d *Door) respondToAct(w http.ResponseWriter, v visit, login ticket, s *vdi.VDISession, err error, changed bool) {
	next := doorHome
	if v.at.PostForm.Get(fieldHere) != "" {
		next = doorDesktop + s.Namespace + "/" + s.Name
	}
	if err == nil && changed {
		d.settle(v.at.Context(), login.User, func(all []vdi.VDISession) bool {
			for i := range all {
				if all[i].UID == s.UID {
					return all[i].ResourceVersion != s.ResourceVersion
				}
			}
			return true
		})
	}
	d.respondToChange(w, v, err, d.origin(d.ownHost)+next)
}
