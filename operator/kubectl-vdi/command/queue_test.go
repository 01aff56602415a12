package command

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// waiting is a session that began to wait some minutes before noon.
func waiting(name string, minutes int, change ...func(*vdi.VDISession)) vdi.VDISession {
	s := session(append([]func(*vdi.VDISession){in(vdi.PhasePending), func(s *vdi.VDISession) {
		s.Name, s.UID, s.Spec.User, s.Spec.Template = name, "uid-"+s.UID, name+"@example.com", "plain"
		began := metav1.NewTime(noon.Add(-time.Duration(minutes) * time.Minute))
		s.Status.WaitingFor, s.Status.Timings = vdi.WaitingForGPU, &vdi.TimingsStatus{Queued: &began}
		s.Status.GPU, s.Status.Message = &vdi.GPUStatus{ResourceName: "nvidia.com/gpu", Count: 1}, "waits"
	}}, change...)...)
	return *s
}

// at gives it a place for which it asked when it began to wait.
func at(place int32, quota, pool string) func(*vdi.VDISession) {
	return func(s *vdi.VDISession) {
		since := *s.Status.Timings.Queued
		s.Status.Queue = &vdi.QueueStatus{Since: since, Key: new(metav1.NewMicroTime(since.Time)), Place: place, Quota: quota, Pool: pool}
		s.Status.Timings = nil
		if quota != "" {
			s.Status.WaitingFor = vdi.WaitingForQuota
		}
	}
}

// queued are sessions that wait for all that others may have, and some that do not.
func queued() []vdi.VDISession {
	return []vdi.VDISession{
		waiting("late", 5, at(2, "all", "p1")),
		waiting("first", 20, at(1, "all", "p1")),
		waiting("far", 30, at(40, "all", "p1")),
		waiting("dear", 1, at(12, "all", "p1"), func(s *vdi.VDISession) { s.Spec.Groups = []string{"artists"} }),
		waiting("crowd", 7, at(3, "", "p2")),
		waiting("offered", 90),
		waiting("node", 8, func(s *vdi.VDISession) { s.Status.WaitingFor, s.Status.GPU = vdi.WaitingForNode, nil }),
		waiting("limited", 9, func(s *vdi.VDISession) { s.Status.WaitingFor = vdi.WaitingForQuota }),
		waiting("refused", 9, at(0, "all", ""), func(s *vdi.VDISession) { s.Status.Queue.Key = nil }),
		waiting("given-up", 9, at(4, "all", "p1"), suspended),
		waiting("goes", 9, at(5, "all", "p1"), leaving),
		waiting("image", 9, func(s *vdi.VDISession) { s.Status.WaitingFor = vdi.WaitingForImage }),
		*session(),
	}
}

func artists() []vdi.VDIQuota {
	q := vdi.VDIQuota{Spec: vdi.VDIQuotaSpec{Priority: new(int32(10)), Weight: new(int32(2)), Selector: vdi.QuotaSelector{Groups: []string{"artists"}}}}
	q.Name = "artists"
	return []vdi.VDIQuota{q}
}

// Who waits for the same stands together, in the operator's order: by places, and behind those
// that are kept up to date by priority and key.
func TestQueue(t *testing.T) {
	server := lists{allSessions: queued(), allQuotas: artists()}
	printed, complaint, err := server.say(t, "queue")
	require.NoError(t, err)
	assert.Empty(t, complaint)
	assert.Equal(t, `NAMESPACE   NAME      USER                  WAITS FOR             PLACE   WAITING   GPUS   PRIORITY   WEIGHT
desktops    limited   limited@example.com   ResourceQuota         -       9m        1      0          1
desktops    node      node@example.com      node                  -       8m        0      0          1
desktops    offered   offered@example.com   nvidia.com/gpu        -       90m       1      0          1
desktops    first     first@example.com     quota all             1       20m       1      0          1
desktops    late      late@example.com      quota all             2       5m        1      0          1
desktops    dear      dear@example.com      quota all             12      60s       1      10         2
desktops    far       far@example.com       quota all             40      30m       1      0          1
desktops    crowd     crowd@example.com     room in the cluster   3       7m        1      0          1
`, printed)
	printed, _, err = server.say(t, "queue", "-o", "name")
	require.NoError(t, err)
	assert.Contains(t, printed, "vdisession.vdi.kasm.io/limited\nvdisession.vdi.kasm.io/node\n")
	printed, _, err = server.say(t, "queue", "-o", "wide", "--no-headers")
	require.NoError(t, err)
	assert.Contains(t, printed, "plain   p2    waits\n")
}

// For a script, each is what the operator wrote.
func TestQueueForMachines(t *testing.T) {
	printed, complaint, err := lists{allSessions: queued()[4:5], allQuotas: forbidden("vdi.kasm.io", "vdiquotas")}.say(t, "queue", "-o", "yaml")
	require.NoError(t, err)
	assert.Empty(t, complaint)
	assert.Equal(t, `items:
- gpus: 1
  message: waits
  name: crowd
  namespace: desktops
  place: 3
  pool: p2
  resource: nvidia.com/gpu
  since: "2026-01-02T11:53:00Z"
  template: plain
  user: crowd@example.com
  waitingFor: GPU
notRead:
- 'priorities and weights: you lack the role vdi-admin in the whole cluster'
`, printed)
}

// Without quotas nothing is said of them; without sessions there is no report.
func TestQueueWithFewRights(t *testing.T) {
	printed, complaint, err := lists{allSessions: queued()[:1], allQuotas: forbidden("vdi.kasm.io", "vdiquotas")}.say(t, "queue")
	require.NoError(t, err)
	assert.Contains(t, printed, "quota all   2       5m        1      -          -\n")
	assert.Equal(t, "Not read: priorities and weights: you lack the role vdi-admin in the whole cluster\n", complaint)

	_, _, err = lists{allSessions: forbidden("vdi.kasm.io", "vdisessions")}.say(t, "queue")
	assert.Contains(t, explain(err), "What is missing is the role vdi-viewer in the whole cluster")

	_, _, err = lists{}.say(t, "queue")
	assert.Equal(t, notInstalled, explain(err))

	_, complaint, err = lists{allSessions: []vdi.VDISession{}, allQuotas: artists()}.say(t, "queue")
	require.NoError(t, err)
	assert.Equal(t, "Nobody waits for room.\n", complaint)

	printed, _, err = lists{"/apis/vdi.kasm.io/v1alpha1/namespaces/art/vdisessions": queued()[:1], allQuotas: artists()}.say(t, "queue", "-n", "art")
	require.NoError(t, err)
	assert.Contains(t, printed, "late@example.com")
}
