package kept

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// leastNotice is how long before its deletion a home is announced, where the
// time allows; of a long time it is a tenth, of a short one at most half.
const leastNotice = 24 * time.Hour

// Want says what should become of a home.
type Want string

const (
	// Keep: nothing to do now.
	Keep Want = "Keep"
	// List: its session is gone and did not mark it; it is listed and kept for ever.
	List Want = "List"
	// Warn: its end is near and has not been announced.
	Warn Want = "Warn"
	// Delete: its time is over and its end was announced long enough ago.
	Delete Want = "Delete"
)

// Decision is what should become of a home at one moment.
type Decision struct {
	Want      Want
	EndsAt    time.Time     // when it is deleted; zero: never
	LookAgain time.Duration // until the next deadline; 0 when there is none
}

// Decide says what should become of a claim whose session is gone or is there.
// It is the specification of the end of homes: only a home of our own making,
// that no session has, is ever deleted, never before its time, and never
// before it was announced for as long as Notice says.
func Decide(claim *corev1.PersistentVolumeClaim, sessionGone bool, now time.Time) Decision {
	if !sessionGone || !MadeByOperator(claim) || SessionOf(claim) == "" || claim.DeletionTimestamp != nil {
		return Decision{Want: Keep}
	}
	if !Left(claim) {
		return Decision{Want: List}
	}
	m, ends := MarkOf(claim)
	if !ends {
		return Decision{Want: Keep}
	}
	return m.decide(now)
}

// EndOf is when a home that its session has left is deleted, as far as one knows now; ends is
// false where it is kept for ever.
func EndOf(claim *corev1.PersistentVolumeClaim, now time.Time) (end time.Time, ends bool) {
	m, ends := MarkOf(claim)
	if !ends {
		return time.Time{}, false
	}
	return m.decide(now).EndsAt, true
}

func (m Mark) decide(now time.Time) Decision {
	warnAt := m.Since.Add(m.For - Notice(m.For))
	if now.Before(warnAt) {
		return Decision{Want: Keep, EndsAt: m.Since.Add(m.For), LookAgain: warnAt.Sub(now)}
	}
	if m.Warned.Before(warnAt) { // an older warning spoke of another end
		return Decision{Want: Warn, EndsAt: m.end(now)}
	}
	end := m.end(m.Warned)
	if now.Before(end) {
		return Decision{Want: Keep, EndsAt: end, LookAgain: end.Sub(now)}
	}
	return Decision{Want: Delete, EndsAt: end}
}

// end is when a home that was announced at a time is deleted: not before its
// time, and not before the notice is over.
func (m Mark) end(announced time.Time) time.Time {
	end, earliest := m.Since.Add(m.For), announced.Add(Notice(m.For))
	if earliest.After(end) {
		return earliest
	}
	return end
}

// Notice is how long before its end a home is announced.
func Notice(keep time.Duration) time.Duration {
	return min(max(keep/10, leastNotice), keep/2)
}
