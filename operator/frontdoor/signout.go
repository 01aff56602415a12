package frontdoor

import (
	"net/http"
	"net/url"
	"time"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// A logout on our own host must close streams on the hosts of desktops, where
// only the browser and the agent can reach them. So the page after the logout
// holds one frame for each running desktop (as OpenID Connect Front-Channel
// Logout does); the page in the frame is ours, on the desktop's host, and sends
// that host's own logout. Streams of the same person in other browsers stay
// until their own logins end.

// signOutLifetime bounds how long after a logout its frames work.
const signOutLifetime = time.Minute

// framesFor are the addresses of the frames after a logout.
func (d *Door) framesFor(login ticket, sessions []vdi.VDISession) ([]string, error) {
	var frames []string
	for i := range sessions {
		host := sessions[i].Status.Host
		if sessions[i].Status.Phase != vdi.PhaseRunning || !d.isSessionHost(host) {
			continue
		}
		sealed, err := d.Keys().seal(forSignOut, ticket{Expires: d.Now().Add(signOutLifetime).Unix(), Host: host, Login: login.Login})
		if err != nil {
			return nil, err
		}
		frames = append(frames, d.origin(host)+pathSignOut+"?"+url.Values{"logout": {sealed}}.Encode())
	}
	return frames, nil
}

// signOut serves the page in the frame. Without a ticket of a logout it does
// nothing: a link alone logs nobody out.
func (d *Door) signOut(w http.ResponseWriter, v visit) {
	t, err := d.Keys().open(forSignOut, v.query.Get("logout"), d.Now())
	if err != nil || t.Host != v.host || v.method != http.MethodGet {
		d.refuse(w, v, http.StatusForbidden, "forged", "This address is too old; log out on the page of your desktops.")
		return
	}
	d.Metrics.forwardAuth.WithLabelValues("signout").Inc()
	d.pages.showFramed(w, d.origin(d.ownHost))
}
