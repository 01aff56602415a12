package command

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
)

// completionPatience is how long a shell waits for names.
const completionPatience = 2 * time.Second

// completeSessions offers names of sessions, with their phases.
func (t *tool) completeSessions(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return t.names(cmd, func(c *cluster) dynamic.ResourceInterface { return c.sessions() }, "status", "phase")
}

// completeSession offers names while none is given.
func (t *tool) completeSession(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return t.completeSessions(cmd, args, begun)
}

// completeTemplates offers names of templates, with what people call them.
func (t *tool) completeTemplates(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return t.names(cmd, func(c *cluster) dynamic.ResourceInterface { return c.dynamic.Resource(templateResource) }, "spec", "displayName")
}

func (t *tool) completeNamespaces(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return t.names(cmd, func(c *cluster) dynamic.ResourceInterface {
		return c.dynamic.Resource(corev1.SchemeGroupVersion.WithResource("namespaces"))
	}, "status", "phase")
}

// names are those of a list, each with one of its fields. Whatever goes wrong, there is
// nothing to offer.
func (t *tool) names(cmd *cobra.Command, of func(*cluster) dynamic.ResourceInterface, field ...string) ([]cobra.Completion, cobra.ShellCompDirective) {
	c, err := t.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
	defer cancel()
	list, err := of(c).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []cobra.Completion
	for _, o := range list.Items {
		about, _, _ := unstructured.NestedString(o.Object, field...)
		names = append(names, cobra.CompletionWithDesc(o.GetName(), about))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
