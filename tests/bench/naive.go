package bench

import (
	"context"
	"fmt"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/tests/scale"
)

const (
	naiveNamespace = "naive-system"
	naiveAccount   = "naive"
	naivePackage   = "./bench/naive" // of the module tests
)

// naive is the operator that the first tutorial builds: it gets or creates each
// child, writes the status at every pass, and comes back every 30 seconds. Its
// reads are cached, its clients unthrottled and its renderer is ours.
func naive() contender {
	return contender{
		name: Naive, settings: "controller-runtime v0.25.2: 8 workers, unthrottled, cached reads; requeue 30 s, status written at every pass",
		users: []string{"system:serviceaccount:" + naiveNamespace + ":" + naiveAccount}, asked: "vdisessions", controller: "vdisession",
		install: installNaive, start: startNaive, ask: askSession, done: sessionsDone, is: sessionRuns, pod: samePod,
	}
}

func installNaive(ctx context.Context, b *bed) error {
	for _, o := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: naiveNamespace}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: naiveAccount, Namespace: naiveNamespace}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: naiveAccount},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: naiveAccount, Namespace: naiveNamespace}},
		},
	} {
		if err := b.Driver.Create(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

func startNaive(ctx context.Context, b *bed) (*scale.Replica, error) {
	kubeconfig, err := b.TokenKubeconfig(ctx, b.dir, naiveNamespace, naiveAccount)
	if err != nil {
		return nil, err
	}
	program, err := b.Build(ctx, "tests", b.dir, naivePackage)
	if err != nil {
		return nil, err
	}
	return b.StartReplica(naiveAccount, program, []string{
		"--settings=" + filepath.Join(b.dir, "config.yaml"), // the operator's own
		"--namespace=" + naiveNamespace, fmt.Sprintf("--workers=%d", workers),
	}, []string{"KUBECONFIG=" + kubeconfig})
}
