package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/platform"
)

// cluster is everybody beside operators and people: scheduler, kubelet, provisioner,
// garbage collector, the proxy and the agents of the desktops.
type cluster struct {
	*world

	full     bool // no node has room
	nodeDown bool // the node does not answer
	crashing bool // whatever starts crashes
	mute     bool // neither proxy nor agents answer well
	quota    bool // no more pods are admitted
	slow     bool // the garbage collector is
	unready  bool // what starts does not answer
	failing  bool // the API server takes no write of an operator
	stays    bool // what is to end takes its time
}

const node = "node-1"

// heal puts everything right that is outside of the platform.
func (c *cluster) heal() { *c = cluster{world: c.world} }

// in is an object in Go that may be changed.
func in[T client.Object](w *world, v *version) T { return v.as(w.scheme).DeepCopyObject().(T) }

// status writes an object's status.
func (w *world) status(by string, o client.Object) { w.replace(by, o, true) }

// replace writes an object, or its status, as it is now.
func (w *world) replace(by string, o client.Object, status bool) {
	object, kind := w.server.plain(o)
	current, err := w.server.get(kind, o.GetNamespace(), o.GetName())
	if err == nil {
		_, err = w.server.put(by, "update", current, object, object, status)
	}
	if err != nil {
		w.say("%s: %s %s is refused: %v", by, kind.Kind, o.GetName(), err)
	}
}

// remove deletes an object.
func (w *world) remove(by string, v *version, opts ...client.DeleteOption) {
	options := client.DeleteOptions{}
	options.ApplyOptions(opts)
	if err := w.server.delete(by, v.kind, v.namespace, v.name, options); err != nil {
		w.say("%s: delete %s is refused: %v", by, v.key, err)
	}
}

// actsOfCluster are what somebody of the cluster would do now.
func (w *world) actsOfCluster() (acts []act) {
	c := w.cluster
	for _, v := range w.server.list("Pod") {
		if do := c.withPod(v); do != nil {
			acts = append(acts, do)
		}
	}
	for _, v := range w.server.list("PersistentVolumeClaim") {
		if do := c.withClaim(v); do != nil {
			acts = append(acts, do)
		}
	}
	if !c.slow {
		acts = append(acts, c.garbage()...)
	}
	return acts
}

// withPod is what scheduler and kubelet do with a pod next; nil: nothing.
func (c *cluster) withPod(v *version) act {
	pod := v.as(c.scheme).(*corev1.Pod)
	switch {
	case podEnded(pod) && pod.DeletionTimestamp == nil:
		return nil
	case pod.DeletionTimestamp != nil:
		if c.nodeDown || (c.stays && pod.Spec.NodeName != "") {
			return nil
		}
		return func() { c.remove("kubelet", v, client.GracePeriodSeconds(0)) }
	case pod.Spec.NodeName == "":
		return c.schedule(v, pod)
	case c.nodeDown:
		return c.loseNode(v, pod)
	default:
		return c.start(v, pod)
	}
}

func podEnded(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
}

func (c *cluster) schedule(v *version, pod *corev1.Pod) act {
	if c.full || c.nodeDown {
		if conditionOf(pod, corev1.PodScheduled) == corev1.ConditionFalse {
			return nil
		}
		return func() {
			pod := in[*corev1.Pod](c.world, v)
			setCondition(pod, corev1.PodScheduled, corev1.ConditionFalse, "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
			c.status("scheduler", pod)
		}
	}
	return func() {
		pod := in[*corev1.Pod](c.world, v)
		pod.Spec.NodeName = node
		c.replace("scheduler", pod, false)
		current, err := c.server.get(pods, pod.Namespace, pod.Name)
		if err != nil {
			return
		}
		pod = in[*corev1.Pod](c.world, current)
		setCondition(pod, corev1.PodScheduled, corev1.ConditionTrue, "")
		c.status("scheduler", pod)
	}
}

// start makes a pod ready, or lets it crash.
func (c *cluster) start(v *version, pod *corev1.Pod) act {
	ready := conditionOf(pod, corev1.PodReady)
	switch {
	case pod.Status.Phase == corev1.PodPending && !c.mountable(pod):
		return nil
	case c.crashing && ready != corev1.ConditionFalse:
		return func() { c.containers(v, corev1.PodRunning, false, "CrashLoopBackOff") }
	case !c.crashing && pod.Status.Phase != corev1.PodRunning:
		return func() { c.containers(v, corev1.PodRunning, false, "") }
	case !c.crashing && !c.unready && ready != corev1.ConditionTrue:
		return func() { c.containers(v, corev1.PodRunning, true, "") }
	default:
		return nil
	}
}

// mountable reports whether all that the pod mounts is there.
func (c *cluster) mountable(pod *corev1.Pod) bool {
	for _, volume := range pod.Spec.Volumes {
		switch {
		case volume.Secret != nil && c.server.objects[key{"Secret", pod.Namespace, volume.Secret.SecretName}] == nil && (volume.Secret.Optional == nil || !*volume.Secret.Optional):
			return false
		case volume.PersistentVolumeClaim != nil && c.server.objects[key{"PersistentVolumeClaim", pod.Namespace, volume.PersistentVolumeClaim.ClaimName}] == nil:
			return false
		}
	}
	return true
}

// containers writes how a pod's containers are.
func (c *cluster) containers(v *version, phase corev1.PodPhase, ready bool, waiting string) {
	pod := in[*corev1.Pod](c.world, v)
	pod.Status.Phase, pod.Status.PodIP = phase, "10.1.0.1"
	answer := corev1.ConditionFalse
	state := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}
	if waiting != "" {
		state = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: waiting, Message: "back-off"}}
	}
	if ready {
		answer = corev1.ConditionTrue
	}
	setCondition(pod, corev1.PodReady, answer, "")
	setCondition(pod, corev1.ContainersReady, answer, "")
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: pod.Spec.Containers[0].Name, Ready: ready, State: state}}
	c.status("kubelet", pod)
}

// loseNode is what becomes of a pod whose node does not answer.
func (c *cluster) loseNode(v *version, pod *corev1.Pod) act {
	if conditionOf(pod, corev1.PodReady) != corev1.ConditionTrue {
		return nil
	}
	return func() {
		pod := in[*corev1.Pod](c.world, v)
		setCondition(pod, corev1.PodReady, corev1.ConditionFalse, "node is not ready")
		c.status("node controller", pod)
	}
}

func conditionOf(pod *corev1.Pod, kind corev1.PodConditionType) corev1.ConditionStatus {
	for _, c := range pod.Status.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return ""
}

func setCondition(pod *corev1.Pod, kind corev1.PodConditionType, status corev1.ConditionStatus, message string) {
	next := corev1.PodCondition{Type: kind, Status: status, Message: message, LastTransitionTime: metav1.Now()}
	if kind == corev1.PodScheduled && status == corev1.ConditionFalse {
		next.Reason = corev1.PodReasonUnschedulable
	}
	i := slices.IndexFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == kind })
	if i < 0 {
		pod.Status.Conditions = append(pod.Status.Conditions, next)
		return
	}
	pod.Status.Conditions[i] = next
}

// withClaim is what provisioner and volume protection do with a claim next.
func (c *cluster) withClaim(v *version) act {
	claim := v.as(c.scheme).(*corev1.PersistentVolumeClaim)
	switch {
	case claim.DeletionTimestamp != nil && slices.Contains(claim.Finalizers, claimProtection) && c.userOf(claim) == nil:
		return func() {
			claim := in[*corev1.PersistentVolumeClaim](c.world, v)
			claim.Finalizers = slices.DeleteFunc(claim.Finalizers, func(f string) bool { return f == claimProtection })
			c.replace("volume protection", claim, false)
		}
	case claim.DeletionTimestamp == nil && claim.Status.Phase == corev1.ClaimPending:
		return func() {
			claim := in[*corev1.PersistentVolumeClaim](c.world, v)
			claim.Status.Phase = corev1.ClaimBound
			c.status("provisioner", claim)
		}
	default:
		return nil
	}
}

// userOf is a pod that uses the claim and has not ended; nil: none does.
func (w *world) userOf(claim *corev1.PersistentVolumeClaim) *corev1.Pod {
	users := w.usersOf(claim.Namespace, claim.Name)
	if len(users) == 0 {
		return nil
	}
	return users[0]
}

// usersOf are the pods that use a claim and have not ended.
func (w *world) usersOf(namespace, claim string) (users []*corev1.Pod) {
	for _, v := range w.server.list("Pod") {
		pod := v.as(w.scheme).(*corev1.Pod)
		if pod.Namespace == namespace && !podEnded(pod) && slices.Contains(homes.ClaimsOf(pod), claim) {
			users = append(users, pod)
		}
	}
	return users
}

// garbage is what the garbage collector does: it takes what has lost its owner, and
// lets go of what it was told to leave behind.
func (c *cluster) garbage() (acts []act) {
	alive := map[string]bool{}
	for _, v := range c.server.objects {
		alive[text(metaOf(v.object), "uid")] = true
	}
	for _, v := range c.all() {
		meta := metaOf(v.object)
		if owner := ownerOf(v.object); owner != "" && !alive[owner] && meta["deletionTimestamp"] == nil {
			acts = append(acts, func() { c.remove("garbage collector", v) })
		}
		if slices.Contains(finalizersOf(v.object), any(metav1.FinalizerOrphanDependents)) {
			acts = append(acts, func() { c.letGo(v) })
		}
	}
	return acts
}

// ownerOf is the UID of the object's owner.
func ownerOf(object map[string]any) string {
	owners, _ := metaOf(object)["ownerReferences"].([]any)
	if len(owners) == 0 {
		return ""
	}
	owner, _ := owners[0].(map[string]any)
	return text(owner, "uid")
}

// letGo takes the owner from all that it owns, and then its finalizer from it.
func (c *cluster) letGo(owner *version) {
	for _, v := range c.all() {
		if ownerOf(v.object) != text(metaOf(owner.object), "uid") {
			continue
		}
		object := clone(v.object)
		delete(metaOf(object), "ownerReferences")
		c.must(c.server.put("garbage collector", "patch", v, object, nil, false))
	}
	current := c.server.objects[owner.key]
	object := clone(current.object)
	metaOf(object)["finalizers"] = slices.DeleteFunc(slices.Clone(finalizersOf(object)), func(f any) bool { return f == any(metav1.FinalizerOrphanDependents) })
	c.must(c.server.put("garbage collector", "patch", current, object, nil, false))
}

// all are all objects, by name.
func (w *world) all() (all []*version) {
	for _, v := range w.server.objects {
		all = append(all, v)
	}
	return sorted(all)
}

func (*world) must(_ *version, err error) {
	if err != nil {
		panic(err)
	}
}

// --- proxy and agents

// verbAsk is the verb of questions to proxies and agents.
const verbAsk = "ask"

// probe is a request through the proxy.
func (o *operator) probe(ctx context.Context, q platform.RouteQuestion) error {
	if v := o.park(ctx, call{verbAsk, "proxy for " + q.Host}); v.err != nil {
		return v.err
	}
	c := o.world.cluster
	if c.mute {
		return errors.New("the proxy answered 502")
	}
	for _, v := range c.server.list(routes.Kind) {
		pod := c.server.objects[key{"Pod", v.namespace, v.name}]
		if pod == nil || !routeIsFor(v, q.Host) {
			continue
		}
		if conditionOf(pod.as(c.scheme).(*corev1.Pod), corev1.PodReady) == corev1.ConditionTrue {
			return nil
		}
	}
	return errors.New("the proxy answered 404")
}

// routeIsFor reports whether a route's rule names the host.
func routeIsFor(route *version, host string) bool {
	return slices.ContainsFunc(listOf(route.object, "spec", "routes"), func(r any) bool {
		rule, _ := r.(map[string]any)
		return text(rule, "match") == "Host(`"+host+"`)"
	})
}

func listOf(object map[string]any, path ...string) []any {
	for _, field := range path[:len(path)-1] {
		object, _ = object[field].(map[string]any)
	}
	list, _ := object[path[len(path)-1]].([]any)
	return list
}

// agentsOf are the agents of the desktops, as an operator asks them.
type agentsOf struct{ *operator }

// LastActivity implements session.ActivitySource.
func (a agentsOf) LastActivity(ctx context.Context, pod *corev1.Pod) (vdi.ActivityStatus, error) {
	if v := a.park(ctx, call{verbAsk, "agent of " + pod.Name}); v.err != nil {
		return vdi.ActivityStatus{}, v.err
	}
	if a.world.cluster.mute || a.world.cluster.nodeDown {
		return vdi.ActivityStatus{}, fmt.Errorf("the agent of %s does not answer", pod.Name)
	}
	used := a.world.people.used[pod.UID]
	if used.IsZero() {
		used = pod.CreationTimestamp.Time
	}
	clients := int32(1)
	return vdi.ActivityStatus{LastActivityTime: &metav1.Time{Time: used.Truncate(time.Second)}, Clients: &clients}, nil
}
