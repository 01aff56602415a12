package run

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"strings"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/vdi-platform/vdi-platform/operator/folder"
	"github.com/vdi-platform/vdi-platform/operator/session"
	"github.com/vdi-platform/vdi-platform/platform"
)

// doorKeys are the front door's public keys, in a mounted ConfigMap.
type doorKeys struct {
	*folder.Folder[map[string]string]
	changed chan event.GenericEvent
}

// Changed says when the keys are others.
func (k *doorKeys) Changed() <-chan event.GenericEvent { return k.changed }

// watchDoorKeys follows the front door's keys until the context ends; in mode
// Password there is nothing to follow.
func watchDoorKeys(ctx context.Context, access platform.Access, dir string) (session.DoorKeys, error) {
	if access.Mode != platform.AccessOIDC {
		return nil, nil
	}
	if dir == "" {
		return nil, fmt.Errorf("--statement-keys-dir is empty: in access mode %s give the folder where the ConfigMap vdi-frontdoor-public-keys is mounted", access.Mode)
	}
	k := &doorKeys{changed: make(chan event.GenericEvent, 1)}
	found, err := folder.Watch(dir, slog.New(logr.ToSlogHandler(ctrl.Log.WithName("door-keys"))), readDoorKeys, k.tell)
	if err != nil {
		return nil, fmt.Errorf("--statement-keys-dir: %w", err)
	}
	k.Folder = found
	context.AfterFunc(ctx, func() { _ = found.Close() })
	return k, nil
}

// tell never waits: changes that nobody has looked at yet are looked at once.
func (k *doorKeys) tell(before, after map[string]string) {
	if maps.Equal(before, after) {
		return
	}
	ctrl.Log.WithName("door-keys").Info("the front door's keys have changed", "keys", len(after))
	select {
	case k.changed <- event.GenericEvent{Object: &metav1.PartialObjectMetadata{}}:
	default:
	}
}

// readDoorKeys reads file name to PEM. There may be none yet: the front door
// tells them after its start. Hidden files are the kubelet's own.
func readDoorKeys(dir fs.FS) (map[string]string, error) {
	files, err := fs.ReadDir(dir, ".")
	if err != nil {
		return nil, err
	}
	keys := map[string]string{}
	for _, file := range files {
		if strings.HasPrefix(file.Name(), ".") {
			continue
		}
		content, err := fs.ReadFile(dir, file.Name())
		if err != nil {
			return nil, err
		}
		if _, err := platform.ParseStatementKey(content); err != nil {
			return nil, fmt.Errorf("statement key %q: %w", file.Name(), err)
		}
		keys[file.Name()] = string(content)
	}
	return keys, nil
}
