package scale

import (
	"strings"

	"github.com/vdi-platform/vdi-platform/tests/audit"
)

// ReadAudit gives every completed request after a position in the audit log to
// visit, in the order of completion, and returns the position to go on from.
func (r *Rig) ReadAudit(from int64, visit func(audit.Request)) (end int64, err error) {
	return audit.Read(r.AuditLog(), from, visit)
}

// AuditEnd is the present end of the audit log.
func (r *Rig) AuditEnd() (int64, error) { return audit.End(r.AuditLog()) }

// Count is what one user asked, sorted into what the goals speak of. Upkeep is
// in none of the other numbers.
type Count struct {
	All                                       audit.Tally
	Writes, LiveReads, Conflicts, Upkeep      int
	Others                                    int // neither resource reads nor writes, such as GET /version
	SecretReads                               int // a Secret read before a pod is made; no live read. Our operator patches instead
	Forbidden                                 int
	EventWrites, StatusWrites, TemplateWrites int // of Writes
	Children                                  int // of Writes: what was made, but events and leases
}

// Counted sorts the requests of one user after a position in the log.
func (r *Rig) Counted(user string, from int64) (c Count, end int64, err error) {
	c.All = audit.Tally{}
	end, err = r.ReadAudit(from, func(q audit.Request) {
		if q.User == user {
			c.add(q)
		}
	})
	return c, end, err
}

func (c *Count) add(q audit.Request) {
	if q.IsUpkeep() {
		c.Upkeep++
		return
	}
	c.All.Add(q)
	if q.IsConflict() {
		c.Conflicts++
	}
	if q.IsForbidden() {
		c.Forbidden++
	}
	switch {
	case q.IsWrite():
		c.addWrite(q)
	case q.Resource == "secrets" && q.Verb == "get":
		c.SecretReads++
	case q.IsLiveRead() && q.Resource != "":
		c.LiveReads++
	default:
		c.Others++
	}
}

func (c *Count) addWrite(q audit.Request) {
	c.Writes++
	if q.Verb == "create" && q.Code == 201 && q.Resource != "events" && q.Resource != "leases" {
		c.Children++
	}
	switch {
	case q.Resource == "events":
		c.EventWrites++
	case strings.HasPrefix(q.Resource, "vditemplates"):
		c.TemplateWrites++
	case strings.HasSuffix(q.Resource, "/status"):
		c.StatusWrites++
	}
}
