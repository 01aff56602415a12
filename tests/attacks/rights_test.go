package attacks

import (
	"testing"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/operator/run"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
	"github.com/vdi-platform/vdi-platform/tests/scale"
)

// TestA26Rights: the operator's account may do none of what makes an account the
// cluster's. What it may do is all used (tests/integration).
func TestA26Rights(t *testing.T) {
	t.Parallel()
	for name, right := range map[string]authorizationv1.ResourceAttributes{
		"everything":                    {Group: "*", Resource: "*", Verb: "*"},
		"list Secrets":                  {Resource: "secrets", Verb: "list"},
		"watch Secrets":                 {Resource: "secrets", Verb: "watch"},
		"delete Secrets":                {Resource: "secrets", Verb: "delete"},
		"exec into pods":                {Resource: "pods", Subresource: "exec", Verb: "create"},
		"attach to pods":                {Resource: "pods", Subresource: "attach", Verb: "create"},
		"forward ports":                 {Resource: "pods", Subresource: "portforward", Verb: "create"},
		"debug pods":                    {Resource: "pods", Subresource: "ephemeralcontainers", Verb: "patch"},
		"change pods":                   {Resource: "pods", Verb: "patch"},
		"mint tokens":                   {Resource: "serviceaccounts", Subresource: "token", Verb: "create"},
		"make accounts":                 {Resource: "serviceaccounts", Verb: "create"},
		"bind roles":                    {Group: "rbac.authorization.k8s.io", Resource: "clusterroles", Verb: "bind"},
		"escalate roles":                {Group: "rbac.authorization.k8s.io", Resource: "clusterroles", Verb: "escalate"},
		"make bindings":                 {Group: "rbac.authorization.k8s.io", Resource: "clusterrolebindings", Verb: "create"},
		"make bindings in a namespace":  {Group: "rbac.authorization.k8s.io", Resource: "rolebindings", Verb: "create"},
		"impersonate users":             {Resource: "users", Verb: "impersonate"},
		"impersonate groups":            {Resource: "groups", Verb: "impersonate"},
		"reach kubelets":                {Resource: "nodes", Subresource: "proxy", Verb: "get"},
		"change nodes":                  {Resource: "nodes", Verb: "patch"},
		"make volumes":                  {Resource: "persistentvolumes", Verb: "create"},
		"change definitions":            {Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions", Verb: "patch"},
		"make webhooks":                 {Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations", Verb: "create"},
		"take admission policies away":  {Group: "admissionregistration.k8s.io", Resource: "validatingadmissionpolicies", Verb: "delete"},
		"approve certificates":          {Group: "certificates.k8s.io", Resource: "certificatesigningrequests", Subresource: "approval", Verb: "update"},
		"make Deployments":              {Group: "apps", Resource: "deployments", Verb: "create"},
		"make sessions":                 {Group: "vdi.kasm.io", Resource: "vdisessions", Verb: "create"},
		"change templates":              {Group: "vdi.kasm.io", Resource: "vditemplates", Verb: "update"},
		"make middlewares of the proxy": {Group: "traefik.io", Resource: "tlsstores", Verb: "create"},
		"delete namespaces":             {Resource: "namespaces", Verb: "delete"},
	} {
		attack(t, name, func(t *testing.T, w *world) ledger.Outcome {
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &right}}
			require.NoError(t, w.stolen(t, scale.OperatorNamespace, "vdi-operator").Create(t.Context(), review))
			return ledger.Judge(review.Status.Allowed, ledger.Admission, "not granted")
		})
	}
}

// stolen is a client with a token of a ServiceAccount.
func (w *world) stolen(t *testing.T, ns, account string) client.Client {
	t.Helper()
	token := &authenticationv1.TokenRequest{}
	of := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account, Namespace: ns}}
	require.NoError(t, w.Driver.SubResource("token").Create(t.Context(), of, token))
	config := rest.AnonymousClientConfig(w.RESTConfig())
	config.BearerToken = token.Status.Token
	c, err := client.New(config, client.Options{Scheme: run.Scheme(), Mapper: w.Driver.RESTMapper()})
	require.NoError(t, err)
	return c
}

// TestA27StolenToken: whoever holds the operator's token gets no further than the
// sessions. These are stopped by RBAC, the last ones on an operator that is limited to a
// namespace: of one that serves all, see TestA27StolenTokenEverywhere.
func TestA27StolenToken(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(t *testing.T, c client.Client) error{
		"reads all Secrets": func(t *testing.T, c client.Client) error { return c.List(t.Context(), &corev1.SecretList{}) },
		"reads the Secrets of kube-system": func(t *testing.T, c client.Client) error {
			return c.List(t.Context(), &corev1.SecretList{}, client.InNamespace("kube-system"))
		},
		"binds itself to cluster-admin": func(t *testing.T, c client.Client) error {
			return c.Create(t.Context(), &rbacv1.ClusterRoleBinding{
				ObjectMeta: metav1.ObjectMeta{GenerateName: "stolen-"},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
				Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: scale.OperatorNamespace, Name: "vdi-operator"}},
			})
		},
		"mints a token of kube-system": func(t *testing.T, c client.Client) error {
			of := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: "kube-system"}}
			return c.SubResource("token").Create(t.Context(), of, &authenticationv1.TokenRequest{})
		},
		"changes configuration of kube-system": func(t *testing.T, c client.Client) error {
			return c.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "stolen-", Namespace: "kube-system"}}, client.DryRunAll)
		},
	} {
		attack(t, name, func(t *testing.T, w *world) ledger.Outcome {
			return writes(t, do(t, w.stolen(t, scale.OperatorNamespace, "vdi-operator")))
		})
	}
	for name, do := range map[string]func(t *testing.T, c client.Client, foreign string) error{
		"reads a foreign Secret by name": func(t *testing.T, c client.Client, foreign string) error {
			return c.Get(t.Context(), client.ObjectKey{Namespace: foreign, Name: "treasure"}, &corev1.Secret{})
		},
		"makes a pod elsewhere": func(t *testing.T, c client.Client, foreign string) error {
			return c.Create(t.Context(), &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: "evil", Namespace: foreign},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
			}, client.DryRunAll)
		},
		"deletes a foreign home": func(t *testing.T, c client.Client, foreign string) error {
			return client.IgnoreNotFound(c.Delete(t.Context(), &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "home", Namespace: foreign}}))
		},
	} {
		attack(t, name+", in namespaced mode", func(t *testing.T, w *world) ledger.Outcome {
			foreign := w.namespace(t)
			require.NoError(t, w.Driver.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "treasure", Namespace: foreign}}))
			return writes(t, do(t, w.stolen(t, scale.OperatorNamespace, w.narrow(t)), foreign))
		})
	}
}

// narrow is an account with what the chart grants an operator that serves one
// namespace; in the unguarded cluster, the account of one that serves all.
func (w *world) narrow(t *testing.T) string {
	t.Helper()
	if !w.guarded {
		return "vdi-operator"
	}
	ns := w.namespace(t)
	account := "narrow-" + ns
	objects, err := w.ChartObjects(t.Context(), "watchNamespaces={"+ns+"}", "fullnameOverride="+account, "tenancy.roles.create=false")
	require.NoError(t, err)
	for _, o := range objects {
		switch o.GetKind() {
		case "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding":
			if o.GetNamespace() == "" {
				o.SetName(account + "-" + o.GetName()) // else there can be one operator only
			}
			if o.GetKind() == "ClusterRoleBinding" {
				role := o.Object["roleRef"].(map[string]any)
				role["name"] = account + "-" + role["name"].(string)
			}
			// What is not the operator's has the same name in every release.
			require.NoError(t, client.IgnoreAlreadyExists(w.Driver.Create(t.Context(), o)))
		}
	}
	return account
}
