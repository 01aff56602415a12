package status

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
)

var update = flag.Bool("update", false, "rewrite the golden outputs (make golden); read the diff before committing it")

// golden is what comes of a look at a session.
type golden struct {
	// About is the input's sentence, beside what has to fulfil it.
	About    string         `json:"about"`
	Decision goldenDecision `json:"decision"`
	// Status is what is written; left out where nothing is.
	Status map[string]any `json:"status,omitempty"`
	// RequeueAfter is when the session is looked at again unless something wakes it.
	RequeueAfter string        `json:"requeueAfter,omitempty"`
	Events       []goldenEvent `json:"events,omitempty"`

	conditions []metav1.Condition
}

type goldenDecision struct {
	Want         plan.Want      `json:"want"`
	Reason       vdi.StopReason `json:"reason,omitempty"`
	ExpiresAt    string         `json:"expiresAt,omitempty"`
	RequeueAfter string         `json:"requeueAfter,omitempty"`
}

type goldenEvent struct {
	Type   string `json:"type"`
	Reason string `json:"reason"`
	Action string `json:"action"`
	Note   string `json:"note"`
}

// look takes a look at the session of a golden input as the controller does, without its
// writes.
func look(t testing.TB, in goldenInput) golden {
	t.Helper()
	p := in.pass()
	before, after := p.Session.DeepCopy(), p.Session
	failed := in.failed()
	in.decide(t, p)
	out := golden{About: in.About, Decision: decisionOf(p.Decision)}
	in.end(p)
	in.find(t, p)
	if !p.Gone() && (failed != nil || !p.IsFirstStart()) {
		report := Of(p, failed)
		p.LookAgainAfter(report.RequeueAfter)
		after = p.Session.DeepCopy()
		after.Status = report.Status
		out.Status, out.conditions = readable(t, report.Status, p.Now), report.Status.Conditions
	}
	switch {
	case failed != nil:
		out.RequeueAfter = "after a growing delay"
	case p.RequeueAfter > 0:
		out.RequeueAfter = p.RequeueAfter.String()
	}
	for _, e := range Events(before, after, p) {
		out.Events = append(out.Events, goldenEvent{e.Type, e.Reason, e.Action, abridged(verdict.Shorten(e.Note, MaxNote))})
	}
	return out
}

func decisionOf(d plan.Decision) goldenDecision {
	out := goldenDecision{Want: d.Want, Reason: d.Reason}
	if d.ExpiresAt != nil {
		out.ExpiresAt = d.ExpiresAt.UTC().Format(time.RFC3339)
	}
	if d.RequeueAfter > 0 {
		out.RequeueAfter = d.RequeueAfter.String()
	}
	return out
}

// readable is a status with a line for each condition, which has its age instead of its
// last transition, and without the length of long texts.
func readable(t testing.TB, st vdi.VDISessionStatus, now time.Time) map[string]any {
	t.Helper()
	lines := make([]string, len(st.Conditions))
	for i, c := range st.Conditions {
		require.Equal(t, st.ObservedGeneration, c.ObservedGeneration, c.Type)
		lines[i] = fmt.Sprintf("%s=%s %s for %s: %s", c.Type, c.Status, c.Reason, now.Sub(c.LastTransitionTime.Time), abridged(c.Message))
	}
	st.Message = abridged(st.Message)
	st.Conditions = nil
	var out map[string]any
	text, err := yaml.Marshal(st)
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(text, &out))
	out["conditions"] = lines
	return out
}

// abridged shows the ends of a text that nobody would read, and how long it is.
func abridged(text string) string {
	const shown, end = 1000, 40
	if len(text) <= shown {
		return text
	}
	return fmt.Sprintf("%s[%d bytes in all]%s", strings.ToValidUTF8(text[:2*end], ""), len(text), strings.ToValidUTF8(text[len(text)-end:], ""))
}

func TestGolden(t *testing.T) {
	for name, in := range goldenInputs(t) {
		t.Run(name, func(t *testing.T) {
			fixture.Golden(t, name, look(t, in), *update)
		})
	}
	fixture.NoLeftOvers(t, goldenInputs(t))
}

// TestGoldenSettled: a second look that finds the same has nothing new to say, or every
// watch event would be a write.
func TestGoldenSettled(t *testing.T) {
	for name, in := range goldenInputs(t) {
		t.Run(name, func(t *testing.T) {
			p := in.pass()
			in.decide(t, p)
			in.end(p)
			in.find(t, p)
			if p.Gone() || p.IsFirstStart() {
				return
			}
			first := Of(p, in.failed())
			p.Session.Status = first.Status
			p.Activity, p.Failures, p.Downtime = first.Status.Activity, first.Status.Failures, first.Status.Downtime
			second := Of(p, in.failed())
			assert.Equal(t, readable(t, first.Status, p.Now), readable(t, second.Status, p.Now))
			assert.Equal(t, first.RequeueAfter, second.RequeueAfter)
		})
	}
}

// failed is what went wrong in the pass.
func (in goldenInput) failed() error {
	if in.Failed == "" {
		return nil
	}
	return errors.New(in.Failed)
}
