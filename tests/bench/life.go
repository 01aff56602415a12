package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/tests/audit"
	"github.com/vdi-platform/vdi-platform/tests/scale"
)

// wholeLife brings desktops up, looks at them at rest, kills the controller and
// starts it again, and lets all sessions expire in one second.
func wholeLife(ctx context.Context, m *measurement) error {
	if err := burst(ctx, m); err != nil {
		return err
	}
	if err := m.idle(ctx); err != nil {
		return err
	}
	if err := m.restart(ctx); err != nil {
		return err
	}
	if m.name != Ours {
		return nil // the others know no such end
	}
	return m.storm(ctx)
}

// idle counts what is asked while nothing happens.
func (m *measurement) idle(ctx context.Context) error {
	from, err := m.calm(ctx, atRest, unsettled)
	if err != nil {
		return err
	}
	before, err := m.meter(m.controller)
	if err != nil {
		return err
	}
	if err := pause(ctx, idleFor); err != nil {
		return err
	}
	after, err := m.meter(m.controller)
	if err != nil {
		return err
	}
	r, err := m.requests(from)
	if err != nil {
		return err
	}
	seconds := idleFor.Seconds()
	m.values["idle_requests_per_s"] = float64(r.controller.All.Total()+r.controller.Upkeep) / seconds
	m.values["idle_writes_per_s"] = float64(r.controller.Writes) / seconds
	m.values["idle_millicores"] = milliseconds(after.since(before).controller) / seconds
	return m.tellMemory("memory_burst")
}

func (m *measurement) tellMemory(name string) error {
	resident, peak, err := scale.ResidentMemory(m.controller.PID())
	m.values[name+"_mib"], m.values[name+"_peak_mib"] = mebibytes(resident), mebibytes(peak)
	return err
}

// restart kills the controller and starts it again on what it left.
func (m *measurement) restart(ctx context.Context) (err error) {
	m.controller.Kill()
	from, err := m.AuditEnd()
	if err != nil {
		return err
	}
	begun := time.Now()
	// The former leader's lease has to run out first: 15 s.
	if m.controller, err = m.startLeading(ctx); err != nil {
		return err
	}
	led := time.Now()
	err = until(ctx, time.Minute+time.Duration(m.step.Sessions)*perDesktop, "every session has been looked at", func() (bool, error) {
		n, err := m.passes(ctx)
		return n >= m.step.Sessions, errors.Join(err, m.controller.Running())
	})
	if err != nil {
		return err
	}
	m.values["restart_leads_s"] = led.Sub(begun).Seconds()
	m.values["restart_s"] = time.Since(led).Seconds()
	if _, err := m.calm(ctx, atRest, unsettled); err != nil {
		return err
	}
	r, err := m.requests(from)
	if err != nil {
		return err
	}
	m.values["restart_writes"] = float64(r.controller.Writes - r.controller.EventWrites)
	m.keep("restart: ", r.controller.All)
	m.values["restart_event_writes"] = float64(r.controller.EventWrites)
	return m.tellMemory("memory_restart")
}

// keep adds requests of a later part of the measurement to those of the starts.
func (m *measurement) keep(part string, asked audit.Tally) {
	for what, n := range asked {
		m.asked[part+what] = n
	}
}

// stormIn is how long after the last session was told the storm begins.
const stormIn = 30 * time.Second

// storm lets all sessions expire in the same second.
func (m *measurement) storm(ctx context.Context) error {
	n := m.step.Sessions
	// Told as often as it takes until all know the same end.
	end := time.Now().Add(stormIn + time.Duration(n)*perDesktop/25).Truncate(time.Second)
	change := fmt.Appendf(nil, `{"spec":{"timeout":"1s","keepAliveUntil":%q}}`, end.UTC().Format(time.RFC3339))
	err := scale.Each(ctx, n, func(ctx context.Context, i int) error {
		return m.Driver.Patch(ctx, m.session(i), client.RawPatch(types.MergePatchType, change))
	})
	if err != nil {
		return err
	}
	knows := func(s *vdi.VDISession) bool { return s.Status.ExpiresAt != nil && s.Status.ExpiresAt.Time.Equal(end) }
	if err := m.WaitSessions(ctx, n, time.Until(end), knows); err != nil {
		return fmt.Errorf("tell all sessions the same end before it comes: %w", err)
	}
	quietFrom, err := m.calm(ctx, settle, time.Until(end))
	if err != nil {
		return err
	}
	before, err := m.meter(m.controller)
	if err != nil {
		return err
	}
	err = until(ctx, time.Until(end)+time.Minute+time.Duration(n)*perDesktop, "all sessions are gone", func() (bool, error) {
		list := &vdi.VDISessionList{}
		err := m.Driver.List(ctx, list, client.Limit(1))
		return len(list.Items) == 0, err
	})
	if err != nil {
		return err
	}
	after, err := m.meter(m.controller)
	if err != nil {
		return err
	}
	m.values["storm_controller_cpu_ms"] = milliseconds(after.since(before).controller) / float64(n)
	return m.tellStorm(quietFrom, end)
}

// tellStorm reads from the log when the sessions' deletions were sent and when
// the last was let go.
func (m *measurement) tellStorm(from int64, end time.Time) error {
	var deletes, gone []time.Time
	early, claims := 0, 0
	_, err := m.ReadAudit(from, func(q audit.Request) {
		if q.User != m.users[0] || q.IsUpkeep() {
			return
		}
		if q.Done.Before(end) {
			early++
		}
		switch {
		case q.Verb == "delete" && q.Resource == "vdisessions" && q.Code < 300:
			deletes = append(deletes, q.Received)
		case q.Verb == "delete" && q.Resource == "persistentvolumeclaims":
			claims++
		case q.Verb == "patch" && q.Resource == "vdisessions" && q.Code < 300:
			gone = append(gone, q.Done) // the finalizer's removal
		}
	})
	if err != nil {
		return err
	}
	if len(deletes) == 0 || len(gone) == 0 {
		return errors.New("the log shows no deletion of a session by the operator")
	}
	first, last := slices.MinFunc(deletes, time.Time.Compare), slices.MaxFunc(deletes, time.Time.Compare)
	m.values["storm_requests_before"] = float64(early)
	m.values["storm_first_ms"] = milliseconds(first.Sub(end))
	m.values["storm_deletes_per_s"] = float64(len(deletes)) / last.Sub(end).Seconds()
	m.values["storm_gone_s"] = slices.MaxFunc(gone, time.Time.Compare).Sub(end).Seconds()
	m.values["storm_homes_deleted"] = float64(claims)
	r, err := m.requests(from)
	if err != nil {
		return err
	}
	m.keep("storm: ", r.controller.All)
	n := float64(m.step.Sessions)
	m.values["storm_writes"] = float64(r.controller.Writes-r.controller.EventWrites-r.controller.TemplateWrites) / n
	m.values["storm_live_reads"] = float64(r.controller.LiveReads) / n
	m.values["storm_other_requests"] = float64(r.controller.Others) / n
	m.values["storm_conflicts"] = float64(r.controller.Conflicts)
	return nil
}
