package command

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/gpusharing/plan"
	"github.com/vdi-platform/vdi-platform/platform"
)

// gpuNode is a node with GPUs.
type gpuNode struct {
	Name string `json:"name"`
	// Product as GPU feature discovery labels it, and Cards, how many it has counted; left out
	// where it has not.
	Product string `json:"product,omitempty"`
	Cards   *int64 `json:"cards,omitempty"`
	// Sharing is the key of the device plugin's configuration that applies to it; left out
	// where its GPUs stay whole, or the operator has reported nothing.
	Sharing string `json:"sharing,omitempty"`
	// Planned is how many slices it should offer by that; left out where the operator has
	// reported no plan.
	Planned *int64 `json:"planned,omitempty"`
	// Allocatable is how many it offers, and InUse how many desktops have; left out where pods
	// were not read.
	Allocatable int64  `json:"allocatable"`
	InUse       *int64 `json:"inUse,omitempty"`
	// Free are those that no desktop has. Other pods may have them.
	Free *int64 `json:"free,omitempty"`
	// Encoder is NVENC, None, or Unknown where nothing is known of the product.
	Encoder string `json:"encoder"`
	Ready   bool   `json:"ready"`
	// Cordoned: it takes no new pods.
	Cordoned bool `json:"cordoned"`
	// Problems, a sentence each.
	Problems []string `json:"problems,omitempty"`
}

func (t *tool) nodesCommand() *cobra.Command {
	flags := reportFlags{}
	cmd := &cobra.Command{
		Use: "nodes", Short: "List the nodes with GPUs: slices planned, offered and in use, and what is wrong",
		Long: "List the nodes with GPUs: their cards, the slices that are planned, offered and in use by desktops, the encoder, and what is wrong.\n\n" +
			"The plan is what the operator has reported where it looks after the sharing of GPUs (gpuSharing.enabled). " +
			"Slices count as free that no desktop has; other pods may have them.",
		Example: `  kubectl vdi nodes

  # those with a problem
  kubectl vdi nodes -o json | jq '.items[] | select(.problems) | {name, problems}'`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			s, err := t.survey(cmd.Context())
			if err != nil {
				return err
			}
			s.in = "" // nodes are nobody's namespace's
			return t.nodes(cmd.Context(), s, flags)
		},
	}
	flags.add(cmd)
	return cmd
}

func (t *tool) nodes(ctx context.Context, s *survey, flags reportFlags) error {
	nodes, err := every[corev1.Node](ctx, s.list(core("nodes")), "")
	if err != nil {
		return err
	}
	report := s.gpuReport(ctx)
	sessions, err := every[vdi.VDISession](ctx, s.list(sessionResource), "")
	s.isRead("kinds of GPUs that sessions ask for", err)
	pods, err := every[corev1.Pod](ctx, s.list(core("pods")), ofSessions)
	withPods := s.isRead("slices in use", err)
	rows := gpuNodesIn(nodes, report, resourcesOf(sessions), pods, withPods)
	return printReport(t, flags, nodesView(withPods), rows, s.notRead)
}

// gpuReport is what operators have reported about the sharing of GPUs; empty where nobody has.
func (s *survey) gpuReport(ctx context.Context) plan.Report {
	data, err := s.gpuStatus(ctx)
	s.isRead("slices that are planned", err)
	return plan.ParseReport(data)
}

// gpuStatus is the same as its ConfigMap holds it; nil where there is none.
func (s *survey) gpuStatus(ctx context.Context) (data map[string]string, err error) {
	named := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, plan.StatusName).String()}
	list, err := s.list(core("configmaps")).List(ctx, named)
	if err != nil {
		return nil, err
	}
	for i := range list.Items {
		m, err := as[corev1.ConfigMap](&list.Items[i])
		if err != nil {
			return nil, err
		}
		if data == nil {
			data = map[string]string{}
		}
		maps.Copy(data, m.Data)
	}
	return data, nil
}

// resourcesOf are the extended resources that sessions ask for as GPUs.
func resourcesOf(sessions []vdi.VDISession) map[corev1.ResourceName]bool {
	names := map[corev1.ResourceName]bool{}
	for _, s := range sessions {
		if g := s.Status.GPU; g != nil && g.ResourceName != "" {
			names[corev1.ResourceName(g.ResourceName)] = true
		}
	}
	return names
}

// gpuNodesIn are the nodes with GPUs, by name.
func gpuNodesIn(nodes []corev1.Node, report plan.Report, gpus map[corev1.ResourceName]bool, pods []corev1.Pod, withPods bool) (rows []gpuNode) {
	isGPU := func(name corev1.ResourceName) bool {
		return gpus[name] || strings.HasPrefix(string(name), plan.VendorPrefix)
	}
	for i := range nodes {
		n := &nodes[i]
		labelled, hasLabels := platform.GPUNodeOf(n.Labels)
		offered, offers := countOf(n.Status.Allocatable, isGPU)
		if !hasLabels && !offers {
			continue
		}
		row := gpuNode{
			Name: n.Name, Product: labelled.Product, Allocatable: offered, Encoder: encoderOf(labelled.Product),
			Ready: readyProblem(n) == "", Cordoned: n.Spec.Unschedulable,
		}
		if cards, counted := platform.CardsOf(n.Labels); counted {
			row.Cards = new(cards)
		}
		if withPods {
			used := inUse(n.Name, pods, isGPU)
			row.InUse, row.Free = new(used), new(max(0, offered-used))
		}
		row.judge(n, report)
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b gpuNode) int { return strings.Compare(a.Name, b.Name) })
	return rows
}

// judge adds the plan, and what is wrong.
func (row *gpuNode) judge(n *corev1.Node, report plan.Report) {
	if problem := readyProblem(n); problem != "" {
		row.Problems = append(row.Problems, problem)
	}
	now, said, found := report.Now(n)
	switch {
	case found:
		row.Sharing = now.Config
		if said.State != plan.WrongConfig {
			row.Planned = new(total(now.Planned))
		}
		if said.State != plan.AsPlanned {
			row.Problems = append(row.Problems, said.Message)
		}
	case row.Allocatable == 0:
		row.Problems = append(row.Problems, "It offers no GPU: look at the device plugin's pod on it")
	}
}

func total(amounts map[string]int64) (n int64) {
	for _, amount := range amounts {
		n += amount
	}
	return n
}

// countOf is how much of GPUs is in a list; false where no GPU is named.
func countOf(list corev1.ResourceList, isGPU func(corev1.ResourceName) bool) (n int64, named bool) {
	for name, amount := range list {
		if isGPU(name) {
			n, named = n+amount.Value(), true
		}
	}
	return n, named
}

// inUse are the slices that desktops have on a node.
func inUse(node string, pods []corev1.Pod, isGPU func(corev1.ResourceName) bool) (n int64) {
	for i := range pods {
		pod := &pods[i]
		if pod.Spec.NodeName != node || hasEnded(pod) {
			continue
		}
		for _, c := range pod.Spec.Containers {
			has, _ := countOf(c.Resources.Limits, isGPU)
			n += has
		}
	}
	return n
}

// hasEnded reports whether a pod holds nothing any more.
func hasEnded(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// readyProblem is why a node is not ready; "" where it is.
func readyProblem(n *corev1.Node) string {
	for _, c := range n.Status.Conditions {
		if c.Type != corev1.NodeReady {
			continue
		}
		if c.Status == corev1.ConditionTrue {
			return ""
		}
		return strings.TrimSuffix("It is not ready: "+c.Message, ": ")
	}
	return "It is not ready: its kubelet has not reported yet"
}

// encoderOf is the video encoder of a product, as far as it is known.
func encoderOf(product string) string {
	switch {
	case platform.HasNVENC(product):
		return "NVENC"
	case platform.LacksNVENC(product):
		return "None"
	}
	return "Unknown"
}

// status is a node's, as kubectl writes it.
func (row gpuNode) status() string {
	status := "NotReady"
	if row.Ready {
		status = "Ready"
	}
	if row.Cordoned {
		status += ",SchedulingDisabled"
	}
	return status
}

func nodesView(withPods bool) view[gpuNode] {
	v := view[gpuNode]{
		columns: []column[gpuNode]{
			{name: "Name", of: func(n gpuNode) any { return n.Name }},
			{name: "Status", of: func(n gpuNode) any { return n.status() }},
			{name: "Cards", of: func(n gpuNode) any { return known(n.Cards) }},
			{name: "Planned", of: func(n gpuNode) any { return known(n.Planned) }},
			{name: "Allocatable", of: func(n gpuNode) any { return n.Allocatable }},
		},
		object: func(n gpuNode) string { return "node/" + n.Name },
		none:   "No nodes with GPUs found.",
	}
	if withPods {
		v.columns = append(v.columns,
			column[gpuNode]{name: "In use", of: func(n gpuNode) any { return known(n.InUse) }},
			column[gpuNode]{name: "Free", of: func(n gpuNode) any { return known(n.Free) }})
	}
	v.columns = append(v.columns,
		column[gpuNode]{name: "Sharing", of: func(n gpuNode) any { return n.Sharing }},
		column[gpuNode]{name: "Encoder", of: func(n gpuNode) any { return n.Encoder }},
		column[gpuNode]{name: "Product", wide: true, of: func(n gpuNode) any { return n.Product }},
		column[gpuNode]{name: "Problem", of: func(n gpuNode) any { return strings.Join(n.Problems, "; ") }})
	return v
}
