package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/drain"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// nodeDrain is what is asked of a node.
type nodeDrain struct {
	*tool
	*cluster
	dryRun dryRun
	order  drain.Order
	cancel bool
	watch  bool
}

func (t *tool) drainCommand() *cobra.Command {
	d := &nodeDrain{tool: t}
	at := ""
	cmd := &cobra.Command{
		Use: "drain NODE", Short: "Free a node of desktops at a time, with a warning before",
		Long: "Free a node of desktops at a time, with a warning before.\n\n" +
			"It cordons the node, writes the order on each session whose desktop runs there (annotation " + wire.AnnotationDrain + "), and ends: the operator does the rest. " +
			"People are warned as of other ends (the template's lifecycle.warnBefore, 10 minutes by default), also where the time is now. " +
			"Then their sessions are suspended, or, with --restart, start again on other nodes by themselves; homes are kept. " +
			"Pods that are no desktops are left to kubectl drain.",
		Example: `  # at six, and the desktops go on elsewhere
  kubectl vdi drain gpu-1 --at 2026-12-31T18:00:00Z --restart --message "New driver"

  # in an hour; wait until the last one has left
  kubectl vdi drain gpu-1 --at 1h --watch

  # after all not
  kubectl vdi drain gpu-1 --cancel`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("give the name of one node; kubectl vdi nodes lists them")
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			d.order.Node = args[0]
			if err := d.check(at); err != nil {
				return err
			}
			if d.cluster, err = t.connect(); err != nil {
				return err
			}
			if d.cancel {
				return d.takeBack(cmd.Context())
			}
			return d.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&at, "at", "", "When: a time such as 2026-12-31T18:00:00Z, or from now on, such as 1h; now where it is left out")
	flags.BoolVar(&d.order.Restart, "restart", false, "Start the desktops again on other nodes; else their sessions are suspended")
	flags.StringVar(&d.order.Message, "message", "", "What people read with the warning, one line")
	flags.BoolVar(&d.cancel, "cancel", false, "Take the order back, and uncordon the node")
	flags.BoolVarP(&d.watch, "watch", "w", false, "Wait until no desktop is left on the node, with a line for each that leaves")
	d.dryRun.add(cmd)
	return cmd
}

// check refuses wrong words before a cluster is asked.
func (d *nodeDrain) check(at string) error {
	now := d.now()
	when, err := moment(at, now)
	switch {
	case err != nil:
		return err
	case when.Before(now):
		return fmt.Errorf("--at=%s is over: leave it out to begin now; people are warned before all the same", at)
	}
	d.order.At = metav1.NewTime(when.Truncate(time.Second))
	if d.cancel && (at != "" || d.order.Restart || d.order.Message != "" || d.watch) {
		return errors.New("--cancel takes the order back: leave out --at, --restart, --message and --watch")
	}
	if err := d.order.Check(); err != nil {
		return err
	}
	return d.dryRun.check()
}

// moment is a time as people write it.
func moment(words string, now time.Time) (time.Time, error) {
	if words == "" {
		return now, nil
	}
	if after, err := time.ParseDuration(words); err == nil && after >= 0 {
		return now.Add(after), nil
	}
	if at, err := time.Parse(time.RFC3339, words); err == nil {
		return at, nil
	}
	return time.Time{}, fmt.Errorf("--at=%s: give a time such as 2026-12-31T18:00:00Z, or from now on, such as 1h", words)
}

// run orders the desktops off the node. The node is cordoned first: else the next one comes.
func (d *nodeDrain) run(ctx context.Context) error {
	if err := d.cordon(ctx, true); err != nil {
		return err
	}
	pods, version, err := d.desktops(ctx)
	if err != nil {
		return err
	}
	for _, made := range pods { // an order concerns those that were there before, and clocks differ
		if !made.Before(d.order.At.Time) {
			d.order.At = metav1.NewTime(made.Add(time.Second))
		}
	}
	then := "is suspended at "
	if d.order.Restart {
		then = "starts again elsewhere at "
	}
	var problems []error
	for _, key := range inOrder(pods) {
		err := d.annotate(ctx, key, d.order.String())
		switch {
		case apierrors.IsNotFound(err): // it has just gone
			continue
		case err == nil:
			fmt.Fprintf(d.Out, "session %s %s%s%s\n", key, then, stamp(d.order.At.Time), d.dryRun.words())
		}
		problems = append(problems, err)
	}
	if err := joined(problems); err != nil {
		return err
	}
	if len(pods) == 0 {
		fmt.Fprintf(d.Out, "No desktop is on node %s.\n", d.order.Node)
		return nil
	}
	if !d.watch || d.dryRun != notDry {
		return nil
	}
	return d.untilEmpty(ctx, pods, version)
}

// takeBack makes all as it was before the order.
func (d *nodeDrain) takeBack(ctx context.Context) error {
	sessions, err := every[vdi.VDISession](ctx, d.dynamic.Resource(sessionResource), "")
	if err != nil {
		return err
	}
	var problems []error
	for i := range sessions {
		// An order that cannot be read does nothing, and belongs to no node.
		if order, err := drain.Of(&sessions[i]); err != nil || order == nil || order.Node != d.order.Node {
			continue
		}
		key := types.NamespacedName{Namespace: sessions[i].Namespace, Name: sessions[i].Name}
		err := d.annotate(ctx, key, nil)
		if err == nil {
			fmt.Fprintf(d.Out, "session %s may stay%s\n", key, d.dryRun.words())
		}
		problems = append(problems, err)
	}
	if err := joined(problems); err != nil {
		return err
	}
	return d.cordon(ctx, false)
}

// cordon says whether new pods may be placed on the node, unless it says so already.
func (d *nodeDrain) cordon(ctx context.Context, cordoned bool) error {
	nodes := d.dynamic.Resource(core("nodes"))
	node, err := nodes.Get(ctx, d.order.Node, getOptions)
	if err != nil {
		return err
	}
	done := "cordoned"
	if !cordoned {
		done = "uncordoned"
	}
	if is, _, _ := unstructured.NestedBool(node.Object, "spec", "unschedulable"); is == cordoned {
		fmt.Fprintf(d.Out, "node %s already %s\n", d.order.Node, done)
		return nil
	}
	if d.dryRun != "client" {
		patch, err := json.Marshal(map[string]any{"spec": map[string]any{"unschedulable": cordoned}})
		if err != nil {
			return err
		}
		if _, err := nodes.Patch(ctx, d.order.Node, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldOwner, DryRun: d.dryRun.onServer()}); err != nil {
			return err
		}
	}
	fmt.Fprintf(d.Out, "node %s %s%s\n", d.order.Node, done, d.dryRun.words())
	return nil
}

// desktops are the sessions whose pods are on the node, with when these were made, and the
// state from which a watch goes on.
func (d *nodeDrain) desktops(ctx context.Context) (map[types.NamespacedName]time.Time, string, error) {
	list, err := d.dynamic.Resource(core("pods")).List(ctx, d.here())
	if err != nil {
		return nil, "", err
	}
	found := map[types.NamespacedName]time.Time{}
	for i := range list.Items {
		if key, stays := desktopOn(&list.Items[i]); stays {
			found[key] = list.Items[i].GetCreationTimestamp().Time
		}
	}
	return found, list.GetResourceVersion(), nil
}

// here selects the desktops of the node.
func (d *nodeDrain) here() metav1.ListOptions {
	return metav1.ListOptions{
		LabelSelector: ofSessions,
		FieldSelector: fields.OneTermEqualSelector("spec.nodeName", d.order.Node).String(),
	}
}

// desktopOn is the session whose desktop a pod is, and whether that still holds something.
func desktopOn(o *unstructured.Unstructured) (of types.NamespacedName, stays bool) {
	pod, err := as[corev1.Pod](o)
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetLabels()[wire.LabelInstance]}, err == nil && !hasEnded(pod)
}

// annotate writes the order on a session, or takes it off (nil).
func (d *nodeDrain) annotate(ctx context.Context, key types.NamespacedName, order any) error {
	if d.dryRun == "client" {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{wire.AnnotationDrain: order}}})
	if err != nil {
		return err
	}
	_, err = d.dynamic.Resource(sessionResource).Namespace(key.Namespace).Patch(ctx, key.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldOwner, DryRun: d.dryRun.onServer()})
	return err
}

// untilEmpty follows the node until no desktop is left on it.
func (d *nodeDrain) untilEmpty(ctx context.Context, left map[types.NamespacedName]time.Time, version string) error {
	p := d.startProgress(true)
	defer p.stop()
	for {
		p.show(fmt.Sprintf("%d desktops left on node %s", len(left), d.order.Node))
		if err := d.watchLeaving(ctx, left, version); err != nil || len(left) == 0 {
			return err
		}
		now, next, err := d.desktops(ctx) // the server does not know that state any more
		if err != nil {
			return err
		}
		for _, key := range inOrder(left) {
			if _, stays := now[key]; !stays {
				d.gone(key)
			}
		}
		if left, version = now, next; len(left) == 0 {
			return nil
		}
	}
}

// watchLeaving notes who leaves, until nobody is left or the watch has to begin anew.
func (d *nodeDrain) watchLeaving(ctx context.Context, left map[types.NamespacedName]time.Time, version string) error {
	here := d.here()
	watcher, err := watchtools.NewRetryWatcherWithContext(ctx, version, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.LabelSelector, options.FieldSelector = here.LabelSelector, here.FieldSelector
			return d.dynamic.Resource(core("pods")).Watch(ctx, options)
		},
	})
	if err != nil {
		return err
	}
	defer watcher.Stop()
	for event := range watcher.ResultChan() {
		switch pod, is := event.Object.(*unstructured.Unstructured); {
		case event.Type == watch.Error:
			if err := apierrors.FromObject(event.Object); !apierrors.IsGone(err) && !apierrors.IsResourceExpired(err) {
				return err
			}
			return nil
		case !is:
		default:
			key, stays := desktopOn(pod)
			stays = stays && event.Type != watch.Deleted
			if _, was := left[key]; was && !stays {
				d.gone(key)
				delete(left, key)
			} else if stays {
				left[key] = pod.GetCreationTimestamp().Time
			}
		}
		if len(left) == 0 {
			return nil
		}
	}
	return ctx.Err()
}

func (d *nodeDrain) gone(key types.NamespacedName) {
	fmt.Fprintf(d.Out, "session %s has left node %s\n", key, d.order.Node)
}

func inOrder(all map[types.NamespacedName]time.Time) []types.NamespacedName {
	return slices.SortedFunc(maps.Keys(all), func(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) })
}
