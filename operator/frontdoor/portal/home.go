package portal

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes/kept"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Home is a home that the desktop has left for which it was made.
type Home struct {
	// Session is the name that a session has that takes it back; Claim is the volume.
	Session, Claim string
	// Title is what its owner called the desktop; the session's name where nobody knows.
	Title string
	// Template that the desktop was made from, as a label value: a name, or a hash of a long one.
	Template string
	// Size in GiB.
	Size string
	// Left is when the desktop left it; Until is when it is deleted, zero: never.
	Left, Until time.Time
	// UID and Version are the claim's, as it was looked at.
	UID, Version string
	// Reusable: a new desktop can be made here that takes it back. Deletable: it can go sooner
	// than it does, which a copy that a backup brought never does by itself.
	Reusable, Deletable bool
}

// oursByName is what names of sessions look like that are made here (platform.SessionName); the
// front door may make no others.
var oursByName = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?-[a-z2-7]{16}$`)

// HomesOf are a person's homes without a desktop, the latest first: what the operator made and
// marked as left, and what no session names.
func HomesOf(claims []corev1.PersistentVolumeClaim, sessions []vdi.VDISession, now time.Time) (left []Home) {
	for i := range claims {
		if c := &claims[i]; kept.HomeLeft(c) && !slices.ContainsFunc(sessions, func(s vdi.VDISession) bool { return usesHome(&s, c) }) {
			left = append(left, homeOf(c, now))
		}
	}
	slices.SortFunc(left, func(a, b Home) int { return cmp.Or(b.Left.Compare(a.Left), cmp.Compare(a.Session, b.Session)) })
	return left
}

func usesHome(s *vdi.VDISession, c *corev1.PersistentVolumeClaim) bool {
	return s.Namespace == c.Namespace && (s.Name == kept.SessionOf(c) || s.Spec.Persistence.ExistingClaim == c.Name)
}

func homeOf(c *corev1.PersistentVolumeClaim, now time.Time) Home {
	size := c.Spec.Resources.Requests[corev1.ResourceStorage]
	if has, known := c.Status.Capacity[corev1.ResourceStorage]; known {
		size = has
	}
	name := kept.SessionOf(c)
	h := Home{
		Session: name, Claim: c.Name, Title: cmp.Or(c.Annotations[wire.AnnotationDisplayName], name), Template: c.Labels[wire.LabelTemplate],
		Size: gib.show(size.String()), UID: string(c.UID), Version: c.ResourceVersion, Reusable: oursByName.MatchString(name),
	}
	h.Left, _ = time.Parse(time.RFC3339, c.Annotations[wire.AnnotationRetainedSince]) // zero where nobody knows
	h.Until, _ = kept.EndOf(c, now)                                                   // zero where it is kept for ever
	ours := c.Annotations[wire.AnnotationRetainedUID] == string(c.UID) && !h.Left.IsZero()
	h.Deletable = ours && (h.Until.IsZero() || h.Until.After(now.Add(graceful)))
	return h
}

// graceful is for how long a home that somebody has discarded is still there at least.
const graceful = 24 * time.Hour

// Discard is for how long a home must be kept, from when its desktop left it, so that it is
// deleted a day from now at the earliest.
func (h Home) Discard(now time.Time) time.Duration {
	return max(now.Sub(h.Left), 0).Truncate(time.Second) + graceful
}

// Keep is until when a home is kept if it is not discarded after all, by a rule such as the
// template's: 0 keeps it for ever, which is a zero time. More reports whether that is longer
// than it is kept now.
func (h Home) Keep(rule time.Duration) (until time.Time, more bool) {
	switch {
	case h.Until.IsZero():
		return time.Time{}, false
	case rule == 0:
		return time.Time{}, true
	}
	until = h.Left.Add(rule)
	return until, until.After(h.Until)
}

// HomeOf is the size of a session's own home in GiB; "" where it has none, or somebody else's.
func HomeOf(s *vdi.VDISession) string {
	p := s.Spec.Persistence
	if p.Enabled != nil && !*p.Enabled || p.ExistingClaim != "" {
		return ""
	}
	return gib.show(cmp.Or(string(p.Size), defaultHome))
}

// GrowthRefused says why a home is smaller than it is meant to be, in the operator's words; ""
// where it is not.
func GrowthRefused(s *vdi.VDISession) string {
	c := meta.FindStatusCondition(s.Status.Conditions, vdi.ConditionHomeReady)
	if c == nil || c.Reason != vdi.ReasonHomeGrowthRefused {
		return ""
	}
	return c.Message
}

// LargerHome is the size to which somebody wants a session's home to grow. Problem says what is
// wrong with what they typed.
func LargerHome(s *vdi.VDISession, typed string) (size vdi.Quantity, problem string) {
	text, problem := sizeOf(gib, defaultHome, "", "").read(typed)
	size = vdi.Quantity(cmp.Or(text, defaultHome)) // the default is read as ""
	switch has := HomeOf(s); {
	case problem != "":
		return "", problem
	case has == "":
		return "", "It has no home that could grow."
	case strings.TrimSpace(typed) == "" || !IsLarger(size, s.Spec.Persistence.Size):
		return "", "This must be more than " + has + "."
	}
	return size, ""
}

// IsLarger reports whether a home of a size is larger than one of another; that which says
// nothing has the default.
func IsLarger(size, than vdi.Quantity) bool {
	now, ok := quantity(cmp.Or(string(than), defaultHome))
	return ok && compare(string(size), now) > 0
}
