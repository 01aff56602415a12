// Package plan decides what becomes of a session: from the facts that a pass knows it makes
// the list of what the pass writes, and says when to look again. Everything here is pure: it
// reads no clock, no cache and no API server.
//
// Where a plan depends on what only a live read can say, making it ends with that question;
// with the answer among the facts it is made again. So nothing is asked that nothing depends
// on, and one function says all that is done about a session, in which order.
package plan

import (
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/vdi-platform/vdi-platform/operator/accounting"
	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// Pass is one look at one session: what is known, what is decided, and what came of it. The
// status is computed from it alone.
type Pass struct {
	Facts
	Plan
	Outcome
}

// Plan is what is decided about a session. [Pass.Make] sets it from the facts, and what comes of
// its writes changes what is said: whose the host is, what of the home was seen or refused.
type Plan struct {
	// Ask is what the plan depends on; nothing else of it counts while there is a question.
	Ask Question
	// Writes are carried out in order.
	Writes []Write
	// Verdict is why the session cannot be taken further than the writes do. Err is what
	// could not be read for that.
	Verdict *verdict.Verdict
	Err     error
	// RequeueAfter is when to look again, whoever asked for it; see LookAgainAfter.
	RequeueAfter time.Duration

	Now         time.Time                    // by which the state is described: the operator's clock, or the API server's that confirmed an end
	Decision    Decision                     // what the lifecycle says
	Asking      bool                         // the desktop's agent was asked for its use and has not answered yet
	Resources   vdi.SessionResources         // what the desktop may use
	Host, URL   string                       // where it answers
	HasHost     bool                         // nobody else has the host
	Encoder     vdi.EncoderChoice            // what the template's encoder comes to
	Input       renderer.Input               // what is rendered
	Desired     []*unstructured.Unstructured // the objects that should be there, in install order; nil when nothing had to be rendered
	Claims      []string                     // what the pod mounts beside its home
	Pending     []string                     // what the next start will change
	HomeSeen    bool                         // the home was looked at
	HomeDiffers string                       // in what the home is not as asked for
	SizeRefused *verdict.Verdict             // why the home stays as large as it is
	HomeKept    *KeptHome                    // the deleted session was to take it along
	WayRefused  *verdict.Verdict             // what is refused of the way in to this desktop
	Refusal     *verdict.Verdict             // why the next start would be refused as things are; this desktop lives, or is to stop

	// What the status says next of these, beside what follows from the rest.

	RunOver *accounting.Run // a pod of the session that is gone and was not counted yet

	Activity *vdi.ActivityStatus // the last known use
	Failures int32               // pods that ended by themselves
	Downtime *vdi.DowntimeStatus // for how long the run has not worked
}

// Outcome is what came of a plan: whoever carries it out sets it.
type Outcome struct {
	StoppedBy   *verdict.Verdict // what ended the pass early
	Credentials bool             // the Secret of this session exists; gather: also that of a desktop that was not reported yet
	Verifier    string           // of its password, where the pass knows it
	Made        bool             // this pass made the pod
	MadePerhaps bool             // the API server has not said whether it did
	Repaired    []string         // kinds that had drifted and were put back
	Counted     bool             // RunOver is counted
	Altered     bool             // somebody changed an object on its way into the cluster
	Replaced    []string         // resource versions of the session that its writes replaced
	Confirmed   bool             // the API server itself was asked for the session
	Ended       bool             // the session's deletion was sent
	LetGo       bool             // the deleted session was let go
	Cause       *verdict.Verdict // what keeps the pod from starting, where it does not say itself
	Reach       Reach            // what is known about the way through the proxy
}

// NewPass begins a look at a session by the operator's clock.
func NewPass(s *vdi.VDISession, clock time.Time, settings *platform.Config) *Pass {
	p := &Pass{Facts: Facts{Session: s, Clock: clock, Platform: settings, LogsIn: settings.Access.Mode.LogsIn()}}
	p.begin()
	return p
}

// begin forgets what was decided.
func (p *Pass) begin() {
	st := p.Session.Status
	p.Plan = Plan{Now: p.Clock, Activity: st.Activity, Failures: st.Failures, Downtime: st.Downtime}
}

// errDone ends a plan behind which nothing is left to decide.
var errDone = errors.New("the plan is complete")

// Make makes the plan from the facts.
func (p *Pass) Make() {
	p.begin()
	err := inOrder(draft{p}.steps())
	var ask Question
	var v *verdict.Verdict
	switch {
	case errors.As(err, &ask):
		p.Ask = ask
	case errors.As(err, &v):
		p.Verdict = v
	case !errors.Is(err, errDone):
		p.Err = err
	}
}

// draft is a plan that is being made.
type draft struct{ *Pass }

// steps are what is decided about a session, in order.
func (p draft) steps() []func() error {
	if p.Session.DeletionTimestamp != nil {
		return []func() error{
			p.stopForGood,  // the URL dies first, then the desktop
			p.countRun,     // what the desktop has used, once it is gone
			p.deleteHome,   // only if its owner asked for that
			p.leaveHome,    // a home that stays says so, and for how long
			p.releaseHomes, // another claim that it holds is free again
			p.releaseHost,  // the host's claim lets go of this session
			p.adoptOrphans, // what the garbage collector let go of goes too
			p.letGo,        // the session itself may go
		}
	}
	return []func() error{
		p.decide,         // run, stop or end, by the desktop's use and the API server's time where that decides
		p.end,            // an expired run ends or is suspended
		p.stop,           // the desktop of a session that should not run
		p.countRun,       // what a desktop that is gone has used
		p.labelForProxy,  // the label by which the proxy reads routes, where it is missing
		p.releaseHomes,   // a claim that it no longer uses is free again
		p.keepRegistered, // the finalizer, of a desktop that has lost it
		p.leaveNode,      // a desktop that has to be off its node, and starts again elsewhere
		p.clearFailed,    // a pod that ended by itself makes room for the next
		p.keepTURNLogin,  // the login at the TURN relay of a desktop that streams through it
		p.missHome,       // a home that is gone, whose place nobody takes before the next start
		p.prepare,        // what may be refused comes after all stops and ends
		p.apply,          // what is missing, and what has drifted
		p.prune,          // what is ours and no longer rendered
	}
}

// prepare is what a start needs. What stops it keeps a desktop from starting; one that lives,
// and one that is to stop, only report it: nothing that may be refused disturbs a desktop or
// holds up an end.
func (p draft) prepare() error {
	err := inOrder([]func() error{
		p.accept,        // template, user, sizes, host in order
		p.chooseEncoder, // by what the GPUs of the nodes can do
		p.keepFinalizer, // of a session that has something already, as after an uninstall
		p.render,        // the objects that this session should have
		p.admit,         // room in the quotas, before anything exists
		p.register,      // the finalizer, before anything exists that needs it
		p.takeHost,      // hosts that are not unique by themselves
		p.inspectClaims, // the other claims that the template mounts
		p.inspectHome,   // is the home this user's, and free? then it is held
	})
	var v *verdict.Verdict
	if errors.As(err, &v) && p.MayBeRefused() {
		p.Refuse(v)
		return nil
	}
	return err
}

// inOrder takes steps until one returns an error.
func inOrder(steps []func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// do adds a write.
func (p draft) do(a Action) { p.Writes = append(p.Writes, Write{Action: a}) }

// doUnlessRefused adds a write of an object of that kind.
func (p draft) doUnlessRefused(kind string, a Action) {
	p.Writes = append(p.Writes, Write{Action: a, MayLack: p.MayLack(kind)})
}

// planned is the first write of that kind.
func planned[A Action](writes []Write) (action A, found bool) {
	for _, w := range writes {
		if action, found = w.Action.(A); found {
			return action, true
		}
	}
	return action, false
}
