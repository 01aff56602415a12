package agent

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/web"
)

// reasonFiles is a value of the label reason of vdi_agent_denied_total.
const reasonFiles = "file-transfer"

const (
	noUpload   = "This desktop takes no files from your computer."
	noDownload = "This desktop gives no files to your computer."
)

// errDownload means that an answer was a file, where files may not leave.
var errDownload = errors.New("the desktop answered with a file")

// checkFiles refuses what carries files in a direction that is not allowed. The
// streamer refuses it too, but a person in the desktop can end the streamer and
// start another one with other settings, or anything else, on its port. So no
// upload means that nothing may be sent over HTTP at all, wherever to: a page of
// Selkies sends nothing else there.
func checkFiles(r *http.Request, allowed vdi.FileTransferPolicy) *refusal {
	switch {
	case !web.IsSafe(r.Method) && !uploads(allowed):
		return &refusal{http.StatusForbidden, reasonFiles, noUpload}
	case isDownload(r.URL.Path) && !downloads(allowed):
		return &refusal{http.StatusForbidden, reasonFiles, noDownload}
	}
	return nil
}

func uploads(p vdi.FileTransferPolicy) bool {
	return p == vdi.FileTransferBoth || p == vdi.FileTransferUpload
}

func downloads(p vdi.FileTransferPolicy) bool {
	return p == vdi.FileTransferBoth || p == vdi.FileTransferDownload
}

// isDownload knows where Selkies 2.x lists and gives files, printed documents and
// pictures of the screen, and where it records it (selkies 2.1.0,
// selkies/stream_server.py, the routes at the end).
func isDownload(decoded string) bool {
	clean := cleaned(decoded)
	return slices.ContainsFunc([]string{"/api/files", "/api/print", "/api/screenshot", "/api/recording"}, func(under string) bool {
		return isBelow(clean, under)
	})
}

// checkDownload refuses an answer that browsers would save as a file.
func checkDownload(answer *http.Response, allowed vdi.FileTransferPolicy) error {
	disposition := strings.ToLower(strings.TrimSpace(answer.Header.Get("Content-Disposition")))
	if disposition == "" || strings.HasPrefix(disposition, "inline") || downloads(allowed) {
		return nil
	}
	return errDownload
}
