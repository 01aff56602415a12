package renderer

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Fingerprint is a hash of all that rendering reads of an Input.
type Fingerprint [sha256.Size]byte

// Fingerprint is equal for inputs that render alike: to the same objects, or to
// the same error. It costs a small part of rendering, so a caller that keeps the
// fingerprint of its last rendering can leave out the next one. An error means
// that a free-form value cannot be encoded; such an input has to be rendered.
func (in *Input) Fingerprint() (Fingerprint, error) {
	hash := sha256.New()
	encoder := json.NewEncoder(hash) // sorts keys
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(in.read()); err != nil {
		return Fingerprint{}, fmt.Errorf("fingerprint of session %q: %w", in.Session.Name, err)
	}
	var sum Fingerprint
	hash.Sum(sum[:0])
	return sum, nil
}

// read is what rendering reads of an Input, and nothing else. A test changes every
// field of Input and asks that the fingerprint changes with what is rendered.
type read struct {
	Session  readSession
	Template readTemplate
	Platform readPlatform
	Host     string
	// StatementKeys count in modes OIDC and Local alone.
	StatementKeys map[string]string
	// Encoder is the streamer's name of it: some have one name for all.
	Encoder string
}

// readSession leaves out how long a desktop runs and what becomes of its home.
type readSession struct {
	Name, Namespace string
	UID             types.UID
	User            string
	TimeZone        vdi.TimeZone
	Resources       *vdi.SessionResources
	Home            readHome
}

type readHome struct {
	Enabled          *bool
	Size             vdi.Quantity
	StorageClassName *string
	ExistingClaim    string
	AccessMode       vdi.HomeAccessMode
}

// readTemplate leaves out the words for people and the lifecycle.
type readTemplate struct {
	Name             string
	Image            string
	Streamer         vdi.Streamer
	Transport        vdi.Transport
	Port             int32
	HealthPath       string
	Resources        *vdi.TemplateResources
	Requests         *vdi.TemplateRequests
	Env              []vdi.EnvVar
	TimeZone         vdi.TimeZone
	Command, Args    []string
	Values           json.RawMessage
	Home             *vdi.TemplateHome
	Security         *vdi.TemplateSecurity
	GPU              *vdi.TemplateGPU
	Scheduling       *vdi.TemplateScheduling
	Policy           *vdi.TemplatePolicy
	ImagePullSecrets []string
}

// readPlatform leaves out what decides about hosts, logins and GPUs before rendering.
type readPlatform struct {
	Mode        wire.AccessMode
	ForwardAuth string
	TLS         *platform.TLS
	Agent       *platform.Agent
	Operator    *platform.Peer
	Proxy       *platform.Proxy
	Network     *platform.Network
	TURN        *platform.TURN
	Images      *platform.Images
	Egress      *platform.Egress
	Allowed     *platform.Allowed
	Labels      map[string]string
	Annotations map[string]string
	Values      map[string]any
	Overlay     []platform.Overlay
}

func (in *Input) read() *read {
	gpus := requestedGPUs(in.Session.Spec, in.Template.Spec.Resources)
	return &read{
		Session:       readOfSession(&in.Session),
		Template:      readOfTemplate(&in.Template),
		Platform:      readOfPlatform(&in.Platform),
		Host:          in.Host,
		StatementKeys: in.statementKeys(),
		Encoder:       platform.EncoderFor(in.encoder(), in.Template.Spec.Streamer, gpus),
	}
}

func readOfSession(s *vdi.VDISession) readSession {
	home := &s.Spec.Persistence
	return readSession{
		Name: s.Name, Namespace: s.Namespace, UID: s.UID,
		User: s.Spec.User, TimeZone: s.Spec.TimeZone, Resources: &s.Spec.Resources,
		Home: readHome{
			Enabled: home.Enabled, Size: home.Size, StorageClassName: home.StorageClassName,
			ExistingClaim: home.ExistingClaim, AccessMode: home.AccessMode,
		},
	}
}

func readOfTemplate(template *vdi.VDITemplate) readTemplate {
	t := &template.Spec
	out := readTemplate{
		Name: template.Name, Image: t.Image, Streamer: t.Streamer, Transport: t.Transport,
		Port: t.Port, HealthPath: t.HealthPath, Resources: &t.Resources, Requests: &t.Requests,
		Env: t.Env, TimeZone: t.TimeZone, Command: t.Command, Args: t.Args,
		Home: &t.Home, Security: &t.Security, GPU: &t.GPU, Scheduling: &t.Scheduling, Policy: &t.Policy,
		ImagePullSecrets: t.ImagePullSecrets,
	}
	if t.Values != nil && len(t.Values.Raw) > 0 {
		out.Values = t.Values.Raw
	}
	return out
}

func readOfPlatform(p *platform.Config) readPlatform {
	s := &p.Sessions
	return readPlatform{
		Mode: p.Access.Mode.Agent(), ForwardAuth: p.Access.ForwardAuth,
		TLS: &s.TLS, Agent: &s.Agent, Operator: &s.Operator, Proxy: &s.Proxy, Network: &s.Network, TURN: &s.TURN,
		Images: &s.Images, Egress: &s.Egress, Allowed: &s.Allowed,
		Labels: s.Labels, Annotations: s.Annotations, Values: s.Values, Overlay: s.Overlay,
	}
}
