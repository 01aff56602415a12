package session

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
)

// errOutdated ends a pass that knows its session as it no longer is. What is known
// otherwise is not worth reporting either; the cache will come up with the rest.
var errOutdated = errors.New("the cache is behind the API server")

// confirm makes sure, once in a pass, that the session is what the cache shows, before
// something of it is taken away: caches may be late, and after a restore of the API
// server each of them takes up in its own time. A pass that has written the session
// knows it.
func (r *Reconciler) confirm(ctx context.Context, p *plan.Pass) error {
	if p.Confirmed || len(p.Replaced) > 0 {
		return nil
	}
	if _, err := r.current(ctx, p); err != nil {
		logf.FromContext(ctx).Info("nothing is taken away yet", "because", err.Error())
		return err
	}
	p.Confirmed = true
	return nil
}

// current is the session as the API server has it, if that is what the pass builds on.
func (r *Reconciler) current(ctx context.Context, p *plan.Pass) (*vdi.VDISession, error) {
	s := &vdi.VDISession{}
	err := r.Live.Get(ctx, client.ObjectKeyFromObject(p.Session), s)
	switch {
	case apierrors.IsNotFound(err):
		return nil, errOutdated
	case err != nil:
		return nil, fmt.Errorf("make sure of the session: %w", err)
	case s.UID == p.Session.UID && s.ResourceVersion == p.Session.ResourceVersion:
		return s, nil // the same, also where another definition gives it other defaults
	case s.UID != p.Session.UID || (s.DeletionTimestamp == nil) != (p.Session.DeletionTimestamp == nil) || !equality.Semantic.DeepEqual(s.Spec, p.Session.Spec):
		return nil, errOutdated
	default:
		return s, nil
	}
}
