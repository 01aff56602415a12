package objects

import (
	"errors"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
)

// IsKindMissing reports whether the proxy's kinds are not installed.
func IsKindMissing(err error) bool { return meta.IsNoMatchError(err) }

// IsRefusal reports whether the cluster does not want a write, now or as it is:
// quota, policy, validation. Other errors pass by themselves.
func IsRefusal(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)
}

// quotaWords are those of the ResourceQuota admission plugin (kubernetes'
// plugin/pkg/admission/resourcequota/controller.go), which has no machine-readable form.
var quotaWords = regexp.MustCompile(`exceeded quota: .*requested: (\S+), used: \S+, limited: (\S+)`)

// ExceedsQuotaAlone reports whether a quota is too small for the object even while nothing else
// is there.
func ExceedsQuotaAlone(words string) bool {
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

// Words are what the API server said: they name the quota, the limit or the policy.
func Words(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Message != "" {
		return status.Status().Message
	}
	return err.Error()
}

// OnlyConflicts reports whether nothing went wrong but that what was written had changed.
func OnlyConflicts(err error) bool {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		for _, e := range joined.Unwrap() {
			if !OnlyConflicts(e) {
				return false
			}
		}
		return true
	}
	return apierrors.IsConflict(err)
}
