package session

import (
	"hash/maphash"
	"slices"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/clusterevents"
	"github.com/vdi-platform/vdi-platform/operator/desktop"
	"github.com/vdi-platform/vdi-platform/operator/fairshare"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/remember"
	"github.com/vdi-platform/vdi-platform/operator/session/background"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/turnlogin"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// memory is what the operator knows of its sessions beside what is written. All
// of it is lost with the operator and none of it is missed then: it only saves
// requests and work. The zero value is ready to use.
type memory struct {
	superseded  superseded
	firstStarts firstStarts
	settled     settled
	turnLogins  turnlogin.Known
	homesKnown  homes.Known
	endedPods   endedPods
	written     written
	events      clusterevents.Reader
	share       fairshare.Ledger
	opened      opened
	quotaReads  atomic.Uint64           // reads of all quotas, so that an older one does not count
	moved       chan event.GenericEvent // sessions that may go on by the quotas; nil without a manager
	routes      background.Questions[error]
	uses        background.Questions[use]
}

// forget is called for a session that is gone.
func (m *memory) forget(key types.NamespacedName) {
	m.superseded.Delete(key)
	m.firstStarts.Delete(key)
	m.settled.Delete(key)
	m.turnLogins.Delete(key)
	m.homesKnown.Forget(key)
	m.endedPods.Delete(key)
	m.written.Delete(key)
	m.routes.Delete(key)
	m.uses.Delete(key)
}

// endedPods remember when each session's pod was first seen to have ended: a node's
// clock has no say in how long it stays.
type endedPods struct{ remember.Map[endedPod] }

type endedPod struct {
	pod types.UID
	at  time.Time
}

// age is how long ago the pass' pod was first seen to have ended.
func (f *endedPods) age(p *plan.Pass) time.Duration {
	key := client.ObjectKeyFromObject(p.Session)
	seen, found := f.Load(key)
	if !found || seen.pod != p.Seen.Pod.UID || seen.at.After(p.Clock) {
		seen = endedPod{p.Seen.Pod.UID, p.Clock}
		f.Store(key, seen)
	}
	return p.Clock.Sub(seen.at)
}

// cacheLag is when a session is looked at again whose cached state is older than
// our own last write; the watch event is on its way.
const cacheLag = 20 * time.Millisecond

// longestLag bounds that wait. After a restore the API server knows nothing of our
// last writes, and nothing newer may ever come; a cache that is later than that
// costs a conflict.
const longestLag = time.Second

// superseded remembers, until the cache shows something newer, the resource
// versions of sessions that our own writes replaced. A pass that began from one
// of them would decide on the past, and each of its writes would be a conflict.
type superseded struct{ remember.Map[replaced] }

type replaced struct {
	versions []string
	at       time.Time
}

// isStale reports whether the cache has not seen our last write yet.
func (s *superseded) isStale(key types.NamespacedName, version string, now time.Time) bool {
	last, known := s.Load(key)
	if !known {
		return false
	}
	if slices.Contains(last.versions, version) && now.Sub(last.at).Abs() < longestLag {
		return true
	}
	s.Delete(key)
	return false
}

// remember keeps what a pass replaced.
func (s *superseded) remember(key types.NamespacedName, versions []string, now time.Time) {
	if len(versions) > 0 {
		s.Store(key, replaced{versions, now})
	}
}

// written remembers when this operator last wrote the status of each session.
type written struct{ remember.Map[time.Time] }

// ownWrite is how long after that a change of the status may be our own: longer than a
// cache takes to show it, and shorter than the API server is away while it is restored.
const ownWrite = 10 * time.Second

// settled remembers of each session what it was last compared with and found in
// order. While nothing of that changes, rendering again and comparing
// would come to the same: most passes are news of the pod alone. What is
// remembered is lost with the operator; the next pass then renders once more.
type settled struct{ remember.Map[inOrder] }

var settledSeed = maphash.MakeSeed()

// unchanged reports whether the living desktop of this pass is in order.
func (s *settled) unchanged(p *plan.Pass) bool {
	known, found := s.Load(client.ObjectKeyFromObject(p.Session))
	if !found || !p.Seen.PodLives() || p.Decision.Want != plan.Run {
		return false
	}
	is, err := inOrderOf(p)
	return err == nil && known == is
}

// remember keeps a pass that compared everything and left nothing to do or to report.
func (s *settled) remember(p *plan.Pass, failed error) {
	key := client.ObjectKeyFromObject(p.Session)
	if failed == nil && p.InOrder() {
		if is, err := inOrderOf(p); err == nil {
			s.Store(key, is)
			return
		}
	}
	if p.Desired != nil {
		s.Delete(key)
	}
}

// inOrder is all that rendering and comparing depend on.
type inOrder struct {
	input   renderer.Fingerprint // all that rendering reads
	objects uint64               // a hash of the objects that are there
}

// inOrderOf has the pod by its identity, since it is never changed, the home by what is
// read of it, and the other objects by their versions.
func inOrderOf(p *plan.Pass) (inOrder, error) {
	input, err := p.Input.Fingerprint()
	if err != nil {
		return inOrder{}, err
	}
	var h maphash.Hash
	h.SetSeed(settledSeed)
	maphash.WriteComparable(&h, [3]types.UID{p.Session.UID, p.Template.UID, p.Seen.Pod.UID})
	maphash.WriteComparable(&h, [2]int64{p.Session.Generation, p.Template.Generation})
	maphash.WriteComparable(&h, homes.Fingerprint(p.Seen.Claim))
	all := func(*unstructured.Unstructured) bool { return true }
	for _, o := range p.Seen.Which(all) { // always in the same order
		maphash.WriteComparable(&h, [4]string{o.GetKind(), o.GetName(), string(o.GetUID()), o.GetResourceVersion()})
	}
	return inOrder{input, h.Sum64()}, nil
}

// firstStarts remembers by which rules of its template a desktop was started for the first time,
// until they are in the status: the template may go meanwhile.
type firstStarts struct{ remember.Map[unreported] }

type unreported struct {
	session types.UID
	rules   *vdi.TemplateLifecycle
}

func (u *firstStarts) remember(key types.NamespacedName, p *plan.Pass) {
	u.Store(key, unreported{p.Session.UID, p.LastRules()})
}

// recall gives the pass what was remembered of its session.
func (u *firstStarts) recall(p *plan.Pass) {
	key := client.ObjectKeyFromObject(p.Session)
	known, found := u.Load(key)
	u.Delete(key)
	if found && known.session == p.Session.UID {
		p.StartedBy = known.rules
	}
}

// seePod notes the session's pod. What is known of the login of a desktop that was not
// reported yet stands on its pod. No report may know the pod without its login: both are
// written once.
func (m *memory) seePod(p *plan.Pass, pod *corev1.Pod) {
	p.Seen.Pod = pod
	if desktop.Ended(pod) {
		p.EndedFor = m.endedPods.age(p)
	}
	if !p.SamePod() {
		m.firstStarts.recall(p)
		p.Credentials, p.Verifier = true, verifierOn(pod)
	}
}

// verifierOn is what a pod says of its password. Others may write annotations: what is no
// SHA-256 is not believed.
func verifierOn(pod *corev1.Pod) string {
	verifier := pod.Annotations[wire.AnnotationPasswordVerifier]
	if !wire.IsPasswordVerifier(verifier) {
		return ""
	}
	return verifier
}
