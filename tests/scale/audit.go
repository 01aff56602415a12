package scale

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// Request is one request in the API server's audit log. Its clock, in
// microseconds, is the API server's: objects know only whole seconds.
type Request struct {
	User, Agent     string
	Verb            string // create, update, patch, delete, get, list, watch …
	Resource        string // with its subresource: pods, pods/status
	Namespace, Name string
	URI             string
	Code            int
	Received, Done  time.Time
}

// ReadAudit gives every completed request after a position in the log to
// visit, in the order of completion, and returns the position to go on from.
func (r *Rig) ReadAudit(from int64, visit func(Request)) (end int64, err error) {
	file, err := os.Open(r.AuditLog())
	if err != nil {
		return from, fmt.Errorf("read audit log: %w", err)
	}
	defer file.Close()
	if _, err := file.Seek(from, io.SeekStart); err != nil {
		return from, fmt.Errorf("read audit log: %w", err)
	}
	reader := bufio.NewReaderSize(file, 1<<20)
	for end = from; ; {
		line, err := reader.ReadBytes('\n')
		if err != nil {
			return end, nil // the last line may be half written
		}
		end += int64(len(line))
		request, complete, err := parse(line)
		if err != nil {
			return end, err
		}
		if complete {
			visit(request)
		}
	}
}

// AuditEnd is the present end of the log.
func (r *Rig) AuditEnd() (int64, error) {
	info, err := os.Stat(r.AuditLog())
	if err != nil {
		return 0, fmt.Errorf("read audit log: %w", err)
	}
	return info.Size(), nil
}

func parse(line []byte) (r Request, complete bool, err error) {
	var e auditv1.Event
	if err := json.Unmarshal(line, &e); err != nil {
		return r, false, fmt.Errorf("read audit log: %w", err)
	}
	r = Request{
		User: e.User.Username, Agent: e.UserAgent, Verb: e.Verb, URI: e.RequestURI,
		Received: e.RequestReceivedTimestamp.Time, Done: e.StageTimestamp.Time,
	}
	if o := e.ObjectRef; o != nil {
		r.Resource, r.Namespace, r.Name = o.Resource, o.Namespace, o.Name
		if o.Subresource != "" {
			r.Resource += "/" + o.Subresource
		}
	}
	if e.ResponseStatus != nil {
		r.Code = int(e.ResponseStatus.Code)
	}
	return r, e.Stage == auditv1.StageResponseComplete || e.Stage == auditv1.StageResponseStarted, nil
}

// IsUpkeep tells what an idle leader asks too: it renews its lease, and watches
// are reopened now and then.
func (r Request) IsUpkeep() bool {
	return r.Verb == "watch" || r.Resource == "leases" && (r.Verb == "update" || r.Verb == "get")
}

// IsWrite tells whether it changes something.
func (r Request) IsWrite() bool {
	return slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, r.Verb)
}

// IsLiveRead tells whether the answer came from the API server and not from a cache.
func (r Request) IsLiveRead() bool { return r.Verb == "get" || r.Verb == "list" }

// IsConflict tells whether it failed because the writer's knowledge was stale.
func (r Request) IsConflict() bool { return r.Code == 409 }

// Tally counts requests by verb and resource.
type Tally map[string]int

// Add counts one request.
func (t Tally) Add(r Request) {
	what := r.Resource
	if what == "" {
		what = strings.SplitN(r.URI, "?", 2)[0]
	}
	t[r.Verb+" "+what]++
}

// Total is the number of all requests.
func (t Tally) Total() int {
	sum := 0
	for _, n := range t {
		sum += n
	}
	return sum
}

// String lists the counts, one a line, by name.
func (t Tally) String() string {
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(t)) {
		fmt.Fprintf(&b, "%8d  %s\n", t[what], what)
	}
	return b.String()
}

// Count is what one user asked, sorted into what the goals speak of. Upkeep is
// in none of the other numbers.
type Count struct {
	All                                       Tally
	Writes, LiveReads, Conflicts, Upkeep      int
	Others                                    int // neither resource reads nor writes, such as GET /version
	SecretReads                               int // a Secret read before a pod is made; no live read
	Forbidden                                 int
	EventWrites, StatusWrites, TemplateWrites int // of Writes
	Children                                  int // of Writes: what was made, but events and leases
}

// Counted sorts the requests of one user after a position in the log.
func (r *Rig) Counted(user string, from int64) (c Count, end int64, err error) {
	c.All = Tally{}
	end, err = r.ReadAudit(from, func(q Request) {
		if q.User == user {
			c.add(q)
		}
	})
	return c, end, err
}

func (c *Count) add(q Request) {
	if q.IsUpkeep() {
		c.Upkeep++
		return
	}
	c.All.Add(q)
	if q.IsConflict() {
		c.Conflicts++
	}
	if q.Code == 403 {
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

func (c *Count) addWrite(q Request) {
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
