package verdict

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

func TestClassify(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	forbidden := func(words string) error { return apierrors.NewForbidden(pods, "desk", errors.New(words)) }
	for name, c := range map[string]struct {
		kind      string
		err       error
		condition string // empty: an error that passes by itself
		reason    string
		waiting   vdi.WaitingFor
		retry     time.Duration
	}{
		"quota on pods":       {"Pod", forbidden("exceeded quota: q, requested: pods=1"), vdi.ConditionScheduled, vdi.ReasonQuotaExceeded, vdi.WaitingForQuota, time.Minute},
		"quota not satisfied": {"Pod", forbidden("failed quota: q: must specify limits.cpu"), vdi.ConditionScheduled, vdi.ReasonDenied, "", time.Minute},
		"quota on storage":    {"PersistentVolumeClaim", forbidden("exceeded quota: q"), vdi.ConditionHomeReady, vdi.ReasonQuotaExceeded, vdi.WaitingForQuota, time.Minute},
		"LimitRange":          {"Pod", forbidden("maximum memory usage per Container is 1Gi, but limit is 4Gi"), vdi.ConditionScheduled, vdi.ReasonDenied, "", time.Minute},
		"Pod Security":        {"Pod", forbidden(`violates PodSecurity "restricted:latest": …`), vdi.ConditionScheduled, vdi.ReasonDenied, "", time.Minute},
		"invalid":             {"Service", apierrors.NewInvalid(schema.GroupKind{Kind: "Service"}, "desk", nil), vdi.ConditionScheduled, vdi.ReasonDenied, "", time.Minute},
		"a denied route":      {"IngressRoute", forbidden("policy says no"), vdi.ConditionReachable, vdi.ReasonDenied, "", time.Minute},
		"no such kind":        {"IngressRoute", &meta.NoKindMatchError{}, vdi.ConditionReachable, vdi.ReasonRouteKindMissing, vdi.WaitingForRoute, DeniedRetry},
		"the kind went":       {"IngressRoute", apierrors.NewNotFound(schema.GroupResource{}, "desk"), vdi.ConditionReachable, vdi.ReasonRouteKindMissing, vdi.WaitingForRoute, DeniedRetry},
		"conflict":            {"Pod", apierrors.NewConflict(pods, "desk", errors.New("old")), "", "", "", 0},
		"server busy":         {"Pod", apierrors.NewTooManyRequests("busy", 1), "", "", "", 0},
		"no answer":           {"Pod", errors.New("connection refused"), "", "", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			err := OfWrite(c.kind, c.err)
			var h *Verdict
			if c.condition == "" {
				require.False(t, errors.As(err, &h))
				require.ErrorIs(t, err, c.err)
				return
			}
			require.ErrorAs(t, err, &h)
			require.Equal(t, []any{c.condition, c.reason, c.waiting, c.retry}, []any{h.Condition, h.Reason, h.Waiting, h.Retry})
			require.Equal(t, vdi.PhasePending, h.Phase)
			require.True(t, h.Stalled)
			require.NotEmpty(t, h.Message)
		})
	}
}
