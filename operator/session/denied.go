package session

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
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
	if words := serverWords(err); strings.Contains(words, "exceeded quota") {
		h.reason, h.waiting = vdi.ReasonQuotaExceeded, vdi.WaitingForQuota // other limits are no queue
		if exceedsAlone(words) {
			h.message += ". That is more than the quota allows at all: ask for less, or let an administrator raise it"
		}
	}
	return h
}

// quotaWords are those of the ResourceQuota admission plugin (kubernetes'
// plugin/pkg/admission/resourcequota/controller.go), which has no machine-readable form.
var quotaWords = regexp.MustCompile(`exceeded quota: .*requested: (\S+), used: \S+, limited: (\S+)`)

// exceedsAlone tells whether a quota is too small for the object even while nothing else
// is there.
func exceedsAlone(words string) bool {
	found := quotaWords.FindStringSubmatch(words)
	if found == nil {
		return false
	}
	asked, limits := amounts(found[1]), amounts(found[2])
	for name, amount := range asked {
		if limit, limited := limits[name]; limited && amount.Cmp(limit) > 0 {
			return true
		}
	}
	return false
}

// amounts reads a list such as pods=1,limits.memory=4Gi.
func amounts(list string) map[string]resource.Quantity {
	read := map[string]resource.Quantity{}
	for part := range strings.SplitSeq(list, ",") {
		name, text, _ := strings.Cut(part, "=")
		if amount, err := resource.ParseQuantity(text); err == nil {
			read[name] = amount
		}
	}
	return read
}

// conditionOfKind is the condition that cannot come true without this kind.
func conditionOfKind(kind string) string {
	switch kind {
	case wire.KindPersistentVolumeClaim:
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
