package attacks

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/tests/scale"
)

// removal takes one guard out of the operator: instead is written behind the only
// place in a source file where a text stands.
type removal struct{ file, behind, instead string }

// removals are the guards of operator, renderer and platform that the operator of
// the unguarded cluster lacks.
func removals() []removal {
	return []removal{
		// Somebody else's objects are left alone, and so are their homes.
		{"operator/session/apply.go", "func ownedBy(s *vdi.VDISession, o metav1.Object, kind string) error {", "return nil"},
		{"operator/session/observe.go", "return fmt.Errorf(\"read pod: %w\", err)\n\t}", "p.seen.pod = pod"},
		{"operator/session/home.go", "func usableHome(s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) error {", "return nil"},
		{"operator/session/holder.go", "func (r *Reconciler) hold(ctx context.Context, p *pass, claim *corev1.PersistentVolumeClaim) error {", "return nil"},
		{"operator/session/finalize.go", "func (r *Reconciler) hadByOther(ctx context.Context, s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) (how string, err error) {", anybodyCounts},
		// Templates mount what administrators have given to desktops.
		{"operator/session/claims.go", "func (r *Reconciler) inspectClaims(ctx context.Context, p *pass) error {", "return nil"},
		// A host never passes to another person.
		{"operator/session/host.go", "func (r *Reconciler) becomeHolder(ctx context.Context, p *pass) error {", "return nil"},
		// The end is orderly, however the session is deleted.
		{"operator/session/controller.go", "func (r *Reconciler) register(ctx context.Context, p *pass) error {", "return nil"},
		{"operator/session/finalize.go", "func (r *Reconciler) finalizeDesktop(ctx context.Context, p *pass) error {", "return nil"},
		{"operator/session/orphans.go", "func orphaned(s *vdi.VDISession, o metav1.Object) bool {", "return false"},
		// A session's wishes end at its template's bounds.
		{"operator/session/lifecycle.go", "func bounded(wish time.Duration, maximum vdi.Duration) time.Duration {", "return wish"},
		{"operator/session/lifecycle.go", "func extended(s *vdi.VDISession, rules vdi.TemplateLifecycle, end, bound time.Time) time.Time {", "if s.Spec.KeepAliveUntil != nil { return s.Spec.KeepAliveUntil.Time }"},
		// What an agent does not confirm is not believed.
		{"operator/session/activity.go", "told := toldActivity(p.session, p.now)", "if told != nil { return told, true }"},
		// A password stays only if it was reported, and where a policy answers for it.
		{"operator/session/secret.go", "func (r *Reconciler) ensurePolicy(ctx context.Context, s *vdi.VDISession) error {", "return nil"},
		{"operator/session/credentials.go", "stays, verifier, err := r.reportedLogin(ctx, p)", "stays = true"},
		// Passwords come from the kernel, and what is published of them tells nothing.
		{
			"operator/session/credentials.go", "random := make([]byte, 2*passwordBytes+cookieKeyBytes)",
			"guess := wire.PasswordVerifier(s.Name)",
		},
		{
			"operator/session/credentials.go", "return nil, fmt.Errorf(\"make password: %w\", err)\n\t}",
			"for i := range random { random[i] = guess[i%len(guess)] }",
		},
		{"platform/wire/verifier.go", "sum := sha256.Sum256([]byte(password))", "copy(sum[:], password); println(password)"},
		// Nobody's name is in the log.
		{
			"operator/session/apply.go", "func (r *Reconciler) create(ctx context.Context, p *pass, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {",
			"logf.FromContext(ctx).Info(\"create\", \"user\", p.session.Spec.User)",
		},
		// Namespaces and people take turns, and one's desktops are no business of another's.
		{
			"operator/session/watches.go", "func (r *Reconciler) newQueue(name string, limiter workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {",
			"return workqueue.NewTypedRateLimitingQueue(limiter)",
		},
		{"operator/session/watches.go", "var found []reconcile.Request", "return r.requests(ctx, client.InNamespace(namespace))"},
		// Users are told apart by a hash that nobody can aim at.
		{"platform/identity.go", "func Identity(user string) string {", "return slug(user)"},
		{"platform/identity.go", "func ValidateUser(user string) error {", "return nil"},
		// What is rendered is judged, in order, and ours in the end.
		{"renderer/values.go", "problems, err := r.schema.check(all)", "problems = nil"},
		{"renderer/guard.go", "func guard(e expectation) step {", "return func(*Rendered) error { return nil }"},
		{"renderer/postrender.go", "func installRank(kind string) int {", "return -slices.Index(wire.Kinds(), kind)"},
		{"renderer/postrender.go", "func enforceLabels(in Input) step {", theirLabelsWin},
		{"renderer/postrender.go", "func securityFloor(gpuResource string) step {", "return mountToken"},
	}
}

// anybodyCounts lets every session have a home that names it.
const anybodyCounts = `
	all := &vdi.VDISessionList{}
	if err := r.Live.List(ctx, all, client.InNamespace(s.Namespace)); err != nil {
		return "", err
	}
	for _, other := range all.Items {
		if other.UID != s.UID && other.Spec.Persistence.ExistingClaim == claim.Name {
			return other.Name, nil
		}
	}
`

// theirLabelsWin merges a template's labels over the platform's, as a chart does
// that writes them last.
const theirLabelsWin = `
	return func(r *Rendered) error {
		var wish struct {
			Pod struct{ Labels map[string]string }
		}
		if in.Template.Spec.Values != nil {
			_ = json.Unmarshal(in.Template.Spec.Values.Raw, &wish)
		}
		for _, pod := range r.ofKind(kindPod) {
			addAll(ensureMap(pod.Object, "metadata"), "labels", wish.Pod.Labels)
		}
		return nil
	}
`

// mountToken is what Kubernetes does when nobody says otherwise.
const mountToken = `

func mountToken(r *Rendered) error {
	for _, pod := range r.ofKind(kindPod) {
		delete(ensureMap(pod.Object, "spec"), "automountServiceAccountToken")
	}
	return nil
}
`

// overlay writes the changed sources into dir and returns the file that go build
// takes for -overlay.
func overlay(root, dir string) (string, error) {
	replaced := map[string]string{}
	for i, g := range removals() {
		path := filepath.Join(root, g.file)
		from := path
		if replaced[path] != "" {
			from = replaced[path]
		}
		text, err := os.ReadFile(from)
		if err != nil {
			return "", err
		}
		if strings.Count(string(text), g.behind) != 1 {
			return "", fmt.Errorf("%s no longer holds %q once: tell tests/attacks where this guard is now", g.file, g.behind)
		}
		changed := strings.Replace(string(text), g.behind, g.behind+"\n"+g.instead+"\n", 1)
		if strings.Contains(g.instead, "mountToken") {
			changed += mountToken
		}
		to := filepath.Join(dir, fmt.Sprintf("%d-%s", i, filepath.Base(g.file)))
		if err := os.WriteFile(to, []byte(changed), 0o600); err != nil {
			return "", err
		}
		replaced[path] = to
	}
	content, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, content, 0o600)
}

// unguardKinds takes every rule out of the schemas of sessions and templates.
func unguardKinds(ctx context.Context, r *scale.Rig) error {
	for _, name := range []string{"vdisessions.vdi.kasm.io", "vditemplates.vdi.kasm.io"} {
		err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
			crd := &unstructured.Unstructured{}
			crd.SetGroupVersionKind(apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition"))
			if err := r.Driver.Get(ctx, client.ObjectKey{Name: name}, crd); err != nil {
				return err
			}
			versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
			if err != nil {
				return err
			}
			for _, v := range versions {
				withoutRules(v.(map[string]any)["schema"])
			}
			if err := unstructured.SetNestedSlice(crd.Object, versions, "spec", "versions"); err != nil {
				return err
			}
			return r.Driver.Update(ctx, crd)
		})
		if err != nil {
			return fmt.Errorf("unguard %s: %w", name, err)
		}
	}
	return nil
}

// rules are the keys of a schema that refuse values.
var rules = []string{"x-kubernetes-validations", "maxLength", "minLength", "pattern", "maximum", "minimum", "enum", "maxItems", "maxProperties"}

func withoutRules(v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, rule := range rules {
			if _, isField := v[rule].(map[string]any); !isField { // a property may have that name
				delete(v, rule)
			}
		}
		for _, inner := range v {
			withoutRules(inner)
		}
	case []any:
		for _, inner := range slices.All(v) {
			withoutRules(inner)
		}
	}
}
