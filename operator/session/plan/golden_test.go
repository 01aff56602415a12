package plan_test

import (
	"errors"
	"flag"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
)

var update = flag.Bool("update", false, "rewrite the golden outputs (make golden); read the diff before committing it")

// golden is the plan for a session.
type golden struct {
	// About is the input's sentence: what the plan has to fulfil.
	About string `json:"about"`
	// Asked are the questions that the plan depends on, in the order in which they are asked.
	Asked    []plan.Question `json:"asked,omitempty"`
	Decision string          `json:"decision,omitempty"`
	// Writes are what is done, in order.
	Writes []string `json:"writes,omitempty"`
	// EndsWith is the verdict or the error behind the last write.
	EndsWith string `json:"endsWith,omitempty"`
	// Refusal is why the next start would be refused.
	Refusal      string   `json:"refusal,omitempty"`
	HomeKept     string   `json:"homeKept,omitempty"`
	HomeDiffers  string   `json:"homeDiffers,omitempty"`
	SizeRefused  string   `json:"sizeRefused,omitempty"`
	Pending      []string `json:"pending,omitempty"`
	RequeueAfter string   `json:"requeueAfter,omitempty"`
}

// planFor makes the plan as the controller does, with the answers of the situation.
func planFor(t testing.TB, in situation) golden {
	t.Helper()
	p := in.pass(t)
	out := golden{About: in.About}
	for p.Make(); p.Ask != ""; p.Make() {
		require.NotContains(t, out.Asked, p.Ask, "what was answered is not asked again")
		out.Asked = append(out.Asked, p.Ask)
		p.Note(p.Ask, in.answer(t, p))
	}
	if p.Session.DeletionTimestamp == nil {
		out.Decision = strings.TrimSpace(string(p.Decision.Want) + " " + string(p.Decision.Reason))
	}
	for _, w := range p.Writes {
		words := w.String()
		if w.MayLack {
			words += " (may be refused)"
		}
		out.Writes = append(out.Writes, words)
	}
	out.EndsWith, out.Refusal, out.SizeRefused = inWords(p.Verdict), inWords(p.Refusal), inWords(p.SizeRefused)
	if p.Err != nil {
		out.EndsWith = p.Err.Error()
	}
	if p.HomeKept != nil {
		out.HomeKept = p.HomeKept.Why
	}
	out.HomeDiffers, out.Pending = p.HomeDiffers, p.Pending
	if p.RequeueAfter > 0 {
		out.RequeueAfter = p.RequeueAfter.String()
	}
	return out
}

func inWords(v *verdict.Verdict) string {
	if v == nil {
		return ""
	}
	return strings.TrimPrefix(v.Condition+" "+v.Error(), " ")
}

func TestGolden(t *testing.T) {
	for name, in := range situations(t) {
		t.Run(name, func(t *testing.T) {
			fixture.Golden(t, name, planFor(t, in), *update)
		})
	}
	fixture.NoLeftOvers(t, situations(t))
}

// TestEveryWriteIsPlanned: each write and each question occurs in a situation.
func TestEveryWriteIsPlanned(t *testing.T) {
	asked, writes := map[plan.Question]bool{}, map[string]bool{}
	for _, in := range situations(t) {
		p := in.pass(t)
		for p.Make(); p.Ask != ""; p.Make() {
			asked[p.Ask] = true
			p.Note(p.Ask, in.answer(t, p))
		}
		for _, w := range p.Writes {
			writes[strings.TrimPrefix(typeName(w.Action), "plan.")] = true
		}
	}
	for _, q := range plan.Questions() {
		assert.True(t, asked[q], "no situation asks: %s", q)
	}
	for _, name := range typesOfWrites(t) {
		assert.True(t, writes[name], "no situation plans a write %s", name)
	}
}

// TestFailedAnswer: what cannot be answered ends the plan there, and what was planned before
// is done all the same: nothing holds up a stop.
func TestFailedAnswer(t *testing.T) {
	for name, in := range situations(t) {
		t.Run(name, func(t *testing.T) {
			for _, fails := range planFor(t, in).Asked {
				p := in.pass(t)
				for p.Make(); p.Ask != "" && p.Ask != fails; p.Make() {
					p.Note(p.Ask, in.answer(t, p))
				}
				require.Equal(t, fails, p.Ask)
				before := len(p.Writes)
				unanswered := errors.New("no quorum")
				p.Note(fails, unanswered)
				p.Make()
				if fails == plan.AskHome { // the caller never fails there: only words depend on it
					continue
				}
				require.ErrorIs(t, p.Err, unanswered, fails)
				require.Len(t, p.Writes, before)
			}
		})
	}
}

// TestPlansChangeNoFacts: a plan changes none of the facts that it is made from, and the same
// facts make the same plan.
func TestPlansChangeNoFacts(t *testing.T) {
	for name, in := range situations(t) {
		t.Run(name, func(t *testing.T) {
			p := in.pass(t)
			for p.Make(); p.Ask != ""; p.Make() {
				p.Note(p.Ask, in.answer(t, p))
			}
			facts, first := copied(p.Facts), p.Plan
			p.Make()
			require.Equal(t, facts, copied(p.Facts))
			require.Equal(t, first, p.Plan)
		})
	}
}
