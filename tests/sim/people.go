package sim

import (
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/drain"
	"github.com/vdi-platform/vdi-platform/operator/homes/kept"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// people are users and administrators.
type people struct {
	*world

	left     int              // acts that they still have in mind
	sessions int              // that may be at a time
	living   map[string]*life // by the session's name
	lived    []*life
	used     map[types.UID]time.Time

	requotaed int // the step in which the quota was last changed
}

// life is what one session has lived through, from its creation until it is gone or at
// rest.
type life struct {
	session      types.UID
	acts, faults int
}

// full reports whether that is worth to be called a life.
func (l *life) full() bool { return l.acts >= 3 && l.faults >= 1 }

// livesThrough counts what a session lives through, or with the name "" what all do.
func (p *people) livesThrough(name string, count func(*life)) {
	for n, l := range p.living {
		if name == "" || name == n {
			count(l)
		}
	}
}

const (
	templateName = "plain"
	otherName    = "other"
)

var users = []string{"alice@example.com", "bob@example.com"}

// begin prepares what is there before the first session.
func (p *people) begin() {
	p.used, p.living = map[types.UID]time.Time{}, map[string]*life{}
	p.sessions = 1 + p.of(4)
	p.left = p.sessions * (6 + p.of(6))
	p.must(p.server.create("cluster", &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: routeCRD}}))
	for _, name := range []string{templateName, otherName} {
		p.makeTemplate(name)
	}
	p.requotaed, p.began = -hindsight, -hindsight
	if p.of(3) == 2 {
		p.makeQuota()
	}
}

const quotaName = "fair"

// makeQuota limits how many desktops run, of each person or of all.
func (p *people) makeQuota() {
	_, err := p.server.create("administrator", &vdi.VDIQuota{ObjectMeta: metav1.ObjectMeta{Name: quotaName}, Spec: p.someQuota()})
	p.told("create quota", err)
}

func (p *people) someQuota() (spec vdi.VDIQuotaSpec) {
	limit := int32(1 + p.of(2))
	switch p.of(5) {
	case 0, 1:
		spec.Total = &vdi.TotalLimits{Running: &limit}
	case 2:
		spec.PerUser = &vdi.UserLimits{Running: &limit}
	case 3:
		spec.PerUser = &vdi.UserLimits{Sessions: &limit}
	case 4:
		spec.PerUser = &vdi.UserLimits{GPUHours: &vdi.GPUHoursLimit{Limit: []string{"0.25", "0.5"}[limit-1], Window: vdi.BudgetDay}}
	}
	spec.OnExceeded = vdi.QuotaQueue
	if p.rarely(4) {
		spec.OnExceeded = vdi.QuotaReject
	}
	return spec
}

func (p *people) quota() *vdi.VDIQuota {
	v := p.server.objects[key{"VDIQuota", "", quotaName}]
	if v == nil {
		return nil
	}
	return in[*vdi.VDIQuota](p.world, v)
}

// changeQuota makes, changes or drops the quota.
func (p *people) changeQuota(string) {
	p.requotaed = p.steps
	switch q := p.quota(); {
	case q == nil:
		p.makeQuota()
	case p.of(3) == 0:
		p.remove("administrator", p.server.objects[key{"VDIQuota", "", quotaName}])
	default:
		q.Spec = p.someQuota()
		p.replace("administrator", q, false)
	}
}

func (p *people) makeTemplate(name string) {
	t := &vdi.VDITemplate{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: vdi.VDITemplateSpec{Image: registry + name + ":1"}}
	t.Spec.Lifecycle = p.someRules()
	_, err := p.server.create("administrator", t)
	p.told("create template", err)
}

// someRules are ends of all kinds, or none.
func (p *people) someRules() (rules vdi.TemplateLifecycle) {
	for _, field := range []*vdi.Duration{&rules.Timeout, &rules.IdleTimeout, &rules.MaxStarting, &rules.MaxFailed, &rules.MaxSuspended, &rules.RetainHomesFor} {
		if p.of(4) == 1 {
			*field = []vdi.Duration{"5m", "30m", "2h"}[p.of(3)]
		}
	}
	if p.of(2) == 1 {
		rules.TimeoutAction = vdi.TimeoutSuspend
	}
	if p.of(4) == 1 {
		rules.WarnBefore = "1m"
	}
	return rules
}

func (p *people) told(what string, err error) {
	if err != nil {
		p.say("%s is refused: %v", what, err)
	}
}

// done reports whether nobody has anything in mind any more.
func (p *people) done() bool { return p.left <= 0 }

// name is one of the names that sessions have.
func (p *people) name() string { return fmt.Sprintf("desk-%d", 1+p.of(p.sessions)) }

// userOf is whose sessions have that name, mostly.
func (p *people) userOf(name string) string {
	if p.rarely(32) {
		return users[1]
	}
	return users[int(name[len(name)-1])%2]
}

func (p *people) session(name string) *version {
	return p.server.objects[key{"VDISession", team, name}]
}

// change edits a session.
func (p *people) change(name string, edit func(*vdi.VDISession)) {
	v := p.session(name)
	if v == nil {
		return
	}
	s := in[*vdi.VDISession](p.world, v)
	edit(s)
	p.replace("user", s, false)
}

// actsOfPeople are what somebody may want next.
func (w *world) actsOfPeople() (acts []act) {
	p := w.people
	if p.done() {
		return nil
	}
	return []act{func() {
		p.left--
		name := p.name()
		if p.session(name) == nil {
			p.start(name)
			return
		}
		p.livesThrough(name, func(l *life) { l.acts++ })
		p.wishes()[p.of(len(p.wishes()))](name)
	}}
}

// start makes a session.
func (p *people) start(name string) {
	s := &vdi.VDISession{ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: name}}
	s.Spec.User, s.Spec.Template = p.userOf(name), templateName
	if p.of(3) == 1 {
		s.Spec.Persistence.ReclaimPolicy = vdi.ReclaimDelete
	}
	if p.rarely(8) {
		scratch := false
		s.Spec.Persistence.Enabled = &scratch
	}
	if p.rarely(4) {
		s.Spec.Persistence.ExistingClaim = p.someClaim()
	}
	if p.rarely(8) {
		s.Spec.RunPolicy = vdi.RunPolicySuspended
	}
	if p.rarely(8) {
		s.Spec.Template = []string{otherName, "missing"}[p.of(2)]
	}
	made, err := p.server.create("user", s)
	p.told("create session", err)
	if err == nil {
		l := &life{session: types.UID(text(metaOf(made.object), "uid"))}
		p.living[name], p.lived = l, append(p.lived, l)
	}
}

// someClaim is the name of a home, that there need not be.
func (p *people) someClaim() string { return renderer.HomeClaimName(p.name()) }

// wishes are what users and administrators do with what is there.
func (p *people) wishes() []func(name string) {
	return []func(string){
		p.suspend, p.resume, p.suspend, p.resume, p.use, p.end,
		p.editSession, p.editSession, p.editSession, p.editTemplate, p.dropTemplate, p.harmChild, p.dropChild, p.plant,
		p.harmHome, p.wait, p.wait, p.changeCluster, p.changeCluster, p.changeQuota, p.freeNode,
	}
}

func (p *people) suspend(name string) {
	p.change(name, func(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicySuspended })
}

func (p *people) resume(name string) {
	p.change(name, func(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicyRunning })
}

// end deletes a session, in one of the ways that Kubernetes has.
func (p *people) end(name string) {
	if p.rarely(6) && len(finalizersOf(p.session(name).object)) > 0 { // without our finalizer nobody would know what is left
		p.remove("user", p.session(name), client.PropagationPolicy(metav1.DeletePropagationOrphan))
		return
	}
	p.remove("user", p.session(name))
}

// use is somebody at the desktop.
func (p *people) use(name string) {
	if pod := p.server.objects[key{"Pod", team, name}]; pod != nil {
		p.used[types.UID(text(metaOf(pod.object), "uid"))] = time.Now()
	}
}

// wait lets time go by.
func (p *people) wait(string) {
	p.sleepUntil(time.Now().Add([]time.Duration{time.Minute, 6 * time.Minute, 40 * time.Minute, 3 * time.Hour}[p.of(4)]))
}

func (p *people) editSession(name string) {
	at := &metav1.Time{Time: time.Now().Add(time.Hour)}
	edits := []func(*vdi.VDISession){
		func(s *vdi.VDISession) { s.Spec.Resources.Memory = "2Gi" },
		func(s *vdi.VDISession) { s.Spec.Resources.Memory = "lots" },
		func(s *vdi.VDISession) { s.Spec.Resources.CPU = "9000" },
		func(s *vdi.VDISession) { s.Spec.Timeout = "10m" },
		func(s *vdi.VDISession) { s.Spec.Timeout = "0" },
		func(s *vdi.VDISession) { s.Spec.IdleTimeout = "6m" },
		func(s *vdi.VDISession) { s.Spec.TimeoutAction = vdi.TimeoutSuspend },
		func(s *vdi.VDISession) { s.Spec.TimeoutAction = vdi.TimeoutDelete },
		func(s *vdi.VDISession) { s.Spec.KeepAliveUntil = at },
		func(s *vdi.VDISession) { s.Spec.Persistence.ReclaimPolicy = vdi.ReclaimDelete },
		func(s *vdi.VDISession) { s.Spec.Persistence.ReclaimPolicy = vdi.ReclaimRetain },
		func(s *vdi.VDISession) { s.Spec.Persistence.ExistingClaim = p.someClaim() },
		func(s *vdi.VDISession) { s.Spec.Persistence.ExistingClaim = "" },
		func(s *vdi.VDISession) { s.Spec.Persistence.Size = "20Gi" },
		func(s *vdi.VDISession) { off := false; s.Spec.Persistence.Enabled = &off },
		func(s *vdi.VDISession) { s.Spec.Persistence.RetainFor = "2h" },
		func(s *vdi.VDISession) { s.Spec.Template = otherName },
		func(s *vdi.VDISession) { s.Spec.Template = "missing" },
		func(s *vdi.VDISession) {
			if s.DeletionTimestamp == nil {
				s.Finalizers = nil
			}
		},
		func(s *vdi.VDISession) { s.Spec.User = users[1] },
	}
	p.change(name, edits[p.of(len(edits))])
}

func (p *people) editTemplate(string) {
	v := p.server.objects[key{"VDITemplate", "", templateName}]
	if v == nil {
		p.makeTemplate(templateName)
		return
	}
	t := in[*vdi.VDITemplate](p.world, v)
	switch p.of(4) {
	case 0:
		t.Spec.Image = fmt.Sprintf("%s:%d", registry+templateName, p.left)
	case 1:
		t.Spec.Values = &apiextensionsv1.JSON{Raw: []byte(`{"nonsense": true}`)}
	case 2:
		t.Spec.Values = nil
	case 3:
		t.Spec.Lifecycle = p.someRules()
	}
	p.replace("administrator", t, false)
}

func (p *people) dropTemplate(string) {
	if v := p.server.objects[key{"VDITemplate", "", templateName}]; v != nil {
		p.remove("administrator", v)
	}
}

// child is one of a session's objects, if there is one.
func (p *people) child(name string) *version {
	kind := []string{"Pod", "Service", "NetworkPolicy", routes.Kind, "PodDisruptionBudget", "Secret"}[p.of(6)]
	if pod := p.server.objects[key{"Pod", team, name}]; kind == "Secret" && (pod == nil || pod.as(p.scheme).(*corev1.Pod).Status.Phase != corev1.PodRunning) {
		return nil // the kubelet would wait for it for ever, and nobody else looks
	}
	if kind == "Secret" {
		name = renderer.CredentialsName(name)
	}
	return p.server.objects[key{kind, team, name}]
}

// edits are such that the API server takes them.
var edits = map[string]map[string]any{
	"Service":             {"sessionAffinity": "ClientIP"},
	"NetworkPolicy":       {"policyTypes": []any{"Egress"}},
	"PodDisruptionBudget": {"unhealthyPodEvictionPolicy": "AlwaysAllow"},
	routes.Kind:           {"entryPoints": []any{"by-hand"}},
}

// harmChild edits one of a session's objects.
func (p *people) harmChild(name string) {
	v := p.child(name)
	if v == nil || v.key.kind == "Pod" || isByHand(v) {
		return
	}
	object := clone(v.object)
	switch p.of(3) {
	case 0:
		if ownerOf(object) == "" {
			return // without owner and labels nobody knows whose it was
		}
		delete(metaOf(object), "labels")
	case 1:
		if spec, is := object["spec"].(map[string]any); is {
			maps.Copy(spec, edits[v.key.kind])
		}
	case 2:
		metaOf(object)["annotations"] = map[string]any{"touched": "by hand"}
	}
	_, err := p.server.put("administrator", "update", v, object, object, false)
	p.told("edit "+v.key.String(), err)
}

func (p *people) dropChild(name string) {
	if v := p.child(name); v != nil {
		p.remove("administrator", v)
	}
}

// byHand marks what nobody of the platform has made.
const byHand = "made-by-hand"

// plant makes an object that has the name of a session's.
func (p *people) plant(string) {
	name := p.name()
	meta := metav1.ObjectMeta{Namespace: team, Name: name, Annotations: map[string]string{byHand: "true"}}
	var o client.Object
	switch p.of(5) {
	case 4:
		meta.Name = "backup-" + name
		uses := corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: renderer.HomeClaimName(name)}}
		o = &corev1.Pod{ObjectMeta: meta, Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "theirs", Image: "theirs"}}, Volumes: []corev1.Volume{{Name: "home", VolumeSource: uses}},
		}}
	case 0:
		o = &corev1.Pod{ObjectMeta: meta, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "theirs", Image: "theirs"}}}}
	case 1:
		o = &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(80)}}}}
	case 2:
		meta.Name = renderer.CredentialsName(name)
		o = &corev1.Secret{ObjectMeta: meta}
	case 3:
		meta.Name = renderer.HomeClaimName(name)
		o = &corev1.PersistentVolumeClaim{ObjectMeta: meta, Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		}}
	}
	_, err := p.server.create("administrator", o)
	p.told("plant", err)
}

// freeNode orders a desktop off its node, or takes that back.
func (p *people) freeNode(name string) {
	p.change(name, func(s *vdi.VDISession) {
		if p.rarely(4) {
			delete(s.Annotations, wire.AnnotationDrain)
			return
		}
		after := []time.Duration{0, 20 * time.Minute, 2 * time.Hour}[p.of(3)]
		order := drain.Order{Node: node, At: metav1.NewTime(time.Now().Add(after)), Restart: p.of(3) > 0}.String()
		if p.rarely(8) {
			order = "soon"
		}
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, wire.AnnotationDrain, order)
	})
}

// harmHome does to a home what administrators do.
func (p *people) harmHome(name string) {
	v := p.server.objects[key{"PersistentVolumeClaim", team, renderer.HomeClaimName(name)}]
	if v == nil {
		return
	}
	claim := in[*corev1.PersistentVolumeClaim](p.world, v)
	switch p.of(5) {
	case 0:
		p.remove("administrator", v)
		return
	case 1:
		claim.Labels = nil
	case 2:
		if claim.Labels == nil {
			claim.Labels = map[string]string{}
		}
		claim.Labels[wire.LabelHomeFor] = platform.Identity(users[p.of(2)])
	case 3:
		delete(claim.Annotations, wire.AnnotationRetainFor)
	case 4:
		if claim.Spec.Resources.Requests == nil {
			claim.Spec.Resources.Requests = corev1.ResourceList{}
		}
		claim.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse("50Gi")
	}
	p.replace("administrator", claim, false)
}

// changeCluster is what goes wrong outside of the platform, and what is repaired.
func (p *people) changeCluster(name string) {
	c := p.cluster
	switch p.of(9) {
	case 0:
		c.full = !c.full
	case 1:
		c.nodeDown = !c.nodeDown
	case 2:
		c.crashing = !c.crashing
	case 3:
		c.mute = !c.mute
	case 4:
		c.quota = !c.quota
	case 5:
		c.slow = !c.slow
	case 6:
		c.endPod(name)
	case 7:
		c.dropRoutes()
	case 8:
		if v := p.server.objects[key{"Pod", team, name}]; v != nil {
			p.remove("taint manager", v)
		}
	}
	p.say("cluster: full %t, node down %t, crashing %t, mute %t, quota %t, slow %t", c.full, c.nodeDown, c.crashing, c.mute, c.quota, c.slow)
}

// endPod is an eviction by the kubelet.
func (c *cluster) endPod(name string) {
	v := c.server.objects[key{"Pod", team, name}]
	if v == nil {
		return
	}
	pod := in[*corev1.Pod](c.world, v)
	pod.Status.Phase, pod.Status.Reason = corev1.PodFailed, "Evicted"
	setCondition(pod, corev1.PodReady, corev1.ConditionFalse, "")
	c.status("kubelet", pod)
}

// dropRoutes removes the proxy's kinds, or installs them again.
func (c *cluster) dropRoutes() {
	k := key{crds.Kind, "", routeCRD}
	if c.server.objects[k] == nil {
		c.must(c.server.create("administrator", &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: routeCRD}}))
		return
	}
	for _, v := range c.server.list(routes.Kind) {
		c.remove("definition controller", v)
	}
	c.remove("administrator", c.server.objects[k])
}

// finish leaves only wishes that can be granted for good, so that all comes to rest.
func (p *people) finish() {
	if p.server.objects[key{crds.Kind, "", routeCRD}] == nil {
		p.cluster.dropRoutes()
	}
	for _, name := range []string{templateName, otherName} {
		v := p.server.objects[key{"VDITemplate", "", name}]
		if v == nil {
			p.makeTemplate(name)
			v = p.server.objects[key{"VDITemplate", "", name}]
		}
		t := in[*vdi.VDITemplate](p.world, v)
		t.Spec.Values, t.Spec.Lifecycle = nil, vdi.TemplateLifecycle{Timeout: "0"}
		p.replace("administrator", t, false)
	}
	for _, v := range p.server.list("VDISession") {
		p.change(v.name, func(s *vdi.VDISession) {
			s.Spec.Timeout, s.Spec.IdleTimeout, s.Spec.KeepAliveUntil, s.Spec.Persistence.RetainFor = "", "", nil, ""
			delete(s.Annotations, wire.AnnotationDrain)
		})
	}
	for _, v := range p.all() {
		if _, planted := metaOf(v.object)["annotations"].(map[string]any); planted && isByHand(v) {
			p.remove("administrator", v, client.GracePeriodSeconds(0))
		}
	}
}

// repair is for what only a person can put right. The kubelet waits for ever for a Secret
// or a claim that somebody has deleted, and what was left behind is to stay.
func (p *people) repair() {
	for _, v := range p.server.list("Pod") {
		if pod := v.as(p.scheme).(*corev1.Pod); pod.Status.Phase == corev1.PodPending && pod.DeletionTimestamp == nil && !p.cluster.mountable(pod) {
			p.remove("administrator", v)
		}
	}
	for _, v := range p.server.list("PersistentVolumeClaim") {
		claim := in[*corev1.PersistentVolumeClaim](p.world, v)
		if kept.Left(claim) {
			delete(claim.Annotations, wire.AnnotationRetainFor)
			p.replace("administrator", claim, false)
		}
	}
}

func isByHand(v *version) bool {
	annotations, _ := metaOf(v.object)["annotations"].(map[string]any)
	return annotations[byHand] != nil
}
