package homes

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vdi-platform/vdi-platform/operator/homes/kept"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// noon is when the sessions of these tests left their homes.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

const (
	hour = time.Hour
	day  = 24 * hour
)

// aHome is a claim that the operator made.
func aHome(changes ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
		Name: "vdi-data-desk", Namespace: "ns", UID: "home",
		Labels:      map[string]string{wire.LabelManagedBy: wire.Operator, wire.LabelInstance: "desk", wire.LabelUser: platform.Identity("alice")},
		Annotations: map[string]string{wire.AnnotationSessionUID: "session"},
	}}
	for _, change := range changes {
		change(claim)
	}
	return claim
}

func left(keep time.Duration) func(*corev1.PersistentVolumeClaim) {
	return func(c *corev1.PersistentVolumeClaim) { kept.Leave(c, noon, keep) }
}

func annotated(key, value string) func(*corev1.PersistentVolumeClaim) {
	return func(c *corev1.PersistentVolumeClaim) { c.Annotations[key] = value }
}

func labelled(key, value string) func(*corev1.PersistentVolumeClaim) {
	return func(c *corev1.PersistentVolumeClaim) { c.Labels[key] = value }
}

func warned(after time.Duration) func(*corev1.PersistentVolumeClaim) {
	return annotated(wire.AnnotationDeletionWarned, kept.Stamp(noon.Add(after)))
}

// foreign are changes that make a claim not the operator's to delete.
func foreign() map[string]func(*corev1.PersistentVolumeClaim) {
	return map[string]func(*corev1.PersistentVolumeClaim){
		"made by somebody else":        labelled(wire.LabelManagedBy, "helm"),
		"made by nobody known":         func(c *corev1.PersistentVolumeClaim) { c.Labels = map[string]string{wire.LabelRetained: "true"} },
		"made by hand":                 func(c *corev1.PersistentVolumeClaim) { delete(c.Annotations, wire.AnnotationSessionUID) },
		"vouched for":                  labelled(wire.LabelHomeFor, "identity"),
		"another name":                 func(c *corev1.PersistentVolumeClaim) { c.Name = "data" },
		"another session's name":       labelled(wire.LabelInstance, "other"),
		"no session's":                 func(c *corev1.PersistentVolumeClaim) { delete(c.Labels, wire.LabelInstance) },
		"brought back by a backup":     func(c *corev1.PersistentVolumeClaim) { c.UID = "restored" },
		"never marked":                 func(c *corev1.PersistentVolumeClaim) { kept.Take(c) },
		"the label removed":            func(c *corev1.PersistentVolumeClaim) { delete(c.Labels, wire.LabelRetained) },
		"the end removed":              func(c *corev1.PersistentVolumeClaim) { delete(c.Annotations, wire.AnnotationRetainFor) },
		"an end that nobody can read":  annotated(wire.AnnotationRetainFor, "30 days"),
		"an end of 0":                  annotated(wire.AnnotationRetainFor, "0"),
		"an end before the start":      annotated(wire.AnnotationRetainFor, "-1h"),
		"a start that nobody can read": annotated(wire.AnnotationRetainedSince, "yesterday"),
		"being deleted":                func(c *corev1.PersistentVolumeClaim) { c.DeletionTimestamp = &metav1.Time{Time: noon} },
	}
}

// TestDecide is the specification of the end of homes.
func TestDecide(t *testing.T) {
	keepFor := func(lookAgain, endsAt time.Duration) kept.Decision {
		return kept.Decision{Want: kept.Keep, LookAgain: lookAgain, EndsAt: noon.Add(endsAt)}
	}
	for name, c := range map[string]struct {
		claim *corev1.PersistentVolumeClaim
		after time.Duration // since noon
		want  kept.Decision
	}{
		"just left: looks again at the warning":         {aHome(left(30 * day)), 0, keepFor(27*day, 30*day)},
		"a moment before the warning":                   {aHome(left(30 * day)), 27*day - 1, keepFor(1, 30*day)},
		"the warning":                                   {aHome(left(30 * day)), 27 * day, kept.Decision{Want: kept.Warn, EndsAt: noon.Add(30 * day)}},
		"warned: looks again at the end":                {aHome(left(30*day), warned(27*day)), 27 * day, keepFor(3*day, 30*day)},
		"a moment before the end":                       {aHome(left(30*day), warned(27*day)), 30*day - 1, keepFor(1, 30*day)},
		"the end":                                       {aHome(left(30*day), warned(27*day)), 30 * day, kept.Decision{Want: kept.Delete, EndsAt: noon.Add(30 * day)}},
		"its time over while nobody looked: warned yet": {aHome(left(30 * day)), 90 * day, kept.Decision{Want: kept.Warn, EndsAt: noon.Add(93 * day)}},
		"warned late: the notice is kept":               {aHome(left(30*day), warned(90*day)), 90 * day, keepFor(3*day, 93*day)},
		"warned late: the end":                          {aHome(left(30*day), warned(90*day)), 93 * day, kept.Decision{Want: kept.Delete, EndsAt: noon.Add(93 * day)}},
		"prolonged after the warning: warned again":     {aHome(left(100*day), warned(27*day)), 90 * day, kept.Decision{Want: kept.Warn, EndsAt: noon.Add(100 * day)}},
		"prolonged after the warning: not yet":          {aHome(left(100*day), warned(27*day)), 30 * day, keepFor(60*day, 100*day)},
		"a short time is announced a day ahead":         {aHome(left(4 * day)), 0, keepFor(3*day, 4*day)},
		"a very short one at its half":                  {aHome(left(2 * hour)), 0, keepFor(hour, 2*hour)},
		"a warning that nobody can read is none":        {aHome(left(30*day), annotated(wire.AnnotationDeletionWarned, "x")), 30 * day, kept.Decision{Want: kept.Warn, EndsAt: noon.Add(33 * day)}},
		"no end: kept for ever":                         {aHome(left(0)), 100000 * hour, kept.Decision{Want: kept.Keep}},
		"not marked: listed":                            {aHome(), 0, kept.Decision{Want: kept.List}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, kept.Decide(c.claim, true, noon.Add(c.after)))
			require.Equal(t, kept.Decision{Want: kept.Keep}, kept.Decide(c.claim, false, noon.Add(c.after)), "its session has it")
		})
	}
}

func TestNeverAForeignClaim(t *testing.T) {
	require.Equal(t, kept.Delete, kept.Decide(aHome(left(day), warned(12*hour)), true, noon.Add(day)).Want, "the one that is ours")
	for name, change := range foreign() {
		t.Run(name, func(t *testing.T) {
			d := kept.Decide(aHome(left(day), warned(12*hour), change), true, noon.Add(1000*day))
			require.Contains(t, []kept.Want{kept.Keep, kept.List}, d.Want)
		})
	}
}

func TestTake(t *testing.T) {
	claim := aHome(left(day), warned(12*hour))
	kept.Take(claim)
	require.Equal(t, aHome(), claim, "nothing of the mark stays")

	claim = aHome(left(day), annotated(wire.AnnotationDisplayName, "Thesis"))
	kept.Leave(claim, noon.Add(day), day)
	require.Equal(t, "Thesis", claim.Annotations[wire.AnnotationDisplayName], "its time begins anew, the name of whoever had it stays")
	kept.Take(claim)
	require.Equal(t, aHome(), claim)
	kept.Leave(claim, noon.Add(100*day), day)
	require.Equal(t, kept.Keep, kept.Decide(claim, true, noon.Add(100*day)).Want, "its time begins anew")
}

// aTime rounds to seconds or not.
func aTime(r *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(r.Int64N(int64(most)))
}

// TestNeverBeforeItsTime: whatever is written and whenever one looks, a home is
// deleted neither before its time nor without a warning long enough before.
func TestNeverBeforeItsTime(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	deletions := 0
	for range 50000 {
		keep := 1 + aTime(r, 100*day)
		claim := aHome(left(keep))
		if r.IntN(2) == 0 {
			warned(aTime(r, 200*day) - 50*day)(claim)
		}
		at := noon.Add(aTime(r, 400*day) - 100*day)
		words := fmt.Sprintf("%s %v", at, claim.Annotations)
		d := kept.Decide(claim, true, at)
		if d.Want != kept.Delete {
			continue
		}
		deletions++
		require.False(t, at.Before(noon.Add(keep)), "before its time: %s", words)
		m, ends := kept.MarkOf(claim)
		require.True(t, ends && !m.Warned.IsZero(), "never announced: %s", words)
		require.GreaterOrEqual(t, at.Sub(m.Warned), min(max(keep/10, day), keep/2), "announced too late: %s", words)
		require.Equal(t, kept.Delete, kept.Decide(claim, true, at.Add(day)).Want, "no longer due: %s", words)
	}
	require.Greater(t, deletions, 1000)
}

// TestAClockThatJumpsLosesNothing: the operator's clock jumps about; what it
// decides is confirmed by the API server's, as Reconcile does. The home is
// announced and deleted, each in time by the server's clock.
func TestAClockThatJumpsLosesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 3000 {
		keep := hour + aTime(r, 60*day)
		claim, server := aHome(left(keep)), noon
		var announced time.Time
		for looks := 0; ; looks++ {
			require.Less(t, looks, 100000, "forgotten")
			ours := server.Add(aTime(r, 2000*day) - 1000*day)
			d := kept.Decide(claim, true, ours)
			if d.Want != kept.Keep {
				d = kept.Decide(claim, true, server)
			}
			switch d.Want {
			case kept.Warn:
				announced = server
				warned(server.Sub(noon))(claim)
			case kept.Delete:
				require.False(t, server.Before(noon.Add(keep)))
				require.GreaterOrEqual(t, server.Sub(announced), kept.Notice(keep))
			}
			if d.Want == kept.Delete {
				break
			}
			server = server.Add(min(max(d.LookAgain, time.Second), day)) // events wake it too
		}
	}
}
