package story

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// patience is how long a step of a start, or the operator's next look, may take before
// somebody is asked to look.
const patience = 2 * time.Minute

// remedies say what has to change and by whom.
func remedies(f Facts) []Finding {
	s := f.Session
	switch {
	case s.DeletionTimestamp != nil:
		return forTerminating(f)
	case isUnobserved(s):
		return forUnobserved(f)
	case isHomeAtRisk(s):
		return forHomeAtRisk(f)
	case s.Status.Phase == vdi.PhaseSuspended && s.Spec.RunPolicy == vdi.RunPolicySuspended:
		return append([]Finding{user("resume it to go on", f.vdi("resume"))}, forHome(f)...)
	case isWell(s):
		return forRunning(f)
	}
	reason := reasonOf(s)
	advise, known := advice()[reason]
	if !known {
		advise = forProgressing
	}
	out := advise(f)
	if c := condition(s, vdi.ConditionHomeReady); c != nil && c.Reason != reason {
		out = append(out, forHome(f)...)
	}
	return out
}

// reasonOf is why a session is not ready.
func reasonOf(s *vdi.VDISession) string {
	if c := condition(s, vdi.ConditionReady); c != nil {
		return c.Reason
	}
	return ""
}

func condition(s *vdi.VDISession, kind string) *metav1.Condition {
	return meta.FindStatusCondition(s.Status.Conditions, kind)
}

func nobody(text string) Finding { return Finding{Topic: TopicRemedy, By: Nobody, Text: text} }

func user(text, command string) Finding {
	return Finding{Topic: TopicRemedy, By: User, Text: text, Command: command}
}

func administrator(text, command string) Finding {
	return Finding{Topic: TopicRemedy, By: Administrator, Text: text, Command: command}
}

// vdi is a command of kubectl-vdi on the session.
func (f Facts) vdi(words string) string {
	return fmt.Sprintf("kubectl vdi %s %s -n %s", words, f.Session.Name, f.Session.Namespace)
}

// edit opens the session in an editor.
func (f Facts) edit() string {
	return fmt.Sprintf("kubectl edit vdisession -n %s %s", f.Session.Namespace, f.Session.Name)
}

// change is an edit that counts at once: sizes are those of the pod, so a session that has
// one is suspended meanwhile.
func (f Facts) change() string {
	if f.Session.Status.PodName == "" {
		return f.edit()
	}
	return f.vdi("suspend") + " --wait && " + f.edit() + " && " + f.vdi("resume")
}

func (f Facts) editTemplate() string { return "kubectl edit vditemplate " + f.Session.Spec.Template }

// pod is a command on the desktop's pod.
func (f Facts) pod(words string) string {
	name := f.Session.Status.PodName
	if name == "" {
		name = f.Session.Name
	}
	return fmt.Sprintf("kubectl %s -n %s %s", words, f.Session.Namespace, Quote(name))
}

// again ends the session and makes one that differs, of the same person unless that is what
// differs. The home is kept, whatever the session says: nobody loses files by advice.
func (f Facts) again(name, template, person string) string {
	keep := ""
	if f.Session.Spec.Persistence.ReclaimPolicy == vdi.ReclaimDelete {
		keep = fmt.Sprintf(`kubectl patch vdisession -n %s %s --type merge -p '{"spec":{"persistence":{"reclaimPolicy":"Retain"}}}' && `, f.Session.Namespace, f.Session.Name)
	}
	return fmt.Sprintf("%s%s && kubectl vdi create %s -n %s --template %s --user %s", keep, f.vdi("delete"), name, f.Session.Namespace, template, person)
}

// renamed is the same under another name, which people choose.
func (f Facts) renamed() string {
	return f.again("NAME", f.Session.Spec.Template, f.person())
}

// person is the session's user as a word of a shell.
func (f Facts) person() string { return Quote(f.Session.Spec.User) }

// onClaim is a command on the home's claim; "" where that has no name.
func (f Facts) onClaim(words, label string) string {
	name := f.claimName()
	if name == "" {
		return ""
	}
	return strings.TrimSpace(fmt.Sprintf("kubectl %s pvc -n %s %s %s", words, f.Session.Namespace, name, label))
}

// findVolume finds the volume that was the home's; "" where that has no name.
func (f Facts) findVolume() string {
	name := f.claimName()
	if name == "" {
		return ""
	}
	return fmt.Sprintf("kubectl get pv | grep %s/%s", f.Session.Namespace, name)
}

// claimName is the claim that is the session's home, or would be; "" where what the session
// names can be no claim: any text may stand there.
func (f Facts) claimName() string {
	name := homeClaimName(f.Session.Name)
	switch h := f.Session.Status.Home; {
	case h != nil && h.ClaimName != "":
		name = h.ClaimName
	case f.Session.Spec.Persistence.ExistingClaim != "":
		name = f.Session.Spec.Persistence.ExistingClaim
	}
	if len(validation.IsDNS1123Subdomain(name)) > 0 {
		return ""
	}
	return name
}

// plainWord is text that every shell takes as it is; zsh replaces a word that begins with "=".
var plainWord = regexp.MustCompile(`^[A-Za-z0-9@%+:,./_-][A-Za-z0-9@%+=:,./_-]*$`)

// Quote makes one word of a shell out of text.
func Quote(text string) string {
	if plainWord.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// homeClaimName is the claim of a session's own home.
func homeClaimName(session string) string { return wire.PrefixHome + session }

// adviser says what helps.
type adviser func(Facts) []Finding

// advice is what helps against each reason for which a session is not ready.
func advice() map[string]adviser {
	return map[string]adviser{
		vdi.ReasonProgressing: forProgressing,
		vdi.ReasonWaiting:     forProgressing,
		vdi.ReasonUnknown:     forUnknown,

		vdi.ReasonInvalidUser:          forInvalidUser,
		vdi.ReasonTemplateNotFound:     forMissingTemplate,
		vdi.ReasonTemplateNotAllowed:   forTemplateOfOthers,
		vdi.ReasonInvalidValues:        forInvalidValues,
		vdi.ReasonInvalidResources:     forInvalidResources,
		vdi.ReasonGPUCountNotSliceable: forGPUCount,
		vdi.ReasonEncoderMissing:       forEncoder,
		vdi.ReasonNotOffered:           forNotOffered,
		vdi.ReasonRefusedByGuard:       forGuard,
		vdi.ReasonInvalidHost:          forInvalidHost,
		vdi.ReasonHostInUse:            forHostInUse,
		vdi.ReasonHostOfAnotherUser:    forHostOfAnother,

		vdi.ReasonHomeOfAnotherUser: forHomeOfAnother,
		vdi.ReasonHomeNotOurs:       forHomeOfAnother,
		vdi.ReasonHomeNotFound:      forHomeNotFound,
		vdi.ReasonClaimNotAllowed:   forClaimNotAllowed,
		vdi.ReasonHomeInUse:         forHomeInUse,
		vdi.ReasonHomeLost:          forHomeLost,
		vdi.ReasonHomeLeaving:       forHomeLeaving,
		vdi.ReasonHomeMissing:       forHomeMissing,
		vdi.ReasonHomeReplaced:      forHomeReplaced,
		vdi.ReasonHomeDiffers:       forHomeDiffers,
		vdi.ReasonHomeShrinkRefused: forHomeSize,
		vdi.ReasonHomeGrowthRefused: forHomeSize,

		vdi.ReasonNotPrepared:   forNotPrepared,
		vdi.ReasonUnschedulable: forUnschedulable,
		vdi.ReasonImagePull:     forImage,
		vdi.ReasonCrashLoop:     forCrashes,
		vdi.ReasonEvicted:       forRestart,
		vdi.ReasonPodDeleted:    forRestart,
		vdi.ReasonPodFailed:     forRestart,

		vdi.ReasonRelayNotConfigured:   forRelay,
		vdi.ReasonRelaySecretMissing:   forRelaySecret,
		vdi.ReasonRouteKindMissing:     forRouteKind,
		vdi.ReasonFrontDoorKeysMissing: forFrontDoorKeys,
		vdi.ReasonRouteNotAnswering:    forRoute,

		vdi.ReasonQuotaExceeded: forQuota,
		vdi.ReasonQueued:        forQueue,
		vdi.ReasonDenied:        forDenied,
		vdi.ReasonNameTaken:     forNameTaken,
	}
}

// lasts is how long the phase has lasted.
func (f Facts) lasts() time.Duration {
	since := f.Session.CreationTimestamp.Time
	if f.Session.Status.PhaseSince != nil {
		since = f.Session.Status.PhaseSince.Time
	}
	return f.Now.Sub(since)
}

const operatorPods = "kubectl get pods -A -l app.kubernetes.io/name=vdi-operator"

func forUnobserved(f Facts) []Finding {
	since := f.Session.CreationTimestamp.Time
	for _, entry := range f.Session.ManagedFields { // a later change
		if entry.Subresource == "" && entry.Time != nil && entry.Time.After(since) {
			since = entry.Time.Time
		}
	}
	if f.Now.Sub(since) < patience {
		return []Finding{nobody("the operator looks at it in a moment")}
	}
	return []Finding{administrator("see whether the operator runs: it looks at every change within seconds", operatorPods)}
}

func forTerminating(f Facts) []Finding {
	if f.Now.Sub(f.Session.DeletionTimestamp.Time) < patience {
		return []Finding{nobody("it is over in a moment")}
	}
	return []Finding{administrator("remove what the message names; the operator tries again by itself. Where there is no message, see whether the operator runs", operatorPods)}
}

// forRunning is about a desktop that runs: how to get there, and what to do about what is
// ahead.
func forRunning(f Facts) []Finding {
	out := whileRunning(f)
	if c := condition(f.Session, vdi.ConditionUpdatePending); c != nil {
		if advise, known := advice()[c.Reason]; known && c.Reason != vdi.ReasonProgressing {
			out = append(out, advise(f)...)
		} else {
			out = append(out, user("to have the change now, save what is open and restart the desktop", f.vdi("suspend")+" --wait && "+f.vdi("resume")))
		}
	}
	return append(out, forHome(f)...)
}

// whileRunning leaves the desktop as it is.
func whileRunning(f Facts) []Finding {
	out := []Finding{user("open it", f.vdi("open"))}
	soon := condition(f.Session, vdi.ConditionExpiringSoon)
	switch {
	case soon != nil && soon.Reason == vdi.ReasonIdle:
		out = append(out, user("use it, or move its end", f.vdi("extend")+" 2h"))
	case soon != nil && soon.Reason == vdi.ReasonTimeout:
		out = append(out, user("save what is open, or move its end", f.vdi("extend")+" 2h"))
	case soon != nil && soon.Reason == vdi.ReasonBudget:
		out = append(out, user("save what is open, or suspend desktops that you do not use", ""))
	case soon != nil && soon.Reason == vdi.ReasonDrain:
		out = append(out, user("save what is open, and move to another node when it suits you", f.vdi("suspend")+" --wait && "+f.vdi("resume")))
	}
	return out
}

// forHome is about a home that something has befallen.
func forHome(f Facts) []Finding {
	c := condition(f.Session, vdi.ConditionHomeReady)
	if c == nil || !isHomeTrouble(c) {
		return nil
	}
	if advise, known := advice()[c.Reason]; known {
		return advise(f)
	}
	return nil
}

func forProgressing(f Facts) []Finding {
	if node := silentNode(f); node != "" {
		return []Finding{
			nobody("it goes on by itself when the node is back"),
			administrator("bring the node back, or remove it from the cluster: then the desktop starts on another one", "kubectl describe node "+node),
		}
	}
	if f.lasts() < patience {
		return []Finding{nobody("it goes on by itself")}
	}
	return []Finding{
		nobody("it goes on by itself, and has taken longer than most starts"),
		administrator("see what the pod says if it goes on like this", f.pod("describe pod")),
	}
}

func forUnknown(Facts) []Finding {
	return []Finding{
		nobody("the operator tries again by itself"),
		administrator("see whether the API server answers the operator", operatorPods),
	}
}
