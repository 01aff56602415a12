package cluster

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
)

// auditPolicy records who did what to which object, once per request, without bodies.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
`

// plane is all that the arguments of the control plane's programs depend on.
type plane struct {
	repo     repository
	dir      string // state of this cluster
	pki      pki
	address  netip.Addr // the API server listens on and is known by
	apiPort  int
	etcdPort int // client; the peer port is etcdPeer
	etcdPeer int
	services netip.Prefix

	// advertise publishes address as the endpoint of the Service "kubernetes".
	// Loopback addresses are not allowed there.
	advertise bool

	apiServerArgs, controllerManagerArgs []string
}

func (p plane) auditLog() string { return filepath.Join(p.dir, "audit.log") }

func (p plane) server() string {
	return "https://" + net.JoinHostPort(p.address.String(), strconv.Itoa(p.apiPort))
}

func (p plane) kubeconfig(user string) string {
	return filepath.Join(p.dir, "pki", user+".kubeconfig")
}

func (p plane) etcd() program {
	client := fmt.Sprintf("http://127.0.0.1:%d", p.etcdPort)
	peer := fmt.Sprintf("http://127.0.0.1:%d", p.etcdPeer)
	return program{name: "etcd", path: p.repo.bin("etcd"), args: []string{
		"--data-dir=" + filepath.Join(p.dir, "etcd"),
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=default=" + peer,
		"--unsafe-no-fsync", // the data does not outlive the cluster
		"--log-level=warn",
		"--quota-backend-bytes=4294967296",
	}}
}

func (p plane) apiServer() program {
	args := []string{
		fmt.Sprintf("--etcd-servers=http://127.0.0.1:%d", p.etcdPort),
		"--bind-address=" + p.address.String(),
		"--secure-port=" + strconv.Itoa(p.apiPort),
		"--tls-cert-file=" + p.pki.file("apiserver.crt"),
		"--tls-private-key-file=" + p.pki.file("apiserver.key"),
		"--client-ca-file=" + p.pki.file("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + p.pki.file("service-account.pub"),
		"--service-account-signing-key-file=" + p.pki.file("service-account.key"),
		"--kubelet-certificate-authority=" + p.pki.file("ca.crt"),
		"--kubelet-client-certificate=" + p.pki.file("apiserver-kubelet-client.crt"),
		"--kubelet-client-key=" + p.pki.file("apiserver-kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--proxy-client-cert-file=" + p.pki.file("front-proxy-client.crt"),
		"--proxy-client-key-file=" + p.pki.file("front-proxy-client.key"),
		"--requestheader-client-ca-file=" + p.pki.file("front-proxy-ca.crt"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction", // beside the defaults
		"--allow-privileged=true",
		"--service-cluster-ip-range=" + p.services.String(),
		"--audit-policy-file=" + filepath.Join(p.dir, "audit-policy.yaml"),
		"--audit-log-path=" + p.auditLog(),
		"--audit-log-maxsize=100000", // MB: one file, never rotated
	}
	if p.advertise {
		args = append(args, "--advertise-address="+p.address.String())
	} else {
		args = append(args, "--endpoint-reconciler-type=none")
	}
	return program{name: "kube-apiserver", path: p.repo.bin("kube-apiserver"), args: append(args, p.apiServerArgs...)}
}

// clientRate keeps client-side throttling out of tests.
var clientRate = []string{"--kube-api-qps=500", "--kube-api-burst=1000"}

// ownKubeconfig makes a program authenticate, and check its callers, as user.
func (p plane) ownKubeconfig(user string) []string {
	path := p.kubeconfig(user)
	return []string{"--kubeconfig=" + path, "--authentication-kubeconfig=" + path, "--authorization-kubeconfig=" + path}
}

func (p plane) controllerManager() program {
	args := append(p.ownKubeconfig("controller-manager"), clientRate...)
	args = append(args,
		"--bind-address=127.0.0.1",
		"--secure-port=0",
		"--leader-elect=false",
		"--use-service-account-credentials=true",
		"--service-account-private-key-file="+p.pki.file("service-account.key"),
		"--root-ca-file="+p.pki.file("ca.crt"),
		"--cluster-signing-cert-file="+p.pki.file("ca.crt"),
		"--cluster-signing-key-file="+p.pki.file("ca.key"),
	)
	return program{
		name: "kube-controller-manager", path: p.repo.bin("kube-controller-manager"),
		args: append(args, p.controllerManagerArgs...),
	}
}

func (p plane) scheduler() program {
	args := append(p.ownKubeconfig("scheduler"), clientRate...)
	return program{name: "kube-scheduler", path: p.repo.bin("kube-scheduler"), args: append(
		args, "--bind-address=127.0.0.1", "--secure-port=0", "--leader-elect=false",
	)}
}
