package story

import (
	"fmt"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// What helps against trouble with a home.

func forHomeOfAnother(f Facts) []Finding {
	identity := f.Session.Status.Identity
	return []Finding{
		user("make the session again under another name; it gets a home of its own then", f.again("NAME", "--template "+f.Session.Spec.Template)),
		administrator("or hand the claim over, where it is the same person's", f.onClaim("label --overwrite", wire.LabelHomeFor+"="+identity)),
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
		administrator("bring the claim back before the next start", fmt.Sprintf("kubectl get pv | grep %s/%s", f.Session.Namespace, f.claimName())),
	}
}

func forHomeReplaced(f Facts) []Finding {
	return []Finding{administrator("look for the former volume, or a backup, if files are missed", fmt.Sprintf("kubectl get pv | grep %s/%s", f.Session.Namespace, f.claimName()))}
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
