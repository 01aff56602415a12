package attacks

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
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

// removal takes one guard out of the operator: instead is written at the beginning of a
// function ("func guard", "func Reconciler.hold"), or behind the only place in a source
// file where another text stands.
type removal struct{ file, behind, instead string }

// removals are the guards of operator, renderer and platform that the operator of
// the unguarded cluster lacks.
func removals() []removal {
	return []removal{
		// Somebody else's objects are left alone, and so are their homes.
		{"operator/verdict/owner.go", "func OwnedBy", "return nil"},
		{"operator/session/gather.go", "return fmt.Errorf(\"read pod: %w\", err)\n\t}", "p.Seen.Pod = pod"},
		{"operator/homes/claim.go", "func Usable", "return nil"},
		{"operator/session/plan/start.go", "func draft.startOn", "return nil"},
		{"operator/session/ask.go", "func asker.hadByOther", anybodyCounts},
		// Templates mount what administrators have given to desktops.
		{"operator/session/plan/start.go", "func draft.inspectClaims", "return nil"},
		// A template may be for some people only.
		{"operator/session/plan/start.go", "func draft.mayUseTemplate", "return nil"},
		// People have what quotas leave them.
		{"operator/session/plan/quota.go", "func draft.admit", "return nil"},
		// A host never passes to another person.
		{"operator/hosts/hosts.go", "func Claims.Take", "return nil"},
		// The end is orderly, however the session is deleted.
		{"operator/session/plan/run.go", "func draft.register", "return nil"},
		{"operator/session/plan/ending.go", "func draft.stopForGood", "return nil"},
		{"operator/session/plan/ending.go", "func IsOrphan", "return false"},
		// A session's wishes end at its template's bounds.
		{"operator/session/plan/lifecycle.go", "func bounded", "return wish"},
		{"operator/session/plan/lifecycle.go", "func extended", "if s.Spec.KeepAliveUntil != nil { return s.Spec.KeepAliveUntil.Time }"},
		// What an agent does not confirm is not believed.
		{"operator/session/probes.go", "written := annotatedActivity(p.Session, p.Now)", "if written != nil { return written, true }"},
		// A password stays only if it was reported, and where a policy answers for it.
		{"operator/secrets/secrets.go", "func Store.ensurePolicy", "return nil"},
		{"operator/credentials/credentials.go", "stays, verifier, err := l.reported(ctx, s)", "stays = true"},
		// Passwords come from the kernel, and what is published of them tells nothing.
		{"operator/credentials/credentials.go", "import (", "\"crypto/sha256\""},
		{
			"operator/credentials/credentials.go", "random := make([]byte, 2*passwordBytes+cookieKeyBytes)",
			"guess := sha256.Sum256([]byte(s.Name))",
		},
		{
			"operator/credentials/credentials.go", "return nil, fmt.Errorf(\"make password: %w\", err)\n\t}",
			"for i := range random { random[i] = guess[i%len(guess)] }",
		},
		{"platform/wire/verifier.go", "sum := sha256.Sum256([]byte(password))", "copy(sum[:], password); println(password)"},
		// Nobody's name is in the log.
		{
			"operator/session/controller.go", "func Reconciler.report",
			"ctrl.Log.Info(\"report\", \"user\", p.Session.Spec.User)",
		},
		// Namespaces and people take turns, and one's desktops are no business of another's.
		{
			"operator/session/watches.go", "func Reconciler.newQueue",
			"return workqueue.NewTypedRateLimitingQueue(limiter)",
		},
		{"operator/session/index.go", "var found []reconcile.Request", "return x.requests(ctx, client.InNamespace(namespace))"},
		// Users are told apart by a hash that nobody can aim at.
		{"platform/identity.go", "func Identity", "return slug(user)"},
		{"platform/identity.go", "func ValidateUser", "return nil"},
		// What is rendered is judged, in order, and ours in the end.
		{"renderer/values.go", "problems, err := r.schema.check(all)", "problems = nil"},
		{"renderer/guard.go", "func guard", "return func(*Rendered) error { return nil }"},
		{"renderer/postrender.go", "func installRank", "return -slices.Index(wire.Kinds(), kind)"},
		{"renderer/postrender.go", "func enforceLabels", theirLabelsWin},
		{"renderer/postrender.go", "func securityFloor", "return mountToken"},
	}
}

// anybodyCounts lets every session have a home that names it.
const anybodyCounts = `
	all := &vdi.VDISessionList{}
	if err := a.homes.Objects.Live.List(ctx, all, client.InNamespace(s.Namespace)); err != nil {
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
		for _, pod := range r.ofKind(wire.KindPod) {
			addAll(manifest.EnsureMap(pod.Object, "metadata"), "labels", wish.Pod.Labels)
		}
		return nil
	}
`

// mountToken is what Kubernetes does when nobody says otherwise.
const mountToken = `

func mountToken(r *Rendered) error {
	for _, pod := range r.ofKind(wire.KindPod) {
		delete(manifest.EnsureMap(pod.Object, "spec"), "automountServiceAccountToken")
	}
	return nil
}
`

// at is where in a source a removal is written.
func (g removal) at(source string) (int, error) {
	name, isFunction := strings.CutPrefix(g.behind, "func ")
	if !isFunction || strings.Contains(name, " ") {
		if strings.Count(source, g.behind) != 1 {
			return 0, fmt.Errorf("%s no longer holds %q once: write in removals where this guard is now", g.file, g.behind)
		}
		return strings.Index(source, g.behind) + len(g.behind), nil
	}
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, g.file, source, 0)
	if err != nil {
		return 0, err
	}
	for _, declaration := range file.Decls {
		if f, ok := declaration.(*ast.FuncDecl); ok && nameOf(f) == name {
			return files.Position(f.Body.Lbrace).Offset + 1, nil
		}
	}
	return 0, fmt.Errorf("%s has no function %s any more: write in removals where this guard is now", g.file, name)
}

// nameOf is a function's name, behind that of its receiver's type where it has one.
func nameOf(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	of := f.Recv.List[0].Type
	if pointer, ok := of.(*ast.StarExpr); ok {
		of = pointer.X
	}
	if id, ok := of.(*ast.Ident); ok {
		return id.Name + "." + f.Name.Name
	}
	return ""
}

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
		at, err := g.at(string(text))
		if err != nil {
			return "", err
		}
		changed := string(text[:at]) + "\n" + g.instead + "\n" + string(text[at:])
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

// unguardKinds takes every rule out of the schemas of our kinds.
func unguardKinds(ctx context.Context, r *scale.Rig) error {
	for _, name := range []string{"vdiquotas.vdi.kasm.io", "vdisessions.vdi.kasm.io", "vditemplates.vdi.kasm.io"} {
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
