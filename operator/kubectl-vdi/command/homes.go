package command

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes/kept"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// home is a claim with somebody's files.
type home struct {
	Namespace string `json:"namespace"`
	Claim     string `json:"claim"`
	// Owner is the person, as spec.user spells them; left out where neither a session nor a
	// VDIUsage names them.
	Owner string `json:"owner,omitempty"`
	// Identity stands for the owner in labels.
	Identity string `json:"identity,omitempty"`
	// Session is the one for which it was made, which may be gone.
	Session string `json:"session,omitempty"`
	// DisplayName is what people call the desktop.
	DisplayName string `json:"displayName,omitempty"`
	// Left is true where its session has left it.
	Left bool `json:"left"`
	// KeptUntil is when it is deleted with its files; left out where it is kept for ever, or
	// not left.
	KeptUntil    *metav1.Time `json:"keptUntil,omitempty"`
	Size         string       `json:"size"`
	StorageClass string       `json:"storageClass,omitempty"`
	// UsedBy are the desktops that have it mounted; left out where pods were not read.
	UsedBy []string `json:"usedBy,omitempty"`
}

func (t *tool) homesCommand() *cobra.Command {
	flags, onlyLeft := reportFlags{}, false
	cmd := &cobra.Command{
		Use: "homes", Short: "List homes: whose, of which session, and until when they are kept",
		Long: "List homes: whose, of which session, how large, and until when those are kept that a session has left.\n\n" +
			"Those of all namespaces are listed, or with -n those of one.",
		Example: `  kubectl vdi homes

  # those without a session
  kubectl vdi homes --left

  # for a script: when each is deleted
  kubectl vdi homes --left -o json | jq -r '.items[] | [.namespace, .claim, .owner, .keptUntil] | @tsv'`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			s, err := t.survey(cmd.Context())
			if err != nil {
				return err
			}
			return t.homes(cmd.Context(), s, flags, onlyLeft)
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&onlyLeft, "left", false, "Only those that their session has left")
	return cmd
}

func (t *tool) homes(ctx context.Context, s *survey, flags reportFlags, onlyLeft bool) error {
	claims, err := every[corev1.PersistentVolumeClaim](ctx, s.list(core("persistentvolumeclaims")), ofSessions)
	if err != nil {
		return err
	}
	sessions, err := every[vdi.VDISession](ctx, s.list(sessionResource), "")
	s.isRead("owners and names by sessions", err)
	usages, err := every[vdi.VDIUsage](ctx, s.dynamic.Resource(usageResource), "")
	s.isRead("owners by what they have used", err)
	pods, err := every[corev1.Pod](ctx, s.list(core("pods")), ofSessions)
	withPods := s.isRead("desktops that use homes", err)
	rows := homesIn(claims, sessions, peopleIn(sessions, usages), usersOf(pods), t.now())
	if onlyLeft {
		rows = slices.DeleteFunc(rows, func(h home) bool { return !h.Left })
	}
	return printReport(t, flags, homesView(withPods), rows, s.notRead)
}

// peopleIn are the names behind identities.
func peopleIn(sessions []vdi.VDISession, usages []vdi.VDIUsage) map[string]string {
	people := map[string]string{}
	for _, u := range usages {
		people[platform.Identity(u.Spec.User)] = u.Spec.User
	}
	for _, s := range sessions {
		people[platform.Identity(s.Spec.User)] = s.Spec.User
	}
	return people
}

// usersOf are the desktops that have a claim mounted, by claim.
func usersOf(pods []corev1.Pod) map[types.NamespacedName][]string {
	users := map[types.NamespacedName][]string{}
	for i := range pods {
		pod := &pods[i]
		if hasEnded(pod) {
			continue
		}
		for _, v := range pod.Spec.Volumes {
			if v.PersistentVolumeClaim != nil {
				at := types.NamespacedName{Namespace: pod.Namespace, Name: v.PersistentVolumeClaim.ClaimName}
				users[at] = append(users[at], pod.Name)
			}
		}
	}
	return users
}

// homesIn are the claims as homes: those that are left by their end, the first one first, and
// then the others by name.
func homesIn(claims []corev1.PersistentVolumeClaim, sessions []vdi.VDISession, people map[string]string, users map[types.NamespacedName][]string, now time.Time) (rows []home) {
	titles := map[types.NamespacedName]string{}
	for _, s := range sessions {
		titles[types.NamespacedName{Namespace: s.Namespace, Name: s.Name}] = s.Spec.DisplayName
	}
	for i := range claims {
		c := &claims[i]
		h := homeOf(c, now)
		h.Owner = people[h.Identity]
		h.DisplayName = cmp.Or(titles[types.NamespacedName{Namespace: h.Namespace, Name: h.Session}], c.Annotations[wire.AnnotationDisplayName])
		h.UsedBy = users[types.NamespacedName{Namespace: c.Namespace, Name: c.Name}]
		rows = append(rows, h)
	}
	slices.SortFunc(rows, func(a, b home) int {
		return cmp.Or(
			cmp.Compare(order(a), order(b)), a.end().Compare(b.end()),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Claim, b.Claim),
		)
	})
	return rows
}

func homeOf(c *corev1.PersistentVolumeClaim, now time.Time) home {
	size := c.Spec.Resources.Requests[corev1.ResourceStorage]
	if has, known := c.Status.Capacity[corev1.ResourceStorage]; known {
		size = has
	}
	h := home{
		Namespace: c.Namespace, Claim: c.Name, Identity: c.Labels[wire.LabelUser], Session: kept.SessionOf(c),
		Left: kept.HomeLeft(c), Size: size.String(),
	}
	if c.Spec.StorageClassName != nil {
		h.StorageClass = *c.Spec.StorageClassName
	}
	if end, ends := kept.EndOf(c, now); ends && h.Left {
		h.KeptUntil = new(metav1.NewTime(end))
	}
	return h
}

// order puts first what ends, then what is left for ever, then what has a session.
func order(h home) int {
	switch {
	case h.KeptUntil != nil:
		return 0
	case h.Left:
		return 1
	}
	return 2
}

func (h home) end() time.Time {
	if h.KeptUntil == nil {
		return time.Time{}
	}
	return h.KeptUntil.Time
}

// until is how long it is kept, in words; "" where it is not left.
func (h home) until() string {
	switch {
	case h.KeptUntil != nil:
		return stamp(h.KeptUntil.Time)
	case h.Left:
		return "for ever"
	}
	return ""
}

// of is the session that it belongs to, or that it was left.
func (h home) of() string {
	if h.Left {
		return "left"
	}
	return h.Session
}

func homesView(withPods bool) view[home] {
	v := view[home]{
		columns: []column[home]{
			{name: "Namespace", of: func(h home) any { return h.Namespace }},
			{name: "Claim", of: func(h home) any { return h.Claim }},
			{name: "Owner", of: func(h home) any { return cmp.Or(h.Owner, h.Identity) }},
			{name: "Session", of: func(h home) any { return h.of() }},
			{name: "Display name", of: func(h home) any { return h.DisplayName }},
			{name: "Size", of: func(h home) any { return h.Size }},
			{name: "Class", of: func(h home) any { return h.StorageClass }},
			{name: "Kept until", of: func(h home) any { return h.until() }},
		},
		object: func(h home) string { return "persistentvolumeclaim/" + h.Claim },
		none:   "No homes found.",
	}
	if withPods {
		v.columns = append(v.columns, column[home]{name: "Used by", of: func(h home) any { return strings.Join(h.UsedBy, ",") }})
	}
	return v
}
