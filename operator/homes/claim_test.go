package homes

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

func TestUsableHome(t *testing.T) {
	made := map[string]string{wire.LabelManagedBy: wire.Operator}
	for name, c := range map[string]struct {
		labels      map[string]string
		annotations map[string]string
		reason      string
	}{
		"planted":                      {nil, nil, vdi.ReasonHomeNotOurs},
		"given by an administrator":    {map[string]string{wire.LabelHomeFor: "ID"}, nil, ""},
		"given to somebody else":       {map[string]string{wire.LabelHomeFor: "other"}, nil, vdi.ReasonHomeNotOurs},
		"made for this user":           {map[string]string{wire.LabelManagedBy: wire.Operator, wire.LabelUser: "ID"}, map[string]string{wire.AnnotationSessionUID: "u"}, ""},
		"made for another user":        {map[string]string{wire.LabelManagedBy: wire.Operator, wire.LabelUser: "other"}, map[string]string{wire.AnnotationSessionUID: "u"}, vdi.ReasonHomeOfAnotherUser},
		"labelled, but not made by us": {made, nil, vdi.ReasonHomeNotOurs},
	} {
		t.Run(name, func(t *testing.T) {
			s := fixture.Session()
			claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "c", Annotations: c.annotations, Labels: map[string]string{}}}
			for k, v := range c.labels {
				claim.Labels[k] = strings.ReplaceAll(v, "ID", identityOf(s))
			}
			err := Usable(s, claim)
			if c.reason == "" {
				require.NoError(t, err)
				return
			}
			var h *verdict.Verdict
			require.ErrorAs(t, err, &h)
			require.Equal(t, c.reason, h.Reason)
		})
	}
}

func identityOf(s *vdi.VDISession) string { return platform.Identity(s.Spec.User) }
