// Package command holds the commands of kubectl-vdi. They speak to the API server alone, with
// the rights of whoever calls them; what the operator decides stays with the operator.
package command

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/klog/v2"
)

// Exit codes.
const (
	exitError       = 1
	exitTimeout     = 2   // of waiting
	exitInterrupted = 130 // 128 and the number of the signal, as shells have it
)

// Groups of commands in the help.
const (
	groupDesktops = "desktops"
	groupAnswers  = "answers"
	groupPlatform = "platform"
	groupOther    = "other"
)

// tool is what the commands share.
type tool struct {
	genericiooptions.IOStreams
	flags   *genericclioptions.ConfigFlags
	version string
	shown   string // how people call it
	color   string
	now     func() time.Time
	browse  func(ctx context.Context, url string) error
}

// codeError is an error with an exit code of its own.
type codeError struct {
	error
	code int
}

func (e codeError) Unwrap() error { return e.error }

// Run runs the command that args name, args[0] being the program, and returns the exit code.
func Run(ctx context.Context, streams genericiooptions.IOStreams, version string, args []string) int {
	klog.SetLoggerWithOptions(klog.Logger{}, klog.ContextualLogger(true)) // libraries are silent: what matters comes back as an error
	root, t := build(streams, version, filepath.Base(args[0]))
	root.SetArgs(args[1:])
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		return exitInterrupted
	}
	fmt.Fprintln(streams.ErrOut, t.asCalled(explain(err)))
	if coded, ok := errors.AsType[codeError](err); ok {
		return coded.code
	}
	return exitError
}

// New is the command under the name by which it was called: kubectl's plugin, or vdi alone.
func New(streams genericiooptions.IOStreams, version, called string) *cobra.Command {
	root, _ := build(streams, version, called)
	return root
}

// plugin is how kubectl's users call it, and how texts spell it.
const plugin = "kubectl vdi"

// asCalled is a text with commands of ours as whoever reads it calls them.
func (t *tool) asCalled(text string) string { return strings.ReplaceAll(text, plugin, t.shown) }

func build(streams genericiooptions.IOStreams, version, called string) (*cobra.Command, *tool) {
	t := &tool{
		IOStreams: streams, version: version, now: time.Now, browse: openBrowser,
		flags: genericclioptions.NewConfigFlags(true).WithWarningPrinter(streams),
	}
	name := "kubectl-vdi"
	t.shown = plugin
	if strings.TrimSuffix(called, ".exe") == "vdi" {
		name, t.shown = "vdi", "vdi"
	}
	root := &cobra.Command{
		Use:   name,
		Short: "Desktops: make, open, suspend, and ask why one does not run",
		Long: "Desktops: make, open, suspend, and ask why one does not run.\n\n" +
			"It does what your rights at the API server allow, and says which role is missing where they do not suffice.",
		Annotations:       map[string]string{cobra.CommandDisplayNameAnnotation: t.shown},
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              cobra.NoArgs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error { return t.checkColor() },
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	root.SetUsageTemplate(usageTemplate(root.UsageTemplate()))
	t.addFlags(root)
	t.addCommands(root)
	return root, t
}

// addFlags adds the flags of every command: those by which kubectl finds a cluster, and ours.
func (t *tool) addFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	t.flags.AuthInfoName = nil // --user is a person here, as in spec.user
	t.flags.AddFlags(flags)
	flags.Lookup("cache-dir").DefValue = "$HOME/.kube/cache" // whoever's home it is
	flags.StringVar(&t.color, "color", "auto", "Colours on a terminal: auto, always or never; NO_COLOR in the environment means never")
	complete(root, "color", "auto", "always", "never")
	_ = root.RegisterFlagCompletionFunc("namespace", t.completeNamespaces)
}

func (t *tool) addCommands(root *cobra.Command) {
	root.AddGroup(&cobra.Group{ID: groupDesktops, Title: "Desktops:"}, &cobra.Group{ID: groupAnswers, Title: "Answers:"}, &cobra.Group{ID: groupPlatform, Title: "For administrators:"}, &cobra.Group{ID: groupOther, Title: "Other commands:"})
	root.SetHelpCommandGroupID(groupOther)
	root.SetCompletionCommandGroupID(groupOther)
	for group, commands := range map[string][]*cobra.Command{
		groupDesktops: {
			t.listCommand(), t.templatesCommand(), t.createCommand(), t.openCommand(),
			t.suspendCommand(), t.resumeCommand(), t.extendCommand(), t.deleteCommand(),
		},
		groupAnswers:  {t.whyCommand(), t.waitCommand(), t.eventsCommand(), t.passwordCommand()},
		groupPlatform: {t.nodesCommand(), t.queueCommand(), t.homesCommand(), t.topCommand(), t.usageCommand(), t.drainCommand(), t.doctorCommand()},
		groupOther:    {t.versionCommand()},
	} {
		for _, c := range commands {
			c.GroupID = group
			c.Long, c.Example = t.asCalled(c.Long), t.asCalled(c.Example)
			root.AddCommand(c)
		}
	}
}

// waitFor waits for something that cannot be interrupted by itself, until an interrupt.
func waitFor[T any](ctx context.Context, what func() (T, error)) (T, error) {
	type answer struct {
		got T
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		got, err := what()
		answers <- answer{got, err}
	}()
	select {
	case a := <-answers:
		return a.got, a.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// usageTemplate leaves the flags of all commands to the help of the root: there are twenty.
func usageTemplate(standard string) string {
	begin := strings.Index(standard, "{{if .HasAvailableInheritedFlags}}")
	end := strings.Index(standard, "{{if .HasHelpSubCommands}}")
	if begin < 0 || end < begin {
		return standard
	}
	return standard[:begin] + "{{if .HasAvailableInheritedFlags}}\n\nUse \"{{.Root.DisplayName}} --help\" for the flags of every command, such as --namespace and --context.{{end}}" + standard[end:]
}

// complete names the words that a flag may have.
func complete(cmd *cobra.Command, flag string, words ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}
