package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Step is one measurement: it starts a control plane of its own, so that no
// step inherits another's objects, caches or compaction, and may be run again alone.
type Step struct {
	Contender string `json:"contender"`
	Scenario  string `json:"scenario"`
	Sessions  int    `json:"sessions"`
	Repeat    int    `json:"repeat"` // from 1
}

func (s Step) String() string {
	return fmt.Sprintf("%s-%s-%d-%d", s.Scenario, s.Contender, s.Sessions, s.Repeat)
}

// Result is what a step measured. Values are named with their units.
type Result struct {
	Step     Step               `json:"step"`
	Settings string             `json:"settings"`
	Started  time.Time          `json:"started"`
	Seconds  float64            `json:"seconds"` // the whole step took
	Cores    int                `json:"cores"`
	Load     string             `json:"load"` // average when it started: a busy machine measures badly
	Values   map[string]float64 `json:"values"`
	Requests map[string]int     `json:"requests,omitempty"` // of contender and client, by verb and resource
}

// Store keeps results in a folder, one JSON file per step, so that a run that
// was interrupted goes on where it was.
type Store struct{ Dir string }

func (s Store) path(step Step) string { return filepath.Join(s.Dir, step.String()+".json") }

// Find returns the result of a step that was finished before.
func (s Store) Find(step Step) (r Result, found bool, err error) {
	text, err := os.ReadFile(s.path(step))
	if errors.Is(err, fs.ErrNotExist) {
		return r, false, nil
	}
	if err != nil {
		return r, false, fmt.Errorf("read result: %w", err)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, false, fmt.Errorf("read result %s (remove the file to measure again): %w", s.path(step), err)
	}
	return r, true, nil
}

// Save writes a result at once: a half-written file never counts as finished.
func (s Store) Save(r Result) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	half := s.path(r.Step) + ".half"
	if err := os.WriteFile(half, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return os.Rename(half, s.path(r.Step))
}

// All are the results of all finished steps, in no order.
func (s Store) All() ([]Result, error) {
	files, err := filepath.Glob(filepath.Join(s.Dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var all []Result
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read result: %w", err)
		}
		var r Result
		if err := json.Unmarshal(text, &r); err != nil {
			return nil, fmt.Errorf("read result %s: %w", file, err)
		}
		all = append(all, r)
	}
	return all, nil
}
