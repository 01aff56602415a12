package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// wish is the desktop that is asked for.
type wish struct {
	*tool
	output      *genericclioptions.PrintFlags
	dryRun      dryRun
	user        string
	template    string
	displayName string
	gpu         int32
	memory      string
	cpu         string
	home        string
	groups      []string
	timeZone    string
	wait        bool
	open        bool
	timeout     time.Duration
}

// noHome is the word for a desktop without a home that outlives it.
const noHome = "none"

func (t *tool) createCommand() *cobra.Command {
	w := &wish{tool: t, output: genericclioptions.NewPrintFlags("created"), timeout: defaultTimeout}
	cmd := &cobra.Command{
		Use: "create NAME --template TEMPLATE", Short: "Make a session: a desktop from a template",
		Example: `  # and open it in the browser when it runs
  kubectl vdi create alice --template plain-desktop --open

  # rendered in software, with a larger home
  kubectl vdi create alice --template plain-desktop --gpu 0 --home 50Gi

  # what would be made, as the server judges it
  kubectl vdi create alice --template plain-desktop --dry-run=server -o yaml`,
		Args: oneName, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if w.template == "" {
				return errors.New("--template: say which template the desktop is made from; `kubectl vdi templates` lists them")
			}
			if err := w.check(); err != nil {
				return err
			}
			return w.run(cmd.Context(), args[0], cmd.Flags().Changed("gpu"))
		},
	}
	addOutput(cmd, w.output)
	w.dryRun.add(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&w.template, "template", "t", "", "Template that the desktop is made from")
	flags.StringVar(&w.displayName, "display-name", "", "Name that people see, such as \"My drawings\" (default: NAME)")
	flags.StringVar(&w.user, "user", "", "Person it belongs to; default: the name by which the API server knows you")
	flags.StringArrayVar(&w.groups, "group", nil, "Group that this person is in, for templates that are for some groups; once for each")
	flags.Int32Var(&w.gpu, "gpu", 0, "GPU slices; 0 renders in software (default: the template's)")
	flags.StringVar(&w.memory, "memory", "", "Memory limit, such as 8Gi (default: the template's)")
	flags.StringVar(&w.cpu, "cpu", "", "CPU limit in cores, such as 4 or 500m (default: the template's)")
	flags.StringVar(&w.home, "home", "", "Size of the home, such as 20Gi; none: a scratch directory (default 10Gi)")
	flags.StringVar(&w.timeZone, "time-zone", "", "Time zone, such as Europe/Berlin (default: the template's)")
	flags.BoolVar(&w.wait, "wait", false, "Wait until the desktop runs")
	flags.BoolVar(&w.open, "open", false, "Wait until the desktop runs, then open it")
	flags.DurationVar(&w.timeout, "timeout", w.timeout, "How long to wait at most; 0 means for ever")
	_ = cmd.RegisterFlagCompletionFunc("template", t.completeTemplates)
	return cmd
}

// check refuses wrong words before a cluster is asked.
func (w *wish) check() error {
	if err := w.dryRun.check(); err != nil {
		return err
	}
	if w.open && *w.output.OutputFormat != "" {
		return fmt.Errorf("--open prints the URL: leave out --output=%s, or ask for the session later (kubectl vdi list)", *w.output.OutputFormat)
	}
	return checkOutput(w.output)
}

func (w *wish) run(ctx context.Context, name string, withGPU bool) error {
	c, err := w.connect()
	if err != nil {
		return err
	}
	if w.user == "" {
		if w.user, err = c.requester(ctx); err != nil {
			return fmt.Errorf("--user: say whose desktop it is; the API server does not say who you are: %w", err)
		}
	}
	made := w.session(c.namespace, name, withGPU)
	if w.dryRun != "client" {
		options := metav1.CreateOptions{FieldManager: fieldOwner, FieldValidation: metav1.FieldValidationStrict, DryRun: w.dryRun.onServer()}
		if made, err = c.sessions().Create(ctx, made, options); err != nil {
			return err
		}
	}
	if err := w.printDone(w.output, "created"+w.dryRun.words(), made); err != nil || w.dryRun != notDry {
		return err
	}
	switch {
	case w.open:
		return w.openWhenRunning(ctx, c, name, w.timeout, true)
	case w.wait:
		return w.await(ctx, c, name, goalRunning, w.timeout, nil, "")
	}
	return nil
}

// session is the object that is made.
func (w *wish) session(namespace, name string, withGPU bool) *unstructured.Unstructured {
	spec := map[string]any{"user": w.user, "template": w.template}
	if len(w.groups) > 0 {
		groups := make([]any, len(w.groups))
		for i, group := range w.groups {
			groups[i] = group
		}
		spec["groups"] = groups
	}
	sizes := map[string]any{}
	if withGPU {
		sizes["gpu"] = int64(w.gpu)
	}
	for field, value := range map[string]string{"memory": w.memory, "cpu": w.cpu} {
		if value != "" {
			sizes[field] = value
		}
	}
	if len(sizes) > 0 {
		spec["resources"] = sizes
	}
	switch w.home {
	case "":
	case noHome:
		spec["persistence"] = map[string]any{"enabled": false}
	default:
		spec["persistence"] = map[string]any{"size": w.home}
	}
	for field, value := range map[string]string{"timeZone": w.timeZone, "displayName": w.displayName} {
		if value != "" {
			spec[field] = value
		}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": vdi.GroupVersion.String(), "kind": wire.KindSession,
		"metadata": map[string]any{"name": name, "namespace": namespace},
		"spec":     spec,
	}}
}
