// vdi-postrender applies a site's settings to what Helm renders, from standard
// input to standard output: labels, registries, digests, placement, and no
// privileged pod that is not listed. Helm 3 runs it by its path, Helm 4 as the
// plugin of plugin.yaml.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/vdi-platform/vdi-platform/operator/postrender"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		// One line, whatever the cause looks like: Helm prints it as it is.
		fmt.Fprintln(os.Stderr, "vdi-postrender:", strings.Join(strings.Fields(err.Error()), " "))
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	o := postrender.Options{In: os.Stdin, Out: os.Stdout}
	flags := flag.NewFlagSet("vdi-postrender", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error says it
	o.Register(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: usage: vdi-postrender --settings FILE [--digests FILE]", flags.Arg(0))
	}
	return postrender.Run(ctx, o)
}
