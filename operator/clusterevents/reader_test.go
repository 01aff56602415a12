package clusterevents

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
)

// pods are the pods of the namespace.
var pods = Key{Namespace: "ns", Kind: "Pod"}

// eventLog are the events that an API server holds, in pages; it repeats the last one.
type eventLog struct {
	pages [][]eventsv1.Event
	more  bool // there is always another page
	asked []client.ListOptions
	err   error
}

// reader answers from the log.
func (l *eventLog) reader() client.Reader {
	return interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
		List: func(ctx context.Context, _ client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			asked, page := (&client.ListOptions{}).ApplyOptions(opts), list.(*eventsv1.EventList)
			first := asked.Continue == ""
			l.asked = append(l.asked, *asked)
			page.Items, page.Continue = nil, ""
			if len(l.pages) > 0 {
				page.Items = l.pages[min(len(l.asked)-1, len(l.pages)-1)]
			}
			if l.more || first && len(l.pages) > 1 {
				page.Continue = "more"
			}
			return errors.Join(l.err, ctx.Err())
		},
	})
}

func anEvent(name, reason, note string, at time.Time) eventsv1.Event {
	return eventsv1.Event{Regarding: corev1.ObjectReference{Name: name, UID: "uid"}, Reason: reason, Note: note, DeprecatedLastTimestamp: metav1.Time{Time: at}}
}

func logOf(events ...eventsv1.Event) *eventLog { return &eventLog{pages: [][]eventsv1.Event{events}} }

// What was last said of an object counts, if it says why nothing comes of it, and for a while.
func TestAbout(t *testing.T) {
	at := func(after time.Duration) time.Time { return fixture.Noon.Add(after) }
	repeated := anEvent("desk", "FailedMount", "repeated", at(0))
	repeated.Series = &eventsv1.EventSeries{LastObservedTime: metav1.MicroTime{Time: at(2 * time.Second)}}
	recent := eventsv1.Event{Regarding: corev1.ObjectReference{Name: "desk"}, Reason: "FailedMount", Note: "recent", EventTime: metav1.MicroTime{Time: at(time.Second)}}
	for name, c := range map[string]struct {
		events []eventsv1.Event
		after  time.Duration // since noon
		words  string        // "": nothing is known
	}{
		"nothing":                   {nil, 0, ""},
		"of another object":         {[]eventsv1.Event{anEvent("other", "FailedMount", "no", at(0))}, 0, ""},
		"a reason that says why":    {[]eventsv1.Event{anEvent("desk", "FailedMount", "no", at(0))}, 0, "no"},
		"a container's words":       {[]eventsv1.Event{anEvent("desk", "FailedPostStartHook", "token=hunter2", at(0))}, 0, ""},
		"a later one that says why": {[]eventsv1.Event{anEvent("desk", "FailedMount", "old", at(0)), anEvent("desk", "ClaimLost", "new", at(1))}, 0, "new"},
		"the later one came first":  {[]eventsv1.Event{anEvent("desk", "FailedMount", "new", at(1)), anEvent("desk", "ClaimLost", "old", at(0))}, 0, "new"},
		"a later one says nothing":  {[]eventsv1.Event{anEvent("desk", "FailedMount", "why", at(0)), anEvent("desk", "Pulling", "pulls", at(1))}, 0, "why"},
		"it is believed until then": {[]eventsv1.Event{anEvent("desk", "FailedMount", "no", at(0))}, Counts - 1, "no"},
		"and then no longer":        {[]eventsv1.Event{anEvent("desk", "FailedMount", "no", at(0))}, Counts, ""},
		"the time of a series":      {[]eventsv1.Event{repeated, recent}, 0, "repeated"},
		"the time of an event":      {[]eventsv1.Event{anEvent("desk", "FailedMount", "old", at(0)), recent}, 0, "recent"},
		"the same trouble":          {[]eventsv1.Event{anEvent("desk", "FailedMount", "timed out after 3s", at(0))}, 0, "timed out after …"},
	} {
		t.Run(name, func(t *testing.T) {
			said, found, err := (&Reader{}).About(t.Context(), logOf(c.events...).reader(), pods, "desk", at(c.after))
			require.NoError(t, err)
			require.Equal(t, c.words != "", found)
			if found {
				require.Equal(t, c.words, said.Words)
			}
		})
	}
}

// Growth is what autoscalers report; all reasons that are read are of one kind or the other.
func TestIsGrowth(t *testing.T) {
	growth := slices.DeleteFunc(tellingReasons(), func(reason string) bool { return !IsGrowth(reason) })
	require.Equal(t, []string{"TriggeredScaleUp", "Nominated"}, growth)
}

// Only events of one kind in one namespace are asked for, page after page.
func TestPages(t *testing.T) {
	log := &eventLog{pages: [][]eventsv1.Event{
		{anEvent("first", "FailedMount", "on the first page", fixture.Noon)}, {anEvent("second", "FailedMount", "on the second", fixture.Noon)},
	}}
	reader, n := log.reader(), &Reader{}
	for name, words := range map[string]string{"first": "on the first page", "second": "on the second"} {
		said, _, err := n.About(t.Context(), reader, pods, name, fixture.Noon)
		require.NoError(t, err)
		require.Equal(t, words, said.Words)
	}
	require.Len(t, log.asked, 2)
	for i, asked := range log.asked {
		require.Equal(t, "ns", asked.Namespace)
		require.Equal(t, fields.Set{"regarding.kind": "Pod"}.String(), asked.FieldSelector.String())
		require.Equal(t, []string{"", "more"}[i], asked.Continue)
		require.EqualValues(t, pageSize, asked.Limit)
	}
}

// All late sessions of a namespace share one reading of its events.
func TestNewsAreShared(t *testing.T) {
	log := logOf(anEvent("desk", "FailedMount", "old", fixture.Noon), anEvent("desk", "FailedMount", "new", fixture.Noon.Add(time.Second)))
	n, reader := &Reader{}, log.reader()
	for range 100 {
		said, found, err := n.About(t.Context(), reader, pods, "desk", fixture.Noon)
		require.NoError(t, err)
		require.Equal(t, []any{true, "new"}, []any{found, said.Words})
	}
	require.Len(t, log.asked, 1)
	log.err = errors.New("no answer")
	for range 100 {
		_, _, err := n.About(t.Context(), reader, pods, "desk", fixture.Noon.Add(Holds))
		require.ErrorIs(t, err, log.err)
	}
	require.Len(t, log.asked, 2, "who does not answer is not asked by each of them")
	log.err = nil
	_, _, err := n.About(t.Context(), reader, pods, "desk", fixture.Noon.Add(2*Holds))
	require.NoError(t, err, "asked again")
	_, _, err = n.About(t.Context(), reader, pods, "desk", fixture.Noon)
	require.NoError(t, err)
	require.Len(t, log.asked, 4, "a clock that went back makes a reading old, too")

	log.more = true
	_, _, err = n.About(t.Context(), reader, pods, "desk", fixture.Noon.Add(3*Holds))
	require.NoError(t, err)
	require.Len(t, log.asked, 4+Pages, "a namespace full of events is not read to its end")
}

// Kinds and namespaces are read apart, and forgotten when no start has been late for a while.
func TestForgotten(t *testing.T) {
	n, log := &Reader{}, logOf()
	claims, elsewhere := Key{Namespace: "ns", Kind: "PersistentVolumeClaim"}, Key{Namespace: "elsewhere", Kind: "Pod"}
	about := func(key Key, after time.Duration) {
		_, _, err := n.About(t.Context(), log.reader(), key, "desk", fixture.Noon.Add(after))
		require.NoError(t, err)
	}
	about(pods, 0)
	about(claims, Counts)
	require.Len(t, log.asked, 2)
	require.Len(t, n.reports, 2, "an event may still count")
	about(elsewhere, Counts+1)
	require.NotContains(t, n.reports, pods)
	require.Contains(t, n.reports, claims)
}

// Who waits for somebody else's reading stops when nobody wants the answer any more.
func TestWaitForReading(t *testing.T) {
	n, log := &Reader{}, logOf()
	report := n.reportOn(pods, fixture.Noon)
	report.turn <- struct{}{}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := n.About(gone, log.reader(), pods, "desk", fixture.Noon)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, log.asked)
	n.forgetOld(fixture.Noon.Add(time.Hour))
	require.Contains(t, n.reports, pods, "what is being read is not forgotten")
}

// The same trouble gives the same words, however long each try took.
func TestLasting(t *testing.T) {
	for note, want := range map[string]string{
		`rpc error: RequestID: 7f1e-22, took 1m2.5s`:          `rpc error: RequestID: …, took …`,
		`timed out after 30s (request-id 8)`:                  `timed out after … (request-id …`,
		`volume "pvc-12" : configmap "nothere" not found`:     `volume "pvc-12" : configmap "nothere" not found`,
		`storageclass.storage.k8s.io "gp3" not found in 12ms`: `storageclass.storage.k8s.io "gp3" not found in …`,
	} {
		require.Equal(t, want, Lasting(note))
	}
}
