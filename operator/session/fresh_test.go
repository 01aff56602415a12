package session

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

func TestSuperseded(t *testing.T) {
	t.Parallel()
	var s superseded
	key := types.NamespacedName{Namespace: "desktops", Name: "alice"}
	require.False(t, s.isStale(key, "1"), "nothing was written")

	p := &pass{session: &vdi.VDISession{}}
	for _, version := range []string{"2", "2", "3"} { // the second write changed nothing
		before := p.session.ResourceVersion
		p.session.ResourceVersion = version
		p.wrote(before)
	}
	require.Equal(t, []string{"", "2"}, p.replaced)
	s.remember(key, p.replaced)
	require.True(t, s.isStale(key, "2"))
	require.True(t, s.isStale(key, "2"), "for as long as the cache lags")
	require.False(t, s.isStale(types.NamespacedName{Name: "alice"}, "2"), "another namespace's")
	require.False(t, s.isStale(key, "3"), "our own write has arrived")
	require.False(t, s.isStale(key, "2"), "and is remembered no longer")

	s.remember(key, p.replaced)
	s.delete(key)
	require.False(t, s.isStale(key, "2"))
}
