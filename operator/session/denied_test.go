package session

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
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
		"quota on pods":       {wire.KindPod, forbidden("exceeded quota: q, requested: pods=1"), vdi.ConditionScheduled, vdi.ReasonQuotaExceeded, vdi.WaitingForQuota, time.Minute},
		"quota not satisfied": {wire.KindPod, forbidden("failed quota: q: must specify limits.cpu"), vdi.ConditionScheduled, vdi.ReasonDenied, "", time.Minute},
		"quota on storage":    {"PersistentVolumeClaim", forbidden("exceeded quota: q"), vdi.ConditionHomeReady, vdi.ReasonQuotaExceeded, vdi.WaitingForQuota, time.Minute},
		"LimitRange":          {wire.KindPod, forbidden("maximum memory usage per Container is 1Gi, but limit is 4Gi"), vdi.ConditionScheduled, vdi.ReasonDenied, "", time.Minute},
		"Pod Security":        {wire.KindPod, forbidden(`violates PodSecurity "restricted:latest": …`), vdi.ConditionScheduled, vdi.ReasonDenied, "", time.Minute},
		"invalid":             {"Service", apierrors.NewInvalid(schema.GroupKind{Kind: "Service"}, "desk", nil), vdi.ConditionScheduled, vdi.ReasonDenied, "", time.Minute},
		"a denied route":      {"IngressRoute", forbidden("policy says no"), vdi.ConditionReachable, vdi.ReasonDenied, "", time.Minute},
		"no such kind":        {"IngressRoute", &meta.NoKindMatchError{}, vdi.ConditionReachable, vdi.ReasonRouteKindMissing, vdi.WaitingForRoute, deniedRetry},
		"the kind went":       {"IngressRoute", apierrors.NewNotFound(schema.GroupResource{}, "desk"), vdi.ConditionReachable, vdi.ReasonRouteKindMissing, vdi.WaitingForRoute, deniedRetry},
		"conflict":            {wire.KindPod, apierrors.NewConflict(pods, "desk", errors.New("old")), "", "", "", 0},
		"server busy":         {wire.KindPod, apierrors.NewTooManyRequests("busy", 1), "", "", "", 0},
		"no answer":           {wire.KindPod, errors.New("connection refused"), "", "", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			err := classify(c.kind, c.err)
			var h *halt
			if c.condition == "" {
				require.False(t, errors.As(err, &h))
				require.ErrorIs(t, err, c.err)
				return
			}
			require.ErrorAs(t, err, &h)
			require.Equal(t, []any{c.condition, c.reason, c.waiting, c.retry}, []any{h.condition, h.reason, h.waiting, h.retry})
			require.Equal(t, vdi.PhasePending, h.phase)
			require.True(t, h.stalled)
			require.NotEmpty(t, h.message)
		})
	}
}

// A quota that is too small for one desktop is never given back by others.
func TestExceedsAlone(t *testing.T) {
	for words, alone := range map[string]bool{
		`pods "desk" is forbidden: exceeded quota: q, requested: limits.memory=4Gi,pods=1, used: limits.memory=7Gi,pods=2, limited: limits.memory=8Gi,pods=9`: false,
		`pods "desk" is forbidden: exceeded quota: q, requested: limits.memory=4Gi, used: limits.memory=0, limited: limits.memory=512Mi`:                      true,
		`exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0`:                                                                                 true,
		`exceeded quota: q`: false,
		`exceeded quota: q, requested: pods=many, used: pods=0, limited: pods=0`: false,
	} {
		require.Equal(t, alone, exceedsAlone(words), words)
	}
}

func TestOnlyConflicts(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{}, "desk", errors.New("old"))
	other := errors.New("connection refused")
	require.True(t, onlyConflicts(conflict))
	require.True(t, onlyConflicts(errors.Join(conflict, conflict)))
	require.False(t, onlyConflicts(errors.Join(conflict, other)))
	require.False(t, onlyConflicts(other))
	require.False(t, onlyConflicts(nil))
}
