package platform

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Names that NVIDIA's GPU Operator and its device plugin give things.
const (
	// SharingLabel of a node names its key in the sharing ConfigMap and beats the default key.
	SharingLabel = "nvidia.com/device-plugin.config"
	// DevicePluginDaemonSet runs the device plugin on every GPU node.
	DevicePluginDaemonSet = "nvidia-device-plugin-daemonset"

	gpuPresentLabel = "nvidia.com/gpu.present"
	countSuffix     = ".count"  // label of GPU feature discovery: cards of a resource
	renamedSuffix   = ".shared" // name of a sliced resource with renameByDefault
)

// Defaults of TimeSlicing: the names the GPU Operator's own documentation uses.
const (
	DefaultSharingConfigMap = "time-slicing-config"
	DefaultSharingKey       = "any"
	DefaultClusterPolicy    = "cluster-policy"
	DefaultReplicas         = 8
)

// TimeSlicing says how the device plugin shares the cluster's GPUs by time, and who
// writes its configuration.
type TimeSlicing struct {
	// Enabled lets the operator restart the device plugin after a change and
	// compare what nodes offer with the plan.
	Enabled bool `json:"enabled,omitempty"`
	// ManagePolicy makes the operator write the ConfigMap and the ClusterPolicy's
	// reference to it, for a GPU Operator that no release of this platform owns.
	ManagePolicy bool `json:"managePolicy,omitempty"`
	// Namespace of the GPU Operator. Default: the operator's own.
	Namespace string `json:"namespace,omitempty"`
	// ConfigMap with the device plugin's configurations. Default "time-slicing-config".
	ConfigMap string `json:"configMap,omitempty"`
	// Default is the key for nodes without a label of their own. Default "any".
	Default string `json:"default,omitempty"`
	// Policy is the one ClusterPolicy, by which the GPU Operator is configured. Default
	// "cluster-policy"; OpenShift's console makes "gpu-cluster-policy".
	Policy string `json:"policy,omitempty"`
	// Configs by key, written with managePolicy. Default: {any: {replicas: 8}}.
	Configs map[string]Slicing `json:"configs,omitempty"`
}

// Slicing is one way to cut GPUs.
type Slicing struct {
	// Replicas is the number of slices per GPU; 1 keeps GPUs whole (a dedicated pool).
	Replicas int `json:"replicas,omitempty"`
	// RenameByDefault offers slices as nvidia.com/gpu.shared.
	RenameByDefault bool `json:"renameByDefault,omitempty"`
	// FailRequestsGreaterThanOne makes the node refuse a pod with two slices.
	FailRequestsGreaterThanOne bool `json:"failRequestsGreaterThanOne,omitempty"`
}

func (s TimeSlicing) withDefaults() TimeSlicing {
	if s.ConfigMap == "" {
		s.ConfigMap = DefaultSharingConfigMap
	}
	if s.Default == "" {
		s.Default = DefaultSharingKey
	}
	if s.Policy == "" {
		s.Policy = DefaultClusterPolicy
	}
	if len(s.Configs) == 0 && s.ManagePolicy {
		s.Configs = map[string]Slicing{s.Default: {Replicas: DefaultReplicas}}
	}
	return s
}

func (s TimeSlicing) problems() (out []string) {
	if s.ManagePolicy && !s.Enabled {
		out = append(out, "gpuSharing.managePolicy: set, but gpuSharing.enabled is off; switch it on")
	}
	if len(s.Configs) > 0 && !s.ManagePolicy {
		out = append(out, "gpuSharing.configs: set, but written only with gpuSharing.managePolicy; otherwise the ConfigMap itself says how GPUs are shared")
	}
	for _, key := range slices.Sorted(maps.Keys(s.Configs)) {
		if s.Configs[key].Replicas < 1 {
			out = append(out, fmt.Sprintf("gpuSharing.configs.%s.replicas: %d is no number of slices; use 1 for whole GPUs or 2 and more", key, s.Configs[key].Replicas))
		}
	}
	if _, found := s.Configs[s.Default]; s.ManagePolicy && !found {
		out = append(out, fmt.Sprintf("gpuSharing.default: %q is no key of gpuSharing.configs; nodes without a label would get no configuration", s.Default))
	}
	return out
}

// ConfigMapData renders the values into the device plugin's own format. Equal
// values give equal bytes.
func (s TimeSlicing) ConfigMapData() map[string]string {
	data := make(map[string]string, len(s.Configs))
	for key, slicing := range s.Configs {
		data[key] = slicing.render()
	}
	return data
}

func (s Slicing) render() string {
	file := map[string]any{"version": "v1", "flags": map[string]any{"migStrategy": "none"}}
	// The plugin refuses fewer than two replicas: whole GPUs have no sharing section.
	if s.Replicas > 1 {
		file["sharing"] = map[string]any{"timeSlicing": map[string]any{
			"renameByDefault":            s.RenameByDefault,
			"failRequestsGreaterThanOne": s.FailRequestsGreaterThanOne,
			"resources":                  []any{map[string]any{"name": DefaultGPUResource, "replicas": s.Replicas}},
		}}
	}
	text, _ := yaml.Marshal(file) // words and numbers can always be written
	return string(text)
}

// CheckCount says in words why a session may not have that many GPUs: where
// slices of one card are handed out, two are not twice a GPU. More than one is
// for nodes that keep GPUs whole, which only the template's node selector can
// promise: it is the one key of the pod that nobody below can override.
func (g GPUSharing) CheckCount(gpus int32, resource string, nodeSelector map[string]string) error {
	key := nodeSelector[SharingLabel]
	if gpus <= 1 || !g.IsSliced(resource) || slices.Contains(g.Dedicated, key) {
		return nil
	}
	return fmt.Errorf("spec.resources.gpu: %d slices of the shared GPU %s were asked for, but slices share one card and two are not twice a GPU: ask for 1, or %s", gpus, resource, g.wayToWholeGPUs())
}

// wayToWholeGPUs ends the sentence of a refusal.
func (g GPUSharing) wayToWholeGPUs() string {
	if len(g.Dedicated) == 0 {
		return "let the administrator keep the GPUs of a node pool whole (gpuSharing.dedicated) and offer a template for it"
	}
	return fmt.Sprintf("for whole GPUs use a template whose scheduling.nodeSelector holds %s: %s", SharingLabel, strings.Join(g.Dedicated, " or "))
}

// HashOf identifies the content of a sharing ConfigMap.
func HashOf(data map[string]string) string {
	hash := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(data)) {
		fmt.Fprintf(hash, "%d:%s%d:%s", len(key), key, len(data[key]), data[key])
	}
	return hex.EncodeToString(hash.Sum(nil))[:16]
}

// PluginConfig is what one configuration of the device plugin does to GPUs.
type PluginConfig struct {
	replicas map[string]int // by resource; what is not named stays whole
	rename   bool
}

// pluginFile is the device plugin's format (api/config/v1). Its flags are the
// plugin's own affair; below sharing every key must be known, because the plugin
// ignores a misspelt one and shares nothing.
type pluginFile struct {
	Version   string         `json:"version"`
	Flags     map[string]any `json:"flags"`
	Resources map[string]any `json:"resources"`
	Imex      map[string]any `json:"imex"`
	Sharing   struct {
		TimeSlicing *replicated `json:"timeSlicing"`
		MPS         *replicated `json:"mps"`
	} `json:"sharing"`
}

type replicated struct {
	RenameByDefault            bool `json:"renameByDefault"`
	FailRequestsGreaterThanOne bool `json:"failRequestsGreaterThanOne"`
	Resources                  []struct {
		Name     string `json:"name"`
		Rename   string `json:"rename"`
		Devices  any    `json:"devices"`
		Replicas int    `json:"replicas"`
	} `json:"resources"`
}

// ParsePluginConfig reads one key of a sharing ConfigMap. Errors say what is
// wrong and what to write instead.
func ParsePluginConfig(text string) (PluginConfig, error) {
	file, err := decodePluginFile(text)
	if err != nil {
		return PluginConfig{}, err
	}
	shared := file.Sharing.TimeSlicing
	switch {
	case file.Version != "v1":
		return PluginConfig{}, fmt.Errorf("version is %q; write v1", file.Version)
	case shared != nil && file.Sharing.MPS != nil:
		return PluginConfig{}, errors.New("sharing has both timeSlicing and mps; keep one")
	case shared == nil:
		shared = file.Sharing.MPS
	}
	if shared == nil {
		return PluginConfig{}, nil
	}
	return shared.config()
}

func decodePluginFile(text string) (file pluginFile, err error) {
	data, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		return file, fmt.Errorf("it is no YAML: %s", oneLine(err))
	}
	unknown, err := kjson.UnmarshalStrict(data, &file)
	if err := errors.Join(append(unknown, err)...); err != nil {
		return file, fmt.Errorf("it is no configuration of the device plugin: %s", oneLine(err))
	}
	return file, nil
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func (r replicated) config() (PluginConfig, error) {
	c := PluginConfig{replicas: map[string]int{}, rename: r.RenameByDefault}
	for _, resource := range r.Resources {
		switch {
		case resource.Name == "":
			return c, errors.New("a shared resource has no name; write nvidia.com/gpu")
		case resource.Replicas < 2:
			return c, fmt.Errorf("%s has %d replicas, which the device plugin refuses; write 2 or more, or leave the sharing section out for whole GPUs", resource.Name, resource.Replicas)
		}
		c.replicas[resource.Name] = resource.Replicas
	}
	if len(c.replicas) == 0 {
		return c, errors.New("the sharing section names no resources; name nvidia.com/gpu, or leave the section out for whole GPUs")
	}
	return c, nil
}

// PluginConfigs are all keys of a sharing ConfigMap, readable or not.
type PluginConfigs struct {
	keys   []string
	good   map[string]PluginConfig
	broken map[string]error
}

// ParsePluginConfigs reads a sharing ConfigMap's data.
func ParsePluginConfigs(data map[string]string) PluginConfigs {
	all := PluginConfigs{
		keys: slices.Sorted(maps.Keys(data)),
		good: map[string]PluginConfig{}, broken: map[string]error{},
	}
	for key, text := range data {
		config, err := ParsePluginConfig(text)
		if err != nil {
			all.broken[key] = err
			continue
		}
		all.good[key] = config
	}
	return all
}

// Problems says in words which keys cannot be used.
func (c PluginConfigs) Problems() (out []string) {
	for _, key := range slices.Sorted(maps.Keys(c.broken)) {
		out = append(out, fmt.Sprintf("key %q: %s", key, c.broken[key]))
	}
	return out
}

// IsBroken says whether a key is there and cannot be used.
func (c PluginConfigs) IsBroken(key string) bool { return c.broken[key] != nil }

// SharingKey is the key that applies to a node: its label beats the default.
// "" means that the node's GPUs stay whole.
func SharingKey(labels map[string]string, byDefault string) string {
	if key := labels[SharingLabel]; key != "" {
		return key
	}
	return byDefault
}

// IsGPUNode says whether a node has GPUs, or is labelled to share some.
func IsGPUNode(labels map[string]string) bool {
	return labels[gpuPresentLabel] == "true" || labels[DefaultGPUResource+countSuffix] != "" || labels[SharingLabel] != ""
}

// CardsOf is how many NVIDIA cards a node has, by the label of GPU feature discovery; false
// where it has not counted them.
func CardsOf(labels map[string]string) (int64, bool) {
	cards, err := strconv.ParseInt(labels[DefaultGPUResource+countSuffix], 10, 64)
	return cards, err == nil && cards >= 0
}

// PlanSlices is how much of each resource a node should offer: its cards, as
// GPU feature discovery labels them, times the replicas of its configuration.
// An error says why there is no plan.
func (c PluginConfigs) PlanSlices(labels map[string]string, byDefault string) (map[string]int64, error) {
	key := SharingKey(labels, byDefault)
	if c.broken[key] != nil {
		return nil, fmt.Errorf("its configuration %q cannot be used: %w", key, c.broken[key])
	}
	config, found := c.good[key]
	if !found && key != "" {
		return nil, c.noSuchKey(key, labels)
	}
	return config.slices(labels)
}

func (c PluginConfigs) noSuchKey(key string, labels map[string]string) error {
	have := strings.Join(c.keys, ", ")
	if labels[SharingLabel] == key {
		return fmt.Errorf("its label %s=%s names no configuration; there is %s: correct the label or add the key", SharingLabel, key, have)
	}
	return fmt.Errorf("the default configuration %q does not exist; there is %s", key, have)
}

func (c PluginConfig) slices(labels map[string]string) (map[string]int64, error) {
	plan := map[string]int64{}
	for label, text := range labels {
		resource, isCount := strings.CutSuffix(label, countSuffix)
		if !isCount || !strings.HasPrefix(resource, "nvidia.com/") {
			continue
		}
		cards, err := strconv.ParseInt(text, 10, 64)
		if err != nil || cards < 0 {
			return nil, fmt.Errorf("its label %s=%s is no number of cards", label, text)
		}
		replicas := int64(max(c.replicas[resource], 1))
		if c.rename && replicas > 1 {
			resource += renamedSuffix
		}
		plan[resource] = cards * replicas
	}
	if len(plan) == 0 {
		return nil, errors.New("GPU feature discovery has not counted its cards yet")
	}
	return plan, nil
}
