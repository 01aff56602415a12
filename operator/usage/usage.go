// Package usage writes down what people's desktops have used, in one VDIUsage per person.
package usage

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/operator/accounting"
	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
)

// Store writes VDIUsages.
type Store struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Live reads from the API server.
	Live client.Reader
	// Owner of the fields it writes.
	Owner client.FieldOwner
	// Kept says by whose calendar, and for how long.
	Kept accounting.Kept
}

// tries are how often a write is made anew that another one came before: two desktops of a
// person may end at once.
const tries = 4

// Add adds a run that is over to what its person has used, unless that was done. The API
// server's own words are returned.
func (s Store) Add(ctx context.Context, user string, run accounting.Run) error {
	name := platform.Identity(user)
	var from client.Reader = s.Client
	var err error
	for range tries {
		u := &vdi.VDIUsage{}
		err = from.Get(ctx, client.ObjectKey{Name: name}, u)
		from = s.Live // after the first try
		isNew := apierrors.IsNotFound(err)
		switch {
		case isNew:
			u.Name, u.Spec.User = name, user
		case err != nil:
			return fmt.Errorf("read what %s has used: %w", name, err)
		}
		u = u.DeepCopy() // the cache's
		if !s.Kept.Record(u, run) {
			return nil
		}
		if isNew {
			err = s.Client.Create(ctx, u, s.Owner)
		} else {
			err = s.Client.Update(ctx, u, s.Owner)
		}
		if err == nil {
			return nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
			break
		}
	}
	return fmt.Errorf("write down what %s has used: %w", name, err)
}

// Fold puts what is old into months, forgets what is older than those that are kept, and whom
// nothing is kept of. What somebody else writes meanwhile is folded by them.
func (s Store) Fold(ctx context.Context, now time.Time) error {
	list := &vdi.VDIUsageList{}
	if err := s.Client.List(ctx, list); err != nil {
		return fmt.Errorf("list what was used: %w", err)
	}
	var problems []error
	for i := range list.Items {
		u := list.Items[i].DeepCopy()
		var err error
		switch {
		case !s.Kept.Fold(u, now):
		case accounting.IsEmpty(u):
			err = s.Client.Delete(ctx, u, client.Preconditions{ResourceVersion: &u.ResourceVersion})
		default:
			err = s.Client.Update(ctx, u, s.Owner)
		}
		if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			problems = append(problems, fmt.Errorf("fold what %s has used: %w", u.Name, err))
		}
	}
	return errors.Join(problems...)
}
