package session

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

func TestSuperseded(t *testing.T) {
	t.Parallel()
	var s superseded
	isStale := func(key types.NamespacedName, version string, after time.Duration) bool {
		return s.isStale(key, version, noon.Add(after))
	}
	key := types.NamespacedName{Namespace: "desktops", Name: "alice"}
	require.False(t, isStale(key, "1", 0), "nothing was written")

	p := &pass{session: &vdi.VDISession{}}
	for _, version := range []string{"2", "2", "3"} { // the second write changed nothing
		before := p.session.ResourceVersion
		p.session.ResourceVersion = version
		p.wrote(before)
	}
	require.Equal(t, []string{"", "2"}, p.replaced)
	s.remember(key, p.replaced, noon)
	require.True(t, isStale(key, "2", 0))
	require.True(t, isStale(key, "2", longestLag-1), "for as long as the cache lags")
	require.False(t, isStale(types.NamespacedName{Name: "alice"}, "2", 0), "another namespace's")
	require.False(t, isStale(key, "3", 0), "our own write has arrived")
	require.False(t, isStale(key, "2", 0), "and is remembered no longer")

	s.remember(key, p.replaced, noon)
	s.delete(key)
	require.False(t, isStale(key, "2", 0))

	s.remember(key, p.replaced, noon)
	require.False(t, isStale(key, "2", longestLag), "a restored API server has nothing newer")
	s.remember(key, p.replaced, noon)
	require.False(t, isStale(key, "2", -time.Hour), "nor does a clock that goes back make it wait")
}
