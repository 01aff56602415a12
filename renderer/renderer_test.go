package renderer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer/manifest"
)

func TestSameInputGivesSameBytes(t *testing.T) {
	one, other := newRenderer(t), newRenderer(t)
	for name, in := range goldenInputs(t) {
		want := rendering(t, one, in)
		assert.Equal(t, want, rendering(t, one, in), name)
		assert.Equal(t, want, rendering(t, other, in), name)
	}
}

func TestRenderLeavesItsInputAlone(t *testing.T) {
	r := newRenderer(t)
	for name, in := range goldenInputs(t) {
		before, err := json.Marshal(in)
		require.NoError(t, err)
		_, _ = r.Render(in)
		after, err := json.Marshal(in)
		require.NoError(t, err)
		assert.JSONEq(t, string(before), string(after), name)
	}
}

// TestRenderIsSafeForConcurrentUse is for the race detector, and compares too.
func TestRenderIsSafeForConcurrentUse(t *testing.T) {
	r, alone, inputs := newRenderer(t), newRenderer(t), goldenInputs(t)
	said := func(r *Renderer, in Input) string {
		got, err := r.Render(in)
		return fmt.Sprint(got.Revision, err)
	}
	want := map[string]string{}
	for name, in := range inputs {
		want[name] = said(alone, in) // so that the other renderer's first are at once
	}
	var all sync.WaitGroup
	for range 8 { // each in another order: what two do at once the detector sees
		all.Go(func() {
			for name, in := range inputs {
				assert.Equal(t, want[name], said(r, in), name)
			}
		})
	}
	all.Wait()
}

func TestRenderedObjects(t *testing.T) {
	in := goldenInputs(t)["defaults"]
	got, err := newRenderer(t).Render(in)
	require.NoError(t, err)
	var kinds []string
	for _, obj := range got.Objects {
		kinds = append(kinds, obj.GetKind())
		assert.NotEmpty(t, obj.GetAnnotations()[wire.AnnotationRevision], obj.GetKind())
		assert.Len(t, obj.GetOwnerReferences(), map[bool]int{true: 0, false: 1}[obj.GetKind() == wire.KindPersistentVolumeClaim])
	}
	assert.Equal(t, []string{"NetworkPolicy", "PersistentVolumeClaim", "Service", "Pod", "IngressRoute"}, kinds)
	pod := got.ofKind(wire.KindPod)[0].GetAnnotations()
	assert.Equal(t, got.Revision, pod[wire.AnnotationSessionRevision])
	assert.NotEqual(t, got.Revision, pod[wire.AnnotationRevision])
}

// TestRevisions: an object's revision is the hash of its JSON without the revisions
// and the proxy's label, the session's that of all of them but the statement keys. Another way to
// count would call every living desktop outdated.
func TestRevisions(t *testing.T) {
	r := newRenderer(t)
	for name, in := range goldenInputs(t) {
		got, err := r.Render(in)
		if err != nil {
			continue
		}
		all := sha256.New()
		for _, obj := range got.Objects {
			revision := obj.GetAnnotations()[wire.AnnotationRevision]
			obj = withoutRevisions(obj)
			labels := obj.GetLabels()
			delete(labels, wire.LabelProxy)
			obj.SetLabels(labels)
			sum := sha256.Sum256([]byte(jsonOf(t, obj.Object)))
			assert.Equal(t, hex.EncodeToString(sum[:16]), revision, "%s: %s", name, obj.GetKind())
			if obj.GetKind() != wire.KindConfigMap {
				all.Write(sum[:])
			}
		}
		assert.Equal(t, hex.EncodeToString(all.Sum(nil)[:16]), got.Revision, name)
	}
}

func TestRevisionsShowWhatChanged(t *testing.T) {
	r, in := newRenderer(t), goldenInputs(t)["defaults"]
	before, err := r.Render(in)
	require.NoError(t, err)
	in.Template.Spec.Image += "-2"
	after, err := r.Render(in)
	require.NoError(t, err)
	assert.NotEqual(t, before.Revision, after.Revision)
	for i, obj := range before.Objects {
		same := obj.GetAnnotations()[wire.AnnotationRevision] == after.Objects[i].GetAnnotations()[wire.AnnotationRevision]
		assert.Equal(t, obj.GetKind() != wire.KindPod, same, obj.GetKind())
	}
}

func TestUserIsInNoLabelNameOrRule(t *testing.T) {
	in := goldenInputs(t)["user-email"]
	got, err := newRenderer(t).Render(in)
	require.NoError(t, err)
	for _, obj := range got.Objects {
		obj = obj.DeepCopy()
		annotations := obj.GetAnnotations()
		delete(annotations, wire.AnnotationUser)
		obj.SetAnnotations(annotations)
		assert.NotContains(t, jsonOf(t, obj.Object), in.Session.Spec.User)
	}
}

func TestKindsOfErrors(t *testing.T) {
	r, inputs := newRenderer(t), goldenInputs(t)
	for name, in := range inputs {
		_, err := r.Render(in)
		switch {
		case strings.HasPrefix(name, "guard-"):
			require.ErrorIs(t, err, ErrGuard, name)
		case strings.HasPrefix(name, "values-error"), strings.HasPrefix(name, "host-"):
			require.ErrorIs(t, err, ErrValues, name)
		case name == "resources-not-a-quantity", name == "resources-above-maximum":
			require.ErrorIs(t, err, ErrResources, name)
		}
	}
}

func TestValidateTemplate(t *testing.T) {
	r := newRenderer(t)
	good := &vdi.VDITemplate{Spec: vdi.VDITemplateSpec{Image: "ghcr.io/example/desktop:1"}}
	good.Name = "good"
	require.NoError(t, r.ValidateTemplate(good, platform.Config{}))

	bad := good.DeepCopy()
	bad.Spec.Values = &apiextensionsv1.JSON{Raw: []byte(`{"pod": {"shmSize": 3}}`)}
	err := r.ValidateTemplate(bad, platform.Config{})
	require.ErrorIs(t, err, ErrValues)
	require.ErrorContains(t, err, "spec.values.pod.shmSize")

	bad.Spec.Values = &apiextensionsv1.JSON{Raw: []byte(`[]`)}
	require.ErrorContains(t, r.ValidateTemplate(bad, platform.Config{}), "spec.values: not an object")
}

func TestValidateTemplateKnowsItsBounds(t *testing.T) {
	two, one := int32(2), int32(1)
	tpl := &vdi.VDITemplate{Spec: vdi.VDITemplateSpec{Image: "ghcr.io/example/desktop:1"}}
	tpl.Spec.Resources.Min.GPU = &two
	require.NoError(t, newRenderer(t).ValidateTemplate(tpl, platform.Config{}))
	tpl.Spec.Resources.DefaultGPU = &one
	require.NoError(t, newRenderer(t).ValidateTemplate(tpl, platform.Config{}), "it is moved")
	tpl.Spec.Resources.Max.GPU = &one
	require.ErrorIs(t, newRenderer(t).ValidateTemplate(tpl, platform.Config{}), ErrResources)
}

func TestNoValueCarriesASecret(t *testing.T) {
	r := newRenderer(t)
	for name, in := range goldenInputs(t) {
		values, err := r.Values(in)
		if err != nil {
			continue
		}
		for _, list := range []string{"userVariables", "passwordVariables"} {
			for _, variable := range textsAt(values, "credentials", list) {
				assert.NotContains(t, jsonOf(t, manifest.Nested(values, "streamer", "env")), `"`+variable+`"`, name)
			}
		}
	}
}
