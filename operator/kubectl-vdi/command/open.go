package command

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

func (t *tool) openCommand() *cobra.Command {
	var resume, noBrowser bool
	timeout := defaultTimeout
	cmd := &cobra.Command{
		Use: "open NAME", Short: "Open a desktop in the browser when it runs, and print its URL",
		Long: "Open a desktop in the browser when it runs, and print its URL.\n\n" +
			"A suspended one is started only where --resume asks for it. The browser is opened from a terminal only.",
		Example: `  kubectl vdi open alice --resume`,
		Args:    oneName, ValidArgsFunction: t.completeSession,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, name, err := t.connectFor(args[0])
			if err != nil {
				return err
			}
			s, err := c.session(cmd.Context(), name)
			if err != nil {
				return err
			}
			if s.Spec.RunPolicy == vdi.RunPolicySuspended {
				if !resume {
					return fmt.Errorf("%s is suspended: --resume starts it", name)
				}
				if _, _, err := c.change(cmd.Context(), name, runPolicy(vdi.RunPolicyRunning), nil); err != nil {
					return err
				}
			}
			return t.openWhenRunning(cmd.Context(), c, name, timeout, !noBrowser)
		},
	}
	cmd.Flags().BoolVar(&resume, "resume", false, "Start it where it is suspended")
	cmd.Flags().BoolVar(&noBrowser, "no-browser", false, "Print the URL, and open nothing")
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "How long to wait at most; 0 means for ever")
	return cmd
}

// openWhenRunning waits for a desktop, prints its URL and opens it where a person sits.
func (t *tool) openWhenRunning(ctx context.Context, c *cluster, name string, timeout time.Duration, browser bool) error {
	if err := t.await(ctx, c, name, goalRunning, timeout, nil, ""); err != nil {
		return err
	}
	s, err := c.session(ctx, name)
	if err != nil {
		return err
	}
	fmt.Fprintln(t.Out, oneLine(s.Status.URL))
	if !browser || !isTerminal(t.Out) {
		return nil
	}
	if s.Status.CredentialsSecret != "" {
		fmt.Fprintf(t.ErrOut, "Log in as desktop; `kubectl vdi password %s -n %s --show` shows the password.\n", name, c.namespace)
	}
	if err := t.browse(ctx, s.Status.URL); err != nil {
		fmt.Fprintf(t.ErrOut, "No browser could be opened (%v): open the address yourself.\n", err)
	}
	return nil
}
