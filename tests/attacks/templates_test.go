package attacks

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
	"github.com/vdi-platform/vdi-platform/tests/scale"
)

// TestA43TemplatesForSome: from a template that is not for everybody, nobody else starts
// a desktop, however they ask. What they may use, they still may.
func TestA43TemplatesForSome(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]func(t *testing.T, w *world, c client.Client, s *vdi.VDISession) ledger.Outcome{
		"name it": func(t *testing.T, w *world, c client.Client, s *vdi.VDISession) ledger.Outcome {
			return w.asks(t, c, s)
		},
		"leave the session's name to the API server": func(t *testing.T, w *world, c client.Client, s *vdi.VDISession) ledger.Outcome {
			s.Name, s.GenerateName = "", "desk-"
			return w.asks(t, c, s)
		},
		"apply it": func(t *testing.T, w *world, c client.Client, s *vdi.VDISession) ledger.Outcome {
			o := &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": vdi.GroupVersion.String(), "kind": "VDISession",
				"metadata": map[string]any{"namespace": s.Namespace, "name": s.Name},
				"spec":     map[string]any{"user": s.Spec.User, "template": s.Spec.Template},
			}}
			if err := c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("mallory")); err != nil {
				return writes(t, err)
			}
			return ledger.Judge(w.settles(t, s) == "", ledger.Operator, "it does not start")
		},
		"name it in a session that has another": func(t *testing.T, w *world, c client.Client, s *vdi.VDISession) ledger.Outcome {
			wanted := s.Spec.Template
			s.Spec.Template = scale.TemplateName
			require.NoError(t, c.Create(t.Context(), s), "what is for everybody may be used")
			return writes(t, c.Patch(t.Context(), s, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"template":"`+wanted+`"}}`))))
		},
		"be granted it in another namespace": func(t *testing.T, w *world, c client.Client, s *vdi.VDISession) ledger.Outcome {
			w.person(t, w.namespace(t), s.Spec.User, "artist", slices.Concat(personRules, mayUse(s.Spec.Template)))
			return w.asks(t, c, s)
		},
	} {
		attack(t, name, func(t *testing.T, w *world) ledger.Outcome {
			ns := w.namespace(t)
			wanted := w.templated(t, "artists-"+ns, func(*vdi.VDITemplate) {})
			c := w.person(t, ns, malloryIn(ns), "person", slices.Concat(personRules, mayUse(scale.TemplateName)))
			return ask(t, w, c, desk(ns, "desk", malloryIn(ns), func(s *vdi.VDISession) { s.Spec.Template = wanted }))
		})
	}
}

// TestA45ForeignGroups: from a template that names people and groups, nobody else starts a
// desktop, and nobody gets into a group by saying so: not at once, not later, and not by a
// group that they have left.
func TestA45ForeignGroups(t *testing.T) {
	t.Parallel()
	joins := func(t *testing.T, w *world, c client.Client, s *vdi.VDISession, patch string) ledger.Outcome {
		if err := c.Patch(t.Context(), s, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
			return writes(t, err)
		}
		return ledger.Judge(w.settles(t, s) == "", ledger.Operator, "it does not start")
	}
	for name, ask := range map[string]func(t *testing.T, w *world, c client.Client, s *vdi.VDISession) ledger.Outcome{
		"ask all the same": func(t *testing.T, w *world, c client.Client, s *vdi.VDISession) ledger.Outcome {
			return w.asks(t, c, s)
		},
		"name the group": func(t *testing.T, w *world, c client.Client, s *vdi.VDISession) ledger.Outcome {
			s.Spec.Groups = []string{"artists"}
			return w.asks(t, c, s)
		},
		"name it in an object that is applied": func(t *testing.T, w *world, c client.Client, s *vdi.VDISession) ledger.Outcome {
			o := &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": vdi.GroupVersion.String(), "kind": "VDISession",
				"metadata": map[string]any{"namespace": s.Namespace, "name": s.Name},
				"spec":     map[string]any{"user": s.Spec.User, "template": s.Spec.Template, "groups": []any{"artists"}},
			}}
			if err := c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("mallory")); err != nil {
				return writes(t, err)
			}
			return ledger.Judge(w.settles(t, s) == "", ledger.Operator, "it does not start")
		},
		"join it later": func(t *testing.T, w *world, c client.Client, s *vdi.VDISession) ledger.Outcome {
			require.NoError(t, c.Create(t.Context(), s))
			return joins(t, w, c, s, `{"spec":{"groups":["artists"]}}`)
		},
		"join it with the resume": func(t *testing.T, w *world, c client.Client, s *vdi.VDISession) ledger.Outcome {
			s.Spec.RunPolicy = vdi.RunPolicySuspended
			require.NoError(t, c.Create(t.Context(), s))
			return joins(t, w, c, s, `{"spec":{"groups":["artists"],"runPolicy":"Running"}}`)
		},
		"resume by a group that one has left": func(t *testing.T, w *world, c client.Client, s *vdi.VDISession) ledger.Outcome {
			s.Spec.RunPolicy, s.Spec.Groups = vdi.RunPolicySuspended, []string{"artists"}
			require.NoError(t, w.Driver.Create(t.Context(), s), "an artist then")
			return joins(t, w, c, s, `{"spec":{"runPolicy":"Running"}}`)
		},
		"keep a group in reserve, in a session that cannot start": func(t *testing.T, w *world, c client.Client, s *vdi.VDISession) ledger.Outcome {
			s.Spec.Groups, s.Spec.Resources.Memory = []string{"artists"}, "16Gi"
			require.NoError(t, w.Driver.Create(t.Context(), s), "an artist then")
			require.NotEmpty(t, w.settles(t, s))
			return joins(t, w, c, s, `{"spec":{"resources":null}}`)
		},
	} {
		attack(t, name, func(t *testing.T, w *world) ledger.Outcome {
			ns := w.namespace(t)
			wanted := w.templated(t, "members-"+ns, func(t *vdi.VDITemplate) {
				t.Spec.Access = vdi.TemplateAccess{Users: []string{userIn(ns)}, Groups: []string{"artists"}}
				t.Spec.Resources.Max.Memory = "8Gi"
			})
			c := w.person(t, ns, malloryIn(ns), "person", slices.Concat(personRules, mayUse(wanted)))
			return ask(t, w, c, desk(ns, "desk", malloryIn(ns), func(s *vdi.VDISession) { s.Spec.Template = wanted }))
		})
	}
}

// mayUse grants one template.
func mayUse(template string) []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{{APIGroups: []string{"vdi.kasm.io"}, Resources: []string{"vditemplates"}, ResourceNames: []string{template}, Verbs: []string{"use"}}}
}
