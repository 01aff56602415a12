package session

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/secrets"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// adoptOrphans gives what lost its owner back to the session, once the garbage
// collector is done: it takes all of it when the session goes. The operator itself may
// not delete most of these kinds. Caches may not show yet that it was at work, so the
// Secret is asked for, which every session owns that was started; without one, all is.
func (e *executor) adoptOrphans(ctx context.Context, p *plan.Pass) error {
	secret := secrets.Metadata(renderer.CredentialsName(p.Session.Name))
	if _, err := e.findOrphan(ctx, p.Session, secret); err != nil {
		return err
	}
	if metav1.IsControlledBy(secret, p.Session) && len(p.Seen.Which(func(o *unstructured.Unstructured) bool { return plan.IsOrphan(p.Session, o) })) == 0 {
		return nil
	}
	if err := e.removeOrphanedPod(ctx, p); err != nil {
		return err
	}
	all, err := e.ask.children(p.Session.Name)
	if err != nil {
		return fmt.Errorf("look for orphans: %w", err)
	}
	all = append(all, secrets.Metadata(renderer.TURNLoginName(p.Session.Name)))
	for _, o := range append(all, secret) { // it is by the Secret that the next pass sees that some are left
		if err := e.adoptOrphan(ctx, p.Session, o); err != nil {
			return err
		}
	}
	return nil
}

// removeOrphanedPod ends a desktop that has no owner any more and that the cache does not
// show.
func (e *executor) removeOrphanedPod(ctx context.Context, p *plan.Pass) error {
	pod := objects.Metadata(corev1.SchemeGroupVersion.WithKind(wire.KindPod), p.Session.Name)
	lost, err := e.findOrphan(ctx, p.Session, pod)
	if err != nil || !lost {
		return err
	}
	if err := e.objects.Remove(ctx, pod); err != nil {
		return err
	}
	return plan.ShuttingDown(verdict.OwnerGoneRetry)
}

// findOrphan reads an object and reports whether it is an orphan of the session.
func (e *executor) findOrphan(ctx context.Context, s *vdi.VDISession, o *metav1.PartialObjectMetadata) (bool, error) {
	there, err := e.ask.readLive(ctx, s, o)
	return there && plan.IsOrphan(s, o), err
}

func (e *executor) adoptOrphan(ctx context.Context, s *vdi.VDISession, o *metav1.PartialObjectMetadata) error {
	lost, err := e.findOrphan(ctx, s, o)
	if err != nil || !lost || o.DeletionTimestamp != nil {
		return err
	}
	if o.Kind == wire.KindSecret { // nobody logs in any more: nothing of what it held is needed
		return e.secrets.Replace(ctx, secrets.VersionOf(o), secrets.GivenBack(secrets.Blank(s, o.Name)))
	}
	return e.objects.Adopt(ctx, s.OwnerReference(), o)
}
