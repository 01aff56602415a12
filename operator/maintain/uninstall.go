package maintain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/program"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

const (
	// uninstaller is this command's name in managed fields and in the lease.
	uninstaller = "vdi-operator-uninstall"
	// lease of the operator's leader.
	lease = wire.Operator
)

// uninstall stops the operator and takes its finalizer off every session: an object whose
// finalizer nobody serves could never be deleted again. Sessions, desktops and
// homes stay; an operator that is installed later picks them up. Where nothing is
// uninstalled it leaves everything as it is.
func uninstall(ctx context.Context, j job) error {
	if j.options.namespace == "" {
		return fmt.Errorf("%w: the operator's namespace is unknown: set --namespace", ErrRefused)
	}
	wanted, err := j.isWanted(ctx)
	if err != nil || !wanted {
		return err
	}
	before, err := j.stopOperator(ctx)
	if err != nil {
		return err
	}
	if err := j.asLeader(ctx, j.releaseSessions); err != nil {
		// An uninstall that does not happen leaves the platform as it was.
		return errors.Join(err, j.scale(context.WithoutCancel(ctx), before))
	}
	return nil
}

// stopOperator scales the operator to zero and waits until its last pod is gone.
// Taking the lease from a living one would stop it only for a while, and not at
// all where leader election is off.
func (j job) stopOperator(ctx context.Context) (before int32, err error) {
	deployment := &appsv1.Deployment{}
	err = j.client.Get(ctx, client.ObjectKey{Namespace: j.options.namespace, Name: j.options.deployment}, deployment)
	if apierrors.IsNotFound(err) {
		return 0, nil // somebody removed it by hand
	}
	if err != nil {
		return 0, fmt.Errorf("read the operator's Deployment: %w", err)
	}
	before = 1
	if deployment.Spec.Replicas != nil {
		before = *deployment.Spec.Replicas
	}
	if before == 0 { // by a try that was killed
		before = int32(j.options.replicas)
	}
	if err := j.scale(ctx, 0); err != nil {
		return before, err
	}
	err = wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		pods := &corev1.PodList{}
		err := j.client.List(ctx, pods, client.InNamespace(j.options.namespace), client.MatchingLabels(deployment.Spec.Selector.MatchLabels))
		return !slices.ContainsFunc(pods.Items, isAlive), err
	})
	if err != nil {
		return before, errors.Join(fmt.Errorf("wait until the operator has stopped: %w", err), j.scale(context.WithoutCancel(ctx), before))
	}
	j.report("the operator has stopped")
	return before, nil
}

// isAlive: evicted pods stay as a record, and act no more.
func isAlive(pod corev1.Pod) bool {
	return pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

func (j job) scale(ctx context.Context, replicas int32) error {
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: j.options.namespace, Name: j.options.deployment}}
	scale := &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: replicas}}
	patch := []byte(fmt.Sprintf(`{"spec":{"replicas":%d}}`, replicas))
	err := j.client.SubResource("scale").Patch(ctx, deployment, client.RawPatch("application/merge-patch+json", patch),
		client.WithSubResourceBody(scale), client.FieldOwner(uninstaller))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("scale the operator to %d: %w", replicas, err)
	}
	return nil
}

// asLeader takes the leader's lease first, so that no operator acts at the same
// time: neither one that a person started by hand nor one cut off from the API
// server, whose lease must run out.
func (j job) asLeader(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	clients, err := kubernetes.NewForConfig(j.cluster)
	if err != nil {
		return fmt.Errorf("build client: %w", err)
	}
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, j.options.namespace, lease,
		clients.CoreV1(), clients.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: uninstaller})
	if err != nil {
		return fmt.Errorf("take the leader's lease: %w", err)
	}
	done := make(chan error, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, ReleaseOnCancel: true, Name: uninstaller,
		LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: time.Second,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { done <- do(ctx); cancel() },
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("take the leader's lease: %w", err)
	}
	elector.Run(ctx)
	select {
	case err := <-done:
		return err
	default:
		return errors.New("the leader's lease was not to be had, or lost: another operator works in this namespace")
	}
}

// releaseSessions takes our finalizer off every session that has it, and nothing else.
func (j job) releaseSessions(ctx context.Context) error {
	for _, namespace := range j.sessionNamespaces() {
		sessions := &vdi.VDISessionList{}
		if err := j.client.List(ctx, sessions, client.InNamespace(namespace)); err != nil {
			return fmt.Errorf("list sessions: %w", err)
		}
		for i := range sessions.Items {
			if err := j.release(ctx, &sessions.Items[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// sessionNamespaces are the ones this operator serves; "" is all of them.
func (j job) sessionNamespaces() []string {
	listed := program.List(j.options.watchNamespaces)
	if len(listed) == 0 {
		return []string{""}
	}
	return listed
}

func (j job) release(ctx context.Context, s *vdi.VDISession) error {
	before := s.DeepCopy()
	if !controllerutil.RemoveFinalizer(s, wire.Finalizer) {
		return nil
	}
	// The lock keeps a finalizer that somebody else adds meanwhile.
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	err := j.client.Patch(ctx, s, patch, client.FieldOwner(uninstaller))
	if apierrors.IsConflict(err) {
		return j.releaseAgain(ctx, s)
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("let go of session %s/%s: %w", s.Namespace, s.Name, err)
	}
	j.report("let go of session %s/%s", s.Namespace, s.Name)
	return nil
}

func (j job) releaseAgain(ctx context.Context, s *vdi.VDISession) error {
	key := client.ObjectKeyFromObject(s)
	if err := j.client.Get(ctx, key, s); err != nil {
		return client.IgnoreNotFound(err)
	}
	return j.release(ctx, s)
}
