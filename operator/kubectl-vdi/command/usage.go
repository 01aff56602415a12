package command

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/pager"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// use is what the desktops of somebody have used in a month.
type use struct {
	user, namespace, template string
	runs                      int64
	seconds, gpuSeconds       int64
}

// month is how months are written.
const month = "2006-01"

func (t *tool) usageCommand() *cobra.Command {
	var of, user, output string
	cmd := &cobra.Command{
		Use: "usage", Short: "Report the GPU-hours that people have used in a month",
		Long: "Report the GPU-hours that people have used in a month, by namespace and template.\n\n" +
			"What still runs is not in it yet. There is something to report where a VDIQuota limits gpuHours, or accounting.enabled is set. " +
			"A month begins and ends by the operator's time zone (accounting.timeZone).",
		Example: `  # this month's
  kubectl vdi usage

  # for a spreadsheet
  kubectl vdi usage --month 2026-10 -o csv`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if of == "" {
				of = t.now().UTC().Format(month)
			}
			if _, err := time.Parse(month, of); err != nil {
				return fmt.Errorf("--month=%s: give a year and a month, such as 2026-10", of)
			}
			if output != "" && output != "csv" {
				return fmt.Errorf("--output=%s: give csv, or leave it out", output)
			}
			c, err := t.connect()
			if err != nil {
				return err
			}
			var all []*vdi.VDIUsage
			err = pager.New(pager.SimplePageFunc(func(options metav1.ListOptions) (runtime.Object, error) {
				return c.dynamic.Resource(usageResource).List(cmd.Context(), options)
			})).EachListItem(cmd.Context(), metav1.ListOptions{}, func(o runtime.Object) error {
				u, err := as[vdi.VDIUsage](o.(*unstructured.Unstructured))
				if user == "" || (err == nil && u.Spec.User == user) {
					all = append(all, u)
				}
				return err
			})
			if err != nil {
				return err
			}
			return t.printUsage(usesIn(all, of), of, output)
		},
	}
	cmd.Flags().StringVar(&of, "month", "", "Month to report, such as 2026-10; the present one, by UTC, where it is left out")
	cmd.Flags().StringVar(&user, "user", "", "Only this person's, as spec.user spells them")
	cmd.Flags().StringVarP(&output, "output", "o", "", "Output: csv")
	complete(cmd, "output", "csv")
	return cmd
}

// usesIn adds up what people have used in a month, in the order of people.
func usesIn(all []*vdi.VDIUsage, of string) []use {
	type key struct{ user, namespace, template string }
	sums := map[key]use{}
	for _, u := range all {
		for _, span := range slices.Concat(u.Status.Months, u.Status.Days) {
			if !strings.HasPrefix(span.Date, of) {
				continue
			}
			at := key{u.Spec.User, span.Namespace, span.Template}
			sum := sums[at]
			sums[at] = use{at.user, at.namespace, at.template, sum.runs + int64(span.Runs), sum.seconds + span.Seconds, sum.gpuSeconds + span.GPUSeconds}
		}
	}
	return slices.SortedFunc(maps.Values(sums), func(a, b use) int {
		return cmp.Or(cmp.Compare(a.user, b.user), cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.template, b.template))
	})
}

// hours are seconds as hours, in hundredths.
func hours(seconds int64) string { return strconv.FormatFloat(float64(seconds)/3600, 'f', 2, 64) }

func (t *tool) printUsage(uses []use, of, output string) error {
	if output == "csv" {
		return t.writeCSV(uses, of)
	}
	if len(uses) == 0 {
		fmt.Fprintf(t.ErrOut, "Nothing was used in %s that is written down.\n", of)
		return nil
	}
	table := &metav1.Table{}
	for _, name := range []string{"User", "Namespace", "Template", "Runs", "Hours", "GPU-Hours"} {
		table.ColumnDefinitions = append(table.ColumnDefinitions, metav1.TableColumnDefinition{Name: name})
	}
	for _, u := range uses {
		table.Rows = append(table.Rows, metav1.TableRow{Cells: []any{oneLine(u.user), u.namespace, u.template, u.runs, hours(u.seconds), hours(u.gpuSeconds)}})
	}
	return tablePrinter(true, false, true).PrintObj(table, t.Out)
}

// writeCSV writes what a spreadsheet reads (RFC 4180), also where there is nothing.
func (t *tool) writeCSV(uses []use, of string) error {
	w := csv.NewWriter(t.Out)
	err := w.Write([]string{"month", "user", "namespace", "template", "runs", "hours", "gpu_hours"})
	for _, u := range uses {
		err = errors.Join(err, w.Write([]string{of, noFormula(u.user), u.namespace, u.template, strconv.FormatInt(u.runs, 10), hours(u.seconds), hours(u.gpuSeconds)}))
	}
	w.Flush()
	return errors.Join(err, w.Error())
}

// noFormula is text that no spreadsheet computes: people may choose their names.
func noFormula(text string) string {
	if strings.ContainsAny(text[:min(1, len(text))], "=+-@\t\r") {
		return "'" + text
	}
	return text
}
