package sim

import (
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// errTimeout is what a client sees when no answer comes.
var errTimeout = errors.New("net/http: request canceled (Client.Timeout exceeded while awaiting headers)")

// befall counts what befalls everybody who lives.
func (w *world) befall() {
	w.faulty++
	w.people.livesThrough("", func(l *life) { l.faults++ })
}

// fate is what becomes of a call that goes on.
func (w *world) fate(c call) verdict {
	if c.verb == "create" && w.cluster.quota && len(c.what) > 4 && c.what[:4] == "Pod " {
		return verdict{err: apierrors.NewForbidden(corev1.Resource("pods"), c.what[4:], errors.New("exceeded quota: team, requested: pods=1, used: pods=1, limited: pods=1"))}
	}
	if w.cluster.failing && c.verb != "get" && c.verb != "list" && c.verb != verbAsk {
		return verdict{err: apierrors.NewInternalError(errors.New("etcdserver: no leader"))}
	}
	if !w.faults || !w.rarely(24) {
		return verdict{}
	}
	w.befall()
	after := []verdict{
		{err: errTimeout, after: true},
		{err: apierrors.NewInternalError(errors.New("etcdserver: request timed out")), after: true},
		{err: errTimeout},
		{err: apierrors.NewInternalError(errors.New("etcdserver: leader changed"))},
		{err: errOverloaded},
		{err: apierrors.NewConflict(schema.GroupResource{}, c.what, errors.New("the object has been modified"))},
		{err: apierrors.NewForbidden(schema.GroupResource{}, c.what, errors.New("admission webhook denied the request"))},
	}
	if c.verb == "get" || c.verb == "list" || c.verb == verbAsk {
		return after[2+w.of(3)]
	}
	return after[w.of(len(after))]
}

// thingsThatFail are what may befall an operator.
func (w *world) thingsThatFail() (acts []act) {
	if !w.faults || len(w.running) == 0 {
		return nil
	}
	o := w.running[w.of(len(w.running))]
	acts = append(acts,
		func() { w.replaceOperator(o) },
		func() { w.relistOne(o) },
		func() { w.relistOne(o) },
		func() { o.paused = !o.paused; w.say("%s paused: %t", o.name, o.paused) },
		func() {
			o.ahead = []time.Duration{0, time.Hour, -time.Hour, 30 * time.Second}[w.of(4)]
			w.say("%s is ahead by %s", o.name, o.ahead)
		},
	)
	if w.rarely(8) {
		acts = []act{w.restoreHistory}
	}
	if len(w.running) < 2 {
		acts = append(acts, func() {
			w.say("a second operator starts")
			w.begin(w.newest)
		})
	}
	for i, do := range acts {
		acts[i] = func() {
			w.befall()
			do()
		}
	}
	return acts
}

// replaceOperator lets an operator die, and another start that lists what may be old.
func (w *world) replaceOperator(o *operator) {
	w.say("%s dies", o.name)
	w.began = w.steps
	o.crash(func() bool { return w.of(2) == 1 })
	for i, other := range w.running {
		if other == o {
			w.running = append(w.running[:i], w.running[i+1:]...)
			break
		}
	}
	if len(w.running) == 0 {
		late := w.of(4) * w.of(8)
		w.begin(func() int { return max(0, len(w.server.log)-late) })
	}
}

// restoreHistory brings a former state back, as a backup of etcd does. What runs does not
// go back with it: the pods that it does not know end, and those that it knows and
// that are gone are made again by nobody. It takes longer than a watch: sessions have
// arrived as they were before, with what each operator wrote of them.
func (w *world) restoreHistory() {
	late := w.of(32)
	w.doubled = true
	w.away(time.Minute)
	for _, o := range w.running {
		for i := o.caches.informers["VDISession"]; i.late(); {
			i.deliver()
		}
	}
	w.settleDown()
	w.say("etcd is restored as it was %d writes ago", late)
	w.server.restore(max(0, len(w.server.log)-late))
}

// away is the API server for some time: whatever was asked for fails, and what is asked
// for after that.
func (w *world) away(long time.Duration) {
	for _, o := range w.running {
		for calls := o.calls(); len(calls) > 0; calls = o.calls() {
			o.let(calls[0], verdict{err: errTimeout})
			w.settleDown()
		}
	}
	w.sleepUntil(time.Now().Add(long))
	w.settleDown()
}

// relistOne lets a watch break, so that only the newest states are learned of.
func (w *world) relistOne(o *operator) {
	late := o.caches.late()
	if o.paused || len(late) == 0 {
		return
	}
	i := late[w.of(len(late))]
	i.relist(w.server.list(i.kind.Kind))
}
