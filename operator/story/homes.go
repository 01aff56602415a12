package story

import (
	"fmt"
	"slices"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// What helps against trouble with a home.

// isHomeAtRisk reports whether a home is lost, or lasts only while the desktop runs: then
// nothing is advised that ends it.
func isHomeAtRisk(s *vdi.VDISession) bool {
	c := condition(s, vdi.ConditionHomeReady)
	return c != nil && slices.Contains([]string{vdi.ReasonHomeLeaving, vdi.ReasonHomeMissing, vdi.ReasonHomeLost}, c.Reason)
}

// forHomeAtRisk speaks of the home alone; whatever else is wrong can wait for it.
func forHomeAtRisk(f Facts) []Finding {
	var out []Finding
	if isWell(f.Session) && f.Session.Status.Phase == vdi.PhaseRunning {
		out = whileRunning(f)
	}
	return append(out, forHome(f)...)
}

func forHomeOfAnother(f Facts) []Finding {
	handOver := "" // without an identity it would take the claim from everybody
	if identity := f.Session.Status.Identity; identity != "" {
		handOver = f.onClaim("label --overwrite", wire.LabelHomeFor+"="+identity)
	}
	return []Finding{
		user("make the session again under another name; it gets a home of its own then", f.renamed()),
		administrator("or hand the claim over, where it is the same person's", handOver),
	}
}

func forHomeNotFound(f Facts) []Finding {
	return []Finding{user("name a claim that is there (spec.persistence.existingClaim), or leave it out for a new home", f.edit())}
}

func forClaimNotAllowed(f Facts) []Finding {
	return []Finding{administrator("allow the claim that the message names to desktops, or take it out of the template", fmt.Sprintf("kubectl label pvc -n %s CLAIM %s=%s", f.Session.Namespace, wire.LabelForDesktops, wire.LabelOn))}
}

func forHomeInUse(f Facts) []Finding {
	return []Finding{user("suspend or end what uses the home; the message names it", fmt.Sprintf("kubectl vdi list -n %s", f.Session.Namespace))}
}

func forHomeLost(f Facts) []Finding {
	return []Finding{administrator("bring the volume back, or restore the home from a backup", f.onClaim("describe", ""))}
}

func forHomeLeaving(f Facts) []Finding {
	return []Finding{
		user("save elsewhere what is needed, before the desktop stops", ""),
		administrator("keep the volume (its persistentVolumeReclaimPolicy) before the desktop stops", f.onClaim("describe", "")),
	}
}

func forHomeMissing(f Facts) []Finding {
	return []Finding{
		user("save elsewhere what is needed, and do not restart the desktop before the home is back", ""),
		administrator("bring the claim back before the next start", f.findVolume()),
	}
}

func forHomeReplaced(f Facts) []Finding {
	return []Finding{administrator("look for the former volume, or a backup, if files are missed", f.findVolume())}
}

func forHomeDiffers(f Facts) []Finding {
	return []Finding{user("nothing, if the home may stay as it is; another class or mode needs a session of another name", "")}
}

func forHomeSize(f Facts) []Finding {
	return []Finding{
		user("ask for the size that the home has (spec.persistence.size): it stays as it is", f.edit()),
		administrator("or let its storage class grow volumes (allowVolumeExpansion), where it is to be larger", "kubectl get storageclasses"),
	}
}
