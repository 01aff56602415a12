package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/vdi-platform/vdi-platform/operator/frontdoor/people"
)

// errHash says how hash is called. It repeats nothing that was given: somebody may have
// given the password.
var errHash = errors.New("hash: give one name, and no password, which is asked for: hash NAME [--user USER] [--groups A,B]")

// maxInput is how much of a password is read, in bytes; fewer are refused already.
const maxInput = 4096

// console is where somebody runs a command.
type console struct {
	in  io.Reader
	out io.Writer
	// ask asks for a text and shows nothing of it; nil where nobody can be asked.
	ask func(ctx context.Context, question string) ([]byte, error)
}

func standardConsole() console {
	c := console{in: os.Stdin, out: os.Stdout}
	if term.IsTerminal(int(os.Stdin.Fd())) {
		c.ask = askTerminal
	}
	return c
}

// askTerminal reads a line without echo. A signal ends it, and the terminal echoes again.
func askTerminal(ctx context.Context, question string) ([]byte, error) {
	terminal := int(os.Stdin.Fd())
	before, err := term.GetState(terminal)
	if err != nil {
		return nil, fmt.Errorf("read the terminal: %w", err)
	}
	fmt.Fprint(os.Stderr, question)
	defer fmt.Fprintln(os.Stderr)
	type answer struct {
		line []byte
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(terminal)
		answers <- answer{line, err}
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			return nil, fmt.Errorf("read the terminal: %w", a.err)
		}
		return a.line, nil
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), term.Restore(terminal, before))
	}
}

// hash writes an entry for the list of people.
func hash(ctx context.Context, args []string, c console) error {
	person, err := personOf(args)
	if err != nil {
		return err
	}
	if err := person.Validate(); err != nil { // before anybody types a password
		return fmt.Errorf("hash: %w", err)
	}
	password, err := c.password(ctx)
	if err != nil {
		return fmt.Errorf("hash: %w", err)
	}
	entry, err := person.Entry(password)
	if err != nil {
		return fmt.Errorf("hash: %w", err)
	}
	_, err = c.out.Write(entry)
	return err
}

// personOf reads the arguments of hash. The name comes first or last.
func personOf(args []string) (people.Person, error) {
	flags := flag.NewFlagSet("vdi-frontdoor hash", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // it would repeat what it does not know
	user := flags.String("user", "", "spec.user of their sessions (default: the name)")
	groups := flags.String("groups", "", "their groups, separated by commas")
	var names []string
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		names, args = args[:1], args[1:]
	}
	if err := flags.Parse(args); err != nil {
		return people.Person{}, errHash
	}
	names = append(names[:len(names):len(names)], flags.Args()...)
	if len(names) != 1 {
		return people.Person{}, errHash
	}
	p := people.Person{Name: names[0], User: *user}
	if *groups != "" {
		p.Groups = strings.Split(*groups, ",") // not program.List: groups may hold blanks
	}
	return p, nil
}

// password asks for a password twice, or reads it where nobody can be asked.
func (c console) password(ctx context.Context) ([]byte, error) {
	if c.ask == nil {
		line, err := io.ReadAll(io.LimitReader(c.in, maxInput))
		if err != nil {
			return nil, fmt.Errorf("read the password: %w", err)
		}
		line, _ = bytes.CutSuffix(line, []byte("\n"))
		line, _ = bytes.CutSuffix(line, []byte("\r"))
		return line, nil
	}
	first, err := c.ask(ctx, "Password: ")
	if err != nil {
		return nil, err
	}
	second, err := c.ask(ctx, "The same again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(first, second) {
		return nil, errors.New("the two passwords differ; try again")
	}
	return first, nil
}

// check says everything that is wrong with a list of people.
func check(args []string, c console) error {
	flags := flag.NewFlagSet("vdi-frontdoor check", flag.ContinueOnError)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("check: give one file, or - for standard input: check people.yaml")
	}
	read := os.ReadFile
	if flags.Arg(0) == "-" {
		read = func(string) ([]byte, error) { return io.ReadAll(c.in) }
	}
	data, err := read(flags.Arg(0))
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	list, err := people.Parse(data)
	var problems people.Problems
	if errors.As(err, &problems) {
		for _, problem := range problems {
			fmt.Fprintln(c.out, problem)
		}
		return fmt.Errorf("check: problems found: %d", len(problems))
	}
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	_, err = fmt.Fprintf(c.out, "%d people, no fault found\n", list.Len())
	return err
}
