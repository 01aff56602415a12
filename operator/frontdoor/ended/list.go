// Package ended remembers, for all replicas of the front door, the logins that were
// ended before their time, and whose account at the identity provider a name belongs
// to. What it writes grows with the number of people, not with how often they log out,
// and nothing that still counts is dropped.
package ended

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Parts is over how many ConfigMaps the people are spread: each may have 1 MiB. The
// chart makes them; the front door changes only their data.
const Parts = 8

const (
	// every is how often one person's logouts are written at most, by each replica.
	every = time.Second
	// patience bounds one write, and how long a watch may be late.
	patience = 10 * time.Second
	// glance bounds how long a login waits for what the API server says.
	glance = 2 * time.Second
)

// Store names the ConfigMaps: NAME-0 to NAME-7. Earlier versions wrote to NAME alone;
// what they wrote still counts.
type Store client.ObjectKey

// Part is the key of one of them.
func (s Store) Part(n int) client.ObjectKey {
	return client.ObjectKey{Namespace: s.Namespace, Name: s.Name + "-" + strconv.Itoa(n)}
}

// List is the list of ended logins.
type List struct {
	client   client.Client
	owner    client.FieldOwner
	lifetime time.Duration
	now      func() time.Time
	caches   []cache.Cache
	parts    [Parts]*part
	old      *part

	mu      sync.Mutex
	waiting map[string]*batch    // by person
	written map[string]time.Time // by person: when the last write began
}

// part is one ConfigMap and what it says.
type part struct {
	key    client.ObjectKey
	client client.Client
	watch  client.Reader

	mu sync.Mutex
	// Channels that are closed when a request is over: the one that has not begun (nil:
	// there is none) and the latest one.
	next, last chan struct{}
	version    string // of what follows; "": nothing has been read
	learned    time.Time
	data       map[string]string
	known      known
}

// batch are logins of one person that are ended by one write.
type batch struct {
	logins map[string]Login
	done   chan struct{}
	err    error // set before done is closed
}

// NewList prepares the watch of a store. The client must not read from a cache; no
// login holds longer than lifetime.
func NewList(cluster *rest.Config, c client.Client, owner client.FieldOwner, store Store, lifetime time.Duration, now func() time.Time) (*List, error) {
	l := &List{client: c, owner: owner, lifetime: lifetime, now: now, waiting: map[string]*batch{}, written: map[string]time.Time{}}
	var err error
	for n := range l.parts {
		if l.parts[n], err = l.watch(cluster, store.Part(n)); err != nil {
			return nil, err
		}
	}
	l.old, err = l.watch(cluster, client.ObjectKey(store))
	return l, err
}

// watch follows one ConfigMap, by its name: the rights are given by name, too.
func (l *List) watch(cluster *rest.Config, key client.ObjectKey) (*part, error) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	shared := true
	c, err := cache.New(cluster, cache.Options{Scheme: scheme, ReaderFailOnMissingInformer: true, ByObject: map[client.Object]cache.ByObject{
		&corev1.ConfigMap{}: {
			Namespaces:            map[string]cache.Config{key.Namespace: {FieldSelector: fields.OneTermEqualSelector("metadata.name", key.Name)}},
			UnsafeDisableDeepCopy: &shared,
		},
	}})
	if err != nil {
		return nil, fmt.Errorf("build the watch of ConfigMap %s: %w", key, err)
	}
	if _, err := c.GetInformer(context.Background(), &corev1.ConfigMap{}, cache.BlockUntilSynced(false)); err != nil {
		return nil, fmt.Errorf("watch ConfigMap %s: %w", key, err)
	}
	l.caches = append(l.caches, c)
	return &part{key: key, client: l.client, watch: c}, nil
}

// Start watches until the context ends.
func (l *List) Start(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, c := range l.caches {
		group.Go(func() error { return c.Start(ctx) })
	}
	return group.Wait()
}

// Ready waits until everything has been read once.
func (l *List) Ready(ctx context.Context) bool {
	for _, c := range l.caches {
		if !c.WaitForCacheSync(ctx) {
			return false
		}
	}
	return true
}

// partOf is where a person's logins are.
func (l *List) partOf(person string) *part { return l.parts[partNumber(person)] }

func partNumber(person string) int {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(person)) // a hash never fails
	return int(sum.Sum32() % Parts)
}

// Ended reports whether a login was ended before its time.
func (l *List) Ended(ctx context.Context, login Login) (bool, error) {
	here, err := l.partOf(login.Person).read(ctx)
	if err != nil {
		return false, err
	}
	if here.has(login) {
		return true, nil
	}
	return l.old.hasOld(ctx, login)
}

// Stamp returns when a new login of a person begins: now, and in any case after the
// moment that ended all of theirs, whichever replica's clock that was. The API server
// is asked, since a watch may be late; where it does not answer soon, what is known counts.
func (l *List) Stamp(ctx context.Context, person string) (time.Time, error) {
	p := l.partOf(person)
	p.ask(ctx)
	k, err := p.read(ctx)
	if err != nil {
		return time.Time{}, err
	}
	now := l.now()
	if r := k[hash(person)]; r != nil {
		return time.UnixMilli(max(now.UnixMilli(), r.notBefore()+1)), nil
	}
	return now, nil
}

// End ends a login in all replicas, and returns when that is written. Logins of one
// person that are ended within a second are written together.
func (l *List) End(ctx context.Context, login Login) error {
	here, err := l.partOf(login.Person).read(ctx)
	if err != nil || here.hasFor(login) {
		return err
	}
	b := l.join(login)
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// join adds a login to those of its person that wait to be written.
func (l *List) join(login Login) *batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.waiting[login.Person]
	if b == nil {
		b = &batch{logins: map[string]Login{}, done: make(chan struct{})}
		l.waiting[login.Person] = b
		// Whoever has begun it may go; others wait for it, too.
		time.AfterFunc(time.Until(l.written[login.Person].Add(every)), func() { l.write(login.Person, b) })
	}
	b.logins[login.Name] = login
	return b
}

// write ends what waits, and lets the next batch begin.
func (l *List) write(person string, b *batch) {
	l.mu.Lock()
	delete(l.waiting, person)
	for other, at := range l.written {
		if time.Since(at) >= every {
			delete(l.written, other)
		}
	}
	l.written[person] = time.Now()
	l.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	b.err = l.end(ctx, person, b.logins)
	close(b.done)
}

func (l *List) end(ctx context.Context, person string, logins map[string]Login) error {
	p := l.partOf(person)
	k, err := p.read(ctx)
	if err != nil {
		return err
	}
	return l.patch(ctx, p, "", k.end(person, logins, l.now(), l.lifetime))
}

// Fullest is the size of the ConfigMap with the most data, in bytes.
func (l *List) Fullest() float64 {
	most := 0
	for _, p := range l.parts {
		if _, err := p.read(context.Background()); err != nil {
			continue // nothing was read yet
		}
		p.mu.Lock()
		size := 0
		for key, value := range p.data {
			size += len(key) + len(value)
		}
		p.mu.Unlock()
		most = max(most, size)
	}
	return float64(most)
}

// ask reads the ConfigMap from the API server, if that answers soon. Many who ask at a
// time share one request, which begins after they have asked.
func (p *part) ask(ctx context.Context) {
	p.mu.Lock()
	if p.next == nil {
		p.next = make(chan struct{})
		go p.request(p.last, p.next)
		p.last = p.next
	}
	over := p.next
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, glance)
	defer cancel()
	select {
	case <-over:
	case <-ctx.Done():
	}
}

// request is made when the one before is over.
func (p *part) request(before <-chan struct{}, over chan<- struct{}) {
	defer close(over)
	if before != nil {
		<-before
	}
	p.mu.Lock()
	p.next = nil // who comes from now on needs another
	version := p.version
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), glance)
	defer cancel()
	found := &corev1.ConfigMap{}
	if err := p.client.Get(ctx, p.key, found); err == nil {
		p.learn(found, version)
	}
}

// read returns the newest that is known of the ConfigMap. A watch that stays behind is
// not believed: the API server is asked. Only where it says the same, it was put back to an
// earlier state.
func (p *part) read(ctx context.Context) (known, error) {
	found := &corev1.ConfigMap{}
	if err := p.watch.Get(ctx, p.key, found); err != nil {
		return nil, fmt.Errorf("read ended logins: %w", err)
	}
	k, behind := p.learn(found, noVersion)
	if behind {
		p.ask(ctx)
		k, _ = p.learn(found, noVersion)
	}
	return k, nil
}

// noVersion is no resourceVersion.
const noVersion = "none"

// learn takes a ConfigMap in, unless a newer one is known: the answer to a write comes
// before the watch has it. What the API server says is believed even where it is older,
// if nothing was learned since it was asked, when the version before was known. A watch is
// behind when it has been older for longer than a watch takes.
func (p *part) learn(found *corev1.ConfigMap, before string) (k known, behind bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if found.ResourceVersion == p.version {
		p.learned = time.Now()
		return p.known, false
	}
	order, err := resourceversion.CompareResourceVersion(found.ResourceVersion, p.version)
	if err == nil && order < 0 && p.version != before {
		behind = time.Since(p.learned) >= patience
		if behind {
			p.learned = time.Now() // one of many asks
		}
		return p.known, behind
	}
	p.version, p.learned, p.data, p.known = found.ResourceVersion, time.Now(), found.Data, parse(found.Data)
	return p.known, false
}

// hasOld reports whether an earlier version has ended a login.
func (p *part) hasOld(ctx context.Context, login Login) (bool, error) {
	found := &corev1.ConfigMap{}
	err := p.watch.Get(ctx, p.key, found)
	if apierrors.IsNotFound(err) {
		return false, nil // somebody has tidied up
	}
	if err != nil {
		return false, fmt.Errorf("read ended logins: %w", err)
	}
	sum := sha256.Sum256([]byte(login.Name))
	_, ended := found.Data[hex.EncodeToString(sum[:16])]
	return ended, nil
}
