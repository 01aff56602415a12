package story

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// What helps a start that is late, refused or failed.

func forUnschedulable(f Facts) []Finding {
	switch f.Session.Status.WaitingFor {
	case vdi.WaitingForGPU:
		out := []Finding{nobody("it starts by itself when another desktop gives its GPU back")}
		out = append(append(out, withoutGPU(f)...), forCordoned(f)...)
		return append(out, administrator("or add GPUs, or suspend desktops that nobody uses", "kubectl vdi list -A"))
	case vdi.WaitingForVolume:
		return []Finding{administrator("see why the home's volume is not there: its storage class, its provisioner, its zone", f.onClaim("describe", ""))}
	}
	out := append([]Finding{
		nobody("it starts by itself when a node has room"),
		user("or ask for less (spec.resources)", f.change()),
	}, forCordoned(f)...)
	return append(out, administrator("or add nodes, or admit more of them in the template's scheduling", f.pod("describe pod")))
}

// forCordoned is about nodes that would offer what is awaited and take no desktops.
func forCordoned(f Facts) []Finding {
	var names []string
	for _, n := range f.Nodes {
		if n.Spec.Unschedulable && offersGPU(f, n) {
			names = append(names, n.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []Finding{administrator("or let desktops onto the nodes that are cordoned, where their drain is over", "kubectl uncordon "+strings.Join(names, " "))}
}

func forNotPrepared(f Facts) []Finding {
	return []Finding{administrator("mend what the node misses; the message names it", f.pod("describe pod"))}
}

func forImage(f Facts) []Finding {
	return []Finding{administrator("correct the template's image, or its pull secret (imagePullSecrets, sessions.images.pullSecrets); the desktop starts by itself then", f.editTemplate())}
}

func forCrashes(f Facts) []Finding {
	last := f.Session.Status.LastExit
	if last != nil && last.Reason == "OOMKilled" {
		text := "give it more memory (spec.resources.memory)"
		if f.Template != nil && f.Template.Spec.Resources.Max.Memory != "" {
			text += fmt.Sprintf(", at most %s", f.Template.Spec.Resources.Max.Memory)
		}
		return []Finding{user(text, f.change())}
	}
	container := wire.ContainerDesktop
	if last != nil && last.Container != "" {
		container = last.Container
	}
	return []Finding{
		administrator("read what it wrote before it ended", f.pod("logs")+" -c "+Quote(container)+" --previous"),
		user("or suspend it meanwhile; the home is kept", f.vdi("suspend")),
	}
}

func forRestart(Facts) []Finding {
	return []Finding{nobody("a new desktop starts by itself with the same home")}
}

func forRelay(f Facts) []Finding {
	return []Finding{administrator("name a TURN relay in the platform's values (sessions.turn), or set the template's transport to WebSocket", f.editTemplate())}
}

func forRelaySecret(Facts) []Finding {
	return []Finding{administrator("see whether the relay's Secret is there, as the message names it; the session starts by itself then", "kubectl get pods -A -l app.kubernetes.io/name=coturn")}
}

func forRouteKind(Facts) []Finding {
	return []Finding{administrator("install Traefik with its custom resource definitions; the session goes on by itself then", "kubectl get crd ingressroutes.traefik.io")}
}

func forFrontDoorKeys(Facts) []Finding {
	return []Finding{administrator("see whether the front door runs; the session goes on by itself when it has published its keys", "kubectl get deployments -A | grep vdi-frontdoor")}
}

func forRoute(f Facts) []Finding {
	out := []Finding{nobody("the proxy takes up a new route within seconds; the operator asks again by itself")}
	if f.lasts() < patience {
		return out
	}
	return append(out, administrator("see whether the proxy runs and answers for this host, and reads the session's route", fmt.Sprintf("curl -sv -o /dev/null %s && kubectl get ingressroutes -n %s", Quote(f.Session.Status.URL), f.Session.Namespace)))
}

// forQueue is about who has a place among those that wait for room.
func forQueue(f Facts) []Finding {
	if f.Session.Status.Queue != nil && f.Session.Status.Queue.Quota == "" {
		return []Finding{
			nobody("it starts by itself when it is its turn"),
			user("or go on without a GPU (spec.resources.gpu: 0), rendered in software", f.edit()),
			administrator("or add GPUs, or suspend desktops that nobody uses", "kubectl vdi list -A"),
		}
	}
	return []Finding{
		nobody("it starts by itself when it is its turn"),
		user("or suspend a desktop of yours that you do not need now, where the quota is each person's", f.list()),
		administrator("or raise the quota", f.editQuota()),
	}
}

// forVDIQuota is about whom a VDIQuota refuses.
func forVDIQuota(f Facts) []Finding {
	first := user("make the room that the message asks for: suspend, delete or ask for less", f.list())
	if f.Session.Status.Queue != nil { // it does not start by itself
		first = user("ask again when there is room", f.vdi("suspend")+" && "+f.vdi("resume"))
	}
	return []Finding{first, administrator("or raise the quota that the message names", f.editQuota())}
}

func (f Facts) list() string { return "kubectl vdi list -n " + f.Session.Namespace }

func (f Facts) editQuota() string {
	if q := f.Session.Status.Queue; q != nil && q.Quota != "" {
		return "kubectl edit vdiquota " + q.Quota
	}
	return "kubectl get vdiquotas"
}

func forQuota(f Facts) []Finding {
	if c := condition(f.Session, vdi.ConditionAccepted); c != nil && c.Status == metav1.ConditionFalse {
		return forVDIQuota(f)
	}
	quota := ""
	for _, q := range f.Quotas {
		if len(full(q)) > 0 {
			quota = " " + q.Name
			break
		}
	}
	return []Finding{
		user("suspend or delete a session of yours that you do not need now", f.list()),
		administrator("or raise the quota; it is tried again every minute", strings.TrimSpace(fmt.Sprintf("kubectl edit resourcequota -n %s%s", f.Session.Namespace, quota))),
	}
}

func forDenied(f Facts) []Finding {
	return []Finding{administrator("change the template, or the rule of the cluster that the message names; it is tried again every minute", f.editTemplate())}
}

func forNameTaken(f Facts) []Finding {
	return []Finding{
		administrator("remove or rename the object that the message names: it is not the operator's", ""),
		user("or make the session again under another name", f.renamed()),
	}
}
