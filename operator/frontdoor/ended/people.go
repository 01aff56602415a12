package ended

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Account is somebody's account at an identity provider. A name such as an e-mail
// address can pass to somebody else, an account cannot (OpenID Connect Core §2, sub).
type Account struct {
	// Provider is the same for all accounts whose subjects can be compared: those of
	// one issuer, as one client sees them.
	Provider string
	// Subject names the account there.
	Subject string
}

// pinKey ends the key of the account that a person's name belongs to. Its value is
// PROVIDER.SUBJECT, both hashed. Earlier versions do not know it, and let it be.
const pinKey = ".pin"

func (a Account) pin() string { return hash(a.Provider) + "." + hash(a.Subject) }

// belongsElsewhere reports whether a pin names another account of the same provider.
// What was pinned at a provider, or as a client, that is not asked any more binds nobody.
func (a Account) belongsElsewhere(pin string) bool {
	provider, _, _ := strings.Cut(pin, ".")
	return provider == hash(a.Provider) && pin != a.pin()
}

// attempts is how often a pin is written anew after another replica was first.
const attempts = 5

// Pin binds a person's name to the account that it came from, at the first login, and
// reports at each later one whether it is still the same. A name that is not bound yet
// stays so unless it is to be kept.
func (l *List) Pin(ctx context.Context, person string, account Account, keep bool) (same bool, err error) {
	p := l.partOf(person)
	for range attempts {
		pin, version, err := p.pinned(ctx, person)
		switch {
		case err != nil:
			return false, err
		case pin == account.pin():
			return true, nil
		case account.belongsElsewhere(pin):
			return false, nil
		case !keep:
			return true, nil
		}
		// Two replicas may let two accounts in by one name at the same time.
		err = l.patch(ctx, p, version, map[string]any{hash(person) + pinKey: account.pin()})
		if !apierrors.IsConflict(err) {
			return err == nil, err
		}
		p.ask(ctx)
	}
	return false, fmt.Errorf("ConfigMap %s changes all the time", p.key)
}

// pinned is what is known of a person's account, "" for nothing, and in which version.
func (p *part) pinned(ctx context.Context, person string) (pin, version string, err error) {
	if _, err := p.read(ctx); err != nil {
		return "", "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.data[hash(person)+pinKey], p.version, nil
}

// Holds reports whether a person's name belongs to an account.
func (l *List) Holds(ctx context.Context, person string, account Account) (bool, error) {
	pin, _, err := l.partOf(person).pinned(ctx, person)
	return pin == account.pin(), err
}

// EndAccount ends all logins of whoever has an account that began until a moment, in
// all replicas, whatever their names are. It reports whether that was written now, or
// perhaps was where there is an error, and not before. The API server is asked, since a
// watch may be late: a name may have been bound just now.
func (l *List) EndAccount(ctx context.Context, account Account, until time.Time) (ended bool, err error) {
	var asked sync.WaitGroup
	for _, p := range l.parts {
		asked.Go(func() { p.ask(ctx) })
	}
	asked.Wait()
	for _, p := range l.parts {
		k, err := p.read(ctx)
		if err != nil {
			return ended, err
		}
		patch := map[string]any{}
		for _, person := range p.personsOf(account) {
			k.endUntil(patch, person, until, l.now(), l.lifetime)
		}
		if len(patch) == 0 {
			continue
		}
		ended = true
		if err := l.patch(ctx, p, "", patch); err != nil {
			return ended, err
		}
	}
	return ended, nil
}

// personsOf are the hashes of those whose names belong to an account.
func (p *part) personsOf(account Account) (persons []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, value := range p.data {
		if person, is := strings.CutSuffix(key, pinKey); is && value == account.pin() {
			persons = append(persons, person)
		}
	}
	return persons
}

// endUntil adds to a patch what ends all logins of a person, by hash, that began until a
// moment. Nothing is added where that is written already.
func (k known) endUntil(patch map[string]any, person string, until, now time.Time, lifetime time.Duration) {
	at, end := until.UnixMilli(), now.Add(lifetime).Unix()
	if r := k[person]; r != nil {
		if r.notBefore() >= at {
			return
		}
		for before, last := range r.all {
			end = max(end, last)
			patch[person+allKey+strconv.FormatInt(before, 10)] = nil
		}
	}
	patch[person+allKey+strconv.FormatInt(at, 10)] = strconv.FormatInt(end, 10)
}

// patch changes a ConfigMap's data; version is the one that must be there, "" for any.
func (l *List) patch(ctx context.Context, p *part, version string, data map[string]any) error {
	written, err := patchPart(ctx, l.client, l.owner, p.key, version, data)
	if err == nil {
		p.learn(written, noVersion)
	}
	return err
}

func patchPart(ctx context.Context, c client.Client, owner client.FieldOwner, key client.ObjectKey, version string, data map[string]any) (*corev1.ConfigMap, error) {
	body := map[string]any{"data": data}
	if version != "" {
		body["metadata"] = map[string]any{"resourceVersion": version}
	}
	patch, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	written := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: key.Name, Namespace: key.Namespace}}
	if err := c.Patch(ctx, written, client.RawPatch(types.MergePatchType, patch), owner); err != nil {
		return nil, fmt.Errorf("write ended logins to ConfigMap %s: %w", key, err)
	}
	return written, nil
}

// Forget lets a person's name pass to another account, or entry of the list: the next one
// that comes with it is pinned. All logins by that name that began until now end. It reports
// whether the name belonged to any.
func Forget(ctx context.Context, c client.Client, owner client.FieldOwner, store Store, person string, now time.Time, lifetime time.Duration) (bool, error) {
	key := store.Part(partNumber(person))
	found := &corev1.ConfigMap{}
	if err := c.Get(ctx, key, found); err != nil {
		return false, fmt.Errorf("read ConfigMap %s: %w", key, err)
	}
	_, pinned := found.Data[hash(person)+pinKey]
	_, bound := found.Data[hash(person)+entryKey]
	if !pinned && !bound {
		return false, nil
	}
	patch := map[string]any{hash(person) + pinKey: nil, hash(person) + entryKey: nil}
	parse(found.Data).endNow(patch, hash(person), now, lifetime)
	_, err := patchPart(ctx, c, owner, key, found.ResourceVersion, patch)
	return err == nil, err
}
