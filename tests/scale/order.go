package scale

import (
	"time"

	"github.com/vdi-platform/vdi-platform/tests/audit"
)

// Order is in which order the objects of sessions were made.
type Order struct {
	// Sessions whose policy and pod were both made.
	Sessions int
	// Early are the pods, as namespace/name, whose making was asked for before that of
	// their policy was done.
	Early []string
}

// Order reads from the audit log whether a user made each session's NetworkPolicy
// before its pod. Of sessions that started several times, the first pod counts.
func (r *Rig) Order(user string) (Order, error) {
	policies, pods := map[string]time.Time{}, map[string]time.Time{}
	_, err := r.ReadAudit(0, func(q audit.Request) {
		name := q.Namespace + "/" + q.Name
		if q.User != user || q.Verb != "create" || q.Code != 201 {
			return
		}
		switch q.Resource {
		case "networkpolicies":
			earliest(policies, name, q.Done)
		case "pods":
			earliest(pods, name, q.Received)
		}
	})
	o := Order{}
	for name, asked := range pods {
		o.Sessions++
		if done, made := policies[name]; !made || asked.Before(done) {
			o.Early = append(o.Early, name)
		}
	}
	return o, err
}

func earliest(times map[string]time.Time, name string, at time.Time) {
	if before, found := times[name]; !found || at.Before(before) {
		times[name] = at
	}
}
