package main

import (
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// garbagePercent is how much garbage may gather beside the live heap.
const garbagePercent = 50

// saveMemory trades processor time, of which an operator at rest has plenty, for
// a smaller heap, unless the environment says otherwise (GOGC, GOMEMLIMIT), and keeps
// garbage from filling the container. Without a limit there is nothing to fill.
func saveMemory() {
	_, _ = memlimit.Set()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
}
