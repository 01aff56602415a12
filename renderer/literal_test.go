package renderer

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// kubelet is what a container gets of a value: the rule of k8s.io/kubernetes,
// third_party/forked/golang/expansion, Expand, in the form of older kubelets, which
// split characters beyond ASCII behind a $.
func kubelet(value string, variable func(name string) string) string {
	var out strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] != '$' || i+1 == len(value) {
			out.WriteByte(value[i])
			continue
		}
		i++
		end := strings.IndexByte(value[i:], ')')
		switch {
		case value[i] == '$':
			out.WriteByte('$')
		case value[i] == '(' && end > 0:
			out.WriteString(variable(value[i+1 : i+end]))
			i += end
		default:
			out.WriteString("$" + string(rune(value[i]))) // one byte, taken for a character
		}
	}
	return out.String()
}

// loginsOnly: the worst case, in which every other name is known too.
func loginsOnly(name string) string {
	if name == "SELKIES_BASIC_AUTH_USER" || name == "SELKIES_BASIC_AUTH_PASSWORD" || name == "PASSWD" {
		return "<" + name + ">"
	}
	return "EXPANDED"
}

func TestKubelet(t *testing.T) {
	for value, want := range map[string]string{
		"$$": "$", "$": "$", "$(A)": "EXPANDED", "$$(A)": "$(A)", "$$$(A)": "$EXPANDED", "$(A": "$(A", "$()": "EXPANDED", "a$b": "a$b", "$é": "$Ã\xa9",
	} {
		assert.Equal(t, want, kubelet(value, loginsOnly), value)
	}
}

// envOfTemplate renders a session of a template with this environment.
func envOfTemplate(t testing.TB, r *Renderer, in Input, env ...vdi.EnvVar) map[string]string {
	t.Helper()
	in.Template.Spec.Env = env
	got, err := r.Render(in)
	if !assert.NoError(t, err) {
		return nil
	}
	rendered := map[string]string{}
	for _, v := range typed[corev1.Pod](t, got.ofKind(wire.KindPod)[0]).Spec.Containers[0].Env {
		rendered[v.Name] = v.Value
	}
	return rendered
}

func TestEnvIsLiteral(t *testing.T) {
	r, in := newRenderer(t), goldenInputs(t)["defaults"]
	for _, value := range []string{
		"ab$$cd", "x$(LICENSE)y", "$", "$$", "$$$", "$$$(A)", "$(A", "$()", "$)", "$(A)$(B)", "$(A$(B))", "$HOME/${HOME}", "$\u00e9$\u00e9", "$\n",
		"$(SELKIES_BASIC_AUTH)", "$(SELKIES_BASIC_AUTH_PASSWORD", `{"a":1}`, "ünïcödé 日本", `"quoted" 'twice' \`, "two\nlines\n", " blanks ", "",
	} {
		rendered := envOfTemplate(t, r, in, vdi.EnvVar{Name: "A", Value: value})
		assert.Equal(t, value, kubelet(rendered["A"], loginsOnly))
	}
}

// TestTimeZone: the session's zone, else TZ in env, else the template's time zone,
// else what free-form values say.
func TestTimeZone(t *testing.T) {
	r, in := newRenderer(t), goldenInputs(t)["defaults"]
	in.Template.Spec.Values = &apiextensionsv1.JSON{Raw: []byte(`{"env":[{"name":"TZ","value":"Etc/UTC"}]}`)}
	tz := vdi.EnvVar{Name: "TZ", Value: "Asia/Tokyo"}
	for _, c := range []struct {
		session, template vdi.TimeZone
		env               []vdi.EnvVar
		want              string
	}{
		{want: "Etc/UTC"},
		{template: "America/New_York", want: "America/New_York"},
		{template: "America/New_York", env: []vdi.EnvVar{tz}, want: "Asia/Tokyo"},
		{session: "Europe/Berlin", template: "America/New_York", env: []vdi.EnvVar{tz}, want: "Europe/Berlin"},
		{session: "Europe/Berlin", want: "Europe/Berlin"},
	} {
		in.Session.Spec.TimeZone, in.Template.Spec.TimeZone = c.session, c.template
		assert.Equal(t, c.want, envOfTemplate(t, r, in, c.env...)["TZ"], c)
	}
}

// TestCommandIsLiteral: the rule of env holds for each word.
func TestCommandIsLiteral(t *testing.T) {
	r, in := newRenderer(t), goldenInputs(t)["defaults"]
	words := []string{"sh", "-c", "echo $$ $(HOME) $(A", "", "{{ .Values }}", "a: b\n- c", "$(SELKIES_BASIC_AUTH)", strings.Repeat("$", 16384)}
	for _, c := range []struct{ command, args []string }{{words, nil}, {nil, words}, {words, words}} {
		in.Template.Spec.Command, in.Template.Spec.Args = c.command, c.args
		got, err := r.Render(in)
		if !assert.NoError(t, err) {
			return
		}
		desktop := typed[corev1.Pod](t, got.ofKind(wire.KindPod)[0]).Spec.Containers[0]
		assert.Equal(t, c.command, asRun(desktop.Command))
		assert.Equal(t, c.args, asRun(desktop.Args))
	}
	in.Template.Spec.Command = []string{"$(PASSWD)"}
	got, err := r.Render(in)
	if assert.NoError(t, err) {
		assert.Equal(t, []string{"$(PASSWD)"}, asRun(typed[corev1.Pod](t, got.ofKind(wire.KindPod)[0]).Spec.Containers[0].Command), "no password in a list of processes")
	}
}

func asRun(words []string) (out []string) {
	for _, word := range words {
		out = append(out, kubelet(word, loginsOnly))
	}
	return out
}

// TestEnvPassesLoginsOn: a template can hand the login on under other names.
func TestEnvPassesLoginsOn(t *testing.T) {
	r, in := newRenderer(t), goldenInputs(t)["defaults"]
	for value, want := range map[string]string{
		"$(PASSWD)": "<PASSWD>",
		"$(SELKIES_BASIC_AUTH_USER):$(SELKIES_BASIC_AUTH_PASSWORD)$(X)": "<SELKIES_BASIC_AUTH_USER>:<SELKIES_BASIC_AUTH_PASSWORD>$(X)",
		"$$(PASSWD)":     "$<PASSWD>",
		"$(A$(PASSWD))$": "$(A<PASSWD>)$",
	} {
		rendered := envOfTemplate(t, r, in, vdi.EnvVar{Name: "A", Value: value})
		assert.Equal(t, want, kubelet(rendered["A"], loginsOnly), value)
	}
}

// TestEnvWithoutExpansionStays: what the kubelet leaves alone is written as it is,
// or desktops would be reported as outdated for nothing.
func TestEnvWithoutExpansionStays(t *testing.T) {
	for _, value := range []string{"", "plain", "$HOME", "5$", "a$b$c", "${A}", "日本"} {
		assert.Equal(t, value, escapeExpansion(value, nil))
	}
}

// TestOtherLayersKeepTheirForm: free-form values and the platform's settings are
// written as Kubernetes reads them.
func TestOtherLayersKeepTheirForm(t *testing.T) {
	r, in := newRenderer(t), goldenInputs(t)["defaults"]
	in.Template.Spec.Values = &apiextensionsv1.JSON{Raw: []byte(`{"env":[{"name":"B","value":"$$(A) $(A)"}]}`)}
	assert.Equal(t, "$$(A) $(A)", envOfTemplate(t, r, in, vdi.EnvVar{Name: "A", Value: "1"})["B"])
}

// TestLongestEnvRenders: doubling makes no value too long for the chart.
func TestLongestEnvRenders(t *testing.T) {
	value := strings.Repeat("$", 32768)
	rendered := envOfTemplate(t, newRenderer(t), goldenInputs(t)["defaults"], vdi.EnvVar{Name: "A", Value: value})
	assert.True(t, value == kubelet(rendered["A"], loginsOnly), "%d characters", len(rendered["A"]))
}

func TestLiterallyByChance(t *testing.T) {
	const alphabet = "$$$$(())AB \n\"é"
	letters := []rune(alphabet)
	random := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		value := make([]rune, random.IntN(12))
		for i := range value {
			value[i] = letters[random.IntN(len(letters))]
		}
		assert.Equal(t, string(value), kubelet(escapeExpansion(string(value), platform.FactsOf("").PasswordVariables), loginsOnly))
	}
}

// FuzzLiterally: whatever a value holds, the container gets it.
func FuzzLiterally(f *testing.F) {
	f.Add("ab$$cd")
	f.Add("$$$(A)")
	f.Fuzz(func(t *testing.T, value string) {
		assert.Equal(t, value, kubelet(escapeExpansion(value, nil), loginsOnly))
	})
}
