package status

import (
	"fmt"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/homes/kept"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// homeStatus shows what the home is, from what was seen. A claim that is not
// this user's is never recorded: what is recorded may be deleted with the session.
func homeStatus(p *plan.Pass) *vdi.HomeStatus {
	name := p.HomeInForce()
	others := retained(p, name)
	if name == "" && len(others) == 0 {
		return nil
	}
	h := &vdi.HomeStatus{ClaimName: name, RetainedClaims: others}
	if claim := p.Seen.ClaimNamed(name); claim != nil && homes.Usable(p.Session, claim) == nil {
		h.UID, h.CreatedByOperator = claim.UID, kept.MadeByOperator(claim)
	}
	rules, _ := p.Rules()
	if keep := homes.RetainFor(p.Session.Spec, rules); keep > 0 && name == renderer.HomeClaimName(p.Session.Name) {
		h.RetainFor = keep.String()
	}
	return h
}

// retained lists the session's own claim when it is kept but not mounted.
func retained(p *plan.Pass, inForce string) []string {
	c := p.Seen.Claim
	if c == nil || c.Name == inForce || c.Labels[wire.LabelUser] != platform.Identity(p.Session.Spec.User) {
		return nil
	}
	return []string{c.Name}
}

// homeTrouble is what is wrong with the home of a desktop, or of its next start; nil when
// nothing is known.
func (p view) homeTrouble() *fact {
	name := p.HomeInForce()
	claim := p.Seen.ClaimNamed(name)
	var f fact
	switch {
	case p.HomeGone:
		f = isFalse(vdi.ReasonHomeMissing, fmt.Sprintf("The claim of the home %s has been removed. What a desktop that still runs has there, save elsewhere: the next start makes a new, empty home, unless an administrator brings the claim back before", name))
	case claim == nil:
		return nil
	case homes.IsLost(claim):
		f = isFalse(vdi.ReasonHomeLost, homes.LostWords(claim))
	case claim.DeletionTimestamp != nil && p.Seen.PodLives():
		f = isFalse(vdi.ReasonHomeLeaving, fmt.Sprintf("Somebody has deleted the home %s. Kubernetes keeps it while this desktop runs and removes it, with its files where its volume is not retained, when the desktop stops: save elsewhere what is needed", name))
	default:
		return nil
	}
	return &f
}

// isReplaced reports whether the session's home is another one than it had.
func (p view) isReplaced(name string) bool {
	is, was := p.home, p.Session.Status.Home
	switch {
	case is == nil || is.ClaimName != name:
		return false
	case is.ReplacedUID != "":
		return true
	default: // found by this pass
		return was != nil && was.ClaimName == name && was.UID != "" && is.UID != "" && was.UID != is.UID
	}
}

// sinceBefore adds what an earlier look has recorded of the same name: a pass that did
// not look at the claim does not forget it, and another claim is not taken for the one that
// was there.
func sinceBefore(before, now *vdi.HomeStatus) *vdi.HomeStatus {
	if before == nil || before.ClaimName != now.ClaimName {
		return now
	}
	now.ReplacedUID = before.ReplacedUID
	switch {
	case now.UID == "":
		now.UID, now.CreatedByOperator = before.UID, before.CreatedByOperator
	case before.UID != "" && before.UID != now.UID:
		now.ReplacedUID = before.UID
	}
	return now
}
