// Package folder follows a mounted Secret or ConfigMap: its files are read again
// whenever the kubelet changes them.
package folder

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

// Folder is the content of a mounted folder, read again whenever it changes.
// Content that cannot be used is logged and the last good one stays.
type Folder[T any] struct {
	dir     string
	read    func(fs.FS) (T, error)
	changed func(before, after T)
	log     *slog.Logger
	current atomic.Pointer[T]
	events  *fsnotify.Watcher
}

// Watch reads a folder and keeps reading it until Close. changed is called after
// each change, one at a time.
func Watch[T any](dir string, log *slog.Logger, read func(fs.FS) (T, error), changed func(before, after T)) (*Folder[T], error) {
	events, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch folder %q: %w", dir, err)
	}
	f := &Folder[T]{dir: dir, read: read, changed: changed, log: log, events: events}
	// The watch comes before the first read: no change falls in between.
	if err := events.Add(dir); err != nil {
		events.Close()
		return nil, fmt.Errorf("watch folder %q: %w", dir, err)
	}
	first, err := f.load()
	if err != nil {
		events.Close()
		return nil, fmt.Errorf("read folder %q: %w", dir, err)
	}
	f.current.Store(&first)
	go f.follow()
	return f, nil
}

// Get returns the content as it was read last.
func (f *Folder[T]) Get() T { return *f.current.Load() }

// Close ends the watch.
func (f *Folder[T]) Close() error { return f.events.Close() }

// follow ends when the watch is closed. An error of the watch means that events
// were lost, so the folder is read again then, too.
func (f *Folder[T]) follow() {
	for {
		select {
		case _, open := <-f.events.Events:
			if !open {
				return
			}
		case _, open := <-f.events.Errors:
			if !open {
				return
			}
		}
		f.reload()
	}
}

func (f *Folder[T]) reload() {
	after, err := f.load()
	if err != nil {
		f.log.Error("a changed folder cannot be used; what it held before stays", "folder", f.dir, "error", err.Error())
		return
	}
	before := f.current.Swap(&after)
	f.changed(*before, after)
}

// load reads all files of one state of the folder. The kubelet removes a state as soon as
// there is another, also while it is read.
func (f *Folder[T]) load() (T, error) {
	for {
		dir := f.state()
		content, err := f.read(os.DirFS(dir))
		if dir == f.state() {
			return content, err
		}
	}
}

// state is where the folder's files are now.
func (f *Folder[T]) state() string {
	if data, err := filepath.EvalSymlinks(filepath.Join(f.dir, kubeletData)); err == nil {
		return data
	}
	return f.dir
}
