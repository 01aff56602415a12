package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/doctor"
	"github.com/vdi-platform/vdi-platform/tests/image"
	"github.com/vdi-platform/vdi-platform/tests/image/contract"
	"github.com/vdi-platform/vdi-platform/tests/install"
)

// TestImageContract: the real desktop keeps the contract of desktop images, and each way to
// break it is red at its own line (`vdi-image check`).
func TestImageContract(t *testing.T) {
	program, err := contract.BuildDesk(t.TempDir())
	require.NoError(t, err)
	after := []string{"page", "writes", "log", "stops", "again"} // nothing is passed of what has not answered
	for name, c := range map[string]struct {
		desk      contract.Desk
		red       []string
		notJudged []string
		seen      string
	}{
		"good":                 {},
		"ends at once":         {contract.Desk{Way: "ends"}, []string{"answers"}, after, `it ended with code 78 \(Error\) after \d+s; its log ends: desk: there is no default password`},
		"listens elsewhere":    {contract.Desk{Way: "elsewhere"}, []string{"answers"}, after, "does not answer on 127.0.0.1:8080"},
		"program of others":    {contract.Desk{Mode: 0o700, UID: 2000}, []string{"answers"}, after, "permission denied"},
		"writes beside":        {contract.Desk{Way: "loses"}, []string{"writes"}, nil, "it writes /opt/desk/state, which is lost at each stop: only /home/ubuntu is kept"},
		"asks for other login": {contract.Desk{Way: "asks"}, []string{"page"}, nil, "answered 502; the agent says: the desktop did not answer: the desktop refused the agent's login"},
		"shows the password":   {contract.Desk{Way: "shows"}, []string{"log"}, nil, "the desktop's password stands in its log"},
		"stays":                {contract.Desk{Way: "stays"}, []string{"stops"}, nil, "it did not end on SIGTERM: after 4s it was killed"},
		"trips over itself":    {contract.Desk{Way: "locks"}, []string{"again"}, nil, "/home/ubuntu/lock is there"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			img, err := c.desk.Image(program)
			require.NoError(t, err)
			archive := filepath.Join(t.TempDir(), "desk.tar")
			digest, err := img.Digest()
			require.NoError(t, err)
			require.NoError(t, image.WriteFile(archive, "vdi.local/desk:"+digest.Hex[:12], img))
			lines := checked(t, archive, 8*time.Second)
			assert.Equal(t, c.red, doctor.Red(lines), doctor.Table(lines))
			assert.Equal(t, len(c.notJudged), doctor.Count(lines, doctor.NotJudged), doctor.Table(lines))
			for _, l := range lines {
				if l.State == doctor.Failed {
					assert.Regexp(t, c.seen, l.Seen)
					assert.NotEmpty(t, l.Remedy)
				}
			}
		})
	}
	t.Run("the real desktop", func(t *testing.T) {
		t.Parallel()
		lines := checked(t, filepath.Join("..", "..", "bin", "images", "desktop.tar"), patience)
		assert.Zero(t, doctor.Count(lines, doctor.Failed)+doctor.Count(lines, doctor.NotJudged), doctor.Table(lines))
	})
}

func checked(t *testing.T, archive string, patience time.Duration) []doctor.Line {
	t.Helper()
	template := &vdi.VDITemplate{}
	template.Name = "check"
	template.Spec.Values = &apiextensionsv1.JSON{Raw: []byte(`{"pod": {"terminationGracePeriodSeconds": 4}}`)}
	if _, err := os.Stat(archive); err != nil {
		t.Fatal(err)
	}
	checker := contract.Checker{Cluster: platform.Cluster, Agent: install.Images()[0].Tag, Patience: patience}
	lines, err := checker.Check(t.Context(), archive, template)
	require.NoError(t, err)
	return lines
}
