package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/util/retry"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/story"
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
			"A home is kept, and the next session of the same name and person takes it back, unless spec.persistence.reclaimPolicy or --home says Delete; " +
			"it is kept for as long as spec.persistence.retainFor or the template says. " +
			"Where that changes while the question stands, nothing is deleted.",
		Example: `  kubectl vdi delete alice

  # with its home, without a question
  kubectl vdi delete alice --home --yes`,
		Args: someNames, ValidArgsFunction: t.completeSessions,
		RunE: func(cmd *cobra.Command, args []string) error {
			names, err := namesOf(args)
			if err != nil {
				return err
			}
			if err := checkOutput(r.output); err != nil {
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
	if err := r.ask(ctx, s); err != nil {
		return err
	}
	asWas := reclaimPolicyOf(s)
	if r.home && asWas != vdi.ReclaimDelete {
		_, _, err = c.change(ctx, name, r.reclaim(s), nil)
	}
	if err == nil {
		err = r.delete(ctx, c, s)
	}
	if err != nil {
		if r.home {
			r.putBack(ctx, c, s, asWas)
		}
		return err
	}
	s.SetGroupVersionKind(vdi.GroupVersion.WithKind(wire.KindSession))
	if err := r.printDone(r.output, "deleted", s); err != nil || !r.wait {
		return err
	}
	return r.await(ctx, c, name, goalDeleted, r.timeout, nil, s.UID)
}

// delete deletes exactly the session that was asked about, as long as its home fares as was
// said: a change between reading and deleting is a conflict, and is read again.
func (r *removal) delete(ctx context.Context, c *cluster, asked *vdi.VDISession) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		s, err := c.session(ctx, asked.Name)
		if err != nil {
			return err
		}
		if err := r.same(asked, s); err != nil {
			return err
		}
		return c.sessions().Delete(ctx, s.Name, metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &s.UID, ResourceVersion: &s.ResourceVersion},
		})
	})
}

// same refuses what was not asked about.
func (r *removal) same(asked, s *vdi.VDISession) error {
	switch was, is := fate(asked, r.home), fate(s, r.home); {
	case s.UID != asked.UID:
		return fmt.Errorf("%s is another session by now: nothing was deleted", s.Name)
	case !r.yes && was != is:
		return fmt.Errorf("%s has changed meanwhile, and nothing was deleted. Now it is: %s", s.Name, oneLine(is))
	}
	return nil
}

func reclaimPolicyOf(s *vdi.VDISession) vdi.ReclaimPolicy {
	if s.Spec.Persistence.ReclaimPolicy == "" {
		return vdi.ReclaimRetain
	}
	return s.Spec.Persistence.ReclaimPolicy
}

// withReclaimPolicy says what becomes of the home.
func withReclaimPolicy(policy vdi.ReclaimPolicy) map[string]any {
	return map[string]any{"persistence": map[string]any{"reclaimPolicy": string(policy)}}
}

// reclaim lets the home of exactly the session that was asked about go with it.
func (r *removal) reclaim(asked *vdi.VDISession) decision {
	return func(s *vdi.VDISession) (map[string]any, error) {
		return withReclaimPolicy(vdi.ReclaimDelete), r.same(asked, s)
	}
}

// undoPatience bounds how long what was changed is put back, also after an interrupt.
const undoPatience = 10 * time.Second

// putBack keeps the home of a session that was not deleted: else whoever deletes it one day
// deletes its files, too.
func (r *removal) putBack(ctx context.Context, c *cluster, asked *vdi.VDISession, policy vdi.ReclaimPolicy) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoPatience)
	defer cancel()
	needless := errors.New("it was deleted after all, or is as it was")
	_, _, err := c.change(ctx, asked.Name, func(s *vdi.VDISession) (map[string]any, error) {
		if s.UID != asked.UID || s.DeletionTimestamp != nil || reclaimPolicyOf(s) == policy {
			return nil, needless
		}
		return withReclaimPolicy(policy), nil
	}, nil)
	if err == nil || errors.Is(err, needless) || apierrors.IsNotFound(err) {
		return
	}
	fmt.Fprintf(r.ErrOut, `%s may still be there, and its home be DELETED with it one day (%s). To keep it:
  kubectl patch vdisession -n %s %s --type merge -p '{"spec":{"persistence":{"reclaimPolicy":"%s"}}}'
`, asked.Name, oneLine(err.Error()), c.namespace, asked.Name, policy)
}

// ask asks on a terminal whether the session is to go.
func (r *removal) ask(ctx context.Context, s *vdi.VDISession) error {
	if r.yes {
		return nil
	}
	if !isTerminal(r.In) {
		return errors.New("delete asks first, and there is no terminal here to ask on: say --yes")
	}
	fmt.Fprintf(r.ErrOut, "Delete session %s of %s? %s [y/N] ", s.Name, oneLine(s.Spec.User), oneLine(fate(s, r.home)))
	answer, err := waitFor(ctx, func() (string, error) {
		line, _ := bufio.NewReader(r.In).ReadString('\n') // an end is no yes
		return line, nil
	})
	if err != nil {
		fmt.Fprintln(r.ErrOut)
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return fmt.Errorf("%s is kept", s.Name)
}

// fate is what becomes of a home.
func fate(s *vdi.VDISession, home bool) string {
	f := story.FateOf(s, home)
	name := "home " + f.Claim
	switch {
	case f.None:
		return "It has no home that outlives it."
	case f.Foreign:
		return "Its " + name + " is kept: the operator did not make it."
	case f.Claim == "" && f.Deleted:
		return "Its home is not known yet; any home that it has is DELETED with its files."
	case f.Claim == "":
		return "Its home is not known yet; any home that it has is kept" + keptFor(f)
	case f.Deleted:
		return "Its " + name + " is DELETED with its files."
	}
	return "Its " + name + " is kept" + keptFor(f)
}

// keptFor says for how long, where that is not for ever.
func keptFor(f story.Fate) string {
	if f.KeptFor == "" {
		return "."
	}
	return " for " + f.KeptFor + ", then it is DELETED with its files."
}
