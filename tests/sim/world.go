package sim

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/recorder"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/run"
	"github.com/vdi-platform/vdi-platform/platform"
)

const (
	operatorNamespace = "vdi-system"
	team              = "team" // the namespace of all sessions
	registry          = "registry.example.com/"
)

// world is a cluster, those who act in it, and the operators.
type world struct {
	*choices

	ctx      context.Context
	server   *server
	scheme   *runtime.Scheme
	config   platform.Config
	renderer remembering
	events   events
	rules    *rules

	running   []*operator
	operators int // started so far
	people    *people
	cluster   *cluster
	faults    bool // may happen
	faulty    int  // so far
	began     int  // the step in which an operator last began
	doubled   bool // two let desktops in at a time, or what was let in was forgotten

	calls   []call // of all operators
	history []string
	steps   int
	broken  []string
}

// newWorld is a cluster with one operator and a template.
func newWorld(ctx context.Context, c *choices) *world {
	w := &world{choices: c, ctx: ctx, scheme: run.Scheme(), renderer: renders(), faults: true}
	if err := apiextensionsv1.AddToScheme(w.scheme); err != nil {
		panic(err)
	}
	w.server = newServer(w.scheme, time.Now)
	w.config = platform.Config{
		Sessions: platform.Sessions{Domain: "vdi.example.com"}, Admission: platform.Admission{Enabled: true},
	}
	if w.of(4) == 3 { // a person's sessions share one host, one at a time
		w.config.Sessions.HostTemplate = "{user}"
	}
	w.config.Accounting.Enabled = w.of(3) == 2
	w.config = w.config.WithDefaults()
	w.rules = newRules(w)
	w.server.written, w.server.forgotten = w.note, func() { w.rules = newRules(w) }
	w.people, w.cluster = &people{world: w}, &cluster{world: w}
	w.people.begin()
	w.begin(w.newest)
	return w
}

// begin starts another operator.
func (w *world) begin(since func() int) {
	o := w.startOperator(since)
	w.running = append(w.running, o)
	w.doubled = w.doubled || len(w.running) > 1
	if w.operators > 1 {
		w.began = w.steps
	}
	w.settleDown()
}

// newest is the end of the history.
func (w *world) newest() int { return len(w.server.log) }

// settleDown waits until nobody goes on by itself.
func (*world) settleDown() { synctest.Wait() }

// note keeps what was written, and has it judged.
func (w *world) note(c write) {
	w.say("%s: %s %s%s", c.by, c.verb, c.key(), w.summary(c))
	w.rules.judge(c)
}

// summary is what a session's history is understood by.
func (w *world) summary(c write) string {
	if c.key().kind != "VDISession" || c.after == nil {
		return ""
	}
	s := c.after.as(w.scheme).(*vdi.VDISession)
	words := fmt.Sprintf(" [%s %s %s; deleted %t, stop %q, end %q", s.Spec.RunPolicy, s.Spec.Persistence.ReclaimPolicy, s.Status.Phase, s.DeletionTimestamp != nil, s.Status.StopReason, s.Status.EndReason)
	for _, a := range s.Status.Announcements {
		words += fmt.Sprintf(", %s since %s", a.End, a.Since.Format("15:04:05"))
	}
	return words + "; " + s.Status.Message + "]"
}

// say adds to the history.
func (w *world) say(format string, args ...any) {
	w.history = append(w.history, fmt.Sprintf("%6d %s ", w.steps, time.Now().Format("02 15:04:05.00"))+fmt.Sprintf(format, args...))
}

// violated notes that a rule is broken.
func (w *world) violated(format string, args ...any) {
	words := fmt.Sprintf(format, args...)
	w.say("BROKEN: %s", words)
	w.broken = append(w.broken, words)
}

// hash stands for the whole history.
func (w *world) hash() uint64 {
	h := fnv.New64a()
	for _, line := range w.history {
		_, _ = h.Write([]byte(line))
	}
	return h.Sum64()
}

// awake are the operators that may do something.
func (w *world) awake() []*operator {
	return slices.DeleteFunc(slices.Clone(w.running), func(o *operator) bool { return o.paused })
}

// act is something that can happen next.
type act func()

// kinds of what can happen, and how often each is chosen of 256 times.
var shares = []struct {
	share   int
	enabled func(*world) []act
}{
	{104, (*world).callsThatGoOn},
	{54, (*world).eventsThatArrive},
	{40, (*world).passesThatBegin},
	{33, (*world).actsOfCluster},
	{10, (*world).timeThatPasses},
	{8, (*world).actsOfPeople},
	{7, (*world).thingsThatFail},
}

// step makes one choice.
func (w *world) step() {
	w.steps++
	chosen, kind := w.of(256), 0
	for ; chosen >= shares[kind].share; kind++ {
		chosen -= shares[kind].share
	}
	for range shares { // the next that is possible
		if acts := shares[kind].enabled(w); len(acts) > 0 {
			acts[w.of(len(acts))]()
			w.settleDown()
			return
		}
		kind = (kind + 1) % len(shares)
	}
}

// callsThatGoOn are calls of operators that wait.
func (w *world) callsThatGoOn() (acts []act) {
	for _, o := range w.awake() {
		for _, p := range o.calls() {
			acts = append(acts, func() { o.let(p, w.fate(p.call)) })
		}
	}
	return acts
}

// calls are those that wait, in an order that does not depend on who was faster.
func (o *operator) calls() []*parked {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	slices.SortStableFunc(o.parked, func(a, b *parked) int {
		return strings.Compare(a.verb+" "+a.what, b.verb+" "+b.what)
	})
	return slices.Clone(o.parked)
}

func (o *operator) let(p *parked, v verdict) {
	o.mutex.Lock()
	o.parked = slices.DeleteFunc(o.parked, func(other *parked) bool { return other == p })
	o.mutex.Unlock()
	if v.err != nil {
		o.world.say("%s: %s %s fails (took effect: %t): %v", o.name, p.verb, p.what, v.after, v.err)
	}
	o.world.calls = append(o.world.calls, p.call)
	p.answer <- v
}

// eventsThatArrive are the next of each kind for each operator.
func (w *world) eventsThatArrive() (acts []act) {
	for _, o := range w.awake() {
		for _, i := range o.caches.late() {
			acts = append(acts, i.deliver)
		}
	}
	return acts
}

func (c *caches) late() (late []*informer) {
	for _, i := range c.informers {
		if !i.stuck && i.late() {
			late = append(late, i)
		}
	}
	slices.SortFunc(late, func(a, b *informer) int { return strings.Compare(a.kind.Kind, b.kind.Kind) })
	return late
}

// passesThatBegin are items of queues that have an idle worker.
func (w *world) passesThatBegin() (acts []act) {
	for _, o := range w.awake() {
		for _, name := range o.names {
			q := o.queues[name]
			q.tick(time.Now())
			if q.busy() >= q.workers(name) {
				continue
			}
			for n := range q.ready() {
				acts = append(acts, func() { q.begin(n) })
			}
		}
	}
	return acts
}

func (*queue) workers(controller string) int {
	if controller == "session" {
		return workers
	}
	return 1
}

// timeThatPasses is until somebody has something to do.
func (w *world) timeThatPasses() []act {
	next := w.nextDue()
	if next.IsZero() {
		return nil
	}
	return []act{func() { w.sleepUntil(next) }}
}

// nextDue is when the next thing is due; zero: never.
func (w *world) nextDue() (next time.Time) {
	for _, o := range w.awake() {
		for _, q := range o.queues {
			if at := q.next(); !at.IsZero() && (next.IsZero() || at.Before(next)) {
				next = at
			}
		}
		if impatient := time.Now().Add(300 * time.Millisecond); len(o.questions()) > 0 && (next.IsZero() || impatient.Before(next)) {
			next = impatient
		}
	}
	return next
}

// questions are those that proxies and agents have not answered.
func (o *operator) questions() []*parked {
	return slices.DeleteFunc(o.calls(), func(p *parked) bool { return p.verb != verbAsk })
}

func (w *world) sleepUntil(at time.Time) {
	if wait := time.Until(at); wait > 0 {
		time.Sleep(wait)
	}
}

// --- what is reported

// events are what the operators report; nobody reads it.
type events struct{ recorder.EventRecorder }

// Eventf implements events.EventRecorder.
func (events) Eventf(_, _ runtime.Object, _, _, _, _ string, _ ...any) {}

// --- a case

// live lets a world live until its choices are made and it has come to rest.
func live(t *testing.T, c *choices) (w *world) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w = newWorld(ctx, c)
		for w.steps < mostSteps && !w.people.done() && len(w.broken) == 0 {
			w.step()
		}
		if len(w.broken) == 0 {
			w.rest()
		}
		w.stop()
		cancel()
	})
	return w
}

// mostSteps bounds a case whose people do not come to act.
const mostSteps = 4000

// stop ends everybody.
func (w *world) stop() {
	for _, o := range w.running {
		o.crash(func() bool { return false })
	}
}
