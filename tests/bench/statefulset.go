package bench

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// statefulSet is what Kubernetes itself offers: a StatefulSet of one pod with a
// volume template; the client writes the extras (Secret, NetworkPolicy,
// Service, route).
func statefulSet() contender {
	return contender{
		name: StatefulSet, settings: "controller-manager --concurrent-statefulset-syncs=8 --kube-api-qps=500 (it cannot be unthrottled); 8 writers of StatefulSet and extras",
		users: []string{"system:serviceaccount:kube-system:statefulset-controller"}, asked: "statefulsets",
		ask: askStatefulSet, done: func() client.ObjectList { return &appsv1.StatefulSetList{} }, is: setRuns, pod: firstOfSet,
	}
}

func setRuns(o client.Object) bool {
	set, is := o.(*appsv1.StatefulSet)
	return is && set.Status.ReadyReplicas == 1
}

func askStatefulSet(ctx context.Context, b *bed, i int) error {
	s := b.session(i)
	parts, err := b.parts(s)
	if err != nil {
		return err
	}
	set := &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: s.Name, Namespace: s.Namespace, Labels: parts.pod.Labels},
		Spec: appsv1.StatefulSetSpec{
			ServiceName: s.Name,
			Selector:    &metav1.LabelSelector{MatchLabels: map[string]string{"app.kubernetes.io/instance": s.Name}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: parts.pod.Labels, Annotations: parts.pod.Annotations},
				Spec:       parts.pod.Spec,
			},
			VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{
				ObjectMeta: metav1.ObjectMeta{Name: parts.homeVolume}, Spec: parts.claim.Spec,
			}},
		},
	}
	if err := b.Driver.Create(ctx, set); err != nil {
		return err
	}
	owner := *metav1.NewControllerRef(set, appsv1.SchemeGroupVersion.WithKind("StatefulSet"))
	return b.createExtras(ctx, s, owner, parts.extras)
}

// parts are a session's rendered objects, sorted for contenders that bring
// their own pod and claim.
type parts struct {
	pod        *corev1.Pod // without its home volume
	homeVolume string
	claim      *corev1.PersistentVolumeClaim
	extras     []*unstructured.Unstructured
}

func (b *bed) parts(s *vdi.VDISession) (p parts, err error) {
	objects, err := b.rendered(s)
	if err != nil {
		return p, err
	}
	p.pod, p.claim = &corev1.Pod{}, &corev1.PersistentVolumeClaim{}
	for _, o := range objects {
		switch o.GetKind() {
		case "Pod":
			err = runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, p.pod)
		case "PersistentVolumeClaim":
			err = runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, p.claim)
		default:
			p.extras = append(p.extras, o)
		}
		if err != nil {
			return p, fmt.Errorf("read rendered %s: %w", o.GetKind(), err)
		}
	}
	var others []corev1.Volume
	for _, v := range p.pod.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			p.homeVolume = v.Name
			continue
		}
		others = append(others, v)
	}
	p.pod.Spec.Volumes = others
	return p, nil
}

// createExtras writes the Secret and what else is neither pod nor claim.
func (b *bed) createExtras(ctx context.Context, s *vdi.VDISession, owner metav1.OwnerReference, extras []*unstructured.Unstructured) error {
	credentials := secret(s)
	credentials.OwnerReferences = []metav1.OwnerReference{owner}
	if err := b.Driver.Create(ctx, credentials); err != nil {
		return err
	}
	for _, o := range extras {
		o.SetOwnerReferences([]metav1.OwnerReference{owner})
		if err := b.Driver.Create(ctx, o); err != nil {
			return err
		}
	}
	return nil
}
