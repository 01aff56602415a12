package sim

import (
	"context"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// The matrix is every field of a session and of its template, changed to a good value and
// to one that is refused, in every state, and then every way in which a run ends or begins.
// An end always ends, and a desktop that lives is never disturbed, whatever was changed.

// Edges of the matrix. Each is one letter of the printed table.
type (
	situation string
	deed      string
)

const (
	isWaiting     situation = "waiting"
	isCreating    situation = "creating"
	isRunning     situation = "running"
	isStopping    situation = "stopping"
	isSuspended   situation = "suspended"
	isTerminating situation = "terminating"

	suspends      deed = "suspend"
	expires       deed = "timeout, Delete"
	expiresAsleep deed = "timeout, Suspend"
	idles         deed = "idle"
	deletes       deed = "delete"
	resumes       deed = "resume"
)

func situations() []situation {
	return []situation{isWaiting, isCreating, isRunning, isStopping, isSuspended, isTerminating}
}

func deeds() []deed { return []deed{suspends, expires, expiresAsleep, idles, deletes, resumes} }

// fate is how the API server and the operator take an edit.
type fate string

const (
	taken   fate = "taken"   // the next start uses it
	refused fate = "refused" // no desktop can start with it
	denied  fate = "denied"  // the API server does not take it
)

// edit is one change, and in what it changes the outcome beside its fate.
type edit struct {
	fate         fate
	field, value string
	make         func(*world)

	stops         bool // it stops the session itself
	neverExpires  bool
	neverIdle     bool
	action        vdi.TimeoutAction // what a timeout does instead
	deletesHome   bool              // when a person deletes the session
	idlesFirst    bool              // it comes to its idle end before its timeout
	expiresFirst  bool              // and the other way round
	endsStart     bool              // a start that takes long is given up
	endsSuspended bool              // a session that is suspended for long is removed
}

func ofSession(f fate, field, value string, change func(*vdi.VDISessionSpec), more ...func(*edit)) edit {
	e := edit{fate: f, field: "session " + field, value: value, make: func(w *world) {
		w.people.change(desk, func(s *vdi.VDISession) { change(&s.Spec) })
	}}
	for _, set := range more {
		set(&e)
	}
	return e
}

func ofTemplate(f fate, field, value string, change func(*vdi.VDITemplateSpec), more ...func(*edit)) edit {
	e := edit{fate: f, field: "template " + field, value: value, make: func(w *world) {
		t := in[*vdi.VDITemplate](w, w.server.objects[key{"VDITemplate", "", templateName}])
		change(&t.Spec)
		w.replace("administrator", t, false)
	}}
	for _, set := range more {
		set(&e)
	}
	return e
}

// sharedHome is a claim that an administrator gave to the session's user.
const sharedHome = "shared-home"

func sessionEdits() []edit {
	type spec = vdi.VDISessionSpec
	later := metav1.NewTime(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC))
	return []edit{
		ofSession(denied, "user", users[1], func(s *spec) { s.User = users[1] }),
		ofSession(denied, "template", otherName, func(s *spec) { s.Template = otherName }),
		ofSession(taken, "displayName", "Drawings", func(s *spec) { s.DisplayName = "Drawings" }),
		ofSession(denied, "displayName", "of two lines", func(s *spec) { s.DisplayName = "my\ndesk" }),
		ofSession(taken, "groups", "artists", func(s *spec) { s.Groups = []string{"artists"} }),
		ofSession(denied, "groups", "of the cluster", func(s *spec) { s.Groups = []string{"system:masters"} }),
		ofSession(taken, "resources.gpu", "0", func(s *spec) { s.Resources.GPU = ptr.To[int32](0) }),
		ofSession(denied, "resources.gpu", "-1", func(s *spec) { s.Resources.GPU = ptr.To[int32](-1) }),
		ofSession(taken, "resources.memory", "2Gi", func(s *spec) { s.Resources.Memory = "2Gi" }),
		ofSession(refused, "resources.memory", "900Gi", func(s *spec) { s.Resources.Memory = "900Gi" }),
		ofSession(denied, "resources.memory", "512m", func(s *spec) { s.Resources.Memory = "512m" }),
		ofSession(taken, "resources.cpu", "4", func(s *spec) { s.Resources.CPU = "4" }),
		ofSession(refused, "resources.cpu", "900", func(s *spec) { s.Resources.CPU = "900" }),
		ofSession(denied, "resources.cpu", "lots", func(s *spec) { s.Resources.CPU = "lots" }),
		ofSession(taken, "persistence.enabled", "false", func(s *spec) { s.Persistence.Enabled = ptr.To(false) }),
		ofSession(taken, "persistence.size", "20Gi", func(s *spec) { s.Persistence.Size = "20Gi" }),
		ofSession(taken, "persistence.size", "1Gi (smaller)", func(s *spec) { s.Persistence.Size = "1Gi" }),
		ofSession(denied, "persistence.size", "10m", func(s *spec) { s.Persistence.Size = "10m" }),
		ofSession(taken, "persistence.storageClassName", "fast", func(s *spec) { s.Persistence.StorageClassName = ptr.To("fast") }),
		ofSession(denied, "persistence.storageClassName", "(empty)", func(s *spec) { s.Persistence.StorageClassName = ptr.To("") }),
		ofSession(taken, "persistence.existingClaim", sharedHome, func(s *spec) { s.Persistence.ExistingClaim = sharedHome }),
		ofSession(refused, "persistence.existingClaim", "missing", func(s *spec) { s.Persistence.ExistingClaim = "missing" }),
		ofSession(denied, "persistence.accessMode", "ReadWriteMany", func(s *spec) { s.Persistence.AccessMode = "ReadWriteMany" }),
		ofSession(taken, "persistence.reclaimPolicy", "Delete", func(s *spec) { s.Persistence.ReclaimPolicy = vdi.ReclaimDelete }, func(e *edit) { e.deletesHome = true }),
		ofSession(denied, "persistence.reclaimPolicy", "Burn", func(s *spec) { s.Persistence.ReclaimPolicy = "Burn" }),
		ofSession(taken, "persistence.retainFor", "720h", func(s *spec) { s.Persistence.RetainFor = "720h" }),
		ofSession(denied, "persistence.retainFor", "a month", func(s *spec) { s.Persistence.RetainFor = "a month" }),
		ofSession(taken, "timeout", "0", func(s *spec) { s.Timeout = "0" }, func(e *edit) { e.neverExpires = true }),
		ofSession(denied, "timeout", "soon", func(s *spec) { s.Timeout = "soon" }),
		ofSession(taken, "timeoutAction", "Suspend", func(s *spec) { s.TimeoutAction = vdi.TimeoutSuspend }, func(e *edit) { e.action = vdi.TimeoutSuspend }),
		ofSession(taken, "timeoutAction", "Delete", func(s *spec) { s.TimeoutAction = vdi.TimeoutDelete }, func(e *edit) { e.action = vdi.TimeoutDelete }),
		ofSession(denied, "timeoutAction", "Explode", func(s *spec) { s.TimeoutAction = "Explode" }),
		ofSession(taken, "idleTimeout", "0", func(s *spec) { s.IdleTimeout = "0" }, func(e *edit) { e.neverIdle = true }),
		ofSession(denied, "idleTimeout", "soon", func(s *spec) { s.IdleTimeout = "soon" }),
		ofSession(taken, "runPolicy", "Suspended", func(s *spec) { s.RunPolicy = vdi.RunPolicySuspended }, func(e *edit) { e.stops = true }),
		ofSession(denied, "runPolicy", "Walking", func(s *spec) { s.RunPolicy = "Walking" }),
		ofSession(taken, "timeZone", "Europe/Berlin", func(s *spec) { s.TimeZone = "Europe/Berlin" }),
		ofSession(denied, "timeZone", "../etc/passwd", func(s *spec) { s.TimeZone = "../etc/passwd" }),
		ofSession(taken, "keepAliveUntil", "2100", func(s *spec) { s.KeepAliveUntil = &later }, func(e *edit) { e.neverExpires, e.neverIdle = true, true }),
	}
}

func templateEdits() []edit {
	type spec = vdi.VDITemplateSpec
	text := func(field string, set func(*spec)) edit { return ofTemplate(taken, field, "another", set) }
	nonsense := &apiextensionsv1.JSON{Raw: []byte(`{"nonsense": true}`)}
	return []edit{
		{fate: refused, field: "template", value: "(deleted)", make: func(w *world) { w.people.dropTemplate("") }},
		text("displayName", func(t *spec) { t.DisplayName = "Plain" }),
		text("description", func(t *spec) { t.Description = "A desktop" }),
		text("category", func(t *spec) { t.Category = "Office" }),
		text("icon", func(t *spec) { t.Icon = "data:image/svg+xml;base64,PHN2Zy8+" }),
		ofTemplate(denied, "icon", "of another site", func(t *spec) { t.Icon = "https://example.com/icon.svg" }),
		text("deprecated", func(t *spec) { t.Deprecated = "Use another" }),
		ofTemplate(taken, "access.users", "its user", func(t *spec) { t.Access.Users = []string{users[0]} }),
		ofTemplate(refused, "access.users", "another", func(t *spec) { t.Access.Users = []string{users[1]} }),
		ofTemplate(refused, "access.groups", "of others", func(t *spec) { t.Access.Groups = []string{"artists"} }),
		ofTemplate(denied, "access.groups", "of the cluster", func(t *spec) { t.Access.Groups = []string{"system:masters"} }),
		ofTemplate(taken, "image", "another", func(t *spec) { t.Image = registry + "plain:2" }),
		ofTemplate(denied, "image", "(a blank)", func(t *spec) { t.Image = "a b" }),
		ofTemplate(taken, "streamer", "Custom", func(t *spec) { t.Streamer, t.Port, t.HealthPath = vdi.StreamerCustom, 8081, "/" }),
		ofTemplate(denied, "port", "8090", func(t *spec) { t.Streamer, t.Port, t.HealthPath = vdi.StreamerCustom, 8090, "/" }),
		ofTemplate(denied, "healthPath", "health", func(t *spec) { t.Streamer, t.Port, t.HealthPath = vdi.StreamerCustom, 8081, "health" }),
		ofTemplate(refused, "transport", "WebRTC (no relay)", func(t *spec) { t.Transport = vdi.TransportWebRTC }),
		ofTemplate(taken, "resources.defaultGPU", "0", func(t *spec) { t.Resources.DefaultGPU = ptr.To[int32](0) }),
		ofTemplate(taken, "resources.defaultMemory", "8Gi", func(t *spec) { t.Resources.DefaultMemory = "8Gi" }),
		ofTemplate(denied, "resources.defaultMemory", "8m", func(t *spec) { t.Resources.DefaultMemory = "8m" }),
		ofTemplate(taken, "resources.defaultCPU", "8", func(t *spec) { t.Resources.DefaultCPU = "8" }),
		ofTemplate(taken, "resources.min", "above the default", func(t *spec) { t.Resources.Min.Memory = "8Gi" }),
		ofTemplate(taken, "resources.max", "below the default", func(t *spec) { t.Resources.Max.Memory = "1Gi" }),
		ofTemplate(refused, "resources.max", "below the least", func(t *spec) { t.Resources.Min.Memory, t.Resources.Max.Memory = "8Gi", "1Gi" }),
		ofTemplate(taken, "requests.memory", "1Gi", func(t *spec) { t.Requests.Memory = "1Gi" }),
		ofTemplate(taken, "requests.cpu", "1", func(t *spec) { t.Requests.CPU = "1" }),
		ofTemplate(taken, "env", "A=1", func(t *spec) { t.Env = []vdi.EnvVar{{Name: "A", Value: "1"}} }),
		ofTemplate(refused, "env", "what a policy fixes", func(t *spec) {
			t.Policy.FileTransfer, t.Env = "None", []vdi.EnvVar{{Name: "SELKIES_FILE_TRANSFERS", Value: "upload"}}
		}),
		ofTemplate(taken, "values", "shmSize", func(t *spec) { t.Values = &apiextensionsv1.JSON{Raw: []byte(`{"pod": {"shmSize": "512Mi"}}`)} }),
		ofTemplate(refused, "values", "nonsense", func(t *spec) { t.Values = nonsense }),
		ofTemplate(taken, "home.path", "/home/other", func(t *spec) { t.Home.Path = "/home/other" }),
		ofTemplate(denied, "home.path", "../up", func(t *spec) { t.Home.Path = "../up" }),
		ofTemplate(taken, "security.profile", "Baseline", func(t *spec) { t.Security.Profile = vdi.ProfileBaseline }),
		ofTemplate(taken, "security.runAsUser", "2000", func(t *spec) { t.Security.RunAsUser = ptr.To[int64](2000) }),
		ofTemplate(refused, "security.runAsUser", "0 in Restricted", func(t *spec) { t.Security.RunAsUser = ptr.To[int64](0) }),
		ofTemplate(taken, "security.runAsGroup", "2000", func(t *spec) { t.Security.RunAsGroup = ptr.To[int64](2000) }),
		ofTemplate(taken, "security.fsGroup", "2000", func(t *spec) { t.Security.FSGroup = ptr.To[int64](2000) }),
		ofTemplate(taken, "security.supplementalGroups", "109", func(t *spec) { t.Security.SupplementalGroups = []int64{109} }),
		ofTemplate(denied, "security.supplementalGroups", "0", func(t *spec) { t.Security.SupplementalGroups = []int64{0} }),
		ofTemplate(taken, "command", "another", func(t *spec) { t.Command = []string{"/bin/desktop"} }),
		ofTemplate(taken, "args", "another", func(t *spec) { t.Args = []string{"--all"} }),
		ofTemplate(taken, "timeZone", "Asia/Tokyo", func(t *spec) { t.TimeZone = "Asia/Tokyo" }),
		ofTemplate(denied, "timeZone", "/etc/localtime", func(t *spec) { t.TimeZone = "/etc/localtime" }),
		ofTemplate(taken, "gpu.resourceName", "amd.com/gpu", func(t *spec) { t.GPU.ResourceName = "amd.com/gpu" }),
		ofTemplate(denied, "gpu.resourceName", "gpu", func(t *spec) { t.GPU.ResourceName = "gpu" }),
		ofTemplate(taken, "gpu.encoder", "Software", func(t *spec) { t.GPU.Encoder = vdi.EncoderSoftware }),
		ofTemplate(taken, "gpu.cost", "2.5", func(t *spec) { t.GPU.Cost = "2.5" }),
		ofTemplate(denied, "gpu.cost", "-1", func(t *spec) { t.GPU.Cost = "-1" }),
		ofTemplate(taken, "scheduling.nodeSelector", "pool", func(t *spec) { t.Scheduling.NodeSelector = map[string]string{"pool": "a"} }),
		ofTemplate(taken, "scheduling.tolerations", "gpu", func(t *spec) { t.Scheduling.Tolerations = []corev1.Toleration{{Key: "gpu"}} }),
		ofTemplate(refused, "scheduling.tolerations", "everything", func(t *spec) { t.Scheduling.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}} }),
		ofTemplate(taken, "scheduling.priorityClassName", "low", func(t *spec) { t.Scheduling.PriorityClassName = "low" }),
		ofTemplate(refused, "scheduling.priorityClassName", "the system's", func(t *spec) { t.Scheduling.PriorityClassName = "system-node-critical" }),
		ofTemplate(taken, "scheduling.runtimeClassName", "nvidia", func(t *spec) { t.Scheduling.RuntimeClassName = "nvidia" }),
		ofTemplate(taken, "policy.clipboard", "None", func(t *spec) { t.Policy.Clipboard = "None" }),
		ofTemplate(taken, "policy.fileTransfer", "None", func(t *spec) { t.Policy.FileTransfer = "None" }),
		ofTemplate(taken, "policy.audio", "false", func(t *spec) { t.Policy.Audio = ptr.To(false) }),
		ofTemplate(denied, "policy.microphone", "without sound", func(t *spec) { t.Policy.Audio, t.Policy.Microphone = ptr.To(false), ptr.To(true) }),
		ofTemplate(taken, "imagePullSecrets", "pull", func(t *spec) { t.ImagePullSecrets = []string{"pull"} }),
		ofTemplate(taken, "lifecycle.timeout", "20m", func(t *spec) { t.Lifecycle.Timeout = "20m" }),
		ofTemplate(taken, "lifecycle.maxTimeout", "20m", func(t *spec) { t.Lifecycle.MaxTimeout = "20m" }, func(e *edit) { e.expiresFirst = true }),
		ofTemplate(taken, "lifecycle.timeoutAction", "Suspend", func(t *spec) { t.Lifecycle.TimeoutAction = vdi.TimeoutSuspend }),
		ofTemplate(taken, "lifecycle.idleTimeout", "20m", func(t *spec) { t.Lifecycle.IdleTimeout = "20m" }, func(e *edit) { e.idlesFirst = true }),
		ofTemplate(taken, "lifecycle.maxIdleTimeout", "6h", func(t *spec) { t.Lifecycle.MaxIdleTimeout = "6h" }),
		ofTemplate(taken, "lifecycle.maxStarting", "20m", func(t *spec) { t.Lifecycle.MaxStarting = "20m" }, func(e *edit) { e.endsStart = true }),
		ofTemplate(taken, "lifecycle.maxFailed", "20m", func(t *spec) { t.Lifecycle.MaxFailed = "20m" }),
		ofTemplate(taken, "lifecycle.maxSuspended", "20m", func(t *spec) { t.Lifecycle.MaxSuspended = "20m" }, func(e *edit) { e.endsSuspended = true }),
		ofTemplate(taken, "lifecycle.warnBefore", "30m", func(t *spec) { t.Lifecycle.WarnBefore = "30m" }),
		ofTemplate(taken, "lifecycle.maxExtension", "1h", func(t *spec) { t.Lifecycle.MaxExtension = "1h" }),
		ofTemplate(taken, "lifecycle.retainHomesFor", "720h", func(t *spec) { t.Lifecycle.RetainHomesFor = "720h" }),
	}
}

// The fields of both specs are all there.
func TestMatrixIsWhole(t *testing.T) {
	all := append(sessionEdits(), templateEdits()...)
	for kind, spec := range map[string]any{"session ": vdi.VDISessionSpec{}, "template ": vdi.VDITemplateSpec{}} {
		for _, field := range leaves(reflect.TypeOf(spec), "") {
			require.True(t, slices.ContainsFunc(all, func(e edit) bool { return e.field == kind+field }), "%sspec.%s is not in the matrix", kind, field)
		}
	}
}

// leaves are the fields of our own types; min and max stand for what is in them.
func leaves(of reflect.Type, at string) (found []string) {
	for i := range of.NumField() {
		field := of.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		path := at + name
		if field.Type.Kind() == reflect.Struct && field.Type.PkgPath() == of.PkgPath() && name != "min" && name != "max" {
			found = append(found, leaves(field.Type, path+".")...)
			continue
		}
		found = append(found, path)
	}
	return found
}

// TestMatrix prints, for each edit and state, what each deed comes to: the phase's first
// letter, or - for a session that is gone.
func TestMatrix(t *testing.T) {
	began, rows := time.Now(), append([]edit{{fate: taken, field: "nothing", make: func(*world) {}}}, append(sessionEdits(), templateEdits()...)...)
	table, next, all := make([]string, len(rows)), make(chan int), sync.WaitGroup{}
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for n := range next {
				table[n] = row(t, rows[n])
			}
		})
	}
	for n := range rows {
		next <- n
	}
	close(next)
	all.Wait()
	head := fmt.Sprintf("%-42s %-22s %-8s", "field", "new value", "fate")
	for _, s := range situations() {
		head += fmt.Sprintf(" %-11s", s)
	}
	t.Logf("each letter is what one of %q comes to\n%s\n%s\n%d cases, %s", deeds(), head, strings.Join(table, "\n"),
		len(rows)*len(situations())*len(deeds()), time.Since(began).Round(time.Second))
}

// row is one line of the table.
func row(t *testing.T, e edit) string {
	line, took := fmt.Sprintf("%-42s %-22s %-8s", e.field, e.value, e.fate), false
	for _, s := range situations() {
		var letters strings.Builder
		for _, d := range deeds() {
			c := &cell{edit: e, situation: s, deed: d}
			synctest.Test(t, c.live)
			if c.problem != "" {
				t.Errorf("%s = %s, %s, then %s: %s", c.field, c.value, s, d, c.problem)
			}
			letters.WriteString(c.came)
			took = took || c.took
		}
		line += fmt.Sprintf(" %-11s", letters.String())
	}
	if !took && e.fate != denied && e.value != "" {
		t.Errorf("%s = %s changes nothing", e.field, e.value)
	}
	return line
}

// cell is one case of the matrix.
type cell struct {
	edit
	situation situation
	deed      deed
	came      string // the letter of the outcome
	took      bool   // the edit changed something
	revision  string // what the first desktop was made from
	problem   string // what is not as it should be, and what has happened
}

func (c *cell) live(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := newWorld(ctx, &choices{})
	w.faults = false
	defer w.stop()
	w.sleepUntil(time.Now().Add(time.Minute)) // times are whole seconds
	c.reach(w)
	if problem := c.play(w); problem != "" {
		c.problem = problem + "\n" + show(w, 40)
	}
}

// play edits, does the deed, and says what is not as it should be.
func (c *cell) play(w *world) (problem string) {
	before, pod := w.editable(), w.podUID()
	c.edit.make(w)
	if c.took = before != w.editable(); c.took && c.fate == denied {
		return "the API server takes it"
	}
	w.settle()
	if c.lives() && !c.stops {
		if problem = c.undisturbed(w, pod); problem != "" {
			return problem
		}
	}
	c.do(w)
	c.came = w.letter()
	switch want := c.wanted(); {
	case len(w.broken) > 0:
		return strings.Join(w.broken, "; ")
	case c.came != want:
		return fmt.Sprintf("it comes to %s, not %s", c.came, want)
	case c.came == "R" && c.lives() && !c.stops && w.podUID() != pod:
		return "another desktop runs"
	case (c.came == "S" || c.came == "-" || c.came == "F") && w.podUID() != "":
		return "a desktop is still there"
	}
	if c.situation == isSuspended && c.deed == resumes && c.fate == taken && c.took {
		if changed := w.podRevision() != c.revision; changed == slices.Contains(notInPods(), c.field) {
			return fmt.Sprintf("the next desktop is another: %t", changed)
		}
	}
	home := w.has("PersistentVolumeClaim", renderer.HomeClaimName(desk))
	if wantHome := !c.deletesHome || !c.deletedByPerson(); home != wantHome {
		return fmt.Sprintf("the home is there: %t", home)
	}
	return ""
}

// lives reports whether the session has a desktop that should run.
func (c *cell) lives() bool {
	return c.situation == isWaiting || c.situation == isCreating || c.situation == isRunning
}

func (c *cell) deletedByPerson() bool { return c.deed == deletes || c.situation == isTerminating }

// undisturbed says in what an edit has touched a desktop that lives.
func (c *cell) undisturbed(w *world, pod types.UID) string {
	s := w.people.session(desk).as(w.scheme).(*vdi.VDISession)
	switch {
	case w.podUID() != pod:
		return "the edit replaces the desktop"
	case w.letter() != c.rests():
		return "the edit changes the phase to " + string(s.Status.Phase) + ": " + s.Status.Message
	case c.fate == refused && meta.FindStatusCondition(s.Status.Conditions, vdi.ConditionUpdatePending) == nil:
		return "nothing says that the next start would be refused"
	}
	return ""
}

// reach brings the session into its state.
func (c *cell) reach(w *world) {
	w.must(w.server.create("administrator", &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
		Namespace: team, Name: sharedHome, Labels: map[string]string{wire.LabelHomeFor: platform.Identity(users[0])},
	}}))
	t := in[*vdi.VDITemplate](w, w.server.objects[key{"VDITemplate", "", templateName}])
	t.Spec.Resources.Max = vdi.SessionResources{Memory: "64Gi", CPU: "32"}
	t.Spec.Resources.DefaultMemory = "4Gi"
	w.replace("administrator", t, false)
	w.cluster.full, w.cluster.unready = c.situation == isWaiting, c.situation == isCreating
	w.newSession(func(s *vdi.VDISession) {
		s.Spec.Timeout = "0"
		switch c.deed {
		case expires:
			s.Spec.Timeout, s.Spec.TimeoutAction = "30m", vdi.TimeoutDelete
		case expiresAsleep:
			s.Spec.Timeout, s.Spec.TimeoutAction = "30m", vdi.TimeoutSuspend
		case idles:
			s.Spec.IdleTimeout = "30m"
		}
	})
	w.settle()
	c.revision = w.podRevision()
	w.cluster.stays = c.situation == isStopping || c.situation == isTerminating
	switch c.situation {
	case isStopping, isSuspended:
		w.people.suspend(desk)
	case isTerminating:
		w.remove("user", w.people.session(desk))
	}
	w.settle()
}

// do does the deed, and lets all come to rest.
func (c *cell) do(w *world) {
	if v := w.people.session(desk); v != nil {
		switch c.deed {
		case suspends:
			w.people.suspend(desk)
		case resumes:
			w.people.resume(desk)
		case deletes:
			w.remove("user", v)
		}
	}
	w.settle()
	w.cluster.stays = false
	w.settle()
	if c.waits() {
		w.finish(time.Now().Add(3 * time.Hour))
	}
}

// waits reports whether the deed is one of the clock's.
func (c *cell) waits() bool { return c.deed == expires || c.deed == expiresAsleep || c.deed == idles }

// rests is the letter of a session that nothing ends.
func (c *cell) rests() string {
	switch c.situation {
	case isWaiting:
		return "P"
	case isCreating:
		return "C"
	case isRunning:
		return "R"
	case isTerminating:
		return "-"
	default:
		return "S"
	}
}

// wanted is the letter that the case must come to.
func (c *cell) wanted() string {
	asleep := "S"
	if c.endsSuspended && c.waits() {
		asleep = "-"
	}
	stopped := !c.lives() || c.stops // before the deed
	switch {
	case c.situation == isTerminating, c.deed == deletes:
		return "-"
	case c.deed == suspends:
		return "S"
	case c.deed == resumes && stopped && c.fate == refused:
		return "F"
	case c.deed == resumes && !c.lives():
		return "R"
	case c.deed == resumes:
		return c.rests()
	case stopped:
		return asleep
	case c.situation == isCreating && c.endsStart:
		return asleep
	case c.situation != isRunning:
		return c.rests()
	default:
		return c.ended(asleep)
	}
}

// ended is what the clock makes of a session that runs.
func (c *cell) ended(asleep string) string {
	action := vdi.TimeoutDelete
	if c.deed == expiresAsleep {
		action = vdi.TimeoutSuspend
	}
	if c.action != "" {
		action = c.action
	}
	switch {
	case c.deed == idles && c.expiresFirst:
		return "-"
	case c.deed == idles && c.neverIdle, c.deed != idles && c.neverExpires:
		return "R"
	case c.deed == idles || c.idlesFirst || action == vdi.TimeoutSuspend:
		return asleep
	default:
		return "-"
	}
}

// letter is the first of the session's phase, or - when it is gone.
func (w *world) letter() string {
	v := w.people.session(desk)
	if v == nil {
		return "-"
	}
	return string(v.as(w.scheme).(*vdi.VDISession).Status.Phase)[:1]
}

// podUID is that of the desktop; "" when there is none.
func (w *world) podUID() types.UID {
	v := w.server.objects[key{"Pod", team, desk}]
	if v == nil {
		return ""
	}
	return v.as(w.scheme).(*corev1.Pod).UID
}

// podRevision stands for all that the desktop was made from.
func (w *world) podRevision() string {
	v := w.server.objects[key{"Pod", team, desk}]
	if v == nil {
		return ""
	}
	return v.as(w.scheme).(*corev1.Pod).Annotations[wire.AnnotationSessionRevision]
}

// notInPods are the fields that the next desktop does not show.
func notInPods() []string {
	return []string{
		"session persistence.reclaimPolicy", "session persistence.retainFor", "session timeout", "session timeoutAction", "session idleTimeout",
		"session runPolicy", "session keepAliveUntil", "session displayName",
		"template displayName", "template description", "template category", "template icon", "template deprecated", "template access.users", "template gpu.cost", "session groups",
		"template lifecycle.timeout", "template lifecycle.maxTimeout", "template lifecycle.timeoutAction", "template lifecycle.idleTimeout",
		"template lifecycle.maxIdleTimeout", "template lifecycle.maxStarting", "template lifecycle.maxFailed", "template lifecycle.maxSuspended",
		"template lifecycle.warnBefore", "template lifecycle.maxExtension", "template lifecycle.retainHomesFor",
	}
}

// editable are the versions of what is edited.
func (w *world) editable() string {
	words := ""
	for _, k := range []key{{"VDISession", team, desk}, {"VDITemplate", "", templateName}} {
		if v := w.server.objects[k]; v != nil {
			words += fmt.Sprint(v.object["spec"])
		}
	}
	return words
}
