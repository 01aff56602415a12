package session

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
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

const (
	// newsHolds is how long one reading of a namespace's events serves all its sessions.
	newsHolds = 10 * time.Second
	// newsCounts is how long an event is believed: who tries again and again reports each
	// try at first, and later one in five minutes (client-go's spam filter in
	// tools/record/events_cache.go).
	newsCounts = 15 * time.Minute
	// newsPage is how many events are read in one request, and newsPages how many
	// requests are made at most.
	newsPage, newsPages = 500, 8
	// newsWait is how long all of that may take.
	newsWait = 5 * time.Second
)

// news are the latest words of the cluster about pods and claims that do not come to
// be: only events have them. They are read when a start is late, once for all sessions of
// a namespace. The zero value is ready to use.
type news struct {
	mutex   sync.Mutex
	reports map[newsKey]*report
}

// newsKey is a kind of objects in a namespace.
type newsKey struct{ namespace, kind string }

// report is what was said of the objects of one kind in a namespace.
type report struct {
	turn  chan struct{} // holds one word while somebody reads; who comes meanwhile takes the same answer
	read  time.Time
	about map[string]said // name → the latest
	err   error           // why it could not be read; that is not tried again at once either
}

// said is one event.
type said struct {
	uid    types.UID
	reason string
	words  string
	at     time.Time
}

// about is the latest event about an object that is not older than it counts; false
// when there is none.
func (n *news) about(ctx context.Context, from client.Reader, key newsKey, name string, now time.Time) (said, bool, error) {
	r := n.reportOn(key, now)
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return said{}, false, ctx.Err()
	}
	if r.read.IsZero() || now.Sub(r.read).Abs() >= newsHolds {
		r.about, r.err = readNews(ctx, from, key)
		r.read = now
	}
	word, found := r.about[name]
	return word, found && now.Sub(word.at) < newsCounts, r.err
}

func (n *news) reportOn(key newsKey, now time.Time) *report {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.reports == nil {
		n.reports = map[newsKey]*report{}
	}
	if n.reports[key] == nil {
		n.forgetOld(now)
		n.reports[key] = &report{turn: make(chan struct{}, 1)}
	}
	return n.reports[key]
}

// forgetOld lets go of namespaces in which no start has been late for a while.
func (n *news) forgetOld(now time.Time) {
	for key, old := range n.reports {
		select {
		case old.turn <- struct{}{}:
			if now.Sub(old.read).Abs() > newsCounts {
				delete(n.reports, key)
			}
			<-old.turn
		default: // it is being read now
		}
	}
}

// readNews reads, page by page, what was said of the objects of a kind.
func readNews(ctx context.Context, from client.Reader, key newsKey) (map[string]said, error) {
	ctx, cancel := context.WithTimeout(ctx, newsWait)
	defer cancel()
	latest, list := map[string]said{}, &eventsv1.EventList{}
	for page := 0; page < newsPages && (page == 0 || list.Continue != ""); page++ {
		err := from.List(ctx, list, client.InNamespace(key.namespace), client.MatchingFields{"regarding.kind": key.kind},
			client.Limit(newsPage), client.Continue(list.Continue))
		if err != nil {
			return nil, fmt.Errorf("list events of namespace %q: %w", key.namespace, err)
		}
		for i := range list.Items {
			e := &list.Items[i]
			word := said{e.Regarding.UID, e.Reason, lasting(e.Note), timeOf(e)}
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

// lasting is a note without that: the same trouble gives the same words.
func lasting(note string) string { return passing.ReplaceAllString(note, "$1…") }

// timeOf is when an event was last seen. The kubelet still writes the older fields.
func timeOf(e *eventsv1.Event) time.Time {
	last := plan.Later(e.EventTime.Time, e.DeprecatedLastTimestamp.Time)
	if e.Series != nil {
		last = plan.Later(last, e.Series.LastObservedTime.Time)
	}
	return last
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

// isGrowth reports whether somebody adds a node for a pod: the cluster autoscaler or Karpenter.
func isGrowth(reason string) bool { return reason == "TriggeredScaleUp" || reason == "Nominated" }

// aboutPod is what was last said of the pass' pod; false when nothing was.
func (r *Reconciler) aboutPod(ctx context.Context, p *plan.Pass) (said, bool) {
	word, found := r.heard(ctx, p, wire.KindPod, p.Seen.Pod.Name)
	return word, found && word.uid == p.Seen.Pod.UID
}

// aboutHome is what was last said of the pass' home.
func (r *Reconciler) aboutHome(ctx context.Context, p *plan.Pass) (said, bool) {
	word, found := r.heard(ctx, p, wire.KindPersistentVolumeClaim, p.HomeInForce())
	claim := p.Seen.ClaimNamed(p.HomeInForce())
	return word, found && (claim == nil || claim.UID == word.uid)
}

// heard is what was last said of an object. A start that is late goes on without an
// answer: nothing depends on it but words, and the question is asked again.
func (r *Reconciler) heard(ctx context.Context, p *plan.Pass, kind, name string) (said, bool) {
	word, found, err := r.news.about(ctx, r.Live, newsKey{p.Session.Namespace, kind}, name, p.Now)
	if err != nil {
		logf.FromContext(ctx).Error(err, "what keeps this start is unknown")
	}
	return word, found
}
