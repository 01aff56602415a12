package judge

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/vdi-platform/vdi-platform/operator/doctor"
)

// Charts that bring the operator.
const (
	umbrella      = "vdi-platform"
	operatorChart = "vdi-operator"
)

// Release is one line of `helm list -o json`.
type Release struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Status    string `json:"status"`
	Chart     string `json:"chart"`
}

// of says whether the release is of a chart, whose version follows its name.
func (r Release) of(chart string) bool { return strings.HasPrefix(r.Chart, chart+"-") }

// deployed is Helm's word for a release that was installed or upgraded to its end.
const deployed = "deployed"

// Judge wants the last install or upgrade to have come to its end.
func (r Release) Judge() doctor.Verdict {
	switch {
	case r.Status == deployed:
		return doctor.Pass("%s of chart %s is deployed", r.Name, r.Chart)
	case strings.HasPrefix(r.Status, "pending-"):
		return doctor.Fail("%s of chart %s is %s: an install or upgrade runs, or was killed", r.Name, r.Chart, r.Status).
			With("if none runs: helm rollback %[1]s -n %[2]s, or helm uninstall %[1]s -n %[2]s where it was never deployed", r.Name, r.Namespace)
	}
	return doctor.Fail("%s of chart %s is %s", r.Name, r.Chart, r.Status)
}

// ErrNoRelease is an error of its own, because INSTALL=1 wants it.
var ErrNoRelease = errors.New("no release")

// Choose finds the one release of the platform in a list, or says what to set.
// A name narrows the choice.
func Choose(list []Release, namespace, name string) (Release, error) {
	var found []Release
	var names []string
	for _, r := range list {
		if !r.of(umbrella) && !r.of(operatorChart) || name != "" && r.Name != name {
			continue
		}
		found, names = append(found, r), append(names, r.Name)
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return Release{}, fmt.Errorf("namespace %s holds %d releases of the platform (%s): say which by HELM_RELEASE=NAME", namespace, len(found), strings.Join(names, ", "))
	case name != "":
		return Release{}, fmt.Errorf("%w: namespace %s holds none called %q of the charts %s and %s: set NAMESPACE and HELM_RELEASE as `helm list -A` has them, or INSTALL=1 VALUES=FILE to install it", ErrNoRelease, namespace, name, umbrella, operatorChart)
	default:
		return Release{}, fmt.Errorf("%w: namespace %s holds none of the charts %s and %s: set NAMESPACE as `helm list -A` has it, or INSTALL=1 VALUES=FILE to install one", ErrNoRelease, namespace, umbrella, operatorChart)
	}
}

// Settings are the values that the checks go by, as both charts have them.
type Settings struct {
	Sessions struct {
		Domain       string
		ExternalPort int
		TURN         struct {
			Host       string
			Port       int
			Transports []string
		}
		Images struct{ PullSecrets []string }
	}
	Access struct {
		Mode            string
		RequesterPrefix string
		OIDC            struct{ IssuerURL, ClientID string }
	}
	Portal    struct{ Label string }
	FrontDoor struct {
		Keys struct{ ExistingSecret string }
	}
	Admission       struct{ Enabled bool }
	GPUSharing      struct{ Enabled bool }
	ServiceMonitor  struct{ Enabled bool }
	Metrics         struct{ Port int }
	WatchNamespaces []string
}

// Read takes the operator's values out of `helm get values --all -o json`.
func Read(values []byte, of Release) (s Settings, err error) {
	if of.of(umbrella) {
		var parts struct {
			Operator json.RawMessage `json:"vdi-operator"`
		}
		if err := json.Unmarshal(values, &parts); err != nil {
			return s, fmt.Errorf("values of release %s: %w", of.Name, err)
		}
		values = parts.Operator
	}
	if err := json.Unmarshal(values, &s); err != nil {
		return s, fmt.Errorf("values of the operator in release %s: %w", of.Name, err)
	}
	if s.Sessions.Domain == "" {
		return s, fmt.Errorf("release %s has no value sessions.domain: it installs no operator; name the one that does by HELM_RELEASE=NAME", of.Name)
	}
	return s, nil
}

// PortalHost is where people log in, in mode Local.
func (s Settings) PortalHost() string { return s.Portal.Label + "." + s.Sessions.Domain }

// KeysSecret is the name of the Secret with the front door's keys.
func (s Settings) KeysSecret() string {
	if name := s.FrontDoor.Keys.ExistingSecret; name != "" {
		return name
	}
	return "vdi-frontdoor-keys"
}

// Manifest is what `helm get manifest` says was installed.
type Manifest []unstructured.Unstructured

// ParseManifest reads it.
func ParseManifest(text string) (m Manifest, err error) {
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		var o unstructured.Unstructured
		switch err := decoder.Decode(&o.Object); {
		case errors.Is(err, io.EOF):
			return m, nil
		case err != nil:
			return nil, fmt.Errorf("manifest of the release: %w", err)
		case o.GetKind() != "":
			m = append(m, o)
		}
	}
}

// Kind are its objects of a kind.
func (m Manifest) Kind(kinds ...string) (found Manifest) {
	for _, o := range m {
		if slices.Contains(kinds, o.GetKind()) {
			found = append(found, o)
		}
	}
	return found
}

// App are its objects with the label app, which the charts give each program.
func (m Manifest) App(name string) (found Manifest) {
	for _, o := range m {
		if o.GetLabels()["app"] == name {
			found = append(found, o)
		}
	}
	return found
}
