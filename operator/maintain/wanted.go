package maintain

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

const (
	// labelStatus is where Helm says what it does to a release (pkg/storage/driver/secrets.go),
	// written before it makes the first object of a pre-delete hook (pkg/action/hooks.go).
	labelStatus        = "status"
	statusUninstalling = "uninstalling"
	// annotationRelease is what Helm writes on everything it installs, and `helm template` does not.
	annotationRelease = "meta.helm.sh/release-name"
	// laterRevisions is how many revisions after its own the Job looks at: a rollback brings the
	// hooks back as they were, with the number of the revision that they are of. As many names
	// are in its role (charts/vdi-operator, templates/_rbac.tpl).
	laterRevisions = 20
)

// isWanted reports whether somebody uninstalls the release. What Helm renders is applied by
// other tools, too (kubectl, Kustomize, Flux), which run its hooks like any other Job: there
// nothing may stop. Who runs the command by hand, or through a tool that leaves no release
// behind, says so (--force).
func (j job) isWanted(ctx context.Context) (bool, error) {
	if j.options.force {
		return true, nil
	}
	if j.options.release == "" || j.options.revision < 1 {
		return false, fmt.Errorf("%w: give the release that is uninstalled: --release and --revision, or --force where Helm does not do it", ErrRefused)
	}
	uninstalling, err := j.isUninstalling(ctx)
	if err != nil || uninstalling {
		return uninstalling, err
	}
	ofHelm, err := j.isOfHelm(ctx)
	switch {
	case err != nil:
		return false, err
	case ofHelm:
		return false, fmt.Errorf("%w: Helm has installed the operator, but no Secret %s says that the release is being uninstalled, so nothing was stopped: where Helm keeps its releases elsewhere (HELM_DRIVER, or Flux's storageNamespace), set uninstall.job.force=true and uninstall again",
			ErrRefused, releaseSecret(j.options.release, j.options.revision))
	}
	j.report("nothing is being uninstalled, so everything stays as it is; where a tool other than Helm runs this before a deletion, set uninstall.job.force=true")
	return false, nil
}

// isUninstalling asks Helm's release Secret for its labels. Its content, which holds all the
// values, is not asked for.
func (j job) isUninstalling(ctx context.Context) (bool, error) {
	for revision := j.options.revision; revision <= j.options.revision+laterRevisions; revision++ {
		secret := &metav1.PartialObjectMetadata{}
		secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(wire.KindSecret))
		name := releaseSecret(j.options.release, revision)
		err := j.client.Get(ctx, types.NamespacedName{Namespace: j.options.namespace, Name: name}, secret)
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return false, fmt.Errorf("read the labels of Helm's release Secret %s: %w", name, err)
		case secret.Labels[labelStatus] == statusUninstalling:
			return true, nil
		}
	}
	return false, nil
}

// isOfHelm reports whether Helm itself has installed the operator.
func (j job) isOfHelm(ctx context.Context) (bool, error) {
	deployment := &appsv1.Deployment{}
	err := j.client.Get(ctx, client.ObjectKey{Namespace: j.options.namespace, Name: j.options.deployment}, deployment)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("read the operator's Deployment: %w", err)
	}
	return deployment.Annotations[annotationRelease] != "", nil
}

// releaseSecret is where Helm keeps a revision, unless HELM_DRIVER names another place
// (pkg/storage/storage.go).
func releaseSecret(release string, revision int) string {
	return fmt.Sprintf("sh.helm.release.v1.%s.v%d", release, revision)
}
