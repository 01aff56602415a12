package renderer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	jsonutil "k8s.io/apimachinery/pkg/util/json"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer/manifest"
)

// installRank orders kinds: policy before pod, route last. Unknown kinds come
// at the end, where the guard refuses them.
func installRank(kind string) int {
	if i := slices.Index(wire.Kinds(), kind); i >= 0 {
		return i
	}
	return len(wire.Kinds())
}

// step changes or judges the rendered objects.
type step func(*Rendered) error

// stepsOf are the post-render steps, in order. What a person can influence
// comes first, what the platform enforces later, the guard last.
func stepsOf(in Input, want expectation) []step {
	site := in.Platform.Sessions
	return []step{
		overlay(site.Overlay),
		rewriteImages(site.Images),
		injectEgress(site.Egress),
		addMetadata(site.Labels, site.Annotations),
		enforceLabels(in),
		securityFloor(gpuResource(in.Template.Spec)),
		excludeMetadataServices,
		setOwner(in.Session),
		annotateRevisions,
		labelForProxy,
		guard(want),
	}
}

// overlay applies the site's patches in order.
func overlay(patches []platform.Overlay) step {
	return func(r *Rendered) error {
		for i, patch := range patches {
			for _, obj := range r.Objects {
				if obj.GetKind() != patch.Kind {
					continue
				}
				if err := applyPatch(obj, patch); err != nil {
					return fmt.Errorf("%w: platform settings: sessions.overlay[%d]: %w", ErrValues, i, err)
				}
			}
		}
		return nil
	}
}

func applyPatch(obj *unstructured.Unstructured, patch platform.Overlay) error {
	before, err := json.Marshal(obj.Object)
	if err != nil {
		return err
	}
	after, err := patched(before, patch)
	if err != nil {
		return err
	}
	var out map[string]any
	if err := jsonutil.Unmarshal(after, &out); err != nil {
		return err
	}
	if out == nil {
		return errors.New("it leaves nothing of the object")
	}
	obj.Object = out
	return nil
}

func patched(doc []byte, patch platform.Overlay) ([]byte, error) {
	if patch.Merge != nil {
		return jsonpatch.MergePatch(doc, patch.Merge.Raw)
	}
	operations, err := json.Marshal(patch.JSONPatch)
	if err != nil {
		return nil, err
	}
	decoded, err := jsonpatch.DecodePatch(operations)
	if err != nil {
		return nil, err
	}
	return decoded.Apply(doc)
}

// rewriteImages moves images to the site's registries and adds the site's pull
// secrets.
func rewriteImages(images platform.Images) step {
	rewrite := images.Rewriter()
	return func(r *Rendered) error {
		for _, pod := range r.ofKind(wire.KindPod) {
			for _, c := range manifest.Containers(pod) {
				c["image"] = rewrite(manifest.Text(c["image"]))
			}
			for _, v := range manifest.Maps(manifest.Nested(pod.Object, "spec", "volumes")) {
				if image, isMap := v["image"].(map[string]any); isMap {
					image["reference"] = rewrite(manifest.Text(image["reference"]))
				}
			}
			manifest.AddPullSecrets(pod, images.PullSecrets)
		}
		return nil
	}
}

// addMetadata adds the site's labels and annotations to every object.
func addMetadata(labels, annotations map[string]string) step {
	return func(r *Rendered) error {
		for _, obj := range r.Objects {
			metadata := manifest.EnsureMap(obj.Object, "metadata")
			addAll(metadata, "labels", labels)
			addAll(metadata, "annotations", annotations)
		}
		return nil
	}
}

func addAll(metadata map[string]any, field string, more map[string]string) {
	if len(more) == 0 {
		return
	}
	set := manifest.EnsureMap(metadata, field)
	for key, value := range more {
		set[key] = value
	}
}

// enforceLabels sets our own labels and annotations last, so that nobody
// overrides them.
func enforceLabels(in Input) step {
	return func(r *Rendered) error {
		for _, obj := range r.Objects {
			metadata := manifest.EnsureMap(obj.Object, "metadata")
			addAll(metadata, "labels", labelsOf(in))
			switch obj.GetKind() {
			case wire.KindPod:
				addAll(metadata, "annotations", map[string]string{wire.AnnotationUser: in.Session.Spec.User})
			case wire.KindPersistentVolumeClaim:
				addAll(metadata, "annotations", map[string]string{wire.AnnotationSessionUID: string(in.Session.UID)})
			}
		}
		return nil
	}
}

func labelsOf(in Input) map[string]string {
	labels := selectorOf(in.Session.Name)
	labels[wire.LabelManagedBy] = wire.Operator
	labels[wire.LabelUser] = platform.Identity(in.Session.Spec.User)
	labels[wire.LabelTemplate] = platform.TemplateLabel(in.Template.Name)
	return labels
}

func selectorOf(session string) map[string]string {
	return map[string]string{wire.LabelName: wire.NameSession, wire.LabelInstance: session}
}

// securityFloor fills in what Pod Security "restricted" asks for and nobody
// said. It overrides nothing: what is said and not allowed, the guard refuses.
func securityFloor(gpuResource string) step {
	return func(r *Rendered) error {
		for _, pod := range r.ofKind(wire.KindPod) {
			spec := manifest.EnsureMap(pod.Object, "spec")
			setDefault(spec, "automountServiceAccountToken", false)
			setDefault(spec, "enableServiceLinks", false)
			for _, c := range manifest.Containers(pod) {
				floorOfContainer(c)
				hideGPUs(c, gpuResource)
			}
		}
		return nil
	}
}

func floorOfContainer(c map[string]any) {
	security := manifest.EnsureMap(c, "securityContext")
	setDefault(security, "allowPrivilegeEscalation", false)
	capabilities := manifest.EnsureMap(security, "capabilities")
	setDefault(capabilities, "drop", []any{"ALL"})
}

// setOwner makes the session the owner of everything but its home: garbage
// collection knows no policy, so no claim ever has an owner.
func setOwner(s vdi.VDISession) step {
	return func(r *Rendered) error {
		for _, obj := range r.Objects {
			metadata := manifest.EnsureMap(obj.Object, "metadata")
			if _, found := metadata["ownerReferences"]; !found && obj.GetKind() != wire.KindPersistentVolumeClaim {
				metadata["ownerReferences"] = []any{ownerOf(s)}
			}
		}
		return nil
	}
}

func ownerOf(s vdi.VDISession) map[string]any {
	return map[string]any{
		"apiVersion": vdi.GroupVersion.String(),
		"kind":       wire.KindSession,
		"name":       s.Name,
		"uid":        string(s.UID),
		"controller": true,
	}
}

// annotateRevisions notes on each object the hash of what was rendered, and on the
// pod the hash over all objects too, but for the statement keys: these change
// while the pod runs.
func annotateRevisions(r *Rendered) error {
	all := sha256.New()
	for _, obj := range r.Objects {
		text, err := json.Marshal(obj.Object) // sorts keys
		if err != nil {
			return fmt.Errorf("%w: %w", ErrValues, err)
		}
		sum := sha256.Sum256(text)
		if obj.GetKind() != wire.KindConfigMap {
			all.Write(sum[:])
		}
		annotate(obj, wire.AnnotationRevision, short(sum[:]))
	}
	r.Revision = short(all.Sum(nil))
	for _, pod := range r.ofKind(wire.KindPod) {
		annotate(pod, wire.AnnotationSessionRevision, r.Revision)
	}
	return nil
}

// labelForProxy sets the label by which the platform's own proxy knows its objects. It is
// no part of a revision: living desktops get it too, and are not changed by it.
func labelForProxy(r *Rendered) error {
	for _, obj := range r.Objects {
		if isProxyKind(obj.GetKind()) {
			addAll(manifest.EnsureMap(obj.Object, "metadata"), "labels", map[string]string{wire.LabelProxy: wire.LabelOn})
		}
	}
	return nil
}

func isProxyKind(kind string) bool {
	return kind == wire.KindIngressRoute || kind == wire.KindMiddleware
}

// short is 128 bits of a hash in hexadecimal: enough to distinguish renderings.
func short(sum []byte) string { return hex.EncodeToString(sum[:16]) }

func annotate(obj *unstructured.Unstructured, key, value string) {
	addAll(manifest.EnsureMap(obj.Object, "metadata"), "annotations", map[string]string{key: value})
}

func (r *Rendered) ofKind(kind string) (out []*unstructured.Unstructured) {
	for _, obj := range r.Objects {
		if obj.GetKind() == kind {
			out = append(out, obj)
		}
	}
	return out
}

func setDefault(m map[string]any, key string, value any) {
	if _, found := m[key]; !found {
		m[key] = value
	}
}
