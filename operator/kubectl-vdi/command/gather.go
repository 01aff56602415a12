package command

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/story"
)

// gatherer reads what a story needs, and notes what may not be read.
type gatherer struct {
	*cluster
	ctx   context.Context
	facts story.Facts
}

// gather reads the facts about a session. What is not there is left out; what may not be
// read, or could not, is named.
func (t *tool) gather(ctx context.Context, c *cluster, name string) (story.Facts, error) {
	s, err := c.session(ctx, name)
	if err != nil {
		return story.Facts{}, err
	}
	g := &gatherer{cluster: c, ctx: ctx, facts: story.Facts{Now: t.now(), Session: s}}
	g.template()
	g.facts.Pod = readOne[corev1.Pod](g, core("pods"), c.namespace, s.Status.PodName, "pod")
	if s.Status.Home != nil {
		g.facts.Claim = readOne[corev1.PersistentVolumeClaim](g, core("persistentvolumeclaims"), c.namespace, s.Status.Home.ClaimName, "claim")
	}
	g.others()
	g.nodes()
	if s.Status.WaitingFor == vdi.WaitingForQuota {
		g.facts.Quotas = readAll[corev1.ResourceQuota](g, g.dynamic.Resource(core("resourcequotas")).Namespace(c.namespace), "resource quotas", "")
	}
	g.events()
	return g.facts, ctx.Err()
}

func core(resource string) schema.GroupVersionResource {
	return corev1.SchemeGroupVersion.WithResource(resource)
}

// failed notes why something could not be read.
func (g *gatherer) failed(what string, err error) {
	switch {
	case apierrors.IsForbidden(err):
		if !slices.Contains(g.facts.Unread, what) {
			g.facts.Unread = append(g.facts.Unread, what)
		}
	case err != nil && !apierrors.IsNotFound(err):
		g.facts.Failed = append(g.facts.Failed, what+": "+err.Error())
	}
}

// readOne reads an object; nil where it is not there or may not be read.
func readOne[T any](g *gatherer, resource schema.GroupVersionResource, namespace, name, what string) *T {
	if name == "" {
		return nil
	}
	o, err := g.dynamic.Resource(resource).Namespace(namespace).Get(g.ctx, name, getOptions)
	if err == nil {
		var typed *T
		if typed, err = as[T](o); err == nil {
			return typed
		}
	}
	g.failed(what+" "+name, err)
	return nil
}

// readAll reads a list; empty where it may not be read.
func readAll[T any](g *gatherer, from dynamic.ResourceInterface, what, fieldSelector string) (all []T) {
	list, err := from.List(g.ctx, metav1.ListOptions{FieldSelector: fieldSelector})
	if err != nil {
		g.failed(what, err)
		return nil
	}
	for i := range list.Items {
		typed, err := as[T](&list.Items[i])
		if err != nil {
			g.failed(what, err)
			return all
		}
		all = append(all, *typed)
	}
	return all
}

func (g *gatherer) template() {
	s := g.facts.Session
	g.facts.Template = readOne[vdi.VDITemplate](g, templateResource, "", s.Spec.Template, "template")
	if s.Status.WaitingFor != vdi.WaitingForTemplate {
		return
	}
	for _, t := range readAll[vdi.VDITemplate](g, g.dynamic.Resource(templateResource), "templates", "") {
		g.facts.Offered = append(g.facts.Offered, t.Name)
	}
}

// others are sessions that may wait for the same: those of the cluster, else those of the
// namespace.
func (g *gatherer) others() {
	if story.PoolOf(g.facts.Session) == "" {
		return
	}
	if g.facts.Session.Status.WaitingFor == vdi.WaitingForQuota { // a quota is a namespace's
		g.facts.Others = readAll[vdi.VDISession](g, g.sessions(), story.UnreadOthers, "")
	} else {
		before := len(g.facts.Unread) + len(g.facts.Failed)
		g.facts.Others = readAll[vdi.VDISession](g, g.dynamic.Resource(sessionResource), story.UnreadElsewhere, "")
		if len(g.facts.Unread)+len(g.facts.Failed) > before {
			g.facts.Others = readAll[vdi.VDISession](g, g.sessions(), story.UnreadOthers, "")
		}
	}
	g.facts.Names = g.may(g.ctx, "manage", sessionResource)
}

// nodes are read where they may explain a wait.
func (g *gatherer) nodes() {
	s := g.facts.Session
	switch {
	case s.Status.WaitingFor == vdi.WaitingForGPU, s.Status.WaitingFor == vdi.WaitingForNode:
	case s.Status.Phase == vdi.PhaseCreating && g.facts.Pod != nil && g.facts.Pod.Spec.NodeName != "":
	default:
		return
	}
	g.facts.Nodes = readAll[corev1.Node](g, g.dynamic.Resource(core("nodes")), "nodes", "")
}

// events are those of the session, of its pod, which has its name, and of its home; none of
// an earlier session of that name.
func (g *gatherer) events() {
	s := g.facts.Session
	names := []string{s.Name}
	if s.Status.Home != nil && s.Status.Home.ClaimName != "" {
		names = append(names, s.Status.Home.ClaimName)
	}
	from := g.dynamic.Resource(eventsv1.SchemeGroupVersion.WithResource("events")).Namespace(g.namespace)
	for _, name := range names {
		for _, e := range readAll[eventsv1.Event](g, from, "events", fields.OneTermEqualSelector("regarding.name", name).String()) {
			if at := story.EventTime(&e); !at.Before(&s.CreationTimestamp) {
				g.facts.Events = append(g.facts.Events, e)
			}
		}
	}
}
