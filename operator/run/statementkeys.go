package run

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"strings"

	"github.com/vdi-platform/vdi-platform/operator/session"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// watchStatementKeys follows the front door's statement keys, in a mounted ConfigMap, until
// the context ends; in mode Password there is nothing to follow.
func watchStatementKeys(ctx context.Context, access platform.Access, dir string) (session.StatementKeys, error) {
	if !access.Mode.LogsIn() {
		return nil, nil
	}
	return follow(ctx, mount[map[string]string]{
		flag: "statement-keys-dir", dir: dir,
		missing: fmt.Sprintf("in access mode %s give the folder where the ConfigMap %s is mounted", access.Mode, wire.StatementKeysConfigMap),
		read:    readStatementKeys, equal: maps.Equal[map[string]string, map[string]string],
	})
}

// readStatementKeys reads file name to PEM. There may be none yet: the front door
// publishes them after its start. Hidden files are the kubelet's own.
func readStatementKeys(dir fs.FS) (map[string]string, error) {
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
