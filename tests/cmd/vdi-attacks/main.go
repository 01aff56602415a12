// vdi-attacks sums up what several test programs noted in the ledger of attacks, and
// fails when an attack of the list was not made or not blocked.
package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
)

// list are the attacks that must be made. A29 (pools, which there are none of) has no
// test of this kind.
var list = strings.Fields(`
	A01 A02 A03 A04 A05 A06 A07 A08 A09 A10 A11 A12 A13 A14 A15 A16 A17 A18 A19 A20 A21 A22 A23 A24
	A25 A26 A27 A28 A30 A31 A32 A33 A34 A35 A36 A37 A38 A39 A40 A41 A42 A43 A44 A45 A46 A47
	A48 A49 A50 A51 A52 A53 A54 A55 A56 A57 A58 A59`)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: vdi-attacks FILE")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "vdi-attacks:", err)
		os.Exit(1)
	}
}

func run(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	entries, err := ledger.Read(file)
	if err != nil {
		return err
	}
	ledger.Print(os.Stdout, entries)
	var problems []error
	for _, id := range list {
		if !slices.ContainsFunc(entries, func(e ledger.Entry) bool { return e.ID == id }) {
			problems = append(problems, fmt.Errorf("%s was not made", id))
		}
	}
	for _, e := range entries {
		if !e.Blocked {
			problems = append(problems, fmt.Errorf("%s was not blocked: %s", e.ID, e.Name))
		}
	}
	return errors.Join(problems...)
}
