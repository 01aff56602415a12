package bench

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/tests/audit"
	"github.com/vdi-platform/vdi-platform/tests/scale"
)

const (
	// failoverSessions are asked for at failoverPace, through both changes of leader.
	failoverSessions = 800
	failoverPace     = 100 * time.Millisecond
	// goodbye is how long a replica may take to end in order.
	goodbye = 30 * time.Second
)

// failover runs two replicas and takes the leader away twice, while ten
// sessions a second are asked for: first killed, then asked to go.
func failover(ctx context.Context, m *measurement) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	standby, err := m.start(ctx, m.bed)
	if err != nil {
		return err
	}
	from, err := m.AuditEnd()
	if err != nil {
		return err
	}
	asked := make(chan error, 1)
	go func() { asked <- m.every(failoverPace)(ctx, failoverSessions) }()
	changes := []struct {
		name string
		end  func(*scale.Replica)
	}{
		{"failover_killed_s", func(r *scale.Replica) { r.Kill() }},
		{"failover_graceful_s", func(r *scale.Replica) { r.Terminate(goodbye) }},
	}
	for _, change := range changes {
		if err := pause(ctx, 5*time.Second); err != nil {
			return err
		}
		gap, err := m.changeLeader(ctx, standby, change.end)
		if err != nil {
			return fmt.Errorf("%s: %w", change.name, err)
		}
		m.values[change.name] = gap.Seconds()
		m.controller = standby
		if standby, err = m.start(ctx, m.bed); err != nil {
			return err
		}
	}
	if err := <-asked; err != nil {
		return err
	}
	if err := m.wait(ctx, m.seen, failoverSessions, time.Minute+failoverSessions*perDesktop); err != nil {
		return err
	}
	return m.countDuplicates(from)
}

// changeLeader ends the leader and measures until the next one's first write.
func (m *measurement) changeLeader(ctx context.Context, standby *scale.Replica, end func(*scale.Replica)) (time.Duration, error) {
	position, err := m.AuditEnd()
	if err != nil {
		return 0, err
	}
	ended := time.Now()
	end(m.controller)
	if err := until(ctx, startPatience, "the standby leads", func() (bool, error) { return leads(ctx, standby), standby.Running() }); err != nil {
		return 0, err
	}
	var first time.Time
	err = until(ctx, startPatience, "the new leader makes a pod", func() (bool, error) {
		_, err := m.ReadAudit(position, func(q audit.Request) {
			// The old leader's last requests were received before it was gone.
			if first.IsZero() && q.User == m.users[0] && q.Verb == "create" && q.Resource == "pods" && q.Received.After(ended.Add(overlap)) {
				first = q.Received
			}
		})
		return !first.IsZero(), err
	})
	return first.Sub(ended), err
}

// overlap: what arrives within it is still the leader's that ends.
const overlap = 50 * time.Millisecond

// countDuplicates counts children that were made more than once.
func (m *measurement) countDuplicates(from int64) error {
	made := map[string]map[client.ObjectKey]int{}
	duplicates := 0
	_, err := m.ReadAudit(from, func(q audit.Request) {
		if q.User != m.users[0] || q.Verb != "create" || q.Code != 201 || q.Resource == "events" {
			return
		}
		if made[q.Resource] == nil {
			made[q.Resource] = map[client.ObjectKey]int{}
		}
		key := client.ObjectKey{Namespace: q.Namespace, Name: q.Name}
		if made[q.Resource][key]++; made[q.Resource][key] > 1 {
			duplicates++
		}
	})
	m.values["failover_duplicates"] = float64(duplicates)
	return err
}
