package homes

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

func TestHolder(t *testing.T) {
	for name, c := range map[string]struct {
		before string
		holder types.UID
		after  string // Hold by session "s"
	}{
		"free":                  {"", "", "s/1"},
		"its own former run":    {"s/1", "s", "s/2"},
		"a later one":           {"s/41", "s", "s/42"},
		"another session's":     {"other/7", "other", "s/1"},
		"without a number":      {"s", "s", "s/1"},
		"nothing one can read":  {"s/x", "s", "s/1"},
		"a number that is full": {"s/18446744073709551616", "s", "s/1"},
	} {
		t.Run(name, func(t *testing.T) {
			claim := &corev1.PersistentVolumeClaim{}
			if c.before != "" {
				claim.Annotations = map[string]string{wire.AnnotationHolder: c.before}
			}
			require.Equal(t, c.holder, HolderOf(claim))
			Hold(claim, "s")
			require.Equal(t, c.after, claim.Annotations[wire.AnnotationHolder])
			require.NotEqual(t, c.before, c.after, "each hold is a write")
			Release(claim)
			require.Empty(t, HolderOf(claim))
			require.NotContains(t, claim.Annotations, wire.AnnotationHolder)
		})
	}
}
