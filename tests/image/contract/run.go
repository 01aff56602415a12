package contract

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/vdi-platform/vdi-platform/operator/doctor"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
)

const (
	login  = "check"
	glance = 200 * time.Millisecond // between two looks at a pod
	// settled is how long a desktop that answers is left to write what it writes at a start.
	settled = 2 * time.Second
)

// Runner runs images on a local cluster.
type Runner struct {
	Cluster *cluster.Cluster
	// Patience is how long a desktop may take until it answers.
	Patience time.Duration
}

// run is one image's life on the cluster.
type run struct {
	*Runner
	plan      *Plan
	kube      kubernetes.Interface
	node      cluster.Network
	namespace string
	password  string // the visitor's
	desktop   string // the desktop's own
}

// Run judges what is seen of the image while it runs. The images of the plan must be on the
// node.
func (r *Runner) Run(ctx context.Context, p *Plan) (lines []doctor.Line, err error) {
	if p.overWebRTC() {
		why := doctor.Unjudged("the template streams over WebRTC, which needs a relay that this check does not run")
		return notJudged(why, points...), nil
	}
	one, err := r.begin(ctx, p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, one.end()) }()
	return one.judge(ctx)
}

// begin makes a namespace with what the operator would give the pod.
func (r *Runner) begin(ctx context.Context, p *Plan) (*run, error) {
	config, err := r.Cluster.RESTConfig()
	if err != nil {
		return nil, err
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	node, err := r.Cluster.NodeNetwork()
	if err != nil {
		return nil, err
	}
	one := &run{Runner: r, plan: p, kube: kube, node: node}
	var cookieKey string
	for text, size := range map[*string]int{&one.password: 16, &one.desktop: 16, &cookieKey: 32} {
		if *text, err = random(rand.Read, size); err != nil {
			return nil, err
		}
	}
	space, err := kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "vdi-image-check-", Labels: map[string]string{"pod-security.kubernetes.io/enforce": p.level()},
	}}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("create namespace: %w", err)
	}
	one.namespace = space.Name
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: renderer.CredentialsName(sessionName)},
		StringData: map[string]string{
			wire.KeyUsername: login, wire.KeyPassword: one.password, wire.KeyCookie: cookieKey,
			wire.KeyDesktopUsername: login, wire.KeyDesktopPassword: one.desktop,
		},
	}
	if _, err := kube.CoreV1().Secrets(one.namespace).Create(ctx, secret, metav1.CreateOptions{}); err != nil {
		return nil, errors.Join(fmt.Errorf("create the login: %w", err), one.end())
	}
	for _, name := range append(p.claims, renderer.HomeClaimName(sessionName)) {
		if err := one.claim(ctx, name); err != nil {
			return nil, errors.Join(err, one.end())
		}
	}
	return one, nil
}

func (r *run) claim(ctx context.Context, name string) error {
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}}
	claim.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	claim.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	if _, err := r.kube.CoreV1().PersistentVolumeClaims(r.namespace).Create(ctx, claim, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create claim %s: %w", name, err)
	}
	return nil
}

// end deletes the namespace, also where the caller has given up.
func (r *run) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	now := int64(0)
	_ = r.kube.CoreV1().Pods(r.namespace).Delete(ctx, sessionName, metav1.DeleteOptions{GracePeriodSeconds: &now}) // the namespace's end deletes it, too, later
	err := r.kube.CoreV1().Namespaces().Delete(ctx, r.namespace, metav1.DeleteOptions{})
	return errors.Join(err, r.node.Close())
}

// start makes the pod and waits until the desktop answers, ends or is out of time. The
// verdict is whether it answers.
func (r *run) start(ctx context.Context) (*corev1.Pod, doctor.Verdict, error) {
	began := time.Now()
	if _, err := r.kube.CoreV1().Pods(r.namespace).Create(ctx, r.plan.pod.DeepCopy(), metav1.CreateOptions{}); err != nil {
		if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) {
			return nil, doctor.Fail("the API server refuses the pod: %v", err), nil
		}
		return nil, doctor.Verdict{}, fmt.Errorf("create pod: %w", err)
	}
	for {
		pod, err := r.pod(ctx)
		if err != nil {
			return nil, doctor.Verdict{}, err
		}
		took := time.Since(began).Round(100 * time.Millisecond)
		switch ended := endOf(pod); {
		case ended != "":
			return pod, doctor.Fail("%s; its log ends: %s", ended, r.log(ctx, true)), nil
		case isReady(pod):
			return pod, doctor.Pass("it answers %s after the start of its pod", took), nil
		case time.Since(began) > r.Patience:
			return pod, r.silent(ctx, pod), nil
		}
		select {
		case <-ctx.Done():
			return nil, doctor.Verdict{}, ctx.Err()
		case <-time.After(glance):
		}
	}
}

func (r *run) pod(ctx context.Context) (*corev1.Pod, error) {
	pod, err := r.kube.CoreV1().Pods(r.namespace).Get(ctx, sessionName, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read pod: %w", err)
	}
	return pod, nil
}

// stop deletes the pod as the platform does, and reports how long the desktop took to end.
func (r *run) stop(ctx context.Context) (took time.Duration, err error) {
	began := time.Now()
	if err := r.kube.CoreV1().Pods(r.namespace).Delete(ctx, sessionName, metav1.DeleteOptions{}); err != nil {
		return 0, fmt.Errorf("stop the desktop: %w", err)
	}
	for {
		pod, err := r.kube.CoreV1().Pods(r.namespace).Get(ctx, sessionName, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			if took == 0 {
				took = time.Since(began)
			}
			return took, nil
		case err != nil:
			return 0, fmt.Errorf("read pod: %w", err)
		}
		if status := desktopStatus(pod); took == 0 && status != nil && status.State.Terminated != nil {
			took = time.Since(began)
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(glance):
		}
	}
}

func desktopStatus(pod *corev1.Pod) *corev1.ContainerStatus {
	for i, status := range pod.Status.ContainerStatuses {
		if status.Name == wire.ContainerDesktop {
			return &pod.Status.ContainerStatuses[i]
		}
	}
	return nil
}

// isReady reports whether the agent says that the desktop answers.
func isReady(pod *corev1.Pod) bool {
	for _, status := range pod.Status.InitContainerStatuses {
		if status.Name == wire.ContainerAgent {
			return status.Ready && desktopStatus(pod) != nil && desktopStatus(pod).State.Running != nil
		}
	}
	return false
}
