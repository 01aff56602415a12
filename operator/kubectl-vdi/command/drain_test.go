package command

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/operator/drain"
)

func TestMoment(t *testing.T) {
	for words, want := range map[string]time.Time{
		"": noon, "1h": noon.Add(time.Hour), "0": noon, "2026-12-31T18:00:00Z": time.Date(2026, 12, 31, 18, 0, 0, 0, time.UTC),
		"2026-12-31T18:00:00+01:00": time.Date(2026, 12, 31, 17, 0, 0, 0, time.UTC),
	} {
		got, err := moment(words, noon)
		require.NoError(t, err, words)
		assert.True(t, want.Equal(got), words)
	}
	for _, words := range []string{"18:00", "tomorrow", "-1h", "2026-12-31", "5"} {
		_, err := moment(words, noon)
		assert.ErrorContains(t, err, "--at="+words+": give a time such as", words)
	}
}

// Wrong words are refused before a cluster is asked.
func TestDrainChecks(t *testing.T) {
	for name, c := range map[string]struct {
		at   string
		edit func(*nodeDrain)
		want string
	}{
		"over":                   {"2026-01-02T11:00:00Z", func(*nodeDrain) {}, "is over: leave it out to begin now"},
		"no node":                {"", func(d *nodeDrain) { d.order.Node = "GPU 1" }, "is no name of a node"},
		"two lines":              {"", func(d *nodeDrain) { d.order.Message = "a\nb" }, "in one line only"},
		"cancel and a time":      {"1h", func(d *nodeDrain) { d.cancel = true }, "leave out --at"},
		"cancel and a restart":   {"", func(d *nodeDrain) { d.cancel, d.order.Restart = true, true }, "leave out --at"},
		"cancel and wait for it": {"", func(d *nodeDrain) { d.cancel, d.watch = true, true }, "leave out --at"},
		"a dry run of no kind":   {"", func(d *nodeDrain) { d.dryRun = "yes" }, "--dry-run=yes"},
	} {
		d := &nodeDrain{tool: &tool{now: func() time.Time { return noon }}, order: drain.Order{Node: "gpu-1"}, dryRun: notDry}
		c.edit(d)
		assert.ErrorContains(t, d.check(c.at), c.want, name)
	}
	d := &nodeDrain{tool: &tool{now: func() time.Time { return noon }}, order: drain.Order{Node: "gpu-1"}, dryRun: notDry}
	require.NoError(t, d.check("1h"))
	assert.Equal(t, `{"node":"gpu-1","at":"2026-01-02T13:00:00Z"}`, d.order.String())
}
