// Package sim lets the whole operator live in a simulated cluster, ten thousand lives
// in minutes, and looks for the one that goes wrong.
//
// What is real: the operator's controllers with their predicates, handlers, indexes
// and workers (controller-runtime starts them), the renderer, and the schemas of our
// kinds with their defaults and rules. What is ours: an API server in memory with its
// full history ([server]), caches that lag behind it kind by kind ([informer]), the
// queues ([queue]), those who act in a cluster ([world]), and the time, which is that
// of a bubble of package testing/synctest.
//
// One step is one choice that is read from bytes ([choices]): who goes on, which event
// arrives, what fails. A call of an operator to the API server or to a desktop waits
// until a step lets it go on, and only one goroutine goes on at a time. So the same
// bytes make the same history, package testing's fuzzing can guide and shrink them, and
// a seed that fails can be run again.
//
// After every write the rules are checked that must always hold ([rules]), and when
// all choices are made, everybody is left to finish, without faults: then everything
// must be as its owner wishes it, and nobody may write any more.
package sim
