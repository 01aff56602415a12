package objects

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// A quota that is too small for one desktop is never given back by others.
func TestExceedsAlone(t *testing.T) {
	for words, alone := range map[string]bool{
		`pods "desk" is forbidden: exceeded quota: q, requested: limits.memory=4Gi,pods=1, used: limits.memory=7Gi,pods=2, limited: limits.memory=8Gi,pods=9`: false,
		`pods "desk" is forbidden: exceeded quota: q, requested: limits.memory=4Gi, used: limits.memory=0, limited: limits.memory=512Mi`:                      true,
		`exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0`:                                                                                 true,
		`exceeded quota: q`: false,
		`exceeded quota: q, requested: pods=many, used: pods=0, limited: pods=0`: false,
	} {
		require.Equal(t, alone, ExceedsQuotaAlone(words), words)
	}
}

func TestOnlyConflicts(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{}, "desk", errors.New("old"))
	other := errors.New("connection refused")
	require.True(t, OnlyConflicts(conflict))
	require.True(t, OnlyConflicts(errors.Join(conflict, conflict)))
	require.False(t, OnlyConflicts(errors.Join(conflict, other)))
	require.False(t, OnlyConflicts(other))
	require.False(t, OnlyConflicts(nil))
}
