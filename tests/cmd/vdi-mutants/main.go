// Command vdi-mutants takes the operator's guards away, one at a time, and looks whether
// the simulated lives notice. A guard is a condition of an if or of a switch without a
// tag; taken away, it is never true. All are in one build, made with an overlay that
// changes no file, and are chosen by number.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// variable of the environment that chooses a guard; 0: none.
const variable = "VDI_MUTANT"

var (
	packages = flag.String("packages", "operator/session,operator/session/plan,operator/homes,operator/homes/kept", "folders of the packages whose guards are taken away, from the repository's root")
	cases    = flag.Int("cases", 150, "cases that are lived without each guard")
	only     = flag.Int("only", 0, "the one guard to take away")
	matrix   = flag.Bool("matrix", false, "also go through the matrix, which takes a minute for each guard that is not noticed before")
	list     = flag.Bool("list", false, "list the guards, and run nothing")
	patience = flag.Duration("timeout", 5*time.Minute, "time for one guard; who does not come to rest is noticed too")
)

// guard is one condition.
type guard struct {
	number   int
	at       token.Position
	from, to int // offsets in its file
	text     string
}

func main() {
	flag.Parse()
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	work, err := os.MkdirTemp("", "vdi-mutants")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }()
	guards, overlay, err := instrument(work, strings.Split(*packages, ","))
	if err != nil {
		return err
	}
	if *list {
		for _, g := range guards {
			fmt.Println(g)
		}
		return nil
	}
	program, err := build(ctx, work, overlay)
	if err != nil {
		return err
	}
	if noticed, words := live(ctx, program, 0); noticed {
		return fmt.Errorf("the lives go wrong with all guards in place:\n%s", words)
	}
	if *only != 0 {
		guards = slices.DeleteFunc(guards, func(g guard) bool { return g.number != *only })
	}
	survivors := takeAway(ctx, program, guards)
	fmt.Printf("%d guards, %d noticed, %d not:\n", len(guards), len(guards)-len(survivors), len(survivors))
	for _, g := range survivors {
		fmt.Println(g)
	}
	return nil
}

// String is a line of the list.
func (g guard) String() string {
	return fmt.Sprintf("%4d %s:%d: %s", g.number, filepath.Base(g.at.Filename), g.at.Line, g.text)
}

// instrument writes a copy of each file in which its guards can be taken away, and says
// which file the compiler shall read instead of which.
func instrument(work string, folders []string) (guards []guard, overlay map[string]string, err error) {
	overlay = map[string]string{}
	for _, folder := range folders {
		dir, err := filepath.Abs(filepath.Join("..", folder))
		if err != nil {
			return nil, nil, fmt.Errorf("find %s: %w", folder, err)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			return nil, nil, errors.Join(fmt.Errorf("no Go files in %s; run this in the folder tests", dir), err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			found, err := instrumentFile(file, filepath.Join(work, strconv.Itoa(len(overlay))+".go"), len(guards))
			if err != nil {
				return nil, nil, err
			}
			if len(found) > 0 {
				overlay[file] = filepath.Join(work, strconv.Itoa(len(overlay))+".go")
			}
			guards = append(guards, found...)
		}
		chooser := filepath.Join(work, strconv.Itoa(len(overlay))+".go")
		overlay[filepath.Join(dir, "zz_mutant.go")] = chooser
		if err := os.WriteFile(chooser, []byte(chooserOf(filepath.Base(dir))), 0o600); err != nil {
			return nil, nil, fmt.Errorf("write the chooser: %w", err)
		}
	}
	return guards, overlay, nil
}

// chooserOf is the file that is added to a package.
func chooserOf(name string) string {
	return "package " + name + `

import (
	"os"
	"strconv"
)

var chosenMutant, _ = strconv.Atoi(os.Getenv("` + variable + `"))

func isMutant(number int) bool { return number == chosenMutant }
`
}

func instrumentFile(file, to string, before int) ([]guard, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read source: %w", err)
	}
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, file, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("parse source: %w", err)
	}
	var guards []guard
	ast.Inspect(tree, func(n ast.Node) bool {
		for _, cond := range conditionsOf(n) {
			from, end := set.Position(cond.Pos()).Offset, set.Position(cond.End()).Offset
			words := strings.Join(strings.Fields(string(text[from:end])), " ")
			if !strings.HasSuffix(words, "err != nil") { // that an error counts is no rule of ours
				guards = append(guards, guard{0, set.Position(cond.Pos()), from, end, words})
			}
		}
		return true
	})
	slices.SortFunc(guards, func(a, b guard) int { return a.from - b.from })
	for i := range guards {
		guards[i].number = before + i + 1
	}
	out := string(text)
	for _, g := range slices.Backward(guards) {
		out = out[:g.from] + fmt.Sprintf("(!isMutant(%d) && (%s))", g.number, out[g.from:g.to]) + out[g.to:]
	}
	if err := os.WriteFile(to, []byte(out), 0o600); err != nil {
		return nil, fmt.Errorf("write source: %w", err)
	}
	return guards, nil
}

// conditionsOf are those of one node: of an if, or of the cases of a switch without a tag.
func conditionsOf(n ast.Node) (found []ast.Expr) {
	switch n := n.(type) {
	case *ast.IfStmt:
		return []ast.Expr{n.Cond}
	case *ast.SwitchStmt:
		if n.Tag != nil {
			return nil
		}
		for _, c := range n.Body.List {
			found = append(found, c.(*ast.CaseClause).List...)
		}
	}
	return found
}

func build(ctx context.Context, work string, overlay map[string]string) (program string, err error) {
	description, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		return "", fmt.Errorf("describe the overlay: %w", err)
	}
	file := filepath.Join(work, "overlay.json")
	if err := os.WriteFile(file, description, 0o600); err != nil {
		return "", fmt.Errorf("write the overlay: %w", err)
	}
	program = filepath.Join(work, "sim.test")
	command := exec.CommandContext(ctx, "go", "test", "-c", "-overlay", file, "-o", program, "./sim")
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return program, nil
}

// takeAway lives without each of the guards, and returns those that nobody noticed.
func takeAway(ctx context.Context, program string, guards []guard) (survivors []guard) {
	var all sync.WaitGroup
	var mutex sync.Mutex
	next := make(chan guard)
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for g := range next {
				began := time.Now()
				noticed, _ := live(ctx, program, g.number)
				mutex.Lock()
				log.Printf("%s: noticed %t, %s", g, noticed, time.Since(began).Round(time.Second))
				if !noticed {
					survivors = append(survivors, g)
				}
				mutex.Unlock()
			}
		})
	}
	for _, g := range guards {
		next <- g
	}
	close(next)
	all.Wait()
	slices.SortFunc(survivors, func(a, b guard) int { return a.number - b.number })
	return survivors
}

// live lives without a guard, the short tests first. A program that hangs or panics has
// noticed as well.
func live(ctx context.Context, program string, number int) (noticed bool, words string) {
	ctx, cancel := context.WithTimeout(ctx, *patience)
	defer cancel()
	suites := []string{"Wait|Live|Restored|Orphans|Changed|Used"}
	if *matrix {
		suites = append(suites, "Matrix")
	}
	for _, tests := range suites {
		command := exec.CommandContext(ctx, program, "-test.run", tests, "-cases", strconv.Itoa(*cases))
		command.Dir, command.Env = "sim", append(os.Environ(), variable+"="+strconv.Itoa(number), "GOMAXPROCS=1")
		if out, err := command.CombinedOutput(); err != nil {
			return true, string(out)
		}
	}
	return false, ""
}
