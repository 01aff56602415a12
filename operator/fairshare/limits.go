package fairshare

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vdi-platform/vdi-platform/operator/accounting"
	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// Amounts are what sessions have or ask for, or what a quota lets them have.
type Amounts map[Field]int64

// Field is something of which there is a limit.
type Field string

// The fields, in the order in which they are looked at.
const (
	Sessions  Field = "sessions"  // that exist
	Storage   Field = "storage"   // of homes, in bytes
	Running   Field = "running"   // desktops
	GPUSlices Field = "gpuSlices" // of running desktops
	CPU       Field = "cpu"       // of running desktops, in thousandths of a core
	Memory    Field = "memory"    // of running desktops, in bytes
)

var runFields = []Field{Running, GPUSlices, CPU, Memory}

// Session is what quotas select by.
type Session struct {
	types.NamespacedName

	UID      types.UID
	User     string
	Groups   []string
	Template string
}

// limit is one limit of one quota, for one person or for all together.
type limit struct {
	quota  string
	field  Field
	person string // empty: all people
}

// quota is a VDIQuota as the ledger reads it.
type quota struct {
	name       string
	uid        types.UID
	generation int64
	spec       vdi.VDIQuotaSpec
	perUser    Amounts
	total      Amounts
	budget     *accounting.Budget // of each person; nil: no limit
}

func quotaOf(q *vdi.VDIQuota) quota {
	result := quota{name: q.Name, uid: q.UID, generation: q.Generation, spec: q.Spec, perUser: Amounts{}, total: Amounts{}, budget: budgetOf(q)}
	if l := q.Spec.PerUser; l != nil {
		result.perUser.limit(Sessions, l.Sessions)
		result.perUser.limit(Running, l.Running)
		result.perUser.limit(GPUSlices, l.GPUSlices)
		result.perUser.quantity(CPU, l.CPU)
		result.perUser.quantity(Memory, l.Memory)
		result.perUser.quantity(Storage, l.Storage)
	}
	if l := q.Spec.Total; l != nil {
		result.total.limit(Running, l.Running)
		result.total.limit(GPUSlices, l.GPUSlices)
	}
	return result
}

func (a Amounts) limit(f Field, n *int32) {
	if n != nil {
		a[f] = int64(*n)
	}
}

// quantity takes what the API server has accepted. What it would not accept counts as a
// limit of nothing: to let everybody in is no answer to a limit that cannot be read.
func (a Amounts) quantity(f Field, text vdi.Quantity) {
	if text != "" {
		a[f] = Measure(f, string(text))
	}
}

// Measure is a quantity in the unit of the field; 0 when it is none.
func Measure(f Field, text string) int64 {
	q, err := resource.ParseQuantity(text)
	switch {
	case err != nil:
		return 0
	case f == CPU:
		return q.MilliValue()
	default:
		return q.Value()
	}
}

// Format shows an amount as people write it.
func Format(f Field, amount int64) string {
	switch f {
	case CPU:
		return resource.NewMilliQuantity(amount, resource.DecimalSI).String()
	case Memory, Storage:
		return resource.NewQuantity(amount, resource.BinarySI).String()
	default:
		return resource.NewQuantity(amount, resource.DecimalSI).String()
	}
}

// selects reports whether the quota is for the session.
func (q *quota) selects(s Session) bool {
	by := q.spec.Selector
	return among(by.Users, s.User) && among(by.Namespaces, s.Namespace) && among(by.Templates, s.Template) &&
		(len(by.Groups) == 0 || slices.ContainsFunc(s.Groups, func(g string) bool { return slices.Contains(by.Groups, g) }))
}

func among(names []string, name string) bool { return len(names) == 0 || slices.Contains(names, name) }

// rules are what the quotas that select a session come to.
type rules struct {
	selecting []*quota
	limits    []bound
	budgets   []*quota
	priority  int32
	weight    int32
}

// bound is a limit with what it lets people have.
type bound struct {
	limit
	most   int64
	reject bool
}

// rulesOf finds what holds for a session. The result does not depend on the order of the
// quotas but in words: they are sorted by name.
func rulesOf(quotas []quota, s Session) rules {
	r := rules{weight: 1}
	given, named := false, map[Field]bool{}
	for i := range quotas {
		q := &quotas[i]
		if !q.selects(s) {
			continue
		}
		r.selecting = append(r.selecting, q)
		if p := q.spec.Priority; p != nil && (!given || *p > r.priority) {
			r.priority, given = *p, true
		}
		if w := q.spec.Weight; w != nil {
			r.weight = max(r.weight, *w)
		}
		for f := range q.perUser {
			named[f] = named[f] || !q.spec.Default
		}
		if q.budget != nil {
			named[GPUHours] = named[GPUHours] || !q.spec.Default
		}
	}
	for _, q := range r.selecting {
		if q.budget != nil && (!q.spec.Default || !named[GPUHours]) {
			r.budgets = append(r.budgets, q)
		}
	}
	for _, f := range append([]Field{Sessions, Storage}, runFields...) {
		for _, q := range r.selecting {
			reject := q.spec.OnExceeded == vdi.QuotaReject
			if most, is := q.perUser[f]; is && (!q.spec.Default || !named[f]) {
				r.limits = append(r.limits, bound{limit{q.name, f, s.User}, most, reject})
			}
			if most, is := q.total[f]; is {
				r.limits = append(r.limits, bound{limit{q.name, f, ""}, most, reject})
			}
		}
	}
	return r
}

func sortQuotas(quotas []quota) {
	slices.SortFunc(quotas, func(a, b quota) int { return cmp.Compare(a.name, b.name) })
}
