package plan

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vdi-platform/vdi-platform/operator/accounting"
	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/desktop"
	"github.com/vdi-platform/vdi-platform/operator/fairshare"
	"github.com/vdi-platform/vdi-platform/platform"
)

// mostBudgets are those that a status can hold. More than that never limit one person.
const mostBudgets = 64

// countRun counts a pod that holds nothing any more, from when it got its node. Whether that was
// written before is known by its UID, so whoever dies in between counts it once.
func (p draft) countRun() error {
	run := p.overRun()
	if run == nil {
		return nil
	}
	if p.Accounts && run.End == nil {
		if err := p.answer(AskTime); err != nil { // a clock that jumps costs nobody anything
			return err
		}
	}
	over := p.OverRun()
	p.RunOver = &over
	if p.Accounts {
		p.do(CountRun{over})
	}
	return nil
}

// OverRun is the pod that holds nothing any more and was not counted yet; its zero value: there
// is none.
func (p *Pass) OverRun() accounting.Run {
	run, pod := p.overRun(), p.Seen.Pod
	if run == nil {
		return accounting.Run{}
	}
	end := p.Now
	if !p.ServerTime.IsZero() {
		end = p.ServerTime
	}
	switch at, known := desktop.EndedAt(pod); {
	case run.End != nil: // as it was found at first
		end = run.End.Time
	case known && pod.UID == run.PodUID && (!at.IsZero() || p.Session.Status.StartTime == nil):
		end = Earlier(at, end)
	}
	over := p.counted(run)
	over.End = accounting.Later(end, over.Begin)
	return over
}

func (p *Pass) overRun() *vdi.RunStatus {
	pod, last := p.Seen.Pod, p.Session.Status.Run
	switch {
	case last != nil && !IsCounted(p.Session.Status, last.PodUID) && (pod == nil || pod.UID != last.PodUID):
		return last
	case pod != nil && pod.DeletionTimestamp == nil && desktop.Ended(pod) && !IsCounted(p.Session.Status, pod.UID):
		return p.RunOf()
	}
	return nil
}

// IsCounted reports whether a pod is among those that were counted.
func IsCounted(st vdi.VDISessionStatus, pod types.UID) bool {
	return slices.ContainsFunc(st.Runs, func(r vdi.RunRecord) bool { return r.PodUID == pod })
}

// budgetEnd is when the GPU-hours of the session's person are used up. Nothing moves it but
// less use, or more hours; nor does another pod.
func (p *Pass) budgetEnd(s *vdi.VDISession, rules vdi.TemplateLifecycle, now time.Time) []deadline {
	run, budgets := p.Uses(), p.RunBudgets()
	if run.UID == "" && s.Status.StartTime != nil && s.Status.GPU != nil && p.Template != nil { // the next one is to come
		run = accounting.Run{Begin: now, Rate: accounting.RateOf(s.Status.GPU.Count, accounting.Cost(p.Template.Spec.GPU.Cost))}
		budgets = s.Status.Budgets
	}
	if s.Spec.RunPolicy == vdi.RunPolicySuspended || run.Rate <= 0 {
		return nil
	}
	first := deadline{end: vdi.EndBudget, want: SuspendNow, reason: vdi.StopBudget, firm: true, warn: rules.WarnBefore.Or(defaultWarnBefore)}
	for _, kept := range budgets {
		i := slices.IndexFunc(p.Budgets, func(b fairshare.Budget) bool { return b.Quota == kept.Quota })
		if i < 0 { // it is gone, or limits the person no more
			continue
		}
		if end, ends := held(p.Budgets[i], kept).Ends(run, now); ends && (first.at.IsZero() || end.Before(first.at)) {
			first.at = end
		}
	}
	if first.at.IsZero() {
		return nil
	}
	return []deadline{first}
}

// held is the budget of a run: what was raised since its start counts at once, what was lowered
// or is of another kind from the next one.
func held(b fairshare.Budget, kept vdi.RunBudget) *fairshare.Budget {
	switch {
	case b.Kind == kept.Window && b.Zone.String() == zoneOf(kept.TimeZone).String():
		b.Limit = max(b.Limit, kept.GPUSeconds)
	default:
		b.Kind, b.Zone, b.Limit = kept.Window, zoneOf(kept.TimeZone), kept.GPUSeconds
	}
	return &b
}

func zoneOf(name string) *time.Location {
	zone, err := platform.TimeZone(name)
	if err != nil { // it was known when the run began
		return time.UTC
	}
	return zone
}

// RunOf is how the session's pod is counted; nil while it has no node.
func (p *Pass) RunOf() *vdi.RunStatus {
	pod := p.Seen.Pod
	if !desktop.Scheduled(pod) {
		return nil
	}
	if run := p.Session.Status.Run; run != nil && run.PodUID == pod.UID {
		return run
	}
	run := &vdi.RunStatus{PodUID: pod.UID, Begin: pod.CreationTimestamp, GPUSlices: int32(p.amounts()[fairshare.GPUSlices])}
	if c := desktop.Timings(pod); c != nil && c.Scheduled != nil {
		run.Begin = metav1.NewTime(accounting.Later(c.Scheduled.Time, pod.CreationTimestamp.Time))
	}
	if p.Template != nil {
		run.Cost = p.Template.Spec.GPU.Cost
	}
	for _, b := range p.budgetsOf(run) {
		run.Quotas = append(run.Quotas, b.Quota)
	}
	return run
}

// RunBudgets are the budgets of the session's run: those that held when it started, also where
// the platform has made another pod since.
func (p *Pass) RunBudgets() []vdi.RunBudget {
	run := p.RunOf()
	if run == nil {
		return nil
	}
	return p.budgetsOf(run)
}

func (p *Pass) budgetsOf(run *vdi.RunStatus) (budgets []vdi.RunBudget) {
	if kept := p.Session.Status.Budgets; len(kept) > 0 {
		return kept
	}
	last := p.Session.Status.Run
	shown := last != nil && last.PodUID == run.PodUID
	for _, b := range p.Budgets[:min(len(p.Budgets), mostBudgets)] {
		if rateOf(run) > 0 && (!shown || slices.Contains(run.Quotas, b.Quota)) {
			budgets = append(budgets, vdi.RunBudget{Quota: b.Quota, GPUSeconds: b.Limit, Window: b.Kind, TimeZone: b.Zone.String()})
		}
	}
	return budgets
}

// Uses is what the session's pod uses of GPU-hours now; its zero value: it holds nothing.
func (p *Pass) Uses() accounting.Run {
	run := p.RunOf()
	if run == nil || desktop.Ended(p.Seen.Pod) {
		return accounting.Run{}
	}
	return p.counted(run)
}

func (p *Pass) counted(run *vdi.RunStatus) accounting.Run {
	return accounting.Run{
		UID: run.PodUID, Namespace: p.Session.Namespace, Template: p.Session.Spec.Template,
		Quotas: run.Quotas, Begin: run.Begin.Time, Rate: rateOf(run),
	}
}

// rateToCome is at what rate the desktop will use GPU-hours that is to be made.
func (p *Pass) rateToCome() accounting.Rate {
	if p.Template == nil {
		return 0
	}
	return accounting.RateOf(int32(p.amounts()[fairshare.GPUSlices]), accounting.Cost(p.Template.Spec.GPU.Cost))
}

func rateOf(run *vdi.RunStatus) accounting.Rate {
	return accounting.RateOf(run.GPUSlices, accounting.Cost(run.Cost))
}
