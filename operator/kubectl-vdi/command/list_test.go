package command

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// apiServer knows the session alice, at another version with each list, and ends each watch
// in its own way.
type apiServer struct {
	mu      sync.Mutex
	lists   int
	watches []string // what each watch answers
	asked   []string // the queries of lists and watches
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/api":
		fmt.Fprint(w, `{"kind":"APIVersions","versions":["v1"]}`)
	case "/api/v1":
		fmt.Fprint(w, `{"kind":"APIResourceList","groupVersion":"v1","resources":[]}`)
	case "/apis":
		fmt.Fprint(w, `{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"vdi.kasm.io","versions":[{"groupVersion":"vdi.kasm.io/v1alpha1","version":"v1alpha1"}],"preferredVersion":{"groupVersion":"vdi.kasm.io/v1alpha1","version":"v1alpha1"}}]}`)
	case "/apis/vdi.kasm.io/v1alpha1":
		fmt.Fprint(w, `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"vdi.kasm.io/v1alpha1","resources":[{"name":"vdisessions","singularName":"vdisession","namespaced":true,"kind":"VDISession","verbs":["get","list","watch"]}]}`)
	case "/apis/vdi.kasm.io/v1alpha1/namespaces/desktops/vdisessions":
		a.asked = append(a.asked, r.URL.RawQuery)
		if r.URL.Query().Get("watch") == "" {
			a.lists++
			fmt.Fprintf(w, `{"kind":"VDISessionList","apiVersion":"vdi.kasm.io/v1alpha1","metadata":{"resourceVersion":"%d"},"items":[%s]}`, 100*a.lists, alice(min(a.lists, 2)))
			return
		}
		if len(a.watches) == 0 {
			w.(http.Flusher).Flush()
			a.mu.Unlock()
			<-r.Context().Done()
			a.mu.Lock()
			return
		}
		fmt.Fprint(w, a.watches[0])
		a.watches = a.watches[1:]
	default:
		http.NotFound(w, r)
	}
}

func alice(version int) string {
	return fmt.Sprintf(`{"apiVersion":"vdi.kasm.io/v1alpha1","kind":"VDISession","metadata":{"name":"alice","namespace":"desktops","uid":"u1","resourceVersion":"%d"}}`, version)
}

func event(kind, object string) string {
	text, _ := json.Marshal(map[string]any{"type": kind, "object": json.RawMessage(object)})
	return string(text) + "\n"
}

// noCache is no folder that anything can be written to: who is interrupted may go on to write
// when the test is over.
const noCache = os.DevNull + "/cache"

// list runs `list` until it ends, or has printed some words.
func list(t *testing.T, a *apiServer, until string, args ...string) (printed, complaint string, code int) {
	t.Helper()
	t.Setenv("KUBECONFIG", t.TempDir()+"/none")
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	t.Cleanup(server.CloseClientConnections)
	out, in := io.Pipe()
	var errOut strings.Builder
	go func() {
		streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: in, ErrOut: &errOut}
		code = Run(ctx, streams, "1", append([]string{"kubectl-vdi", "list", "--server", server.URL, "-n", "desktops", "--cache-dir", noCache}, args...))
		_ = in.Close()
	}()
	part := make([]byte, 1024)
	for {
		n, err := out.Read(part)
		printed += string(part[:n])
		if until != "" && strings.Contains(printed, until) {
			cancel()
			until = ""
		}
		if err != nil {
			return printed, errOut.String(), code
		}
	}
}

// A list goes on where the server ends a watch, or has forgotten from where it is to go on:
// what is news is shown, and what was shown is not shown again.
func TestListGoesOn(t *testing.T) {
	expired := event("ERROR", `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410,"message":"too old resource version"}`)
	a := &apiServer{watches: []string{expired, "", event("MODIFIED", alice(3))}}
	printed, complaint, code := list(t, a, "3\n", "alice", "-w", "-o", `jsonpath={.metadata.resourceVersion}{"\n"}`)
	assert.Equal(t, "1\n2\n3\n", printed)
	assert.Equal(t, exitInterrupted, code)
	assert.Empty(t, complaint)
	require.GreaterOrEqual(t, len(a.asked), 6)
	for i, query := range a.asked {
		assert.Contains(t, query, "fieldSelector=metadata.name%3Dalice")
		if i%2 == 1 {
			assert.Contains(t, query, fmt.Sprintf("resourceVersion=%d00", i/2+1), "from the state of the list")
		}
	}
}

// A watch that fails is a failure.
func TestListFailsWithItsWatch(t *testing.T) {
	a := &apiServer{watches: []string{event("ERROR", `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"InternalError","code":500,"message":"no etcd"}`)}}
	printed, complaint, code := list(t, a, "", "-w", "-o", "name")
	assert.Equal(t, "vdisession.vdi.kasm.io/alice\n", printed)
	assert.Equal(t, exitError, code)
	assert.Contains(t, complaint, "no etcd")
}

// An interrupt ends a list, also where the server does not answer.
func TestListIsInterrupted(t *testing.T) {
	t.Setenv("KUBECONFIG", t.TempDir()+"/none")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		cancel()
		<-ended
	}))
	defer server.Close()
	defer close(ended)
	code := Run(ctx, genericiooptions.NewTestIOStreamsDiscard(), "1", []string{"vdi", "list", "--server", server.URL, "--cache-dir", noCache})
	assert.Equal(t, exitInterrupted, code)
}
