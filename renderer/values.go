package renderer

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	jsonutil "k8s.io/apimachinery/pkg/util/json"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
)

// values are a layer of the session chart's values. A layer is never changed
// after it is made: layers share what they have in common.
type values = map[string]any

// valuesOf is the final set, from the lowest layer to the highest: the chart's
// defaults, the platform, the template's spec.values, the typed fields of
// template and session, and what the operator enforces.
func (r *Renderer) valuesOf(in Input) (values, error) {
	below, err := r.writtenValues(in)
	if err != nil {
		return nil, err
	}
	typed, err := typedValues(in, below)
	if err != nil {
		return nil, err
	}
	policy, err := policySettings(in, typed["env"].([]any))
	if err != nil {
		return nil, err
	}
	if err := checkBypasses(in.Template, typed["env"].([]any)); err != nil {
		return nil, err
	}
	all := merge(below, typed, enforcedValues(in, policy))
	problems, err := r.schema.check(all)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrValues, err)
	}
	return all, problemError(problems, func(path []string) string { return typedSource(in, path) })
}

// writtenValues are the layers that people write as free-form values, over the
// chart's defaults. They are checked on their own, or a typed field above could
// hide a mistake in them.
func (r *Renderer) writtenValues(in Input) (values, error) {
	site := in.Platform.Sessions.Values
	template, err := templateValues(in.Template)
	if err != nil {
		return nil, err
	}
	if len(site) == 0 && len(template) == 0 {
		return r.chart.defaults, nil
	}
	below := merge(r.chart.defaults, site, template)
	problems, err := r.schema.check(below)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrValues, err)
	}
	return below, problemError(problems, func(path []string) string {
		return writtenSource(in.Template.Name, site, template, path)
	})
}

// problemError is nil without problems; source says who wrote a path.
func problemError(problems []problem, source func(path []string) string) error {
	if len(problems) == 0 {
		return nil
	}
	texts := make([]string, len(problems))
	for i, p := range problems {
		texts[i] = source(p.path) + ": " + p.text
	}
	return fmt.Errorf("%w: %s", ErrValues, strings.Join(slices.Compact(texts), "; "))
}

func writtenSource(name string, site, template values, path []string) string {
	switch {
	case holds(template, path):
		return fmt.Sprintf("template %q: spec.values.%s", name, dotted(path))
	case holds(site, path):
		return "platform settings: sessions.values." + dotted(path)
	}
	return "values." + dotted(path)
}

// typedSource names the field of session or template that a value comes from.
func typedSource(in Input, path []string) string {
	at := dotted(path)
	for _, from := range []struct{ value, kind, field string }{
		{"session.name", "session", "metadata.name"},
		{"session.user", "session", "spec.user"},
		{"session.host", "session", "host"},
		{"home.persistence", "session", "spec.persistence"},
		{"resources.limits", "session", "spec.resources"},
		{"resources.requests", "template", "spec.requests"},
		{"resources.gpu.name", "template", "spec.gpu.resourceName"},
		{"image", "template", "spec.image"},
		{"env", "template", "spec.env"},
		{"command", "template", "spec.command"},
		{"args", "template", "spec.args"},
		{"home.path", "template", "spec.home.path"},
		{"security", "template", "spec.security"},
		{"streamer.port", "template", "spec.port"},
		{"streamer.healthPath", "template", "spec.healthPath"},
		{"pod", "template", "spec.scheduling"},
	} {
		if rest, found := strings.CutPrefix(at, from.value); found && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			name := map[string]string{"session": in.Session.Name, "template": in.Template.Name}[from.kind]
			return fmt.Sprintf("%s %q: %s%s", from.kind, name, from.field, rest)
		}
	}
	return "values." + at
}

// merge puts layers over each other: maps merge, everything else replaces.
func merge(base values, layers ...values) values {
	for _, layer := range layers {
		base = mergeOne(base, layer)
	}
	return base
}

func mergeOne(base, layer values) values {
	out := maps.Clone(base)
	for key, value := range layer {
		below, isMap := out[key].(values)
		if above, alsoMap := value.(values); isMap && alsoMap {
			out[key] = mergeOne(below, above)
		} else {
			out[key] = value
		}
	}
	return out
}

// templateValues is the template's free-form layer.
func templateValues(t vdi.VDITemplate) (values, error) {
	if t.Spec.Values == nil || len(t.Spec.Values.Raw) == 0 {
		return nil, nil
	}
	var out values
	if err := jsonutil.Unmarshal(t.Spec.Values.Raw, &out); err != nil {
		return nil, fmt.Errorf("%w: template %q: spec.values: not an object", ErrValues, t.Name)
	}
	return out, nil
}

// typedValues is the layer of the typed fields of template and session. Where
// such a field is not set, the value below stays.
func typedValues(in Input, below values) (values, error) {
	limits, err := ResourcesOf(in.Session.Spec, in.Template.Spec)
	if err != nil {
		return nil, err
	}
	requests, err := requestsOf(limits, requestedBy(in.Template.Spec.Requests, below))
	if err != nil {
		return nil, err
	}
	home, err := homeValues(in)
	if err != nil {
		return nil, err
	}
	env, err := envValues(in, *limits.GPU, below)
	if err != nil {
		return nil, err
	}
	out := values{
		"resources": resourceValues(in.Template.Spec, limits, requests),
		"home":      home,
		"env":       env,
		"pod":       podValues(in.Template.Spec.Scheduling, limits, below),
	}
	if secrets := in.Template.Spec.ImagePullSecrets; len(secrets) > 0 {
		out["imagePullSecrets"] = anys(secrets)
	}
	return merge(out, commandValues(in.Template.Spec)), nil
}

// commandValues: the kubelet expands references in commands as in variables. Here none
// is meant, or a password would stand in the list of processes.
func commandValues(t vdi.VDITemplateSpec) values {
	out := values{}
	for key, words := range map[string][]string{"command": t.Command, "args": t.Args} {
		if len(words) > 0 {
			out[key] = escapedWords(words)
		}
	}
	return out
}

func escapedWords(words []string) []any {
	out := make([]any, len(words))
	for i, word := range words {
		out[i] = escapeExpansion(word, nil)
	}
	return out
}

// loginsOf are the variables that carry the desktop's own login.
func loginsOf(t vdi.VDITemplateSpec) []string {
	facts := platform.FactsOf(t.Streamer)
	return slices.Concat(facts.UserVariables, facts.PasswordVariables)
}

// requestedBy are the template's typed requests, else those in the values below.
func requestedBy(typed vdi.TemplateRequests, below values) vdi.TemplateRequests {
	if typed.CPU == "" {
		typed.CPU = vdi.Quantity(textAt(below, "resources", "requests", "cpu"))
	}
	if typed.Memory == "" {
		typed.Memory = vdi.Quantity(textAt(below, "resources", "requests", "memory"))
	}
	return typed
}

func resourceValues(t vdi.VDITemplateSpec, limits vdi.SessionResources, requests vdi.TemplateRequests) values {
	return values{
		"gpu":      values{"name": gpuResource(t), "count": int64(*limits.GPU)},
		"limits":   values{"cpu": string(limits.CPU), "memory": string(limits.Memory)},
		"requests": values{"cpu": string(requests.CPU), "memory": string(requests.Memory)},
	}
}

func gpuResource(t vdi.VDITemplateSpec) string {
	if t.GPU.ResourceName == "" {
		return platform.DefaultGPUResource
	}
	return t.GPU.ResourceName
}

func homeValues(in Input) (values, error) {
	p := in.Session.Spec.Persistence
	size := p.Size
	if size == "" {
		size = DefaultHomeSize
	}
	if _, err := bytesIn("persistence.size", size); err != nil {
		return nil, err
	}
	claim := values{
		"enabled":       p.Enabled == nil || *p.Enabled,
		"size":          string(size),
		"existingClaim": p.ExistingClaim,
	}
	if p.StorageClassName != nil {
		claim["storageClassName"] = *p.StorageClassName
	}
	if p.AccessMode != "" {
		claim["accessModes"] = []any{string(p.AccessMode)}
	}
	return values{"path": homePath(in.Template.Spec), "persistence": claim}, nil
}

func homePath(t vdi.VDITemplateSpec) string {
	if t.Home.Path == "" {
		return platform.FactsOf(t.Streamer).Home
	}
	return t.Home.Path
}

// podValues sets what the template's scheduling says, and keeps /dev/shm within
// the memory of the desktop, which it counts against.
func podValues(s vdi.TemplateScheduling, limits vdi.SessionResources, below values) values {
	out := values{"shmSize": atMost(textAt(below, "pod", "shmSize"), limits.Memory)}
	if len(s.NodeSelector) > 0 {
		out["nodeSelector"] = anyMap(s.NodeSelector)
	}
	if len(s.Tolerations) > 0 {
		out["tolerations"] = plainJSON(s.Tolerations)
	}
	if s.PriorityClassName != "" {
		out["priorityClassName"] = s.PriorityClassName
	}
	if s.RuntimeClassName != "" {
		out["runtimeClassName"] = s.RuntimeClassName
	}
	return out
}

// envValues is the environment a template may choose: the streamer's defaults,
// then the values below, then the template's time zone, then spec.env, then the
// session's time zone; the later of one name wins. Only spec.env promises to be
// literal: the values below are Kubernetes' own form.
func envValues(in Input, gpus int32, below values) ([]any, error) {
	var env []any
	for _, s := range defaultEnv(in, gpus) {
		env = setEnv(env, values{"name": s.Name, "value": s.Value})
	}
	written, _ := below["env"].([]any)
	for _, v := range written {
		env = setEnv(env, v.(values))
	}
	env = setTimeZone(env, in.Template.Spec.TimeZone)
	logins := loginsOf(in.Template.Spec)
	for _, v := range in.Template.Spec.Env {
		entry := values{"name": v.Name, "value": escapeExpansion(v.Value, logins)}
		if v.ValueFrom != nil {
			if v.Value != "" {
				return nil, fmt.Errorf("%w: template %q: spec.env: %s has value and valueFrom; give one", ErrValues, in.Template.Name, v.Name)
			}
			entry = values{"name": v.Name, "valueFrom": plainJSON(v.ValueFrom)}
		}
		env = setEnv(env, entry)
	}
	return setTimeZone(env, in.Session.Spec.TimeZone), nil
}

func setTimeZone(env []any, zone vdi.TimeZone) []any {
	if zone == "" {
		return env
	}
	return setEnv(env, values{"name": "TZ", "value": string(zone)})
}

// setEnv replaces the entry of the same name or adds one at the end.
func setEnv(env []any, entry values) []any {
	for i, old := range env {
		if old.(values)["name"] == entry["name"] {
			env[i] = entry
			return env
		}
	}
	return append(env, entry)
}

// graphicsCapabilities are what a desktop needs of NVIDIA's container toolkit:
// OpenGL (graphics), Vulkan (display) and NVENC (video) beside compute. Images
// that ask for "all" already have them.
const graphicsCapabilities = "compute,utility,graphics,video,display"

func defaultEnv(in Input, gpus int32) []platform.Setting {
	facts := platform.FactsOf(in.Template.Spec.Streamer)
	if gpus == 0 {
		return facts.Defaults
	}
	env := append(facts.Defaults, platform.Setting{Name: "NVIDIA_DRIVER_CAPABILITIES", Value: graphicsCapabilities})
	if facts.EncoderVariable != "" {
		env = append(env, encoderSetting(in, facts, gpus))
	}
	return env
}

func encoderSetting(in Input, facts platform.StreamerFacts, gpus int32) platform.Setting {
	t := in.Template.Spec
	return platform.Setting{
		Name:  facts.EncoderVariable,
		Value: platform.EncoderFor(in.encoder(), t.Streamer, gpus),
	}
}

// enforcedValues is the layer nobody overrides: names, host, login, policy, security.
func enforcedValues(in Input, policy []platform.Setting) values {
	name := in.Session.Name
	return values{
		"session": values{
			"name":     name,
			"uid":      string(in.Session.UID),
			"user":     in.Session.Spec.User,
			"identity": platform.Identity(in.Session.Spec.User),
			"template": platform.TemplateLabel(in.Template.Name),
			"host":     in.Host,
		},
		"image":         in.Template.Spec.Image,
		"credentials":   credentialValues(in),
		"agent":         agentValues(in),
		"streamer":      streamerValues(in, policy),
		"security":      securityValues(in.Template.Spec.Security),
		"ingressRoute":  values{"tls": tlsValues(in.Platform.Sessions.TLS)},
		"turn":          turnValues(in),
		"forwardAuth":   values{"address": in.Platform.Access.ForwardAuth},
		"networkPolicy": networkValues(in),
	}
}

func credentialValues(in Input) values {
	facts := platform.FactsOf(in.Template.Spec.Streamer)
	return values{
		"secretName":        CredentialsName(in.Session.Name),
		"userVariables":     anys(facts.UserVariables),
		"passwordVariables": anys(facts.PasswordVariables),
	}
}

func agentValues(in Input) values {
	facts := platform.FactsOfTemplate(in.Template.Spec)
	return values{
		"image":        in.Platform.Sessions.Agent.Image,
		"mode":         string(in.Platform.Access.Mode.Agent()),
		"input":        facts.Input,
		"endpoints":    facts.Endpoints,
		"fileTransfer": string(platform.FileTransferOf(in.Template.Spec.Streamer, in.Template.Spec.Policy)),
		// By them alone the agent knows the front door's statements from forged ones.
		"statementKeys": anyMap(in.statementKeys()),
	}
}

// statementKeys are what the agent of this session believes.
func (in Input) statementKeys() map[string]string {
	if !in.Platform.Access.Mode.LogsIn() {
		return nil
	}
	return in.StatementKeys
}

func streamerValues(in Input, policy []platform.Setting) values {
	t := in.Template.Spec
	facts := platform.FactsOfTemplate(t)
	if t.Streamer == vdi.StreamerCustom {
		facts.Port, facts.HealthPath = t.Port, t.HealthPath
	}
	return values{
		"port":               int64(facts.Port),
		"healthPath":         facts.HealthPath,
		"env":                append(fixedEnv(in, facts), envOf(policy)...),
		"protectedVariables": anys(facts.Protected),
	}
}

// fixedEnv are the streamer's settings that a template cannot change. Without a
// GPU the encoder is one of them: a hardware encoder would end the desktop.
func fixedEnv(in Input, facts platform.StreamerFacts) []any {
	fixed := facts.Fixed
	gpus := requestedGPUs(in.Session.Spec, in.Template.Spec.Resources)
	if gpus == 0 && facts.EncoderVariable != "" {
		fixed = append(fixed, encoderSetting(in, facts, 0))
	}
	if gpus == 0 || in.Template.Spec.GPU.Encoder == vdi.EncoderSoftware {
		fixed = append(fixed, facts.SoftwareSettings...)
	}
	return envOf(fixed)
}

func envOf(settings []platform.Setting) []any {
	env := make([]any, len(settings))
	for i, s := range settings {
		env[i] = values{"name": s.Name, "value": s.Value}
	}
	return env
}

// defaultUser is the user of the Selkies images.
const defaultUser int64 = 1000

func securityValues(s vdi.TemplateSecurity) values {
	user := orElse(s.RunAsUser, defaultUser)
	profile := s.Profile
	if profile == "" {
		profile = vdi.ProfileRestricted
	}
	return values{
		"profile":    string(profile),
		"runAsUser":  user,
		"runAsGroup": orElse(s.RunAsGroup, user),
		"fsGroup":    orElse(s.FSGroup, user),
		// Set even without any: who writes free-form values chooses no groups.
		"supplementalGroups": numbers(s.SupplementalGroups),
	}
}

func orElse(p *int64, other int64) int64 {
	if p == nil {
		return other
	}
	return *p
}

func tlsValues(t platform.TLS) values {
	return values{"mode": string(t.Mode), "certResolver": t.CertResolver, "secretName": t.SecretName}
}

func networkValues(in Input) values {
	s := in.Platform.Sessions
	return values{
		"proxy":         values{"namespace": s.Proxy.Namespace, "podLabels": anyMap(s.Proxy.PodLabels), "ranges": anys(s.Proxy.Ranges)},
		"operator":      values{"namespace": s.Operator.Namespace, "podLabels": anyMap(s.Operator.PodLabels)},
		"dns":           values{"namespace": s.Network.DNSNamespace, "ranges": anys(s.Network.DNSRanges), "ports": numbers(s.Network.DNSPorts)},
		"internet":      *s.Network.Internet,
		"deniedRanges":  anys(s.Network.Denied()),
		"allowedRanges": anys(s.Network.AllowedRanges),
		"turn":          turnRangeValues(in),
	}
}

func releaseOf(in Input) release {
	return release{Name: in.Session.Name, Namespace: in.Session.Namespace}
}

func anys(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

func numbers[N int32 | int64](list []N) []any {
	out := make([]any, len(list))
	for i, n := range list {
		out[i] = int64(n)
	}
	return out
}

func anyMap(m map[string]string) values {
	out := make(values, len(m))
	for key, value := range m {
		out[key] = value
	}
	return out
}

// textAt is the text at a path, "" if there is none.
func textAt(v values, path ...string) string {
	for _, key := range path[:len(path)-1] {
		v, _ = v[key].(values)
	}
	text, _ := v[path[len(path)-1]].(string)
	return text
}

// plainJSON turns API types into maps and lists. The types come from JSON, so
// turning them back cannot fail.
func plainJSON(v any) (out any) {
	data, err := json.Marshal(v)
	if err == nil {
		err = jsonutil.Unmarshal(data, &out)
	}
	if err != nil {
		return nil
	}
	return out
}
