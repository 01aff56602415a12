package status

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/desktop"
	"github.com/vdi-platform/vdi-platform/operator/fairshare"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// goldenInput is a session as one look finds it. A file names one of bases.yaml, and what
// differs from that: maps are merged, null takes away, everything else is replaced.
type goldenInput struct {
	Base  string `json:"base"`
	About string `json:"about"` // what must be true of the output

	Now        metav1.Time            `json:"now"`
	ServerTime *metav1.Time           `json:"serverTime"` // of the API server, which is asked before an end; now unless given
	OIDC       bool                   `json:"oidc"`
	Session    *vdi.VDISession        `json:"session"`
	Template   *vdi.VDITemplate       `json:"template"`
	StartedBy  *vdi.TemplateLifecycle `json:"startedBy"`
	Pod        *corev1.Pod            `json:"pod"`
	// Claim is the session's own home, Existing the one that its spec names.
	Claim    *corev1.PersistentVolumeClaim `json:"claim"`
	Existing *corev1.PersistentVolumeClaim `json:"existing"`

	// What the steps found. They count only where the step is reached.
	Way         *goldenWay          `json:"way"`
	HomeSeen    bool                `json:"homeSeen"`
	HomeGone    bool                `json:"homeGone"`
	HomeDiffers string              `json:"homeDiffers"`
	SharedWith  string              `json:"sharedWith"` // another desktop
	Credentials bool                `json:"credentials"`
	Verifier    string              `json:"verifier"`
	StoppedBy   *goldenVerdict      `json:"stoppedBy"`
	Refusal     *goldenVerdict      `json:"refusal"`
	SizeRefused *goldenVerdict      `json:"sizeRefused"`
	Cause       *goldenVerdict      `json:"cause"`
	Pending     []string            `json:"pending"`
	Repaired    []string            `json:"repaired"`
	Reach       plan.Reach          `json:"reach"`
	Asking      bool                `json:"asking"`   // the agent has not answered yet
	Activity    *vdi.ActivityStatus `json:"activity"` // what it answered; nil: nobody knows
	Cleared     bool                `json:"cleared"`  // a pod that ended was removed
	Made        bool                `json:"made"`     // the pod was made by this pass
	LookAgain   metav1.Duration     `json:"lookAgain"`
	Limited     bool                `json:"limited"` // a quota selects the session
	Budgets     []fixture.Budget    `json:"budgets"` // what GPU-hours are left
	Asked       bool                `json:"asked"`   // for room
	Queue       *vdi.QueueStatus    `json:"queue"`   // the place that was answered
	// Failed is an error that ended the pass: at its first read if Undecided, where the end
	// is carried out if there is one, and else somewhere behind that.
	Failed    string `json:"failed"`
	Undecided bool   `json:"undecided"`
}

// goldenWay are the host and URL that were decided.
type goldenWay struct {
	Host string `json:"host"`
	URL  string `json:"url"`
	Has  bool   `json:"has"` // nobody else has the host
}

// goldenVerdict is what a step says. Those that are made below the controller are made by
// what makes them: then it has Words only.
type goldenVerdict struct {
	// Of: user, resources, home (its claim), homeInUse (by Words), routeKind, denied (the
	// Kind, in Words), refused (for Reason, in Words). Empty: as given below.
	Of    string `json:"of"`
	Words string `json:"words"`
	Kind  string `json:"kind"`
	Times int    `json:"times"` // how often the words are said

	Condition string          `json:"condition"`
	Reason    string          `json:"reason"`
	Phase     vdi.Phase       `json:"phase"`
	Waiting   vdi.WaitingFor  `json:"waiting"`
	Stalled   bool            `json:"stalled"`
	Conflict  bool            `json:"conflict"`
	Retry     metav1.Duration `json:"retry"`
}

// goldenInputs are all situations by name.
func goldenInputs(t testing.TB) map[string]goldenInput {
	t.Helper()
	bases := fixture.YAML(t, "testdata/bases.yaml")
	all := fixture.Situations[goldenInput](t, func(file string, change map[string]any) map[string]any {
		base, found := bases[asText(change["base"])].(map[string]any)
		require.True(t, found, "%s: no base %q", file, change["base"])
		return base
	})
	for name, in := range all {
		require.NotEmpty(t, strings.TrimSpace(in.About), "%s: about says what must be true", name)
		require.False(t, in.Now.IsZero(), "%s: now is missing", name)
	}
	return all
}

func asText(v any) string {
	text, _ := v.(string)
	return text
}

// pass is the look before anything was decided.
func (in goldenInput) pass() *plan.Pass {
	settings := &platform.Config{}
	if in.OIDC {
		settings.Access.Mode = wire.AccessOIDC
	}
	p := plan.NewPass(in.Session.DeepCopy(), in.Now.UTC(), settings)
	if in.Undecided {
		return p
	}
	p.Seen = plan.Children{Pod: in.Pod.DeepCopy(), Claim: in.Claim.DeepCopy(), Existing: in.Existing.DeepCopy()}
	p.Credentials, p.Verifier, p.Gathered, p.Limited, p.ByQuota = in.Credentials, in.Verifier, true, in.Limited, in.Limited
	p.Budgets = fixture.Budgets(in.Budgets)
	if p.Session.DeletionTimestamp == nil {
		p.Template, p.StartedBy = in.Template.DeepCopy(), in.StartedBy
	}
	return p
}

// decide is what the controller's steps decideLifecycle and readActivity do.
func (in goldenInput) decide(t testing.TB, p *plan.Pass) {
	t.Helper()
	if in.Undecided || p.Session.DeletionTimestamp != nil {
		return
	}
	p.ForgetOldTroubles()
	p.Decide(p.Now)
	if !p.DependsOnActivity() {
		require.False(t, in.Asking || in.Activity != nil, "nobody asks for the use of this desktop")
		return
	}
	p.RequeueAfter = 0
	if p.Asking = in.Asking; p.Asking {
		p.Decision = plan.DecideByPerson(p.Session)
		return
	}
	p.Activity = in.Activity
	p.Decide(p.Now)
}

// end is what its step end does, but for the writes.
func (in goldenInput) end(p *plan.Pass) {
	if !plan.IsEnd(p.Decision) {
		return
	}
	if in.ServerTime != nil {
		p.Now = in.ServerTime.UTC()
		p.Decide(p.Now)
	}
	st := &p.Session.Status
	switch p.Decision.Want {
	case plan.DeleteSession:
		st.StopReason, st.EndReason = p.Decision.Reason, p.Decision.Reason
		p.Ended = in.Failed == ""
	case plan.SuspendNow:
		st.StopReason, st.EndReason = p.Decision.Reason, ""
		if in.Failed == "" {
			p.Session.Spec.RunPolicy, p.Decision.Want = vdi.RunPolicySuspended, plan.StayStopped
		}
	}
}

// find notes what the steps behind it found, each only where it is reached.
func (in goldenInput) find(t testing.TB, p *plan.Pass) {
	t.Helper()
	p.LookAgainAfter(in.LookAgain.Duration)
	stopped, refused := in.StoppedBy.verdict(t, in), in.Refusal.verdict(t, in)
	p.Repaired = in.Repaired
	if stopped != nil {
		require.True(t, p.Session.DeletionTimestamp != nil || !p.MayBeRefused(), "nothing stops a pass that starts nothing: this is a refusal")
		p.StoppedBy = stopped
		p.LookAgainAfter(stopped.Retry)
	}
	if refused != nil {
		require.Equal(t, plan.Run == p.Decision.Want, p.Seen.PodLives() || p.HasWorked(), "what is refused stops this pass")
		p.Refuse(refused)
	}
	if in.Undecided || p.Session.DeletionTimestamp != nil || plan.IsEnd(p.Decision) {
		return
	}
	in.accept(p)
	p.HomeGone, p.HomeDiffers, p.SizeRefused = in.HomeGone, in.HomeDiffers, in.SizeRefused.verdict(t, in)
	p.Pending, p.Made = in.Pending, in.Made
	if in.Asked {
		p.Note(plan.AskRoom, nil)
		if p.Room.Queue = in.Queue; in.Queue != nil {
			p.Room.Short = &fairshare.Shortage{}
		}
	}
	if in.SharedWith != "" {
		p.SharedWith = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: in.SharedWith}}
	}
	if in.Cleared {
		p.Failures++
	}
	if in.Failed != "" || p.StoppedBy != nil || p.Decision.Want != plan.Run {
		return
	}
	if in.Cause != nil {
		require.True(t, p.Seen.PodLives() && !desktop.HasStarted(p.Seen.Pod), "nobody looks for a cause")
		p.Cause = in.Cause.verdict(t, in)
	}
	if desktop.Ready(p.Seen.Pod) {
		p.Reach = in.Reach
	}
}

// accept is what is known of a session by how far it was accepted.
func (in goldenInput) accept(p *plan.Pass) {
	reason := ""
	if h := p.NotAccepted(); h != nil {
		reason = h.Reason
	}
	if p.Template == nil || reason == vdi.ReasonInvalidUser {
		return
	}
	if way := in.Way; way != nil && reason != vdi.ReasonInvalidHost {
		p.Host, p.URL, p.HasHost = way.Host, way.URL, way.Has
	}
	if reason == vdi.ReasonInvalidResources || reason == vdi.ReasonTemplateNotAllowed && !p.MayBeRefused() {
		return
	}
	p.Resources, _ = renderer.ResourcesOf(p.Session.Spec, p.Template.Spec)
	p.Encoder = platform.ResolveEncoder(p.Template.Spec, nil)
	p.HomeSeen = in.HomeSeen && reason == "" && (p.StoppedBy == nil || p.StoppedBy.Condition != vdi.ConditionHomeReady)
}

// verdict is what is said; nil when nothing is.
func (v *goldenVerdict) verdict(t testing.TB, in goldenInput) *verdict.Verdict {
	t.Helper()
	if v == nil {
		return nil
	}
	words := strings.Repeat(v.Words, max(1, v.Times))
	switch v.Of {
	case "user":
		err := platform.ValidateUser(in.Session.Spec.User)
		require.Error(t, err)
		return verdict.Refused(vdi.ReasonInvalidUser, errors.New("spec.user: "+err.Error()))
	case "resources":
		_, err := renderer.ResourcesOf(in.Session.Spec, in.Template.Spec)
		require.Error(t, err)
		return verdict.Refused(vdi.ReasonInvalidResources, err)
	case "access":
		refused := plan.TemplateNotAllowed(in.Session, in.Template)
		require.NotNil(t, refused)
		return refused
	case "home":
		return homeVerdict(t, in)
	case "homeInUse":
		return homes.InUse(homes.ClaimName(in.Session), words)
	case "routeKind":
		return verdict.RouteKindMissing()
	case "denied":
		return verdict.Denied(v.Kind, errors.New(words))
	case "refused":
		return verdict.Refused(v.Reason, errors.New(words))
	}
	require.Empty(t, v.Of)
	return &verdict.Verdict{
		Condition: v.Condition, Reason: v.Reason, Message: words, Phase: v.Phase, Waiting: v.Waiting,
		Stalled: v.Stalled, Conflict: v.Conflict, Retry: v.Retry.Duration,
	}
}

// homeVerdict is why the claim cannot be the home.
func homeVerdict(t testing.TB, in goldenInput) *verdict.Verdict {
	t.Helper()
	claim := in.Claim
	if in.Existing != nil {
		claim = in.Existing
	}
	err := homes.Usable(in.Session, claim)
	if err == nil {
		err = homes.Mountable(claim)
	}
	var h *verdict.Verdict
	require.ErrorAs(t, err, &h)
	return h
}
