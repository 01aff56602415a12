package command

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vdi-platform/vdi-platform/operator/story"
)

// notInstalled is said where the API server does not know our kinds.
const notInstalled = "error: this cluster has no VDI platform: it does not know the kinds of vdi.kasm.io/v1alpha1. Is the context the right one (kubectl config current-context)?"

// explain is an error in kubectl's words; where rights lack, with the role that has them. What
// it says of the cluster's may not control a terminal.
func explain(err error) string {
	lines := strings.Split(explained(err), "\n")
	for i := range lines {
		lines[i] = harmless(lines[i])
	}
	return strings.Join(lines, "\n")
}

func explained(err error) string {
	var status apierrors.APIStatus
	switch {
	case meta.IsNoMatchError(err), isKindMissing(err):
		return notInstalled
	case !errors.As(err, &status):
		return "error: " + err.Error()
	}
	text := "Error from server: " + err.Error()
	if reason := status.Status().Reason; reason != metav1.StatusReasonUnknown {
		text = fmt.Sprintf("Error from server (%s): %s", reason, err.Error())
	}
	if apierrors.IsForbidden(err) {
		text += lacks(err.Error())
	}
	return text
}

// isKindMissing reports whether a path is unknown, which is another thing than an object that
// is not there.
func isKindMissing(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || !apierrors.IsNotFound(err) {
		return false
	}
	details := status.Status().Details
	return details == nil || details.Name == ""
}

// refusal is how the authorizer puts it (k8s.io/apiserver, responsewriters.forbiddenMessage).
var refusal = regexp.MustCompile(`User "(.+?)" cannot (\S+) resource "(\S+?)" in API group "(\S*?)"(?: in the namespace "(\S+?)"| at the cluster scope)`)

// lacks names the role that grants what was refused, and how it is given. A policy's refusal
// says itself what to do.
func lacks(message string) string {
	m := refusal.FindStringSubmatch(message)
	if m == nil {
		return ""
	}
	person, verb, resource, namespace := m[1], m[2], m[3], m[5]
	role, isOurs := roleFor(verb, resource)
	if !isOurs {
		return fmt.Sprintf("\nNone of the platform's roles grants %s on %s; your administrator may have one that does.", verb, resource)
	}
	where, command := whereFor(resource, namespace), "kubectl create clusterrolebinding NAME"
	if where != everywhere {
		command = "kubectl create rolebinding NAME -n " + namespace
	}
	return fmt.Sprintf("\nWhat is missing is the role %s %s; an administrator grants it:\n  %s --clusterrole=%s --user=%s", role, where, command, role, story.Quote(person))
}

// everywhere is where a ClusterRoleBinding grants a role.
const everywhere = "in the whole cluster"

// whereFor is where a role has to be granted so that it reaches a resource.
func whereFor(resource, namespace string) string {
	if namespace == "" || resource == templateResource.Resource {
		return everywhere
	}
	return "in namespace " + namespace
}

// lacksShort is the role that lacks in a few words.
func lacksShort(err error) string {
	m := refusal.FindStringSubmatch(err.Error())
	if m == nil {
		return "you lack the right"
	}
	role, isOurs := roleFor(m[2], m[3])
	if !isOurs {
		return fmt.Sprintf("you lack the right to %s %s", m[2], m[3])
	}
	return fmt.Sprintf("you lack the role %s %s", role, whereFor(m[3], m[5]))
}

// roleFor is the least of the chart's ClusterRoles that grants a verb on a resource
// (charts/vdi-operator/docs/tenancy.md).
func roleFor(verb, resource string) (role string, isOurs bool) {
	reads := verb == "get" || verb == "list" || verb == "watch"
	switch {
	case resource == sessionResource.Resource && reads, resource == "events" && reads:
		return "vdi-viewer", true
	case resource == sessionResource.Resource:
		return "vdi-user", true
	case resource == templateResource.Resource && reads:
		return "vdi-catalogue", true
	case resource == usageResource.Resource && reads, resource == quotaResource.Resource && reads, verb == "list" && slices.Contains(surveyed(), resource):
		return "vdi-admin", true
	case resource == templateResource.Resource && verb == "use":
		return "vdi-template-user", true
	}
	return "", false
}

// surveyed are the resources beside the platform's own that vdi-admin lists; of ConfigMaps the
// one that is asked for (plan.StatusName).
func surveyed() []string {
	return []string{"nodes", "pods", "persistentvolumeclaims", "configmaps"}
}
