package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/run"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// doorSite is the front door's account under its own policies, with sessions to attack.
type doorSite struct {
	*world
	door   client.Client
	portal string // the namespace in which people make desktops, or empty
	// asked is a session that runs and says whom the front door acts for; bare is one that does
	// not say it. Both are in the portal's namespace, if there is one.
	asked, bare *vdi.VDISession
	// elsewhere is one like asked, in another namespace.
	elsewhere *vdi.VDISession
}

// newDoorSite installs what the chart makes for the front door with some values.
func newDoorSite(t *testing.T, values ...string) *doorSite {
	t.Helper()
	w := newWorld(t)
	w.createTemplate()
	d := &doorSite{world: w}
	home := w.ns
	if slices.Contains(values, "access.mode=Local") {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "portal-"}}
		require.NoError(t, w.client.Create(w.ctx, ns))
		d.portal, home = ns.Name, ns.Name
		values = append(values, "portal.namespace="+ns.Name)
	}
	account := w.asFrontDoorOf(w.doorObjects(values...), policyKind, bindingKind)
	var err error
	d.door, err = client.New(account, client.Options{Scheme: run.Scheme()})
	require.NoError(t, err)
	d.asked, d.bare, d.elsewhere = d.victim(home, requestedBy(alice)), d.victim(home), d.victim(w.ns, requestedBy(alice))
	return d
}

func requestedBy(user string) func(*vdi.VDISession) {
	return func(s *vdi.VDISession) { annotate(s, wire.AnnotationRequestedBy, user) }
}

func annotate(s *vdi.VDISession, key, value string) {
	s.Annotations = maps.Clone(s.Annotations)
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	s.Annotations[key] = value
}

// victim is a session whose desktop runs, with all that the front door must leave alone.
func (d *doorSite) victim(ns string, changes ...func(*vdi.VDISession)) *vdi.VDISession {
	d.t.Helper()
	s := d.createSession(func(s *vdi.VDISession) {
		s.GenerateName, s.Name, s.Namespace = "desk-", "", ns
		s.Labels, s.Annotations, s.Finalizers = map[string]string{"team": "a"}, map[string]string{"note": "a"}, []string{"example.com/keep"}
		s.Spec.IdleTimeout, s.Spec.KeepAliveUntil = "1h", &metav1.Time{Time: tomorrow()}
		s.Spec.Persistence = vdi.Persistence{Size: "2Gi", RetainFor: "720h"}
		for _, change := range changes {
			change(s)
		}
	})
	s.Status.PodName = s.Name
	require.NoError(d.t, d.client.Status().Update(d.ctx, s))
	return s
}

func tomorrow() time.Time { return time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second) }

// desktop is what the portal makes for Alice, with changes.
func (d *doorSite) desktop(changes ...func(*vdi.VDISession)) *vdi.VDISession {
	return d.newSession(append([]func(*vdi.VDISession){func(s *vdi.VDISession) {
		s.Namespace, s.Name = d.portal, platform.SessionName(alice, "Blender, on Mondays")
		s.Annotations = map[string]string{wire.AnnotationRequestedBy: alice}
	}}, changes...)...)
}

// makes asks for a desktop that is not stored.
func (d *doorSite) makes(changes ...func(*vdi.VDISession)) error {
	return d.door.Create(d.ctx, d.desktop(changes...), client.DryRunAll)
}

// patches asks for a change that is not stored.
func (d *doorSite) patches(s *vdi.VDISession, patch string) error {
	return d.door.Patch(d.ctx, s.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch)), client.DryRunAll)
}

// mayEverything gives the front door's account rights that it has not: the policies must hold
// without the roles' help.
func (d *doorSite) mayEverything() {
	d.t.Helper()
	for _, ns := range slices.Compact([]string{d.ns, d.asked.Namespace}) {
		require.NoError(d.t, d.client.Create(d.ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "everything", Namespace: ns},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: doorName, Namespace: d.ns}},
		}))
	}
}

// doorAttack is something that the front door could do with its rights, and the words by
// which the policy keeps it from doing so.
type doorAttack struct {
	what string
	want string
	do   func(*doorSite) error
}

func making(field, want string, change func(*vdi.VDISession)) doorAttack {
	return doorAttack{"makes one with " + field, want, func(d *doorSite) error { return d.makes(change) }}
}

// changing is a patch of the session that says whom the front door acts for.
func changing(patch, want string) doorAttack {
	return doorAttack{patch, want, func(d *doorSite) error { return d.patches(d.asked, patch) }}
}

// changingBare is one of the session that does not.
func changingBare(patch, want string) doorAttack {
	return doorAttack{"unasked " + patch, want, func(d *doorSite) error { return d.patches(d.bare, patch) }}
}

// attacksByMaking are mass assignment: fields that a form could smuggle in.
func attacksByMaking() []doorAttack {
	const without, home = "may not make a session with spec.", "may not make a session with spec.persistence."
	const byHash, onlyOurs = "only with a metadata.name that ends in a hash", "only with the annotation vdi.kasm.io/requested-by, which is its spec.user"
	spec, meta := func(edit func(*vdi.VDISessionSpec)) func(*vdi.VDISession) {
		return func(s *vdi.VDISession) { edit(&s.Spec) }
	}, func(edit func(*metav1.ObjectMeta)) func(*vdi.VDISession) {
		return func(s *vdi.VDISession) { edit(&s.ObjectMeta) }
	}
	owner := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "a", UID: "a"}
	return []doorAttack{
		making("a timeout", without+"timeout", spec(func(s *vdi.VDISessionSpec) { s.Timeout = "1000h" })),
		making("an end of the timeout", without+"timeoutAction", spec(func(s *vdi.VDISessionSpec) { s.TimeoutAction = vdi.TimeoutSuspend })),
		making("an idle timeout", without+"idleTimeout", spec(func(s *vdi.VDISessionSpec) { s.IdleTimeout = "0" })),
		making("more time", without+"keepAliveUntil", spec(func(s *vdi.VDISessionSpec) { s.KeepAliveUntil = &metav1.Time{Time: tomorrow()} })),
		making("somebody's claim", home+"existingClaim", spec(func(s *vdi.VDISessionSpec) { s.Persistence.ExistingClaim = "bobs" })),
		making("a storage class", home+"storageClassName", spec(func(s *vdi.VDISessionSpec) { s.Persistence.StorageClassName = ptr.To("fast") })),
		making("an access mode", home+"accessMode", spec(func(s *vdi.VDISessionSpec) { s.Persistence.AccessMode = "ReadWriteMany" })),
		making("an end of the home", home+"retainFor", spec(func(s *vdi.VDISessionSpec) { s.Persistence.RetainFor = "1s" })),
		making("a home that goes with it", "spec.persistence.reclaimPolicy Retain only", spec(func(s *vdi.VDISessionSpec) { s.Persistence.ReclaimPolicy = vdi.ReclaimDelete })),
		making("no desktop", "spec.runPolicy Running only", spec(func(s *vdi.VDISessionSpec) { s.RunPolicy = vdi.RunPolicySuspended })),
		making("another's name", byHash, meta(func(m *metav1.ObjectMeta) { m.Name = "alice" })),
		making("a hash that is too short", byHash, meta(func(m *metav1.ObjectMeta) { m.Name = "alice-abcdefghijklmn2" })),
		making("a hash with other letters", byHash, meta(func(m *metav1.ObjectMeta) { m.Name = "alice-abcdefghijklmn01" })),
		making("a hash alone", byHash, meta(func(m *metav1.ObjectMeta) { m.Name = "abcdefghijklmn23" })),
		making("a name of the API server's", byHash, meta(func(m *metav1.ObjectMeta) { m.Name, m.GenerateName = "", "alice-" })),
		making("a name and a beginning of one", byHash, meta(func(m *metav1.ObjectMeta) { m.GenerateName = "alice-" })),
		making("a label", "may not make a session with the label vdi.kasm.io/user", meta(func(m *metav1.ObjectMeta) { m.Labels = map[string]string{wire.LabelUser: "x"} })),
		making("another annotation", "with no annotation of the platform's but vdi.kasm.io/requested-by", func(s *vdi.VDISession) { annotate(s, wire.AnnotationLastActivity, "2000-01-01T00:00:00Z") }),
		making("no word for whom", onlyOurs, meta(func(m *metav1.ObjectMeta) { m.Annotations = nil })),
		making("another annotation in its place", onlyOurs, meta(func(m *metav1.ObjectMeta) { m.Annotations = map[string]string{"note": alice} })),
		making("the word of somebody else", onlyOurs, requestedBy("bob@example.com")),
		making("a finalizer", "may not make a session with metadata.finalizers", meta(func(m *metav1.ObjectMeta) { m.Finalizers = []string{"example.com/stay"} })),
		making("an owner", "may not make a session with metadata.ownerReferences", meta(func(m *metav1.ObjectMeta) { m.OwnerReferences = []metav1.OwnerReference{owner} })),
	}
}

// attacksByChanging are those that hold in every access mode.
func attacksByChanging() []doorAttack {
	const fixed, home, later = "may not change spec.", "may not change spec.persistence.", "spec.keepAliveUntil to a later time only"
	const labels, notes, spec = "change a session's metadata.labels", "metadata.annotations but vdi.kasm.io/requested-by", "requested-by to spec.user only"
	return []doorAttack{
		changing(`{"spec":{"timeout":"1000h"}}`, fixed+"timeout"),
		changing(`{"spec":{"idleTimeout":null}}`, fixed+"idleTimeout"),
		changing(`{"spec":{"resources":{"gpu":4}}}`, fixed+"resources"),
		changing(`{"spec":{"timeZone":"Europe/Berlin"}}`, fixed+"timeZone"),
		changing(`{"spec":{"persistence":{"reclaimPolicy":"Delete"}}}`, home+"reclaimPolicy"),
		changing(`{"spec":{"persistence":{"existingClaim":"bobs"}}}`, home+"existingClaim"),
		changing(`{"spec":{"persistence":{"retainFor":null}}}`, home+"retainFor"),
		changing(`{"spec":{"persistence":{"enabled":false}}}`, home+"enabled"),
		changing(`{"metadata":{"labels":{"vdi.kasm.io/user":"x"}}}`, labels),
		changing(`{"metadata":{"labels":null}}`, labels),
		changing(`{"metadata":{"annotations":{"note":"b"}}}`, notes),
		changing(`{"metadata":{"annotations":{"note":null}}}`, notes),
		changing(`{"metadata":{"annotations":{"vdi.kasm.io/last-activity":"2000-01-01T00:00:00Z"}}}`, notes),
		changing(`{"metadata":{"annotations":{"vdi.kasm.io/requested-by":"bob@example.com"}}}`, spec),
		changing(`{"metadata":{"annotations":{"vdi.kasm.io/requested-by":null}}}`, spec),
		changingBare(`{"metadata":{"annotations":{"vdi.kasm.io/requested-by":"bob@example.com"}}}`, spec),
		changing(`{"metadata":{"finalizers":[]}}`, "change a session's metadata.finalizers"),
		changing(`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"a","uid":"a"}]}}`, "change a session's metadata.ownerReferences"),
		changing(`{"spec":{"keepAliveUntil":null}}`, later),
		changing(`{"spec":{"keepAliveUntil":"2026-01-01T00:00:00Z"}}`, later),
		changing(`{"spec":{"groups":["artists"]}}`, "spec.groups only where it asks for a desktop that does not run"),
		{"writes a status", "may change sessions only, never their status", func(d *doorSite) error {
			return d.door.Status().Patch(d.ctx, d.asked.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"status":{"host":"x"}}`)), client.DryRunAll)
		}},
	}
}

// attacksOnPortal are those of a mode in which people log in.
func attacksOnPortal() []doorAttack {
	const forThem, larger = " only for the person in spec.user", "spec.persistence.size to a larger one only"
	const inPortal, asked = "may make and delete sessions in namespace ", "may delete a session only when its annotation vdi.kasm.io/requested-by is its spec.user"
	return []doorAttack{
		changingBare(`{"spec":{"runPolicy":"Suspended"}}`, "may change spec.runPolicy"+forThem),
		changingBare(`{"spec":{"displayName":"Paint"}}`, "may change spec.displayName"+forThem),
		changingBare(`{"spec":{"persistence":{"size":"3Gi"}}}`, "may change spec.persistence.size"+forThem),
		changing(`{"spec":{"persistence":{"size":"1Gi"}}}`, larger),
		changing(`{"spec":{"persistence":{"size":"2048Mi"}}}`, larger),
		making("another namespace", inPortal, func(s *vdi.VDISession) { s.Namespace = "" }),
		{"deletes one in another namespace", inPortal, func(d *doorSite) error {
			return d.door.Delete(d.ctx, d.elsewhere.DeepCopy(), client.DryRunAll)
		}},
		{"deletes one that nobody asked it to", asked, func(d *doorSite) error {
			return d.door.Delete(d.ctx, d.bare.DeepCopy(), client.DryRunAll)
		}},
	}
}

// TestFrontDoorPolicy: in access mode Password the API server lets the front door change three
// fields and nothing else, and each line of the policy is needed for that.
func TestFrontDoorPolicy(t *testing.T) {
	t.Parallel()
	d := newDoorSite(t)
	const nobody = "may only change sessions, as portal.namespace is not set"
	d.withstands(append(
		attacksByChanging(),
		changing(`{"spec":{"runPolicy":"Suspended"}}`, "may not change spec.runPolicy in access mode Password"),
		changing(`{"spec":{"displayName":"Paint"}}`, "may not change spec.displayName in access mode Password"),
		changing(`{"spec":{"persistence":{"size":"3Gi"}}}`, "may not change spec.persistence.size in access mode Password"),
		doorAttack{"makes one", nobody, func(d *doorSite) error {
			return d.makes(func(s *vdi.VDISession) { s.Namespace = d.ns })
		}},
		doorAttack{"deletes one", nobody, func(d *doorSite) error { return d.door.Delete(d.ctx, d.asked.DeepCopy(), client.DryRunAll) }},
	), "with spec.persistence.", "reclaimPolicy Retain", "runPolicy Running only", "with spec.'", "metadata.name", "with metadata.", "with the label", "with the annotation", "with no annotation", "may delete a session only", "to a larger one")
}

// TestPortalPolicy: where people make desktops it may make, change and end theirs, and nothing
// else of sessions, and each line of the policy is needed for that.
func TestPortalPolicy(t *testing.T) {
	t.Parallel()
	d := newDoorSite(t, "access.mode=Local")
	d.livesByItsRoles()
	attacks := slices.Concat(attacksByMaking(), attacksByChanging(), attacksOnPortal())
	i := slices.IndexFunc(attacks, func(a doorAttack) bool { return a.what == "makes one with another namespace" })
	attacks[i].do = func(d *doorSite) error { return d.makes(func(s *vdi.VDISession) { s.Namespace = d.ns }) }
	d.withstands(attacks)
}

// livesByItsRoles is all that the front door does for people, with the chart's roles alone.
func (d *doorSite) livesByItsRoles() {
	d.t.Helper()
	d.allowed("it makes a desktop as small as can be", func() error { return d.makes() })
	d.allowed("with what the cluster's own webhooks add", func() error {
		return d.makes(func(s *vdi.VDISession) {
			s.Labels = map[string]string{"example.com/team": "a"}
			annotate(s, "example.com/checked", "true")
		})
	})
	s := d.desktop(func(s *vdi.VDISession) {
		s.Spec.DisplayName, s.Spec.Groups, s.Spec.TimeZone = "Blender, on Mondays", []string{"artists"}, "Europe/Berlin"
		s.Spec.Resources = vdi.SessionResources{GPU: ptr.To[int32](1), Memory: "8Gi", CPU: "4"}
		s.Spec.Persistence = vdi.Persistence{Enabled: ptr.To(true), Size: "20Gi"}
	})
	require.NoError(d.t, d.door.Create(d.ctx, s))
	do := func(s *vdi.VDISession, patch string) error {
		return d.door.Patch(d.ctx, s.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch)))
	}
	stamp := tomorrow().Add(time.Hour).Format(time.RFC3339)
	for what, patch := range map[string]string{
		"renames it": `{"spec":{"displayName":"Paint"}}`, "lets its home grow": `{"spec":{"persistence":{"size":"21Gi"}}}`,
		"extends it": `{"spec":{"keepAliveUntil":"` + stamp + `"}}`,
	} {
		require.NoError(d.t, do(s, patch), what)
	}
	require.NoError(d.t, do(s, `{"spec":{"runPolicy":"Suspended"}}`))
	require.NoError(d.t, do(s, `{"spec":{"runPolicy":"Running","groups":["team"]}}`))
	require.NoError(d.t, d.door.Delete(d.ctx, s))

	// Sessions that others made.
	const asked = `{"metadata":{"annotations":{"vdi.kasm.io/requested-by":"` + alice + `"}}`
	theirs := d.victim(d.portal)
	require.NoError(d.t, do(theirs, asked+`,"spec":{"runPolicy":"Suspended","displayName":"Mine"}}`), "in one patch")
	require.NoError(d.t, d.door.Delete(d.ctx, theirs))
	require.NoError(d.t, do(d.victim(d.ns), asked+`,"spec":{"runPolicy":"Suspended"}}`), "wherever it is")
	require.NoError(d.t, do(d.victim(d.ns, suspend), `{"spec":{"runPolicy":"Running","groups":["artists"],"keepAliveUntil":"`+stamp+`"}}`),
		"a replica of the release before says for nobody that it resumes")
	for what, err := range map[string]error{
		"makes one elsewhere":   d.makes(func(s *vdi.VDISession) { s.Namespace = d.ns }),
		"deletes one elsewhere": d.door.Delete(d.ctx, d.elsewhere.DeepCopy(), client.DryRunAll),
	} {
		require.ErrorContains(d.t, err, `cannot`, "the roles say it before the policy: "+what)
	}
}

// withstands: each attack is refused in its words, whatever the roles say, and works without the
// line of the policy that has these. All lines are needed but some, by part of their words.
func (d *doorSite) withstands(attacks []doorAttack, but ...string) {
	d.t.Helper()
	d.mayEverything()
	d.eventually(func() bool { return d.patches(d.asked, `{"spec":{"timeout":"1000h"}}`) != nil }, "the policy is in force")
	first := attacks[len(attacks)-1]
	d.eventually(func() bool { return strings.Contains(fmt.Sprint(first.do(d)), first.want) }, "so are the rights: "+first.what)
	require.NoError(d.t, d.patches(d.bare, `{"spec":{"runPolicy":"Running","keepAliveUntil":"`+tomorrow().Add(time.Hour).Format(time.RFC3339)+`"}}`))
	d.othersAreNotMeant()

	policy := &unstructured.Unstructured{}
	policy.SetGroupVersionKind(schema.GroupVersionKind{Group: "admissionregistration.k8s.io", Version: "v1", Kind: policyKind})
	require.NoError(d.t, d.client.Get(d.ctx, client.ObjectKey{Name: doorName + "." + d.ns}, policy))
	whole, _, err := unstructured.NestedSlice(policy.Object, "spec", "validations")
	require.NoError(d.t, err)
	use := func(validations []any) {
		patch, err := json.Marshal(map[string]any{"spec": map[string]any{"validations": validations}})
		require.NoError(d.t, err)
		require.NoError(d.t, d.client.Patch(d.ctx, policy.DeepCopy(), client.RawPatch(types.MergePatchType, patch)))
	}
	byLine := map[int][]doorAttack{}
	for _, attack := range attacks {
		err := attack.do(d)
		require.ErrorContains(d.t, err, attack.want, attack.what)
		line := lineOf(d.t, whole, err.Error())
		byLine[line] = append(byLine[line], attack)
	}
	for line, validation := range whole {
		said := wordsOf(validation)
		if slices.ContainsFunc(but, func(words string) bool { return strings.Contains(said, words) }) {
			continue
		}
		require.NotEmpty(d.t, byLine[line], "no attack shows what this is for: %s", said)
		use(slices.Delete(slices.Clone(whole), line, line+1))
		for _, attack := range byLine[line] {
			d.eventually(func() bool { return attack.do(d) == nil }, "without its line it works: "+attack.what)
		}
	}
}

// othersAreNotMeant: the policy is the front door's.
func (d *doorSite) othersAreNotMeant() {
	d.t.Helper()
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"runPolicy":"Suspended","timeout":"2h"}}`))
	require.NoError(d.t, d.client.Patch(d.ctx, d.bare.DeepCopy(), patch, client.DryRunAll))
}

// wordsOf is what a validation says, as it is or as an expression.
func wordsOf(validation any) string {
	v := validation.(map[string]any)
	return fmt.Sprint(v["message"], v["messageExpression"])
}

// texts are those in an expression that makes a message.
var texts = regexp.MustCompile(`'((?:[^'\\]|\\.)*)'`)

// lineOf is the validation that has refused something: the one of which most is in the words.
func lineOf(t *testing.T, validations []any, refusal string) int {
	t.Helper()
	found, most := -1, 0
	for i, validation := range validations {
		v := validation.(map[string]any)
		var parts []string
		if message, static := v["message"].(string); static {
			parts = []string{message}
		} else {
			for _, text := range texts.FindAllStringSubmatch(v["messageExpression"].(string), -1) {
				parts = append(parts, strings.ReplaceAll(text[1], `\'`, "'"))
			}
		}
		said := !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(refusal, part) })
		if length := len(strings.Join(parts, "")); said && length > most {
			found, most = i, length
		}
	}
	require.GreaterOrEqual(t, found, 0, refusal)
	return found
}

// TestPortalTemplates: nobody gets a desktop from a template that is for others, though the
// front door says for whom it acts.
func TestPortalTemplates(t *testing.T) {
	t.Parallel()
	d := newDoorSite(t, "access.mode=Local")
	of := func(name string, access vdi.TemplateAccess) func(*vdi.VDISession) {
		template := &vdi.VDITemplate{ObjectMeta: metav1.ObjectMeta{Name: name + "-" + d.ns}, Spec: vdi.VDITemplateSpec{Image: image, Access: access}}
		require.NoError(t, d.client.Create(d.ctx, template))
		t.Cleanup(func() { _ = d.client.Delete(context.Background(), template) })
		return func(s *vdi.VDISession) { s.Spec.Template = template.Name }
	}
	bobs := of("bobs", vdi.TemplateAccess{Users: []string{"bob@example.com"}})
	hers := of("hers", vdi.TemplateAccess{Users: []string{"bob@example.com", alice}})
	studios := of("studio", vdi.TemplateAccess{Users: []string{"bob@example.com"}, Groups: []string{"artists", "editors"}})
	const refused = `is for others than "` + alice + `" (its spec.access)`

	d.eventually(func() bool { return strings.Contains(fmt.Sprint(d.makes(bobs)), refused) }, "the policy is in force")
	require.ErrorContains(t, d.makes(bobs), `spec.template: template "bobs-`+d.ns+`" is for others`)
	require.ErrorContains(t, d.makes(studios), refused, "in no group")
	require.ErrorContains(t, d.makes(studios, inGroups("team", "artist")), refused, "in others")
	require.NoError(t, d.makes(), "a template for everybody")
	require.NoError(t, d.makes(hers), "one that names her")
	require.NoError(t, d.makes(studios, inGroups("team", "editors")), "one that names a group of hers")
	require.NoError(t, d.makes(func(s *vdi.VDISession) { s.Spec.Template = "not-there-yet" }), "what is not there is the operator's business")
	require.NoError(t, d.client.Create(d.ctx, d.desktop(bobs), client.DryRunAll), "administrators are not meant")
}
