package agent

import (
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/vdi-platform/vdi-platform/operator/web"
	"github.com/vdi-platform/vdi-platform/platform"
)

const (
	notForVisitors  = "This part of the desktop is not for visitors."
	notThisWay      = "This part of the desktop cannot be asked this way."
	noStream        = "This part of the desktop has no stream."
	noServiceWorker = "This desktop leaves no program in your browser."
	twoReadings     = "This address can be read in two ways; open the desktop itself."
)

// checkEndpoint refuses what is not in the list of the desktop's streamer. There
// are only owners: whoever is let in is one.
func (a *Agent) checkEndpoint(r *http.Request) *refusal {
	endpoints, isList := platform.EndpointsOf(a.config.Endpoints, platform.RoleOwner)
	if !isList {
		return nil
	}
	if isServiceWorker(r.Header) {
		return &refusal{http.StatusForbidden, reasonEndpoint, noServiceWorker}
	}
	at := cleaned(r.URL.Path)
	if written := strings.ToLower(r.URL.Path); written != at && written != at+"/" {
		return &refusal{http.StatusForbidden, reasonEndpoint, twoReadings} // which one is the desktop's?
	}
	if !isBelow(at, platform.EndpointsRoot) {
		// The page, and what a newer version of it is made of.
		return checkMethod(r, platform.Endpoint{Methods: []string{http.MethodGet, http.MethodHead}})
	}
	e, found := endpointAt(endpoints, at)
	if !found {
		return &refusal{http.StatusForbidden, reasonEndpoint, notForVisitors}
	}
	if denied := checkMethod(r, e); denied != nil {
		return denied
	}
	return a.checkTransfer(e.Needs)
}

// isServiceWorker reports whether a browser asks for a service worker's script
// (https://www.w3.org/TR/service-workers/). Selkies has none (2.1.0, selkies_web). One
// that a program in the desktop had left in the browser would see the host's later
// pages, its login included.
func isServiceWorker(h http.Header) bool {
	return len(h["Service-Worker"]) > 0 || h.Get("Sec-Fetch-Dest") == "serviceworker"
}

// checkMethod refuses other methods than an endpoint's, and WebSockets where it has none.
func checkMethod(r *http.Request, e platform.Endpoint) *refusal {
	switch {
	case !slices.Contains(e.Methods, r.Method):
		return &refusal{http.StatusMethodNotAllowed, reasonMethod, notThisWay}
	case web.IsWebSocket(r.Header) && !e.WebSocket:
		return &refusal{http.StatusForbidden, reasonEndpoint, noStream}
	}
	return nil
}

func (a *Agent) checkTransfer(need platform.Need) *refusal {
	switch {
	case need == platform.NeedUpload && !uploads(a.config.FileTransfer):
		return &refusal{http.StatusForbidden, reasonFiles, noUpload}
	case need == platform.NeedDownload && !downloads(a.config.FileTransfer):
		return &refusal{http.StatusForbidden, reasonFiles, noDownload}
	}
	return nil
}

func endpointAt(endpoints []platform.Endpoint, at string) (platform.Endpoint, bool) {
	i := slices.IndexFunc(endpoints, func(e platform.Endpoint) bool {
		return at == e.Path || e.Below && isBelow(at, e.Path)
	})
	if i < 0 {
		return platform.Endpoint{}, false
	}
	return endpoints[i], true
}

// farewellAt is how the page behind a WebSocket learns of its end.
func (a *Agent) farewellAt(r *http.Request) platform.Farewell {
	endpoints, _ := platform.EndpointsOf(a.config.Endpoints, platform.RoleOwner)
	e, _ := endpointAt(endpoints, cleaned(r.URL.Path))
	return e.Farewell
}

// cleaned is a decoded path as the most lenient server would read it.
func cleaned(decoded string) string { return strings.ToLower(path.Clean("/" + decoded)) }

// isBelow reports whether a cleaned path is another or under it.
func isBelow(at, root string) bool { return at == root || strings.HasPrefix(at, root+"/") }

// asAttachment keeps files of the desktop from running as pages of its host: a
// browser saves them. The list of a folder is a page.
func (a *Agent) asAttachment(answer *http.Response) {
	asked := answer.Request.URL.Path
	endpoints, _ := platform.EndpointsOf(a.config.Endpoints, platform.RoleOwner)
	e, found := endpointAt(endpoints, cleaned(asked))
	isFolder := strings.HasSuffix(asked, "/") && strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html")
	if !found || e.Needs != platform.NeedDownload || isFolder || answer.StatusCode >= http.StatusMultipleChoices {
		return
	}
	answer.Header.Set("X-Content-Type-Options", "nosniff")
	kind, rest, _ := strings.Cut(answer.Header.Get("Content-Disposition"), ";")
	if strings.EqualFold(strings.TrimSpace(kind), "attachment") {
		return
	}
	disposition := "attachment"
	if rest != "" {
		disposition += ";" + rest
	}
	answer.Header.Set("Content-Disposition", disposition)
}
