package run

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/vdi-platform/vdi-platform/operator/folder"
)

// followed is what is read of a mounted folder, and signals its changes.
type followed[T any] struct {
	*folder.Folder[T]
	changed chan event.GenericEvent
}

// Changed signals that what was read is another. Changes that nobody has received
// yet are one.
func (f *followed[T]) Changed() <-chan event.GenericEvent { return f.changed }

// mount is a folder that a flag of the operator names.
type mount[T any] struct {
	flag    string // its name
	dir     string // what it says
	missing string // what to say where it says nothing
	read    func(fs.FS) (T, error)
	equal   func(before, after T) bool
}

// follow reads a mounted folder again whenever it changes, until the context ends.
func follow[T any](ctx context.Context, m mount[T]) (*followed[T], error) {
	if m.dir == "" {
		return nil, fmt.Errorf("--%s is empty: %s", m.flag, m.missing)
	}
	log := ctrl.Log.WithName(m.flag)
	changed := make(chan event.GenericEvent, 1)
	found, err := folder.Watch(m.dir, slog.New(logr.ToSlogHandler(log)), m.read, func(before, after T) {
		if m.equal(before, after) {
			return
		}
		log.Info("what is mounted has changed", "folder", m.dir)
		select {
		case changed <- event.GenericEvent{Object: &metav1.PartialObjectMetadata{}}:
		default:
		}
	})
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", m.flag, err)
	}
	context.AfterFunc(ctx, func() { _ = found.Close() })
	return &followed[T]{found, changed}, nil
}
