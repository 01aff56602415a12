package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"
)

const (
	// Database is where govulncheck looks by itself.
	Database = "https://vuln.go.dev"
	// databaseModule holds the same, as files. The module proxy may be reached where the
	// database is not, and what comes from it is verified by the checksum database.
	databaseModule = "golang.org/x/vulndb@latest"
)

// ErrHole is what [Search.Run] fails with where govulncheck has found something; any other
// error is of a search that came to no end.
var ErrHole = errors.New("govulncheck found a known hole; see above")

// exitFound is govulncheck's exit code in that case.
const exitFound = 3

// reachedWithin is how long a database may take to answer that is there.
const reachedWithin = 10 * time.Second

// Search is a look for known holes.
type Search struct {
	// Govulncheck is the program.
	Govulncheck string
	// Folder of the module that is looked at, by the toolchain that its go.mod names.
	Folder string
	// Database to look in; empty: [Database], else its module.
	Database string
	// Say gets what is found, and that nobody has looked.
	Say io.Writer
}

// Run fails where something is found that concerns us. Where no database can be reached, it
// says so and does not fail: who builds without the internet is not to be stopped, nor left
// in the belief that somebody has looked.
func (s Search) Run(ctx context.Context, args ...string) error {
	copied, err := os.MkdirTemp("", "vdi-vulndb-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(copied)
	database, err := s.database(ctx, copied)
	if err != nil {
		fmt.Fprintf(s.Say, "govulncheck did NOT look for known holes: no database can be reached from here (%v). Run this where one can, or set GOVULNDB to the address of a copy.\n", err)
		return nil
	}
	run := exec.CommandContext(ctx, s.Govulncheck, append([]string{"-db", database}, args...)...)
	run.Dir, run.Stdout, run.Stderr = s.Folder, s.Say, s.Say
	run.Env = append(os.Environ(), s.toolchain(ctx)...)
	err = run.Run()
	if run.ProcessState != nil && run.ProcessState.ExitCode() == exitFound {
		return ErrHole
	}
	if err != nil {
		return fmt.Errorf("govulncheck failed, and nobody has looked for known holes: %w", err)
	}
	return nil
}

// database is the address of one that is there.
func (s Search) database(ctx context.Context, copied string) (string, error) {
	if s.Database != "" {
		return s.Database, reach(ctx, s.Database)
	}
	errAddress := reach(ctx, Database)
	if errAddress == nil {
		return Database, nil
	}
	download := exec.CommandContext(ctx, "go", "mod", "download", "-json", databaseModule)
	download.Dir = copied
	out, err := download.Output()
	var module struct{ Dir, Version string }
	if err == nil {
		err = json.Unmarshal(out, &module)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("%s: %w", Database, errAddress), fmt.Errorf("module %s: %w", databaseModule, err))
	}
	fmt.Fprintf(s.Say, "%s cannot be reached: looking in module golang.org/x/vulndb %s\n", Database, module.Version)
	return "file://" + copied, Index(filepath.Join(module.Dir, "data", "osv"), copied)
}

var toolchainLine = regexp.MustCompile(`(?m)^toolchain (\S+)$`)

// toolchain makes the go command one that can be had: whether there are holes in the
// standard library depends on what a release is built with, not on what is installed here.
func (s Search) toolchain(ctx context.Context) []string {
	text, err := os.ReadFile(filepath.Join(s.Folder, "go.mod"))
	named := toolchainLine.FindSubmatch(text)
	if err != nil || named == nil {
		return nil
	}
	env := []string{"GOTOOLCHAIN=" + string(named[1])}
	try := exec.CommandContext(ctx, "go", "version")
	try.Env = append(os.Environ(), env...)
	if err := try.Run(); err != nil {
		fmt.Fprintf(s.Say, "%s cannot be fetched: looking at the standard library of the Go that is installed\n", named[1])
		return nil
	}
	return env
}

// modulesIndex is the first thing that govulncheck reads (go.dev/doc/security/vuln/database).
const modulesIndex = "index/modules.json"

func reach(ctx context.Context, database string) error {
	address, err := url.Parse(database)
	if err != nil {
		return err
	}
	if address.Scheme == "file" {
		_, err := os.Stat(filepath.Join(address.Path, modulesIndex))
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, reachedWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, address.JoinPath(modulesIndex).String(), nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	return nil
}

// advisory is what the database's index says of an entry in OSV's format.
type advisory struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Affected []struct {
		Package struct {
			Name string `json:"name"`
		} `json:"package"`
	} `json:"affected"`
}

// indexed is a line of the index of modules.
type indexed struct {
	Path  string     `json:"path"`
	Vulns []advisory `json:"vulns"`
}

// Index makes a database that govulncheck can read out of a folder of entries.
func Index(entries, to string) error {
	files, err := filepath.Glob(filepath.Join(entries, "*.json"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no entries in %s (%w)", entries, err)
	}
	if err := errors.Join(os.MkdirAll(filepath.Join(to, "ID"), 0o755), os.MkdirAll(filepath.Join(to, "index"), 0o755)); err != nil {
		return err
	}
	modules, latest := map[string]*indexed{}, time.Time{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var a advisory
		if err := json.Unmarshal(text, &a); err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		if err := os.WriteFile(filepath.Join(to, "ID", a.ID+".json"), text, 0o644); err != nil {
			return err
		}
		if a.Modified.After(latest) {
			latest = a.Modified
		}
		a.addTo(modules)
	}
	list := make([]*indexed, 0, len(modules))
	for _, m := range modules {
		list = append(list, m)
	}
	return errors.Join(
		write(filepath.Join(to, modulesIndex), list),
		write(filepath.Join(to, "index", "db.json"), map[string]time.Time{"modified": latest}),
	)
}

func (a advisory) addTo(modules map[string]*indexed) {
	named := advisory{ID: a.ID, Modified: a.Modified}
	for _, affected := range a.Affected {
		path := affected.Package.Name
		if modules[path] == nil {
			modules[path] = &indexed{Path: path}
		}
		if known := modules[path].Vulns; len(known) == 0 || known[len(known)-1].ID != a.ID {
			modules[path].Vulns = append(known, named)
		}
	}
}

func write(file string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}
