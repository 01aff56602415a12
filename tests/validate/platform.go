package validate

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gruntwork-io/terratest/modules/k8s"
	"github.com/gruntwork-io/terratest/modules/logger"
	"github.com/pion/stun/v3"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/doctor"
	"github.com/vdi-platform/vdi-platform/operator/gpusharing/plan"
	"github.com/vdi-platform/vdi-platform/tests/validate/judge"
)

// answerTime bounds one question over the network.
const answerTime = 10 * time.Second

func (v *visit) deployed(context.Context) doctor.Verdict { return v.release.Judge() }

func (v *visit) crds(ctx context.Context) doctor.Verdict {
	wanted, err := doctor.Definitions()
	if err != nil {
		return doctor.Unjudged("%v", err)
	}
	list := &apiextensionsv1.CustomResourceDefinitionList{}
	if err := v.kube.List(ctx, list); err != nil {
		return asked("list CRDs", err)
	}
	return doctor.CRDs(wanted, list.Items)
}

func (v *visit) programs(ctx context.Context) doctor.Verdict {
	var wanted []string
	var deployments []appsv1.Deployment
	var daemons []appsv1.DaemonSet
	for _, o := range v.manifest.Kind("Deployment", "DaemonSet") {
		wanted = append(wanted, o.GetKind()+"/"+o.GetName())
		key := client.ObjectKey{Namespace: v.namespaceOf(o.GetNamespace()), Name: o.GetName()}
		d, ds := &appsv1.Deployment{}, &appsv1.DaemonSet{}
		var err error
		if o.GetKind() == "Deployment" {
			if err = v.kube.Get(ctx, key, d); err == nil {
				deployments = append(deployments, *d)
			}
		} else if err = v.kube.Get(ctx, key, ds); err == nil {
			daemons = append(daemons, *ds)
		}
		if client.IgnoreNotFound(err) != nil {
			return asked("read "+key.String(), err)
		}
	}
	return doctor.Programs(wanted, deployments, daemons)
}

// namespaceOf is where Helm has put an object of the manifest.
func (v *visit) namespaceOf(named string) string {
	if named == "" {
		return v.Namespace
	}
	return named
}

// admission also asks the API server as a person who may make sessions here: RBAC
// lets them, so that only the policies stand between them and other people's desktops.
func (v *visit) admission(ctx context.Context) doctor.Verdict {
	a := doctor.Admission{Enabled: v.settings.Admission.Enabled}
	for _, o := range v.manifest.Kind("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding") {
		a.Wanted = append(a.Wanted, o.GetKind()+"/"+o.GetName())
	}
	policies, bindings := &admissionv1.ValidatingAdmissionPolicyList{}, &admissionv1.ValidatingAdmissionPolicyBindingList{}
	if err := v.kube.List(ctx, policies); err != nil {
		return asked("list admission policies", err)
	}
	if err := v.kube.List(ctx, bindings); err != nil {
		return asked("list bindings of admission policies", err)
	}
	for _, p := range policies.Items {
		a.Found = append(a.Found, "ValidatingAdmissionPolicy/"+p.Name)
	}
	for _, b := range bindings.Items {
		a.Found = append(a.Found, "ValidatingAdmissionPolicyBinding/"+b.Name)
	}
	if a.Enabled {
		a.ForSelf, a.ForOther, a.Unasked = v.asPerson(ctx)
	}
	return a.Judge()
}

// asPerson tries two sessions, of which the API server stores none.
func (v *visit) asPerson(ctx context.Context) (forSelf, forOther, unasked error) {
	const person = "vdi-validate-person"
	account := v.settings.Access.RequesterPrefix + person
	if err := v.grant(ctx, account); err != nil {
		return nil, nil, err
	}
	config := rest.CopyConfig(v.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: account, Groups: []string{"system:authenticated"}}
	kube, err := v.client(config)
	if err != nil {
		return nil, nil, err
	}
	try := func(user string) error {
		s := &vdi.VDISession{ObjectMeta: v.labelled("dry-run"), Spec: vdi.VDISessionSpec{User: user, Template: "any"}}
		return kube.Create(ctx, s, client.DryRunAll)
	}
	// The role is known a moment after it was written.
	_ = wait.PollUntilContextTimeout(ctx, lookAgain, answerTime, true, func(context.Context) (bool, error) {
		forSelf = try(person)
		return forSelf == nil, nil
	})
	if forSelf != nil && strings.Contains(forSelf.Error(), "impersonate") {
		return nil, nil, forSelf
	}
	// So is a policy's binding, which an install or upgrade may have written just now.
	_ = wait.PollUntilContextTimeout(ctx, lookAgain, answerTime/2, true, func(context.Context) (bool, error) {
		forOther = try("vdi-validate-somebody-else")
		return forOther != nil, nil
	})
	return forSelf, forOther, nil
}

// grant gives an account what vdi-user and vdi-template-user give, in this run's namespace.
func (v *visit) grant(ctx context.Context, account string) error {
	role := &rbacv1.Role{ObjectMeta: v.labelled("person"), Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{vdi.GroupVersion.Group}, Resources: []string{"vdisessions"}, Verbs: []string{"get", "create"}},
		{APIGroups: []string{vdi.GroupVersion.Group}, Resources: []string{"vditemplates"}, Verbs: []string{"use"}},
	}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: v.labelled("person"),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: account}},
	}
	if err := v.kube.Create(ctx, role); err != nil {
		return err
	}
	return v.kube.Create(ctx, binding)
}

func (v *visit) keys(ctx context.Context) doctor.Verdict {
	name := v.settings.KeysSecret()
	var private map[string][]byte
	secret, err := k8s.GetSecretContextE(v.t, ctx, v.kubectl(v.Namespace), name)
	switch {
	case err == nil:
		private = secret.Data
	case !apierrors.IsNotFound(err):
		return asked("read Secret "+name, err)
	}
	public := &corev1.ConfigMap{}
	key := client.ObjectKey{Namespace: v.Namespace, Name: "vdi-frontdoor-public-keys"}
	if err := v.kube.Get(ctx, key, public); client.IgnoreNotFound(err) != nil {
		return asked("read ConfigMap "+key.Name, err)
	}
	return judge.Keys(name, private, public.Data)
}

func (v *visit) slices(ctx context.Context) doctor.Verdict {
	written := &corev1.ConfigMap{}
	err := v.kube.Get(ctx, client.ObjectKey{Namespace: v.Namespace, Name: plan.StatusName}, written)
	if client.IgnoreNotFound(err) != nil {
		return asked("read ConfigMap "+plan.StatusName, err)
	}
	nodes := &corev1.NodeList{}
	if err := v.kube.List(ctx, nodes); err != nil {
		return asked("list nodes", err)
	}
	return doctor.Slices(v.settings.GPUSharing.Enabled, written.Data, nodes.Items)
}

func (v *visit) metrics(ctx context.Context) doctor.Verdict {
	service, err := v.metricsService()
	if err != nil {
		return doctor.Unjudged("%v", err)
	}
	err = v.kube.Get(ctx, client.ObjectKey{Namespace: v.Namespace, Name: service}, &corev1.Service{})
	if client.IgnoreNotFound(err) != nil {
		return asked("read Service "+service, err)
	}
	there := err == nil
	slices := &discoveryv1.EndpointSliceList{}
	if err := v.kube.List(ctx, slices, client.InNamespace(v.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: service}); err != nil {
		return asked("list endpoints", err)
	}
	ready := 0
	for _, slice := range slices.Items {
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready == nil || *e.Conditions.Ready {
				ready++
			}
		}
	}
	page, err := v.readMetrics(ctx)
	return doctor.Metrics(service, there, ready, page, err)
}

func (v *visit) metricsService() (string, error) {
	found := v.manifest.App("vdi-operator").Kind("Service")
	if len(found) != 1 {
		return "", fmt.Errorf("the release's manifest has %d Services of the operator", len(found))
	}
	return found[0].GetName(), nil
}

// readMetrics goes through the API server to the pod: policies admit only who scrapes.
func (v *visit) readMetrics(ctx context.Context) (string, error) {
	name, err := v.operator()
	if err != nil {
		return "", err
	}
	tunnel := k8s.NewTunnelWithLogger(v.kubectl(v.Namespace), k8s.ResourceTypeDeployment, name, 0, v.settings.Metrics.Port, logger.Discard)
	if err := tunnel.ForwardPortE(v.t); err != nil {
		return "", fmt.Errorf("forward a port to the operator: %w", err)
	}
	defer tunnel.Close()
	return fetch(ctx, "http://"+tunnel.Endpoint()+"/metrics")
}

func fetch(ctx context.Context, address string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 16<<20))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("it answers %s", answer.Status)
	}
	return string(text), err
}

func (v *visit) scraped(ctx context.Context) doctor.Verdict {
	enabled, there := v.settings.ServiceMonitor.Enabled, true
	if enabled {
		monitors := v.manifest.App("vdi-operator").Kind("ServiceMonitor")
		for _, m := range monitors {
			err := v.kube.Get(ctx, client.ObjectKeyFromObject(&m), m.DeepCopy())
			if client.IgnoreNotFound(err) != nil {
				return asked("read ServiceMonitor "+m.GetName(), err)
			}
			there = there && err == nil
		}
	}
	var up []string
	var err error
	if v.Prometheus != "" {
		up, err = v.up(ctx)
	}
	return doctor.Scraped(enabled, there, v.Prometheus, up, err)
}

// up asks Prometheus' HTTP API whether it gets through to the operator.
func (v *visit) up(ctx context.Context) (values []string, err error) {
	service, err := v.metricsService()
	if err != nil {
		return nil, err
	}
	query := url.Values{"query": {fmt.Sprintf("up{namespace=%q,service=%q}", v.Namespace, service)}}
	text, err := fetch(ctx, strings.TrimSuffix(v.Prometheus, "/")+"/api/v1/query?"+query.Encode())
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return nil, fmt.Errorf("its answer cannot be read: %w", err)
	}
	for _, r := range answer.Data.Result {
		values = append(values, fmt.Sprint(r.Value[1]))
	}
	return values, nil
}

func (v *visit) relay(ctx context.Context) doctor.Verdict {
	turn := v.settings.Sessions.TURN
	answers := map[string]error{}
	if turn.Host != "" {
		for _, transport := range turn.Transports {
			answers[transport] = bind(ctx, transport, net.JoinHostPort(turn.Host, strconv.Itoa(turn.Port)))
		}
	}
	return doctor.Relay(turn.Host, turn.Port, answers)
}

// bind asks for our own address as the relay sees it, which it reports without a
// login (STUN binding, RFC 8489). A datagram may be lost: it is sent again.
func bind(ctx context.Context, transport, address string) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, transport, address)
	if err != nil {
		return err
	}
	client, err := stun.NewClient(conn)
	if err != nil {
		return err
	}
	defer client.Close()
	var failed error
	err = client.Do(stun.MustBuild(stun.TransactionID, stun.BindingRequest), func(e stun.Event) {
		switch {
		case e.Error != nil:
			failed = e.Error
		case e.Message.Type != stun.BindingSuccess:
			failed = fmt.Errorf("it answers %s", e.Message.Type)
		}
	})
	if err == nil {
		err = failed
	}
	return err
}
