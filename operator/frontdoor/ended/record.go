package ended

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// Login is one login, as its tickets describe it.
type Login struct {
	// Person is the same in all logins of one person, and in nobody else's.
	Person string
	// Name is random.
	Name string
	// Issued is when it began, see [List.Stamp]. Tickets of earlier versions do not
	// say it: their logins began before every moment.
	Issued time.Time
	// Until is when it ends by itself.
	Until time.Time
}

// maxSingle is how many logins of one person are remembered one by one. Who ends
// more within their lifetime ends all that began until then.
const maxSingle = 16

// slack is how much longer than needed everything is remembered: replicas' clocks differ.
const slack = 10 * time.Minute

// record is what is remembered of one person. The names of its keys, in a ConfigMap's
// data, are hashes: who can read them learns nothing to use.
//
//	PERSON.NAME        → ISSUED.UNTIL   one login was ended
//	PERSON.all.ISSUED  → UNTIL          all logins were that began then or before
//
// ISSUED is in milliseconds, UNTIL in seconds since 1970. Replicas never write the same
// key with different meanings, so they need not wait for each other.
type record struct {
	single map[string]single // by the hash of the name
	all    map[int64]int64   // ISSUED → UNTIL
}

type single struct{ issued, until int64 }

const allKey = ".all."

// hash stands for a person or the name of a login in keys.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// known is what one ConfigMap says, by the hash of the person.
type known map[string]*record

// parse leaves out what it does not understand.
func parse(data map[string]string) known {
	k := known{}
	for key, value := range data {
		if person, issued, all := strings.Cut(key, allKey); all {
			if at, until, ok := numbers(issued, value); ok {
				k.of(person).all[at] = until
			}
			continue
		}
		person, name, one := strings.Cut(key, ".")
		issued, end, both := strings.Cut(value, ".")
		if at, until, ok := numbers(issued, end); one && both && ok {
			k.of(person).single[name] = single{at, until}
		}
	}
	return k
}

func numbers(a, b string) (x, y int64, ok bool) {
	x, errX := strconv.ParseInt(a, 10, 64)
	y, errY := strconv.ParseInt(b, 10, 64)
	return x, y, errX == nil && errY == nil
}

// of returns a person's record, which it makes where there is none.
func (k known) of(person string) *record {
	if k[person] == nil {
		k[person] = &record{map[string]single{}, map[int64]int64{}}
	}
	return k[person]
}

// has reports whether a login was ended.
func (k known) has(l Login) bool {
	r := k[hash(l.Person)]
	if r == nil {
		return false
	}
	_, one := r.single[hash(l.Name)]
	return one || l.issued() <= r.notBefore()
}

// hasFor reports whether a login was ended and stays so as long as it would hold: a moment
// that ended all may be forgotten before, where logins held longer than they do now.
func (k known) hasFor(l Login) bool {
	r := k[hash(l.Person)]
	if r == nil {
		return false
	}
	if _, one := r.single[hash(l.Name)]; one {
		return true
	}
	for at, until := range r.all {
		if l.issued() <= at && l.Until.Unix() <= until {
			return true
		}
	}
	return false
}

// issued is zero also where the ticket says nothing.
func (l Login) issued() int64 { return max(l.Issued.UnixMilli(), 0) }

// notBefore is the last moment that ended all logins, in milliseconds since 1970; -1:
// there is none.
func (r *record) notBefore() int64 {
	last := int64(-1)
	for at := range r.all {
		last = max(last, at)
	}
	return last
}

// end returns the merge patch of a ConfigMap's data that ends logins of one person, and
// forgets what has served its time. No login holds longer than lifetime from now on.
func (k known) end(person string, logins map[string]Login, now time.Time, lifetime time.Duration) map[string]any {
	patch := k.forget(now)
	mine := k[hash(person)]
	if mine == nil {
		mine = &record{}
	}
	singles := map[string]single{}
	for name, s := range mine.single {
		if !past(s.until, now) {
			singles[name] = s
		}
	}
	for _, l := range logins {
		singles[hash(l.Name)] = single{l.issued(), l.Until.Unix()}
	}
	if len(singles) <= maxSingle {
		for name, s := range singles {
			if _, old := mine.single[name]; !old {
				patch[hash(person)+"."+name] = strconv.FormatInt(s.issued, 10) + "." + strconv.FormatInt(s.until, 10)
			}
		}
		return patch
	}
	mine.endAll(patch, hash(person), singles, now, lifetime)
	return patch
}

// endAll replaces what there is by one moment. It is not before any login that has
// already ended, whatever the clock was that stamped it.
func (r *record) endAll(patch map[string]any, person string, singles map[string]single, now time.Time, lifetime time.Duration) {
	at, until := max(now.UnixMilli(), r.notBefore()), now.Add(lifetime).Unix()
	for name, s := range singles {
		at, until = max(at, s.issued), max(until, s.until)
		if _, old := r.single[name]; old {
			patch[person+"."+name] = nil
		}
	}
	for before, end := range r.all {
		until = max(until, end)
		patch[person+allKey+strconv.FormatInt(before, 10)] = nil
	}
	patch[person+allKey+strconv.FormatInt(at, 10)] = strconv.FormatInt(until, 10)
}

func past(until int64, now time.Time) bool { return now.After(time.Unix(until, 0).Add(slack)) }

// forget returns a merge patch that removes what would have ended by itself.
func (k known) forget(now time.Time) map[string]any {
	patch := map[string]any{}
	for person, r := range k {
		for name, s := range r.single {
			if past(s.until, now) {
				patch[person+"."+name] = nil
			}
		}
		for at, until := range r.all {
			if past(until, now) {
				patch[person+allKey+strconv.FormatInt(at, 10)] = nil
			}
		}
	}
	return patch
}
