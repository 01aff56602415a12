package integration

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// raw is an object as a person would write it, in no Go type's terms.
func raw(kind, ns, name string, spec map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": vdi.GroupVersion.String(), "kind": kind,
		"metadata": map[string]any{"name": name}, "spec": spec,
	}}
	o.SetNamespace(ns)
	return o
}

func TestBadSessionsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate()
	for name, c := range map[string]struct {
		session string
		spec    map[string]any
		message string
	}{
		"memory 4Gb":             {spec: map[string]any{"resources": map[string]any{"memory": "4Gb"}}, message: "must be a positive quantity: bytes such as 512Mi or 4Gi"},
		"memory 512m":            {spec: map[string]any{"resources": map[string]any{"memory": "512m"}}, message: "512m is less than 1Mi (m means thousandths): did you mean 512Mi?"},
		"memory without a unit":  {spec: map[string]any{"resources": map[string]any{"memory": "4096"}}, message: "4096 is less than 1Mi (units: k, M, G, Ki, Mi, Gi, Ti)"},
		"size 10m":               {spec: map[string]any{"persistence": map[string]any{"size": "10m"}}, message: "10m is less than 1Mi (m means thousandths): did you mean 10Mi?"},
		"cpu -1":                 {spec: map[string]any{"resources": map[string]any{"cpu": "-1"}}, message: "must be a positive quantity"},
		"cpu as a number":        {spec: map[string]any{"resources": map[string]any{"cpu": int64(2)}}, message: "spec.resources.cpu: Invalid value: \"integer\""},
		"gpu -1":                 {spec: map[string]any{"resources": map[string]any{"gpu": int64(-1)}}, message: "spec.resources.gpu: Invalid value: -1: spec.resources.gpu in body should be greater than or equal to 0"},
		"gpu 1000":               {spec: map[string]any{"resources": map[string]any{"gpu": int64(1000)}}, message: "spec.resources.gpu"},
		"timeout tomorrow":       {spec: map[string]any{"timeout": "tomorrow"}, message: "must be a duration such as 30m, 8h or 1h30m; 0 means none"},
		"timeout negative":       {spec: map[string]any{"timeout": "-8h"}, message: "must be a duration"},
		"size 0":                 {spec: map[string]any{"persistence": map[string]any{"size": "0"}}, message: "must be a positive quantity"},
		"user empty":             {spec: map[string]any{"user": ""}, message: "spec.user: Invalid value"},
		"user missing":           {spec: map[string]any{"user": nil}, message: "spec.user: Required value"},
		"user of 300 characters": {spec: map[string]any{"user": strings.Repeat("a", 300)}, message: "spec.user: Too long: may not be more than 256"},
		"user with a newline":    {spec: map[string]any{"user": "alice\nadmin"}, message: "user may hold printable characters only: no line breaks, tabs or other control characters"},
		"user with text turned":  {spec: map[string]any{"user": "alice\u202e@moc"}, message: "user may hold printable characters only"},
		"user with a blank":      {spec: map[string]any{"user": " alice"}, message: "user must not begin or end with a blank"},
		"display name, 2 lines":  {spec: map[string]any{"displayName": "my\ndesk"}, message: "displayName may hold printable characters only: no line breaks, tabs or other control characters"},
		"display name and NUL":   {spec: map[string]any{"displayName": "my\x00desk"}, message: "displayName may hold printable characters only"},
		"display name turned":    {spec: map[string]any{"displayName": "my\u202edesk"}, message: "displayName may hold printable characters only"},
		"display name, blank":    {spec: map[string]any{"displayName": " desk"}, message: "displayName must not begin or end with a blank"},
		"display name and blank": {spec: map[string]any{"displayName": "desk "}, message: "displayName must not begin or end with a blank"},
		"display name of blanks": {spec: map[string]any{"displayName": " "}, message: "displayName must not begin or end with a blank"},
		"display name too long":  {spec: map[string]any{"displayName": strings.Repeat("é", 65)}, message: "spec.displayName: Too long: may not be more than 64"},
		"time zone as a path":    {spec: map[string]any{"timeZone": "/etc/localtime"}, message: "must be the name of a time zone, such as Europe/Berlin or Etc/UTC"},
		"time zone as a file":    {spec: map[string]any{"timeZone": ":Europe/Berlin"}, message: "must be the name of a time zone"},
		"time zone that leaves":  {spec: map[string]any{"timeZone": "Europe/../../passwd"}, message: "must be the name of a time zone"},
		"time zone with a blank": {spec: map[string]any{"timeZone": "Europe/Berlin "}, message: "must be the name of a time zone"},
		"time zone, two lines":   {spec: map[string]any{"timeZone": "UTC\n"}, message: "must be the name of a time zone"},
		"time zone of a page":    {spec: map[string]any{"timeZone": strings.Repeat("a", 65)}, message: "spec.timeZone: Too long"},
		"a group empty":          {spec: map[string]any{"groups": []any{""}}, message: "spec.groups[0]: Invalid value"},
		"a group of 257":         {spec: map[string]any{"groups": []any{strings.Repeat("a", 257)}}, message: "spec.groups[0]: Too long: may not be more than 256"},
		"a group of two lines":   {spec: map[string]any{"groups": []any{"a\nb"}}, message: "a group may hold printable characters only"},
		"a group of the cluster": {spec: map[string]any{"groups": []any{"system:masters"}}, message: "groups that begin with system: are the cluster's own and never count: leave them out"},
		"a group twice":          {spec: map[string]any{"groups": []any{"a", "a"}}, message: "Duplicate value"},
		"257 groups":             {spec: map[string]any{"groups": longNames(257)}, message: "must have at most 256 items"},
		"groups in one text":     {spec: map[string]any{"groups": "a,b"}, message: "spec.groups"},
		"template missing":       {spec: map[string]any{"template": nil}, message: "spec.template: Required value"},
		"template in capitals":   {spec: map[string]any{"template": "Desktop"}, message: "template must be the name of a VDITemplate: lower-case letters, digits, '-' and '.'"},
		"an unknown policy":      {spec: map[string]any{"runPolicy": "Paused"}, message: `spec.runPolicy: Unsupported value: "Paused": supported values: "Running", "Suspended"`},
		"a time in words":        {spec: map[string]any{"keepAliveUntil": "tomorrow"}, message: "spec.keepAliveUntil"},
		"name of 63 characters":  {session: strings.Repeat("a", 63), message: "metadata.name must be at most 52 lower-case letters, digits or '-', begin with a letter and end with a letter or digit"},
		"name with a dot":        {session: "my.desk", message: "metadata.name must be at most 52"},
		"name beginning with 1":  {session: "1desk", message: "metadata.name must be at most 52"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := map[string]any{"user": alice, "template": w.template}
			for key, value := range c.spec {
				if spec[key] = value; value == nil {
					delete(spec, key)
				}
			}
			if c.session == "" {
				c.session = "bad"
			}
			err := w.client.Create(t.Context(), raw("VDISession", w.ns, c.session, spec))
			require.Error(t, err)
			t.Log(err)
			require.Contains(t, err.Error(), c.message)
			require.Less(t, len(err.Error()), 700, "a message that one can read")
		})
	}
	t.Cleanup(func() {
		list := &vdi.VDISessionList{}
		require.NoError(t, w.client.List(w.contextAfter(), list, client.InNamespace(w.ns)))
		require.Empty(t, list.Items, "nothing was created")
	})
}

func TestBadChangesAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate()
	class := "fast"
	w.createSession(func(s *vdi.VDISession) { s.Spec.Persistence.StorageClassName = &class })
	for name, c := range map[string]struct{ patch, message string }{
		"another user":               {`{"spec":{"user":"bob@example.com"}}`, "spec.user cannot be changed: delete this session and create another for the other user"},
		"user removed":               {`{"spec":{"user":null}}`, "spec.user: Required value"},
		"another template":           {`{"spec":{"template":"other"}}`, "spec.template cannot be changed: delete this session and create one with the other template (the home is kept)"},
		"template removed":           {`{"spec":{"template":null}}`, "spec.template: Required value"},
		"spec removed":               {`{"spec":null}`, "spec: Required value"},
		"another storage class":      {`{"spec":{"persistence":{"storageClassName":"slow"}}}`, "persistence.storageClassName cannot be changed: a volume stays in its class"},
		"storage class removed":      {`{"spec":{"persistence":{"storageClassName":null}}}`, "persistence.storageClassName cannot be changed"},
		"persistence removed whole":  {`{"spec":{"persistence":null}}`, "persistence.storageClassName cannot be changed"},
		"persistence emptied by put": {`{"spec":{"persistence":{"storageClassName":null,"size":null,"enabled":null}}}`, "persistence.storageClassName cannot be changed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := w.client.Patch(t.Context(), w.newSession(), client.RawPatch("application/merge-patch+json", []byte(c.patch)))
			require.Error(t, err)
			t.Log(err)
			require.Contains(t, err.Error(), c.message)
		})
	}
}

// contextAfter outlives the test's own, for cleanups.
func (w *world) contextAfter() context.Context { return context.WithoutCancel(w.ctx) }

func TestBadTemplatesAreRefused(t *testing.T) {
	t.Parallel()
	plane := sharedPlane(t)
	for name, c := range map[string]struct {
		spec    map[string]any
		message string
	}{
		"image empty":        {map[string]any{"image": ""}, "spec.image: Invalid value"},
		"image missing":      {map[string]any{}, "spec.image: Required value"},
		"image with a blank": {map[string]any{"image": "a b"}, "image must not hold blanks"},
		"streamer Custom without its port": {
			map[string]any{"image": image, "streamer": "Custom"},
			"streamer Custom needs spec.port and spec.healthPath: where the desktop's web server listens and which path answers when it is up",
		},
		"a port that the streamer brings": {map[string]any{"image": image, "port": int64(8080)}, "spec.port and spec.healthPath are for streamer Custom only"},
		"home outside a folder":           {map[string]any{"image": image, "home": map[string]any{"path": "/"}}, "path must be an absolute directory other than /"},
		"values no object":                {map[string]any{"image": image, "values": "x"}, "spec.values"},
		"env with two values": {
			map[string]any{"image": image, "env": []any{map[string]any{"name": "A", "value": "b", "valueFrom": map[string]any{"fieldRef": map[string]any{"fieldPath": "metadata.name"}}}}},
			"give value or valueFrom, not both",
		},
		"env twice":                     {map[string]any{"image": image, "env": []any{map[string]any{"name": "A"}, map[string]any{"name": "A"}}}, "Duplicate value"},
		"gpu in words":                  {map[string]any{"image": image, "gpu": map[string]any{"resourceName": "gpu"}}, "resourceName must look like nvidia.com/gpu"},
		"default memory":                {map[string]any{"image": image, "resources": map[string]any{"defaultMemory": "lots"}}, "must be a positive quantity"},
		"default memory of half a byte": {map[string]any{"image": image, "resources": map[string]any{"defaultMemory": "512m"}}, "did you mean 512Mi?"},
		"least memory of half a byte":   {map[string]any{"image": image, "resources": map[string]any{"min": map[string]any{"memory": "512m"}}}, "did you mean 512Mi?"},
		"most memory of half a byte":    {map[string]any{"image": image, "resources": map[string]any{"max": map[string]any{"memory": "512m"}}}, "did you mean 512Mi?"},
		"half a byte reserved":          {map[string]any{"image": image, "requests": map[string]any{"memory": "512m"}}, "did you mean 512Mi?"},
		"the agent's port for visitors": {custom(8090), "spec.port: Invalid value: 8090: 8090 to 8092 are the agent's"},
		"the agent's port for status":   {custom(8091), "8090 to 8092 are the agent's"},
		"the agent's port for desktops": {custom(8092), "8090 to 8092 are the agent's"},
		"root's group":                  {groups(44, 0), "spec.security.supplementalGroups[1]: Invalid value: 0"},
		"the agent's group":             {groups(65532), "65532 is the agent's group, which no desktop may be in"},
		"a group too high":              {groups(2147483648), "spec.security.supplementalGroups[0]: Invalid value"},
		"a group twice":                 {groups(44, 44), "Duplicate value"},
		"17 groups":                     {groups(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17), "must have at most 16 items"},
		"a command without a program":   {with("command", []any{"", "a"}), "command must begin with a program"},
		"a command of 65 words":         {with("command", words(65)), "must have at most 64 items"},
		"257 arguments":                 {with("args", words(257)), "must have at most 256 items"},
		"an endless argument":           {with("args", []any{strings.Repeat("a", 16385)}), "spec.args[0]: Too long"},
		"a command in one text":         {with("command", "sleep 1"), "spec.command"},
		"a time zone as a path":         {with("timeZone", "/etc/localtime"), "spec.timeZone: Invalid value"},
		"a group of the cluster's":      {with("access", map[string]any{"groups": []any{"system:authenticated"}}), "groups that begin with system: are the cluster's own"},
		"257 groups admitted":           {with("access", map[string]any{"groups": longNames(257)}), "must have at most 256 items"},
		"an icon elsewhere":             {with("icon", "https://example.com/icon.svg"), "spec.icon: Invalid value"},
		"an icon that is a page":        {with("icon", "data:text/html;base64,PHA+"), "icon must be a data URL of a PNG or SVG file: data:image/png;base64,"},
		"an icon that is no base64 URL": {with("icon", "data:image/svg+xml,<svg/>"), "icon must be a data URL of a PNG or SVG file"},
		"an icon behind a blank":        {with("icon", " data:image/png;base64,iVBORw0KGgo="), "icon must be a data URL of a PNG or SVG file"},
		"an icon too large":             {with("icon", iconOf("image/png", 66<<10)), "spec.icon: Too long: may not be more than 87424"},
		"a category of 65 characters":   {with("category", strings.Repeat("a", 65)), "spec.category: Too long: may not be more than 64"},
		"a user without a name":         {with("access", map[string]any{"users": []any{""}}), "spec.access.users[0]: Invalid value"},
		"a user twice":                  {with("access", map[string]any{"users": []any{"a", "a"}}), "Duplicate value"},
		"privileged pods":               {map[string]any{"image": image, "security": map[string]any{"profile": "Privileged"}}, `supported values: "Restricted", "Baseline"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := plane.admin.Create(t.Context(), raw("VDITemplate", "", "bad-template", c.spec))
			require.Error(t, err)
			t.Log(err)
			require.Contains(t, err.Error(), c.message)
		})
	}
}

// custom is a template whose desktop listens on this port.
func custom(port int64) map[string]any {
	return map[string]any{"image": image, "streamer": "Custom", "port": port, "healthPath": "/"}
}

// groups is a template whose desktop is in these groups.
func groups(list ...int64) map[string]any {
	var groups []any
	for _, group := range list {
		groups = append(groups, group)
	}
	return map[string]any{"image": image, "security": map[string]any{"supplementalGroups": groups}}
}

// with is a template with one more field.
func with(field string, value any) map[string]any {
	return map[string]any{"image": image, field: value}
}

func words(number int) []any {
	return slices.Repeat([]any{"a"}, number)
}

// iconOf is the data URL of a file of this size.
func iconOf(kind string, bytes int) string {
	return "data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(make([]byte, bytes))
}

// longNames are so many names, as long as names of groups and people may be.
func longNames(number int) (names []any) {
	for i := range number {
		names = append(names, fmt.Sprintf("%0256d", i))
	}
	return names
}

// TestWishesAreTaken: what templates and sessions may ask for.
func TestWishesAreTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, spec := range map[string]map[string]any{
		"groups":  groups(1, 44, 109, 2147483647),
		"command": with("command", words(64)),
		"zone":    with("timeZone", "Etc/GMT+5"),
		"access":  with("access", map[string]any{"users": longNames(1024), "groups": longNames(256)}),
		"args":    with("args", append(words(254), "", strings.Repeat("$", 16384))),
		"sort":    with("category", strings.Repeat("é", 64)),
		"png":     with("icon", iconOf("image/png", 64<<10)),
		"svg":     with("icon", iconOf("image/svg+xml", 64<<10)),
		"bare":    with("icon", ""),
	} {
		require.NoError(t, w.client.Create(t.Context(), raw("VDITemplate", "", w.template+"-"+name, spec), client.DryRunAll), name)
	}
	for what, list := range map[string][]any{"none": {}, "words": {"/artists", "CN=Künstler,OU=a b", "日本"}, "the most": longNames(256)} {
		session := raw("VDISession", w.ns, desk, map[string]any{"user": alice, "template": w.template, "groups": list})
		require.NoError(t, w.client.Create(t.Context(), session, client.DryRunAll), what)
	}
	for _, name := range []any{"", "a", "My drawings (2)", "Büro 東京 🎨", strings.Repeat("é", 64)} {
		session := raw("VDISession", w.ns, desk, map[string]any{"user": alice, "template": w.template, "displayName": name})
		require.NoError(t, w.client.Create(t.Context(), session, client.DryRunAll), name)
	}
	for _, zone := range []any{"", "UTC", "EST5EDT", "Europe/Berlin", "America/Argentina/Buenos_Aires", "America/Port-au-Prince", "Etc/GMT+5", "NZ-CHAT"} {
		session := raw("VDISession", w.ns, desk, map[string]any{"user": alice, "template": w.template, "timeZone": zone})
		require.NoError(t, w.client.Create(t.Context(), session, client.DryRunAll), zone)
	}
}

func TestLeastSizesAndNextPortsAreTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, spec := range map[string]map[string]any{
		"below":  custom(8089),
		"beyond": custom(8093),
		"sizes": {
			"image":     image,
			"requests":  map[string]any{"memory": "1Mi", "cpu": "1m"},
			"resources": map[string]any{"defaultMemory": "1024Ki", "min": map[string]any{"memory": "1048576"}, "max": map[string]any{"memory": "2M"}},
		},
	} {
		require.NoError(t, w.client.Create(t.Context(), raw("VDITemplate", "", w.template+"-"+name, spec), client.DryRunAll), name)
	}
	w.createSession(func(s *vdi.VDISession) { s.Spec.Resources.Memory, s.Spec.Persistence.Size = "1Mi", "1Mi" })
}

func TestUserThatLooksLikeAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate()
	w.createSession(func(s *vdi.VDISession) { s.Spec.User = "zoe\u0308@example.com" }) // e and a combining diaeresis
	w.pass()
	w.requirePhase(vdi.PhaseFailed)
	c := w.requireCondition(vdi.ConditionAccepted, metav1.ConditionFalse, vdi.ReasonInvalidUser)
	t.Log(c.Message)
	require.Contains(t, c.Message, "spec.user")
	require.Empty(t, w.existing())
}

func TestUnknownValuesKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate(func(t *vdi.VDITemplate) {
		t.Spec.Values = &apiextensionsv1.JSON{Raw: []byte(`{"pod":{"shmsize":"2Gi"}}`)}
	})
	w.templatePass()
	template := &vdi.VDITemplate{}
	require.NoError(t, w.client.Get(w.ctx, client.ObjectKey{Name: w.template}, template))
	valid := template.Status.Conditions[0]
	require.Equal(t, metav1.ConditionFalse, valid.Status)
	t.Log(valid.Message)
	require.Contains(t, valid.Message, "shmsize")

	w.createSession()
	w.pass()
	w.requirePhase(vdi.PhaseFailed)
	c := w.requireCondition(vdi.ConditionAccepted, metav1.ConditionFalse, vdi.ReasonInvalidValues)
	t.Log(c.Message)
	require.Contains(t, c.Message, "shmsize")
	require.Empty(t, w.existing())

	w.changeTemplate(func(t *vdi.VDITemplate) { t.Spec.Values = nil })
	w.templatePass()
	require.NoError(t, w.client.Get(w.ctx, client.ObjectKey{Name: w.template}, template))
	require.Equal(t, metav1.ConditionTrue, template.Status.Conditions[0].Status)
	require.Equal(t, int32(1), template.Status.Sessions.Total)
	w.start()
}

func TestOutsideTheTemplatesBounds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate(func(t *vdi.VDITemplate) { t.Spec.Resources.Max.Memory = "8Gi" })
	w.createSession(func(s *vdi.VDISession) { s.Spec.Resources.Memory = "16Gi" })
	w.pass()
	t.Log(w.requireCondition(vdi.ConditionAccepted, metav1.ConditionFalse, vdi.ReasonInvalidResources).Message)
	require.Empty(t, w.existing())
	w.change(func(s *vdi.VDISession) { s.Spec.Resources.Memory = "8Gi" })
	w.start()
}

func TestBacktickInUserIsHarmless(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	evil := "alice`) || Host(`bank.example.com"
	w.running(func(s *vdi.VDISession) { s.Spec.User = evil })
	routes, _, _ := unstructured.NestedSlice(w.route().Object, "spec", "routes")
	require.Len(t, routes, 1)
	require.Regexp(t, "^Host\\(`[a-z0-9.-]+`\\)$", routes[0].(map[string]any)["match"])
	for _, c := range children() {
		o := c.new()
		w.read(o, c.name)
		text := asJSON(t, o)
		if c.kind == "Pod" {
			quoted, err := json.Marshal(evil)
			require.NoError(t, err)
			require.Equal(t, 1, strings.Count(text, string(quoted)), "the user stands in one annotation of the pod and nowhere else")
			continue
		}
		require.NotContains(t, text, "bank.example.com", c.kind)
	}
}
