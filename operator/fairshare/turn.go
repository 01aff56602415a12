package fairshare

import vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"

// Turn is what the quotas that select a session say about when its turn comes.
type Turn struct {
	// Priority of the session: those of a higher one start before all others. 0 where no quota
	// says.
	Priority int32
	// Weight of its person among those of the same priority; 1 where no quota says.
	Weight int32
}

// TurnOf is the turn of a session by the quotas of the cluster. Where a session stands among
// those that wait is in its status.
func TurnOf(all []vdi.VDIQuota, s Session) Turn {
	quotas := make([]quota, len(all))
	for i := range all {
		quotas[i] = quotaOf(&all[i])
	}
	sortQuotas(quotas)
	rules := rulesOf(quotas, s)
	return Turn{Priority: rules.priority, Weight: rules.weight}
}
