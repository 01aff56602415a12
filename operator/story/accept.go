package story

import (
	"fmt"
	"strings"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// What helps a session that is not accepted as it is: its user, template, sizes or host.

func forInvalidUser(f Facts) []Finding {
	return []Finding{user("make the session again with another spelling of its user; spec.user cannot be changed", f.again(f.Session.Name, f.Session.Spec.Template, "USER"))}
}

func forMissingTemplate(f Facts) []Finding {
	text := "make the session again with a template that is there; spec.template cannot be changed, and the home is kept"
	if len(f.Offered) > 0 {
		text += ". There are: " + strings.Join(f.Offered, ", ")
	}
	return []Finding{
		user(text, f.again(f.Session.Name, "TEMPLATE", f.person())),
		administrator(fmt.Sprintf("add a template named %s; the session starts by itself then", f.Session.Spec.Template), "kubectl get vditemplates"),
	}
}

func forInvalidValues(f Facts) []Finding {
	return []Finding{administrator("correct the template's spec.values where the message says; the session starts by itself then", f.editTemplate())}
}

func forInvalidResources(f Facts) []Finding {
	text := "ask for sizes within the template's bounds (spec.resources, spec.persistence.size)"
	if f.Template != nil {
		if bounds := boundsOf(f.Template); bounds != "" {
			text += ": " + bounds
		}
	}
	return []Finding{
		user(text, f.edit()),
		administrator("or widen the template's resources.min and resources.max", f.editTemplate()),
	}
}

// boundsOf are a template's bounds in words; "" where it has none.
func boundsOf(t *vdi.VDITemplate) string {
	var bounds []string
	add := func(name, least, most string) {
		switch {
		case least != "" && most != "":
			bounds = append(bounds, fmt.Sprintf("%s %s to %s", name, least, most))
		case least != "":
			bounds = append(bounds, name+" at least "+least)
		case most != "":
			bounds = append(bounds, name+" at most "+most)
		}
	}
	count := func(n *int32) string {
		if n == nil {
			return ""
		}
		return fmt.Sprint(*n)
	}
	least, most := t.Spec.Resources.Min, t.Spec.Resources.Max
	add("GPU", count(least.GPU), count(most.GPU))
	add("memory", string(least.Memory), string(most.Memory))
	add("CPU", string(least.CPU), string(most.CPU))
	return strings.Join(bounds, ", ")
}

func forGPUCount(f Facts) []Finding {
	return []Finding{user("ask for one GPU slice (spec.resources.gpu: 1): slices of a shared GPU do not add up", f.edit())}
}

func forEncoder(f Facts) []Finding {
	return []Finding{administrator("set the template's gpu.encoder to Auto, or lead it to nodes with NVENC by scheduling.nodeSelector", f.editTemplate())}
}

func forNotOffered(f Facts) []Finding {
	out := withoutGPU(f)
	what := "what the message names"
	if g := f.Session.Status.GPU; g != nil && g.ResourceName != "" {
		what = g.ResourceName
	}
	return append(out, administrator("let a node offer "+what+", or correct the template's gpu.resourceName and sizes: does the device plugin run, and is the node there?", "kubectl describe nodes"))
}

// withoutGPU offers to render in software where the template admits that.
func withoutGPU(f Facts) []Finding {
	switch g := f.Session.Status.GPU; {
	case g == nil || g.Count == 0:
		return []Finding{user("ask for less (spec.resources)", f.change())}
	case f.Template != nil && f.Template.Spec.Resources.Min.GPU != nil && *f.Template.Spec.Resources.Min.GPU > 0:
		return nil
	}
	return []Finding{user("or go on without a GPU (spec.resources.gpu: 0), rendered in software", f.change())}
}

func forGuard(f Facts) []Finding {
	return []Finding{administrator("change the template so that the desktop keeps the platform's rules; the message says which is broken", f.editTemplate())}
}

func forInvalidHost(f Facts) []Finding {
	return []Finding{
		user("make the session again under a shorter name", f.renamed()),
		administrator("or correct sessions.hostTemplate in the platform's values", ""),
	}
}

func forHostInUse(f Facts) []Finding {
	return []Finding{user("end the session that has this host, or make this one again under another name", f.renamed())}
}

// forTemplateOfOthers is about whom a template does not admit. Who was given a group since
// says so at a resume: spec.groups is what a session knows.
func forTemplateOfOthers(f Facts) []Finding {
	groups := user("say which groups you are in (spec.groups): a session that has none may be given groups at any time", f.edit())
	if len(f.Session.Spec.Groups) > 0 {
		groups = user("correct the groups that you are in (spec.groups), which can be changed while no desktop runs", f.change())
	}
	return []Finding{
		groups,
		user("or make the session again from a template that is for you; the home is kept", f.again(f.Session.Name, "TEMPLATE", f.person())),
		administrator("or add the user, or one of the groups in spec.groups, to the template's spec.access; the session starts by itself then", f.editTemplate()),
	}
}

func forHostOfAnother(f Facts) []Finding {
	return []Finding{user("make the session again under another name: the host stays with the person who had it", f.renamed())}
}
