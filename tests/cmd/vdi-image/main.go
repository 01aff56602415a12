// Command vdi-image builds the images of the local cluster as OCI archives,
// without a container engine or a registry.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage:
  vdi-image binary  --tag NAME --binary FILE [--binary FILE…] [--entrypoint PATH] [--cmd ARG…] [--out FILE]
  vdi-image desktop --tag NAME [--recipe plain] [--out FILE]
  vdi-image relay   --tag NAME [--out FILE]
  vdi-image join    --archive FILE [--archive FILE…] --out FILE
  vdi-image verify  --archive FILE [--digest sha256:…]
  vdi-image check   [--template FILE] [--static] [--cluster NAME] [--patience 2m] FILE

Archives go to bin/images/ of the repository unless --out says otherwise, and
are left alone when nothing they are made of has changed. join makes one image of those
for several architectures. verify prints the digest of an archive's image, and fails where
a byte of it is not what it should be. check judges whether the image of anybody's archive
keeps the contract of desktop images (values/templates/README.md), and runs it for that on
a local cluster`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "vdi-image:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("no command\n" + usage)
	}
	switch args[0] {
	case "binary":
		return binary(args[1:])
	case "desktop":
		return desktop(ctx, args[1:])
	case "relay":
		return relay(ctx, args[1:])
	case "join":
		return join(args[1:])
	case "verify":
		return verify(args[1:])
	case "check":
		return check(ctx, args[1:])
	}
	return fmt.Errorf("no such command: %s\n%s", args[0], usage)
}
