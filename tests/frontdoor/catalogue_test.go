package frontdoor

import (
	"context"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
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
