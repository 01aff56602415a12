package agent

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/fsnotify/fsnotify"
)

// kubeletData is the link that the kubelet swaps when a mounted Secret or
// ConfigMap changes, so that all its files change at once
// (k8s.io/kubernetes/pkg/volume/util/atomic_writer.go).
const kubeletData = "..data"

// watched is the content of a mounted folder, read again whenever it changes.
// A content that cannot be used is told and the last good one stays.
type watched[T any] struct {
	dir     string
	read    func(fs.FS) (T, error)
	changed func(before, after T)
	log     *slog.Logger
	current atomic.Pointer[T]
	events  *fsnotify.Watcher
}

// watch reads a folder and keeps reading it until close. changed is called
// after each change, one at a time.
func watch[T any](dir string, log *slog.Logger, read func(fs.FS) (T, error), changed func(before, after T)) (*watched[T], error) {
	events, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch folder %q: %w", dir, err)
	}
	w := &watched[T]{dir: dir, read: read, changed: changed, log: log, events: events}
	// The watch comes before the first read: no change falls in between.
	if err := events.Add(dir); err != nil {
		events.Close()
		return nil, fmt.Errorf("watch folder %q: %w", dir, err)
	}
	first, err := w.load()
	if err != nil {
		events.Close()
		return nil, fmt.Errorf("read folder %q: %w", dir, err)
	}
	w.current.Store(&first)
	go w.follow()
	return w, nil
}

// get returns the content as it was read last.
func (w *watched[T]) get() T { return *w.current.Load() }

func (w *watched[T]) close() error { return w.events.Close() }

// follow ends when the watch is closed. An error of the watch means that events
// were lost, so the folder is read again then, too.
func (w *watched[T]) follow() {
	for {
		select {
		case _, open := <-w.events.Events:
			if !open {
				return
			}
		case _, open := <-w.events.Errors:
			if !open {
				return
			}
		}
		w.reload()
	}
}

func (w *watched[T]) reload() {
	after, err := w.load()
	if err != nil {
		w.log.Error("a changed folder cannot be used; what it held before stays", "folder", w.dir, "error", err.Error())
		return
	}
	before := w.current.Swap(&after)
	w.changed(*before, after)
}

// load reads all files of one state of the folder.
func (w *watched[T]) load() (T, error) {
	dir := w.dir
	if data, err := filepath.EvalSymlinks(filepath.Join(dir, kubeletData)); err == nil {
		dir = data
	}
	return w.read(os.DirFS(dir))
}
