package command

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/printers"
)

// addOutput adds -o. Templates are given with it: --template is the session's.
func addOutput(cmd *cobra.Command, flags *genericclioptions.PrintFlags, more ...string) {
	flags.TemplatePrinterFlags.TemplateArgument = nil
	flags.AddFlags(cmd)
	formats := append(more, "json", "yaml", "name", "jsonpath", "go-template")
	if flag := cmd.Flags().Lookup("output"); flag != nil {
		flag.Usage = "Output: " + strings.Join(formats, ", ") + " (jsonpath=… and go-template=… as in kubectl, and their -file forms)"
	}
	complete(cmd, "output", formats...)
}

// dryRun is what --dry-run says.
type dryRun string

// notDry carries out what is asked.
const notDry = "none"

func (d *dryRun) add(cmd *cobra.Command) {
	cmd.Flags().StringVar((*string)(d), "dry-run", notDry, notDry+", client (send nothing) or server (the server judges it, and keeps nothing)")
	complete(cmd, "dry-run", notDry, "client", "server")
}

func (d *dryRun) check() error {
	switch *d {
	case notDry, "client", "server":
		return nil
	}
	return fmt.Errorf("--dry-run=%s: give none, client or server", *d)
}

// onServer is what is sent to the server.
func (d *dryRun) onServer() []string {
	if *d == "server" {
		return []string{metav1.DryRunAll}
	}
	return nil
}

// words are added to what was done.
func (d *dryRun) words() string {
	switch *d {
	case "client":
		return " (dry run)"
	case "server":
		return " (server dry run)"
	}
	return ""
}

// checkOutput refuses a format before anything is done: afterwards nobody would learn that it
// was.
func checkOutput(flags *genericclioptions.PrintFlags) error {
	_, err := flags.ToPrinter()
	return err
}

// printDone prints what was done to an object, as kubectl does, or the object.
func (t *tool) printDone(flags *genericclioptions.PrintFlags, done string, o runtime.Object) error {
	flags.NamePrintFlags.Operation = done
	printer, err := flags.ToPrinter()
	if err != nil {
		return err
	}
	return printer.PrintObj(o, t.Out)
}

// oneLine is a text of the cluster's as it may stand on a terminal: what controls that is
// shown and not done, and it breaks no line.
func oneLine(text string) string {
	return harmless(strings.Join(strings.Fields(text), " "))
}

// harmless is text in which whatever controls a terminal, or the direction of what is
// written, is shown and not done.
func harmless(text string) string {
	var out strings.Builder
	for _, r := range text { // bytes that are no text become U+FFFD
		switch {
		case r == 0x7f:
			out.WriteString("^?")
		case r < ' ':
			out.WriteString("^" + string(r+'@'))
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			fmt.Fprintf(&out, "\\u%04x", r)
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

// tablePrinter prints tables of the server.
func tablePrinter(wide, namespaces, headers bool) printers.ResourcePrinter {
	return printers.NewTablePrinter(printers.PrintOptions{Wide: wide, WithNamespace: namespaces, NoHeaders: !headers})
}
