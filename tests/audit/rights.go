package audit

import (
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// Right is one thing that a role allows: a verb on a resource.
type Right struct {
	Namespace string // where a Role holds; empty: everywhere
	Verb      string
	Group     string
	Resource  string // with its subresource
	Name      string // of the one object; empty: any
}

func (r Right) String() string {
	text := r.Verb + " " + r.Resource
	if r.Group != "" {
		text += "." + r.Group
	}
	if r.Name != "" {
		text += " " + r.Name
	}
	if r.Namespace != "" {
		text += " in " + r.Namespace
	}
	return text
}

// Granted are the rights of a ServiceAccount by rendered roles and bindings, in
// their order.
func Granted(objects []*unstructured.Unstructured, namespace, account string) ([]Right, error) {
	var rights []Right
	for _, o := range objects {
		if o.GetKind() != "RoleBinding" && o.GetKind() != "ClusterRoleBinding" {
			continue
		}
		var binding rbacv1.RoleBinding // of the same fields as a ClusterRoleBinding
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &binding); err != nil {
			return nil, fmt.Errorf("read %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		if !slices.ContainsFunc(binding.Subjects, func(s rbacv1.Subject) bool {
			return s.Kind == rbacv1.ServiceAccountKind && s.Name == account && s.Namespace == namespace
		}) {
			continue
		}
		rules, err := rulesOf(objects, binding)
		if err != nil {
			return nil, err
		}
		for _, rule := range rules {
			rights = append(rights, expand(rule, binding.Namespace)...)
		}
	}
	return rights, nil
}

func rulesOf(objects []*unstructured.Unstructured, binding rbacv1.RoleBinding) ([]rbacv1.PolicyRule, error) {
	for _, o := range objects {
		if o.GetKind() != binding.RoleRef.Kind || o.GetName() != binding.RoleRef.Name ||
			(o.GetKind() == "Role" && o.GetNamespace() != binding.Namespace) {
			continue
		}
		var role rbacv1.ClusterRole // of the same rules as a Role
		err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role)
		return role.Rules, err
	}
	return nil, fmt.Errorf("binding %s names %s %s, which is not rendered", binding.Name, binding.RoleRef.Kind, binding.RoleRef.Name)
}

func expand(rule rbacv1.PolicyRule, namespace string) []Right {
	var rights []Right
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			for _, name := range names {
				for _, verb := range rule.Verbs {
					rights = append(rights, Right{namespace, verb, group, resource, name})
				}
			}
		}
	}
	return rights
}

// Unused are the rights that none of the requests needed.
func Unused(rights []Right, requests []Request) []Right {
	return slices.DeleteFunc(slices.Clone(rights), func(right Right) bool {
		return slices.ContainsFunc(requests, right.usedBy)
	})
}

// usedBy reports whether a request was allowed by this right.
func (r Right) usedBy(q Request) bool {
	return r.Verb == verbOf(q, r.Verb) && q.Group == r.Group && q.Resource == r.Resource && !q.IsForbidden() &&
		(r.Namespace == "" || r.Namespace == q.Namespace) && (r.Name == "" || r.Name == q.Name)
}

// verbOf is the verb of a request, or the wanted one where it stands for both: a
// server-side apply that makes its object is one patch in the log, and needs the
// right to create too (kubernetes.io/docs/reference/using-api/server-side-apply);
// and an informer's first list comes as a stream where the API server can, and
// else as a list (kubernetes.io/docs/reference/using-api/api-concepts#streaming-lists).
func verbOf(q Request, wanted string) string {
	switch {
	case wanted == "create" && q.Verb == "patch" && q.Code == 201,
		wanted == "list" && q.Verb == "watch" && strings.Contains(q.URI, "sendInitialEvents=true"):
		return wanted
	default:
		return q.Verb
	}
}
