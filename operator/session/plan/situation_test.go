package plan_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/fairshare"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// situation is what is known of a session: how it differs from the one in base.yaml, whose
// desktop runs, and what the answers are. Maps are merged (RFC 7396).
type situation struct {
	About string `json:"about"` // what must be true of the plan

	Clock     metav1.Time            `json:"clock"`
	Session   *vdi.VDISession        `json:"session"`
	Template  *vdi.VDITemplate       `json:"template"`
	Settings  platform.Config        `json:"settings"`
	Keys      map[string]string      `json:"statementKeys"`
	StartedBy *vdi.TemplateLifecycle `json:"startedBy"`
	EndedFor  metav1.Duration        `json:"endedFor"`
	Released  map[string]string      `json:"released"`

	// Quotas limit the session, and the Booked have this of them.
	Quotas []vdi.VDIQuota `json:"quotas"`
	Booked []struct {
		User string      `json:"user"`
		GPU  int64       `json:"gpu"`  // slices of its desktop
		Ends metav1.Time `json:"ends"` // when that ends
		Home string      `json:"home"` // what its home has
		// Stuck: no node has room for it, of those that the session can run on.
		Stuck bool `json:"stuck"`
	} `json:"booked"`

	// Budgets are what the person has of GPU-hours.
	Budgets []fixture.Budget `json:"budgets"`

	// Rendered are the session and the template that the objects were made from, where they
	// were others.
	Rendered struct {
		Session  *vdi.VDISession  `json:"session"`
		Template *vdi.VDITemplate `json:"template"`
	} `json:"rendered"`
	// Pod and Home are what differs from what was rendered; null: there is none.
	Pod  map[string]any `json:"pod"`
	Home map[string]any `json:"home"`
	// Others are none of the further objects; else Changed kinds differ from what was
	// rendered, and the Missing are not there.
	Others  string                    `json:"others"`
	Missing []string                  `json:"missing"`
	Changed map[string]map[string]any `json:"changed"` // by kind

	Answers struct {
		Use        *vdi.ActivityStatus `json:"use"`
		UseIsDue   bool                `json:"useIsDue"`
		ServerTime *metav1.Time        `json:"serverTime"` // the clock's unless given
		UnseenWays []string            `json:"unseenWays"` // kinds
		HomeGone   bool                `json:"homeGone"`
		Mounted    map[string]string   `json:"mounted"` // label for-desktops by claim
		SharedWith string              `json:"sharedWith"`
		StartOn    map[string]any      `json:"startOn"` // what differs from the home; null: there is none
		Held       bool                `json:"held"`    // by the session itself
		UsedBy     *corev1.Pod         `json:"usedBy"`
		HeldBy     string              `json:"heldBy"`
		PodThere   bool                `json:"podThere"`
		HadBy      string              `json:"hadBy"`
		LeftTo     string              `json:"leftTo"`
		RetainFor  metav1.Duration     `json:"retainFor"`
		NotThere   bool                `json:"notThere"` // the API server has no home
	} `json:"answers"`
}

// situations are all situations by name.
func situations(t testing.TB) map[string]situation {
	t.Helper()
	base := fixture.YAML(t, "testdata/base.yaml")
	all := fixture.Situations[situation](t, func(string, map[string]any) map[string]any { return base })
	for name, in := range all {
		require.NotEmpty(t, strings.TrimSpace(in.About), "%s: about says what must be true", name)
	}
	return all
}

// pass has the facts of the situation.
func (in situation) pass(t testing.TB) *plan.Pass {
	t.Helper()
	p := plan.NewPass(in.Session.DeepCopy(), in.Clock.UTC(), &in.Settings)
	p.Template, p.StatementKeys, p.StartedBy = in.Template.DeepCopy(), in.Keys, in.StartedBy
	p.EndedFor, p.Released = in.EndedFor.Duration, in.Released
	p.Accounts, p.Budgets = in.Settings.Accounting.Enabled || len(in.Budgets) > 0, fixture.Budgets(in.Budgets)
	p.Limited = len(in.Quotas) > 0 || len(in.Booked) > 0 && in.Booked[0].Stuck
	p.Seen.Others = map[plan.Key]*unstructured.Unstructured{}
	for _, o := range in.live(t) {
		switch kind := o.GetKind(); kind {
		case wire.KindPod:
			if in.Pod != nil {
				p.Seen.Pod = as[corev1.Pod](t, o, in.Pod)
			}
		case wire.KindPersistentVolumeClaim:
			if in.Home != nil {
				p.Seen.Claim = as[corev1.PersistentVolumeClaim](t, o, in.Home)
			}
		default:
			if in.Others != "none" && !slices.Contains(in.Missing, kind) {
				o.Object = fixture.Merged(o.Object, in.Changed[kind])
				p.Seen.Others[plan.KeyOf(o)] = o
			}
		}
	}
	return p
}

// rendered are results of the renderer by what they were made from: a situation is gone
// through several times.
var rendered sync.Map

func render(t testing.TB, in renderer.Input) (renderer.Rendered, error) {
	t.Helper()
	key, err := yaml.Marshal(in)
	require.NoError(t, err)
	type result struct {
		rendered renderer.Rendered
		err      error
	}
	known, found := rendered.Load(string(key))
	if !found {
		r, err := theRenderer()
		require.NoError(t, err)
		made, err := r.Render(in)
		known = result{made, err}
		rendered.Store(string(key), known)
	}
	out := known.(result).rendered
	out.Objects = slices.Clone(out.Objects)
	for i, o := range out.Objects {
		out.Objects[i] = o.DeepCopy()
	}
	return out, known.(result).err
}

var theRenderer = sync.OnceValues(renderer.New)

// live are the session's objects as they were made.
func (in situation) live(t testing.TB) []*unstructured.Unstructured {
	t.Helper()
	if in.Others == "none" && in.Pod == nil && in.Home == nil {
		return nil
	}
	s, template := in.Session, in.Template
	if in.Rendered.Session != nil {
		s = in.Rendered.Session
	}
	if in.Rendered.Template != nil {
		template = in.Rendered.Template
	}
	made, err := render(t, renderer.Input{
		Session: *s, Template: *template, Platform: in.Settings, Host: "alice.vdi.example.com",
		StatementKeys: in.Keys, Encoder: platform.ResolveEncoder(template.Spec, nil),
	})
	require.NoError(t, err)
	for _, o := range made.Objects {
		o.SetUID("object-uid")
		o.SetCreationTimestamp(metav1.NewTime(in.Clock.Add(-time.Hour)))
	}
	return made.Objects
}

// room is what the ledger answers.
func (in situation) room(p *plan.Pass) fairshare.Answer {
	var ledger fairshare.Ledger
	request := p.RoomRequest()
	ledger.SetQuotas(in.Quotas, 0)
	request.Homes = map[string]int64{}
	for i, b := range in.Booked {
		other := fairshare.Session{User: b.User}
		other.Name = fmt.Sprint("other-", i)
		seen := fairshare.Seen{Session: other, Accepted: true, Ends: b.Ends.UTC()}
		if b.GPU > 0 {
			seen.Run = fairshare.Amounts{fairshare.Running: 1, fairshare.GPUSlices: b.GPU}
			if b.Stuck {
				seen.Pool, seen.Placed = request.Pool, fairshare.Full
			}
		}
		ledger.See(seen)
		if b.User == request.User {
			request.Homes["ns"] += fairshare.Measure(fairshare.Storage, b.Home)
		}
	}
	if plan.RunGoesOn(in.Session) { // it is booked
		ledger.See(fairshare.Seen{Session: request.Session, Accepted: true, Run: request.Run})
	}
	answer, _ := ledger.Ask(request)
	return answer
}

// as is an object with what differs from it, as a Go type.
func as[T any](t testing.TB, o *unstructured.Unstructured, change map[string]any) *T {
	t.Helper()
	text, err := json.Marshal(fixture.Merged(o.Object, change))
	require.NoError(t, err)
	typed := new(T)
	require.NoError(t, json.Unmarshal(text, typed))
	return typed
}

// answer answers what the plan asks for.
func (in situation) answer(t testing.TB, p *plan.Pass) error {
	t.Helper()
	a := in.Answers
	switch p.Ask {
	case plan.AskUse:
		p.Use, p.UseIsDue = a.Use, a.UseIsDue
	case plan.AskTime:
		p.ServerTime = in.Clock.UTC()
		if a.ServerTime != nil {
			p.ServerTime = a.ServerTime.UTC()
		}
	case plan.AskUnseenWays:
		for _, kind := range a.UnseenWays {
			k := wire.ChildKind(kind)
			way := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: p.Session.Name, OwnerReferences: []metav1.OwnerReference{p.Session.OwnerReference()}}}
			way.APIVersion, way.Kind = k.Group+"/"+k.Version, k.Name
			p.UnseenWays = append(p.UnseenWays, way)
		}
	case plan.AskHome:
		p.HomeGone = a.HomeGone
	case plan.AskEncoder:
		p.GPUEncoder = platform.ResolveEncoder(p.Template.Spec, nil)
	case plan.AskRendering:
		made, err := render(t, p.Input)
		p.Rendering = plan.Rendering{Objects: made.Objects, Claims: made.Claims, Err: err}
	case plan.AskRoom:
		p.Room = in.room(p)
	case plan.AskMountedClaims:
		for _, name := range slices.Sorted(maps.Keys(a.Mounted)) {
			claim := objects.Metadata(corev1.SchemeGroupVersion.WithKind(wire.KindPersistentVolumeClaim), name)
			claim.Labels = map[string]string{wire.LabelForDesktops: a.Mounted[name]}
			p.Mounted = append(p.Mounted, claim)
		}
	case plan.AskSharedHome:
		if a.SharedWith != "" {
			p.SharedWith = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: a.SharedWith}}
		}
	case plan.AskStartClaim:
		p.StartOn = in.readClaim(t, a.StartOn)
		if p.Session.Spec.Persistence.ExistingClaim == "" {
			p.Seen.Claim = p.StartOn
		}
	case plan.AskHomeUse:
		p.HomeUse = homes.Use{Held: a.Held, Pod: a.UsedBy}
		if a.HeldBy != "" {
			p.HomeUse.Holder = &vdi.VDISession{ObjectMeta: metav1.ObjectMeta{Name: a.HeldBy}}
		}
	case plan.AskDeletion:
		p.Ending = plan.Ending{PodThere: a.PodThere, Claim: in.readClaim(t, in.Home), HadBy: a.HadBy}
	case plan.AskLeftClaim:
		p.LeftClaim = in.readClaim(t, in.Home)
		p.Seen.Claim = p.LeftClaim
	case plan.AskLeftTo:
		p.LeftTo, p.RetainFor = a.LeftTo, a.RetainFor.Duration
	default:
		return fmt.Errorf("nobody answers: %s", p.Ask)
	}
	return nil
}

// readClaim is a claim as the API server has it.
func (in situation) readClaim(t testing.TB, change map[string]any) *corev1.PersistentVolumeClaim {
	t.Helper()
	if change == nil || in.Answers.NotThere {
		return nil
	}
	for _, o := range in.live(t) {
		if o.GetKind() == wire.KindPersistentVolumeClaim {
			return as[corev1.PersistentVolumeClaim](t, o, change)
		}
	}
	made := &unstructured.Unstructured{Object: map[string]any{"kind": wire.KindPersistentVolumeClaim, "apiVersion": "v1"}}
	return as[corev1.PersistentVolumeClaim](t, made, change)
}

// copied are the facts of which others hold pointers.
func copied(f plan.Facts) []any {
	all := []any{f.Session.DeepCopy(), f.Template.DeepCopy(), f.Seen.Pod.DeepCopy(), f.Seen.Claim.DeepCopy(), f.Seen.Existing.DeepCopy(), f.Use.DeepCopy()}
	for _, o := range f.Seen.Which(func(*unstructured.Unstructured) bool { return true }) {
		all = append(all, o.DeepCopy())
	}
	for _, o := range f.Rendering.Objects {
		all = append(all, runtime.DeepCopyJSON(o.Object))
	}
	return all
}

func typeName(a plan.Action) string { return fmt.Sprintf("%T", a) }

// typesOfWrites are the types that write.go declares.
func typesOfWrites(t testing.TB) (names []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "write.go", nil, 0)
	require.NoError(t, err)
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok && spec.Name.Name != "Write" && spec.Name.Name != "Action" {
			names = append(names, spec.Name.Name)
		}
		return true
	})
	require.NotEmpty(t, names, "write.go declares the writes")
	return names
}
