package ended

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Settle binds the names that belong to accounts of a provider to those that it has now, by
// person. A name that the provider gives to nobody any more belongs to none of its accounts.
// All logins end, in all replicas, of whoever had another account, and it reports who that
// is. Names that have never logged in are bound at their first login, see [List.Pin].
func (l *List) Settle(ctx context.Context, provider string, now map[string]Account) (changed func(person string) bool, err error) {
	pins := make(map[string]string, len(now))
	for person, account := range now {
		pins[hash(person)] = account.pin()
	}
	var asked sync.WaitGroup
	for _, p := range l.parts {
		asked.Go(func() { p.ask(ctx) })
	}
	asked.Wait()
	others := map[string]bool{}
	for _, p := range l.parts {
		if err := l.settlePart(ctx, p, provider, pins, others); err != nil {
			return nil, err
		}
	}
	return func(person string) bool { return others[hash(person)] }, nil
}

// settlePart adds to others, by hash.
func (l *List) settlePart(ctx context.Context, p *part, provider string, pins map[string]string, others map[string]bool) error {
	for range attempts {
		k, err := p.read(ctx)
		if err != nil {
			return err
		}
		bound, version := p.boundTo(provider)
		patch := map[string]any{}
		for person, pin := range bound {
			want, there := pins[person]
			if !there {
				want = hash(provider) + "." // nobody's
			}
			if pin != want {
				patch[person+pinKey] = want
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

// boundTo are the accounts of a provider that names belong to, by the hash of the person,
// and in which version of the ConfigMap.
func (p *part) boundTo(provider string) (pins map[string]string, version string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pins = map[string]string{}
	for key, value := range p.data {
		person, is := strings.CutSuffix(key, pinKey)
		if at, _, _ := strings.Cut(value, "."); is && at == hash(provider) {
			pins[person] = value
		}
	}
	return pins, p.version
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
