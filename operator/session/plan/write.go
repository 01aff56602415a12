package plan

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/operator/accounting"
	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// Write is something that a pass does. The writes of a plan are carried out in order, and
// the first that is refused or fails stops it.
type Write struct {
	Action
	// MayLack: a refusal is only reported, and the rest is done all the same.
	MayLack bool
}

// Action is what a write does, in words for tests and logs.
type Action interface{ String() string }

// The writes to the session itself. The first three are write-ahead notes: an operator may
// die between any two writes, and its successor must know what was under way.
type (
	// AddFinalizer comes before anything exists that needs an orderly end.
	AddFinalizer struct{}
	// Record writes why a run stops, and why the session ends if it does, before either
	// happens: a session so marked keeps its home whatever its policy says.
	Record struct{ Stop, End vdi.StopReason }
	// SetRunPolicy turns the session's own wish, so that one field says whether its desktop
	// should run and turning it back resumes it.
	SetRunPolicy struct{ To vdi.RunPolicy }
	// UnlessUsed asks once more, right before an idle desktop is stopped, whether it was used:
	// then the stop is taken back and the pass ends.
	UnlessUsed struct{}
	// EndSession deletes exactly the session that was decided about.
	EndSession struct{}
	// CountRun adds a pod that holds nothing any more to what its person has used, unless that was
	// done.
	CountRun struct{ accounting.Run }
	// RemoveFinalizer lets the session go; the garbage collector takes what it owns.
	RemoveFinalizer struct{}
)

// The writes that take something away. Before a desktop, a way in, a home or a host goes, the API
// server itself is asked once whether the session still is what the plan was made for.
type (
	// StopDesktop takes the ways in away first, so that the URL dies at once, and the pod
	// whatever becomes of that.
	StopDesktop struct {
		Ways []*unstructured.Unstructured
		Pod  *corev1.Pod
	}
	// RemoveWay takes a way in away that the cache does not show. It leads nowhere when it
	// cannot be removed.
	RemoveWay struct{ Way *metav1.PartialObjectMetadata }
	// ClearFailed removes a pod that ended by itself, so that the next can be made.
	ClearFailed struct{ Pod *corev1.Pod }
	// Prune removes an object that is not rendered any more.
	Prune struct{ Object *unstructured.Unstructured }
	// DeleteHome deletes the home with its session, after one more look at both.
	DeleteHome struct {
		Claim *corev1.PersistentVolumeClaim
	}
	// LeaveHome marks the home that the session leaves behind, and for how long it is kept;
	// package homes does the rest. The same write releases it.
	LeaveHome struct {
		Claim *corev1.PersistentVolumeClaim
		At    time.Time
		Keep  time.Duration
	}
	// Release makes a claim free that the session holds and does not go on to use. Claim is
	// nil for one that is not watched.
	Release struct {
		Name  string
		Claim *corev1.PersistentVolumeClaim
	}
	// ReleaseHost frees the host for the same person's next session.
	ReleaseHost struct{ Host string }
	// AdoptOrphans gives what lost its owner back to the session that is being deleted.
	AdoptOrphans struct{}
)

// The writes that make and keep a desktop.
type (
	// Label gives an object of earlier versions the label by which the proxy reads it.
	Label struct{ Object *unstructured.Unstructured }
	// TakeHost makes this session the one that answers under its host.
	TakeHost struct{ Host string }
	// Hold makes the session the holder of the claim on which it starts, and looks then at
	// the pods that the API server knows on it: one that is there stops the start.
	Hold struct {
		Claim *corev1.PersistentVolumeClaim
	}
	// MakeHome makes the home. Born held: its desktop starts.
	MakeHome struct {
		Claim *unstructured.Unstructured
		Held  bool
	}
	// TakeHomeBack removes the mark from a home that was left and that its user's session
	// has again.
	TakeHomeBack struct{}
	// GrowHome raises the request of the home.
	GrowHome struct{ To resource.Quantity }
	// MakeTURNLogin gives a desktop that is about to start a login at the relay.
	MakeTURNLogin struct{}
	// KeepTURNLogin renews the login of a desktop that lives, when it is time.
	KeepTURNLogin struct{}
	// MakeCredentials makes sure of the Secret of a session that is about to start.
	MakeCredentials struct{}
	// Create makes an object. It never takes over one that is not ours.
	Create struct{ Object *unstructured.Unstructured }
	// PutBack makes an object of ours as rendered.
	PutBack struct{ Object *unstructured.Unstructured }
)

func (AddFinalizer) String() string    { return "add the finalizer" }
func (RemoveFinalizer) String() string { return "remove the finalizer" }
func (w Record) String() string        { return fmt.Sprintf("record stop %q, end %q", w.Stop, w.End) }
func (w SetRunPolicy) String() string  { return "set spec.runPolicy to " + string(w.To) }
func (UnlessUsed) String() string      { return "ask once more whether it was used" }
func (EndSession) String() string      { return "delete the session" }
func (w CountRun) String() string      { return "count the run of pod " + string(w.UID) }
func (w StopDesktop) String() string {
	words := "stop the desktop:"
	for _, o := range w.Ways {
		words += " " + nameOf(o) + ","
	}
	if w.Pod == nil {
		return words + " no pod"
	}
	return words + " Pod " + w.Pod.Name
}

func (w RemoveWay) String() string {
	return "remove " + nameOf(w.Way) + ", which the cache does not show"
}
func (w ClearFailed) String() string { return "remove Pod " + w.Pod.Name + ", which has ended" }
func (w Prune) String() string       { return "remove " + nameOf(w.Object) }
func (w DeleteHome) String() string  { return "delete the home " + w.Claim.Name }
func (w LeaveHome) String() string {
	if w.Keep == 0 {
		return "mark the home " + w.Claim.Name + " as left, to be kept"
	}
	return fmt.Sprintf("mark the home %s as left, to be kept for %s", w.Claim.Name, w.Keep)
}
func (w Release) String() string       { return "release the home " + w.Name }
func (w ReleaseHost) String() string   { return "release the host " + w.Host }
func (AdoptOrphans) String() string    { return "adopt what has lost its owner" }
func (w Label) String() string         { return "label " + nameOf(w.Object) + " for the proxy" }
func (w TakeHost) String() string      { return "take the host " + w.Host }
func (w Hold) String() string          { return "hold the home " + w.Claim.Name }
func (TakeHomeBack) String() string    { return "take the home back" }
func (w GrowHome) String() string      { return "grow the home to " + w.To.String() }
func (MakeTURNLogin) String() string   { return "make the login at the relay" }
func (KeepTURNLogin) String() string   { return "keep the login at the relay" }
func (MakeCredentials) String() string { return "make sure of the credentials" }
func (w Create) String() string        { return "create " + nameOf(w.Object) }
func (w PutBack) String() string       { return "put back " + nameOf(w.Object) }
func (w MakeHome) String() string {
	if w.Held {
		return "create the home " + w.Claim.GetName() + ", held"
	}
	return "create the home " + w.Claim.GetName()
}

func nameOf(o client.Object) string {
	return o.GetObjectKind().GroupVersionKind().Kind + " " + o.GetName()
}
