package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/pager"
	"sigs.k8s.io/yaml"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// survey reads what a command for administrators reports: of all namespaces, or of the one that
// -n names. It notes what could not be read.
type survey struct {
	*cluster
	ctx     context.Context
	in      string // namespace; "" means all
	notRead []string
}

func (t *tool) survey(ctx context.Context) (*survey, error) {
	c, err := t.connect()
	if err != nil {
		return nil, err
	}
	return &survey{cluster: c, ctx: ctx, in: *t.flags.Namespace}, nil
}

// list is a resource where the survey looks.
func (s *survey) list(resource schema.GroupVersionResource) dynamic.ResourceInterface {
	return s.dynamic.Resource(resource).Namespace(s.in)
}

// ofSessions selects the objects of sessions.
const ofSessions = wire.LabelName + "=" + wire.NameSession + "," + wire.LabelManagedBy + "=" + wire.Operator

// every reads all objects of a list, in pages.
func every[T any](ctx context.Context, from dynamic.ResourceInterface, labels string) (all []T, err error) {
	pages := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return from.List(ctx, options)
	})
	err = pages.EachListItem(ctx, metav1.ListOptions{LabelSelector: labels}, func(o runtime.Object) error {
		u, ok := o.(*unstructured.Unstructured)
		if !ok {
			return fmt.Errorf("the server listed a %T", o)
		}
		one, err := as[T](u)
		if err == nil {
			all = append(all, *one)
		}
		return err
	})
	return all, err
}

// isRead reports whether something could be read that a report can do without, and notes why
// it could not.
func (s *survey) isRead(what string, err error) bool {
	switch {
	case err == nil:
		return true
	case apierrors.IsForbidden(err):
		s.notRead = append(s.notRead, what+": "+lacksShort(err))
	default:
		s.notRead = append(s.notRead, what+": "+err.Error())
	}
	return false
}

// column is one of a report's.
type column[R any] struct {
	name string
	wide bool // shown with -o wide
	of   func(R) any
}

// view is how a report is shown.
type view[R any] struct {
	columns []column[R]
	object  func(R) string // with its kind, for -o name
	none    string         // said where there are no rows
}

// report is what is shown, for machines.
type report[R any] struct {
	Items   []R      `json:"items"`
	NotRead []string `json:"notRead,omitempty"`
}

// reportFlags are those of the commands that report.
type reportFlags struct {
	output    string
	noHeaders bool
}

func (f *reportFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "Output: wide, json, yaml or name")
	cmd.Flags().BoolVar(&f.noHeaders, "no-headers", false, "Leave out the line of headings")
	complete(cmd, "output", "wide", "json", "yaml", "name")
}

func (f *reportFlags) check() error {
	switch f.output {
	case "", "wide", "json", "yaml", "name":
		return nil
	}
	return fmt.Errorf("--output=%s: give wide, json, yaml or name", f.output)
}

// printReport shows a report. What could not be read is beside it, on standard error.
func printReport[R any](t *tool, f reportFlags, v view[R], rows []R, notRead []string) error {
	switch f.output {
	case "json", "yaml":
		return t.printData(f.output, report[R]{Items: append([]R{}, rows...), NotRead: notRead})
	case "name":
		if v.object == nil {
			return errors.New("--output=name: these rows are no objects; give wide, json or yaml")
		}
		for _, row := range rows {
			fmt.Fprintln(t.Out, oneLine(v.object(row)))
		}
	default:
		if err := v.print(t, f, rows); err != nil {
			return err
		}
	}
	for _, what := range notRead {
		fmt.Fprintf(t.ErrOut, "Not read: %s\n", oneLine(what))
	}
	return nil
}

func (v view[R]) print(t *tool, f reportFlags, rows []R) error {
	if len(rows) == 0 {
		fmt.Fprintln(t.ErrOut, v.none)
		return nil
	}
	table := &metav1.Table{}
	for _, c := range v.columns {
		definition := metav1.TableColumnDefinition{Name: c.name}
		if c.wide {
			definition.Priority = 1
		}
		table.ColumnDefinitions = append(table.ColumnDefinitions, definition)
	}
	for _, row := range rows {
		var cells []any
		for _, c := range v.columns {
			cells = append(cells, cell(c.of(row)))
		}
		table.Rows = append(table.Rows, metav1.TableRow{Cells: cells})
	}
	return tablePrinter(f.output == "wide", false, !f.noHeaders).PrintObj(table, t.Out)
}

// cell is a value as it may stand in a table; "-" where there is none.
func cell(value any) any {
	text, isText := value.(string)
	switch {
	case value == nil, isText && text == "":
		return "-"
	case isText:
		return oneLine(text)
	}
	return value
}

// some is an amount; nil where there is none.
func some(amount int64) any {
	if amount == 0 {
		return nil
	}
	return amount
}

// known is a value; nil where it was not read.
func known[T any](value *T) any {
	if value == nil {
		return nil
	}
	return *value
}

// sessionObject is a session as `-o name` prints it.
func sessionObject(name string) string {
	return "vdisession." + vdi.GroupVersion.Group + "/" + name
}

// templateObject is a template as `-o name` prints it.
func templateObject(name string) string { return "vditemplate." + vdi.GroupVersion.Group + "/" + name }

// printData prints JSON or YAML.
func (t *tool) printData(format string, what any) error {
	text, err := json.MarshalIndent(what, "", "  ")
	if err != nil {
		return err
	}
	if format == "yaml" {
		if text, err = yaml.JSONToYAML(text); err != nil {
			return err
		}
		_, err = t.Out.Write(text)
		return err
	}
	_, err = fmt.Fprintln(t.Out, string(text))
	return err
}
