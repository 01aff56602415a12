package portal

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// leftHome is what the operator has marked, and somebody edited.
func leftHome(edit ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	session := platform.SessionName(alice, "office")
	c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
		Name: wire.PrefixHome + session, Namespace: "desks", UID: "1", ResourceVersion: "7",
		Labels: map[string]string{wire.LabelManagedBy: wire.Operator, wire.LabelInstance: session, wire.LabelRetained: wire.LabelOn, wire.LabelTemplate: "office"},
		Annotations: map[string]string{
			wire.AnnotationSessionUID: "2", wire.AnnotationRetainedUID: "1", wire.AnnotationRetainedSince: noon.Format(time.RFC3339),
			wire.AnnotationRetainFor: "720h0m0s", wire.AnnotationDisplayName: "Office",
		},
	}}
	c.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")}
	c.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("12Gi")}
	for _, change := range edit {
		change(c)
	}
	return c
}

func TestHomesOf(t *testing.T) {
	c := leftHome()
	homes := HomesOf([]corev1.PersistentVolumeClaim{*c}, nil, noon)
	require.Len(t, homes, 1)
	assert.Equal(t, Home{
		Session: c.Labels[wire.LabelInstance], Claim: c.Name, Title: "Office", Template: "office", Size: "12", UID: "1", Version: "7",
		Left: noon, Until: noon.Add(720 * time.Hour), Reusable: true, Deletable: true,
	}, homes[0])
}

// What a desktop has, what the operator did not make, and what goes already is nobody's choice here.
func TestHomesThatAreNotLeft(t *testing.T) {
	own := *session(func(s *vdi.VDISession) { s.Namespace = "desks" })
	borrower := *session(func(s *vdi.VDISession) {
		s.Name, s.Namespace, s.Spec.Persistence.ExistingClaim = "other", "desks", leftHome().Name
	})
	elsewhere := *session(func(s *vdi.VDISession) { s.Namespace = "team" })
	for name, c := range map[string]struct {
		edit     func(*corev1.PersistentVolumeClaim)
		sessions []vdi.VDISession
		want     int
	}{
		"its session is there":      {func(*corev1.PersistentVolumeClaim) {}, []vdi.VDISession{own}, 0},
		"another session has it":    {func(*corev1.PersistentVolumeClaim) {}, []vdi.VDISession{borrower}, 0},
		"a namesake elsewhere":      {func(*corev1.PersistentVolumeClaim) {}, []vdi.VDISession{elsewhere}, 1},
		"in use":                    {func(c *corev1.PersistentVolumeClaim) { delete(c.Labels, wire.LabelRetained) }, nil, 0},
		"vouched for":               {func(c *corev1.PersistentVolumeClaim) { c.Labels[wire.LabelHomeFor] = "x" }, nil, 0},
		"made by hand":              {func(c *corev1.PersistentVolumeClaim) { delete(c.Annotations, wire.AnnotationSessionUID) }, nil, 0},
		"of another name":           {func(c *corev1.PersistentVolumeClaim) { c.Name = "planted" }, nil, 0},
		"going":                     {func(c *corev1.PersistentVolumeClaim) { c.DeletionTimestamp = &metav1.Time{} }, nil, 0},
		"of a session by kubectl":   {func(c *corev1.PersistentVolumeClaim) { c.Name, c.Labels[wire.LabelInstance] = "vdi-data-mine", "mine" }, nil, 1},
		"a copy that a backup made": {func(c *corev1.PersistentVolumeClaim) { c.UID = "9" }, nil, 1},
		"an unreadable mark":        {func(c *corev1.PersistentVolumeClaim) { c.Annotations[wire.AnnotationRetainedSince] = "x" }, nil, 1},
	} {
		homes := HomesOf([]corev1.PersistentVolumeClaim{*leftHome(c.edit)}, c.sessions, noon)
		assert.Len(t, homes, c.want, name)
		for _, h := range homes {
			kept := name == "a copy that a backup made" || name == "an unreadable mark"
			assert.Equal(t, kept, !h.Deletable && h.Until.IsZero(), "%s: the operator keeps it for ever", name)
			assert.Equal(t, name != "of a session by kubectl", h.Reusable, name)
		}
	}
}

// A home that somebody discards is there for a day, as the operator will have it, whenever it
// was left.
func TestDiscard(t *testing.T) {
	h := Home{Left: noon}
	assert.Equal(t, 24*time.Hour, h.Discard(noon.Add(-time.Second)), "by a clock that is behind")
	for _, since := range []time.Duration{0, time.Minute, 50 * time.Hour, 1000 * time.Hour} {
		now := noon.Add(since)
		keep := h.Discard(now)
		assert.Equal(t, since+24*time.Hour, keep)
		c := leftHome(func(c *corev1.PersistentVolumeClaim) { c.Annotations[wire.AnnotationRetainFor] = keep.String() })
		left := HomesOf([]corev1.PersistentVolumeClaim{*c}, nil, now)
		require.Len(t, left, 1)
		assert.GreaterOrEqual(t, left[0].Until.Sub(now), 24*time.Hour)
		assert.Equal(t, since == 1000*time.Hour, left[0].Deletable, "only what is announced for longer could still go sooner")
	}
}

// One that goes within a day anyhow cannot go sooner; one that is kept can go.
func TestDeletableHomes(t *testing.T) {
	for keep, want := range map[string]bool{"": true, "720h": true, "24h1s": true, "24h": false, "1h": false} {
		c := leftHome(func(c *corev1.PersistentVolumeClaim) { c.Annotations[wire.AnnotationRetainFor] = keep })
		assert.Equal(t, want, HomesOf([]corev1.PersistentVolumeClaim{*c}, nil, noon)[0].Deletable, "%q", keep)
	}
}

// Keeping it after all never makes its time shorter.
func TestKeepHome(t *testing.T) {
	for what, c := range map[string]struct {
		until time.Time
		rule  time.Duration
		want  time.Time
		more  bool
	}{
		"kept for ever already": {time.Time{}, time.Hour, time.Time{}, false},
		"for ever":              {noon.Add(day), 0, time.Time{}, true},
		"for longer":            {noon.Add(day), 2 * day, noon.Add(2 * day), true},
		"for the same time":     {noon.Add(day), day, noon.Add(day), false},
		"not for shorter":       {noon.Add(2 * day), day, noon.Add(day), false},
	} {
		until, more := Home{Left: noon, Until: c.until}.Keep(c.rule)
		assert.Equal(t, c.want, until, what)
		assert.Equal(t, c.more, more, what)
	}
}

const day = 24 * time.Hour

func TestLargerHome(t *testing.T) {
	for typed, want := range map[string]string{
		"30": "30Gi", "20.5": "20992Mi", "20,5": "20992Mi", " 21 ": "21Gi",
		"20": "!more than 20.", "10": "!more than 20.", "": "!more than 20.", "-5": "!above 0", "x": "!a number", "1e400": "!a number",
	} {
		size, problem := LargerHome(session(func(s *vdi.VDISession) { s.Spec.Persistence.Size = "20Gi" }), typed)
		if want[0] == '!' {
			assert.Contains(t, problem, want[1:], typed)
			want = ""
		}
		assert.Equal(t, vdi.Quantity(want), size, typed)
	}
	size, problem := LargerHome(session(func(s *vdi.VDISession) { s.Spec.Persistence.Size = "5Gi" }), "10")
	assert.Equal(t, []string{"10Gi", ""}, []string{string(size), problem}, "the default of a new one is a size as any other")
	for _, without := range []vdi.Persistence{{Enabled: new(bool)}, {ExistingClaim: "mine"}} {
		_, problem := LargerHome(session(func(s *vdi.VDISession) { s.Spec.Persistence = without }), "30")
		assert.Contains(t, problem, "no home that could grow")
	}
}
