package command

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// A month is what is still kept by days, and what is not.
func TestUsage(t *testing.T) {
	of := func(user string, months, days []vdi.UsageSpan) *vdi.VDIUsage {
		return &vdi.VDIUsage{Spec: vdi.VDIUsageSpec{User: user}, Status: vdi.VDIUsageStatus{Months: months, Days: days}}
	}
	span := func(date, namespace string, hours int64) vdi.UsageSpan {
		return vdi.UsageSpan{Date: date, Namespace: namespace, Template: "blender", Runs: 1, Seconds: hours * 3600, GPUSeconds: hours * 7200}
	}
	all := []*vdi.VDIUsage{
		of("bob", nil, []vdi.UsageSpan{span("2026-10-01", "art", 1)}),
		of("=alice", []vdi.UsageSpan{span("2026-09", "art", 9), span("2026-10", "art", 2)}, []vdi.UsageSpan{span("2026-10-30", "art", 3), span("2026-10-31", "lab", 4), span("2026-11-01", "art", 9)}),
	}
	streams, _, out, errOut := genericiooptions.NewTestIOStreams()
	tool := &tool{IOStreams: streams}
	require.NoError(t, tool.printUsage(usesIn(all, "2026-10"), "2026-10", "csv"))
	require.Equal(t, `month,user,namespace,template,runs,hours,gpu_hours
2026-10,'=alice,art,blender,2,5.00,10.00
2026-10,'=alice,lab,blender,1,4.00,8.00
2026-10,bob,art,blender,1,1.00,2.00
`, out.String())
	out.Reset()
	require.NoError(t, tool.printUsage(usesIn(all, "2026-10"), "2026-10", ""))
	require.Equal(t, "USER     NAMESPACE   TEMPLATE   RUNS   HOURS   GPU-HOURS\n"+
		"=alice   art         blender    2      5.00    10.00\n"+
		"=alice   lab         blender    1      4.00    8.00\n"+
		"bob      art         blender    1      1.00    2.00\n", out.String())
	out.Reset()
	require.NoError(t, tool.printUsage(usesIn(all, "2025-10"), "2025-10", ""))
	require.Empty(t, out.String())
	require.Equal(t, "Nothing was used in 2025-10 that is written down.\n", errOut.String())
	require.NoError(t, tool.printUsage(nil, "2025-10", "csv"))
	require.Equal(t, "month,user,namespace,template,runs,hours,gpu_hours\n", out.String())
}
