// Package charts carries the session chart and the CRDs inside the operator's
// binary. It holds files and nothing that reads or renders them.
package charts

import "embed"

// VDISession holds the chart of one desktop below the folder "vdi-session".
// The prefix all: keeps files whose names begin with "_".
//
//go:embed all:vdi-session
var VDISession embed.FS

// CRDs holds the definitions that Helm installs once, below the folder
// "vdi-operator/crds": upgrades of them come from the operator's image.
//
//go:embed vdi-operator/crds/*.yaml
var CRDs embed.FS
