// Package clusterevents reads what the cluster's events say of pods and claims that do not
// come to be: nothing else has it.
//
// Events are read when somebody asks, once for all objects of a kind in a namespace, and
// never watched.
package clusterevents

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// Holds is how long one reading of a namespace's events serves all its sessions.
	Holds = 10 * time.Second
	// Counts is how long an event is believed: who tries again and again reports each
	// try at first, and later one in five minutes (client-go's spam filter in
	// tools/record/events_cache.go).
	Counts = 15 * time.Minute
	// pageSize is how many events are read in one request, and Pages how many
	// requests are made at most.
	pageSize, Pages = 500, 8
	// wait is how long all of that may take.
	wait = 5 * time.Second
)

// Reader knows the latest events about pods and claims that do not come to be. The zero
// value is ready to use.
type Reader struct {
	mutex   sync.Mutex
	reports map[Key]*report
}

// Key is a kind of objects in a namespace.
type Key struct{ Namespace, Kind string }

// report is what was said of the objects of one kind in a namespace.
type report struct {
	turn  chan struct{} // holds a token while somebody reads; who comes meanwhile takes the same answer
	read  time.Time
	about map[string]Event // name → the latest
	err   error            // why it could not be read; that is not tried again at once either
}

// Event is what was last said of an object.
type Event struct {
	UID    types.UID // the object's
	Reason string
	Words  string // without what differs from one try to the next
	at     time.Time
}

// About is the latest event about an object that is not older than it counts; false
// when there is none.
func (n *Reader) About(ctx context.Context, from client.Reader, key Key, name string, now time.Time) (Event, bool, error) {
	r := n.reportOn(key, now)
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return Event{}, false, ctx.Err()
	}
	if r.read.IsZero() || now.Sub(r.read).Abs() >= Holds {
		r.about, r.err = read(ctx, from, key)
		r.read = now
	}
	event, found := r.about[name]
	return event, found && now.Sub(event.at) < Counts, r.err
}

func (n *Reader) reportOn(key Key, now time.Time) *report {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.reports == nil {
		n.reports = map[Key]*report{}
	}
	if n.reports[key] == nil {
		n.forgetOld(now)
		n.reports[key] = &report{turn: make(chan struct{}, 1)}
	}
	return n.reports[key]
}

// forgetOld lets go of namespaces in which no start has been late for a while.
func (n *Reader) forgetOld(now time.Time) {
	for key, old := range n.reports {
		select {
		case old.turn <- struct{}{}:
			if now.Sub(old.read).Abs() > Counts {
				delete(n.reports, key)
			}
			<-old.turn
		default: // it is being read now
		}
	}
}

// read reads, page by page, what was said of the objects of a kind.
func read(ctx context.Context, from client.Reader, key Key) (map[string]Event, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	latest, list := map[string]Event{}, &eventsv1.EventList{}
	for page := 0; page < Pages && (page == 0 || list.Continue != ""); page++ {
		err := from.List(ctx, list, client.InNamespace(key.Namespace), client.MatchingFields{"regarding.kind": key.Kind},
			client.Limit(pageSize), client.Continue(list.Continue))
		if err != nil {
			return nil, fmt.Errorf("list events of namespace %q: %w", key.Namespace, err)
		}
		for i := range list.Items {
			e := &list.Items[i]
			word := Event{e.Regarding.UID, e.Reason, Lasting(e.Note), timeOf(e)}
			if slices.Contains(tellingReasons(), e.Reason) && !word.at.Before(latest[e.Regarding.Name].at) {
				latest[e.Regarding.Name] = word
			}
		}
	}
	return latest, nil
}

// passing is what differs from one try to the next: how long it took, and under which
// number somebody else keeps it.
var passing = regexp.MustCompile(`(?i)(request ?-?id:? ?)[^ ,;]+|\b(\d+h)?(\d+m)?\d+(\.\d+)?(ms|µs|s)\b`)

// Lasting is a note without that: the same trouble gives the same words.
func Lasting(note string) string { return passing.ReplaceAllString(note, "$1…") }

// timeOf is when an event was last seen. The kubelet still writes the older fields.
func timeOf(e *eventsv1.Event) time.Time {
	times := []time.Time{e.EventTime.Time, e.DeprecatedLastTimestamp.Time}
	if e.Series != nil {
		times = append(times, e.Series.LastObservedTime.Time)
	}
	return slices.MaxFunc(times, time.Time.Compare)
}

// tellingReasons are those of the kubelet, the volume controllers and autoscalers that say
// why a pod is not started or a claim has no volume (kubernetes' pkg/kubelet/events and
// pkg/controller/volume/events). None repeats what a container wrote.
func tellingReasons() []string {
	return []string{
		"FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox", "FailedCreatePodContainer",
		"NetworkNotReady", "ProvisioningFailed", "FailedBinding", "ClaimLost", "ClaimMisbound",
		"TriggeredScaleUp", "Nominated",
	}
}

// IsGrowth reports whether somebody adds a node for a pod: the cluster autoscaler or Karpenter.
func IsGrowth(reason string) bool { return reason == "TriggeredScaleUp" || reason == "Nominated" }
