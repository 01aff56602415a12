package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/printers"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/rest"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// asTable asks the server for its own columns.
const asTable = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

// lister lists objects of one kind: in the server's own columns, or for machines.
type lister struct {
	*tool
	kind, what string // as the server finds it, and as people say
	output     *genericclioptions.PrintFlags
	names      []string
	everywhere bool
	watch      bool
	noHeaders  bool
	labels     string
	fields     fields.Set
	sorted     bool                 // by age
	shown      map[types.UID]string // the version of each object that was shown last
}

func (t *tool) newLister(kind, what string) *lister {
	return &lister{tool: t, kind: kind, what: what, output: genericclioptions.NewPrintFlags(""), fields: fields.Set{}, shown: map[types.UID]string{}}
}

func (l *lister) addFlags(cmd *cobra.Command) {
	addOutput(cmd, l.output, "wide")
	cmd.Flags().BoolVarP(&l.watch, "watch", "w", false, "List, then show each change until interrupted")
	cmd.Flags().BoolVar(&l.noHeaders, "no-headers", false, "Leave out the line of headings")
	cmd.Flags().StringVarP(&l.labels, "selector", "l", "", "Only those with these labels, such as team=design")
}

func (t *tool) listCommand() *cobra.Command {
	l := t.newLister("vdisessions."+vdi.GroupVersion.Version+"."+vdi.GroupVersion.Group, "sessions")
	var user, template string
	cmd := &cobra.Command{
		Use: "list [NAME…]", Aliases: []string{"ls"}, Short: "List sessions: whose, phase, URL, end",
		Example: `  # what one's desktops do, and go on showing it
  kubectl vdi list -w

  # everybody's, with what people call them and what each waits for
  kubectl vdi list -A -o wide

  # the addresses of Alice's
  kubectl vdi list --user alice@example.com -o jsonpath='{.items[*].status.url}'`,
		ValidArgsFunction: t.completeSessions,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if l.names, err = namesOf(args); err != nil {
				return err
			}
			for field, value := range map[string]string{"spec.user": user, "spec.template": template} {
				if value != "" {
					l.fields[field] = value
				}
			}
			return l.run(cmd.Context())
		},
	}
	l.addFlags(cmd)
	cmd.Flags().BoolVarP(&l.everywhere, "all-namespaces", "A", false, "Those of all namespaces")
	cmd.Flags().StringVar(&user, "user", "", "Only those of this person, as spec.user spells them")
	cmd.Flags().StringVar(&template, "template", "", "Only those from this template")
	_ = cmd.RegisterFlagCompletionFunc("template", t.completeTemplates)
	return cmd
}

func (t *tool) templatesCommand() *cobra.Command {
	l := t.newLister("vditemplates."+vdi.GroupVersion.Version+"."+vdi.GroupVersion.Group, "templates")
	cmd := &cobra.Command{
		Use: "templates [NAME…]", Aliases: []string{"template"}, Short: "List the templates that desktops are made from",
		Example: `  # with the encoder that sessions get, and the category
  kubectl vdi templates -o wide`,
		ValidArgsFunction: t.completeTemplates,
		RunE: func(cmd *cobra.Command, args []string) error {
			l.names = args
			return l.run(cmd.Context())
		},
	}
	l.addFlags(cmd)
	return cmd
}

func (t *tool) eventsCommand() *cobra.Command {
	l := t.newLister("events.v1.events.k8s.io", "events")
	l.sorted = true
	cmd := &cobra.Command{
		Use: "events NAME", Short: "Show what happened to a session and its pod lately",
		Example: `  kubectl vdi events alice -w`,
		Args:    oneName, ValidArgsFunction: t.completeSession,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := nameOf(args[0])
			if err != nil {
				return err
			}
			l.fields["regarding.name"] = name
			return l.run(cmd.Context())
		},
	}
	l.addFlags(cmd)
	return cmd
}

// oneName demands the name of one session.
func oneName(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return errors.New("give the name of one session")
	}
	return nil
}

// someNames demands one or more.
func someNames(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("give the name of a session, or several")
	}
	return nil
}

// isTabular reports whether people read it.
func (l *lister) isTabular() bool {
	return *l.output.OutputFormat == "" || *l.output.OutputFormat == "wide"
}

func (l *lister) printer() (printers.ResourcePrinter, error) {
	if l.isTabular() {
		return tablePrinter(*l.output.OutputFormat == "wide", l.everywhere, !l.noHeaders), nil
	}
	return l.output.ToPrinter()
}

func (l *lister) run(ctx context.Context) error {
	printer, err := l.printer()
	if err != nil {
		return err
	}
	namespace, _, err := l.flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return err
	}
	if l.watch && len(l.names) > 1 {
		return errors.New("-w follows one that is named, or all: give one name, or none")
	}
	for {
		found, infos, err := l.find(ctx, namespace)
		if err != nil && len(infos) == 0 {
			return single(err)
		}
		if printErr := l.print(printer, infos, namespace); printErr != nil {
			return printErr
		}
		if err != nil || !l.watch {
			return single(err)
		}
		// A list and its watch have one state.
		if err := l.follow(ctx, found, printer, versionOf(infos)); err != nil && !isExpired(err) {
			return err
		}
		select { // the server ended the watch, or does not know that state any more
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(relistPause):
		}
	}
}

// relistPause is how long after the end of a watch the list is read again.
const relistPause = time.Second

func isExpired(err error) bool { return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) }

// find lists. An object that is followed is found as a list of one: its own version may be
// older than what the server knows, that of a list is not.
func (l *lister) find(ctx context.Context, namespace string) (*resource.Result, []*resource.Info, error) {
	names, selected := l.names, maps.Clone(l.fields)
	if l.watch && len(l.names) == 1 {
		names, selected[metav1.ObjectNameField] = nil, l.names[0]
	}
	var found *resource.Result
	infos, err := waitFor(ctx, func() ([]*resource.Info, error) {
		found = resource.NewBuilder(l.flags).Unstructured().
			NamespaceParam(namespace).DefaultNamespace().AllNamespaces(l.everywhere).
			LabelSelectorParam(l.labels).FieldSelectorParam(selected.AsSelector().String()).RequestChunksOf(l.chunks()).
			ResourceTypeOrNameArgs(true, append([]string{l.kind}, names...)...).
			ContinueOnError().Latest().
			TransformRequests(func(r *rest.Request) {
				if l.isTabular() {
					r.SetHeader("Accept", asTable)
				}
			}).Do()
		return found.Infos()
	})
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	return found, infos, err
}

// single is the error in a list of one, so that its reason can be read.
func single(err error) error {
	var many interface{ Errors() []error }
	if errors.As(err, &many) && len(many.Errors()) == 1 {
		return many.Errors()[0]
	}
	return err
}

// chunks is how many objects the server sends at once; 0: all, so that a watch goes on from
// one state, and that all are in one order.
func (l *lister) chunks() int64 {
	if l.watch || l.sorted {
		return 0
	}
	return 500
}

// versionOf is the state of the list, from which a watch goes on.
func versionOf(infos []*resource.Info) string {
	if len(infos) != 1 {
		return ""
	}
	return infos[0].ResourceVersion
}

func (l *lister) print(printer printers.ResourcePrinter, infos []*resource.Info, namespace string) error {
	if !l.isTabular() {
		return l.printMachine(printer, infos)
	}
	rows := 0
	for _, info := range infos {
		table, err := tableOf(info.Object)
		if err != nil {
			return err
		}
		if l.sorted {
			slices.SortStableFunc(table.Rows, func(a, b metav1.TableRow) int { return of(a).CreationTimestamp.Compare(of(b).CreationTimestamp.Time) })
		}
		rows += len(table.Rows)
		table.Rows = slices.DeleteFunc(table.Rows, func(row metav1.TableRow) bool { return !l.isNews(of(row)) })
		if err := printer.PrintObj(table, l.Out); err != nil {
			return err
		}
	}
	if rows > 0 {
		return nil
	}
	if l.watch {
		return l.missing()
	}
	where := " in namespace " + namespace
	if l.everywhere || l.what == "templates" {
		where = ""
	}
	fmt.Fprintf(l.ErrOut, "No %s found%s.\n", l.what, where)
	return nil
}

// missing fails where an object that is to be followed is not there.
func (l *lister) missing() error {
	if len(l.names) == 0 || len(l.shown) > 0 {
		return nil
	}
	return apierrors.NewNotFound(vdi.GroupVersion.WithResource("vdi"+l.what).GroupResource(), l.names[0])
}

// of is the metadata of a row.
func of(row metav1.TableRow) (o *metav1.PartialObjectMetadata) {
	o = &metav1.PartialObjectMetadata{}
	_ = json.Unmarshal(row.Object.Raw, o)
	return o
}

// isNews reports whether an object was not shown as it is, and notes that it is now.
func (l *lister) isNews(o metav1.Object) bool {
	if o.GetUID() == "" {
		return true
	}
	version, known := l.shown[o.GetUID()]
	l.shown[o.GetUID()] = o.GetResourceVersion()
	return !known || version != o.GetResourceVersion()
}

// printMachine prints one object that was named as itself, and else a list.
func (l *lister) printMachine(printer printers.ResourcePrinter, infos []*resource.Info) error {
	list := &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": "v1", "kind": "List", "metadata": map[string]any{}}}
	for _, info := range infos {
		switch o := info.Object.(type) {
		case *unstructured.UnstructuredList:
			list.Items = append(list.Items, o.Items...)
		case *unstructured.Unstructured:
			list.Items = append(list.Items, *o)
		}
	}
	again := len(l.shown) > 0
	all := len(list.Items)
	list.Items = slices.DeleteFunc(list.Items, func(o unstructured.Unstructured) bool { return !l.isNews(&o) })
	switch {
	case l.watch && all == 0:
		if err := l.missing(); err != nil || again {
			return err
		}
	case again && len(list.Items) == 0:
		return nil
	case len(l.names) == 1 && len(list.Items) == 1:
		return printer.PrintObj(&list.Items[0], l.Out)
	}
	return printer.PrintObj(list, l.Out)
}

// follow prints each change until the server ends the watch.
func (l *lister) follow(ctx context.Context, found *resource.Result, printer printers.ResourcePrinter, version string) error {
	changes, err := waitFor(ctx, func() (watch.Interface, error) { return found.Watch(version) })
	if err != nil {
		return err
	}
	defer changes.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case change, open := <-changes.ResultChan():
			if !open {
				return nil
			}
			if err := l.printChange(printer, change); err != nil {
				return err
			}
		}
	}
}

func (l *lister) printChange(printer printers.ResourcePrinter, change watch.Event) error {
	switch change.Type {
	case watch.Bookmark:
		return nil
	case watch.Error:
		return apierrors.FromObject(change.Object)
	}
	if !l.isTabular() {
		if o, ok := change.Object.(*unstructured.Unstructured); ok {
			l.isNews(o)
		}
		return printer.PrintObj(change.Object, l.Out)
	}
	table, err := tableOf(change.Object)
	if err != nil {
		return err
	}
	for _, row := range table.Rows {
		l.isNews(of(row))
	}
	return printer.PrintObj(table, l.Out)
}

// tableOf is the server's table, with the metadata of its rows.
func tableOf(o runtime.Object) (*metav1.Table, error) {
	u, ok := o.(*unstructured.Unstructured)
	if !ok || u.GetKind() != "Table" {
		return nil, fmt.Errorf("the server did not answer with a table, but with %s", o.GetObjectKind().GroupVersionKind().Kind)
	}
	table := &metav1.Table{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, table); err != nil {
		return nil, err
	}
	for i := range table.Rows {
		row := &table.Rows[i]
		if row.Object.Raw != nil && row.Object.Object == nil {
			converted, err := runtime.Decode(unstructured.UnstructuredJSONScheme, row.Object.Raw)
			if err != nil {
				return nil, err
			}
			row.Object.Object = converted
		}
	}
	return table, nil
}
