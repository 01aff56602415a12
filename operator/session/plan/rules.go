package plan

import (
	"time"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/desktop"
	"github.com/vdi-platform/vdi-platform/operator/drain"
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
	return Decide(s, rules, now, append(p.budgetEnd(s, rules, now), p.drainEnd(s, rules)...)...)
}

// drainEnd is when the desktop has to be off its node, by an administrator's order. Nothing
// moves it but another order. An order that cannot be read is none.
func (p *Pass) drainEnd(s *vdi.VDISession, rules vdi.TemplateLifecycle) []deadline {
	order, err := drain.Of(s)
	if err != nil || !p.Seen.PodLives() || !order.Concerns(p.Seen.Pod) || s.Spec.RunPolicy == vdi.RunPolicySuspended {
		return nil
	}
	d := deadline{end: vdi.EndDrain, at: order.At.Time, want: SuspendNow, reason: vdi.StopDrain, warn: rules.WarnBefore.Or(defaultWarnBefore)}
	if order.Restart {
		d.want = restart
	}
	return []deadline{d}
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
