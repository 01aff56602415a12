package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/vdi-platform/vdi-platform/tests/scale"
)

const (
	// settle and atRest are how long nobody asks anything after a controller began
	// to lead and after a burst, or before the resting time is measured: counts of
	// a template's sessions follow 10 s after the last start.
	settle, atRest = 2 * time.Second, 12 * time.Second
	// unsettled bounds the wait for a contender that is never quiet.
	unsettled = 40 * time.Second
	// idleFor is how long resting contenders are watched.
	idleFor = time.Minute

	startPatience = time.Minute
	perDesktop    = time.Second
)

// Run makes one measurement. Earlier results of the store tell at which rate to
// pace.
func Run(ctx context.Context, step Step, store Store, dir string) (Result, error) {
	c, err := contenderOf(step.Contender)
	if err != nil {
		return Result{}, err
	}
	result := Result{Step: step, Settings: c.settings, Started: time.Now(), Cores: runtime.NumCPU(), Load: scale.Load(), Values: map[string]float64{}}
	scenario := scenarios()[step.Scenario]
	if scenario == nil {
		return result, fmt.Errorf("no scenario %q", step.Scenario)
	}
	b, err := newBed(ctx, dir, c, step.Sessions)
	if err != nil {
		return result, err
	}
	m := &measurement{bed: b, step: step, store: store, values: result.Values}
	err = scenario(ctx, m)
	if err != nil {
		err = fmt.Errorf("%s: %w", step, err)
	}
	result.Requests, result.Seconds = m.asked, time.Since(result.Started).Seconds()
	return result, errors.Join(err, b.Stop())
}

func scenarios() map[string]func(context.Context, *measurement) error {
	return map[string]func(context.Context, *measurement) error{
		Burst: burst, Quiet: quiet, Paced: paced, Life: wholeLife, Failover: failover, Large: large,
	}
}

// measurement is one step at work.
type measurement struct {
	*bed
	step       Step
	store      Store
	values     map[string]float64
	asked      map[string]int
	controller *scale.Replica // nil when the contender has no process
	seen       *sightings
}

// begin starts the contender's controller, if it has one, lets it read what is
// there, and starts the watcher.
func (m *measurement) begin(ctx context.Context) (err error) {
	if m.start != nil {
		if m.controller, err = m.startLeading(ctx); err != nil {
			return err
		}
		// Nobody installs an operator in the second in which a desktop is wanted.
		if err := pause(ctx, settle); err != nil {
			return err
		}
		resident, _, err := scale.ResidentMemory(m.controller.PID())
		if err != nil {
			return err
		}
		m.values["memory_empty_mib"] = mebibytes(resident)
	}
	m.seen, err = m.watch(ctx)
	return err
}

func mebibytes(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// startLeading starts the controller and returns when it leads.
func (m *measurement) startLeading(ctx context.Context) (*scale.Replica, error) {
	r, err := m.start(ctx, m.bed)
	if err != nil {
		return nil, err
	}
	return r, until(ctx, startPatience, "the controller leads", func() (bool, error) {
		return leads(ctx, r), r.Running()
	})
}

// leads asks the metrics of controller-runtime's leader election.
func leads(ctx context.Context, r *scale.Replica) bool {
	families, err := scale.Metrics(ctx, r.Metrics)
	return err == nil && sum(families["leader_election_master_status"]) == 1
}

func sum(family *dto.MetricFamily) (total float64) {
	for _, metric := range family.GetMetric() {
		total += metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
	}
	return total
}

// until looks ten times a second.
func until(ctx context.Context, limit time.Duration, what string, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		is, err := holds()
		if is || err != nil {
			return err
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("wait until %s: %w", what, err)
		}
	}
}

// large is a burst of raw, and the whole life of ours.
func large(ctx context.Context, m *measurement) error {
	if m.start == nil {
		return burst(ctx, m)
	}
	return wholeLife(ctx, m)
}

// burst asks for all desktops at once and waits until they can be used.
func burst(ctx context.Context, m *measurement) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	return m.all(ctx, func(ctx context.Context, n int) error {
		return scale.Each(ctx, n, func(ctx context.Context, i int) error { return m.ask(ctx, m.bed, i) })
	})
}

// all measures what it takes until every desktop that ask wants can be used.
func (m *measurement) all(ctx context.Context, ask func(ctx context.Context, n int) error) error {
	n := m.step.Sessions
	from, err := m.AuditEnd()
	if err != nil {
		return err
	}
	passes, err := m.passes(ctx)
	if err != nil {
		return err
	}
	before, err := m.meter(m.controller)
	if err != nil {
		return err
	}
	if err := ask(ctx, n); err != nil {
		return err
	}
	lives, cancel := m.whileRunning(ctx)
	defer cancel()
	if err := m.wait(lives, m.seen, n, time.Minute+time.Duration(n)*perDesktop); err != nil {
		return err
	}
	if _, err := m.calm(ctx, settle, settle+time.Second); err != nil {
		return err
	}
	after, err := m.meter(m.controller)
	if err != nil {
		return err
	}
	m.tellCost(after.since(before), n)
	if err := m.tellPasses(ctx, passes, n); err != nil {
		return err
	}
	return m.tellStarts(from, n)
}

// whileRunning ends with the controller, if the contender has one.
func (m *measurement) whileRunning(ctx context.Context) (context.Context, context.CancelFunc) {
	if m.controller == nil {
		return context.WithCancel(ctx)
	}
	return m.controller.While(ctx)
}

func (m *measurement) passes(ctx context.Context) (int, error) {
	if m.controller == nil {
		return 0, nil
	}
	return scale.Reconciles(ctx, m.controller.Metrics, m.bed.controller)
}

func (m *measurement) tellPasses(ctx context.Context, before, n int) error {
	if m.controller == nil {
		return nil
	}
	after, err := m.passes(ctx)
	m.values["passes"] = float64(after-before) / float64(n)
	return err
}

func (m *measurement) tellCost(cost meter, n int) {
	m.values["api_server_cpu_ms"] = milliseconds(cost.apiServer) / float64(n)
	m.values["client_cpu_ms"] = milliseconds(cost.client) / float64(n)
	if m.controller != nil {
		m.values["controller_cpu_ms"] = milliseconds(cost.controller) / float64(n)
	}
}

func (m *measurement) tellStarts(from int64, n int) error {
	r, err := m.requests(from)
	if err != nil {
		return err
	}
	r.into(m.values, n)
	m.asked = r.all()
	lives, err := m.lives(from, n, m.seen)
	if err != nil {
		return err
	}
	m.values["rate"] = rate(lives)
	o := overheads(lives)
	for name, p := range map[string]float64{"overhead_p50_ms": 50, "overhead_p90_ms": 90, "overhead_p99_ms": 99} {
		m.values[name] = percentile(o, p)
	}
	return nil
}

// quiet asks for one desktop a second.
func quiet(ctx context.Context, m *measurement) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	return m.all(ctx, m.every(time.Second))
}

// every asks at a steady pace, whether or not earlier desktops are there.
func (m *measurement) every(pace time.Duration) func(context.Context, int) error {
	return func(ctx context.Context, n int) error {
		ticker := time.NewTicker(pace)
		defer ticker.Stop()
		failed := make(chan error, n)
		for i := range n {
			go func() { failed <- m.ask(ctx, m.bed, i) }()
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-ticker.C:
			}
		}
		var errs []error
		for range n {
			errs = append(errs, <-failed)
		}
		return errors.Join(errs...)
	}
}

// pacedShare of the rate of our burst is what "below saturation" means.
const pacedShare = 0.8

func paced(ctx context.Context, m *measurement) error {
	rate, err := m.ourRate()
	if err != nil {
		return err
	}
	m.values["paced_rate"] = pacedShare * rate
	if err := m.begin(ctx); err != nil {
		return err
	}
	return m.all(ctx, m.every(time.Duration(float64(time.Second)/(pacedShare*rate))))
}

// ourRate is the median of the finished bursts.
func (m *measurement) ourRate() (float64, error) {
	all, err := m.store.All()
	if err != nil {
		return 0, err
	}
	rates := valuesOf(all, Ours, Burst, "rate")
	if len(rates) == 0 {
		return 0, errors.New("scenario paced needs a finished burst of ours: add burst to --scenarios")
	}
	return median(rates), nil
}
