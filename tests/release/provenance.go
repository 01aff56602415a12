package release

import (
	"encoding/json"
	"fmt"
	"strings"
)

// buildType names how the workflow builds; its parameters are the repository and the ref.
const buildType = "https://github.com/vdi-platform/vdi-platform/blob/main/.github/workflows/release.yaml"

// Provenance is the predicate of an SLSA provenance, version 1 (slsa.dev/spec/v1.0/provenance),
// for a run of the workflow: what was built from and by whom. getenv gives the variables
// that GitHub sets for a run. It says what the run says of itself: whoever signs it vouches.
func Provenance(getenv func(string) string, goVersion string) ([]byte, error) {
	for _, name := range []string{"GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_REF", "GITHUB_SHA", "GITHUB_WORKFLOW_REF", "GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT"} {
		if getenv(name) == "" {
			return nil, fmt.Errorf("make provenance: %s is not set: it is made in a run of the release workflow", name)
		}
	}
	repository := getenv("GITHUB_SERVER_URL") + "/" + getenv("GITHUB_REPOSITORY")
	return json.MarshalIndent(map[string]any{
		"buildDefinition": map[string]any{
			"buildType":          buildType,
			"externalParameters": map[string]any{"repository": repository, "ref": getenv("GITHUB_REF")},
			"internalParameters": map[string]any{"go": strings.TrimPrefix(goVersion, "go")},
			"resolvedDependencies": []any{map[string]any{
				"uri":    "git+" + repository + "@" + getenv("GITHUB_REF"),
				"digest": map[string]string{"gitCommit": getenv("GITHUB_SHA")},
			}},
		},
		"runDetails": map[string]any{
			"builder":  map[string]string{"id": getenv("GITHUB_SERVER_URL") + "/" + getenv("GITHUB_WORKFLOW_REF")},
			"metadata": map[string]string{"invocationId": repository + "/actions/runs/" + getenv("GITHUB_RUN_ID") + "/attempts/" + getenv("GITHUB_RUN_ATTEMPT")},
		},
	}, "", "  ")
}
