package fairshare

import (
	"testing"

	"github.com/stretchr/testify/assert"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// Of the quotas that select a session the highest priority and weight count.
func TestTurnOf(t *testing.T) {
	t.Parallel()
	named := func(name string, priority, weight *int32, users ...string) vdi.VDIQuota {
		q := vdi.VDIQuota{Spec: vdi.VDIQuotaSpec{Priority: priority, Weight: weight, Selector: vdi.QuotaSelector{Users: users}}}
		q.Name = name
		return q
	}
	all := []vdi.VDIQuota{named("all", new(int32(-5)), nil), named("artists", new(int32(10)), new(int32(2)), "alice"), named("heavy", nil, new(int32(7)), "alice", "bob")}
	assert.Equal(t, Turn{Priority: 10, Weight: 7}, TurnOf(all, Session{User: "alice"}))
	assert.Equal(t, Turn{Priority: -5, Weight: 7}, TurnOf(all, Session{User: "bob"}))
	assert.Equal(t, Turn{Priority: -5, Weight: 1}, TurnOf(all, Session{User: "carol"}))
	assert.Equal(t, Turn{Weight: 1}, TurnOf(nil, Session{User: "alice"}))
}
