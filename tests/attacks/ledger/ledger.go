// Package ledger counts attacks. A test named TestA06… makes each attack of its
// ID twice: without the guard, where it must work, or it would prove nothing, and
// with it, where it must fail. What came of them is printed as a table when the
// tests end, and added to the file that FileVariable names, so that the attacks of
// several test programs make one sum.
package ledger

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"
)

// FileVariable names a file to which every test program adds its entries, one
// JSON object a line.
const FileVariable = "VDI_ATTACKS_LEDGER"

// Stage is where an attack was stopped.
type Stage string

// Stages, from the earliest to the latest.
const (
	// Design: there is nothing to attack; the value is not the attacker's to choose.
	Design Stage = "design"
	// Build: the build, or what is looked at before a release, refused.
	Build Stage = "build"
	// Admission: the API server refused the write.
	Admission Stage = "admission"
	// Operator: the operator or its renderer refused, and made nothing.
	Operator Stage = "operator"
	// Runtime: proxy, agent, relay or network refused.
	Runtime Stage = "runtime"
)

// Outcome is what came of one attempt. The zero value means that the attack worked.
type Outcome struct {
	// Stage that stopped the attack, "" when it worked.
	Stage Stage
	// Words of who stopped it.
	Words string
}

// Worked means that the attacker got what they wanted.
func Worked() Outcome { return Outcome{} }

// Blocked means that the attacker got nothing; words say why.
func Blocked(stage Stage, words string) Outcome { return Outcome{stage, words} }

// Judge is Worked when the harm was done, else Blocked.
func Judge(harm bool, stage Stage, words string) Outcome {
	if harm {
		return Worked()
	}
	return Blocked(stage, words)
}

// Attempt makes an attack once.
type Attempt func(t *testing.T) Outcome

// Entry is one attack in the ledger.
type Entry struct {
	ID      string `json:"id"`   // A06
	Name    string `json:"name"` // of the attack
	Blocked bool   `json:"blocked"`
	Stage   Stage  `json:"stage,omitempty"`
	Words   string `json:"words,omitempty"`
	// Took is from the attempt's begin to its refusal, in nanoseconds.
	Took time.Duration `json:"took"`
}

var (
	mu      sync.Mutex
	entries []Entry
	idOf    = regexp.MustCompile(`^TestA(\d\d)`)
)

// Try makes an attack without and then with its guard, and notes what came of it
// under the ID in the test's name.
func Try(t *testing.T, name string, without, with Attempt) {
	t.Helper()
	id := idIn(t)
	t.Run(name, func(t *testing.T) { try(t, id, name, without, with) })
}

// TryAlongside is Try for attacks that may be made while others are.
func TryAlongside(t *testing.T, name string, without, with Attempt) {
	t.Helper()
	id := idIn(t)
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		try(t, id, name, without, with)
	})
}

func idIn(t *testing.T) string {
	t.Helper()
	id := idOf.FindStringSubmatch(t.Name())
	if id == nil {
		t.Fatalf("attacks are made by tests named TestA01… to TestA44…, not %s", t.Name())
	}
	return "A" + id[1]
}

func try(t *testing.T, id, name string, without, with Attempt) {
	t.Helper()
	if got := without(t); got.Stage != "" || t.Failed() {
		t.Errorf("the attack fails without the guard too (%s: %s): it proves nothing", got.Stage, got.Words)
		return
	}
	e, began := Entry{ID: id, Name: name}, time.Now()
	defer func() { // also when the attempt ended the test
		e.Blocked = e.Stage != "" && !t.Failed()
		note(e)
	}()
	got := with(t)
	e.Stage, e.Words, e.Took = got.Stage, got.Words, time.Since(began)
	if e.Stage == "" {
		t.Error("the attack works in spite of the guard")
	}
}

func note(e Entry) {
	mu.Lock()
	defer mu.Unlock()
	entries = append(entries, e)
}

// Main runs a test program's tests, prints the table of its attacks and adds them
// to the common file. It returns the exit code.
func Main(m *testing.M) int {
	code := m.Run()
	mu.Lock()
	defer mu.Unlock()
	Print(os.Stdout, entries)
	if err := add(os.Getenv(FileVariable), entries); err != nil {
		fmt.Fprintln(os.Stderr, "ledger of attacks:", err)
		return 1
	}
	return code
}

func add(path string, entries []Entry) error {
	if path == "" {
		return nil
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := json.NewEncoder(file)
	for _, e := range entries {
		if err := lines.Encode(e); err != nil {
			return err
		}
	}
	return file.Close()
}

// Read returns the entries of a file that test programs added to.
func Read(from io.Reader) (all []Entry, err error) {
	for lines := json.NewDecoder(from); lines.More(); {
		var e Entry
		if err := lines.Decode(&e); err != nil {
			return nil, fmt.Errorf("read ledger of attacks: %w", err)
		}
		all = append(all, e)
	}
	return all, nil
}

// Print writes a line per ID and the sum "blocked/total". It writes nothing
// without entries.
func Print(to io.Writer, entries []Entry) {
	if len(entries) == 0 {
		return
	}
	byID := map[string][]Entry{}
	for _, e := range entries {
		byID[e.ID] = append(byID[e.ID], e)
	}
	rows := make([]row, 0, len(byID))
	for id, list := range byID {
		rows = append(rows, sum(id, list))
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.id, b.id) })
	fmt.Fprintf(to, "attack  blocked/total  by design  build  admission  operator  runtime  slowest\n")
	for _, r := range append(rows, sum("all", entries)) {
		fmt.Fprintf(to, "%-6s  %7d/%-5d  %9d  %5d  %9d  %8d  %7d  %s\n", r.id, r.blocked, r.total,
			r.at[Design], r.at[Build], r.at[Admission], r.at[Operator], r.at[Runtime], r.slowest.Round(time.Microsecond))
	}
	all := sum("all", entries)
	fmt.Fprintf(to, "attacks blocked/total: %d/%d\n", all.blocked, all.total)
}

// row sums up some attacks.
type row struct {
	id             string
	blocked, total int
	at             map[Stage]int
	slowest        time.Duration
}

func sum(id string, entries []Entry) row {
	r := row{id: id, total: len(entries), at: map[Stage]int{}}
	for _, e := range entries {
		if e.Blocked {
			r.blocked++
			r.at[e.Stage]++
		}
		r.slowest = max(r.slowest, e.Took)
	}
	return r
}
