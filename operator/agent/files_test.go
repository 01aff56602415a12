package agent

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// What may not pass never reaches the desktop, in whatever spelling; what may does.
func TestFileTransfer(t *testing.T) {
	type request struct{ method, path string }
	up := []request{
		{"POST", "/api/upload"},
		{"POST", "/api/%75pload"},
		{"PUT", "/anything"},
		{"POST", "/"},
		{"PATCH", "/api/upload/"},
		{"DELETE", "/any"},
	}
	down := []request{
		{"GET", "/api/files/"},
		{"GET", "/api/files/plans.pdf"},
		{"GET", "/api/files"},
		{"GET", "/API/Files/a"},
		{"HEAD", "/api/files/a"},
		{"GET", "//api/files/a"},
		{"GET", "/api/./files/a"},
		{"GET", "/x/../api/files/a"},
		{"GET", "/api%2Ffiles/a"},
		{"GET", "/%61pi/files/a"},
		{"GET", "/api/print/job.pdf"},
	}
	always := []request{{"GET", "/"}, {"GET", "/assets/index.js"}, {"GET", "/api/status"}, {"GET", "/api/filesystem"}, {"OPTIONS", "/"}}
	for policy, refused := range map[vdi.FileTransferPolicy][]request{
		vdi.FileTransferBoth: nil, vdi.FileTransferUpload: down, vdi.FileTransferDownload: up, vdi.FileTransferNone: slices.Concat(up, down),
	} {
		t.Run(string(policy), func(t *testing.T) {
			w := newWorld(t, func(c *Config) { c.FileTransfer = policy })
			visitor, denied := w.login(), map[request]bool{}
			for _, r := range refused {
				denied[r] = true
			}
			for _, r := range slices.Concat(up, down, always) {
				before := w.desktop.requests()
				got := w.ask(r.method, r.path, map[string]string{"Cookie": visitor, "Origin": testOrigin}, "")
				if denied[r] {
					assert.Equal(t, http.StatusForbidden, got.StatusCode, "%v", r)
					assert.Equal(t, before, w.desktop.requests(), "%v reached the desktop", r)
				} else {
					assert.Equal(t, http.StatusOK, got.StatusCode, "%v", r)
					assert.Equal(t, before+1, w.desktop.requests(), "%v", r)
				}
			}
		})
	}
}

// A file that the desktop gives away elsewhere is stopped on its way.
func TestDownloadElsewhere(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.FileTransfer = vdi.FileTransferUpload })
	w.desktop.handle = func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Disposition", "attachment; filename=plans.pdf")
		_, _ = rw.Write([]byte("the plans"))
	}
	got := w.ask("GET", "/elsewhere", map[string]string{"Cookie": w.login()}, "")
	assert.Equal(t, http.StatusForbidden, got.StatusCode)
	assert.NotContains(t, got.body, "the plans")
	assert.Contains(t, got.body, "gives no files")
	assert.Contains(t, w.askStatus("/metrics").body, `vdi_agent_denied_total{reason="file-transfer"} 1`)
}

// A file is one by its answer too, wherever the desktop keeps it.
func TestAnswersThatAreFiles(t *testing.T) {
	for disposition, isFile := range map[string]bool{
		`attachment; filename="plans.pdf"`: true, "ATTACHMENT": true, " attachment": true, "form-data": true,
		"inline": false, `inline; filename="picture.png"`: false, "": false,
	} {
		answer := &http.Response{Header: http.Header{"Content-Disposition": {disposition}}}
		require.NoError(t, checkDownload(answer, vdi.FileTransferBoth))
		require.NoError(t, checkDownload(answer, vdi.FileTransferDownload))
		for _, policy := range []vdi.FileTransferPolicy{vdi.FileTransferUpload, vdi.FileTransferNone} {
			if err := checkDownload(answer, policy); isFile {
				require.ErrorIs(t, err, errDownload, disposition)
			} else {
				require.NoError(t, err, disposition)
			}
		}
	}
}

func TestFileTransferIsAKnownWord(t *testing.T) {
	err := Config{
		Desktop: "127.0.0.1:1", Host: testHost, Session: "a/b", SessionUID: testUID, CredentialsDir: "x", Input: "none",
		MaxSessionAge: 1, Mode: wire.AccessPassword, FileTransfer: "Uploads",
	}.check()
	require.ErrorIs(t, err, ErrConfig)
	assert.True(t, strings.Contains(err.Error(), "--file-transfer") && strings.Contains(err.Error(), "Upload, Download"), err)
}
