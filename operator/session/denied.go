package session

import (
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// ownerGoneRetry is how soon a name that a former session still holds is tried
// again; the garbage collector takes seconds.
const ownerGoneRetry = 2 * time.Second

// classify turns a refused write into words for the user, and leaves errors that
// pass by themselves as they are.
func classify(kind string, err error) error {
	switch {
	case isRouteKindMissing(err), isProxyKind(kind) && apierrors.IsNotFound(err):
		return routeKindMissing()
	case isRefusal(err):
		return denied(kind, err)
	default:
		return fmt.Errorf("write %s: %w", kind, err)
	}
}

// isRefusal tells whether the cluster does not want a write, now or as it is:
// quota, policy, validation. Other errors pass by themselves.
func isRefusal(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)
}

func isProxyKind(kind string) bool { return kind == routeKind.Kind || kind == middlewareKind.Kind }

func routeKindMissing() *halt {
	return &halt{
		condition: vdi.ConditionReachable, reason: vdi.ReasonRouteKindMissing, phase: vdi.PhasePending,
		waiting: vdi.WaitingForRoute, stalled: true, retry: deniedRetry,
		message: "The kind IngressRoute (traefik.io/v1alpha1) is not installed in this cluster: install Traefik with its custom resource definitions; the session goes on by itself then",
	}
}

// denied keeps the API server's words: they name the quota, the limit or the policy.
func denied(kind string, err error) *halt {
	h := &halt{
		condition: conditionOfKind(kind), reason: vdi.ReasonDenied, phase: vdi.PhasePending,
		message: fmt.Sprintf("The cluster refused the %s: %s", kind, serverWords(err)),
		stalled: true, retry: deniedRetry,
	}
	if strings.Contains(err.Error(), "exceeded quota") || strings.Contains(err.Error(), "failed quota") || isLimitRange(err) {
		h.reason, h.waiting = vdi.ReasonQuotaExceeded, vdi.WaitingForQuota
	}
	return h
}

// isLimitRange recognises the words of the LimitRanger admission plugin, which
// has no machine-readable reason of its own.
func isLimitRange(err error) bool {
	text := err.Error()
	return strings.Contains(text, "usage per Pod") || strings.Contains(text, "usage per Container") ||
		strings.Contains(text, "storage usage per PersistentVolumeClaim") || strings.Contains(text, "limit to request ratio")
}

// conditionOfKind is the condition that cannot come true without this kind.
func conditionOfKind(kind string) string {
	switch kind {
	case claimKind:
		return vdi.ConditionHomeReady
	case routeKind.Kind, middlewareKind.Kind:
		return vdi.ConditionReachable
	default:
		return vdi.ConditionScheduled
	}
}

func serverWords(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Message != "" {
		return status.Status().Message
	}
	return err.Error()
}
