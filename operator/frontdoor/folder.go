package frontdoor

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/fsnotify/fsnotify"
)

// kubeletData is the link that the kubelet swaps when a mounted Secret changes,
// so that all its files change at once
// (k8s.io/kubernetes/pkg/volume/util/atomic_writer.go).
const kubeletData = "..data"

// KeyFolder is a folder of keys that is read again whenever it changes. Content
// that cannot be used is told, and the last good one stays.
type KeyFolder struct {
	dir     string
	log     *slog.Logger
	current atomic.Pointer[Keys]
	events  *fsnotify.Watcher
}

// WatchKeys reads a folder of keys, and keeps reading it until Close.
func WatchKeys(dir string, log *slog.Logger) (*KeyFolder, error) {
	events, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch folder %q: %w", dir, err)
	}
	f := &KeyFolder{dir: dir, log: log, events: events}
	// The watch comes before the first read: no change falls in between.
	if err := events.Add(dir); err != nil {
		events.Close()
		return nil, fmt.Errorf("watch folder %q: %w", dir, err)
	}
	keys, err := ReadKeys(f.state())
	if err != nil {
		events.Close()
		return nil, fmt.Errorf("folder %q: %w", dir, err)
	}
	f.current.Store(&keys)
	go f.follow()
	return f, nil
}

// Keys are those that were read last.
func (f *KeyFolder) Keys() Keys { return *f.current.Load() }

// Close ends the watch.
func (f *KeyFolder) Close() error { return f.events.Close() }

// follow ends when the watch is closed. An error of the watch means that events
// were lost, so the folder is read again then, too.
func (f *KeyFolder) follow() {
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

func (f *KeyFolder) reload() {
	keys, err := ReadKeys(f.state())
	if err != nil {
		f.log.Error("the changed keys cannot be used; the ones before stay", "error", err.Error())
		return
	}
	f.current.Store(&keys)
	f.log.Info("the keys were read", "signing", len(keys.signing), "cookies", len(keys.sealing))
}

// state is one state of all files of the folder.
func (f *KeyFolder) state() fs.FS {
	if data, err := filepath.EvalSymlinks(filepath.Join(f.dir, kubeletData)); err == nil {
		return os.DirFS(data)
	}
	return os.DirFS(f.dir)
}
