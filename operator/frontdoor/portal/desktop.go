package portal

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/vdi-platform/vdi-platform/operator/accounting"
	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/drain"
	"github.com/vdi-platform/vdi-platform/operator/fairshare"
	"github.com/vdi-platform/vdi-platform/operator/story"
	"github.com/vdi-platform/vdi-platform/platform"
)

// Acts are what a person can do with a session of theirs now.
type Acts struct{ Open, Suspend, Resume, Extend, Rename, Grow, Delete bool }

// ActsOn are the acts on a session. Desktops are deleted here only where they are made here, in
// one namespace; elsewhere whoever made them deletes them.
func ActsOn(s *vdi.VDISession, namespace string) Acts {
	if s.DeletionTimestamp != nil {
		return Acts{}
	}
	suspended := s.Spec.RunPolicy == vdi.RunPolicySuspended
	running := s.Status.Phase == vdi.PhaseRunning && !suspended
	return Acts{
		Open: running && strings.HasPrefix(s.Status.URL, "https://"), Suspend: !suspended, Resume: suspended,
		Extend: running && s.Status.ExpiresAt != nil && canExtend(s), Rename: true, Grow: HomeOf(s) != "",
		Delete: namespace != "" && s.Namespace == namespace,
	}
}

// canExtend: a longer run helps against these ends, where the template allows any.
func canExtend(s *vdi.VDISession) bool {
	const anyExtension = 1
	// A wish for more than there is has met the template's bound, or has not been read yet.
	if until := s.Spec.KeepAliveUntil; until != nil && until.After(s.Status.ExpiresAt.Add(time.Second)) {
		return false
	}
	return (s.Status.ExpiryReason == vdi.StopExpired || s.Status.ExpiryReason == vdi.StopIdle) &&
		(s.Status.Lifecycle == nil || s.Status.Lifecycle.MaxExtension.Or(anyExtension) > 0)
}

// EndWords say what happens at status.expiresAt; "" where there is no such end.
func EndWords(s *vdi.VDISession) string {
	if s.Status.ExpiresAt == nil {
		return ""
	}
	reason := s.Status.ExpiryReason
	switch {
	case s.Spec.RunPolicy == vdi.RunPolicySuspended:
		return "If nobody resumes it before, it is removed then. " + removedWords(s)
	case reason == vdi.StopIdle:
		return "It is suspended then, unless somebody uses it before. " + KeptWords(s)
	case reason == vdi.StopBudget:
		return "Your GPU-hours are used up then, and it is suspended. " + KeptWords(s)
	case reason == vdi.StopDrain:
		return drainWords(s)
	case reason == vdi.StopFailed && s.Status.Downtime != nil && s.Status.Downtime.Failing:
		return "If it does not work by then, it is removed. " + removedWords(s)
	case reason == vdi.StopFailed:
		return "If it has not started by then, it is suspended. " + KeptWords(s)
	case timeoutAction(s) == vdi.TimeoutSuspend:
		return "It is suspended then. " + KeptWords(s)
	}
	return "It is removed then. " + removedWords(s)
}

// drainWords say what happens when the desktop has to be off its node.
func drainWords(s *vdi.VDISession) string {
	then, message := "it is suspended then. ", ""
	if order, err := drain.Of(s); err == nil && order != nil {
		if order.Restart {
			then = "it is stopped then, and starts again on another one by itself. "
		}
		if order.Message != "" {
			message = " An administrator says: " + order.Message
		}
	}
	return "The machine that it runs on has to be freed: " + then + KeptWords(s) + message
}

// KeptWords say what becomes of the files of a desktop that stops and that can be resumed.
func KeptWords(s *vdi.VDISession) string {
	if story.FateOf(s, false).None {
		return "It has no home: all its files are gone then."
	}
	return "Your files are kept."
}

// removedWords say what becomes of the files of a session that the operator removes by itself:
// it keeps the home then, whatever was wished for a person's deletion.
func removedWords(s *vdi.VDISession) string {
	kept := s.DeepCopy()
	kept.Spec.Persistence.ReclaimPolicy = vdi.ReclaimRetain
	if fate := story.FateOf(kept, false); fate.KeptFor != "" {
		return "Your files are kept for " + Span(vdi.Duration(fate.KeptFor).Or(0)) + "."
	}
	return KeptWords(s)
}

// SuspendWords say what suspending does.
func SuspendWords(s *vdi.VDISession) string {
	if s.Status.PodName == "" && s.Status.Phase != vdi.PhaseRunning {
		return "It does not start then, and loses its place. You can start it again at any time."
	}
	words := "Programs in it end, and what they have not saved is lost. " + KeptWords(s)
	if s.Status.GPU != nil && s.Status.GPU.Count > 0 {
		words += " Others can use its GPU."
	}
	return words
}

// Span is a time span as people write it.
func Span(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day && d%day == 0 {
		return strconv.Itoa(int(d/day)) + " days"
	}
	text := d.Round(time.Second).String()
	for _, none := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, none) {
			text = text[:len(text)-2]
		}
	}
	return strings.TrimSpace(strings.NewReplacer("h", " h ", "m", " min ", "s", " s").Replace(text))
}

func timeoutAction(s *vdi.VDISession) vdi.TimeoutAction {
	action := s.Spec.TimeoutAction
	if s.Status.Lifecycle != nil {
		action = cmp.Or(action, s.Status.Lifecycle.TimeoutAction)
	}
	return cmp.Or(action, vdi.TimeoutDelete)
}

// IdleRule is after what time without use a desktop is suspended; 0 where it never is.
func IdleRule(s *vdi.VDISession) time.Duration {
	rules := vdi.TemplateLifecycle{}
	if s.Status.Lifecycle != nil {
		rules = *s.Status.Lifecycle
	}
	wish, most := s.Spec.IdleTimeout.Or(rules.IdleTimeout.Or(0)), rules.MaxIdleTimeout.Or(0)
	if most > 0 && (wish == 0 || wish > most) {
		return most
	}
	return wish
}

// HomeWords say what becomes of the files when somebody deletes the desktop.
func HomeWords(s *vdi.VDISession) string {
	fate, again := story.FateOf(s, false), " You find it under “Your files”."
	if s.Spec.DisplayName != "" && s.Name == platform.SessionName(s.Spec.User, nameKey(s.Spec.DisplayName)) {
		again = " A new desktop of the same name finds it again, and so do you under “Your files”."
	}
	switch {
	case fate.None:
		return "It has no home: all files in it are gone."
	case fate.Deleted:
		return "Its home is deleted, too: all files in it are gone."
	case fate.KeptFor != "":
		return "Its home is kept for " + Span(vdi.Duration(fate.KeptFor).Or(0)) + ", then it is deleted with its files." + again
	case fate.Foreign:
		return "Its home is kept with its files."
	case fate.Claim == "":
		return "Its home, if it has one by now, is kept as its template says." + again
	}
	return "Its home is kept with its files." + again
}

// Run is a run that is over.
type Run struct {
	Begin, End time.Time
	// Why it ended, in words; GPUHours is "" where none were used.
	Why, GPUHours string
}

// RunsOf are the last runs of a session, the latest first.
func RunsOf(s *vdi.VDISession) (runs []Run) {
	for i := len(s.Status.Runs) - 1; i >= 0; i-- {
		r := s.Status.Runs[i]
		run := Run{Begin: r.Begin.Time, End: r.End.Time, Why: whyWords(r.Why)}
		if r.GPUHours != "0" && r.GPUHours != "0.00" {
			run.GPUHours = r.GPUHours
		}
		runs = append(runs, run)
	}
	return runs
}

func whyWords(why vdi.StopReason) string {
	switch why {
	case vdi.StopUser:
		return "somebody suspended it"
	case vdi.StopExpired:
		return "it reached its longest run"
	case vdi.StopIdle:
		return "nobody used it"
	case vdi.StopFailed:
		return "it did not work"
	case vdi.StopBudget:
		return "the GPU-hours were used up"
	case vdi.StopDrain:
		return "its machine had to be freed"
	}
	return "it ended by itself"
}

// Share is a limit for a person in words, and what they have of it.
type Share struct {
	// What is limited, such as "Running desktops".
	What string
	// Used, Limit and Takes, what one more desktop takes, are numbers with units.
	Used, Limit, Takes string
	// Most and Value are Limit and Used in one unit, for a bar.
	Most, Value int64
	// Full: one more finds no room. Waits: it waits for some, and starts by itself.
	Full, Waits bool
	// Until is when there are new GPU-hours.
	Until time.Time
	// Advice says what helps where one more finds no room; "" where it does.
	Advice string
}

// SharesOf are the limits for a person. One is the session that is asked for, and takes what
// it asks for, nil where none is.
func SharesOf(quotas []vdi.VDIQuota, one fairshare.Session, takes fairshare.Amounts, sessions []vdi.VDISession, used *vdi.VDIUsage, now time.Time) (shares []Share) {
	for _, a := range fairshare.Allowances(quotas, one, holdings(sessions, now), used, now) {
		share := Share{What: fieldWords(a.Field), Used: amount(a.Field, a.Used), Limit: amount(a.Field, a.Limit), Most: a.Limit, Value: a.Used, Until: a.Until}
		share.Full = takes[a.Field] > 0 && a.Used+takes[a.Field] > a.Limit || a.Field == fairshare.GPUHours && takes[fairshare.GPUSlices] > 0 && a.Used >= a.Limit
		share.Waits = share.Full && !a.Rejects && takes[a.Field] <= a.Limit
		if takes[a.Field] > 0 {
			share.Takes = amount(a.Field, takes[a.Field])
		}
		if share.Full {
			share.Advice = adviceOn(a.Field, share.Waits)
		}
		shares = append(shares, share)
	}
	return shares
}

func adviceOn(f fairshare.Field, waits bool) string {
	switch {
	case waits && f == fairshare.GPUHours:
		return "You have used them up. This one waits for new ones, and starts by itself."
	case waits:
		return "There is no room for this one now. It waits for its turn, and starts by itself."
	case f == fairshare.Sessions:
		return "You have as many desktops as you may. Delete one first."
	case f == fairshare.GPUHours:
		return "You have used them up. Choose a desktop without a GPU, or wait for new ones."
	}
	return "There is no room for this one. Ask for less, or suspend another one first."
}

func fieldWords(f fairshare.Field) string {
	switch f {
	case fairshare.Sessions:
		return "Desktops"
	case fairshare.Running:
		return "Running desktops"
	case fairshare.GPUSlices:
		return "GPU slices in use"
	case fairshare.CPU:
		return "CPU cores in use"
	case fairshare.Memory:
		return "Memory in use"
	case fairshare.GPUHours:
		return "GPU-hours"
	}
	return string(f)
}

func amount(f fairshare.Field, n int64) string {
	switch f {
	case fairshare.GPUHours:
		return accounting.Hours(n)
	case fairshare.Memory:
		return MemoryWords(fairshare.Format(f, n))
	}
	return fairshare.Format(f, n)
}

func holdings(sessions []vdi.VDISession, now time.Time) []fairshare.Holding {
	all := make([]fairshare.Holding, len(sessions))
	for i := range sessions {
		s := &sessions[i]
		all[i].Session = SessionOf(s)
		if s.Status.PodName != "" || s.Status.Run != nil {
			all[i].Run = TakesOf(s.Status.Resources)
		}
		if r := s.Status.Run; r != nil {
			end := now
			if r.End != nil {
				end = r.End.Time
			}
			all[i].Counted = accounting.Run{
				UID: r.PodUID, Quotas: r.Quotas, Begin: r.Begin.Time, End: end, Rate: accounting.RateOf(r.GPUSlices, accounting.Cost(r.Cost)),
			}
		}
	}
	return all
}

// SessionOf is a session as quotas select it.
func SessionOf(s *vdi.VDISession) fairshare.Session {
	of := fairshare.Session{UID: s.UID, User: s.Spec.User, Groups: s.Spec.Groups, Template: s.Spec.Template}
	of.Namespace, of.Name = s.Namespace, s.Name
	return of
}

// TakesOf is what a desktop of these sizes takes.
func TakesOf(r *vdi.ResourcesStatus) fairshare.Amounts {
	takes := fairshare.Amounts{fairshare.Running: 1}
	if r == nil {
		return takes
	}
	if r.GPU != nil {
		takes[fairshare.GPUSlices] = int64(*r.GPU)
	}
	takes[fairshare.CPU] = fairshare.Measure(fairshare.CPU, r.CPU)
	takes[fairshare.Memory] = fairshare.Measure(fairshare.Memory, r.Memory)
	return takes
}

// TakesBy is what a wish for a desktop of a template takes; what cannot be read of it counts as
// the template offers it.
func TakesBy(t *vdi.VDITemplate, w Wish) fairshare.Amounts {
	sizes := Sizes(t)
	measure := func(f fairshare.Field, s Size, typed string) int64 {
		text, _ := s.read(typed)
		return fairshare.Measure(f, cmp.Or(text, s.exact))
	}
	return fairshare.Amounts{
		fairshare.Sessions: 1, fairshare.Running: 1, fairshare.GPUSlices: measure(fairshare.GPUSlices, sizes.GPU, w.GPU),
		fairshare.CPU: measure(fairshare.CPU, sizes.CPU, w.CPU), fairshare.Memory: measure(fairshare.Memory, sizes.Memory, w.Memory),
	}
}
