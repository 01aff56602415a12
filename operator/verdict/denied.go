package verdict

import (
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// OfWrite turns a refused write into words for the user, and leaves errors that
// pass by themselves as they are.
func OfWrite(kind string, err error) error {
	var notYetOurs *objects.OwnershipError
	switch {
	case errors.As(err, &notYetOurs): // it passes by itself
		return fmt.Errorf("write %s: %w", kind, err)
	case objects.IsKindMissing(err), IsProxyKind(kind) && apierrors.IsNotFound(err):
		return RouteKindMissing()
	case objects.IsRefusal(err):
		return Denied(kind, err)
	default:
		return fmt.Errorf("write %s: %w", kind, err)
	}
}

// IsProxyKind reports whether a kind is one of the proxy's.
func IsProxyKind(kind string) bool {
	return kind == wire.KindIngressRoute || kind == wire.KindMiddleware
}

// RouteKindMissing is what there is to say while the proxy's kinds are not installed.
func RouteKindMissing() *Verdict {
	return &Verdict{
		Condition: vdi.ConditionReachable, Reason: vdi.ReasonRouteKindMissing, Phase: vdi.PhasePending,
		Waiting: vdi.WaitingForRoute, Stalled: true, Retry: DeniedRetry,
		Message: "The kind IngressRoute (traefik.io/v1alpha1) is not installed in this cluster: install Traefik with its custom resource definitions; the session goes on by itself then",
	}
}

// Denied keeps the API server's words: they name the quota, the limit or the policy.
func Denied(kind string, err error) *Verdict {
	v := &Verdict{
		Condition: conditionOf(kind), Reason: vdi.ReasonDenied, Phase: vdi.PhasePending,
		Message: fmt.Sprintf("The cluster refused the %s: %s", kind, objects.Words(err)),
		Stalled: true, Retry: DeniedRetry,
	}
	if words := objects.Words(err); strings.Contains(words, "exceeded quota") {
		v.Reason, v.Waiting = vdi.ReasonQuotaExceeded, vdi.WaitingForQuota // other limits are no queue
		if objects.ExceedsQuotaAlone(words) {
			v.Message += ". That is more than the quota allows at all: ask for less, or let an administrator raise it"
		}
	}
	return v
}

// conditionOf is the condition that cannot come true without this kind.
func conditionOf(kind string) string {
	switch kind {
	case wire.KindPersistentVolumeClaim:
		return vdi.ConditionHomeReady
	case wire.KindIngressRoute, wire.KindMiddleware:
		return vdi.ConditionReachable
	default:
		return vdi.ConditionScheduled
	}
}
