package frontdoor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/folder"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/people"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// roster is the list of people of mode Local, as the kubelet brings it. A file that cannot
// be used stops nothing and ends nobody's login: the list before stays in force.
type roster struct {
	log     *slog.Logger
	folder  *folder.Folder[readPeople] // nil in other modes
	settles *follower

	mu      sync.Mutex
	current *people.List
	usable  bool
	seen    string // of the file that was read last
	// settle is set before settles runs.
	settle func(context.Context) error
}

// readPeople is a list, or why there is none.
type readPeople struct {
	list *people.List
	err  error
	file string // its digest; "" for none
}

// followPeople follows the list; in other modes there is none.
func (f Flags) followPeople(access platform.Access, log *slog.Logger) (*roster, error) {
	r := &roster{log: log}
	r.settles = newFollower(func(ctx context.Context) error { return r.settle(ctx) }, func(err error) {
		log.Error("the logins of those who have left the list of people cannot be ended", "error", err.Error())
	})
	if access.Mode != wire.AccessLocal {
		return r, nil
	}
	read := func(dir fs.FS) (readPeople, error) {
		data, err := people.Load(dir)
		if err != nil {
			return readPeople{err: err}, nil
		}
		list, err := people.Parse(data)
		return readPeople{list, err, digest(string(data))}, nil
	}
	followed, err := folder.Watch(f.PeopleDir, log, read, func(_, after readPeople) { r.take(after) })
	if err != nil {
		return nil, fmt.Errorf("%w: --people-dir: %w", ErrFlags, err)
	}
	r.folder = followed
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current == nil { // else it has changed already
		r.use(followed.Get())
	}
	return r, nil
}

func (r *roster) take(read readPeople) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.use(read)
}

// use takes a list once: the folder is read at each step of the kubelet's.
func (r *roster) use(read readPeople) {
	if read.file != "" && read.file == r.seen {
		return
	}
	r.seen, r.usable = read.file, read.err == nil
	if read.err != nil {
		r.log.Error("the list of people cannot be used; the one before stays in force, if there was one", "error", read.err.Error())
		return
	}
	r.current = read.list
	r.log.Info("the list of people was read", "people", read.list.Len())
	r.settles.enqueue()
}

// get returns the list in force, nil where there is none.
func (r *roster) get() *people.List {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current
}

func (r *roster) isUsable() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.usable
}

func (r *roster) close() {
	if r.folder != nil {
		r.folder.Close()
	}
}

// settling returns what ends the logins of those who have left the list, or whose password
// is another, until the context ends. It begins when everything has been read once: whose
// streams are to be closed must be known.
func (r *roster) settling(d *Door, registry prometheus.Registerer, read ...func(context.Context) bool) func(context.Context) error {
	if r.folder == nil {
		return func(context.Context) error { return nil }
	}
	RegisterPeople(registry, r.isUsable)
	r.settle = func(ctx context.Context) error {
		for _, done := range read {
			if !done(ctx) {
				return ctx.Err()
			}
		}
		return d.Settle(ctx)
	}
	return r.settles.run
}

// closingPatience is how long it is tried to close the streams of a desktop: the proxy asks
// no front door that is not ready, and an agent may be busy.
const closingPatience = 10 * time.Minute

// Settle makes the names of the list belong to the entries that it has now, and ends what came
// by others. Requests need no write for that, see [Door.isListed]; streams do, and replicas
// whose list is older. A list counts once: by now another replica may have a newer one. After
// an error it is to be called again, by one at a time.
func (d *Door) Settle(ctx context.Context) error {
	list := d.People()
	if list == nil {
		return nil
	}
	entries := map[string]string{}
	for p := range list.All() {
		entries[person(p.User, "")] = p.Account()
	}
	before, fresh := d.settled, d.settled == nil || !maps.Equal(entries, d.settled)
	d.settled = entries
	var notEnded error
	if fresh || d.unended {
		var changed func(string) bool
		changed, notEnded = d.Ended.Settle(ctx, entries)
		d.unended = notEnded != nil
		d.others = append(d.others, changed)
	}
	if fresh {
		d.others = append(d.others, func(person string) bool { return hasOther(before, entries, person) })
	}
	return errors.Join(notEnded, d.closeUnclosed(ctx))
}

// closeUnclosed closes the streams of others' desktops, and those that could not be closed
// before.
func (d *Door) closeUnclosed(ctx context.Context) error {
	sessions, err := d.Known.All(ctx)
	if err != nil {
		return err
	}
	maps.DeleteFunc(d.unclosed, func(_ types.UID, until time.Time) bool { return !d.Now().Before(until) })
	closed, err := d.closeStreams(ctx, sessions, func(s *vdi.VDISession) (bool, error) {
		whose := person(s.Spec.User, "")
		if slices.ContainsFunc(d.others, func(is func(string) bool) bool { return is(whose) }) {
			d.unclosed[s.UID] = d.Now().Add(closingPatience)
		}
		_, due := d.unclosed[s.UID]
		return due, nil
	})
	d.others = nil
	for _, session := range closed {
		delete(d.unclosed, session)
	}
	return err
}

// hasOther reports whether a person has another entry than before, or none any more; at the
// start whether they have none, as where the program ended before it could close their
// streams.
func hasOther(before, entries map[string]string, person string) bool {
	now, listed := entries[person]
	if before == nil {
		return !listed
	}
	then, was := before[person]
	return was && (!listed || then != now)
}
