package validate

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/vdi-platform/vdi-platform/operator/doctor"
)

// TestInstallation is `make validate`: it goes by the environment, and where there is
// none it fails with the sentence that says what to set. The rules themselves have
// their tests in package judge, and all of this is run in tests/e2e.
func TestInstallation(t *testing.T) {
	options, err := FromEnvironment(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, options.Limit())
	defer cancel()
	lines, err := Run(t, ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println()
	fmt.Print(doctor.Table(lines))
	if ctx.Err() != nil {
		t.Fatalf("interrupted, run it again: %v", ctx.Err())
	}
	if red := doctor.Red(lines); len(red) > 0 {
		t.Fatalf("this installation does not keep: %v", red)
	}
}
