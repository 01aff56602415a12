// Package program is what the platform's programs have in common on their command
// lines: flags without stray words, and lists in flags.
//
// It must stay free of Kubernetes clients, which not every program may carry, and
// must not decide what a program does.
package program

import (
	"flag"
	"fmt"
	"strings"
)

// Parse reads flags and refuses words that are none: a misspelt command must not
// start what the program does without one. usage says what can be given instead.
func Parse(flags *flag.FlagSet, args []string, usage string) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q is no command; give %s", flags.Arg(0), usage)
	}
	return nil
}

// List are the elements of a flag that holds several, separated by commas or blanks.
func List(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}
