package session

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/platform"
)

func TestSuperseded(t *testing.T) {
	t.Parallel()
	var s superseded
	isStale := func(key types.NamespacedName, version string, after time.Duration) bool {
		return s.isStale(key, version, fixture.Noon.Add(after))
	}
	key := types.NamespacedName{Namespace: "desktops", Name: "alice"}
	require.False(t, isStale(key, "1", 0), "nothing was written")

	p := &plan.Pass{Facts: plan.Facts{Session: &vdi.VDISession{}}}
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

// The age of a pod that ended counts from the first look, whatever clocks say.
func TestEndedPods(t *testing.T) {
	var f endedPods
	p := asking("first")
	look := func(after time.Duration) time.Duration {
		p.Clock = fixture.Noon.Add(after)
		return f.age(p)
	}
	require.Zero(t, look(0))
	require.Equal(t, time.Minute, look(time.Minute))
	require.Zero(t, look(-time.Hour), "a clock that went back")
	require.Equal(t, time.Minute, look(time.Minute-time.Hour))
	p.Seen.Pod.UID = "second"
	require.Zero(t, look(0), "another pod")
}

// asking is a pass of a session whose desktop is up.
func asking(pod types.UID) *plan.Pass {
	s := &vdi.VDISession{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "desk"}}
	p := plan.NewPass(s, time.Now(), &platform.Config{})
	p.Seen.Pod = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: pod}}
	return p
}

func TestRouteRetry(t *testing.T) {
	require.Equal(t, firstRouteRetry, routeRetry(0))
	require.Equal(t, 5*time.Second, routeRetry(10*time.Second))
	require.Equal(t, lastRouteRetry, routeRetry(time.Hour))
	require.Equal(t, firstRouteRetry, routeRetry(-time.Hour), "a clock that jumped")
}
