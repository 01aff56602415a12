package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

// containerdSocket lies on the cluster's own /run.
const (
	containerdSocket = "/run/containerd/containerd.sock"
	pauseImage       = "vdi.local/pause:1"
	clusterDomain    = "cluster.local"
	maxPods          = 250
)

// plane is the node's control plane, on the node's address, where the host,
// the kubelet and pods reach it.
func (s state) plane() plane {
	return plane{
		repo: s.repo(), dir: s.Dir, address: s.Subnets.node(), advertise: true,
		apiPort: 6443, etcdPort: 2379, etcdPeer: 2380,
		services: s.Subnets.Services, apiServerArgs: s.Options.APIServerArgs,
	}
}

// writeConfigs writes certificates, kubeconfigs and the configuration of the
// node's programs.
func (s state) writeConfigs() (plane, error) {
	p := s.plane()
	if err := p.write(); err != nil {
		return p, err
	}
	kubelet, err := p.pki.ca.server([]string{s.node()}, []net.IP{s.Subnets.node().AsSlice()})
	if err != nil {
		return p, err
	}
	kubeletConfig, err := toJSON(s.kubeletConfig())
	if err != nil {
		return p, err
	}
	cni, err := toJSON(s.cniConfig())
	if err != nil {
		return p, err
	}
	if err := ensureDirs(s.path("etc", "cni")); err != nil {
		return p, err
	}
	server := p.server()
	return p, errors.Join(
		kubelet.write(s.path("pki"), "kubelet"),
		p.pki.writeKubeconfig(p.kubeconfig("kubelet"), server, "system:node:"+s.node(), "system:nodes"),
		p.pki.writeKubeconfig(p.kubeconfig("proxy"), server, "system:kube-proxy"),
		p.pki.writeKubeconfig(p.kubeconfig("coredns"), server, "system:coredns"),
		p.pki.writeKubeconfig(p.kubeconfig("kube-router"), server, "system:kube-router"),
		p.pki.writeKubeconfig(p.kubeconfig("addons"), server, "vdi-cluster-addons", "system:masters"),
		os.WriteFile(s.path("etc", "kubelet.yaml"), kubeletConfig, 0o644),
		os.WriteFile(s.path("etc", "cni", "10-vdi.conflist"), cni, 0o644),
		os.WriteFile(s.path("etc", "containerd.toml"), []byte(s.containerdConfig(hasCapSysResource())), 0o644),
		os.WriteFile(s.path("etc", "Corefile"), []byte(s.corefile()), 0o644),
		// What is not answered by the cluster's own name service is not answered.
		os.WriteFile(s.path("etc", "resolv.conf"), []byte("nameserver "+s.Subnets.dns().String()+"\n"), 0o644),
	)
}

// hasCapSysResource says whether processes may lower their out-of-memory score.
func hasCapSysResource() bool {
	const capSysResource = 24
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		var caps uint64
		if _, err := fmt.Sscanf(line, "CapEff: %x", &caps); err == nil {
			return caps&(1<<capSysResource) != 0
		}
	}
	return false
}

// containerdConfig gives containerd short socket paths and our pause image.
// Without CAP_SYS_RESOURCE every sandbox would fail on its out-of-memory score.
func (s state) containerdConfig(capSysResource bool) string {
	return fmt.Sprintf(`version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = [
  "io.containerd.nri.v1.nri",
  "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.erofs",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = %q

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = %q

[plugins."io.containerd.cri.v1.images".registry]
  config_path = %q

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = %t

[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["/usr/lib/cni"]
  conf_dir = %q

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
    BinaryName = "runc"
    SystemdCgroup = false
`, containerdSocket, pauseImage, s.registries(), !capSysResource, s.path("etc", "cni"))
}

// kubeletConfig is a KubeletConfiguration.
func (s state) kubeletConfig() map[string]any {
	return map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1",
		"kind":       "KubeletConfiguration",
		"authentication": map[string]any{
			"anonymous": map[string]any{"enabled": false},
			"webhook":   map[string]any{"enabled": true},
			"x509":      map[string]any{"clientCAFile": s.path("pki", "ca.crt")},
		},
		"authorization":             map[string]any{"mode": "Webhook"},
		"tlsCertFile":               s.path("pki", "kubelet.crt"),
		"tlsPrivateKeyFile":         s.path("pki", "kubelet.key"),
		"cgroupDriver":              "cgroupfs",
		"cgroupRoot":                "/" + s.cgroup(), // the only trace outside the namespaces
		"failCgroupV1":              false,
		"clusterDNS":                []string{s.Subnets.dns().String()},
		"clusterDomain":             clusterDomain,
		"resolvConf":                s.path("etc", "resolv.conf"),
		"containerRuntimeEndpoint":  "unix://" + containerdSocket,
		"podLogsDir":                "/var/log/pods",
		"volumePluginDir":           "/var/lib/kubelet/volume-plugins",
		"maxPods":                   maxPods,
		"failSwapOn":                false,
		"serializeImagePulls":       false,
		"makeIPTablesUtilChains":    false,
		"oomScoreAdj":               0,
		"nodeStatusUpdateFrequency": "1s", // looks; writes only what changed, such as new GPUs
		// A developer's disk is often nearly full, and it is not the node's own.
		"evictionHard": map[string]string{
			"imagefs.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "memory.available": "50Mi",
		},
		"imageGCHighThresholdPercent": 100, // images cannot be pulled again
	}
}

// cniConfig gives each pod a link of its own to the node, as kind does: traffic
// between pods passes the node's rules, which a bridge would go around.
func (s state) cniConfig() map[string]any {
	return map[string]any{
		"cniVersion": "1.0.0",
		"name":       "vdi",
		"plugins": []map[string]any{
			{
				"type": "ptp",
				"ipam": map[string]any{
					"type":    "host-local",
					"dataDir": "/run/cni-addresses",
					"ranges":  [][]map[string]string{{{"subnet": s.Subnets.Pods.String()}}},
					"routes":  []map[string]string{{"dst": "0.0.0.0/0"}},
				},
			},
			{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}},
		},
	}
}

// corefile answers for the cluster, sends the platform's local host names to
// the node, as a browser on the host would be, and says that nothing else
// exists. Each has a block of its own, since within a block templates come first.
func (s state) corefile() string {
	return fmt.Sprintf(`%[2]s:53 in-addr.arpa:53 ip6.arpa:53 {
  bind %[1]s
  errors
  ready 127.0.0.1:8181
  kubernetes {
    kubeconfig %[3]s
    pods insecure
    ttl 5
  }
}
vdi.localhost:53 {
  bind %[1]s
  errors
  template IN A {
    answer "{{ .Name }} 5 IN A %[1]s"
  }
  template IN ANY {
    rcode NOERROR
  }
}
.:53 {
  bind %[1]s
  errors
  template IN ANY {
    rcode NXDOMAIN
  }
}
`, s.Subnets.node(), clusterDomain, s.plane().kubeconfig("coredns"))
}

// nodePrograms start once the API server and containerd are ready.
func (s state) nodePrograms(self string) []program {
	p, bin := s.plane(), s.repo().bin
	programs := []program{
		{name: "kubelet", path: bin("kubelet"), args: []string{
			"--config=" + s.path("etc", "kubelet.yaml"),
			"--kubeconfig=" + p.kubeconfig("kubelet"),
			"--hostname-override=" + s.node(),
			"--node-ip=" + s.Subnets.node().String(),
			"--root-dir=/var/lib/kubelet",
		}},
		{name: "kube-proxy", path: bin("kube-proxy"), args: []string{
			"--kubeconfig=" + p.kubeconfig("proxy"),
			"--hostname-override=" + s.node(),
			"--proxy-mode=nftables",
			"--cluster-cidr=" + s.Subnets.Pods.String(),
			"--conntrack-max-per-core=0", "--conntrack-min=0", // the machine's, not ours
			"--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0",
		}},
		{name: "coredns", path: bin("coredns"), args: []string{"-conf", s.path("etc", "Corefile")}},
		{name: "volumes", path: self, args: []string{internalVolumes, s.Dir}},
	}
	if !s.Options.NoGPU {
		programs = append(programs, program{name: "gpu", path: self, args: []string{internalGPU, s.Dir}})
	}
	return programs
}

func (s state) containerd() program {
	return program{
		name: "containerd", path: s.repo().bin("containerd"),
		args: []string{"--config", s.path("etc", "containerd.toml")},
		env:  []string{"PATH=" + s.repo().bin("") + ":" + os.Getenv("PATH")}, // finds its shim
	}
}
