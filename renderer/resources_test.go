package renderer

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

func ptr[T any](v T) *T { return &v }

func TestResourcesOf(t *testing.T) {
	for name, c := range map[string]struct {
		session  vdi.SessionResources
		template vdi.TemplateResources
		want     vdi.SessionResources
		wantErr  string
	}{
		"built-in":             {want: vdi.SessionResources{GPU: ptr(int32(1)), Memory: "4Gi", CPU: "2"}},
		"template":             {template: vdi.TemplateResources{DefaultGPU: ptr(int32(0)), DefaultMemory: "8Gi", DefaultCPU: "500m"}, want: vdi.SessionResources{GPU: ptr(int32(0)), Memory: "8Gi", CPU: "500m"}},
		"session wins":         {session: vdi.SessionResources{GPU: ptr(int32(0)), CPU: "3"}, template: vdi.TemplateResources{DefaultGPU: ptr(int32(2)), DefaultCPU: "1"}, want: vdi.SessionResources{GPU: ptr(int32(0)), Memory: "4Gi", CPU: "3"}},
		"at the bounds":        {session: vdi.SessionResources{Memory: "1024Mi"}, template: vdi.TemplateResources{Min: vdi.SessionResources{Memory: "1Gi"}, Max: vdi.SessionResources{Memory: "1Gi"}}, want: vdi.SessionResources{GPU: ptr(int32(1)), Memory: "1024Mi", CPU: "2"}},
		"below memory":         {session: vdi.SessionResources{Memory: "1Gi"}, template: vdi.TemplateResources{Min: vdi.SessionResources{Memory: "2Gi"}}, wantErr: "resources.memory: 1Gi is less than the template's minimum of 2Gi"},
		"above GPU":            {session: vdi.SessionResources{GPU: ptr(int32(3))}, template: vdi.TemplateResources{Max: vdi.SessionResources{GPU: ptr(int32(2))}}, wantErr: "resources.gpu: 3 is more than the template's maximum of 2"},
		"negative GPU":         {session: vdi.SessionResources{GPU: ptr(int32(-1))}, wantErr: "resources.gpu"},
		"zero memory":          {session: vdi.SessionResources{Memory: "0"}, wantErr: "resources.memory"},
		"half a byte":          {session: vdi.SessionResources{Memory: "512m"}, wantErr: "resources.memory: 512m is less than 1Mi (m means thousandths: did you mean 512Mi?)"},
		"half a byte, default": {template: vdi.TemplateResources{DefaultMemory: "1.5m"}, wantErr: "resources.memory: 1.5m is less than 1Mi (m means thousandths: did you mean 1.5Mi?)"},
		"half a byte, least":   {template: vdi.TemplateResources{Min: vdi.SessionResources{Memory: "512m"}}, wantErr: "template's resources.min.memory: 512m is less than 1Mi"},
		"half a byte, most":    {session: vdi.SessionResources{Memory: "1Gi"}, template: vdi.TemplateResources{Max: vdi.SessionResources{Memory: "512m"}}, wantErr: "template's resources.max.memory: 512m is less than 1Mi"},
		"no unit":              {session: vdi.SessionResources{Memory: "4096"}, wantErr: "resources.memory: 4096 is less than 1Mi (units: k, M, G, Ki, Mi, Gi, Ti)"},
		"a megabyte":           {session: vdi.SessionResources{Memory: "1M"}, wantErr: "resources.memory: 1M is less than 1Mi"},
		"the least":            {session: vdi.SessionResources{Memory: "1024Ki", CPU: "1m"}, want: vdi.SessionResources{GPU: ptr(int32(1)), Memory: "1024Ki", CPU: "1m"}},
		"memory in words":      {session: vdi.SessionResources{Memory: "lots"}, wantErr: `"lots" is no positive quantity such as 512Mi or 4Gi`},
		"negative CPU":         {session: vdi.SessionResources{CPU: "-1"}, wantErr: "resources.cpu"},
		"bound is no quantity": {template: vdi.TemplateResources{Max: vdi.SessionResources{CPU: "many"}}, wantErr: "resources.max.cpu"},
		"lower is no quantity": {template: vdi.TemplateResources{Min: vdi.SessionResources{CPU: "few"}}, wantErr: "resources.min.cpu"},
		"built-in, cut":        {template: vdi.TemplateResources{Max: vdi.SessionResources{GPU: ptr(int32(0)), Memory: "1Gi"}}, want: vdi.SessionResources{GPU: ptr(int32(0)), Memory: "1Gi", CPU: "2"}},
		"built-in, raised":     {template: vdi.TemplateResources{Min: vdi.SessionResources{GPU: ptr(int32(2)), CPU: "4"}}, want: vdi.SessionResources{GPU: ptr(int32(2)), Memory: "4Gi", CPU: "4"}},
		"default beyond most": {
			template: vdi.TemplateResources{DefaultGPU: ptr(int32(2)), DefaultMemory: "2Gi", Max: vdi.SessionResources{GPU: ptr(int32(1)), Memory: "1Gi"}},
			want:     vdi.SessionResources{GPU: ptr(int32(1)), Memory: "1Gi", CPU: "2"},
		},
		"default below least": {
			template: vdi.TemplateResources{DefaultGPU: ptr(int32(0)), DefaultCPU: "1", Min: vdi.SessionResources{GPU: ptr(int32(1)), CPU: "3"}},
			want:     vdi.SessionResources{GPU: ptr(int32(1)), Memory: "4Gi", CPU: "3"},
		},
		"bounds that leave no room": {
			template: vdi.TemplateResources{Min: vdi.SessionResources{Memory: "8Gi"}, Max: vdi.SessionResources{Memory: "2Gi"}},
			wantErr:  "resources.memory: 2Gi is less than the template's minimum of 8Gi",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ResourcesOf(vdi.VDISessionSpec{Resources: c.session}, vdi.VDITemplateSpec{Resources: c.template})
			if c.wantErr != "" {
				require.ErrorIs(t, err, ErrResources)
				require.ErrorContains(t, err, c.wantErr)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
}

func TestRequestsOf(t *testing.T) {
	limits := vdi.SessionResources{CPU: "2", Memory: "4Gi"}
	for name, c := range map[string]struct{ requested, want vdi.TemplateRequests }{
		"shares":           {want: vdi.TemplateRequests{CPU: "500m", Memory: "2Gi"}},
		"requested":        {requested: vdi.TemplateRequests{CPU: "1500m", Memory: "1Gi"}, want: vdi.TemplateRequests{CPU: "1500m", Memory: "1Gi"}},
		"never over limit": {requested: vdi.TemplateRequests{CPU: "3", Memory: "8Gi"}, want: vdi.TemplateRequests{CPU: "2", Memory: "4Gi"}},
	} {
		got, err := requestsOf(limits, c.requested)
		require.NoError(t, err, name)
		assert.Equal(t, c.want, got, name)
	}
	_, err := requestsOf(limits, vdi.TemplateRequests{CPU: "none"})
	require.ErrorContains(t, err, "requests.cpu")
	_, err = requestsOf(limits, vdi.TemplateRequests{Memory: "100m"})
	require.ErrorIs(t, err, ErrResources)
	require.ErrorContains(t, err, "requests.memory: 100m is less than 1Mi (m means thousandths: did you mean 100Mi?)")
}

// TestSizesOfBytes: wherever a size is written, half a byte is refused.
func TestSizesOfBytes(t *testing.T) {
	r, base := newRenderer(t), goldenInputs(t)["defaults"]
	for want, change := range map[string]func(*Input){
		"persistence.size: 10m is less than 1Mi (m means thousandths: did you mean 10Mi?)": func(in *Input) { in.Session.Spec.Persistence.Size = "10m" },
		"resources.memory: 4m is less than 1Mi":                                            func(in *Input) { in.Session.Spec.Resources.Memory = "4m" },
		"requests.memory: 2m is less than 1Mi":                                             func(in *Input) { in.Template.Spec.Requests.Memory = "2m" },
		"requests.memory: 3m is less than 1Mi": func(in *Input) {
			in.Template.Spec.Values = &apiextensionsv1.JSON{Raw: []byte(`{"resources":{"requests":{"memory":"3m"}}}`)}
		},
	} {
		in := base
		change(&in)
		_, err := r.Render(in)
		require.ErrorIs(t, err, ErrResources, want)
		require.ErrorContains(t, err, want)
	}
}
