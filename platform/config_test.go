package platform

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

func TestParseConfigFillsInDefaults(t *testing.T) {
	c, err := ParseConfig([]byte("sessions: {domain: vdi.example.com}"))
	require.NoError(t, err)
	s := c.Sessions
	assert.Equal(t, "{user}-{id}", s.HostTemplate)
	assert.Equal(t, TLSWildcard, s.TLS.Mode)
	assert.True(t, *s.VerifyRoute)
	assert.True(t, *s.Network.Internet)
	assert.Equal(t, int32(443), s.ExternalPort)
	assert.Equal(t, "vdi-system", s.Proxy.Namespace)
	assert.Equal(t, map[string]string{"app.kubernetes.io/name": "traefik"}, s.Proxy.PodLabels)
	assert.Equal(t, "kube-system", s.Network.DNSNamespace)
	assert.Equal(t, []int32{53}, s.Network.DNSPorts)
	assert.Equal(t, DefaultDeniedRanges(), s.Network.Denied())
	assert.Equal(t, wire.AccessPassword, c.Access.Mode)
	assert.Equal(t, "auth.vdi.example.com", AuthHost(s))
}

func TestParseConfigOfOIDC(t *testing.T) {
	c, err := ParseConfig([]byte(`
sessions: {domain: vdi.example.com}
access: {mode: OIDC, oidc: {issuerURL: "https://login.example.com/realms/main", clientID: vdi}}
`))
	require.NoError(t, err)
	assert.Equal(t, Access{
		Mode: wire.AccessOIDC, OIDC: OIDC{IssuerURL: "https://login.example.com/realms/main", ClientID: "vdi", UserClaim: "email"},
		ForwardAuth: "http://vdi-frontdoor.vdi-system.svc:8081/auth",
	}, c.Access)
}

func TestParseConfigKeepsWhatIsSet(t *testing.T) {
	c, err := ParseConfig([]byte(`
sessions:
  domain: d.example.com
  verifyRoute: false
  tls: {mode: CertResolver}
  proxy: {address: "traefik.edge.svc.cluster.local:443"}
  network: {internet: false, deniedRanges: []}
  gpuSharing: {sliced: [nvidia.com/gpu]}
`))
	require.NoError(t, err)
	s := c.Sessions
	assert.False(t, *s.VerifyRoute)
	assert.False(t, *s.Network.Internet)
	assert.Equal(t, DefaultDeniedRanges(), s.Network.Denied(), "an empty list takes nothing away")
	assert.Equal(t, "edge", s.Proxy.Namespace, "the namespace in the proxy's address")
	assert.Equal(t, "letsencrypt", s.TLS.CertResolver)
	assert.True(t, s.GPUSharing.IsSliced("nvidia.com/gpu"))
	assert.False(t, s.GPUSharing.IsSliced("nvidia.com/gpu.shared"))
}

func TestWithDefaultsLeavesItsArgumentAlone(t *testing.T) {
	c := Config{Sessions: Sessions{Domain: "vdi.example.com", Labels: map[string]string{"a": "b"}}}
	before, err := json.Marshal(c)
	require.NoError(t, err)
	once := c.WithDefaults()
	after, err := json.Marshal(c)
	require.NoError(t, err)
	assert.JSONEq(t, string(before), string(after))
	assert.Equal(t, once, once.WithDefaults())
}

func TestParseConfigNamesFieldAndRemedy(t *testing.T) {
	for text, want := range map[string]string{
		`{sessions: {domain: a.b}, access: {mode: Magic}}`:                                   "access.mode: \"Magic\" is unknown; use Password, OIDC or Local",
		`{sessions: {domain: a.b}, access: {oidc: {clientID: x}}}`:                           "access.oidc: set, but access.mode is Password",
		`{sessions: {domain: a.b}, access: {mode: OIDC}}`:                                    "access.oidc.issuerURL: not set",
		`{sessions: {domain: a.b}, access: {mode: OIDC, oidc: {issuerURL: "https://i.b"}}}`:  "access.oidc.clientID: not set",
		`{sessions: {domain: a.b}, access: {mode: OIDC, oidc: {issuerURL: "http://i.b"}}}`:   "access.oidc.issuerURL: \"http://i.b\" is no issuer; use its https",
		`{sessions: {domain: a.b}, access: {forwardAuth: "http://a.b"}}`:                     "access.forwardAuth: set, but access.mode is Password",
		`{sessions: {domain: a.b}, access: {mode: OIDC, forwardAuth: "vdi-frontdoor:8081"}}`: "access.forwardAuth: \"vdi-frontdoor:8081\" is no address; use one such as http://",
		`{sessions: {domain: a.b}, access: {mode: OIDC, oidc: {userClaim: " x"}}}`:           "access.oidc.userClaim: \" x\" is no claim",
		`{sessions: {domain: a.b}, access: {mode: OIDC, oidc: {groupsClaim: " x"}}}`:         "access.oidc.groupsClaim: \" x\" is no claim",
		`{sessions: {domain: a.b}, access: {mode: OIDC, oidc: {onlyGroups: ["system:a"]}}}`:  "access.oidc.onlyGroups: \"system:a\" is no group that a session can be in",
		`{sessions: {domain: a.b}, access: {oidc: {onlyGroups: [a]}}}`:                       "access.oidc: set, but access.mode is Password",
		`{sessions: {domain: vdi.example.com}, queue: {patience: -1m}}`:                      "queue.patience: -1m0s is less than nothing",
		`{sessions: {domain: vdi.example.com}, queue: {window: -1}}`:                         "queue.window: -1 is less than one",
		`sessions: {}`:                                                                             "sessions.domain: not set; set it",
		`sessions: {domain: localhost}`:                                                            "sessions.domain: \"localhost\" is no DNS name",
		`sessions: {domain: a.b, hosttemplate: x}`:                                                 "hosttemplate",
		`{sessions: {domain: a.b}, other: 1}`:                                                      "other",
		`sessions: {domain: a.b, hostTemplate: "{name}"}`:                                          "sessions.hostTemplate: {name} is no placeholder; use {user}, {id}",
		`sessions: {domain: a.b, hostTemplate: "desk"}`:                                            "gives every session the same host",
		`sessions: {domain: a.b, hostTemplate: "{user}.{id}"}`:                                     "no single DNS label",
		`sessions: {domain: a.b, hostTemplate: "{user}_"}`:                                         "no single DNS label",
		`sessions: {domain: a.b, externalPort: 70000}`:                                             "sessions.externalPort: 70000 is no port",
		`sessions: {domain: a.b, tls: {mode: Magic}}`:                                              "sessions.tls.mode: \"Magic\" is unknown; use Wildcard",
		`sessions: {domain: a.b, tls: {mode: Secret}}`:                                             "sessions.tls.secretName: not set",
		`sessions: {domain: a.b, tls: {secretName: x}}`:                                            "sessions.tls.secretName: set, but mode is Wildcard",
		`sessions: {domain: a.b, proxy: {namespace: A}}`:                                           "sessions.proxy.namespace",
		`sessions: {domain: a.b, proxy: {address: host}}`:                                          "sessions.proxy.address: \"host\" has no port",
		`sessions: {domain: a.b, network: {allowedRanges: [10.0.0.1]}}`:                            "sessions.network.allowedRanges[0]: \"10.0.0.1\" is no address range",
		`sessions: {domain: a.b, network: {deniedRanges: [10.0.0.1/8]}}`:                           "use 10.0.0.0/8",
		`sessions: {domain: a.b, proxy: {ranges: [10.0.0.0/8, 10.0.0.1]}}`:                         "sessions.proxy.ranges[1]: \"10.0.0.1\" is no address range; use CIDR notation",
		`sessions: {domain: a.b, proxy: {ranges: ["::/0"]}}`:                                       "sessions.proxy.ranges[0]: \"::/0\" admits everybody",
		`sessions: {domain: a.b, network: {deniedRanges: [0.0.0.0/0]}}`:                            "set sessions.network.internet: false instead",
		`sessions: {domain: a.b, network: {openRanges: [10.0.0.0/16]}}`:                            "sessions.network.openRanges[0]: 10.0.0.0/16 is no range of the floor; use one of 0.0.0.0/8, 10.0.0.0/8",
		`sessions: {domain: a.b, network: {openRanges: [168.63.129.16/32]}}`:                       "is the metadata service of a cloud, which stays closed; remove it",
		`sessions: {domain: a.b, network: {openRanges: ["64:ff9b:1::/48"]}}`:                       "by its own address in allowedRanges",
		`sessions: {domain: a.b, network: {openRanges: [10.0.0.0/8], deniedRanges: [10.0.0.0/8]}}`: "is also in deniedRanges",
		`sessions: {domain: a.b, network: {allowedRanges: [169.254.169.254/32]}}`:                  "sessions.network.allowedRanges[0]: 169.254.169.254/32 is the metadata service of a cloud",
		`sessions: {domain: a.b, network: {allowedRanges: ["::ffff:10.0.0.0/104"]}}`:               "write it as IPv4",
		`sessions: {domain: a.b, network: {dnsRanges: [169.254.169.254/32], dnsPorts: [80]}}`:      "sessions.network.dnsRanges[0]: 169.254.169.254/32 is the metadata service of a cloud",
		`sessions: {domain: a.b, turn: {host: turn.example.com, ranges: ["fd00:ec2::254/128"]}}`:   "sessions.turn.ranges[0]: fd00:ec2::254/128 is the metadata service of a cloud",
		`sessions: {domain: a.b, allowed: {secrets: [bob-credentials]}}`:                           "sessions.allowed.secrets[0]: \"bob-credentials\" could be a session's own Secret",
		`sessions: {domain: a.b, allowed: {secrets: ["*"]}}`:                                       "sessions.allowed.secrets[0]: \"*\" is no name of a Secret",
		`sessions: {domain: a.b, allowed: {configMaps: [A]}}`:                                      "sessions.allowed.configMaps[0]: \"A\" is no name of a ConfigMap",
		`sessions: {domain: a.b, allowed: {annotations: ["*.example.com/a"]}}`:                     "a '*' may stand at its end",
		`sessions: {domain: a.b, allowed: {annotations: ["vdi.kasm.io/*"]}}`:                       "sessions.allowed.annotations[0]: \"vdi.kasm.io/*\" is set by the platform",
		`sessions: {domain: a.b, allowed: {entryPoints: [a b]}}`:                                   "sessions.allowed.entryPoints[0]: \"a b\" is no name of an entry point",
		`sessions: {domain: a.b, network: {dnsRanges: [x]}}`:                                       "sessions.network.dnsRanges[0]",
		`sessions: {domain: a.b, network: {dnsNamespace: "a b"}}`:                                  "sessions.network.dnsNamespace",
		`sessions: {domain: a.b, network: {dnsPorts: [53, 0]}}`:                                    "sessions.network.dnsPorts[1]: 0 is no port",
		`sessions: {domain: a.b, network: {dnsPorts: [65536]}}`:                                    "sessions.network.dnsPorts[0]: 65536 is no port",
		`sessions: {domain: a.b, network: {dnsPorts: [53, 53]}}`:                                   "sessions.network.dnsPorts[1]: 53 is given twice",
		`sessions: {domain: a.b, network: {dnsPorts: [1, 2, 3, 4, 5, 6, 7, 8, 9]}}`:                "sessions.network.dnsPorts: 9 ports; at most 8",
		`sessions: {domain: a.b, images: {rewrite: {"ghcr.io/": x}}}`:                              "sessions.images.rewrite",
		`sessions: {domain: a.b, labels: {vdi.kasm.io/user: x}}`:                                   "sessions.labels: \"vdi.kasm.io/user\" is set by the platform",
		`sessions: {domain: a.b, annotations: {vdi.kasm.io/revision: x}}`:                          "sessions.annotations",
		`sessions: {domain: a.b, overlay: [{kind: Deployment, merge: {}}]}`:                        "sessions.overlay[0].kind: \"Deployment\"",
		`sessions: {domain: a.b, overlay: [{kind: Pod}]}`:                                          "sessions.overlay[0]: give merge or jsonPatch",
		`sessions: {domain: a.b, overlay: [{kind: Pod, merge: {}, jsonPatch: [{op: test}]}]}`:      "sessions.overlay[0]: give merge or jsonPatch",
		`sessions: {domain: a.b, portalLabel: desk}`:                                               "sessions.portalLabel: set, but access.mode is Password",
		`{sessions: {domain: a.b, portalLabel: auth}, access: {mode: Local}}`:                      "sessions.portalLabel: \"auth\" cannot begin the portal's host",
		`{sessions: {domain: a.b, portalLabel: a.b}, access: {mode: Local}}`:                       "sessions.portalLabel: \"a.b\" cannot begin the portal's host",
		`{sessions: {domain: a.b}, access: {mode: Local, oidc: {clientID: vdi}}}`:                  "access.oidc: set, but access.mode is Local",
		`{sessions: {domain: a.b}, access: {mode: Local, forwardAuth: door}}`:                      "access.forwardAuth: \"door\" is no address",
		`sessions: [`: "yaml",
	} {
		_, err := ParseConfig([]byte(text))
		require.ErrorIs(t, err, ErrConfig, text)
		require.ErrorContains(t, err, want, text)
	}
}

func TestParseConfigNamesEveryProblem(t *testing.T) {
	_, err := ParseConfig([]byte(`sessions: {tls: {mode: X}, externalPort: -1}`))
	for _, want := range []string{"sessions.domain", "sessions.tls.mode", "sessions.externalPort"} {
		require.ErrorContains(t, err, want)
	}
}

// TestDefaultDeniedRangesCoverMetadata names the addresses that must stay out of reach.
func TestDefaultDeniedRangesCoverMetadata(t *testing.T) {
	for _, address := range []string{
		"169.254.169.254", "fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16",
		"10.96.0.1", "172.20.0.1", "192.168.1.1", "127.0.0.1", "0.0.0.0", "::1", "fe80::1", "64:ff9b::a9fe:a9fe",
	} {
		assert.True(t, covered(t, address), address)
	}
	for _, address := range []string{"1.1.1.1", "8.8.8.8", "2606:4700::1111"} {
		assert.False(t, covered(t, address), address)
	}
}

func covered(t *testing.T, address string) bool {
	t.Helper()
	for _, r := range DefaultDeniedRanges() {
		if netip.MustParsePrefix(r).Contains(netip.MustParseAddr(address)) {
			return true
		}
	}
	return false
}

// In mode Local people log in at the portal, whose host no session can have; to agents it is
// mode OIDC.
func TestLocal(t *testing.T) {
	c, err := ParseConfig([]byte(`{sessions: {domain: a.b, hostTemplate: "{session}"}, access: {mode: Local}}`))
	require.NoError(t, err)
	assert.Equal(t, "portal.a.b", c.LoginHost())
	assert.Equal(t, "http://vdi-frontdoor.vdi-system.svc:8081/auth", c.Access.ForwardAuth)
	for _, session := range []string{"portal", "auth"} {
		_, err = Host(c.Sessions, "alice", session, "vdi", "1")
		require.ErrorIs(t, err, ErrHost)
		require.ErrorContains(t, err, "is the host of the login; rename the session")
	}
	c.Access.Mode, c.Sessions.PortalLabel = wire.AccessOIDC, ""
	assert.Equal(t, "auth.a.b", c.LoginHost())
	_, err = Host(c.Sessions, "alice", "portal", "vdi", "1")
	require.NoError(t, err, "in other modes there is no portal")

	for mode, agent := range map[wire.AccessMode]wire.AccessMode{
		wire.AccessPassword: wire.AccessPassword, wire.AccessOIDC: wire.AccessOIDC, wire.AccessLocal: wire.AccessOIDC,
	} {
		assert.Equal(t, agent, mode.Agent(), mode)
		assert.Equal(t, agent == wire.AccessOIDC, mode.LogsIn(), mode)
	}
}
