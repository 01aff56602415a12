package attacks

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/run"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
	"github.com/vdi-platform/vdi-platform/tests/scale"
)

const (
	domain = "vdi.example.com"

	// patience bounds how long operator, controllers and made-up kubelets may
	// take on a busy machine; nothing is judged by it.
	patience = 90 * time.Second
	glance   = 50 * time.Millisecond
)

var routeKind = schema.GroupVersionKind{Group: "traefik.io", Version: "v1alpha1", Kind: "IngressRoute"}

// atOnce is how many attacks are made at the same time: they mostly wait.
const atOnce = "8"

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", atOnce); err != nil {
		panic(err)
	}
	code := ledger.Main(m)
	if err := stopWorlds(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the clusters:", err)
		code = 1
	}
	os.Exit(code)
}

// world is a cluster with the operator in it: etcd, API server, controllers and
// scheduler are real, and so is the operator's process with the chart's rights; only
// kubelets are made up.
type world struct {
	*scale.Rig
	guarded  bool
	replica  *scale.Replica
	operator *scale.Operator
	dir      string
}

var (
	startBoth     sync.Once
	without, with *world
	errStart      error
)

// worlds starts both clusters, once.
func worlds(t *testing.T) (unguarded, guarded *world) {
	t.Helper()
	startBoth.Do(func() {
		var group sync.WaitGroup
		var errs [2]error
		group.Go(func() { without, errs[0] = startWorld(context.Background(), false) })
		group.Go(func() { with, errs[1] = startWorld(context.Background(), true) })
		group.Wait()
		errStart = errors.Join(errs[:]...)
	})
	require.NoError(t, errStart, "run 'make tools' at the top of the repository")
	return without, with
}

func stopWorlds() (err error) {
	for _, w := range []*world{without, with} {
		if w != nil {
			err = errors.Join(err, w.Stop(), os.RemoveAll(w.dir))
		}
	}
	return err
}

// attack makes the same attack in both clusters.
func attack(t *testing.T, name string, do func(t *testing.T, w *world) ledger.Outcome) {
	t.Helper()
	unguarded, guarded := worlds(t)
	ledger.TryAlongside(t, name,
		func(t *testing.T) ledger.Outcome { t.Helper(); return do(t, unguarded) },
		func(t *testing.T) ledger.Outcome { t.Helper(); return do(t, guarded) })
}

// settings of both clusters: hosts are the hardest to keep apart when they are
// users' names alone, and templates are only for whom they are granted to.
func settings() []string {
	return []string{`sessions.hostTemplate=\{user\}`, "logLevel=debug", "tenancy.templates.everyone=false", "sessions.proxy.reads={IngressRoute,Ingress,Gateway}"}
}

func startWorld(ctx context.Context, guarded bool) (*world, error) {
	dir, err := os.MkdirTemp("", "vdi-attacks-")
	if err != nil {
		return nil, err
	}
	w := &world{guarded: guarded, dir: dir}
	if w.Rig, err = scale.Start(ctx, "", sessionsAtMost); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := w.furnish(ctx); err != nil {
		return nil, errors.Join(err, w.Stop(), os.RemoveAll(dir))
	}
	return w, nil
}

// sessionsAtMost is what the nodes have room for.
const sessionsAtMost = 600

func (w *world) furnish(ctx context.Context) error {
	if err := w.installGateways(ctx); err != nil {
		return err
	}
	variant := scale.Variant{Values: settings()}
	if !w.guarded {
		if err := unguardKinds(ctx, w.Rig); err != nil {
			return err
		}
		file, err := overlay(filepath.Dir(w.Bin), w.dir)
		if err != nil {
			return err
		}
		variant.BuildFlags = []string{"-overlay=" + file}
	}
	var err error
	if w.operator, err = w.InstallVariant(ctx, w.dir, variant); err != nil {
		return err
	}
	if err := w.InstallCRDs(filepath.Join(filepath.Dir(w.Bin), "tests/standins/gpu-operator/crds")); err != nil {
		return err
	}
	if err := w.grantOrGuard(ctx); err != nil {
		return err
	}
	if err := w.Driver.Create(ctx, scale.Template()); err != nil {
		return err
	}
	w.replica, err = w.operator.Start()
	return err
}

// installGateways defines the kinds of the Gateway API that the proxy can read.
func (w *world) installGateways(ctx context.Context) error {
	for _, kinds := range []string{"gatewayclasses", "gateways", "httproutes", "grpcroutes", "tlsroutes", "tcproutes", "referencegrants", "backendtlspolicies"} {
		file, err := cluster.ModuleFile(ctx, "traefik", "sigs.k8s.io/gateway-api", "config/crd/experimental/gateway.networking.k8s.io_"+kinds+".yaml")
		if err != nil {
			return err
		}
		if err := w.InstallCRDs(file); err != nil {
			return err
		}
	}
	return nil
}

// grantOrGuard installs the chart's admission policies, or gives the operator the
// rights that an operator has which was bound to cluster-admin.
func (w *world) grantOrGuard(ctx context.Context) error {
	if !w.guarded {
		return w.AllowAll(ctx, scale.OperatorUser)
	}
	objects, err := w.ChartObjects(ctx, settings()...)
	if err != nil {
		return err
	}
	// The rights of an operator that looks after GPUs: this one does not, but may.
	sharing, err := w.ChartObjects(ctx, append(settings(), "gpuSharing.enabled=true", "gpuSharing.managePolicy=true", "gpuSharing.configs.any.replicas=2")...)
	if err != nil {
		return err
	}
	for _, o := range append(objects, sharing...) {
		ofGPUs := o.GroupVersionKind().Group == rbacv1.GroupName && strings.HasSuffix(o.GetName(), "gpu-sharing")
		if o.GroupVersionKind().Group != "admissionregistration.k8s.io" && !ofGPUs {
			continue
		}
		if err := w.Driver.Create(ctx, o); client.IgnoreAlreadyExists(err) != nil {
			return fmt.Errorf("install %s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return errors.Join(w.policiesInForce(ctx), w.operatorIsBound(ctx))
}

// operatorIsBound returns when the policies on the operator's account are in force.
func (w *world) operatorIsBound(ctx context.Context) error {
	config := w.RESTConfig()
	config.Impersonate.UserName = scale.OperatorUser
	c, err := client.New(config, client.Options{Scheme: run.Scheme(), Mapper: w.Driver.RESTMapper()})
	if err != nil {
		return err
	}
	meta := metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "x"}
	token := &corev1.Pod{ObjectMeta: likeOurs(meta.Namespace, meta.Name), Spec: innocent()}
	for policy, o := range map[string]client.Object{
		"operator.": &corev1.Secret{ObjectMeta: meta}, "operator-pods.": token, "operator-homes.": &corev1.PersistentVolumeClaim{ObjectMeta: meta, Spec: oneGiB()},
	} {
		err := wait.PollUntilContextTimeout(ctx, glance, patience, true, func(ctx context.Context) (bool, error) {
			err := c.Create(ctx, o.DeepCopyObject().(client.Object), client.DryRunAll)
			return err != nil && strings.Contains(err.Error(), "ValidatingAdmissionPolicy '"+policy), nil
		})
		if err != nil {
			return fmt.Errorf("policy %s does not judge the operator: %w", policy, err)
		}
	}
	return nil
}

// policiesInForce returns when the API server judges by the policies: it learns of
// them a moment after they were made.
func (w *world) policiesInForce(ctx context.Context) error {
	const nobody = "nobody@example.com"
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "judged", Labels: withDesktops}}
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "nobody", Namespace: ns.Name}, Rules: tenantRules}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: role.ObjectMeta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: nobody}},
	}
	config, err := w.UserConfig(nobody)
	if err := errors.Join(err, w.Driver.Create(ctx, ns), w.Driver.Create(ctx, role), w.Driver.Create(ctx, binding)); err != nil {
		return err
	}
	c, err := client.New(config, client.Options{Scheme: run.Scheme(), Mapper: w.Driver.RESTMapper()})
	if err != nil {
		return err
	}
	label := metav1.ObjectMeta{Name: "label", Namespace: role.Namespace, Labels: map[string]string{wire.LabelUser: "x"}}
	for _, o := range []client.Object{
		desk(role.Namespace, "session", userIn("default")),
		&discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: "slice", Namespace: role.Namespace}, AddressType: discoveryv1.AddressTypeIPv4},
		&corev1.ConfigMap{ObjectMeta: label},
		route("IngressRouteTCP", role.Namespace, "route", map[string]any{"routes": []any{map[string]any{"match": "HostSNI(`*`)"}}}),
	} {
		err := wait.PollUntilContextTimeout(ctx, glance, patience, true, func(ctx context.Context) (bool, error) {
			err := c.Create(ctx, o.DeepCopyObject().(client.Object), client.DryRunAll)
			return err != nil && strings.Contains(err.Error(), "ValidatingAdmissionPolicy"), nil
		})
		if err != nil {
			return fmt.Errorf("no policy judges a %T: %w", o, err)
		}
	}
	return nil
}

// --- people

// withDesktops are the labels of a namespace that an administrator has set apart.
var withDesktops = map[string]string{"vdi.kasm.io/sessions": "true"}

// namespace makes one for sessions.
func (w *world) namespace(t *testing.T) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-"}}
	require.NoError(t, w.Driver.Create(t.Context(), ns))
	require.Eventually(t, func() bool { // pods cannot be made before
		return w.Driver.Get(t.Context(), client.ObjectKey{Namespace: ns.Name, Name: "default"}, &corev1.ServiceAccount{}) == nil
	}, patience, glance)
	return ns.Name
}

// personRules are what a person does with sessions. The verbs that stand for
// administrators are not among them.
var personRules = []rbacv1.PolicyRule{
	{APIGroups: []string{"vdi.kasm.io"}, Resources: []string{"vdisessions"}, Verbs: []string{"get", "list", "watch", "create", "update", "patch", "delete"}},
}

// tenantRules are what the strongest tenant may do in a namespace: sessions from every
// template, what the built-in role "edit" allows, and the proxy's kinds.
var tenantRules = slices.Concat(personRules, []rbacv1.PolicyRule{
	{APIGroups: []string{"vdi.kasm.io"}, Resources: []string{"vditemplates"}, Verbs: []string{"use"}},
	{APIGroups: []string{"", "discovery.k8s.io"}, Resources: []string{"pods", "services", "endpointslices", "secrets", "configmaps", "persistentvolumeclaims", "events"}, Verbs: []string{"*"}},
	{APIGroups: []string{"gateway.networking.k8s.io"}, Resources: []string{"*"}, Verbs: []string{"*"}},
	{APIGroups: []string{"traefik.io"}, Resources: []string{"*"}, Verbs: []string{"*"}},
	{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"*"}, Verbs: []string{"*"}},
})

// statusRules are what no chart of ours grants to people.
var statusRules = []rbacv1.PolicyRule{{APIGroups: []string{"vdi.kasm.io"}, Resources: []string{"vdisessions/status"}, Verbs: []string{"*"}}}

// tenant is a client of a person who may do all that tenants may in a namespace.
func (w *world) tenant(t *testing.T, ns, name string) client.Client {
	t.Helper()
	rules := tenantRules
	if !w.guarded {
		rules = slices.Concat(tenantRules, statusRules)
	}
	c := w.person(t, ns, name, "tenant", rules)
	require.Eventually(t, func() bool { // the authorizer learns of role and binding from its own watches
		return c.List(t.Context(), &corev1.PodList{}, client.InNamespace(ns)) == nil
	}, patience, glance)
	return c
}

// person is a client of a person who holds a role in a namespace.
func (w *world) person(t *testing.T, ns, name, held string, rules []rbacv1.PolicyRule) client.Client {
	t.Helper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: held, Namespace: ns}, Rules: rules}
	require.NoError(t, client.IgnoreAlreadyExists(w.Driver.Create(t.Context(), role)))
	require.NoError(t, w.Driver.Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: held + "-", Namespace: ns},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: held},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name}},
	}))
	config, err := w.UserConfig(name)
	require.NoError(t, err)
	c, err := client.New(config, client.Options{Scheme: run.Scheme(), Mapper: w.Driver.RESTMapper()})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		return c.List(t.Context(), &vdi.VDISessionList{}, client.InNamespace(ns)) == nil
	}, patience, glance)
	return c
}

// userIn is a person whose host nobody else wants.
func userIn(ns string) string { return "alice." + ns + "@example.com" }

// malloryIn is an attacker, whose name at the API server is the same.
func malloryIn(ns string) string { return "mallory." + ns + "@example.com" }

// hostOf is the host of that person with the setting {user}.
func hostOf(user string) string {
	local, _, _ := strings.Cut(user, "@")
	return strings.ReplaceAll(local, ".", "-") + "." + domain
}

func desk(ns, name, user string, changes ...func(*vdi.VDISession)) *vdi.VDISession {
	s := &vdi.VDISession{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns},
		Spec:       vdi.VDISessionSpec{User: user, Template: scale.TemplateName},
	}
	for _, change := range changes {
		change(s)
	}
	return s
}

// opens asks for a session as the administrator and waits until it runs.
func (w *world) opens(t *testing.T, s *vdi.VDISession) *vdi.VDISession {
	t.Helper()
	require.NoError(t, w.Driver.Create(t.Context(), s))
	require.Empty(t, w.settles(t, s), "the session does not start")
	return s
}

// settles waits until the operator has made up its mind about a session. It returns
// why the session does not run, "" when it does.
func (w *world) settles(t *testing.T, s *vdi.VDISession) (refusal string) {
	t.Helper()
	require.Eventually(t, func() bool {
		require.NoError(t, w.replica.Running())
		require.NoError(t, w.Driver.Get(t.Context(), client.ObjectKeyFromObject(s), s))
		if s.Status.ObservedGeneration != s.Generation {
			return false
		}
		refusal = ""
		if s.Status.Phase == vdi.PhaseFailed {
			refusal = s.Status.Message
		}
		return s.Status.Phase == vdi.PhaseFailed || s.Status.Phase == vdi.PhaseRunning || s.Status.Phase == vdi.PhaseSuspended
	}, patience, glance, "see %s", w.replica.Log())
	return refusal
}

// asks is settles for a session that an attacker asks for: Worked when it runs.
func (w *world) asks(t *testing.T, as client.Client, s *vdi.VDISession) ledger.Outcome {
	t.Helper()
	if err := as.Create(t.Context(), s); err != nil {
		requireRefusal(t, err)
		require.Empty(t, w.made(t, s.Namespace, s.Name), "nothing is left of what was refused")
		return ledger.Blocked(ledger.Admission, err.Error())
	}
	if refusal := w.settles(t, s); refusal != "" {
		require.Empty(t, w.made(t, s.Namespace, s.Name), "nothing is made for what was refused")
		return ledger.Blocked(ledger.Operator, refusal)
	}
	return ledger.Worked()
}

// writes is an attacker's write: Worked when the API server takes it.
func writes(t *testing.T, err error) ledger.Outcome {
	t.Helper()
	if err == nil {
		return ledger.Worked()
	}
	requireRefusal(t, err)
	return ledger.Blocked(ledger.Admission, err.Error())
}

// requireRefusal tells a refused write from one that failed for another reason.
func requireRefusal(t *testing.T, err error) {
	t.Helper()
	require.True(t, apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err), "not refused, but failed: %v", err)
}

// --- what there is

// kindsOfChildren are all kinds a session may consist of.
func kindsOfChildren() []client.ObjectList {
	return []client.ObjectList{
		&corev1.SecretList{}, &corev1.ConfigMapList{}, &networkingv1.NetworkPolicyList{}, &corev1.PersistentVolumeClaimList{},
		&corev1.ServiceList{}, &policyv1.PodDisruptionBudgetList{}, &corev1.PodList{}, routes(),
	}
}

func routes() *unstructured.UnstructuredList {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(routeKind.GroupVersion().WithKind(routeKind.Kind + "List"))
	return list
}

// made names the objects that the operator made for a session.
func (w *world) made(t *testing.T, ns, session string) (names []string) {
	t.Helper()
	for _, list := range kindsOfChildren() {
		require.NoError(t, w.Driver.List(t.Context(), list, client.InNamespace(ns)))
		require.NoError(t, meta.EachListItem(list, func(o runtime.Object) error {
			object, err := meta.Accessor(o)
			if err != nil {
				return err
			}
			labels := object.GetLabels()
			if labels["app.kubernetes.io/managed-by"] == "vdi-operator" && labels["app.kubernetes.io/instance"] == session {
				names = append(names, fmt.Sprintf("%T %s", o, object.GetName()))
			}
			return nil
		}))
	}
	return names
}

func (w *world) read(t *testing.T, o client.Object, ns, name string) {
	t.Helper()
	require.NoError(t, w.Driver.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: name}, o))
}

func (w *world) exists(t *testing.T, o client.Object, ns, name string) bool {
	t.Helper()
	err := w.Driver.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: name}, o)
	require.NoError(t, client.IgnoreNotFound(err))
	return err == nil
}

// templated makes a template for one attack.
func (w *world) templated(t *testing.T, name string, change func(*vdi.VDITemplate)) string {
	t.Helper()
	tpl := scale.Template()
	tpl.Name = name
	change(tpl)
	require.NoError(t, w.Driver.Create(t.Context(), tpl))
	require.Eventually(t, func() bool { // a session before that would be told that there is none
		return w.Driver.Get(t.Context(), client.ObjectKeyFromObject(tpl), tpl) == nil && tpl.Status.ObservedGeneration == tpl.Generation
	}, patience, glance, "the operator has read the template")
	return name
}

// serviceBefore is the Service whose endpoints hold an address, "" for none.
func (w *world) serviceBefore(t *testing.T, ns, ip string) string {
	t.Helper()
	list := &discoveryv1.EndpointSliceList{}
	require.NoError(t, w.Driver.List(t.Context(), list, client.InNamespace(ns)))
	for _, slice := range list.Items {
		for _, e := range slice.Endpoints {
			if slices.Contains(e.Addresses, ip) {
				return slice.Labels[discoveryv1.LabelServiceName]
			}
		}
	}
	return ""
}

func jsonOf(text string) *apiextensionsv1.JSON { return &apiextensionsv1.JSON{Raw: []byte(text)} }

func newRoute() *unstructured.Unstructured {
	route := &unstructured.Unstructured{}
	route.SetGroupVersionKind(routeKind)
	return route
}

func quantity(text string) resource.Quantity { return resource.MustParse(text) }
