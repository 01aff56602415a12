package fairshare

import (
	"slices"
	"time"

	"github.com/vdi-platform/vdi-platform/operator/accounting"
	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// Holding is what a session of a person has.
type Holding struct {
	Session

	// Run is what its desktop uses; nil where it has none.
	Run Amounts
	// Counted is the part of its run that GPU-hours count, until now.
	Counted accounting.Run
}

// Allowance is a limit for one person, and what they have of it.
type Allowance struct {
	Quota string
	Field Field
	// Limit and Used are in the unit of the field, GPU-hours in GPU-seconds.
	Limit, Used int64
	// Until is when there are new GPU-hours.
	Until time.Time
	// Rejects: a start beyond it is refused, else it waits.
	Rejects bool
}

// Allowances are the limits for a person that hold for a session of theirs, which may be one
// that does not exist yet, in the order in which they are looked at. Homes are not counted.
func Allowances(all []vdi.VDIQuota, s Session, having []Holding, used *vdi.VDIUsage, now time.Time) (list []Allowance) {
	quotas := make([]quota, len(all))
	for i := range all {
		quotas[i] = quotaOf(&all[i])
	}
	sortQuotas(quotas)
	rules := rulesOf(quotas, s)
	for _, b := range rules.limits {
		if b.person == "" || b.field == Storage {
			continue
		}
		a := Allowance{Quota: b.quota, Field: b.field, Limit: b.most, Rejects: b.reject || b.field == Sessions}
		for _, h := range having {
			a.Used += h.has(b, rulesOf(quotas, h.Session))
		}
		list = append(list, a)
	}
	for _, q := range rules.budgets {
		w := accounting.WindowAt(q.budget.Kind, q.budget.Zone, now)
		a := Allowance{Quota: q.name, Field: GPUHours, Limit: q.budget.Limit, Used: accounting.Used(used, q.name, w), Until: w.End, Rejects: q.spec.OnExceeded == vdi.QuotaReject}
		for _, h := range having {
			if slices.Contains(h.Counted.Quotas, q.name) && !accounting.Has(used, h.Counted.UID) {
				a.Used += h.Counted.In(w)
			}
		}
		list = append(list, a)
	}
	return list
}

// has is what a session has of what is limited, where the limit holds for it, too.
func (h Holding) has(b bound, rules rules) int64 {
	holds := slices.ContainsFunc(rules.limits, func(other bound) bool { return other.limit == b.limit })
	switch {
	case !holds:
		return 0
	case b.field == Sessions:
		return 1
	default:
		return h.Run[b.field]
	}
}
