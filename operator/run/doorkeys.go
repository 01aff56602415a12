package run

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"strings"

	"github.com/vdi-platform/vdi-platform/operator/session"
	"github.com/vdi-platform/vdi-platform/platform"
)

// watchDoorKeys follows the front door's public keys, in a mounted ConfigMap, until
// the context ends; in mode Password there is nothing to follow.
func watchDoorKeys(ctx context.Context, access platform.Access, dir string) (session.DoorKeys, error) {
	if access.Mode != platform.AccessOIDC {
		return nil, nil
	}
	return follow(ctx, mount[map[string]string]{
		flag: "statement-keys-dir", dir: dir,
		missing: fmt.Sprintf("in access mode %s give the folder where the ConfigMap vdi-frontdoor-public-keys is mounted", access.Mode),
		read:    readDoorKeys, equal: maps.Equal[map[string]string, map[string]string],
	})
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
