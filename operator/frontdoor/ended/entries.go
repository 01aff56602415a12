package ended

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// entryKey ends the key of the entry, in the list of people of mode Local, that a person's
// name is bound to. Its value is SINCE.ENTRY, in milliseconds since 1970 and hashed; the
// entry is empty where nobody has the name any more. Earlier versions do not know it, and
// let it be. Accounts at a provider have keys of their own, so that a time in mode Local
// leaves them alone.
const entryKey = ".entry"

// ListLag is how long replicas may have different lists: the kubelet brings a change within
// a minute or two. Whoever sees for longer that a name is bound otherwise than their list
// says need not wait for a newer one.
const ListLag = 5 * time.Minute

// binding is an entry that a name is bound to.
type binding struct {
	entry string // hashed; "" for nobody's
	since int64  // in milliseconds since 1970
}

func (b binding) String() string { return strconv.FormatInt(b.since, 10) + "." + b.entry }

func parseBinding(value string) binding {
	since, entry, _ := strings.Cut(value, ".")
	at, err := strconv.ParseInt(since, 10, 64)
	if err != nil {
		return binding{}
	}
	return binding{entry, at}
}

// isLate reports whether a binding is so young that it may come from a newer list. One from
// far ahead comes from a clock that is wrong.
func (b binding) isLate(now time.Time) bool {
	age := now.Sub(time.UnixMilli(b.since))
	return age > -ListLag && age < ListLag
}

// Bind binds a person's name to the entry of the list by which they log in, and reports
// whether it is theirs: not while another replica may have a newer list. Where it belonged
// to another entry, all logins end that began by that.
func (l *List) Bind(ctx context.Context, person, entry string) (theirs bool, err error) {
	p := l.partOf(person)
	for range attempts {
		b, found, version, err := p.bound(ctx, person)
		switch {
		case err != nil:
			return false, err
		case found && b.entry == hash(entry):
			return true, nil
		case found && b.isLate(l.now()):
			return false, nil
		}
		patch := map[string]any{hash(person) + entryKey: binding{hash(entry), l.now().UnixMilli()}.String()}
		if found {
			k, err := p.read(ctx)
			if err != nil {
				return false, err
			}
			k.endNow(patch, hash(person), l.now(), l.lifetime)
		}
		err = l.patch(ctx, p, version, patch)
		if !apierrors.IsConflict(err) {
			return err == nil, err
		}
		p.ask(ctx)
	}
	return false, fmt.Errorf("ConfigMap %s changes all the time", p.key)
}

// IsBound reports whether a person's name is bound to an entry of the list, and whether it
// has been for so short a time that the list at hand may be older.
func (l *List) IsBound(ctx context.Context, person, entry string) (bound, lately bool, err error) {
	b, found, _, err := l.partOf(person).bound(ctx, person)
	bound = found && b.entry == hash(entry)
	return bound, bound && b.isLate(l.now()), err
}

// bound is what a person's name is bound to, and in which version of the ConfigMap.
func (p *part) bound(ctx context.Context, person string) (b binding, found bool, version string, err error) {
	if _, err := p.read(ctx); err != nil {
		return binding{}, false, "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	value, found := p.data[hash(person)+entryKey]
	return parseBinding(value), found, p.version, nil
}

// Settle binds the names that have logged in to the entries that a list has now, by person;
// those that it does not have to nobody's. All logins end, in all replicas, of whoever had
// another entry, and it reports who that is, also beside an error. Names that have never
// logged in are bound at their first login, see [List.Bind].
func (l *List) Settle(ctx context.Context, entries map[string]string) (changed func(person string) bool, err error) {
	wanted := make(map[string]string, len(entries))
	for person, entry := range entries {
		wanted[hash(person)] = hash(entry)
	}
	var asked sync.WaitGroup
	for _, p := range l.parts {
		asked.Go(func() { p.ask(ctx) })
	}
	asked.Wait()
	others := map[string]bool{}
	var failed []error
	for _, p := range l.parts { // one that cannot be written keeps none of the others
		failed = append(failed, l.settlePart(ctx, p, wanted, others))
	}
	return func(person string) bool { return others[hash(person)] }, errors.Join(failed...)
}

// settlePart adds to others, by hash.
func (l *List) settlePart(ctx context.Context, p *part, wanted map[string]string, others map[string]bool) error {
	for range attempts {
		k, err := p.read(ctx)
		if err != nil {
			return err
		}
		bindings, version := p.bindings()
		patch := map[string]any{}
		for person, b := range bindings {
			if want := wanted[person]; b.entry != want {
				patch[person+entryKey] = binding{want, l.now().UnixMilli()}.String()
				k.endNow(patch, person, l.now(), l.lifetime)
				others[person] = true
			}
		}
		if len(patch) == 0 {
			return nil
		}
		if err := l.patch(ctx, p, version, patch); !apierrors.IsConflict(err) {
			return err
		}
		p.ask(ctx)
	}
	return fmt.Errorf("ConfigMap %s changes all the time", p.key)
}

// bindings are those of everybody, by the hash of the person, and in which version of the
// ConfigMap.
func (p *part) bindings() (all map[string]binding, version string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all = map[string]binding{}
	for key, value := range p.data {
		if person, is := strings.CutSuffix(key, entryKey); is {
			all[person] = parseBinding(value)
		}
	}
	return all, p.version
}

// endNow adds to a patch what ends all logins of a person, by hash, that began until now. A
// login may have been stamped after the moment that ended those before, or by a replica
// whose clock is ahead of ours.
func (k known) endNow(patch map[string]any, person string, now time.Time, lifetime time.Duration) {
	until := now.UnixMilli()
	if r := k[person]; r != nil {
		until = max(until, r.notBefore())
	}
	k.endUntil(patch, person, time.UnixMilli(until).Add(time.Minute), now, lifetime)
}
