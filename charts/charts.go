// Package charts carries the session chart inside the operator's binary. It
// holds files and nothing that reads or renders them.
package charts

import "embed"

// VDISession holds the chart of one desktop below the folder "vdi-session".
// The prefix all: keeps files whose names begin with "_".
//
//go:embed all:vdi-session
var VDISession embed.FS
