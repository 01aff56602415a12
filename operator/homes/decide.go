package homes

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// leastNotice is how long before its deletion a home is announced, where the
// time allows; of a long time it is a tenth, of a short one at most half.
const leastNotice = 24 * time.Hour

// want says what should become of a home.
type want string

const (
	// wantKeep: nothing to do now.
	wantKeep want = "Keep"
	// wantList: its session is gone and did not mark it; it is listed and kept for ever.
	wantList want = "List"
	// wantWarn: its end is near and has not been announced.
	wantWarn want = "Warn"
	// wantDelete: its time is over and its end was announced long enough ago.
	wantDelete want = "Delete"
)

// decision is what should become of a home at one moment.
type decision struct {
	want      want
	endsAt    time.Time     // when it is deleted; zero: never
	lookAgain time.Duration // until the next deadline; 0 when there is none
}

// decide says what should become of a claim whose session is gone or is there.
// It is the specification of the end of homes: only a home of our own making,
// that no session has, is ever deleted, never before its time, and never
// before it was announced for as long as notice says.
func decide(claim *corev1.PersistentVolumeClaim, sessionGone bool, now time.Time) decision {
	if !sessionGone || !MadeByOperator(claim) || SessionOf(claim) == "" || claim.DeletionTimestamp != nil {
		return decision{want: wantKeep}
	}
	if !Left(claim) {
		return decision{want: wantList}
	}
	m, ends := markOf(claim)
	if !ends {
		return decision{want: wantKeep}
	}
	return m.decide(now)
}

// EndOf is when a home that its session has left is deleted, as far as one knows now; ends is
// false where it is kept for ever.
func EndOf(claim *corev1.PersistentVolumeClaim, now time.Time) (end time.Time, ends bool) {
	m, ends := markOf(claim)
	if !ends {
		return time.Time{}, false
	}
	return m.decide(now).endsAt, true
}

func (m mark) decide(now time.Time) decision {
	warnAt := m.since.Add(m.keep - notice(m.keep))
	if now.Before(warnAt) {
		return decision{want: wantKeep, endsAt: m.since.Add(m.keep), lookAgain: warnAt.Sub(now)}
	}
	if m.warned.Before(warnAt) { // an older warning spoke of another end
		return decision{want: wantWarn, endsAt: m.end(now)}
	}
	end := m.end(m.warned)
	if now.Before(end) {
		return decision{want: wantKeep, endsAt: end, lookAgain: end.Sub(now)}
	}
	return decision{want: wantDelete, endsAt: end}
}

// end is when a home that was announced at a time is deleted: not before its
// time, and not before the notice is over.
func (m mark) end(announced time.Time) time.Time {
	end, earliest := m.since.Add(m.keep), announced.Add(notice(m.keep))
	if earliest.After(end) {
		return earliest
	}
	return end
}

// notice is how long before its end a home is announced.
func notice(keep time.Duration) time.Duration {
	return min(max(keep/10, leastNotice), keep/2)
}
