package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// goal is what is waited for.
type goal string

// Goals.
const (
	goalRunning   goal = "running"
	goalSuspended goal = "suspended"
	goalDeleted   goal = "deleted"
)

// defaultTimeout is how long commands wait that wait.
const defaultTimeout = 10 * time.Minute

func (t *tool) waitCommand() *cobra.Command {
	target, timeout := string(goalRunning), defaultTimeout
	cmd := &cobra.Command{
		Use: "wait NAME", Short: "Wait until a session runs, is suspended or is gone",
		Long: "Wait until a session runs, is suspended or is gone, with a line for each change.\n\n" +
			"Exit codes: 0 when that is reached, 1 where it cannot be (the session is Failed and does not heal by itself, gone, or not asked for it), 2 when the time is up.",
		Example: `  kubectl vdi create alice --template plain-desktop && kubectl vdi wait alice --timeout 5m`,
		Args:    oneName, ValidArgsFunction: t.completeSession,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, name, err := t.connectFor(args[0])
			if err != nil {
				return err
			}
			return t.await(cmd.Context(), c, name, goal(target), timeout, t.Out, "")
		},
	}
	cmd.Flags().StringVar(&target, "for", target, "running, suspended or deleted")
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "How long to wait at most; 0 means for ever")
	complete(cmd, "for", string(goalRunning), string(goalSuspended), string(goalDeleted))
	return cmd
}

// connectFor connects, and reads the name of a session.
func (t *tool) connectFor(arg string) (*cluster, string, error) {
	name, err := nameOf(arg)
	if err != nil {
		return nil, "", err
	}
	c, err := t.connect()
	return c, name, err
}

// await follows a session to a goal. It writes a line for each change, or shows progress
// where lines is nil. Deleted is the session with the UID, else the first one seen: another one
// of that name may follow.
func (t *tool) await(ctx context.Context, c *cluster, name string, to goal, timeout time.Duration, lines io.Writer, uid types.UID) error {
	switch to {
	case goalRunning, goalSuspended, goalDeleted:
	default:
		return fmt.Errorf("--for=%s: give running, suspended or deleted", to)
	}
	limited := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	shown := t.startProgress(lines == nil)
	defer shown.stop()
	last := ""
	var verdict error
	err := c.follow(limited, name, func(s *vdi.VDISession) (done bool, err error) {
		if s != nil && uid == "" {
			uid = s.UID
		}
		if now := line(s); now != last && s != nil {
			last = now
			if lines != nil {
				fmt.Fprintln(lines, t.paint(lines, s.Status.Phase)+now[len(s.Status.Phase):])
			}
			shown.show(now)
		}
		done, verdict = reached(s, name, to, uid)
		return done, verdict
	})
	if err != nil && verdict == nil && ctx.Err() == nil && (limited.Err() != nil || errors.Is(err, context.DeadlineExceeded)) {
		return codeError{fmt.Errorf("%s is not %s after %s: %s\n`kubectl vdi why %s -n %s` says what helps", name, to, timeout, last, name, c.namespace), exitTimeout}
	}
	return err
}

// line is a session as `PHASE - message`.
func line(s *vdi.VDISession) string {
	switch {
	case s == nil:
		return ""
	case s.Status.Phase == "":
		return " - the operator has not looked at it yet"
	case isOutdated(s):
		return string(s.Status.Phase) + " - the operator has not looked at the last change yet"
	}
	return string(s.Status.Phase) + " - " + oneLine(s.Status.Message)
}

// isOutdated reports whether the status is about an older spec.
func isOutdated(s *vdi.VDISession) bool { return s.Status.ObservedGeneration < s.Generation }

// reached reports whether a session is where it is to be, and fails where it will not come
// there.
func reached(s *vdi.VDISession, name string, to goal, uid types.UID) (bool, error) {
	switch {
	case to == goalDeleted && (s == nil || s.UID != uid):
		return true, nil
	case s == nil:
		return false, fmt.Errorf("there is no session %s", name)
	case to == goalDeleted:
		return false, nil
	case s.DeletionTimestamp != nil:
		return false, fmt.Errorf("%s is being removed", name)
	case isOutdated(s):
		return false, nil
	case to == goalSuspended:
		return s.Status.Phase == vdi.PhaseSuspended, nil
	case s.Spec.RunPolicy == vdi.RunPolicySuspended:
		return false, fmt.Errorf("%s is suspended: kubectl vdi resume %s -n %s starts it", name, name, s.Namespace)
	case s.Status.Phase == vdi.PhaseFailed && meta.IsStatusConditionTrue(s.Status.Conditions, vdi.ConditionStalled):
		return false, fmt.Errorf("%s has failed: %s\n`kubectl vdi why %s -n %s` says what helps", name, oneLine(s.Status.Message), name, s.Namespace)
	}
	return s.Status.Phase == vdi.PhaseRunning, nil
}
