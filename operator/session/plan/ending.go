package plan

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/homes/kept"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// stopForGood ends the desktop and waits until it is gone: until then it may
// still write to the home.
func (p draft) stopForGood() error {
	p.stopDesktop()
	if p.Seen.Pod == nil {
		return nil
	}
	return ShuttingDown(untilOrphanGoes(p.Session, p.Seen.Pod))
}

// ShuttingDown is the verdict while the desktop of a session that is being removed goes.
func ShuttingDown(retry time.Duration) *verdict.Verdict {
	return terminating("The desktop is shutting down", retry)
}

func terminating(message string, retry time.Duration) *verdict.Verdict {
	return &verdict.Verdict{
		Condition: vdi.ConditionReady, Reason: vdi.ReasonTerminating, Phase: vdi.PhaseTerminating, Message: message, Retry: retry,
	}
}

// deleteHome deletes a home only when all of this holds: a person deleted the
// session, its policy says Delete, the claim has the name of this session's own
// home, is the very one that its status records and the one the operator made for
// this user, no other session of theirs names or holds it, and the desktop's pod
// is gone from the API server.
func (p draft) deleteHome() error {
	if !MayDeleteHome(p.Session) {
		return nil
	}
	if err := p.answer(AskDeletion); err != nil {
		return err
	}
	switch e := p.Ending; {
	case e.PodThere:
		return ShuttingDown(verdict.OwnerGoneRetry)
	case e.Claim == nil, e.Claim.DeletionTimestamp != nil:
	case e.Claim.UID != p.Session.Status.Home.UID, !homes.MadeFor(p.Session, e.Claim):
		p.HomeKept = &KeptHome{Claim: e.Claim, Why: "it is not the claim that was made for this session"}
	case e.HadBy != "":
		p.HomeKept = &KeptHome{Claim: e.Claim, Why: e.HadBy}
	default:
		p.do(DeleteHome{e.Claim})
	}
	return nil
}

// MayDeleteHome is the policy alone; see deleteHome for the facts.
func MayDeleteHome(s *vdi.VDISession) bool {
	home := s.Status.Home
	return s.Spec.Persistence.ReclaimPolicy == vdi.ReclaimDelete &&
		homes.Persistent(s) && s.Spec.Persistence.ExistingClaim == "" &&
		s.Status.EndReason == "" && // the operator's ends are no person's wish to delete anything
		home != nil && home.CreatedByOperator && home.UID != "" && home.ClaimName == renderer.HomeClaimName(s.Name)
}

// leaveHome marks the home that a session leaves behind, and for how long it is
// to be kept. A mark stays as it is: it was made by an earlier look at this end, or by the
// session that had the home last.
func (p draft) leaveHome() error {
	if _, found := planned[DeleteHome](p.Writes); found {
		return nil
	}
	if err := p.answer(AskLeftClaim); err != nil {
		return err
	}
	claim := p.LeftClaim
	if claim == nil || !homes.MadeFor(p.Session, claim) || claim.DeletionTimestamp != nil || kept.Left(claim) {
		return nil
	}
	if err := p.answer(AskLeftTo); err != nil {
		return err
	}
	if p.LeftTo != "" {
		return nil // it is not left, but another session's
	}
	if err := p.answer(AskTime); err != nil {
		return err
	}
	var keep time.Duration // a home that was switched off before is kept for ever
	if homes.WasHomeOf(p.Session, claim) {
		keep = p.RetainFor
	}
	p.do(LeaveHome{claim, p.ServerTime, keep})
	return nil
}

// releaseHost frees the host for the same person's next session.
func (p draft) releaseHost() error {
	if host := p.Session.Status.Host; host != "" && platform.HostNeedsClaim(p.Platform.Sessions) {
		p.do(ReleaseHost{host})
	}
	return nil
}

// Whoever deletes a session may ask the garbage collector to let go of what it owns
// (propagationPolicy Orphan). That must leave no desktop behind, which nobody would
// find again, and no Secret that keeps the next session of the name from starting.

// adoptOrphans gives what lost its owner back to the session, once the garbage collector is
// done: it takes all of it when the session goes. The operator itself may not delete most of
// these kinds.
func (p draft) adoptOrphans() error {
	if lettingGo(p.Session) {
		return terminating("The session's objects are being removed", verdict.OwnerGoneRetry)
	}
	p.do(AdoptOrphans{})
	return nil
}

// IsOurs reports whether an object is the session's: it owns it, or is being deleted and
// did until the garbage collector let go of it.
func IsOurs(s *vdi.VDISession, o metav1.Object) bool {
	return metav1.IsControlledBy(o, s) || IsOrphan(s, o)
}

// IsOrphan reports whether an object was the session's, by the labels that the operator
// gives its objects last.
func IsOrphan(s *vdi.VDISession, o metav1.Object) bool {
	labels := o.GetLabels()
	return s.DeletionTimestamp != nil && len(o.GetOwnerReferences()) == 0 &&
		labels[wire.LabelManagedBy] == wire.Operator && labels[wire.LabelName] == wire.NameSession &&
		labels[wire.LabelInstance] == s.Name && labels[wire.LabelUser] == platform.Identity(s.Spec.User)
}

// lettingGo reports whether the garbage collector still has to let go of something.
func lettingGo(s *vdi.VDISession) bool {
	return slices.Contains(s.Finalizers, metav1.FinalizerOrphanDependents)
}

// untilOrphanGoes is when to look again for an object whose end wakes nobody, since
// it has no owner; 0 for all others.
func untilOrphanGoes(s *vdi.VDISession, o metav1.Object) time.Duration {
	if IsOrphan(s, o) || lettingGo(s) {
		return verdict.OwnerGoneRetry
	}
	return 0
}

// letGo lets the session go; the garbage collector takes what it owns.
func (p draft) letGo() error {
	if controllerutil.ContainsFinalizer(p.Session, wire.Finalizer) {
		p.do(RemoveFinalizer{})
	}
	return nil
}

// KeptHome is a home that stays although its session was to take it along, and why.
type KeptHome struct {
	Claim *corev1.PersistentVolumeClaim
	Why   string
}

// Note says it in an event.
func (k KeptHome) Note(s *vdi.VDISession) string {
	return fmt.Sprintf("The session %s is gone, and was to take its home along (reclaimPolicy Delete), but the home is kept: %s", s.Name, k.Why)
}
