package cluster

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vdi-platform/vdi-platform/tests/cluster/volumes"
)

// bootstrap creates the objects that an installer would: the default storage
// class, the name service, and what that and the network policies' program may read.
func (v *supervisor) bootstrap(ctx context.Context) error {
	var (
		storage = v.client.StorageV1().StorageClasses()
		service = v.client.CoreV1().Services(metav1.NamespaceSystem)
		slice   = v.client.DiscoveryV1().EndpointSlices(metav1.NamespaceSystem)
		role    = v.client.RbacV1().ClusterRoles()
		binding = v.client.RbacV1().ClusterRoleBindings()
		options = metav1.CreateOptions{}
		creates = []func() error{
			func() error { _, err := storage.Create(ctx, standardClass(), options); return err },
			func() error { _, err := service.Create(ctx, v.state.dnsService(), options); return err },
			func() error { _, err := slice.Create(ctx, v.state.dnsEndpoints(), options); return err },
			func() error { _, err := role.Create(ctx, dnsRole(), options); return err },
			func() error { _, err := binding.Create(ctx, bindingOf(dnsRole()), options); return err },
			func() error { _, err := role.Create(ctx, policiesRole(), options); return err },
			func() error { _, err := binding.Create(ctx, bindingOf(policiesRole()), options); return err },
		}
	)
	for _, create := range creates {
		if err := create(); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create first objects: %w", err)
		}
	}
	return nil
}

// standardClass binds when a pod needs the volume, as cloud disks do.
func standardClass() *storagev1.StorageClass {
	binding, reclaim, expand := storagev1.VolumeBindingWaitForFirstConsumer, corev1.PersistentVolumeReclaimDelete, true
	return &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{
			Name:        "standard",
			Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"},
		},
		Provisioner:          volumes.Provisioner,
		VolumeBindingMode:    &binding,
		ReclaimPolicy:        &reclaim,
		AllowVolumeExpansion: &expand,
	}
}

// dnsName is what the name service is called everywhere.
const dnsName = "kube-dns"

func (s state) dnsService() *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: dnsName, Labels: map[string]string{"k8s-app": dnsName}},
		Spec: corev1.ServiceSpec{
			ClusterIP: s.Subnets.dns().String(),
			Ports: []corev1.ServicePort{
				{Name: "dns", Protocol: corev1.ProtocolUDP, Port: 53},
				{Name: "dns-tcp", Protocol: corev1.ProtocolTCP, Port: 53},
			},
		},
	}
}

// dnsEndpoints point to the process on the node.
func (s state) dnsEndpoints() *discoveryv1.EndpointSlice {
	ready, port, udp, tcp := true, int32(53), corev1.ProtocolUDP, corev1.ProtocolTCP
	udpName, tcpName := "dns", "dns-tcp"
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: dnsName + "-node",
			Labels: map[string]string{
				discoveryv1.LabelServiceName: dnsName,
				discoveryv1.LabelManagedBy:   "vdi-cluster",
			},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{{
			Addresses:  []string{s.Subnets.node().String()},
			Conditions: discoveryv1.EndpointConditions{Ready: &ready},
		}},
		Ports: []discoveryv1.EndpointPort{
			{Name: &udpName, Protocol: &udp, Port: &port},
			{Name: &tcpName, Protocol: &tcp, Port: &port},
		},
	}
}

func dnsRole() *rbacv1.ClusterRole {
	return &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "system:coredns"},
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"services", "pods", "namespaces"}, Verbs: []string{"list", "watch"}},
			{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: []string{"list", "watch"}},
		},
	}
}

// policiesRole is what kube-router watches, more than it needs for policies.
func policiesRole() *rbacv1.ClusterRole {
	read := []string{"get", "list", "watch"}
	return &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "system:kube-router"},
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"services", "endpoints", "pods", "namespaces", "nodes"}, Verbs: read},
			{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: read},
			{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"networkpolicies"}, Verbs: read},
		},
	}
}

// bindingOf gives a role to the user of the same name.
func bindingOf(role *rbacv1.ClusterRole) *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: role.Name}},
	}
}
