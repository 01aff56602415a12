package objects

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var o map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(text), &o))
	return o
}

const renderedPolicy = `
kind: NetworkPolicy
metadata: {labels: {a: b}, annotations: {r: "1"}}
spec:
  podSelector: {matchLabels: {app: desk}}
  policyTypes: [Ingress, Egress]
  ingress: []
  egress: [{ports: [{port: 53, protocol: UDP}]}]
`

const renderedService = `
kind: Service
metadata: {labels: {a: b}}
spec: {type: ClusterIP, selector: {app: desk}, ports: [{name: http, port: 8080, protocol: TCP, targetPort: http}]}
`

const liveService = `
kind: Service
metadata: {labels: {a: b}}
spec:
  type: ClusterIP
  selector: {app: desk}
  ports: [{name: http, port: 8080, protocol: TCP, targetPort: http}]
  clusterIP: 10.96.3.4
  clusterIPs: [10.96.3.4]
  ipFamilies: [IPv4]
  ipFamilyPolicy: SingleStack
  internalTrafficPolicy: Cluster
  sessionAffinity: None
`

func TestDrifted(t *testing.T) {
	for name, c := range map[string]struct {
		rendered, live string
		change         func(o map[string]any)
		want           bool
	}{
		"the same":                  {rendered: renderedPolicy, live: renderedPolicy},
		"more labels":               {rendered: renderedPolicy, live: renderedPolicy, change: put("x", "metadata", "labels", "more")},
		"more annotations":          {rendered: renderedPolicy, live: renderedPolicy, change: put("x", "metadata", "annotations", "more")},
		"another label":             {rendered: renderedPolicy, live: renderedPolicy, change: put("x", "metadata", "labels", "a"), want: true},
		"labels gone":               {rendered: renderedPolicy, live: renderedPolicy, change: put(nil, "metadata", "labels"), want: true},
		"more in a selector":        {rendered: renderedPolicy, live: renderedPolicy, change: put("x", "spec", "podSelector", "matchLabels", "more"), want: true},
		"an expression more":        {rendered: renderedPolicy, live: renderedPolicy, change: put([]any{map[string]any{"key": "k"}}, "spec", "podSelector", "matchExpressions"), want: true},
		"a rule more":               {rendered: renderedPolicy, live: renderedPolicy, change: put([]any{map[string]any{}}, "spec", "ingress"), want: true},
		"a list gone":               {rendered: renderedPolicy, live: renderedPolicy, change: put(nil, "spec", "egress"), want: true},
		"an empty list left out":    {rendered: renderedPolicy, live: renderedPolicy, change: put(nil, "spec", "ingress")},
		"what the API server adds":  {rendered: renderedService, live: liveService},
		"local traffic only":        {rendered: renderedService, live: liveService, change: put("Local", "spec", "internalTrafficPolicy"), want: true},
		"an external address":       {rendered: renderedService, live: liveService, change: put([]any{"192.0.2.1"}, "spec", "externalIPs"), want: true},
		"another type of Service":   {rendered: renderedService, live: liveService, change: put("NodePort", "spec", "type"), want: true},
		"a Service without its way": {rendered: renderedService, live: liveService, change: put(nil, "spec", "selector"), want: true},
	} {
		t.Run(name, func(t *testing.T) {
			live := object(t, c.live)
			if c.change != nil {
				c.change(live)
			}
			require.Equal(t, c.want, Drifted(object(t, c.rendered), live))
		})
	}
}

// put sets a field; nil removes it.
func put(value any, path ...string) func(map[string]any) {
	return func(o map[string]any) {
		for _, key := range path[:len(path)-1] {
			o = o[key].(map[string]any)
		}
		last := path[len(path)-1]
		if o[last] = value; value == nil {
			delete(o, last)
		}
	}
}

func TestNumbersOfAllDecodersAreTheSame(t *testing.T) {
	require.True(t, Covers(float64(8080), int64(8080)))
	require.True(t, Covers(int64(8080), 8080))
	require.False(t, Covers(int64(8081), int64(8080)))
	require.False(t, Covers("8080", int64(8080)))
}

func TestDriftedChangesNothing(t *testing.T) {
	rendered, live := object(t, renderedService), object(t, liveService)
	before := runtime.DeepCopyJSON(live)
	Drifted(rendered, live)
	require.Equal(t, before, live)
	require.Equal(t, object(t, renderedService), rendered)
}
