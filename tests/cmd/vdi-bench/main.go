// Command vdi-bench measures what a session costs, beside the floor and beside
// other ways to get a desktop, on a real control plane with made-up nodes. What
// was measured is kept, so that an interrupted run goes on where it was.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/vdi-platform/vdi-platform/tests/bench"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "vdi-bench:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	plan  bench.Plan
	store bench.Store
	again bool
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	steps := o.plan.Steps()
	for i, step := range steps {
		fmt.Printf("%s  %d/%d  %s", time.Now().Format(time.TimeOnly), i+1, len(steps), step)
		if err := o.measure(ctx, step); err != nil {
			return err
		}
	}
	return o.tell()
}

func parse(args []string) (options, error) {
	bin, err := cluster.BinDir()
	if err != nil {
		return options{}, err
	}
	o := options{plan: bench.DefaultPlan()}
	flags := flag.NewFlagSet("vdi-bench", flag.ContinueOnError)
	list := func(name, words string, to *[]string) {
		flags.Func(name, words+", comma-separated (default all: "+strings.Join(*to, ",")+")", func(text string) error {
			*to = strings.Split(text, ",")
			return nil
		})
	}
	list("contenders", "who is measured", &o.plan.Contenders)
	list("scenarios", "what is measured", &o.plan.Scenarios)
	flags.IntVar(&o.plan.Sessions, "sessions", o.plan.Sessions, "sessions of burst and life")
	flags.IntVar(&o.plan.HelmBurst, "helm-sessions", o.plan.HelmBurst, "sessions of helm's burst")
	flags.IntVar(&o.plan.Large, "large", o.plan.Large, "sessions of the large run")
	flags.IntVar(&o.plan.Repeats, "repeats", o.plan.Repeats, "repeats of every burst, interleaved")
	flags.IntVar(&o.plan.Quiet, "quiet", o.plan.Quiet, "sessions of quiet, one a second")
	flags.IntVar(&o.plan.Paced, "paced", o.plan.Paced, "sessions of paced")
	flags.StringVar(&o.store.Dir, "state", filepath.Join(bin, "bench"), "folder of results; finished steps are not measured again")
	flags.BoolVar(&o.again, "again", false, "measure finished steps again")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	return o, o.plan.Check()
}

// measure makes one measurement, unless it was made before.
func (o options) measure(ctx context.Context, step bench.Step) error {
	_, found, err := o.store.Find(step)
	if err != nil {
		return err
	}
	if found && !o.again {
		fmt.Println("  measured before")
		return nil
	}
	dir, err := os.MkdirTemp("", "vdi-bench-")
	if err != nil {
		return err
	}
	result, err := bench.Run(ctx, step, o.store, dir)
	if err != nil {
		return fmt.Errorf("%w (logs and audit log are kept in %s)", err, dir)
	}
	fmt.Printf("  %.0f s, load %s\n", result.Seconds, result.Load)
	return errors.Join(o.store.Save(result), os.RemoveAll(dir))
}

// tell prints the table and writes it, with the plots, beside the results.
func (o options) tell() error {
	results, err := o.store.All()
	if err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(o.store.Dir, "report.md"))
	if err != nil {
		return err
	}
	defer file.Close()
	fmt.Println()
	if err := bench.Report(io.MultiWriter(os.Stdout, file), results); err != nil {
		return err
	}
	plots, err := bench.Plot(o.store.Dir, results)
	if err != nil {
		return err
	}
	fmt.Printf("\n%s\n%s\n", file.Name(), strings.Join(plots, "\n"))
	return file.Close()
}
