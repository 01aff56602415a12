package session

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
)

func TestSuperseded(t *testing.T) {
	t.Parallel()
	var s superseded
	isStale := func(key types.NamespacedName, version string, after time.Duration) bool {
		return s.isStale(key, version, fixture.Noon.Add(after))
	}
	key := types.NamespacedName{Namespace: "desktops", Name: "alice"}
	require.False(t, isStale(key, "1", 0), "nothing was written")

	p := &plan.Pass{Session: &vdi.VDISession{}}
	for _, version := range []string{"2", "2", "3"} { // the second write changed nothing
		before := p.Session.DeepCopy()
		p.Session.ResourceVersion = version
		p.Wrote(before, p.Session)
	}
	require.Equal(t, []string{"", "2"}, p.Replaced)
	s.remember(key, p.Replaced, fixture.Noon)
	require.True(t, isStale(key, "2", 0))
	require.True(t, isStale(key, "2", longestLag-1), "for as long as the cache lags")
	require.False(t, isStale(types.NamespacedName{Name: "alice"}, "2", 0), "another namespace's")
	require.False(t, isStale(key, "3", 0), "our own write has arrived")
	require.False(t, isStale(key, "2", 0), "and is remembered no longer")

	s.remember(key, p.Replaced, fixture.Noon)
	s.Delete(key)
	require.False(t, isStale(key, "2", 0))

	s.remember(key, p.Replaced, fixture.Noon)
	require.False(t, isStale(key, "2", longestLag), "a restored API server has nothing newer")
	s.remember(key, p.Replaced, fixture.Noon)
	require.False(t, isStale(key, "2", -time.Hour), "nor does a clock that goes back make it wait")
}
