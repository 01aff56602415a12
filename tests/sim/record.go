package sim

import (
	"encoding/json"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Verbs of a [Request].
const (
	VerbCreate    = "create"
	VerbUpdate    = "update"
	VerbMerge     = "merge patch"
	VerbJSONPatch = "JSON patch"
	VerbApply     = "apply"
	VerbDelete    = "delete"
)

// Request is one request that wanted to change something, and what came of it. What it
// holds belongs to the history that it is from: UIDs and resourceVersions are others
// elsewhere.
type Request struct {
	By, Verb        string
	Kind            schema.GroupVersionKind
	Namespace, Name string
	// Status: it is about the status alone.
	Status bool
	// Body is what was sent: an object or a patch, as JSON.
	Body   []byte
	Delete client.DeleteOptions
	// Err is the refusal, nil for none.
	Err error
	// After is the object as it was then, nil where it is gone or the request was refused.
	After map[string]any
	// Restored: this is no request. The history has gone back to a former state.
	Restored bool
}

// Record lives the case of a seed and returns all requests for changes, in order.
func Record(t *testing.T, seed uint64) (requests []Request) {
	t.Helper()
	recording = func(r Request) { requests = append(requests, r) }
	defer func() { recording = nil }()
	live(t, seeded(seed))
	return requests
}

// recording is given to the next server that is made; one case is recorded at a time.
var recording func(Request)

// recorded makes a request and keeps what came of it. Those that it is made of are none
// of a client's.
func (s *server) recorded(r Request, body any, do func() (*version, error)) (*version, error) {
	if s.record == nil || s.within {
		return do()
	}
	switch b := body.(type) {
	case []byte:
		r.Body = b
	case nil:
	default:
		text, err := json.Marshal(b)
		if err != nil {
			panic(err)
		}
		r.Body = text
	}
	s.within = true
	after, err := do()
	s.within = false
	r.Err = err
	if after != nil && s.objects[after.key] == after {
		r.After = after.object
	}
	s.record(r)
	return after, err
}
