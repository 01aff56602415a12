package scale

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/tests/audit"
)

func TestRequestsAreSorted(t *testing.T) {
	c := Count{All: audit.Tally{}}
	for _, q := range []audit.Request{
		{Verb: "watch", Resource: "pods"},
		{Verb: "update", Resource: "leases"},
		{Verb: "create", Resource: "pods", Code: 201},
		{Verb: "create", Resource: "events", Code: 201},
		{Verb: "patch", Resource: "vdisessions/status", Code: 409},
		{Verb: "patch", Resource: "vditemplates/status", Code: 200},
		{Verb: "get", Resource: "secrets", Code: 200},
		{Verb: "get", Resource: "pods", Code: 200},
		{Verb: "get", URI: "/version?timeout=1s", Code: 200},
	} {
		c.add(q)
	}
	require.Equal(t, Count{
		All: c.All, Writes: 4, Children: 1, EventWrites: 1, StatusWrites: 1, TemplateWrites: 1,
		LiveReads: 1, SecretReads: 1, Others: 1, Conflicts: 1, Upkeep: 2,
	}, c)
	require.Equal(t, 7, c.All.Total(), "upkeep is not in it")
	require.Equal(t, 1, c.All["get /version"])
}
