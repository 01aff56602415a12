package bench

import (
	"fmt"
	"slices"
	"strings"
)

// Plan says what to measure.
type Plan struct {
	Contenders []string // in the order of a round
	Scenarios  []string
	Sessions   int // of burst and life
	HelmBurst  int // of burst for the contender helm, which is slow
	Large      int // of burst-large and life-large; ours and raw only
	Repeats    int // of burst; rounds are interleaved
	Quiet      int // sessions of quiet, one a second
	Paced      int // sessions of paced
}

// DefaultPlan is what the figures of README.md here come from.
func DefaultPlan() Plan {
	return Plan{
		Contenders: Contenders(), Scenarios: Scenarios(),
		Sessions: 1000, HelmBurst: 200, Large: 5000, Repeats: 3, Quiet: 60, Paced: 500,
	}
}

// Names of the contenders.
const (
	Raw         = "raw"
	StatefulSet = "statefulset"
	Helm        = "helm"
	Naive       = "naive"
	Sandbox     = "sandbox"
	Ours        = "ours"
)

// Contenders are all contenders, the floor first.
func Contenders() []string { return []string{Raw, StatefulSet, Helm, Naive, Sandbox, Ours} }

// Names of the scenarios.
const (
	Burst    = "burst"    // all sessions at once
	Life     = "life"     // a burst, then at rest, the controller killed and started again, and all expire in one second
	Quiet    = "quiet"    // one session a second
	Paced    = "paced"    // 80 % of the rate of our burst
	Failover = "failover" // two replicas, ten sessions a second; the leader is killed, then asked to go
	Large    = "large"    // burst for raw and life for ours, with many more sessions
)

// Scenarios are all scenarios.
func Scenarios() []string { return []string{Burst, Quiet, Paced, Life, Failover, Large} }

// Check tells what of a plan cannot be done.
func (p Plan) Check() error {
	for _, c := range p.Contenders {
		if !slices.Contains(Contenders(), c) {
			return fmt.Errorf("--contenders: no contender %q; there are %s", c, strings.Join(Contenders(), ", "))
		}
	}
	for _, s := range p.Scenarios {
		if !slices.Contains(Scenarios(), s) {
			return fmt.Errorf("--scenarios: no scenario %q; there are %s", s, strings.Join(Scenarios(), ", "))
		}
	}
	for flag, n := range map[string]int{
		"sessions": p.Sessions, "helm-sessions": p.HelmBurst, "large": p.Large,
		"repeats": p.Repeats, "quiet": p.Quiet, "paced": p.Paced,
	} {
		if n < 1 {
			return fmt.Errorf("--%s: %d, want at least 1", flag, n)
		}
	}
	return nil
}

// Steps are the plan's measurements in the order they are made. Repeats of a
// burst are interleaved, so that a slow hour of the machine hits all contenders.
func (p Plan) Steps() []Step {
	var steps []Step
	add := func(scenario string, sessions, repeat int, contenders ...string) {
		if !slices.Contains(p.Scenarios, scenario) {
			return
		}
		for _, c := range p.Contenders {
			if slices.Contains(contenders, c) {
				steps = append(steps, Step{Contender: c, Scenario: scenario, Sessions: sessions, Repeat: repeat})
			}
		}
	}
	for repeat := 1; repeat <= p.Repeats; repeat++ {
		add(Burst, p.Sessions, repeat, Raw, StatefulSet, Naive, Sandbox, Ours)
		add(Burst, p.HelmBurst, repeat, Helm)
	}
	add(Quiet, p.Quiet, 1, Contenders()...)
	add(Paced, p.Paced, 1, Raw, Ours)
	add(Life, p.Sessions, 1, Naive, Sandbox, Ours)
	add(Failover, failoverSessions, 1, Ours)
	add(Large, p.Large, 1, Raw, Ours)
	return steps
}
