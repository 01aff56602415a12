package bench

import (
	"context"
	"maps"
	"math"
	"slices"
	"syscall"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/tests/audit"
	"github.com/vdi-platform/vdi-platform/tests/scale"
)

// life is when the steps of one desktop's start were reached, by the API
// server's clock in the audit log, except the last, which a watcher saw.
type life struct {
	begun  time.Time // the wish was received
	asked  time.Time // t0: it was written
	pod    time.Time // t1: the pod's creation was received
	ready  time.Time // t3: its readiness was written
	usable time.Time // t4: a watcher saw that the desktop can be used
}

// overhead is what the contender itself took: from the wish to the pod, and
// from the pod's readiness until the wish was seen to have come true.
func (l life) overhead() time.Duration {
	return l.pod.Sub(l.asked) + max(l.usable.Sub(l.ready), 0)
}

// lives reads the starts of n desktops.
func (b *bed) lives(from int64, n int, seen *sightings) ([]life, error) {
	all := make([]life, n)
	byPod, byWish := map[client.ObjectKey]*life{}, map[client.ObjectKey]*life{}
	for i := range n {
		key := client.ObjectKeyFromObject(b.session(i))
		byWish[key] = &all[i]
		byPod[client.ObjectKey{Namespace: key.Namespace, Name: b.pod(key.Name)}] = &all[i]
		all[i].usable, _ = b.usable(seen, key)
	}
	_, err := b.ReadAudit(from, func(q audit.Request) {
		key := client.ObjectKey{Namespace: q.Namespace, Name: q.Name}
		switch l := byPod[key]; {
		case q.Code >= 300:
		case q.Resource == b.asked && q.Verb == "create" && byWish[key] != nil:
			byWish[key].begun, byWish[key].asked = q.Received, q.Done
		case l == nil:
		case q.Resource == "pods" && q.Verb == "create":
			l.pod = q.Received
		case q.Resource == "pods/status" && q.User == "kwok" && l.ready.IsZero():
			l.ready = q.Done
		}
	})
	return all, err
}

// rate is desktops a second, from the first wish to the last usable desktop.
func rate(lives []life) float64 {
	first := slices.MinFunc(lives, func(a, b life) int { return a.begun.Compare(b.begun) }).begun
	last := slices.MaxFunc(lives, func(a, b life) int { return a.usable.Compare(b.usable) }).usable
	return float64(len(lives)) / last.Sub(first).Seconds()
}

// percentile of durations, in milliseconds, by the nearest rank.
func percentile(durations []time.Duration, p float64) float64 {
	sorted := slices.Sorted(slices.Values(durations))
	rank := int(math.Ceil(p/100*float64(len(sorted)))) - 1
	return milliseconds(sorted[max(rank, 0)])
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func overheads(lives []life) []time.Duration {
	var all []time.Duration
	for _, l := range lives {
		all = append(all, l.overhead())
	}
	return all
}

// meter reads processor times, to tell what a stretch of time cost.
type meter struct{ apiServer, controller, client time.Duration }

func (b *bed) meter(controller *scale.Replica) (m meter, err error) {
	pid, err := b.PID("kube-apiserver")
	if err != nil {
		return m, err
	}
	if m.apiServer, err = scale.ProcessorTime(pid); err != nil {
		return m, err
	}
	if controller != nil {
		if m.controller, err = scale.ProcessorTime(controller.PID()); err != nil {
			return m, err
		}
	}
	var usage syscall.Rusage
	err = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	m.client = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	return m, err
}

func (m meter) since(before meter) meter {
	return meter{m.apiServer - before.apiServer, m.controller - before.controller, m.client - before.client}
}

// asked counts what contender and client asked after a position in the log.
type requests struct {
	controller scale.Count
	client     scale.Count // zero when the client is the contender
	end        int64
}

func (b *bed) requests(from int64) (r requests, err error) {
	if r.controller, r.end, err = b.Counted(b.users[0], from); err != nil || b.users[0] == scale.DriverUser {
		return r, err
	}
	r.client, _, err = b.Counted(scale.DriverUser, from)
	return r, err
}

// all are the requests of both.
func (r requests) all() map[string]int {
	sum := maps.Clone(map[string]int(r.controller.All))
	for what, n := range r.client.All {
		sum[what] += n
	}
	return sum
}

// into writes the figures per desktop.
func (r requests) into(values map[string]float64, n int) {
	per := func(x int) float64 { return float64(x) / float64(n) }
	c := r.controller
	values["controller_writes"] = per(c.Writes - c.EventWrites - c.TemplateWrites)
	values["all_writes"] = per(c.Writes - c.EventWrites - c.TemplateWrites + r.client.Writes)
	values["status_writes"] = per(c.StatusWrites)
	values["event_writes"] = per(c.EventWrites)
	values["live_reads"] = per(c.LiveReads)
	values["secret_reads"] = per(c.SecretReads)
	values["other_requests"] = per(c.Others)
	values["conflicts"] = float64(c.Conflicts)
}

// calm returns once the contender has asked nothing for a while, or after a
// limit: who polls is never calm. It returns the end of the log.
func (b *bed) calm(ctx context.Context, quiet, limit time.Duration) (end int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if end, err = b.AuditEnd(); err != nil {
		return end, err
	}
	for {
		if pause(ctx, quiet) != nil {
			return end, nil
		}
		r, err := b.requests(end)
		if err != nil {
			return end, err
		}
		end = r.end
		if r.controller.All.Total() == 0 {
			return end, nil
		}
	}
}

// pause lets time pass that is measured.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
