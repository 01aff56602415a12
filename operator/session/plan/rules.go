package plan

import (
	"time"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/desktop"
)

// DependsOnActivity reports whether the decision depends on the use of the desktop: the idle
// end is near or due, or nothing is known yet. Agents
// answer whether their desktops are well or not.
func (p *Pass) DependsOnActivity() bool {
	rules, known := p.Rules()
	if !known || !Runs(p.Session) || IdleTimeout(p.Session.Spec, rules) == 0 || !p.Seen.PodLives() {
		return false
	}
	return (!ActivityKnown(p.State()) && desktop.Ready(p.Seen.Pod)) || p.Decision.IsNear(vdi.EndIdle)
}

// Decide decides what should become of the session and when to look again.
func (p *Pass) Decide(now time.Time) {
	p.Decision = p.DecisionOn(p.State(), now)
	p.LookAgainAfter(p.Decision.RequeueAfter)
}

// DecisionOn is what the rules say about a state of the session.
func (p *Pass) DecisionOn(s *vdi.VDISession, now time.Time) Decision {
	rules, known := p.Rules()
	if !known {
		return DecideByPerson(s)
	}
	return Decide(s, rules, now, p.budgetEnd(s, rules, now)...)
}

// Rules are the template's, and while it is missing those that were last read:
// the clock then ends nothing that it would not have ended with the template.
// Without a record nothing is known.
func (f *Facts) Rules() (rules vdi.TemplateLifecycle, known bool) {
	if last := f.LastRules(); last != nil {
		return *last, true
	}
	return rules, false
}

// LastRules are the template's as they were last read; nil when they never were.
func (f *Facts) LastRules() *vdi.TemplateLifecycle {
	switch {
	case f.Template != nil:
		return &f.Template.Spec.Lifecycle
	case f.Session.Status.Lifecycle != nil:
		return f.Session.Status.Lifecycle
	default:
		return f.StartedBy
	}
}

// ForgetOldTroubles begins to count anew when a desktop stops to work that has
// worked for long. It is not done any sooner: that would be one more status write
// of each session that starts.
func (p *Pass) ForgetOldTroubles() {
	if !desktop.Ready(p.Seen.Pod) && HasProven(p.Session.Status, p.Now) {
		p.Failures, p.Downtime = 0, nil
	}
}
