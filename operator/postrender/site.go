package postrender

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/renderer/manifest"
)

// Site is what an administrator wants of every object of the platform itself,
// whichever chart it comes from.
type Site struct {
	// Labels are added to every object and to the pods it makes.
	Labels map[string]string `json:"labels,omitempty"`
	// Annotations are added to every object.
	Annotations map[string]string `json:"annotations,omitempty"`
	// Images are the same settings that sessions have.
	Images platform.Images `json:"images,omitempty"`
	// Digests pin images: from a name with its tag, as the charts write it, to
	// "sha256:…".
	Digests map[string]string `json:"digests,omitempty"`
	// RequireDigests refuses images that nothing pins.
	RequireDigests bool `json:"requireDigests,omitempty"`
	// NodeSelector of all pods but those of DaemonSets, which belong on every node.
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// Tolerations of the same pods.
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// Privileged lists what may go beyond Pod Security "baseline", as Kind/name
	// with * for any part of the name, such as DaemonSet/nvidia-*.
	Privileged []string `json:"privileged,omitempty"`
}

// apply changes the objects of any chart. It keeps their number and order, and
// doing it twice changes nothing more. Errors are ErrSite.
func (s Site) apply(objects []*unstructured.Unstructured) error {
	if err := s.validate(); err != nil {
		return err
	}
	for _, obj := range objects {
		if err := s.onObject(obj); err != nil {
			return fmt.Errorf("%w: %s %s: %w", ErrSite, obj.GetKind(), obj.GetName(), err)
		}
	}
	return nil
}

// validate keeps the site off what charts and platform rely on.
func (s Site) validate() error {
	for _, set := range []map[string]string{s.Labels, s.Annotations} {
		for _, key := range slices.Sorted(maps.Keys(set)) {
			for _, reserved := range []string{"helm.sh/", "meta.helm.sh/", "app.kubernetes.io/", "vdi.kasm.io/"} {
				if strings.HasPrefix(key, reserved) {
					return fmt.Errorf("%w: settings: %q belongs to the charts; use a key of your own", ErrSite, key)
				}
			}
		}
	}
	for _, image := range slices.Sorted(maps.Keys(s.Digests)) {
		if hash, isSHA := strings.CutPrefix(s.Digests[image], "sha256:"); !isSHA || len(hash) != 64 {
			return fmt.Errorf("%w: settings: digest of %s: %q is none; it looks like sha256:… with 64 digits", ErrSite, image, s.Digests[image])
		}
	}
	for _, pattern := range s.Privileged {
		if _, err := path.Match(pattern, ""); err != nil || strings.Count(pattern, "/") != 1 {
			return fmt.Errorf("%w: settings: privileged: %q is no Kind/name", ErrSite, pattern)
		}
	}
	return nil
}

func (s Site) onObject(obj *unstructured.Unstructured) error {
	if obj.IsList() {
		return s.onList(obj)
	}
	metadata := manifest.EnsureMap(obj.Object, "metadata")
	if err := errors.Join(
		addNew(metadata, "labels", s.Labels),
		addNew(metadata, "annotations", s.Annotations),
	); err != nil {
		return err
	}
	pod, isPod := podOf(obj)
	if !isPod {
		return nil
	}
	if err := addNew(manifest.EnsureMap(pod, "metadata"), "labels", s.Labels); err != nil {
		return err
	}
	return s.onPod(obj, &unstructured.Unstructured{Object: pod})
}

func (s Site) onList(obj *unstructured.Unstructured) error {
	for _, item := range manifest.Maps(obj.Object["items"]) {
		if err := s.onObject(&unstructured.Unstructured{Object: item}); err != nil {
			return err
		}
	}
	return nil
}

// addNew refuses to change what a chart set: a selector may rely on it.
func addNew(metadata map[string]any, field string, more map[string]string) error {
	if len(more) == 0 {
		return nil
	}
	set := manifest.EnsureMap(metadata, field)
	for _, key := range slices.Sorted(maps.Keys(more)) {
		if there, found := set[key]; found && there != more[key] {
			return fmt.Errorf("metadata.%s: %s is %q there, and the site wants %q", field, key, there, more[key])
		}
		set[key] = more[key]
	}
	return nil
}

func (s Site) onPod(maker, pod *unstructured.Unstructured) error {
	for _, c := range manifest.Containers(pod) {
		written, _ := c["image"].(string)
		image, err := s.imageOf(written)
		if err != nil {
			return err
		}
		c["image"] = image
	}
	manifest.AddPullSecrets(pod, s.Images.PullSecrets)
	if maker.GetKind() != "DaemonSet" {
		if err := s.place(manifest.EnsureMap(pod.Object, "spec")); err != nil {
			return err
		}
	}
	return s.judge(maker, pod)
}

// imageOf pins first: a digest is the same in every registry.
func (s Site) imageOf(image string) (string, error) {
	if !strings.Contains(image, "@") {
		for _, name := range []string{image, platform.FullImageName(image)} {
			if digest := s.Digests[name]; digest != "" {
				image += "@" + digest
				break
			}
		}
	}
	if s.RequireDigests && !strings.Contains(image, "@") {
		return "", fmt.Errorf("image %s is not pinned: add its digest, or leave requireDigests out", image)
	}
	if s.Images.IsRewritten(image) {
		return image, nil
	}
	return s.Images.Rewriter()(image), nil
}

// place keeps what a chart chose.
func (s Site) place(spec map[string]any) error {
	if len(s.NodeSelector) > 0 {
		selector := manifest.EnsureMap(spec, "nodeSelector")
		for key, value := range s.NodeSelector {
			if _, chosen := selector[key]; !chosen {
				selector[key] = value
			}
		}
	}
	tolerations, _ := spec["tolerations"].([]any)
	for i := range s.Tolerations {
		toleration, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&s.Tolerations[i])
		if err != nil {
			return fmt.Errorf("write tolerations: %w", err)
		}
		if !slices.ContainsFunc(tolerations, func(t any) bool { return reflect.DeepEqual(t, any(toleration)) }) {
			tolerations = append(tolerations, toleration)
		}
	}
	if len(tolerations) > 0 {
		spec["tolerations"] = tolerations
	}
	return nil
}

// judge asks the API server's own code whether a pod keeps Pod Security
// "baseline", unless its maker is listed.
func (s Site) judge(maker, pod *unstructured.Unstructured) error {
	name := maker.GetKind() + "/" + maker.GetName()
	for _, pattern := range s.Privileged {
		if listed, _ := path.Match(pattern, name); listed {
			return nil
		}
	}
	var typed struct {
		Metadata metav1.ObjectMeta `json:"metadata"`
		Spec     corev1.PodSpec    `json:"spec"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(pod.Object, &typed); err != nil {
		return fmt.Errorf("read its pod: %w", err)
	}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return err
	}
	baseline := api.LevelVersion{Level: api.LevelBaseline, Version: api.LatestVersion()}
	verdict := policy.AggregateCheckResults(evaluator.EvaluatePod(baseline, &typed.Metadata, &typed.Spec))
	if !verdict.Allowed {
		return fmt.Errorf("its pod is privileged (%s); if it must be, add %q to the settings' privileged list", verdict.ForbiddenDetail(), name)
	}
	return nil
}
