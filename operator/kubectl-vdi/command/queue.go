package command

import (
	"cmp"
	"slices"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/duration"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/fairshare"
	"github.com/vdi-platform/vdi-platform/operator/story"
)

// waiter is a session that waits for what others have.
type waiter struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	User      string `json:"user"`
	Template  string `json:"template"`
	// WaitingFor is status.waitingFor: Quota, GPU or Node.
	WaitingFor vdi.WaitingFor `json:"waitingFor"`
	// Quota is the VDIQuota without room. Left out where the cluster has no room, or a
	// ResourceQuota of the namespace.
	Quota string `json:"quota,omitempty"`
	// Pool names the kind of desktop: those of one kind take each other's room.
	Pool string `json:"pool,omitempty"`
	// Resource is the kind of GPU that it asks for, and GPUs how many.
	Resource string `json:"resource,omitempty"`
	GPUs     int32  `json:"gpus"`
	// Place among those that wait for the same; left out at the scheduler, which has no order.
	Place int32       `json:"place,omitempty"`
	Since metav1.Time `json:"since"`
	// Priority and Weight by the VDIQuotas that select it; left out where they were not read.
	Priority *int32 `json:"priority,omitempty"`
	Weight   *int32 `json:"weight,omitempty"`
	Message  string `json:"message"`

	key time.Time // of the queue's order
}

func (t *tool) queueCommand() *cobra.Command {
	flags := reportFlags{}
	cmd := &cobra.Command{
		Use: "queue", Short: "List who waits for room, for what, since when, and at which place",
		Long: "List who waits for room, for what, since when, and at which place.\n\n" +
			"The places are the operator's, by priority and fair share; those up to the tenth are kept up to date. " +
			"A desktop without a place waits at the scheduler, or for a ResourceQuota, and others may start before it. " +
			"Those of all namespaces are listed, or with -n those of one.",
		Example: `  kubectl vdi queue

  # with templates, pools and what the operator says
  kubectl vdi queue -o wide

  # who waits for the quota of the artists
  kubectl vdi queue -o json | jq '.items[] | select(.quota == "artists") | .user'`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			s, err := t.survey(cmd.Context())
			if err != nil {
				return err
			}
			sessions, err := every[vdi.VDISession](cmd.Context(), s.list(sessionResource), "")
			if err != nil {
				return err
			}
			quotas, err := every[vdi.VDIQuota](cmd.Context(), s.dynamic.Resource(quotaResource), "")
			rows := waitersIn(sessions)
			if s.isRead("priorities and weights", err) {
				giveTurns(rows, sessions, quotas)
			}
			sortWaiters(rows)
			return printReport(t, flags, t.queueView(), rows, s.notRead)
		},
	}
	flags.add(cmd)
	return cmd
}

// waitersIn are the sessions that wait for what others have, as their statuses say.
func waitersIn(sessions []vdi.VDISession) (rows []waiter) {
	for i := range sessions {
		s := &sessions[i]
		switch {
		case hasPlace(s):
			q := s.Status.Queue
			w := waiterOf(s)
			w.Quota, w.Pool, w.Place, w.Since, w.key = q.Quota, q.Pool, q.Place, q.Since, q.Key.Time
			rows = append(rows, w)
		case story.PoolOf(s) != "":
			rows = append(rows, waiterOf(s))
		}
	}
	return rows
}

// hasPlace reports whether a session waits at a place. One that was refused has none.
func hasPlace(s *vdi.VDISession) bool {
	asks := s.DeletionTimestamp == nil && s.Spec.RunPolicy != vdi.RunPolicySuspended
	return asks && s.Status.Queue != nil && s.Status.Queue.Key != nil
}

func waiterOf(s *vdi.VDISession) waiter {
	w := waiter{
		Namespace: s.Namespace, Name: s.Name, User: s.Spec.User, Template: s.Spec.Template,
		WaitingFor: s.Status.WaitingFor, Since: metav1.NewTime(story.QueuedAt(s)), Message: s.Status.Message,
	}
	if g := s.Status.GPU; g != nil {
		w.Resource, w.GPUs = g.ResourceName, g.Count
	}
	if r := s.Status.Resources; r != nil && r.GPU != nil {
		w.GPUs = *r.GPU
	}
	return w
}

// giveTurns adds what the quotas say about each.
func giveTurns(rows []waiter, sessions []vdi.VDISession, quotas []vdi.VDIQuota) {
	groups := map[types.NamespacedName][]string{}
	for _, s := range sessions {
		groups[types.NamespacedName{Namespace: s.Namespace, Name: s.Name}] = s.Spec.Groups
	}
	for i := range rows {
		w := &rows[i]
		name := types.NamespacedName{Namespace: w.Namespace, Name: w.Name}
		turn := fairshare.TurnOf(quotas, fairshare.Session{NamespacedName: name, User: w.User, Groups: groups[name], Template: w.Template})
		w.Priority, w.Weight = new(turn.Priority), new(turn.Weight)
	}
}

// sortWaiters puts together who waits for the same, in the operator's order: by the places that
// are kept up to date, and then as the queue is sorted.
func sortWaiters(rows []waiter) {
	priority := func(w waiter) int32 {
		if w.Priority == nil {
			return 0
		}
		return *w.Priority
	}
	slices.SortFunc(rows, func(a, b waiter) int {
		return cmp.Or(
			cmp.Compare(a.awaits(), b.awaits()), cmp.Compare(a.Pool, b.Pool),
			cmp.Compare(min(a.Place, fairshare.ShownPlaces+1), min(b.Place, fairshare.ShownPlaces+1)),
			cmp.Compare(priority(b), priority(a)), a.key.Compare(b.key), a.Since.Compare(b.Since.Time),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name),
		)
	})
}

// awaits is what it waits for, in words.
func (w waiter) awaits() string {
	switch {
	case w.Quota != "":
		return "quota " + w.Quota
	case w.Place > 0:
		return "room in the cluster"
	case w.WaitingFor == vdi.WaitingForGPU && w.Resource != "":
		return w.Resource
	case w.WaitingFor == vdi.WaitingForQuota:
		return "ResourceQuota"
	case w.WaitingFor == vdi.WaitingForNode:
		return "node"
	}
	return string(w.WaitingFor)
}

func (t *tool) queueView() view[waiter] {
	now := t.now()
	return view[waiter]{
		columns: []column[waiter]{
			{name: "Namespace", of: func(w waiter) any { return w.Namespace }},
			{name: "Name", of: func(w waiter) any { return w.Name }},
			{name: "User", of: func(w waiter) any { return w.User }},
			{name: "Waits for", of: func(w waiter) any { return w.awaits() }},
			{name: "Place", of: func(w waiter) any { return some(int64(w.Place)) }},
			{name: "Waiting", of: func(w waiter) any { return duration.HumanDuration(max(0, now.Sub(w.Since.Time))) }},
			{name: "GPUs", of: func(w waiter) any { return w.GPUs }},
			{name: "Priority", of: func(w waiter) any { return known(w.Priority) }},
			{name: "Weight", of: func(w waiter) any { return known(w.Weight) }},
			{name: "Template", wide: true, of: func(w waiter) any { return w.Template }},
			{name: "Pool", wide: true, of: func(w waiter) any { return w.Pool }},
			{name: "Message", wide: true, of: func(w waiter) any { return w.Message }},
		},
		object: func(w waiter) string { return sessionObject(w.Name) },
		none:   "Nobody waits for room.",
	}
}
