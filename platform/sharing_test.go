package platform

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The example of NVIDIA's documentation, shortened.
const eightSlices = `
version: v1
flags: {migStrategy: none}
sharing:
  timeSlicing:
    renameByDefault: false
    failRequestsGreaterThanOne: false
    resources: [{name: nvidia.com/gpu, replicas: 8}]
`

const wholeGPUs = "version: v1\nflags: {migStrategy: none}\n"

func TestPlanSlices(t *testing.T) {
	configs := ParsePluginConfigs(map[string]string{
		"any":     eightSlices,
		"whole":   wholeGPUs,
		"renamed": "version: v1\nsharing: {timeSlicing: {renameByDefault: true, resources: [{name: nvidia.com/gpu, replicas: 2}]}}",
		"mps":     "version: v1\nsharing: {mps: {resources: [{name: nvidia.com/gpu, replicas: 3}]}}",
		"zero":    "version: v1\nsharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 0}]}}",
	})
	card := map[string]string{"nvidia.com/gpu.present": "true", "nvidia.com/gpu.count": "2"}
	labelled := func(key string) map[string]string {
		return map[string]string{"nvidia.com/gpu.count": "2", SharingLabel: key}
	}
	for name, tt := range map[string]struct {
		labels    map[string]string
		byDefault string
		want      map[string]int64
		err       string
	}{
		"default":       {labels: card, byDefault: "any", want: map[string]int64{"nvidia.com/gpu": 16}},
		"no default":    {labels: card, want: map[string]int64{"nvidia.com/gpu": 2}},
		"dedicated":     {labels: labelled("whole"), byDefault: "any", want: map[string]int64{"nvidia.com/gpu": 2}},
		"renamed":       {labels: labelled("renamed"), want: map[string]int64{"nvidia.com/gpu.shared": 4}},
		"mps":           {labels: labelled("mps"), want: map[string]int64{"nvidia.com/gpu": 6}},
		"broken":        {labels: labelled("zero"), byDefault: "any", err: `its configuration "zero" cannot be used: nvidia.com/gpu has 0 replicas, which the device plugin refuses; write 2 or more`},
		"unknown label": {labels: labelled("huge"), byDefault: "any", err: `its label nvidia.com/device-plugin.config=huge names no configuration; there is any, mps, renamed, whole, zero`},
		"unknown":       {labels: card, byDefault: "none", err: `the default configuration "none" does not exist`},
		"not counted":   {labels: map[string]string{"nvidia.com/gpu.present": "true"}, byDefault: "any", err: "has not counted its cards yet"},
		"miscounted":    {labels: map[string]string{"nvidia.com/gpu.count": "two"}, byDefault: "any", err: "nvidia.com/gpu.count=two is no number of cards"},
	} {
		t.Run(name, func(t *testing.T) {
			assert.True(t, IsGPUNode(tt.labels))
			got, err := configs.PlanSlices(tt.labels, tt.byDefault)
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
		})
	}
	assert.Len(t, configs.Problems(), 1)
	assert.True(t, configs.IsBroken("zero"))
	assert.False(t, configs.IsBroken("any"))
	assert.False(t, IsGPUNode(map[string]string{"kubernetes.io/os": "linux"}))
}

// What the device plugin would ignore or stumble over is said in words.
func TestParsePluginConfigRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"not YAML":        {"a: b: c", "it is no YAML"},
		"no version":      {"sharing: {}", `version is ""; write v1`},
		"misspelt":        {"version: v1\nsharing: {timeSliceing: {}}", `unknown field "sharing.timeSliceing"`},
		"other case":      {"version: v1\nsharing: {timeslicing: {}}", `unknown field "sharing.timeslicing"`},
		"misspelt inside": {"version: v1\nsharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replica: 4}]}}", `unknown field "sharing.timeSlicing.resources[0].replica"`},
		"twice":           {"version: v1\nversion: v1", "already set in map"},
		"words":           {"version: v1\nsharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: many}]}}", "cannot unmarshal string"},
		"one":             {"version: v1\nsharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 1}]}}", "leave the sharing section out for whole GPUs"},
		"no name":         {"version: v1\nsharing: {timeSlicing: {resources: [{replicas: 2}]}}", "has no name; write nvidia.com/gpu"},
		"nothing":         {"version: v1\nsharing: {timeSlicing: {}}", "names no resources"},
		"both":            {"version: v1\nsharing: {timeSlicing: {}, mps: {}}", "both timeSlicing and mps"},
		"empty":           {"", `version is ""`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParsePluginConfig(tt.text)
			require.ErrorContains(t, err, tt.want)
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

// What the values render to is what the plan reads.
func TestSharingRoundTrip(t *testing.T) {
	s := TimeSlicing{Enabled: true, ManagePolicy: true, Configs: map[string]Slicing{
		"any": {Replicas: 8}, "dedicated": {Replicas: 1}, "apart": {Replicas: 4, RenameByDefault: true, FailRequestsGreaterThanOne: true},
	}}.withDefaults()
	require.Empty(t, s.problems())
	data := s.ConfigMapData()
	assert.YAMLEq(t, eightSlices, data["any"])
	assert.YAMLEq(t, wholeGPUs, data["dedicated"])
	configs := ParsePluginConfigs(data)
	require.Empty(t, configs.Problems())
	for key, want := range map[string]map[string]int64{
		"": {"nvidia.com/gpu": 8}, "dedicated": {"nvidia.com/gpu": 1}, "apart": {"nvidia.com/gpu.shared": 4},
	} {
		got, err := configs.PlanSlices(map[string]string{"nvidia.com/gpu.count": "1", SharingLabel: key}, s.Default)
		require.NoError(t, err)
		assert.Equal(t, want, got, key)
	}
}

func TestSharingDefaultsAndProblems(t *testing.T) {
	managed := TimeSlicing{Enabled: true, ManagePolicy: true}.withDefaults()
	assert.Equal(t, map[string]Slicing{"any": {Replicas: 8}}, managed.Configs)
	assert.Equal(t, "time-slicing-config", managed.ConfigMap)
	assert.Empty(t, TimeSlicing{Enabled: true}.withDefaults().Configs, "the ConfigMap is the only truth when somebody else writes it")
	for want, s := range map[string]TimeSlicing{
		"gpuSharing.enabled is off":              {ManagePolicy: true},
		"written only with":                      {Enabled: true, Configs: map[string]Slicing{"any": {Replicas: 2}}},
		"gpuSharing.configs.any.replicas: 0":     {Enabled: true, ManagePolicy: true, Configs: map[string]Slicing{"any": {}}},
		`"some" is no key of gpuSharing.configs`: {Enabled: true, ManagePolicy: true, Default: "some", Configs: map[string]Slicing{"any": {Replicas: 2}}},
	} {
		problems := s.withDefaults().problems()
		require.Len(t, problems, 1)
		assert.Contains(t, problems[0], want)
	}
}

func TestHashOf(t *testing.T) {
	one := HashOf(map[string]string{"a": "1", "b": "2"})
	assert.Equal(t, one, HashOf(map[string]string{"b": "2", "a": "1"}))
	assert.NotEqual(t, one, HashOf(map[string]string{"a": "1", "b": "3"}))
	assert.NotEqual(t, HashOf(map[string]string{"ab": "c"}), HashOf(map[string]string{"a": "bc"}))
	assert.Len(t, one, 16)
}

func TestCheckCount(t *testing.T) {
	t.Parallel()
	pool := func(key string) map[string]string { return map[string]string{SharingLabel: key} }
	plain := GPUSharing{Sliced: []string{"nvidia.com/gpu"}}
	mixed := GPUSharing{Sliced: []string{"nvidia.com/gpu"}, Dedicated: []string{"dedicated", "workstations"}}
	for name, c := range map[string]struct {
		sharing  GPUSharing
		gpus     int32
		resource string
		selector map[string]string
		want     string // of the error; "" for none
	}{
		"none":                          {plain, 0, "nvidia.com/gpu", nil, ""},
		"one slice":                     {plain, 1, "nvidia.com/gpu", nil, ""},
		"two slices":                    {plain, 2, "nvidia.com/gpu", nil, "let the administrator keep the GPUs of a node pool whole (gpuSharing.dedicated)"},
		"nothing is sliced":             {GPUSharing{}, 2, "nvidia.com/gpu", nil, ""},
		"a resource of its own":         {plain, 2, "nvidia.com/gpu.shared", nil, ""},
		"anywhere":                      {mixed, 2, "nvidia.com/gpu", nil, "use a template whose scheduling.nodeSelector holds nvidia.com/device-plugin.config: dedicated or workstations"},
		"a dedicated pool":              {mixed, 2, "nvidia.com/gpu", pool("dedicated"), ""},
		"another dedicated pool":        {mixed, 8, "nvidia.com/gpu", pool("workstations"), ""},
		"a shared pool":                 {mixed, 2, "nvidia.com/gpu", pool("any"), "2 slices of the shared GPU nvidia.com/gpu were asked for"},
		"a label that says nothing":     {mixed, 2, "nvidia.com/gpu", map[string]string{"pool": "dedicated"}, "ask for 1, or"},
		"an empty label":                {mixed, 2, "nvidia.com/gpu", pool(""), "ask for 1, or"},
		"a dedicated pool nobody named": {plain, 2, "nvidia.com/gpu", pool("dedicated"), "ask for 1, or let the administrator"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.sharing.CheckCount(c.gpus, c.resource, c.selector)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, "spec.resources.gpu: ")
			require.ErrorContains(t, err, c.want)
		})
	}
}

// Cards are counted by feature discovery alone.
func TestCardsOf(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "8": 8} {
		cards, counted := CardsOf(map[string]string{"nvidia.com/gpu.count": text})
		assert.True(t, counted, text)
		assert.Equal(t, want, cards)
	}
	for _, text := range []string{"", "-1", "many"} {
		_, counted := CardsOf(map[string]string{"nvidia.com/gpu.count": text})
		assert.False(t, counted, text)
	}
}
