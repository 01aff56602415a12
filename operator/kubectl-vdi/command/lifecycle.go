package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// change is a command that changes fields of sessions.
type change struct {
	*tool
	done    string // as kubectl says it
	output  *genericclioptions.PrintFlags
	dryRun  dryRun
	wait    bool
	timeout time.Duration
	until   goal
}

func (t *tool) newChange(done string, until goal) *change {
	return &change{tool: t, done: done, until: until, output: genericclioptions.NewPrintFlags(done), timeout: defaultTimeout}
}

func (ch *change) addFlags(cmd *cobra.Command) {
	addOutput(cmd, ch.output)
	ch.dryRun.add(cmd)
	if ch.until != "" {
		cmd.Flags().BoolVar(&ch.wait, "wait", false, "Wait until the session is "+string(ch.until))
		cmd.Flags().DurationVar(&ch.timeout, "timeout", ch.timeout, "How long to wait at most; 0 means for ever")
	}
}

func (t *tool) suspendCommand() *cobra.Command {
	return t.policyCommand("suspend", "Stop desktops and free their GPUs; homes and URLs are kept", t.newChange("suspended", goalSuspended), vdi.RunPolicySuspended)
}

func (t *tool) resumeCommand() *cobra.Command {
	return t.policyCommand("resume", "Start suspended desktops again", t.newChange("resumed", goalRunning), vdi.RunPolicyRunning)
}

// policyCommand is a command that says whether sessions should run.
func (t *tool) policyCommand(word, short string, ch *change, policy vdi.RunPolicy) *cobra.Command {
	cmd := &cobra.Command{
		Use: word + " NAME…", Short: short,
		Example: "  kubectl vdi " + word + " alice --wait",
		Args:    someNames, ValidArgsFunction: t.completeSessions,
		RunE: func(cmd *cobra.Command, args []string) error { return ch.setPolicy(cmd.Context(), args, policy) },
	}
	ch.addFlags(cmd)
	return cmd
}

// check refuses wrong words before a cluster is asked.
func (ch *change) check() error {
	if err := ch.dryRun.check(); err != nil {
		return err
	}
	return checkOutput(ch.output)
}

// setPolicy says of each session whether it should run.
func (ch *change) setPolicy(ctx context.Context, args []string, policy vdi.RunPolicy) error {
	names, err := namesOf(args)
	if err != nil {
		return err
	}
	if err := ch.check(); err != nil {
		return err
	}
	c, err := ch.connect()
	if err != nil {
		return err
	}
	var problems []error
	for _, name := range names {
		problems = append(problems, ch.carryOut(ctx, c, name, runPolicy(policy)))
	}
	return joined(problems)
}

// runPolicy says whether a session should run.
func runPolicy(policy vdi.RunPolicy) decision {
	return func(*vdi.VDISession) (map[string]any, error) {
		return map[string]any{"runPolicy": string(policy)}, nil
	}
}

// joined is one error where there is one, so that its reason can be read.
func joined(problems []error) error {
	var real []error
	for _, err := range problems {
		if err != nil {
			real = append(real, err)
		}
	}
	if len(real) == 1 {
		return real[0]
	}
	return errors.Join(real...)
}

// carryOut changes a session as was decided, says so, and waits where that is asked.
func (ch *change) carryOut(ctx context.Context, c *cluster, name string, decide decision) error {
	after, unchanged, err := ch.changed(ctx, c, name, decide)
	if err != nil {
		return err
	}
	done := ch.done + ch.dryRun.words()
	if unchanged {
		done += " (no change)"
	}
	if err := ch.printDone(ch.output, done, after); err != nil {
		return err
	}
	if ch.wait && ch.dryRun == notDry {
		return ch.await(ctx, c, name, ch.until, ch.timeout, nil, "")
	}
	return nil
}

// changed is the session as it is after the change, or would be.
func (ch *change) changed(ctx context.Context, c *cluster, name string, decide decision) (after *unstructured.Unstructured, unchanged bool, err error) {
	if ch.dryRun != "client" {
		before, after, err := c.change(ctx, name, decide, ch.dryRun.onServer())
		if err != nil {
			return nil, false, err
		}
		return after, after.GetGeneration() == before.GetGeneration() && ch.dryRun == notDry, nil
	}
	after, spec, err := c.decided(ctx, name, decide)
	if err != nil {
		return nil, false, err
	}
	for field, value := range spec {
		if err := unstructured.SetNestedField(after.Object, value, "spec", field); err != nil {
			return nil, false, err
		}
	}
	return after, false, nil
}

func (t *tool) extendCommand() *cobra.Command {
	ch := t.newChange("extended", "")
	cmd := &cobra.Command{
		Use: "extend NAME DURATION", Short: "Move the end of a run by a time such as 2h",
		Long: "Move the end of a run (spec.keepAliveUntil) by a time such as 30m or 2h.\n\n" +
			"The template's lifecycle.maxExtension bounds how far; `kubectl vdi list` shows the end that comes of it.",
		Example: `  kubectl vdi extend alice 2h`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return errors.New("give the name of a session and a time, such as 2h")
			}
			return nil
		},
		ValidArgsFunction: t.completeSession,
		RunE: func(cmd *cobra.Command, args []string) error {
			by, err := time.ParseDuration(args[1])
			if err != nil || by <= 0 {
				return fmt.Errorf("%q is no time such as 30m or 2h", args[1])
			}
			if err := ch.check(); err != nil {
				return err
			}
			c, name, err := t.connectFor(args[0])
			if err != nil {
				return err
			}
			return ch.carryOut(cmd.Context(), c, name, func(s *vdi.VDISession) (map[string]any, error) { return extension(s, by) })
		},
	}
	ch.addFlags(cmd)
	return cmd
}

// extension moves the end of a run; it never brings it nearer. Ends go by the API server's
// time, so the end that it shows counts, not our clock.
func extension(s *vdi.VDISession, by time.Duration) (map[string]any, error) {
	switch {
	case s.Status.Phase != vdi.PhaseRunning || s.Spec.RunPolicy == vdi.RunPolicySuspended:
		return nil, fmt.Errorf("%s does not run: there is no end of a run to move", s.Name)
	case s.Status.ExpiresAt == nil:
		return nil, fmt.Errorf("%s has no end that could be moved: it runs until somebody stops it", s.Name)
	}
	until := s.Status.ExpiresAt.Add(by)
	if now := s.Spec.KeepAliveUntil; now != nil && now.After(until) {
		until = now.Time
	}
	return map[string]any{"keepAliveUntil": stamp(until)}, nil
}
