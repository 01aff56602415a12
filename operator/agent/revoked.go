package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	// maxRevoked is how many ended logins are remembered one by one.
	maxRevoked = 16
	// fileRevoked is where they are kept, below --state-dir.
	fileRevoked    = "ended-logins.json"
	maxRevokedFile = 4 << 10 // bytes; maxRevoked of them need less than 1 KiB
	revokedVersion = 1
)

// revoked remembers logins that were ended before their time, as long as their
// cookies would hold. Where there are many, all that began until then are ended: a
// program that logs in and out must not fill the agent.
type revoked struct {
	now func() time.Time
	dir string // outlives the agent's container; "": nothing does

	mu  sync.Mutex
	ids map[string]time.Time // → end of the cookie
	// all cookies that end then or earlier have ended. They hold equally long.
	all     time.Time
	changes int

	writing sync.Mutex
	saved   int // of changes, in the folder
}

// revokedFile is the list in the folder, in milliseconds since 1970.
type revokedFile struct {
	Version int              `json:"version"`
	All     int64            `json:"all"`
	IDs     map[string]int64 `json:"ids"`
}

func newRevoked(now func() time.Time, dir string) *revoked {
	return &revoked{now: now, dir: dir, ids: map[string]time.Time{}}
}

// load takes over what an earlier container of this pod has left. Where that cannot
// be read, all logins of before have ended, which hold for no longer than age, and
// the error says why.
func (v *revoked) load(age time.Duration) error {
	if v.dir == "" {
		return nil
	}
	file, err := readRevoked(filepath.Join(v.dir, fileRevoked))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nobody has logged out in this pod
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		v.all = v.now().Add(age).Truncate(time.Millisecond)
		v.changes++
		return err
	}
	v.all = time.UnixMilli(file.All)
	for id, expires := range file.IDs {
		v.ids[id] = time.UnixMilli(expires)
	}
	return nil
}

func readRevoked(path string) (list revokedFile, err error) {
	file, err := os.Open(path)
	if err != nil {
		return list, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxRevokedFile+1))
	if err != nil {
		return list, err
	}
	if len(data) > maxRevokedFile {
		return list, fmt.Errorf("%s has more than %d bytes", path, maxRevokedFile)
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return list, fmt.Errorf("%s is damaged: %w", path, err)
	}
	if list.Version != revokedVersion || len(list.IDs) > maxRevoked {
		return list, fmt.Errorf("%s has version %d and %d entries; known are version %d and at most %d", path, list.Version, len(list.IDs), revokedVersion, maxRevoked)
	}
	return list, nil
}

// revoke ends a login. It is forgotten when the agent's container starts again, unless it
// is kept.
func (v *revoked) revoke(c cookie) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.changes++
	v.ids[c.id] = c.expires
	last := v.all
	for id, expires := range v.ids {
		if !v.now().Before(expires) {
			delete(v.ids, id)
		}
		if expires.After(last) {
			last = expires
		}
	}
	if len(v.ids) > maxRevoked {
		v.all = last
		clear(v.ids)
	}
}

// save writes the list where it outlives the container. Nobody who comes in waits for
// it, and one write may be for several logouts.
func (v *revoked) save() error {
	if v.dir == "" {
		return nil
	}
	v.mu.Lock()
	mine := v.changes
	v.mu.Unlock()
	v.writing.Lock()
	defer v.writing.Unlock()
	if v.saved >= mine {
		return nil
	}
	data, latest, err := v.encode()
	if err == nil {
		err = replaceFile(v.dir, fileRevoked, data)
	}
	if err == nil {
		v.saved = latest
	}
	return err
}

func (v *revoked) encode() (data []byte, latest int, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	list := revokedFile{Version: revokedVersion, All: max(0, v.all.UnixMilli()), IDs: map[string]int64{}}
	for id, expires := range v.ids {
		list.IDs[id] = expires.UnixMilli()
	}
	data, err = json.Marshal(list)
	return data, v.changes, err
}

// replaceFile writes a file of a folder so that whoever reads it finds the old content
// or the new one, also after the node lost its power.
func replaceFile(dir, name string, content []byte) error {
	draft := filepath.Join(dir, "."+name)
	if err := writeFile(draft, content); err != nil {
		return err
	}
	if err := os.Rename(draft, filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncFile(os.Open(dir))
}

func writeFile(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := file.Write(content); err != nil {
		return errors.Join(err, file.Close())
	}
	return syncFile(file, nil)
}

func syncFile(file *os.File, err error) error {
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

func (v *revoked) contains(c cookie) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, found := v.ids[c.id]
	return found || !c.expires.After(v.all)
}

// nextExpiry is the end of a cookie that is made now and holds for a while.
func (v *revoked) nextExpiry(age time.Duration) time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	end := v.now().Add(age).Truncate(time.Millisecond)
	if !end.After(v.all) { // it begins behind those that have ended
		end = v.all.Add(time.Millisecond)
	}
	return end
}
