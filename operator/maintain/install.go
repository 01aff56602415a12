package maintain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

const (
	// defaultClass marks the StorageClass of claims that name none.
	defaultClass = "storageclass.kubernetes.io/is-default-class"
	// gpuGroup holds the GPU Operator's ClusterPolicy.
	gpuGroup = "nvidia.com"
)

// checkInstall judges settings before anything is made of them, by the code that will run on
// them. What would break every session is refused. What would break some is a warning: no
// single template may stand in the way of a security upgrade.
func checkInstall(ctx context.Context, j job) error {
	config, err := readConfig(j.options.config)
	if err != nil {
		return err
	}
	r, err := renderer.New()
	if err != nil {
		return err
	}
	sample, err := j.sample(r, config)
	if err != nil {
		return err
	}
	j.report("the settings work")
	return errors.Join(j.warnOfTemplates(r, config), j.warnOfStorage(ctx, sample), j.reportKinds(config))
}

// sample is a session of a template that says nothing but its image. An overlay may need what
// only the installation's own templates have: where a session of one of these could start, that
// one is the sample.
func (j job) sample(r *renderer.Renderer, config platform.Config) (renderer.Rendered, error) {
	plain := &vdi.VDITemplate{Spec: vdi.VDITemplateSpec{Image: "registry.example.com/desktop:1"}}
	plain.Name = "plain"
	sample, problem := r.Sample(plain, config)
	if problem == nil {
		return sample, nil
	}
	templates, _ := readTemplates(j.options.templates) // what cannot be read has no sample; warnOfTemplates says why
	for _, name := range slices.Sorted(maps.Keys(templates)) {
		if sample, err := r.Sample(templates[name], config); err == nil {
			j.report("warning: sessions could start from templates.%s, but not from a template that says nothing but its image: %v", name, problem)
			return sample, nil
		}
	}
	return sample, fmt.Errorf("%w: with these settings no session could start from a template that says nothing but its image, nor from one of the values; where those in the cluster have what it needs, hooks.check=false leaves this check out: %w", ErrRefused, problem)
}

func (j job) warnOfTemplates(r *renderer.Renderer, config platform.Config) error {
	templates, err := readTemplates(j.options.templates)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, ErrRefused):
		j.report("warning: %v", err)
		return nil
	case err != nil:
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(templates)) {
		if err := r.ValidateTemplate(templates[name], config); err != nil {
			j.report("warning: templates.%s: no session could start from it: %v", name, err)
		}
	}
	return nil
}

// warnOfStorage looks for the StorageClass of homes. Without rights to it, it is not known.
func (j job) warnOfStorage(ctx context.Context, sample renderer.Rendered) error {
	classes := &storagev1.StorageClassList{}
	err := j.client.List(ctx, classes)
	if apierrors.IsForbidden(err) {
		j.report("not known: whether there is a StorageClass for homes, which this account may not list")
		return nil
	}
	if err != nil {
		return fmt.Errorf("list StorageClasses: %w", err)
	}
	claim, err := homeOf(sample)
	if err != nil || claim == nil {
		return err
	}
	if problem := storageProblem(claim.Spec.StorageClassName, classes.Items); problem != "" {
		j.report("warning: %s", problem)
	}
	return nil
}

// homeOf is the claim of a session's home; nil where it has none.
func homeOf(sample renderer.Rendered) (*corev1.PersistentVolumeClaim, error) {
	for _, object := range sample.Objects {
		if object.GetKind() == wire.KindPersistentVolumeClaim {
			claim := &corev1.PersistentVolumeClaim{}
			return claim, runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, claim)
		}
	}
	return nil, nil
}

// storageProblem says why a home of this class would never be bound, or "".
func storageProblem(wanted *string, classes []storagev1.StorageClass) string {
	isThere := func(c storagev1.StorageClass) bool {
		if wanted == nil {
			isDefault, _ := strconv.ParseBool(c.Annotations[defaultClass])
			return isDefault
		}
		return c.Name == *wanted
	}
	switch {
	case slices.ContainsFunc(classes, isThere), wanted != nil && *wanted == "": // bound by hand
		return ""
	case wanted != nil:
		return fmt.Sprintf("sessions.values.home.persistence.storageClassName is %q, which the cluster does not have: sessions that name no other wait for their home", *wanted)
	default:
		return "the cluster has no default StorageClass: sessions that name none wait for their home; mark one (kubectl annotate storageclass NAME " + defaultClass + "=true), or name one in sessions.values.home.persistence.storageClassName"
	}
}

// policyGroups are API groups of network plugins that enforce NetworkPolicies.
func policyGroups() map[string]string {
	return map[string]string{
		"cilium.io": "Cilium", "crd.projectcalico.org": "Calico", "projectcalico.org": "Calico", "crd.antrea.io": "Antrea", "k8s.ovn.org": "OVN-Kubernetes",
		"networking.k8s.aws": "the VPC CNI, where its policies are switched on",
	}
}

// reportKinds says what the kinds that the API server serves show, which everybody may ask
// for: whose kinds are missing, and whether the network plugin is one that enforces policies.
// Only a connection shows whether they hold.
func (j job) reportKinds(config platform.Config) error {
	served, err := discovery.NewDiscoveryClientForConfig(j.cluster)
	if err != nil {
		return fmt.Errorf("build client: %w", err)
	}
	groups, err := served.ServerGroups()
	if err != nil {
		return fmt.Errorf("ask the API server for its kinds: %w", err)
	}
	for _, missing := range missingKinds(config, groups.Groups) {
		j.report("warning: %s", missing)
	}
	if plugin := pluginOf(groups.Groups); plugin != "" {
		j.report("NetworkPolicies are enforced by %s", plugin)
		return nil
	}
	j.report("not known: whether the network plugin enforces NetworkPolicies, without which desktops reach each other and what is inside; make validate tries it")
	return nil
}

// missingKinds are sentences about kinds of others that the settings need.
func missingKinds(config platform.Config, groups []metav1.APIGroup) (out []string) {
	isServed := func(name string) bool {
		return slices.ContainsFunc(groups, func(g metav1.APIGroup) bool { return g.Name == name })
	}
	if !isServed(wire.GroupProxy) {
		out = append(out, "the cluster does not know Traefik's IngressRoute: sessions wait for their route until Traefik and its CRDs are installed")
	}
	if config.TimeSlicing.Enabled && !isServed(gpuGroup) {
		out = append(out, "gpuSharing.enabled is on, but the cluster does not know NVIDIA's ClusterPolicy: install the GPU Operator and its CRDs, or switch it off")
	}
	return out
}

func pluginOf(groups []metav1.APIGroup) string {
	known := policyGroups()
	for _, group := range groups {
		if plugin := known[group.Name]; plugin != "" {
			return plugin
		}
	}
	return ""
}
