package fairshare

import (
	"fmt"
	"time"

	"github.com/vdi-platform/vdi-platform/operator/accounting"
)

// Refusal says why a session is not accepted, and what helps.
func (s *Shortage) Refusal() string {
	what := fmt.Sprintf("Quota %q leaves no room for this session: %s. ", s.Quota, s.amounts())
	if s.Never && s.Field != Sessions && s.Field != Storage {
		return what + "It can never start so: ask for less (spec.resources), or ask an administrator for more"
	}
	switch s.Field {
	case GPUHours:
		goes := "and it goes on by itself then"
		if s.Stands {
			goes = "and it starts then once somebody asks again, by setting spec.runPolicy to Suspended and back to Running"
		}
		return what + fmt.Sprintf("There are new ones at %s, %s; or ask an administrator for more", s.Room.UTC().Format(time.RFC3339), goes)
	case Sessions:
		return what + "Delete another one, or ask an administrator for more; it goes on by itself then"
	case Storage:
		return what + "Ask for less (spec.persistence.size), delete homes that are not needed, or ask an administrator for more; it goes on by itself then"
	default:
		return what + "It does not start by itself once there is room: ask again by setting spec.runPolicy to Suspended and back to Running"
	}
}

// Growth says why a home stays as large as it is.
func (s *Shortage) Growth() string {
	return fmt.Sprintf("The home stays as large as it is: quota %q leaves no room for more: %s", s.Quota, s.amounts())
}

// Waiting says what a session waits for that has this place.
func (s *Shortage) Waiting(place int32) string {
	if s.Field == offered {
		return fmt.Sprintf("Waiting for room in the cluster at place %d: no node has room at present, and those who wait start in order", place)
	}
	words := fmt.Sprintf("Waiting for room in quota %q at place %d: %s", s.Quota, place, s.amounts())
	switch {
	case s.Ahead:
		words += "; there is room, and somebody who asked before is next"
	case !s.Room.IsZero():
		words += fmt.Sprintf("; some is expected to be free at %s", s.Room.UTC().Format(time.RFC3339))
	}
	return words
}

// amounts are what people may have, have and ask for.
func (s *Shortage) amounts() string {
	who := "all people together may have"
	if s.PerUser {
		who = "each person may have"
	}
	if s.Field == GPUHours {
		return fmt.Sprintf("%s at most %s GPU-hours until %s, %s are used, and a start takes %s at least", who, accounting.Hours(s.Limit), s.Room.UTC().Format(time.RFC3339), accounting.Hours(s.Used), accounting.Hours(s.Asked))
	}
	return fmt.Sprintf("%s at most %s, %s in use, and this one asks for %s", who, quantified(s.Field, s.Limit), isOrAre(s.Field, s.Used), Format(s.Field, s.Asked))
}

func isOrAre(f Field, amount int64) string {
	verb := "are"
	switch f {
	case CPU, Memory, Storage:
		verb = "is"
	default:
		if amount == 1 {
			verb = "is"
		}
	}
	return Format(f, amount) + " " + verb
}

// quantified is an amount with what it is of.
func quantified(f Field, amount int64) string {
	unit := map[Field][2]string{
		Sessions: {" session", " sessions"}, Running: {" running desktop", " running desktops"}, GPUSlices: {" GPU slice", " GPU slices"},
		CPU: {" of CPU", " of CPU"}, Memory: {" of memory", " of memory"}, Storage: {" of homes", " of homes"},
	}[f]
	if amount == 1 {
		return Format(f, amount) + unit[0]
	}
	return Format(f, amount) + unit[1]
}
