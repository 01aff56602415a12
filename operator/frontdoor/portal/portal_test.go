package portal

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/drain"
	"github.com/vdi-platform/vdi-platform/operator/fairshare"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

const alice = "alice@example.com"

func count(n int32) *int32 { return &n }

func template(edit ...func(*vdi.VDITemplate)) *vdi.VDITemplate {
	t := &vdi.VDITemplate{ObjectMeta: metav1.ObjectMeta{Name: "office"}}
	for _, change := range edit {
		change(t)
	}
	return t
}

func TestSizes(t *testing.T) {
	plain := Sizes(template())
	assert.Equal(t, []string{"1", "4", "2"}, []string{plain.GPU.Default, plain.Memory.Default, plain.CPU.Default})
	assert.Equal(t, []string{"0", "64", "", ""}, []string{plain.GPU.Min, plain.GPU.Max, plain.Memory.Min, plain.Memory.Max})
	bounded := Sizes(template(func(o *vdi.VDITemplate) {
		o.Spec.Resources = vdi.TemplateResources{
			DefaultGPU: count(2), DefaultMemory: "32Gi", DefaultCPU: "250m",
			Min: vdi.SessionResources{GPU: count(1), Memory: "1000M", CPU: "500m"}, Max: vdi.SessionResources{GPU: count(1), Memory: "16Gi"},
		}
	}))
	assert.Equal(t, []string{"1", "16", "0.5"}, []string{bounded.GPU.Default, bounded.Memory.Default, bounded.CPU.Default}, "moved to the bounds")
	assert.True(t, bounded.GPU.Fixed)
	assert.Equal(t, "0.931", bounded.Memory.Min)
}

// What is written can be read by the operator and lies within the template's bounds.
func TestRead(t *testing.T) {
	sizes := Sizes(template(func(o *vdi.VDITemplate) {
		o.Spec.Resources.Min.Memory, o.Spec.Resources.Max.Memory, o.Spec.Resources.Max.CPU = "1000M", "16Gi", "4"
	}))
	for _, c := range []struct {
		size                 Size
		typed, want, problem string
	}{
		{sizes.Memory, "", "", ""},
		{sizes.Memory, " 4 ", "", ""}, // the default is the template's to change
		{sizes.Memory, "7,5", "7680Mi", ""},
		{sizes.Memory, "8", "8Gi", ""},
		{sizes.Memory, "0.931", "1000M", ""}, // rounded it would be less than that
		{sizes.Memory, "16", "16Gi", ""},
		{sizes.Memory, "16.01", "", "This must be from 0.931 to 16."},
		{sizes.Memory, "-0", "", "This must be from 0.931 to 16."},
		{sizes.CPU, "0.25", "250m", ""},
		{sizes.CPU, "0.0001", "", "This must be of at most 4."},
		{sizes.GPU, "64", "64", ""},
		{sizes.GPU, "0", "0", ""},
		{sizes.GPU, "65", "", "This must be from 0 to 64."},
		{sizes.GPU, "0x2", "", "This must be a number from 0 to 64."},
		{HomeSize(), "1e30", "", "This must be a number above 0."},
		{HomeSize(), "Inf", "", "This must be a number above 0."},
	} {
		got, problem := c.size.read(c.typed)
		assert.Equal(t, c.want, got, c.typed)
		assert.Equal(t, c.problem, problem, c.typed)
	}
}

func TestNameOf(t *testing.T) {
	for typed, want := range map[string]string{" a  b ": "a b", "e\u0301": "é", "日本": "日本", strings.Repeat("x", 64): strings.Repeat("x", 64)} {
		got, problem := NameOf(typed)
		assert.Equal(t, want, got)
		assert.Empty(t, problem)
	}
	for _, typed := range []string{"", " ", strings.Repeat("x", 65), "a\x00", "a\u200bb", "\xff"} {
		got, problem := NameOf(typed)
		assert.Empty(t, got)
		assert.NotEmpty(t, problem, "%q", typed)
	}
}

// The proposed name is one that no desktop of the person has, however long the template's is.
func TestWishFor(t *testing.T) {
	long := strings.Repeat("é", 100)
	o := template(func(o *vdi.VDITemplate) { o.Spec.DisplayName = long })
	first := WishFor(o, nil).Name
	second := WishFor(o, []string{strings.ToUpper(first)}).Name
	assert.NotEqual(t, first, second)
	for _, name := range []string{first, second} {
		_, problem := NameOf(name)
		assert.Empty(t, problem)
	}
}

func TestShelvesOrder(t *testing.T) {
	named := func(name, category, deprecated string) vdi.VDITemplate {
		return *template(func(o *vdi.VDITemplate) { o.Name, o.Spec.Category, o.Spec.Deprecated = name, category, deprecated })
	}
	leaving := named("leaving", "A", "")
	leaving.DeletionTimestamp = &metav1.Time{}
	shelves := Shelves([]vdi.VDITemplate{named("z", "", ""), named("old", "B", "gone soon"), named("y", "B", ""), named("x", "A", ""), leaving}, Person{User: alice}, "")
	var order []string
	for _, shelf := range shelves {
		for _, o := range shelf.Offers {
			order = append(order, shelf.Category+"/"+o.Name)
		}
	}
	assert.Equal(t, []string{"A/x", "B/y", "B/old", "Others/z"}, order)
	assert.Empty(t, Shelves([]vdi.VDITemplate{named("z", "", "")}, Person{User: alice}, "")[0].Category, "no heading where there is nothing else")
}

func TestIconOf(t *testing.T) {
	icon := func(text string) *vdi.VDITemplate { return template(func(o *vdi.VDITemplate) { o.Spec.Icon = text }) }
	data, kind, err := Icon(icon(png + base64.StdEncoding.EncodeToString([]byte("picture"))))
	require.NoError(t, err)
	assert.Equal(t, "picture", string(data))
	assert.Equal(t, "image/png", kind)
	for _, text := range []string{"", "https://elsewhere/x.png", "data:text/html;base64,eA==", png + "?", svg + base64.StdEncoding.EncodeToString(make([]byte, maxIcon+1))} {
		_, _, err := Icon(icon(text))
		assert.Error(t, err, text[:min(len(text), 40)])
	}
	one, other := icon(svg+"eA=="), icon(svg+"eA==")
	other.Generation++
	assert.NotEqual(t, OfferOf(one).Icon, OfferOf(other).Icon, "browsers keep it under its address")
	assert.Empty(t, OfferOf(icon("https://elsewhere/x.png")).Icon)
}

func session(edit ...func(*vdi.VDISession)) *vdi.VDISession {
	s := &vdi.VDISession{ObjectMeta: metav1.ObjectMeta{Name: platform.SessionName(alice, "office"), Namespace: "desks", UID: "1"}}
	s.Spec = vdi.VDISessionSpec{User: alice, DisplayName: "Office", Template: "office", RunPolicy: vdi.RunPolicyRunning}
	s.Status = vdi.VDISessionStatus{Phase: vdi.PhaseRunning, URL: "https://office.example.com", ExpiresAt: &metav1.Time{Time: time.Now()}, ExpiryReason: vdi.StopExpired}
	for _, change := range edit {
		change(s)
	}
	return s
}

func TestActsOn(t *testing.T) {
	for name, c := range map[string]struct {
		edit      func(*vdi.VDISession)
		namespace string
		want      Acts
	}{
		"running":     {func(*vdi.VDISession) {}, "desks", Acts{Open: true, Suspend: true, Extend: true, Delete: true}},
		"elsewhere":   {func(*vdi.VDISession) {}, "others", Acts{Open: true, Suspend: true, Extend: true}},
		"nowhere":     {func(s *vdi.VDISession) { s.Namespace = "" }, "", Acts{Open: true, Suspend: true, Extend: true}},
		"strange URL": {func(s *vdi.VDISession) { s.Status.URL = "javascript:alert(1)" }, "", Acts{Suspend: true, Extend: true}},
		"waiting":     {func(s *vdi.VDISession) { s.Status.Phase = vdi.PhasePending }, "", Acts{Suspend: true}},
		"suspended":   {func(s *vdi.VDISession) { s.Spec.RunPolicy, s.Status.Phase = vdi.RunPolicySuspended, vdi.PhaseSuspended }, "desks", Acts{Resume: true, Delete: true}},
		"at the bound": {func(s *vdi.VDISession) {
			s.Spec.KeepAliveUntil = &metav1.Time{Time: s.Status.ExpiresAt.Add(time.Minute)}
		}, "", Acts{Open: true, Suspend: true}},
		"no extension":   {func(s *vdi.VDISession) { s.Status.Lifecycle = &vdi.TemplateLifecycle{MaxExtension: "0"} }, "", Acts{Open: true, Suspend: true}},
		"node freed":     {func(s *vdi.VDISession) { s.Status.ExpiryReason = vdi.StopDrain }, "", Acts{Open: true, Suspend: true}},
		"hours used up":  {func(s *vdi.VDISession) { s.Status.ExpiryReason = vdi.StopBudget }, "", Acts{Open: true, Suspend: true}},
		"being removed":  {func(s *vdi.VDISession) { s.DeletionTimestamp = &metav1.Time{} }, "desks", Acts{}},
		"without an end": {func(s *vdi.VDISession) { s.Status.ExpiresAt = nil }, "", Acts{Open: true, Suspend: true}},
	} {
		c.want.Rename, c.want.Grow = name != "being removed", name != "being removed"
		assert.Equal(t, c.want, ActsOn(session(c.edit), c.namespace), name)
	}
}

func TestEndWords(t *testing.T) {
	seen := map[string]bool{}
	for name, edit := range map[string]func(*vdi.VDISession){
		"timeout": func(*vdi.VDISession) {},
		"suspends": func(s *vdi.VDISession) {
			s.Status.Lifecycle = &vdi.TemplateLifecycle{TimeoutAction: vdi.TimeoutSuspend}
		},
		"idle":   func(s *vdi.VDISession) { s.Status.ExpiryReason = vdi.StopIdle },
		"budget": func(s *vdi.VDISession) { s.Status.ExpiryReason = vdi.StopBudget },
		"drain":  func(s *vdi.VDISession) { s.Status.ExpiryReason = vdi.StopDrain },
		"drain with a restart": func(s *vdi.VDISession) {
			s.Annotations = map[string]string{wire.AnnotationDrain: drain.Order{Node: "gpu-1", At: metav1.Now(), Restart: true}.String()}
			s.Status.ExpiryReason = vdi.StopDrain
		},
		"start": func(s *vdi.VDISession) { s.Status.ExpiryReason = vdi.StopFailed },
		"failing": func(s *vdi.VDISession) {
			s.Status.ExpiryReason, s.Status.Downtime = vdi.StopFailed, &vdi.DowntimeStatus{Failing: true}
		},
		"suspended":       func(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicySuspended },
		"without any end": func(s *vdi.VDISession) { s.Status.ExpiresAt = nil },
	} {
		words := EndWords(session(edit))
		assert.False(t, seen[words], "%s: %s", name, words)
		seen[words] = true
	}
	own := session(func(s *vdi.VDISession) {
		s.Spec.TimeoutAction, s.Status.Lifecycle = vdi.TimeoutDelete, &vdi.TemplateLifecycle{TimeoutAction: vdi.TimeoutSuspend}
	})
	assert.Contains(t, EndWords(own), "removed", "the session's wish comes first")
}

func TestIdleRule(t *testing.T) {
	for _, c := range []struct {
		wish, preset, most vdi.Duration
		want               time.Duration
	}{
		{"", "", "", 0}, {"30m", "", "", 30 * time.Minute}, {"", "1h", "", time.Hour}, {"0", "1h", "", 0}, {"0", "", "2h", 2 * time.Hour}, {"3h", "", "2h", 2 * time.Hour}, {"1h", "", "2h", time.Hour},
	} {
		s := session(func(s *vdi.VDISession) {
			s.Spec.IdleTimeout, s.Status.Lifecycle = c.wish, &vdi.TemplateLifecycle{IdleTimeout: c.preset, MaxIdleTimeout: c.most}
		})
		assert.Equal(t, c.want, IdleRule(s), c)
	}
}

// Whoever deletes learns what becomes of the files, and is promised nothing that is not so.
func TestHomeWords(t *testing.T) {
	none := false
	home := func(s *vdi.VDISession) {
		s.Status.Home = &vdi.HomeStatus{ClaimName: "vdi-data-x", UID: "2", CreatedByOperator: true, RetainFor: "168h0m0s"}
	}
	for want, edit := range map[string]func(*vdi.VDISession){
		"Its home is kept with its files. A new desktop of the same name finds it again, and so do you under “Your files”.":                                func(s *vdi.VDISession) { s.Status.Home.RetainFor = "" },
		"Its home is kept with its files. You find it under “Your files”.":                                                                                 func(s *vdi.VDISession) { s.Name, s.Status.Home.RetainFor = "chosen", "0" },
		"Its home, if it has one by now, is kept as its template says. A new desktop of the same name finds it again, and so do you under “Your files”.":   func(s *vdi.VDISession) { s.Status.Home = nil },
		"Its home is kept for 7 days, then it is deleted with its files. A new desktop of the same name finds it again, and so do you under “Your files”.": func(*vdi.VDISession) {},
		"Its home is deleted, too: all files in it are gone.":                                                                                              func(s *vdi.VDISession) { s.Spec.Persistence.ReclaimPolicy = vdi.ReclaimDelete },
		"It has no home: all files in it are gone.":                                                                                                        func(s *vdi.VDISession) { s.Spec.Persistence.Enabled, s.Status.Home = &none, nil },
	} {
		assert.Equal(t, want, HomeWords(session(home, edit)))
	}
	assert.Contains(t, EndWords(session(home)), "It is removed then. Your files are kept for 7 days.")
	assert.Contains(t, EndWords(session(home, func(s *vdi.VDISession) { s.Spec.Persistence.ReclaimPolicy = vdi.ReclaimDelete })), "kept for 7 days", "its own ends keep homes")
	for _, words := range []func(*vdi.VDISession) string{EndWords, SuspendWords, KeptWords} {
		assert.Contains(t, words(session(func(s *vdi.VDISession) { s.Spec.Persistence.Enabled = &none })), "It has no home: all its files are gone then.")
	}
	foreign := session(home, func(s *vdi.VDISession) {
		s.Status.Home.CreatedByOperator, s.Spec.Persistence.ReclaimPolicy = false, vdi.ReclaimDelete
	})
	assert.Equal(t, "Its home is kept with its files.", HomeWords(foreign), "the operator deletes what it has made")
}

func TestRunsOf(t *testing.T) {
	at := metav1.NewTime(time.Now())
	s := session(func(s *vdi.VDISession) {
		s.Status.Runs = []vdi.RunRecord{{Begin: at, End: at, Why: vdi.StopIdle, GPUHours: "1.25"}, {Begin: at, End: at, GPUHours: "0.00"}}
	})
	runs := RunsOf(s)
	assert.Equal(t, []string{"it ended by itself", "nobody used it"}, []string{runs[0].Why, runs[1].Why})
	assert.Equal(t, []string{"", "1.25"}, []string{runs[0].GPUHours, runs[1].GPUHours})
}

// Limits in words: what is used, what one more takes, and whether it finds room.
func TestSharesOf(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	quotas := []vdi.VDIQuota{{ObjectMeta: metav1.ObjectMeta{Name: "all"}, Spec: vdi.VDIQuotaSpec{PerUser: &vdi.UserLimits{
		Sessions: count(1), Running: count(2), Memory: "6Gi", Storage: "1Ti", GPUHours: &vdi.GPUHoursLimit{Limit: "10", Window: vdi.BudgetDay},
	}}}}
	running := *session(func(s *vdi.VDISession) {
		s.Status.PodName, s.Status.Resources = "pod", &vdi.ResourcesStatus{GPU: count(1), Memory: "4Gi"}
		s.Status.Run = &vdi.RunStatus{PodUID: "3", Begin: metav1.NewTime(now.Add(-2 * time.Hour)), GPUSlices: 1, Cost: "1", Quotas: []string{"all"}}
	})
	used := &vdi.VDIUsage{Status: vdi.VDIUsageStatus{Runs: []vdi.UsedRun{{UID: "4", Begin: metav1.NewTime(now.Add(-3 * time.Hour)), End: metav1.NewTime(now.Add(-2 * time.Hour)), GPUSeconds: 3600, Quotas: []string{"all"}}}}}
	one := fairshare.Session{User: alice, Template: "office"}
	shares := SharesOf(quotas, one, TakesBy(template(), Wish{Memory: "3", CPU: "nonsense"}), []vdi.VDISession{running}, used, now)
	var got []string
	for _, s := range shares {
		line := s.What + ": " + s.Used + " of " + s.Limit + ", takes " + s.Takes
		if s.Full {
			line += map[bool]string{true: ", waits", false: ", full"}[s.Waits]
		}
		got = append(got, line)
	}
	assert.Equal(t, []string{
		"Desktops: 1 of 1, takes 1, full", "Running desktops: 1 of 2, takes 1", "Memory in use: 4 GiB of 6 GiB, takes 3 GiB, waits", "GPU-hours: 3.00 of 10.00, takes ",
	}, got)
	assert.Equal(t, time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), shares[3].Until)
	assert.Empty(t, SharesOf(nil, one, nil, []vdi.VDISession{running}, used, now))
}
