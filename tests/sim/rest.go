package sim

import (
	"time"
)

// calm is how long everybody is watched for doing nothing.
const calm = 5 * time.Minute

// rest lets everybody finish, without faults, and then looks at what has become of all.
func (w *world) rest() {
	w.faults = false
	w.people.finish()
	w.cluster.heal()
	w.say("no more faults")
	if w.people.quota() != nil { // whom one has let in the other does not know: by the lease one decides in the end
		for _, o := range w.running[:len(w.running)-1] {
			o.crash(func() bool { return true })
		}
		w.running = w.running[len(w.running)-1:]
	}
	for _, o := range w.running {
		o.paused, o.ahead = false, 0
	}
	w.finish(time.Now().Add(settling))
	w.people.repair()
	w.finish(time.Now().Add(settling))
	if len(w.broken) > 0 {
		return
	}
	w.rules.atRest()
	wrote := w.server.revision
	w.calls = nil
	w.finish(time.Now().Add(calm))
	if w.server.revision != wrote {
		w.violated("somebody still writes at rest")
	}
	if len(w.calls) > 0 && w.rules.nobodyWaits() {
		w.violated("somebody still asks at rest: %s %s", w.calls[0].verb, w.calls[0].what)
	}
}

// settling is how long all may take to come to rest: longer than every wait that is
// bounded, of which a pod that fails again and again has the longest.
const settling = 20 * time.Minute

// finish does whatever can be done until there is nothing left, or that time has come.
func (w *world) finish(until time.Time) {
	for range mostSteps * 10 {
		w.steps++
		if len(w.broken) > 0 {
			return
		}
		if w.workOff() {
			continue
		}
		next := w.nextDue()
		if next.IsZero() || next.After(until) {
			w.sleepUntil(until)
			w.settleDown()
			return
		}
		w.sleepUntil(next)
		w.settleDown()
	}
	w.violated("this never comes to rest")
}

// workOff does the next thing that can be done.
func (w *world) workOff() bool {
	for _, enabled := range []func(*world) []act{
		(*world).callsThatGoOn, (*world).eventsThatArrive, (*world).passesThatBegin, (*world).actsOfCluster,
	} {
		if acts := enabled(w); len(acts) > 0 {
			acts[0]()
			w.settleDown()
			return true
		}
	}
	return false
}
