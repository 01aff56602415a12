package drain

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

var noon = metav1.NewTime(time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC))

func annotated(words string) *vdi.VDISession {
	return &vdi.VDISession{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{wire.AnnotationDrain: words}}}
}

func TestOrderIsReadAsWritten(t *testing.T) {
	for _, o := range []Order{
		{Node: "gpu-1", At: noon},
		{Node: "gpu-1.example.com", At: noon, Restart: true, Message: `New driver, "580" & <b>`},
	} {
		got, err := Of(annotated(o.String()))
		require.NoError(t, err)
		got.At = metav1.NewTime(got.At.UTC())
		require.Equal(t, o, *got)
	}
	none, err := Of(&vdi.VDISession{})
	require.NoError(t, err)
	require.Nil(t, none)
	assert.Equal(t, `{"node":"gpu-1","at":"2026-01-02T12:00:00Z","restart":true,"message":"a & b"}`,
		Order{Node: "gpu-1", At: noon, Restart: true, Message: "a & b"}.String())
}

func TestBadOrders(t *testing.T) {
	at := `"at":"2026-01-02T12:00:00Z"`
	for words, want := range map[string]string{
		"true":                                  "annotation vdi.kasm.io/drain: ",
		`{"node":"gpu-1"}`:                      "at: name the time",
		`{` + at + `}`:                          `node: "" is no name`,
		`{"node":"GPU 1",` + at + `}`:           `node: "GPU 1" is no name`,
		`{"node":"gpu-1","at":"tomorrow"}`:      "tomorrow",
		`{"node":"gpu-1",` + at + `,"force":1}`: "force",
		Order{Node: "a", At: noon, Message: "a\nb"}.String():                   "one line",
		Order{Node: "a", At: noon, Message: strings.Repeat("a", 257)}.String(): "at most 256 bytes",
	} {
		o, err := Of(annotated(words))
		require.ErrorContains(t, err, want, words)
		require.Nil(t, o)
		require.False(t, o.Concerns(&corev1.Pod{}), "a bad order concerns nobody")
	}
}

func TestConcerns(t *testing.T) {
	o := &Order{Node: "gpu-1", At: noon}
	pod := func(node string, after time.Duration) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(noon.Add(after))}, Spec: corev1.PodSpec{NodeName: node}}
	}
	assert.True(t, o.Concerns(pod("gpu-1", -time.Second)))
	assert.False(t, o.Concerns(pod("gpu-1", 0)), "one that started there since, on a node that was given free again")
	assert.False(t, o.Concerns(pod("gpu-2", -time.Second)))
	assert.False(t, o.Concerns(pod("", -time.Second)), "one that has no node yet")
	assert.False(t, o.Concerns(nil))
	assert.False(t, (*Order)(nil).Concerns(pod("gpu-1", -time.Second)))
}
