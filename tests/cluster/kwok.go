package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/vdi-platform/vdi-platform/tests/cluster/volumes"
)

// MadeUpNodes are nodes without machines: KWOK answers for their kubelets, so
// that thousands of pods become Ready on one real machine. No container runs.
type MadeUpNodes struct {
	Count  int
	Pods   int // that one node takes
	Slices int // of nvidia.com/gpu that one node offers
}

// The users of the parts that play kubelet and storage. They are no members of
// system:masters, so that priority and fairness count them as everybody else.
const (
	kwokUser    = "kwok"
	volumesUser = "volumes"
)

// kwokModule holds the stages that say what a made-up pod does.
const kwokModule = "sigs.k8s.io/kwok"

// kwokSettings are complete: KWOK fills in no default once it is given some.
// They play more pods at once than the four of the default, since KWOK must
// not be what a measurement measures. Nodes have no lease to renew: the
// controller-manager is told to be patient (see [PatientWithNodes]).
const kwokSettings = `apiVersion: config.kwok.x-k8s.io/v1alpha1
kind: KwokConfiguration
options:
  manageAllNodes: true
  podPlayStageParallelism: 16
  nodePlayStageParallelism: 4
  nodeLeaseParallelism: 4
  podsOnNodeSyncParallelism: 4
  nodeLeaseDurationSeconds: 0
  cidr: 10.128.0.0/9
`

// PatientWithNodes keeps the controller-manager from declaring made-up nodes
// dead, which renew nothing.
const PatientWithNodes = "--node-monitor-grace-period=24h"

// StartNodes makes nodes and starts what plays their kubelets. The control
// plane needs its scheduler and [PatientWithNodes].
func (c *ControlPlane) StartNodes(ctx context.Context, nodes MadeUpNodes) error {
	if err := c.plane.repo.build(ctx, os.Stderr, []string{"kwok"}); err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	if err := allowAll(ctx, client, kwokUser); err != nil {
		return err
	}
	if err := c.startKWOK(ctx); err != nil {
		return err
	}
	for i := range nodes.Count {
		if _, err := client.CoreV1().Nodes().Create(ctx, nodes.node(i), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("make node %d: %w", i, err)
		}
	}
	return nil
}

func (c *ControlPlane) startKWOK(ctx context.Context) error {
	settings := filepath.Join(c.plane.dir, "kwok.yaml")
	if err := os.WriteFile(settings, []byte(kwokSettings), 0o644); err != nil {
		return fmt.Errorf("write settings of kwok: %w", err)
	}
	kubeconfig, err := c.UserKubeconfig(kwokUser)
	if err != nil {
		return err
	}
	args := []string{"--kubeconfig=" + kubeconfig, "--config=" + settings}
	for _, stage := range []string{"node/fast/node-initialize.yaml", "pod/fast/pod-ready.yaml", "pod/fast/pod-delete.yaml"} {
		path, err := ModuleFile(ctx, "kwok", kwokModule, filepath.Join("kustomize", "stage", stage))
		if err != nil {
			return err
		}
		args = append(args, "--config="+path)
	}
	_, err = c.StartProgram("kwok", c.plane.repo.bin("kwok"), args, []string{"HOME=" + c.plane.dir})
	return err
}

func (n MadeUpNodes) node(i int) *corev1.Node {
	name := fmt.Sprintf("node-%d", i)
	room := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("4k"),
		corev1.ResourceMemory: resource.MustParse("16Ti"),
		corev1.ResourcePods:   *resource.NewQuantity(int64(n.Pods), resource.DecimalSI),
		"nvidia.com/gpu":      *resource.NewQuantity(int64(n.Slices), resource.DecimalSI),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name, corev1.LabelOSStable: "linux"}},
		Status:     corev1.NodeStatus{Capacity: room, Allocatable: room},
	}
}

// StartVolumes gives the cluster the default storage class of the local cluster
// and a provisioner, which runs in this process until the context ends.
func (c *ControlPlane) StartVolumes(ctx context.Context) error {
	admin, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	if err := allowAll(ctx, admin, volumesUser); err != nil {
		return err
	}
	if _, err := admin.StorageV1().StorageClasses().Create(ctx, standardClass(), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make storage class: %w", err)
	}
	config, err := c.UserConfig(volumesUser)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	go func() { _ = volumes.Run(ctx, client, filepath.Join(c.plane.dir, "volumes")) }()
	return nil
}

// allowAll lets a user do everything, through RBAC and not past it.
func allowAll(ctx context.Context, client kubernetes.Interface, user string) error {
	_, err := client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "harness:" + user},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("allow %s everything: %w", user, err)
	}
	return nil
}

// AllowAll gives a user of [ControlPlane.UserConfig] every permission by RBAC:
// unlike the administrator it is subject to priority and fairness.
func (c *ControlPlane) AllowAll(ctx context.Context, user string) error {
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	return allowAll(ctx, client, user)
}
