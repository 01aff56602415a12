package scale

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRequestsAreSorted(t *testing.T) {
	c := Count{All: Tally{}}
	for _, q := range []Request{
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

func TestAuditLineIsRead(t *testing.T) {
	line := `{"kind":"Event","apiVersion":"audit.k8s.io/v1","stage":"ResponseComplete","requestURI":"/api/v1/x","verb":"patch",` +
		`"user":{"username":"u"},"objectRef":{"resource":"pods","subresource":"status","namespace":"n","name":"p"},` +
		`"responseStatus":{"code":200},"requestReceivedTimestamp":"2026-11-23T04:53:13.024020Z","stageTimestamp":"2026-11-23T04:53:13.028125Z"}`
	q, complete, err := parse([]byte(line))
	require.NoError(t, err)
	require.True(t, complete)
	require.Equal(t, []any{"u", "pods/status", "n", "p", 200}, []any{q.User, q.Resource, q.Namespace, q.Name, q.Code})
	require.Equal(t, int64(4105), q.Done.Sub(q.Received).Microseconds())
	_, _, err = parse([]byte("{"))
	require.Error(t, err)
}
