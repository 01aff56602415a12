// Package story says why a session is as it is, in the order in which a person asks: what it
// is, what it waits for and since when, its place, what has to change and by whom, and when
// it ends. Everything here is pure: who reads the cluster hands over the facts, and what they
// may not read.
package story

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Facts are what somebody could read of a session and of what is around it. What they
// could not read is left out and named in Unread.
type Facts struct {
	// Now is the reader's clock.
	Now     time.Time       `json:"now"`
	Session *vdi.VDISession `json:"session"`
	// Template is the session's; nil where there is none.
	Template *vdi.VDITemplate `json:"template,omitempty"`
	// Offered are the names of the templates that there are.
	Offered []string `json:"offered,omitempty"`
	// Others are sessions that may wait for the same.
	Others []vdi.VDISession              `json:"others,omitempty"`
	Pod    *corev1.Pod                   `json:"pod,omitempty"`
	Claim  *corev1.PersistentVolumeClaim `json:"claim,omitempty"`
	Nodes  []corev1.Node                 `json:"nodes,omitempty"`
	Quotas []corev1.ResourceQuota        `json:"quotas,omitempty"`
	// Events are those of the session, its pod and its claim.
	Events []eventsv1.Event `json:"events,omitempty"`
	// Unread is what the reader may not read, such as "nodes".
	Unread []string `json:"unread,omitempty"`
	// Failed is what could not be read, each with why, such as "nodes: the server is busy".
	Failed []string `json:"failed,omitempty"`
	// Names says that the reader handles everybody's sessions: names of others are shown.
	Names bool `json:"names,omitempty"`
}

// Topic is the question that a finding answers.
type Topic string

// Topics, in the order in which they are asked.
const (
	// TopicIs: what the session is.
	TopicIs Topic = "Is"
	// TopicWaits: what it waits for, or what is wrong.
	TopicWaits Topic = "Waits"
	// TopicPlace: how many come before it.
	TopicPlace Topic = "Place"
	// TopicRemedy: what has to change, and by whom.
	TopicRemedy Topic = "Remedy"
	// TopicEnds: when it ends by itself.
	TopicEnds Topic = "Ends"
	// TopicNext: what the next start changes.
	TopicNext Topic = "Next"
	// TopicEvent: what happened lately.
	TopicEvent Topic = "Event"
	// TopicUnread: what the reader may not read, or could not.
	TopicUnread Topic = "Unread"
)

// Actor is who has to act.
type Actor string

// Words of Actor.
const (
	// Nobody has to: it goes on by itself.
	Nobody Actor = "Nobody"
	// User is the person whose session it is.
	User Actor = "User"
	// Administrator runs the platform.
	Administrator Actor = "Administrator"
)

// Finding is one sentence of a story.
type Finding struct {
	Topic Topic  `json:"topic"`
	Text  string `json:"text"`
	// Since is when what it says began, or when it happened.
	Since *metav1.Time `json:"since,omitempty"`
	// By is who has to act (TopicRemedy).
	By Actor `json:"by,omitempty"`
	// Command does it, or looks at it, where there is one (TopicRemedy).
	Command string `json:"command,omitempty"`
}

// Story is what there is to say about a session.
type Story struct {
	// Phase is empty before the operator's first look.
	Phase    vdi.Phase `json:"phase,omitempty"`
	Findings []Finding `json:"findings"`
}

// maxEvents is how many events a story has.
const maxEvents = 5

// Of is a session's story.
func Of(f Facts) Story {
	var all []Finding
	for _, part := range []func(Facts) []Finding{is, waits, place, remedies, ends, next, events, unread} {
		all = append(all, part(f)...)
	}
	return Story{Phase: f.Session.Status.Phase, Findings: all}
}

// is says what the session is and how it is.
func is(f Facts) []Finding {
	s := f.Session
	what := fmt.Sprintf("A desktop of %s from template %s", s.Spec.User, s.Spec.Template)
	if sizes := sizesOf(s); sizes != "" {
		what += " with " + sizes
	}
	text, since := stateOf(f)
	return []Finding{{Topic: TopicIs, Text: text, Since: since}, {Topic: TopicIs, Text: what}}
}

func sizesOf(s *vdi.VDISession) string {
	var sizes []string
	if g := s.Status.GPU; g != nil && g.Count > 0 {
		sizes = append(sizes, fmt.Sprintf("%d × %s", g.Count, g.ResourceName))
	}
	if r := s.Status.Resources; r != nil {
		if r.CPU != "" {
			sizes = append(sizes, r.CPU+" CPU")
		}
		if r.Memory != "" {
			sizes = append(sizes, r.Memory+" memory")
		}
	}
	return strings.Join(sizes, ", ")
}

// stateOf is the phase in words, and since when.
func stateOf(f Facts) (string, *metav1.Time) {
	s := f.Session
	since := s.Status.PhaseSince
	switch {
	case s.DeletionTimestamp != nil:
		return "The session is being removed", s.DeletionTimestamp
	case isUnobserved(s) && s.Status.Phase == "":
		return "The operator has not looked at the session yet", &s.CreationTimestamp
	case isUnobserved(s):
		return "The operator has not looked at the last change yet; before it the session was " + string(s.Status.Phase), since
	}
	switch s.Status.Phase {
	case vdi.PhaseRunning:
		if s.Spec.RunPolicy == vdi.RunPolicySuspended {
			return "The desktop is shutting down", since
		}
		return "The desktop runs at " + s.Status.URL, s.Status.StartTime
	case vdi.PhaseSuspended:
		return "The session is suspended" + stopWords(s.Status.StopReason), since
	case vdi.PhaseFailed:
		return "The desktop cannot run", since
	case vdi.PhaseCreating:
		return "The desktop is starting", since
	}
	return "The desktop has not started yet", since
}

func stopWords(reason vdi.StopReason) string {
	switch reason {
	case vdi.StopIdle:
		return ": nobody had used it for a while"
	case vdi.StopExpired:
		return ": it reached its longest run"
	case vdi.StopFailed:
		return ": its start took too long"
	case vdi.StopBudget:
		return ": the GPU-hours that its person has were used up"
	case vdi.StopDrain:
		return ": an administrator freed the node that it ran on"
	}
	return ", as asked"
}

// isUnobserved reports whether the status speaks of an older spec.
func isUnobserved(s *vdi.VDISession) bool { return s.Status.ObservedGeneration < s.Generation }

// isWell reports whether nothing keeps the session from what is asked of it.
func isWell(s *vdi.VDISession) bool {
	return !isUnobserved(s) && s.DeletionTimestamp == nil &&
		(s.Status.Phase == vdi.PhaseRunning && s.Spec.RunPolicy != vdi.RunPolicySuspended || s.Status.Phase == vdi.PhaseSuspended)
}

// waits says what is awaited, or what is wrong, in the operator's words, and what the
// cluster shows beside them.
func waits(f Facts) []Finding {
	var out []Finding
	s := f.Session
	if !isWell(s) && s.Status.Message != "" && !isUnobserved(s) {
		out = append(out, Finding{Topic: TopicWaits, Text: s.Status.Message, Since: waitsSince(s)})
	}
	if home := meta.FindStatusCondition(s.Status.Conditions, vdi.ConditionHomeReady); home != nil && isHomeTrouble(home) && home.Message != s.Status.Message {
		out = append(out, Finding{Topic: TopicWaits, Text: home.Message, Since: &home.LastTransitionTime})
	}
	if last := s.Status.LastExit; last != nil && last.Message != "" && !strings.Contains(s.Status.Message, last.Message) {
		out = append(out, Finding{Topic: TopicWaits, Text: last.Message, Since: last.At})
	}
	return append(out, around(f)...)
}

// waitsSince is since when: of the first condition that says the same, else of the phase.
func waitsSince(s *vdi.VDISession) *metav1.Time {
	for _, c := range s.Status.Conditions {
		if c.Message == s.Status.Message && c.Status == metav1.ConditionFalse && c.Type != vdi.ConditionStalled {
			return new(c.LastTransitionTime)
		}
	}
	return s.Status.PhaseSince
}

func isHomeTrouble(c *metav1.Condition) bool {
	fine := []string{vdi.ReasonAsExpected, vdi.ReasonDisabled, vdi.ReasonProgressing, vdi.ReasonSuspended, vdi.ReasonUnknown}
	return !slices.Contains(fine, c.Reason)
}

// place says how many have waited longer.
func place(f Facts) []Finding {
	if q := f.Session.Status.Queue; q != nil && q.Key != nil && !isUnobserved(f.Session) {
		what := "room in the cluster"
		if q.Quota != "" {
			what = "quota " + q.Quota
		}
		return []Finding{{Topic: TopicPlace, Text: fmt.Sprintf("Place %d among those that wait for %s", q.Place, what), Since: &q.Since}}
	}
	pool := PoolOf(f.Session)
	if pool == "" || isUnobserved(f.Session) {
		return nil
	}
	same := slices.DeleteFunc(slices.Clone(f.Others), func(o vdi.VDISession) bool { return PoolOf(&o) != pool })
	ahead := Ahead(f.Session, same)
	var text string
	switch len(ahead) {
	case 0:
		text = "Nobody has waited longer for the same"
	case 1:
		text = "1 session has waited longer for the same"
	default:
		text = fmt.Sprintf("%d sessions have waited longer for the same", len(ahead))
	}
	if f.Names && len(ahead) > 0 {
		var names []string
		slices.SortFunc(ahead, func(a, b *vdi.VDISession) int { return QueuedAt(a).Compare(QueuedAt(b)) })
		for _, s := range ahead {
			names = append(names, s.Namespace+"/"+s.Name)
		}
		text += ": " + strings.Join(names, ", ")
	}
	if hidesOthers(f) {
		text += ", among those that you may read"
	}
	return []Finding{{Topic: TopicPlace, Text: text, Since: new(metav1.NewTime(QueuedAt(f.Session)))}}
}

// What Facts.Unread and Facts.Failed name where not all sessions were read.
const (
	UnreadElsewhere = "sessions of other namespaces"
	UnreadOthers    = "other sessions"
)

// hidesOthers reports whether sessions may wait that were not read.
func hidesOthers(f Facts) bool {
	return slices.ContainsFunc(slices.Concat(f.Unread, f.Failed), func(what string) bool {
		return strings.HasPrefix(what, UnreadElsewhere) || strings.HasPrefix(what, UnreadOthers)
	})
}

// ends says when the session's present state ends by itself.
func ends(f Facts) []Finding {
	s := f.Session
	if s.Status.ExpiresAt == nil || s.DeletionTimestamp != nil {
		return nil
	}
	at := s.Status.ExpiresAt.UTC().Format(time.RFC3339)
	soon := meta.FindStatusCondition(s.Status.Conditions, vdi.ConditionExpiringSoon)
	out := Finding{Topic: TopicEnds, Text: "This state ends by itself at " + at + endWords(s)}
	if soon != nil {
		out.Text = soon.Message + ". It ends at " + at
		out.Since = &soon.LastTransitionTime
	}
	return []Finding{out}
}

func endWords(s *vdi.VDISession) string {
	switch {
	case s.Status.Phase == vdi.PhaseSuspended:
		return ": a suspension that long removes the session (the home is kept)"
	case s.Status.ExpiryReason == vdi.StopIdle:
		return " unless somebody uses it"
	case s.Status.ExpiryReason == vdi.StopExpired:
		return ", its longest run"
	case s.Status.ExpiryReason == vdi.StopBudget:
		return ": its person's GPU-hours are used up then"
	case s.Status.ExpiryReason == vdi.StopDrain:
		return ": its node is being freed"
	}
	return ", if it has not worked by then"
}

// next says what the next start changes.
func next(f Facts) []Finding {
	c := meta.FindStatusCondition(f.Session.Status.Conditions, vdi.ConditionUpdatePending)
	if c == nil {
		return nil
	}
	return []Finding{{Topic: TopicNext, Text: c.Message, Since: &c.LastTransitionTime}}
}

// events are the last ones, the newest first, each once.
func events(f Facts) (out []Finding) {
	all := slices.Clone(f.Events)
	slices.SortStableFunc(all, func(a, b eventsv1.Event) int { return EventTime(&b).Compare(EventTime(&a).Time) })
	seen := map[string]bool{f.Session.Status.Message: true}
	for _, e := range all {
		if seen[e.Note] {
			continue
		}
		seen[e.Note] = true
		text := e.Reason + ": " + e.Note
		if e.Regarding.Kind != wire.KindSession {
			text = e.Regarding.Kind + " " + text
		}
		out = append(out, Finding{Topic: TopicEvent, Text: text, Since: new(EventTime(&e))})
	}
	return out[:min(len(out), maxEvents)]
}

// EventTime is when an event happened last.
func EventTime(e *eventsv1.Event) metav1.Time {
	switch {
	case e.Series != nil:
		return metav1.NewTime(e.Series.LastObservedTime.Time)
	case !e.DeprecatedLastTimestamp.IsZero():
		return e.DeprecatedLastTimestamp
	case !e.EventTime.IsZero():
		return metav1.NewTime(e.EventTime.Time)
	}
	return e.CreationTimestamp
}

func unread(f Facts) (out []Finding) {
	if len(f.Unread) > 0 {
		out = append(out, Finding{Topic: TopicUnread, Text: strings.Join(f.Unread, ", ") + ": you lack the right"})
	}
	for _, what := range f.Failed {
		out = append(out, Finding{Topic: TopicUnread, Text: what})
	}
	return out
}
