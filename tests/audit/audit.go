// Package audit reads the API server's audit log: who asked for what, how it was
// answered, and which of their rights they used for it.
package audit

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
	Group           string // of the API; empty: the core one
	Resource        string // with its subresource: pods, pods/status
	Namespace, Name string
	URI             string
	Code            int
	Decision        string // of the authorizer: allow, forbid
	Received, Done  time.Time
}

// Read gives every completed request after a position in the log to visit, in
// the order of completion, and returns the position to go on from.
func Read(log string, from int64, visit func(Request)) (end int64, err error) {
	file, err := os.Open(log)
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

// Of lists the completed requests of a user after a position in the log.
func Of(log, user string, from int64) (requests []Request, end int64, err error) {
	end, err = Read(log, from, func(r Request) {
		if r.User == user {
			requests = append(requests, r)
		}
	})
	return requests, end, err
}

// End is the present end of the log.
func End(log string) (int64, error) {
	info, err := os.Stat(log)
	if err != nil {
		return 0, fmt.Errorf("read audit log: %w", err)
	}
	return info.Size(), nil
}

// parse reads one line. A watch counts when it begins: it may never end.
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
		r.Group, r.Resource, r.Namespace, r.Name = o.APIGroup, o.Resource, o.Namespace, o.Name
		if o.Subresource != "" {
			r.Resource += "/" + o.Subresource
		}
	}
	r.Decision = e.Annotations["authorization.k8s.io/decision"]
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

// IsWrite reports whether it changes something.
func (r Request) IsWrite() bool {
	return slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, r.Verb)
}

// IsLiveRead reports whether the answer came from the API server and not from a cache.
func (r Request) IsLiveRead() bool { return r.Verb == "get" || r.Verb == "list" }

// IsConflict reports whether it failed because the writer's knowledge was stale.
func (r Request) IsConflict() bool { return r.Code == 409 }

// IsForbidden reports whether a right was missing. What an admission policy refused was not.
func (r Request) IsForbidden() bool { return r.Decision == "forbid" }

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
