package frontdoor

import (
	"context"
	"maps"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// --- what the API server would know of what people may have, and do for them

var sessionsResource = schema.GroupResource{Group: vdi.GroupVersion.Group, Resource: "vdisessions"}

// offer adds a template.
func (m *memory) offer(name string, edit ...func(*vdi.VDITemplate)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &vdi.VDITemplate{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, change := range edit {
		change(t)
	}
	m.offers[name] = t
}

func (m *memory) Templates(context.Context) (found []vdi.VDITemplate, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.offers {
		found = append(found, *t)
	}
	return found, nil
}

func (m *memory) Template(_ context.Context, name string) (*vdi.VDITemplate, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, found := m.offers[name]
	return t, found, nil
}

func (m *memory) Quotas(context.Context) ([]vdi.VDIQuota, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.quotas, nil
}

func (m *memory) Usage(context.Context, string) (*vdi.VDIUsage, error) { return nil, nil }

// leave adds a home that a session has left.
func (m *memory) leave(session, user string, annotations map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	claim := corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
		Name: wire.PrefixHome + session, Namespace: m.portal, UID: types.UID("home of " + session), ResourceVersion: "1",
		Labels: map[string]string{wire.LabelManagedBy: wire.Operator, wire.LabelUser: platform.Identity(user), wire.LabelInstance: session, wire.LabelRetained: wire.LabelOn, wire.LabelTemplate: "office"},
		Annotations: map[string]string{
			wire.AnnotationSessionUID: "1", wire.AnnotationRetainedUID: "home of " + session,
			wire.AnnotationRetainedSince: m.now().UTC().Format(time.RFC3339),
		},
	}}
	claim.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("20Gi")}
	maps.Copy(claim.Annotations, annotations)
	m.claims = append(m.claims, claim)
	m.wake()
}

func (m *memory) Homes(_ context.Context, user string) (found []corev1.PersistentVolumeClaim, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.claims {
		if c.Labels[wire.LabelUser] == platform.Identity(user) {
			found = append(found, *c.DeepCopy())
		}
	}
	return found, nil
}

func (m *memory) KeepHome(_ context.Context, claim types.NamespacedName, version string, keep time.Duration) error {
	m.mu.Lock()
	for i := range m.claims {
		if c := &m.claims[i]; c.Name == claim.Name && c.ResourceVersion == version {
			m.version++
			c.ResourceVersion = strconv.Itoa(m.version)
			delete(c.Annotations, wire.AnnotationRetainFor)
			if keep > 0 {
				c.Annotations[wire.AnnotationRetainFor] = keep.String()
			}
		}
	}
	m.wake()
	m.mu.Unlock()
	return m.did("keep " + claim.Name + " for " + keep.String())
}

func (m *memory) Rename(_ context.Context, s *vdi.VDISession, name string) error {
	m.edit(s.Status.Host, func(s *vdi.VDISession) { s.Spec.DisplayName = name })
	return m.did("rename " + s.Name)
}

func (m *memory) Grow(_ context.Context, s *vdi.VDISession, size vdi.Quantity) error {
	m.edit(s.Status.Host, func(s *vdi.VDISession) { s.Spec.Persistence.Size = size })
	return m.did("grow " + s.Name + " to " + string(size))
}

func (m *memory) FollowUser(string) (<-chan struct{}, func(), bool) { return m.Follow("") }

// Create makes a session at a host by its name, as the operator does later.
func (m *memory) Create(_ context.Context, s *vdi.VDISession) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	host := s.Name + "." + domain
	switch {
	case m.refuses != nil:
		return m.refuses
	case m.sessions[host] != nil:
		return apierrors.NewAlreadyExists(sessionsResource, s.Name)
	}
	m.version++
	s.UID, s.ResourceVersion, s.CreationTimestamp = types.UID("uid of "+s.Name), strconv.Itoa(m.version), metav1.NewTime(m.now())
	s.Spec.RunPolicy = vdi.RunPolicyRunning
	made := s.DeepCopy()
	made.Status.Host, made.Status.URL = host, "https://"+host
	m.sessions[host] = made
	m.changes = append(m.changes, "create "+s.Name)
	m.wake()
	return nil
}

func (m *memory) Suspend(_ context.Context, s *vdi.VDISession) error {
	if m.refuses != nil {
		return m.refuses
	}
	m.edit(s.Status.Host, func(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicySuspended })
	return m.did("suspend " + s.Name)
}

func (m *memory) Delete(_ context.Context, s *vdi.VDISession, allowed func(*vdi.VDISession) error) error {
	m.mu.Lock()
	now := m.sessions[s.Status.Host]
	m.mu.Unlock()
	if err := allowed(now); err != nil {
		return err
	}
	m.edit(s.Status.Host, func(s *vdi.VDISession) { s.DeletionTimestamp = &metav1.Time{Time: m.now().Truncate(time.Second)} })
	return m.did("delete " + s.Name)
}
