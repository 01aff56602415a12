package plan

import (
	"testing"

	"github.com/stretchr/testify/require"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
)

func TestMayDeleteHome(t *testing.T) {
	no := false
	for name, c := range map[string]struct {
		change func(*vdi.VDISession)
		want   bool
	}{
		"a person deleted it while it ran": {func(*vdi.VDISession) {}, true},
		"policy Retain":                    {func(s *vdi.VDISession) { s.Spec.Persistence.ReclaimPolicy = vdi.ReclaimRetain }, false},
		"no policy":                        {func(s *vdi.VDISession) { s.Spec.Persistence.ReclaimPolicy = "" }, false},
		"expired":                          {func(s *vdi.VDISession) { s.Status.EndReason = vdi.StopExpired }, false},
		"idle":                             {func(s *vdi.VDISession) { s.Status.EndReason = vdi.StopIdle }, false},
		"failed":                           {func(s *vdi.VDISession) { s.Status.EndReason = vdi.StopFailed }, false},
		"failed before it ran":             {func(s *vdi.VDISession) { s.Status.EndReason, s.Status.StartTime = vdi.StopFailed, nil }, false},
		"suspended by a person":            {func(s *vdi.VDISession) { s.Status.StopReason, s.Status.StartTime = vdi.StopUser, nil }, true},
		"suspended by the timeout":         {func(s *vdi.VDISession) { s.Status.StopReason, s.Status.StartTime = vdi.StopExpired, nil }, true},
		"persistence off":                  {func(s *vdi.VDISession) { s.Spec.Persistence.Enabled = &no }, false},
		"somebody else's claim":            {func(s *vdi.VDISession) { s.Spec.Persistence.ExistingClaim = "x" }, false},
		"a claim of unknown origin":        {func(s *vdi.VDISession) { s.Status.Home.CreatedByOperator = false }, false},
		"a claim without UID":              {func(s *vdi.VDISession) { s.Status.Home.UID = "" }, false},
		"another session's home":           {func(s *vdi.VDISession) { s.Status.Home.ClaimName = "vdi-data-other" }, false},
		"nothing known":                    {func(s *vdi.VDISession) { s.Status.Home = nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := fixture.Session()
			s.Spec.Persistence.ReclaimPolicy = vdi.ReclaimDelete
			s.Status.StartTime = fixture.At(fixture.Noon)
			s.Status.Home = &vdi.HomeStatus{ClaimName: "vdi-data-desk", UID: "c", CreatedByOperator: true}
			c.change(s)
			require.Equal(t, c.want, MayDeleteHome(s))
		})
	}
}
