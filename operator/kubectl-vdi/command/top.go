package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// metricsResource is what containers use now; metrics-server answers it, or another adapter.
var metricsResource = schema.GroupVersionResource{Group: "metrics.k8s.io", Version: "v1beta1", Resource: "pods"}

// podMetrics is what the metrics API says about a pod.
type podMetrics struct {
	metav1.ObjectMeta `json:"metadata"`
	Containers        []struct {
		Usage corev1.ResourceList `json:"usage"`
	} `json:"containers"`
}

// consumer is what a desktop has, or several together.
type consumer struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	User      string `json:"user,omitempty"`
	Template  string `json:"template,omitempty"`
	Node      string `json:"node,omitempty"`
	Sessions  int64  `json:"sessions"`
	// GPUs are the slices that it holds.
	GPUs int64 `json:"gpus"`
	// Requested are the CPU and memory that are reserved for it; left out where its pod was not
	// read.
	Requested corev1.ResourceList `json:"requested,omitempty"`
	// Used are those that it uses now; left out where nobody measures it.
	Used corev1.ResourceList `json:"used,omitempty"`
}

// grouping is what rows of `top` are about.
type grouping string

// Words of --by.
const (
	bySession   grouping = "session"
	byUser      grouping = "user"
	byTemplate  grouping = "template"
	byNode      grouping = "node"
	byNamespace grouping = "namespace"
)

func groupings() []string {
	return []string{string(bySession), string(byUser), string(byTemplate), string(byNode), string(byNamespace)}
}

func (t *tool) topCommand() *cobra.Command {
	flags, by := reportFlags{}, string(bySession)
	cmd := &cobra.Command{
		Use: "top", Short: "List what desktops hold and use now, the largest first",
		Long: "List what desktops hold and use now, the largest first: GPU slices, requested CPU and memory, and, where the cluster has " +
			"the metrics API, how much of both is in use.\n\n" +
			"A desktop holds its GPUs from the moment that it has a node until its pod is gone. Those of all namespaces are listed, or with -n those of one.",
		Example: `  kubectl vdi top

  # by person
  kubectl vdi top --by user

  # the sessions of a namespace, with templates
  kubectl vdi top -n artists -o wide`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkTop(flags, by); err != nil {
				return err
			}
			s, err := t.survey(cmd.Context())
			if err != nil {
				return err
			}
			return t.top(cmd.Context(), s, flags, grouping(by))
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&by, "by", by, "Add up by: "+strings.Join(groupings(), ", "))
	complete(cmd, "by", groupings()...)
	return cmd
}

func checkTop(flags reportFlags, by string) error {
	switch {
	case !slices.Contains(groupings(), by):
		return fmt.Errorf("--by=%s: give %s", by, strings.Join(groupings(), ", "))
	case by == string(byUser) && flags.output == "name":
		return errors.New("--output=name: people are no objects of the cluster; give wide, json or yaml, or leave out --by=user")
	}
	return flags.check()
}

func (t *tool) top(ctx context.Context, s *survey, flags reportFlags, by grouping) error {
	sessions, err := every[vdi.VDISession](ctx, s.list(sessionResource), "")
	if err != nil {
		return err
	}
	pods, err := every[corev1.Pod](ctx, s.list(core("pods")), ofSessions)
	if err != nil && by == byNode {
		return err // nothing else says on which node a desktop is
	}
	withPods := s.isRead("nodes and requests of desktops", err)
	metrics, withUse := s.metrics(ctx)
	rows := sumBy(by, consumersIn(sessions, pods, metrics))
	return printReport(t, flags, topView(by, withPods, withUse), rows, s.notRead)
}

// metrics are those of the desktops; false where there are none.
func (s *survey) metrics(ctx context.Context) ([]podMetrics, bool) {
	metrics, err := every[podMetrics](ctx, s.list(metricsResource), ofSessions)
	if isKindMissing(err) {
		err = errors.New("this cluster has no metrics API (" + metricsResource.Group + "); metrics-server brings it")
	}
	return metrics, s.isRead("use of CPU and memory", err)
}

// consumersIn are the desktops that have a node. What pods and metrics say is added where they
// are of the run that the status shows.
func consumersIn(sessions []vdi.VDISession, pods []corev1.Pod, metrics []podMetrics) (rows []consumer) {
	byUID, used := map[types.UID]*corev1.Pod{}, map[types.NamespacedName]corev1.ResourceList{}
	for i := range pods {
		byUID[pods[i].UID] = &pods[i]
	}
	for _, m := range metrics {
		at := types.NamespacedName{Namespace: m.Namespace, Name: m.Name}
		for _, c := range m.Containers {
			used[at] = sum(used[at], c.Usage)
		}
	}
	for _, s := range sessions {
		run := s.Status.Run
		if run == nil || run.End != nil {
			continue
		}
		row := consumer{Namespace: s.Namespace, Name: s.Name, User: s.Spec.User, Template: s.Spec.Template, Sessions: 1, GPUs: int64(run.GPUSlices)}
		if pod := byUID[run.PodUID]; pod != nil {
			row.Node, row.Requested = pod.Spec.NodeName, requestsOf(pod)
			row.Used = used[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}]
		} else if len(pods) == 0 {
			row.Used = used[types.NamespacedName{Namespace: s.Namespace, Name: s.Status.PodName}]
		}
		rows = append(rows, row)
	}
	return rows
}

// requestsOf are the CPU and memory that the scheduler has reserved for a pod: of what runs in
// it as long as the desktop does.
func requestsOf(pod *corev1.Pod) (all corev1.ResourceList) {
	for _, c := range pod.Spec.Containers {
		all = sum(all, c.Resources.Requests)
	}
	for _, c := range pod.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			all = sum(all, c.Resources.Requests)
		}
	}
	return sum(all, pod.Spec.Overhead)
}

// sum adds CPU and memory.
func sum(all, more corev1.ResourceList) corev1.ResourceList {
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		amount, has := more[name]
		if !has {
			continue
		}
		if all == nil {
			all = corev1.ResourceList{}
		}
		total := all[name]
		total.Add(amount)
		all[name] = total
	}
	return all
}

// key is a row that keeps only what it is added up by.
func (by grouping) key(c consumer) consumer {
	switch by {
	case byUser:
		return consumer{User: c.User}
	case byTemplate:
		return consumer{Template: c.Template}
	case byNode:
		return consumer{Node: c.Node}
	case byNamespace:
		return consumer{Namespace: c.Namespace}
	case bySession:
	}
	return consumer{Namespace: c.Namespace, Name: c.Name, User: c.User, Template: c.Template, Node: c.Node}
}

// sumBy adds up, and sorts the largest first: by GPUs, then by what is requested of memory and
// of CPU.
func sumBy(by grouping, all []consumer) []consumer {
	type key struct{ namespace, name, user, template, node string }
	sums := map[key]consumer{}
	for _, c := range all {
		row := by.key(c)
		at := key{row.Namespace, row.Name, row.User, row.Template, row.Node}
		before := sums[at]
		row.Sessions, row.GPUs = before.Sessions+c.Sessions, before.GPUs+c.GPUs
		row.Requested, row.Used = sum(before.Requested, c.Requested), sum(before.Used, c.Used)
		sums[at] = row
	}
	return slices.SortedFunc(maps.Values(sums), func(a, b consumer) int {
		return cmp.Or(
			cmp.Compare(b.GPUs, a.GPUs), b.Requested.Memory().Cmp(*a.Requested.Memory()), b.Requested.Cpu().Cmp(*a.Requested.Cpu()),
			cmp.Compare(b.Sessions, a.Sessions),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.User, b.User), cmp.Compare(a.Template, b.Template), cmp.Compare(a.Node, b.Node),
		)
	})
}

// topView shows what was read, and no column of what was not.
func topView(by grouping, withPods, withUse bool) view[consumer] {
	v := view[consumer]{columns: by.columns(withPods), none: "No desktop runs."}
	v.columns = append(v.columns, column[consumer]{name: "GPUs", of: func(c consumer) any { return c.GPUs }})
	if withPods {
		v.columns = append(v.columns,
			column[consumer]{name: "CPU", of: func(c consumer) any { return amountOf(c.Requested, corev1.ResourceCPU) }},
			column[consumer]{name: "Memory", of: func(c consumer) any { return amountOf(c.Requested, corev1.ResourceMemory) }})
	}
	if withUse {
		v.columns = append(v.columns,
			column[consumer]{name: "CPU used", of: func(c consumer) any { return amountOf(c.Used, corev1.ResourceCPU) }},
			column[consumer]{name: "Memory used", of: func(c consumer) any { return amountOf(c.Used, corev1.ResourceMemory) }})
	}
	if by == bySession {
		v.columns = append(v.columns, column[consumer]{name: "Template", wide: true, of: func(c consumer) any { return c.Template }})
	}
	switch by {
	case bySession:
		v.object = func(c consumer) string { return sessionObject(c.Name) }
	case byTemplate:
		v.object = func(c consumer) string { return templateObject(c.Template) }
	case byNode:
		v.object = func(c consumer) string { return "node/" + c.Node }
	case byNamespace:
		v.object = func(c consumer) string { return "namespace/" + c.Namespace }
	case byUser:
	}
	return v
}

// columns are those that say what a row is about.
func (by grouping) columns(withPods bool) []column[consumer] {
	sessions := column[consumer]{name: "Sessions", of: func(c consumer) any { return c.Sessions }}
	user := column[consumer]{name: "User", of: func(c consumer) any { return c.User }}
	node := column[consumer]{name: "Node", of: func(c consumer) any { return c.Node }}
	namespace := column[consumer]{name: "Namespace", of: func(c consumer) any { return c.Namespace }}
	switch by {
	case byUser:
		return []column[consumer]{user, sessions}
	case byTemplate:
		return []column[consumer]{{name: "Template", of: func(c consumer) any { return c.Template }}, sessions}
	case byNode:
		return []column[consumer]{node, sessions}
	case byNamespace:
		return []column[consumer]{namespace, sessions}
	case bySession:
	}
	all := []column[consumer]{namespace, {name: "Name", of: func(c consumer) any { return c.Name }}, user}
	if withPods {
		all = append(all, node)
	}
	return all
}

// amountOf is an amount as `kubectl top` writes it: CPU in cores or thousandths of one, memory
// in mebibytes; nil where it is not known.
func amountOf(list corev1.ResourceList, name corev1.ResourceName) any {
	amount, has := list[name]
	switch {
	case !has:
		return nil
	case name == corev1.ResourceMemory:
		return fmt.Sprintf("%dMi", amount.Value()>>20)
	}
	return resource.NewMilliQuantity(amount.MilliValue(), resource.DecimalSI).String()
}
