package validate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gruntwork-io/terratest/modules/k8s"
	"github.com/gruntwork-io/terratest/modules/random"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/doctor"
	"github.com/vdi-platform/vdi-platform/tests/validate/judge"
)

// runLabel is on all that a run makes, with the run's name. Nothing without it is
// ever deleted.
const runLabel = "validate.vdi.kasm.io/run"

// lookAgain is how often something that is under way is looked at; orderly is how
// long our own sessions get to end by the operator's hand.
const (
	lookAgain = 500 * time.Millisecond
	orderly   = time.Minute
)

// namespacePrefix begins the name of a run's namespace; its label follows.
const namespacePrefix = "vdi-validate-"

// owned says whether a namespace was made by a run. A label alone proves nothing: others
// may copy it.
func owned(ns corev1.Namespace) bool {
	run := ns.Labels[runLabel]
	return run != "" && ns.Name == namespacePrefix+run
}

// settle removes what earlier runs left, and makes this run's namespace.
func (v *visit) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanupTime)
	defer cancel()
	if err := v.clean(ctx, client.HasLabels{runLabel}); err != nil {
		return fmt.Errorf("remove what an earlier run left: %w", err)
	}
	id := strings.ToLower(random.UniqueID())
	v.label, v.mark = id, "written by run "+id
	v.namespace = namespacePrefix + id
	err := k8s.CreateNamespaceWithMetadataContextE(v.t, ctx, v.kubectl(""), metav1.ObjectMeta{
		Name: v.namespace,
		Labels: map[string]string{
			runLabel:                             v.label,
			"vdi.kasm.io/sessions":               "true",
			"pod-security.kubernetes.io/enforce": "restricted",
		},
	})
	if err != nil {
		return fmt.Errorf("make a namespace: %w; KUBECONFIG must be an administrator's", err)
	}
	return nil
}

// leave removes what this run has made, and says whether it is gone.
func (v *visit) leave(ctx context.Context) doctor.Verdict {
	if err := v.clean(ctx, client.MatchingLabels{runLabel: v.label}); err != nil {
		return doctor.Fail("%v", err)
	}
	return doctor.Pass("namespace %s is gone, with all that was in it", v.namespace)
}

// clean ends the sessions of labelled namespaces, so that homes go with them, and
// then the namespaces.
func (v *visit) clean(ctx context.Context, label client.ListOption) error {
	list := &corev1.NamespaceList{}
	if err := v.kube.List(ctx, list, label); err != nil {
		return err
	}
	var errs []error
	for _, ns := range list.Items {
		if !owned(ns) {
			continue
		}
		errs = append(errs, v.endSessions(ctx, ns.Name, label), v.remove(ctx, &ns))
	}
	return errors.Join(errs...)
}

// endSessions lets the operator end them. One that does not answer must not keep
// our namespace for ever: then its finalizer is taken off, and home and desktop go with
// the namespace.
func (v *visit) endSessions(ctx context.Context, namespace string, label client.ListOption) error {
	list := &vdi.VDISessionList{}
	if err := v.kube.List(ctx, list, client.InNamespace(namespace), label); err != nil {
		return err
	}
	var errs []error
	for _, s := range list.Items {
		soon, cancel := context.WithTimeout(ctx, orderly)
		err := v.remove(soon, &s)
		cancel()
		if wait.Interrupted(err) {
			err = v.kube.Patch(ctx, &s, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`)))
		}
		errs = append(errs, client.IgnoreNotFound(err))
	}
	return errors.Join(errs...)
}

// remove deletes an object and waits until it is gone, or the context's time is up.
func (v *visit) remove(ctx context.Context, o client.Object) error {
	if err := v.kube.Delete(ctx, o, client.Preconditions{UID: new(o.GetUID())}); client.IgnoreNotFound(err) != nil {
		return err
	}
	err := wait.PollUntilContextCancel(ctx, lookAgain, true, func(ctx context.Context) (bool, error) {
		err := v.kube.Get(ctx, client.ObjectKeyFromObject(o), o)
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
	if err != nil {
		return fmt.Errorf("%w: %w", notGone(o), err)
	}
	return nil
}

// notGone names what is in the way, and where to look: the API server writes into a
// namespace's status what keeps it.
func notGone(o client.Object) error {
	if _, is := o.(*corev1.Namespace); is {
		return fmt.Errorf("namespace %[1]s does not go; `kubectl get namespace %[1]s -o yaml` says what keeps it", o.GetName())
	}
	return fmt.Errorf("%s in namespace %s does not go", o.GetName(), o.GetNamespace())
}

// copyPullSecrets brings the Secrets that desktops pull with into this run's namespace,
// where the operator expects them, and no others.
func (v *visit) copyPullSecrets(ctx context.Context) doctor.Verdict {
	names := v.settings.Sessions.Images.PullSecrets
	verdict := judge.PullSecrets(names, v.PullSecretsFrom)
	if verdict.State != doctor.Passed {
		return verdict
	}
	for _, name := range names {
		secret := &corev1.Secret{}
		err := v.kube.Get(ctx, client.ObjectKey{Namespace: v.PullSecretsFrom, Name: name}, secret)
		if apierrors.IsNotFound(err) {
			return judge.NoPullSecret(name, v.PullSecretsFrom)
		}
		if err != nil {
			return asked("read Secret "+name, err)
		}
		mine := &corev1.Secret{ObjectMeta: v.labelled(name), Type: secret.Type, Data: secret.Data}
		if err := v.kube.Create(ctx, mine); err != nil {
			return asked("copy Secret "+name, err)
		}
	}
	return verdict
}

// labelled is the metadata of what this run makes.
func (v *visit) labelled(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: v.namespace, Labels: map[string]string{runLabel: v.label}}
}
