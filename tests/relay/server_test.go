package relay

import (
	"strings"
	"testing"

	"github.com/vdi-platform/vdi-platform/tests/relay/coturn"
)

var (
	secret      = strings.Repeat("c0ffee", 10)
	otherSecret = strings.Repeat("decade", 10)
)

// setup is one way to run the relay; what is not set is the tests' usual.
type setup struct {
	set              []string          // values of the chart
	listen, external string            // the pod's addresses
	secrets          map[string]string // keys of the Secret
	edit             func(config string) string
}

func parts() coturn.Parts { return coturn.Parts{Repository: repository, Tool: tool()} }

// rendered is the ConfigMap's file.
func rendered(t *testing.T, args ...string) string {
	t.Helper()
	return parts().Rendered(t, args...)
}

// running is the last server that was started; it may run no more.
var running *coturn.Server

// start runs coturn as the pod does. As in a pod it is alone there: the one
// before is ended first.
func start(t *testing.T, s setup) *coturn.Server {
	t.Helper()
	if running != nil {
		running.Stop()
	}
	if s.secrets == nil {
		s.secrets = map[string]string{"current": secret}
	}
	if s.listen == "" {
		s.listen = public4 + "," + public6
	}
	running = parts().Start(t, coturn.Setup{Set: s.set, Listen: s.listen, External: s.external, Secrets: s.secrets, Edit: s.edit})
	return running
}
