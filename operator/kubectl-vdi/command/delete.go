package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// removal is what becomes of sessions that are deleted.
type removal struct {
	*tool
	output  *genericclioptions.PrintFlags
	home    bool
	yes     bool
	wait    bool
	timeout time.Duration
}

func (t *tool) deleteCommand() *cobra.Command {
	r := &removal{tool: t, output: genericclioptions.NewPrintFlags("deleted"), timeout: defaultTimeout}
	cmd := &cobra.Command{
		Use: "delete NAME…", Aliases: []string{"rm"}, Short: "Delete sessions; homes are kept unless --home says otherwise",
		Long: "Delete sessions. It asks first, on a terminal; elsewhere it needs --yes.\n\n" +
			"A home is kept, and the next session of the same name and person takes it back, unless spec.persistence.reclaimPolicy or --home says Delete.",
		Example: `  kubectl vdi delete alice

  # with its home, without a question
  kubectl vdi delete alice --home --yes`,
		Args: someNames, ValidArgsFunction: t.completeSessions,
		RunE: func(cmd *cobra.Command, args []string) error {
			names, err := namesOf(args)
			if err != nil {
				return err
			}
			c, err := t.connect()
			if err != nil {
				return err
			}
			var problems []error
			for _, name := range names {
				problems = append(problems, r.run(cmd.Context(), c, name))
			}
			return joined(problems)
		},
	}
	r.output.JSONYamlPrintFlags = nil
	r.output.TemplatePrinterFlags = nil
	cmd.Flags().StringVarP(r.output.OutputFormat, "output", "o", "", "Output: name")
	complete(cmd, "output", "name")
	cmd.Flags().BoolVar(&r.home, "home", false, "Delete the home too: its files are gone")
	cmd.Flags().BoolVarP(&r.yes, "yes", "y", false, "Do not ask")
	cmd.Flags().BoolVar(&r.wait, "wait", true, "Wait until the desktop has ended and the session is gone")
	cmd.Flags().DurationVar(&r.timeout, "timeout", r.timeout, "How long to wait at most; 0 means for ever")
	return cmd
}

func (r *removal) run(ctx context.Context, c *cluster, name string) error {
	s, err := c.session(ctx, name)
	if err != nil {
		return err
	}
	if err := r.ask(s); err != nil {
		return err
	}
	if r.home && s.Spec.Persistence.ReclaimPolicy != vdi.ReclaimDelete {
		if _, _, err := c.change(ctx, name, reclaim(s), nil); err != nil {
			return err
		}
	}
	// Of exactly the session that was asked about.
	err = c.sessions().Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &s.UID}})
	if err != nil {
		return err
	}
	s.SetGroupVersionKind(vdi.GroupVersion.WithKind(wire.KindSession))
	if err := r.printDone(r.output, "deleted", s); err != nil || !r.wait {
		return err
	}
	return r.await(ctx, c, name, goalDeleted, r.timeout, nil)
}

// reclaim lets the home of exactly the session that was asked about go with it.
func reclaim(asked *vdi.VDISession) decision {
	return func(s *vdi.VDISession) (map[string]any, error) {
		if s.UID != asked.UID {
			return nil, fmt.Errorf("%s is another session by now: nothing was deleted", s.Name)
		}
		return map[string]any{"persistence": map[string]any{"reclaimPolicy": string(vdi.ReclaimDelete)}}, nil
	}
}

// ask asks on a terminal whether the session is to go.
func (r *removal) ask(s *vdi.VDISession) error {
	if r.yes {
		return nil
	}
	if !isTerminal(r.In) {
		return errors.New("delete asks first, and there is no terminal here to ask on: say --yes")
	}
	fmt.Fprintf(r.ErrOut, "Delete session %s of %s? %s [y/N] ", s.Name, oneLine(s.Spec.User), oneLine(fate(s, r.home)))
	answer, _ := bufio.NewReader(r.In).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return fmt.Errorf("%s is kept", s.Name)
}

// fate is what becomes of a home.
func fate(s *vdi.VDISession, home bool) string {
	switch {
	case s.Status.Home == nil || s.Status.Home.ClaimName == "":
		return "It has no home that outlives it."
	case !s.Status.Home.CreatedByOperator:
		return "Its home " + s.Status.Home.ClaimName + " is kept: the operator did not make it."
	case home || s.Spec.Persistence.ReclaimPolicy == vdi.ReclaimDelete:
		return "Its home " + s.Status.Home.ClaimName + " is DELETED with its files."
	}
	return "Its home " + s.Status.Home.ClaimName + " is kept."
}
