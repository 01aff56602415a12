package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/operator/gpusharing/plan"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// CRDs judges the definitions of the API: there, served, and not older than those that
// the release's programs are built with, which is the rule of the CRD Job. Wanted are
// their versions by name. The release's own version says nothing about them: a release
// may change no definition.
func CRDs(wanted map[string]string, found []apiextensionsv1.CustomResourceDefinition) Verdict {
	byName := map[string]apiextensionsv1.CustomResourceDefinition{}
	for _, crd := range found {
		byName[crd.Name] = crd
	}
	var served []string
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		crd, there := byName[name]
		switch {
		case !there:
			return Fail("%s is not there", name)
		case !established(crd):
			return Fail("the API server does not serve %s yet", name)
		case older(crd.Annotations[wire.AnnotationVersion], wanted[name]):
			return Fail("%s is of version %q, the operator is built with %s", name, crd.Annotations[wire.AnnotationVersion], wanted[name])
		}
		served = append(served, fmt.Sprintf("%s %s", name, crd.Annotations[wire.AnnotationVersion]))
	}
	return Pass("served are %s", List(served))
}

func established(crd apiextensionsv1.CustomResourceDefinition) bool {
	return slices.ContainsFunc(crd.Status.Conditions, func(c apiextensionsv1.CustomResourceDefinitionCondition) bool {
		return c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue
	})
}

// older says whether a definition is of an earlier version. One without a version
// is of an early release.
func older(version, than string) bool {
	have, err := semver.NewVersion(version)
	if err != nil {
		return true
	}
	want, err := semver.NewVersion(than)
	return err == nil && have.LessThan(want)
}

// Programs judges the release's Deployments and DaemonSets. Wanted are their
// names, as KIND/NAME.
func Programs(wanted []string, deployments []appsv1.Deployment, daemons []appsv1.DaemonSet) Verdict {
	ready := map[string]string{}
	for _, d := range deployments {
		want := int32(1)
		if d.Spec.Replicas != nil {
			want = *d.Spec.Replicas
		}
		ready["Deployment/"+d.Name] = short(d.Status.AvailableReplicas, want)
	}
	for _, d := range daemons {
		ready["DaemonSet/"+d.Name] = short(d.Status.NumberAvailable, d.Status.DesiredNumberScheduled)
	}
	var problems []string
	for _, name := range wanted {
		switch problem, there := ready[name]; {
		case !there:
			problems = append(problems, name+" is not there")
		case problem != "":
			problems = append(problems, name+" "+problem)
		}
	}
	switch {
	case len(wanted) == 0:
		return Unjudged("the release's manifest names no program")
	case len(problems) > 0:
		return Fail("%s", List(problems))
	}
	return Pass("%s have all their pods", List(wanted))
}

// short says how many pods are missing, in words.
func short(available, wanted int32) string {
	switch {
	case wanted == 0:
		return "is scaled to no pod"
	case available < wanted:
		return fmt.Sprintf("has %d of %d pods available", available, wanted)
	}
	return ""
}

// Admission is what is known of the rules that RBAC cannot say.
type Admission struct {
	Enabled bool // admission.enabled
	// Wanted are the policies and bindings of the release, Found those in the
	// cluster, as KIND/NAME.
	Wanted, Found []string
	// ForSelf and ForOther are what the API server answered to a person who would
	// make a session in their own name, and in somebody else's: nil where it would.
	ForSelf, ForOther error
	// Unasked says why it was not asked.
	Unasked error
}

// policyDenies is in the words of a policy's refusal, and in none of RBAC's.
const policyDenies = "ValidatingAdmissionPolicy"

// Judge wants every policy to be there and the most important of them to be felt.
func (a Admission) Judge() Verdict {
	missing := slices.DeleteFunc(slices.Clone(a.Wanted), func(name string) bool { return slices.Contains(a.Found, name) })
	switch {
	case len(missing) > 0:
		return Fail("%s is gone: what it forbids is allowed", List(missing))
	case !a.Enabled:
		return Unjudged("admission.enabled is off: people's sessions are guarded by RBAC alone").With("set admission.enabled=true, unless another admission controller has the same rules")
	case a.Unasked != nil:
		return Unjudged("the API server was not asked: %v", a.Unasked).With("run this as an administrator of the cluster, who may impersonate people")
	case a.ForSelf != nil:
		return Fail("a person with the rights of vdi-user is refused a session of their own: %v", a.ForSelf).With("the message says what to change")
	case a.ForOther == nil:
		return Fail("a person may make a session in another's name")
	case !strings.Contains(a.ForOther.Error(), policyDenies):
		return Fail("a session in another's name was refused, but not by our policy: %v", a.ForOther)
	}
	return Pass("all %d policies and bindings are there; a session in another's name is refused, one's own is not", len(a.Wanted))
}

// Slices compares what is planned for each node with what it offers now. Written is
// the operator's report, nil where there is none.
func Slices(enabled bool, written map[string]string, nodes []corev1.Node) Verdict {
	switch {
	case !enabled:
		return Unjudged("gpuSharing.enabled is off: the platform plans no slices here").With("where the platform is to share GPUs: gpuSharing.enabled=true")
	case written == nil:
		return Fail("the operator has written no ConfigMap %s", plan.StatusName).With("look at the operator's log")
	}
	var config plan.ConfigReport
	if err := yaml.Unmarshal([]byte(written["config"]), &config); err != nil {
		return Fail("ConfigMap %s cannot be read: %v", plan.StatusName, err)
	}
	if config.State == plan.WrongConfig {
		return Fail("%s", strings.Join(config.Messages, "; ")).With("correct the ConfigMap with the device plugin's configurations; until then the plugin keeps the last good one")
	}
	var fits []string
	for _, node := range nodes {
		report, planned := written["node."+node.Name]
		if !planned {
			continue
		}
		var r plan.NodeReport
		if err := yaml.Unmarshal([]byte(report), &r); err != nil {
			return Fail("ConfigMap %s, node %s: %v", plan.StatusName, node.Name, err)
		}
		for _, resource := range slices.Sorted(maps.Keys(r.Planned)) {
			offers := node.Status.Allocatable[corev1.ResourceName(resource)]
			switch {
			case offers.Value() == r.Planned[resource]:
				fits = append(fits, fmt.Sprintf("%s %s=%d", node.Name, resource, r.Planned[resource]))
			case r.State == plan.Changing:
				return Unjudged("node %s is changing: %s=%d is planned, it offers %d", node.Name, resource, r.Planned[resource], offers.Value()).With("run this again in a minute")
			default:
				return Fail("node %s offers %s=%d, but %d is planned", node.Name, resource, offers.Value(), r.Planned[resource])
			}
		}
	}
	if len(fits) == 0 {
		return Unjudged("no node has GPUs that the platform shares").With("where one should: look at the GPU Operator's pods, which label the nodes")
	}
	return Pass("as planned: %s", List(fits))
}

// Metrics judges the operator's own: what its Service leads to, and what that says.
func Metrics(service string, there bool, endpoints int, page string, err error) Verdict {
	switch {
	case !there:
		return Fail("Service %s is gone: nobody finds the metrics", service)
	case endpoints == 0:
		return Fail("Service %s leads to no pod that is ready", service)
	case err != nil:
		return Fail("the operator's metrics do not answer: %v", err)
	case !strings.Contains(page, "\nvdi_sessions_total{"):
		return Fail("the operator's metrics hold no vdi_sessions_total")
	}
	series := 0
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "vdi_") {
			series++
		}
	}
	return Pass("Service %s leads to %d pod(s); %d series of the platform", service, endpoints, series)
}

// Scraped judges what Prometheus says of `up` for the operator's Service: 1 for each
// target that it reads. Enabled is serviceMonitor.enabled.
func Scraped(enabled, monitorThere bool, prometheus string, up []string, err error) Verdict {
	switch {
	case prometheus == "" && !enabled:
		return Unjudged("serviceMonitor.enabled is off, and no Prometheus was named").With("PROMETHEUS=http://… asks the one that scrapes the platform; serviceMonitor.enabled=true lets the Prometheus Operator do it")
	case enabled && !monitorThere:
		return Fail("the release's ServiceMonitor is gone").With("helm upgrade brings it back")
	case prometheus == "":
		return Unjudged("the ServiceMonitor is there; no Prometheus was asked").With("PROMETHEUS=http://…, such as of a port-forward to service/prometheus-operated")
	case err != nil:
		return Fail("Prometheus at %s: %v", prometheus, err).With("PROMETHEUS=URL must lead to its HTTP API")
	case len(up) == 0:
		return Fail("Prometheus at %s has no target of the operator", prometheus).
			With("give the ServiceMonitor the labels that your Prometheus looks for: serviceMonitor.labels")
	case slices.ContainsFunc(up, func(v string) bool { return v != "1" }):
		return Fail("Prometheus at %s does not get through to the operator (up is %s)", prometheus, List(up)).
			With("admit it to the metrics: networkPolicy.metricsFrom must name its namespace")
	}
	return Pass("Prometheus at %s reads %d target(s) of the operator", prometheus, len(up))
}

// Relay judges what each way to the relay answered, by transport; nil is an answer.
func Relay(host string, port int, answers map[string]error) Verdict {
	if host == "" {
		return Unjudged("no relay is configured: desktops stream over WebSockets").With("for desktops over WebRTC: coturn.enabled and sessions.turn.host")
	}
	var good, bad []string
	for transport, err := range answers {
		if err != nil {
			bad = append(bad, fmt.Sprintf("%s (%v)", transport, err))
			continue
		}
		good = append(good, transport)
	}
	switch {
	case len(bad) > 0:
		return Fail("%s:%d does not answer over %s", host, port, List(bad))
	case len(good) == 0:
		return Unjudged("sessions.turn.transports names none")
	}
	return Pass("%s:%d answers over %s", host, port, List(good))
}
