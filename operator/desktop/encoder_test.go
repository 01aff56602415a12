package desktop

import (
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Selkies has one name for both encoders; what a living desktop was started with
// is told by its other settings, or every desktop would seem to be outdated.
func TestStartedChoice(t *testing.T) {
	t.Parallel()
	for _, streamer := range []vdi.Streamer{vdi.StreamerSelkies, vdi.StreamerSelkiesGStreamer} {
		facts := platform.FactsOf(streamer)
		software := []corev1.EnvVar{{Name: facts.EncoderVariable, Value: facts.SoftwareEncoder}}
		for _, s := range facts.SoftwareSettings {
			software = append(software, corev1.EnvVar{Name: s.Name, Value: s.Value})
		}
		hardware := []corev1.EnvVar{{Name: facts.EncoderVariable, Value: facts.HardwareEncoder}}
		assert.Equal(t, vdi.EncoderSoftware, EncoderChoice(streamer, podWithEnv(software)), streamer)
		assert.Equal(t, vdi.EncoderNVENC, EncoderChoice(streamer, podWithEnv(hardware)), streamer)
	}
	assert.Equal(t, vdi.EncoderSoftware, EncoderChoice(vdi.StreamerCustom, podWithEnv(nil)))
}

func podWithEnv(env []corev1.EnvVar) *corev1.Pod {
	return &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: wire.ContainerDesktop, Env: env}}}}
}
