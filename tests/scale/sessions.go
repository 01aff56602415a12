package scale

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// Writers is how many sessions are written at the same time.
const Writers = 8

// TemplateName is the one template of all sessions.
const TemplateName = "desktop"

// Template is what all sessions are made from: one slice of a GPU, small enough
// that slices and pods per node are what fills up.
func Template() *vdi.VDITemplate {
	return &vdi.VDITemplate{
		ObjectMeta: metav1.ObjectMeta{Name: TemplateName},
		Spec: vdi.VDITemplateSpec{
			Image: "registry.example.com/desktop:1",
			// Where all end in one second, the end is measured and not its warning.
			Lifecycle: vdi.TemplateLifecycle{WarnBefore: "0"},
		},
	}
}

// Session is the i-th of the measured sessions, spread over namespaces.
func Session(i int, namespaces []string) *vdi.VDISession {
	return &vdi.VDISession{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("desk-%d", i), Namespace: namespaces[i%len(namespaces)]},
		Spec: vdi.VDISessionSpec{
			User: fmt.Sprintf("user-%d@example.com", i), Template: TemplateName, Timeout: "8h",
		},
	}
}

// Each calls do for 0 … n-1, [Writers] at the same time, until one fails.
func Each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(Writers)
	for i := range n {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

// WaitSessions returns when n sessions of all namespaces fulfil a condition. It
// watches: nothing is asked while nothing changes.
func (r *Rig) WaitSessions(ctx context.Context, n int, limit time.Duration, holds func(*vdi.VDISession) bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	list := &vdi.VDISessionList{}
	if err := r.Driver.List(ctx, list); err != nil {
		return err
	}
	good := map[client.ObjectKey]bool{}
	look := func(s *vdi.VDISession) {
		if key := client.ObjectKeyFromObject(s); holds(s) {
			good[key] = true
		} else {
			delete(good, key)
		}
	}
	for i := range list.Items {
		look(&list.Items[i])
	}
	events, err := r.Driver.Watch(ctx, &vdi.VDISessionList{}, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.ResourceVersion}})
	if err != nil {
		return err
	}
	defer events.Stop()
	for len(good) < n {
		select {
		case event, open := <-events.ResultChan():
			s, is := event.Object.(*vdi.VDISession)
			if !open || !is {
				return fmt.Errorf("wait for %d sessions: the watch ended with %d: %v", n, len(good), context.Cause(ctx))
			}
			look(s)
		case <-ctx.Done():
			return fmt.Errorf("wait for %d sessions: only %d within %s: %w", n, len(good), limit, context.Cause(ctx))
		}
	}
	return nil
}

// IsRunning is for [Rig.WaitSessions].
func IsRunning(s *vdi.VDISession) bool { return s.Status.Phase == vdi.PhaseRunning }
