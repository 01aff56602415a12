// Command vdi-umbrella puts the umbrella chart together without a chart
// repository and prints its path:
//
//	helm install vdi "$(go run ./cmd/vdi-umbrella)" -n vdi-system -f ../values/local.yaml
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/vdi-platform/vdi-platform/tests/standins"
)

func main() {
	dir := flag.String("dir", "", "folder for the chart; default: a new temporary folder, left to the caller")
	flag.Parse()
	path, err := assemble(*dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "vdi-umbrella:", err)
		os.Exit(1)
	}
	fmt.Println(path)
}

func assemble(dir string) (string, error) {
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "vdi-umbrella-"); err != nil {
			return "", fmt.Errorf("make a folder for the chart: %w", err)
		}
	}
	return standins.Assemble(context.Background(), dir)
}
