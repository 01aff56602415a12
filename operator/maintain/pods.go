package maintain

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/operator/program"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// What the cluster's own webhooks add to desktops' pods is seen in those that live. After
// the upgrade the next pod has it again, and admission judges it as what the operator makes:
// by the rules of admission/operator-pods.yaml (charts/vdi-operator), which are written here
// a second time. tests/integration makes the same pods for both. The API server cannot be
// asked instead: before the upgrade it knows no such policy.

// podRules are what a desktop's pod may have, as the chart says to that policy.
type podRules struct {
	volumes      []string // fields of a volume
	sources      []string // of a projected one
	capabilities []string
	secrets      []string // besides the desktop's own
}

// violation is what admission would refuse in a pod.
type violation struct {
	key   string // as in a finding
	what  string // after "has"
	allow string // the value that allows it; "": none does
}

// runningPod is a desktop's pod, in the form in which it is stored.
type runningPod struct {
	name string
	spec map[string]any
}

func (j job) podRules(secrets []string) podRules {
	o := j.options
	return podRules{program.List(o.podVolumes), program.List(o.podSources), program.List(o.podCapabilities), secrets}
}

// refusedPod is a running desktop's pod that could not be made again as it is.
type refusedPod struct {
	name     string // NAMESPACE/NAME
	template string // as its label says
	by       []violation
}

func (j job) refusedPods(ctx context.Context, rules podRules) (out []refusedPod, err error) {
	if !j.options.admission {
		return nil, nil
	}
	for _, namespace := range j.sessionNamespaces() {
		err := j.each(ctx, corev1.SchemeGroupVersion.WithKind(wire.KindPod), func(o unstructured.Unstructured) error {
			phase, _, _ := unstructured.NestedString(o.Object, "status", "phase")
			if phase == string(corev1.PodSucceeded) || phase == string(corev1.PodFailed) || o.GetDeletionTimestamp() != nil {
				return nil
			}
			spec, _ := o.Object["spec"].(map[string]any)
			if by := rules.judge(runningPod{o.GetName(), spec}); len(by) > 0 {
				out = append(out, refusedPod{o.GetNamespace() + "/" + o.GetName(), o.GetLabels()[wire.LabelTemplate], by})
			}
			return nil
		}, client.InNamespace(namespace), ofSessions)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// refusedPods are those that admission would refuse at the next start. What a template says
// that is refused is a finding of its own ([refusedTemplates]), and no webhook's doing.
func refusedPods(u upgrade) (out []finding) {
	found, where := map[string]violation{}, map[string][]string{}
	for _, pod := range u.pods {
		if slices.ContainsFunc(u.templates, func(t sampled) bool { return t.err != nil && platform.TemplateLabel(t.Name) == pod.template }) {
			continue
		}
		for _, t := range pod.by {
			found[t.key] = t
			if !slices.Contains(where[t.key], pod.name) {
				where[t.key] = append(where[t.key], pod.name)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(found)) {
		t := found[key]
		advice := "no setting allows it: let the webhook leave pods with the label app.kubernetes.io/name=vdi-session alone"
		if t.allow != "" {
			advice = "name it in " + t.allow
		}
		out = append(out, finding{key, fmt.Sprintf("the pod of %s has %s. Where a webhook of the cluster adds it, no desktop could start there any more, though those that run go on; %s", abbreviated(where[key]), t.what, advice)})
	}
	return out
}

// abbreviated are the first few names, and how many more there are.
func abbreviated(names []string) string {
	const few = 3
	slices.Sort(names)
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and of %d more", strings.Join(names[:few], ", "), len(names)-few)
}

// judge returns what admission would refuse in a pod. A node in its spec says nothing: the
// scheduler has written it.
func (r podRules) judge(pod runningPod) (out []violation) {
	out = slices.Concat(r.ofNode(pod.spec), r.ofVolumes(pod), r.ofSecurity(pod.spec["securityContext"], "the pod"))
	for _, c := range containersOf(pod.spec) {
		out = slices.Concat(out, r.ofSecurity(c["securityContext"], "the container "+textOf(c["name"])), r.ofEnv(pod, c))
		for _, port := range mapsOf(c["ports"]) {
			if port["hostPort"] != nil {
				out = append(out, forbidden("hostPort", "a port of its node, hostPort"))
			}
		}
	}
	return out
}

// forbidden is a violation that no setting allows.
func forbidden(field, what string) violation { return violation{key: "pod/" + field, what: what} }

func containersOf(spec map[string]any) []map[string]any {
	return slices.Concat(mapsOf(spec["containers"]), mapsOf(spec["initContainers"]))
}

func (r podRules) ofNode(spec map[string]any) (out []violation) {
	if account := textOf(spec["serviceAccountName"]); account != "" && account != "default" {
		out = append(out, forbidden("serviceAccountName", "an account of its own, "+account))
	}
	if spec["automountServiceAccountToken"] != false {
		out = append(out, forbidden("automountServiceAccountToken", "a token of its account, automountServiceAccountToken"))
	}
	for _, field := range []string{"hostNetwork", "hostPID", "hostIPC"} {
		if spec[field] == true {
			out = append(out, forbidden(field, "something of its node, "+field))
		}
	}
	return out
}

func (r podRules) ofVolumes(pod runningPod) (out []violation) {
	for _, v := range mapsOf(pod.spec["volumes"]) {
		for _, kind := range slices.Sorted(maps.Keys(v)) {
			if !slices.Contains(r.volumes, kind) {
				out = append(out, violation{"pod-volume/" + kind, fmt.Sprintf("a volume of the kind %s, %s", kind, textOf(v["name"])), "admission.pods.volumes"})
			}
		}
		secret, _ := v["secret"].(map[string]any)
		out = append(out, r.ofSecret(pod, secret["secretName"])...)
		projected, _ := v["projected"].(map[string]any)
		for _, source := range mapsOf(projected["sources"]) {
			for _, kind := range slices.Sorted(maps.Keys(source)) {
				if !slices.Contains(r.sources, kind) {
					out = append(out, violation{"pod-volume/" + kind, fmt.Sprintf("a volume with the source %s, %s", kind, textOf(v["name"])), "admission.pods.volumes"})
				}
			}
			secret, _ := source["secret"].(map[string]any)
			out = append(out, r.ofSecret(pod, secret["name"])...)
		}
		claim, _, _ := unstructured.NestedMap(v, "ephemeral", "volumeClaimTemplate", "spec")
		for _, field := range []string{"volumeName", "dataSource", "dataSourceRef", "selector"} {
			if claim[field] != nil {
				out = append(out, forbidden("ephemeral."+field, fmt.Sprintf("a claim made with a %s, by the volume %s", field, textOf(v["name"]))))
			}
		}
	}
	return out
}

func (r podRules) ofEnv(pod runningPod, container map[string]any) (out []violation) {
	for _, e := range mapsOf(container["env"]) {
		name, _, _ := unstructured.NestedString(e, "valueFrom", "secretKeyRef", "name")
		out = append(out, r.ofSecret(pod, name)...)
	}
	for _, e := range mapsOf(container["envFrom"]) {
		name, _, _ := unstructured.NestedString(e, "secretRef", "name")
		out = append(out, r.ofSecret(pod, name)...)
	}
	return out
}

func (r podRules) ofSecret(pod runningPod, named any) []violation {
	name := textOf(named)
	if name == "" || name == renderer.CredentialsName(pod.name) || name == renderer.TURNLoginName(pod.name) || slices.Contains(r.secrets, name) {
		return nil
	}
	return []violation{{"pod-secret/" + name, "the Secret " + name, "sessions.allowed.secrets"}}
}

func (r podRules) ofSecurity(context any, whose string) (out []violation) {
	s, _ := context.(map[string]any)
	text := func(fields ...string) string {
		value, _, _ := unstructured.NestedString(s, fields...)
		return value
	}
	process, _, _ := unstructured.NestedBool(s, "windowsOptions", "hostProcess")
	sysctls, _ := s["sysctls"].([]any)
	labels := []string{"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
	for field, refused := range map[string]bool{
		"privileged":      s["privileged"] == true,
		"procMount":       text("procMount") != "" && text("procMount") != string(corev1.DefaultProcMount),
		"seccompProfile":  text("seccompProfile", "type") == string(corev1.SeccompProfileTypeUnconfined),
		"appArmorProfile": text("appArmorProfile", "type") == string(corev1.AppArmorProfileTypeUnconfined),
		"sysctls":         len(sysctls) > 0,
		"windowsOptions":  process,
		"seLinuxOptions":  !slices.Contains(labels, text("seLinuxOptions", "type")),
	} {
		if refused {
			out = append(out, forbidden(field, fmt.Sprintf("a securityContext that Pod Security %q refuses, %s of %s", "baseline", field, whose)))
		}
	}
	added, _, _ := unstructured.NestedStringSlice(s, "capabilities", "add")
	for _, c := range added {
		if !slices.Contains(r.capabilities, c) {
			out = append(out, violation{"pod-capability/" + c, fmt.Sprintf("the capability %s, in %s", c, whose), "admission.pods.capabilities"})
		}
	}
	return out
}

func textOf(value any) string {
	text, _ := value.(string)
	return text
}

func mapsOf(value any) (out []map[string]any) {
	list, _ := value.([]any)
	for _, item := range list {
		if m, is := item.(map[string]any); is {
			out = append(out, m)
		}
	}
	return out
}
