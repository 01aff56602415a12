// Package renderer turns a session, its template and the platform's settings
// into the objects the session consists of: layers of values, the embedded
// chart vdi-session, and an ordered list of post-render steps, the last of
// which is the guard. It is the only package that imports Helm.
//
// It decides nothing about time, phases or the cluster and reads none of them:
// no client, clock, file or network. The same input gives the same bytes.
package renderer

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Input is everything a session's objects depend on.
type Input struct {
	// Session: metadata.{name,namespace,uid} and spec are used.
	Session vdi.VDISession `json:"session"`
	// Template the session names.
	Template vdi.VDITemplate `json:"template"`
	// Platform settings; missing ones get their defaults.
	Platform platform.Config `json:"platform"`
	// Host is the full DNS name of the desktop, decided by the caller.
	Host string `json:"host"`
	// StatementKeys are the front door's (file name to PEM), which the
	// agent believes in modes OIDC and Local; they mean nothing in mode Password.
	StatementKeys map[string]string `json:"statementKeys,omitempty"`
	// Encoder is what the template's encoder Auto comes to on the nodes that the
	// desktop can land on (platform.ResolveEncoder); empty: Software.
	Encoder vdi.EncoderChoice `json:"encoder,omitempty"`
}

// encoder is the template's own choice, and what Auto comes to where it is Auto.
func (in Input) encoder() vdi.EncoderChoice {
	if choice := in.Template.Spec.GPU.Encoder; choice == vdi.EncoderNVENC || choice == vdi.EncoderSoftware {
		return choice
	}
	return in.Encoder
}

// Rendered are the objects of one session.
type Rendered struct {
	// Objects in install order, see wire.Kinds.
	Objects []*unstructured.Unstructured
	// Revision is a hash over all objects.
	Revision string
	// Claims are those that the pod mounts beside the session's home, by name. Whoever
	// makes the pod must know them labelled vdi.kasm.io/for-desktops: the renderer
	// reads no cluster.
	Claims []string
}

// Kinds of errors, for errors.Is.
var (
	// ErrValues: a value is refused; the message names its path.
	ErrValues = errors.New("invalid values")
	// ErrGuard: the rendered objects break a rule of the platform.
	ErrGuard = errors.New("refused by the guard")
	// ErrResources: a size is no quantity or outside the template's bounds.
	ErrResources = errors.New("invalid resources")
)

// Renderer renders sessions. It is safe for concurrent use.
type Renderer struct {
	chart  *engine
	schema *schema
}

// New parses the embedded chart and compiles its schema.
func New() (*Renderer, error) {
	chart, err := newEngine()
	if err != nil {
		return nil, fmt.Errorf("load the session chart: %w", err)
	}
	schema, err := newSchema(chart.schema)
	if err != nil {
		return nil, fmt.Errorf("load the session chart's schema: %w", err)
	}
	return &Renderer{chart: chart, schema: schema}, nil
}

// Render returns the objects one session needs, in install order. Errors are
// ErrValues, ErrGuard, ErrResources or platform.ErrNoRelay.
func (r *Renderer) Render(in Input) (Rendered, error) {
	out, err := r.render(in)
	if err != nil {
		return Rendered{}, fmt.Errorf("render session %q: %w", in.Session.Name, err)
	}
	return out, nil
}

func (r *Renderer) render(in Input) (Rendered, error) {
	in.Platform = in.Platform.WithDefaults()
	if err := in.Platform.Sessions.TURN.CheckRelay(in.Template.Spec); err != nil {
		return Rendered{}, fmt.Errorf("template %q: %w", in.Template.Name, err)
	}
	values, err := r.valuesOf(in)
	if err != nil {
		return Rendered{}, err
	}
	objs, err := r.chart.objects(releaseOf(in), values)
	if err != nil {
		return Rendered{}, err
	}
	out, want := Rendered{Objects: objs}, expectationOf(in, values)
	for _, step := range stepsOf(in, want) {
		if err := step(&out); err != nil {
			return Rendered{}, err
		}
	}
	out.Claims = foreignClaims(&out, want.claim)
	return out, nil
}

// Values are the final values of the session chart for an input, with the
// chart's defaults. Errors are ErrValues or ErrResources.
func (r *Renderer) Values(in Input) (map[string]any, error) {
	in.Platform = in.Platform.WithDefaults()
	return r.valuesOf(in)
}

// ValidateTemplate checks a template's values against the chart's schema and
// renders a sample session from it. Errors are those of Render.
func (r *Renderer) ValidateTemplate(t *vdi.VDITemplate, p platform.Config) error {
	_, err := r.Sample(t, p)
	return err
}

// Sample is a session that takes every default from a template. Errors are those of Render.
func (r *Renderer) Sample(t *vdi.VDITemplate, p platform.Config) (Rendered, error) {
	return r.render(sampleOf(t, p))
}

// sampleOf is a session that takes every default from the template.
func sampleOf(t *vdi.VDITemplate, p platform.Config) Input {
	in := Input{Template: *t, Platform: p, Host: "sample.vdi.example.com", StatementKeys: map[string]string{"sample.pem": "sample"}}
	in.Session.Name, in.Session.Namespace = "sample", "sample"
	in.Session.UID = "00000000-0000-0000-0000-000000000000"
	in.Session.Spec = vdi.VDISessionSpec{User: "sample", Template: t.Name}
	return in
}

// CredentialsName is the name of the Secret with a session's login.
func CredentialsName(session string) string { return session + wire.SuffixCredentials }

// StatementKeysName is the name of the ConfigMap with the keys that a session's
// agent believes (modes OIDC and Local).
func StatementKeysName(session string) string { return session + "-statement-keys" }

// ForwardAuthName is the name of the Middleware by which the proxy asks the front
// door about a session's visitors (modes OIDC and Local).
func ForwardAuthName(session string) string { return session + "-forward-auth" }

// TURNLoginName is the name of the Secret with a session's login at the TURN relay.
func TURNLoginName(session string) string { return session + wire.SuffixTURN }

// HomeClaimName is the name of the claim the operator makes for a session's home.
func HomeClaimName(session string) string { return wire.PrefixHome + session }
