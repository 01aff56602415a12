package desktop

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

const nvidia = "nvidia.com/gpu"

// asking is a desktop that asks for that many GPUs.
func asking(gpus string, changes ...func(*corev1.PodSpec)) corev1.PodSpec {
	limits := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}
	if gpus != "" {
		limits[nvidia] = resource.MustParse(gpus)
	}
	spec := corev1.PodSpec{Containers: []corev1.Container{{Name: "desktop", Resources: corev1.ResourceRequirements{Limits: limits}}}}
	for _, change := range changes {
		change(&spec)
	}
	return spec
}

// TestPool: who can take each other's room is in one pool, and nobody else.
func TestPool(t *testing.T) {
	t.Parallel()
	one := Pool(asking("1"), nvidia)
	require.NotEmpty(t, one)
	for name, same := range map[string]corev1.PodSpec{
		"more of the same": asking("4"),
		"what the API server gives to all": asking("1", func(s *corev1.PodSpec) {
			for _, key := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
				s.Tolerations = append(s.Tolerations, corev1.Toleration{
					Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: ptr.To[int64](300),
				})
			}
		}),
		"a node that it was given":     asking("1", func(s *corev1.PodSpec) { s.NodeName = "node-1" }),
		"what it would rather have":    asking("1", func(s *corev1.PodSpec) { s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}} }),
		"a priority by class's number": asking("1", func(s *corev1.PodSpec) { s.Priority = ptr.To[int32](0) }),
	} {
		require.Equal(t, one, Pool(same, nvidia), name)
	}
	require.Empty(t, Pool(asking(""), nvidia), "who asks for no GPU takes nobody's")
	require.NotEqual(t, one, Pool(asking("1"), ""), "the resource is part of it")
	for name, other := range map[string]func(*corev1.PodSpec){
		"other nodes":  func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{"pool": "b"} },
		"tainted ones": func(s *corev1.PodSpec) { s.Tolerations = []corev1.Toleration{{Key: "gpu"}} },
		"a class":      func(s *corev1.PodSpec) { s.PriorityClassName = "low" },
		"a scheduler":  func(s *corev1.PodSpec) { s.SchedulerName = "other" },
		"a runtime":    func(s *corev1.PodSpec) { s.RuntimeClassName = ptr.To("nvidia") },
		"an affinity": func(s *corev1.PodSpec) {
			s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "zone", Operator: corev1.NodeSelectorOpExists}}}},
			}}}
		},
	} {
		require.NotEqual(t, one, Pool(asking("1", other), nvidia), name)
	}
}

// TestVerdict: only a lack of room keeps others waiting.
func TestVerdict(t *testing.T) {
	t.Parallel()
	made, said := metav1.Unix(1000, 0), metav1.Unix(2000, 0)
	for name, c := range map[string]struct {
		status      corev1.ConditionStatus
		words, node string
		full, asked bool
		since       time.Time
	}{
		"nothing yet":          {asked: true, since: made.Time},
		"no GPU":               {status: corev1.ConditionFalse, words: "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", full: true, since: said.Time},
		"no CPU on GPU nodes":  {status: corev1.ConditionFalse, words: "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s).", full: true, since: said.Time},
		"too many pods":        {status: corev1.ConditionFalse, words: "0/1 nodes are available: 1 Too many pods.", full: true, since: said.Time},
		"a taint":              {status: corev1.ConditionFalse, words: "0/1 nodes are available: 1 node(s) had untolerated taint {gone: }.", since: said.Time},
		"a selector":           {status: corev1.ConditionFalse, words: "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.", since: said.Time},
		"no GPU in its zone":   {status: corev1.ConditionFalse, words: "0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 2 node(s) had volume node affinity conflict.", full: true, since: said.Time},
		"a volume elsewhere":   {status: corev1.ConditionFalse, words: "0/3 nodes are available: 3 node(s) didn't match PersistentVolume's node affinity.", since: said.Time},
		"a volume":             {status: corev1.ConditionFalse, words: "pod has unbound immediate PersistentVolumeClaims", since: said.Time},
		"it has one":           {status: corev1.ConditionTrue, node: "node-1"},
		"it has one, unheard":  {node: "node-1"},
		"one that has no more": {status: corev1.ConditionFalse, words: "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", node: "node-1"},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: made}, Spec: corev1.PodSpec{NodeName: c.node}}
		if c.status != "" {
			pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: c.status, Message: c.words, LastTransitionTime: said}}
		}
		full, asked, since := Verdict(pod)
		require.Equal(t, c.full, full, name)
		require.Equal(t, c.asked, asked, name)
		require.True(t, c.since.Equal(since), "%s: %s", name, since)
	}
}
