package session

import (
	"fmt"
	"hash/maphash"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/platform"
)

// settled remembers of each session what it was last compared with and found in
// order, as a hash. While nothing of that changes, rendering again and comparing
// would come to the same: most passes are news of the pod alone. What is
// remembered is lost with the operator; the next pass then renders once more.
type settled struct{ perSession[uint64] }

var settledSeed = maphash.MakeSeed()

// holds tells whether the living desktop of this pass is in order.
func (s *settled) holds(p *pass) bool {
	known, found := s.load(client.ObjectKeyFromObject(p.session))
	return found && p.seen.podLives() && p.decision.want == wantRun && known == p.print()
}

// note remembers a pass that compared everything and left nothing to do or to tell.
func (s *settled) note(p *pass, failed error) {
	key := client.ObjectKeyFromObject(p.session)
	switch {
	case failed == nil && p.inOrder():
		s.store(key, p.print())
	case p.desired != nil:
		s.delete(key)
	}
}

func (p *pass) inOrder() bool {
	return p.desired != nil && p.halted == nil && p.decision.want == wantRun && p.seen.podLives() &&
		len(p.pending) == 0 && len(p.repaired) == 0 && p.refusal == nil && p.sizeRefused == nil && p.homeDiffers == "" && !p.altered
}

// print is a hash of all that rendering and comparing depend on: the renderer's
// input, and the versions of the objects that are there. The pod counts by its
// identity, since it is never changed, the home by what is read of it, and the
// encoder by its name: where a streamer has one name for all, the choice before
// the start and the one read from the pod may differ.
func (p *pass) print() uint64 {
	var h maphash.Hash
	h.SetSeed(settledSeed)
	small := p.input // by their generations instead
	small.Session, small.Template, small.Platform = vdi.VDISession{}, vdi.VDITemplate{}, platform.Config{}
	small.Encoder = vdi.EncoderChoice(platform.EncoderFor(p.encoder, p.template.Spec.Streamer, *p.resources.GPU))
	fmt.Fprint(&h, small, p.session.UID, p.session.Generation, p.template.UID, p.template.Generation, p.seen.pod.UID, homePrint(p.seen.claim))
	for _, version := range p.versions() {
		fmt.Fprint(&h, " ", version)
	}
	return h.Sum64()
}

// versions are those of the children that are compared, in a fixed order.
func (p *pass) versions() []string {
	versions := make([]string, 0, len(p.seen.others))
	for key, o := range p.seen.others {
		versions = append(versions, key.kind+"/"+key.name+"@"+string(o.GetUID())+"@"+o.GetResourceVersion())
	}
	slices.Sort(versions)
	return versions
}

// homePrint is what is read of a home: whose it is and whether it was left, which
// its labels tell, whether it leaves, and its size.
func homePrint(claim *corev1.PersistentVolumeClaim) string {
	if claim == nil {
		return ""
	}
	return fmt.Sprint(claim.UID, claim.Labels, homes.MadeByOperator(claim), claim.DeletionTimestamp != nil, claim.Spec.Resources.Requests.Storage())
}
