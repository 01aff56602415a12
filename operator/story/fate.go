package story

import (
	"cmp"
	"time"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// Fate is what becomes of a session's home when somebody deletes the session.
type Fate struct {
	// Claim is the home; "" where it is not known.
	Claim string
	// None: there is no home that outlives the desktop.
	None bool
	// Foreign: the operator did not make it, so it stays, whatever anybody says.
	Foreign bool
	// Deleted: it goes with its files.
	Deleted bool
	// KeptFor is for how long it is kept, then it is deleted; "" for ever.
	KeptFor string
}

// FateOf says what becomes of a home. AlsoHome: somebody wants it deleted, too.
func FateOf(s *vdi.VDISession, alsoHome bool) Fate {
	p, home := s.Spec.Persistence, s.Status.Home
	goes := alsoHome || p.ReclaimPolicy == vdi.ReclaimDelete
	known := home != nil && home.ClaimName != "" && home.UID != ""
	switch {
	case !known && p.Enabled != nil && !*p.Enabled:
		return Fate{None: true}
	case !known && p.ExistingClaim != "":
		return Fate{Claim: p.ExistingClaim, Foreign: true}
	case known && !home.CreatedByOperator:
		return Fate{Claim: home.ClaimName, Foreign: true}
	}
	fate := Fate{Deleted: goes}
	if known {
		fate.Claim = home.ClaimName
	}
	if !goes {
		fate.KeptFor = keptFor(s)
	}
	return fate
}

// keptFor: the session's wish counts before what the operator found in the template.
func keptFor(s *vdi.VDISession) string {
	wish := string(s.Spec.Persistence.RetainFor)
	if s.Status.Home != nil {
		wish = cmp.Or(wish, s.Status.Home.RetainFor)
	}
	if lasts, err := time.ParseDuration(wish); err == nil && lasts == 0 {
		return ""
	}
	return wish
}
