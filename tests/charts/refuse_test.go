package charts

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOperatorRefuses: values that cannot work fail with the value's name and
// the remedy.
func TestOperatorRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set  map[string]string
		want string
	}{
		"no domain":          {map[string]string{"sessions.domain": ""}, "sessions.domain is required: the DNS domain under which every session gets a host, e.g. vdi.example.com"},
		"no secret name":     {map[string]string{"sessions.tls.mode": "Secret"}, "sessions.tls.secretName is required in mode Secret"},
		"no resolver":        {map[string]string{"sessions.tls.mode": "CertResolver", "sessions.tls.certResolver": ""}, "sessions.tls.certResolver is required in mode CertResolver"},
		"release namespace":  {map[string]string{"watchNamespaces": "{team-a," + releaseNamespace + "}"}, "watchNamespaces must not hold the release namespace vdi-system"},
		"two leaders":        {map[string]string{"replicas": "2", "leaderElection.enabled": "false"}, "leaderElection.enabled is off with 2 replicas"},
		"same port":          {map[string]string{"metrics.port": "8081"}, "metrics.port and health.port are both 8081"},
		"empty overlay":      {map[string]string{"sessions.overlay[0].kind": "Pod"}, "sessions.overlay[0] needs a kind and either merge or jsonPatch"},
		"unknown in overlay": {map[string]string{"sessions.overlay[0].kind": "Pod", "sessions.overlay[0].merge.a": "b", "sessions.overlay[0].name": "c"}, "sessions.overlay[0] needs a kind"},
		"no ServiceMonitor":  {map[string]string{"serviceMonitor.enabled": "true"}, "serviceMonitor.enabled is on, but this cluster does not know ServiceMonitor"},
		"unknown key":        {map[string]string{"sessions.domian": "a"}, "additional properties 'domian' not allowed"},
		"unknown top key":    {map[string]string{"desktops.domain": "a"}, "additional properties 'desktops' not allowed"},
		"unknown TLS mode":   {map[string]string{"sessions.tls.mode": "Wild"}, "at '/sessions/tls/mode': value must be one of 'Wildcard', 'CertResolver', 'Secret'"},
		"domain with blanks": {map[string]string{"sessions.domain": "vdi example"}, `sessions.domain is "vdi example", which is no DNS name in lower case`},
		"wildcard in domain": {map[string]string{"sessions.domain": "*.example.com"}, `sessions.domain is "*.example.com", which is no DNS name in lower case without https:// and *.: write e.g. vdi.example.com`},
		"unknown placehold.": {map[string]string{"sessions.hostTemplate": `\{name\}`}, `sessions.hostTemplate is "{name}", which has more than lower-case letters`},
		"port out of range":  {map[string]string{"sessions.externalPort": "70000"}, "at '/sessions/externalPort': maximum"},
		"broken digest":      {map[string]string{"image.digest": "sha256:12"}, `image.digest is "sha256:12", which is no digest of 64 hexadecimal digits`},
		"unwatched policy":   {map[string]string{"gpuSharing.managePolicy": "true"}, "gpuSharing.managePolicy is on, but gpuSharing.enabled is off"},
		"unwritten configs":  {map[string]string{"gpuSharing.enabled": "true", "gpuSharing.configs.any.replicas": "4"}, "gpuSharing.configs is set, but written only with gpuSharing.managePolicy"},
		"no default config":  {map[string]string{"gpuSharing.enabled": "true", "gpuSharing.managePolicy": "true", "gpuSharing.configs.some.replicas": "4"}, `gpuSharing.default is "any", but gpuSharing.configs does not hold it`},
		"no slices":          {map[string]string{"gpuSharing.enabled": "true", "gpuSharing.managePolicy": "true", "gpuSharing.configs.any.replicas": "0"}, "gpuSharing.configs.any.replicas is 0, which is no number of slices: write 1 for whole GPUs, or 2 and more"},
		"dedicated twice":    {map[string]string{"gpuSharing.enabled": "true", "gpuSharing.managePolicy": "true", "gpuSharing.dedicated": "{a}"}, "gpuSharing.dedicated is set, but with gpuSharing.managePolicy these are the keys of gpuSharing.configs with replicas: 1"},
		"no operator":        {map[string]string{"replicas": "0"}, "replicas is 0: nothing would serve sessions; set it to 1 or more"},
		"Secret unused":      {map[string]string{"sessions.tls.secretName": "a"}, "sessions.tls.secretName is set, but sessions.tls.mode is Wildcard, which ignores it: set the mode to Secret"},
		"resolver unused":    {map[string]string{"sessions.tls.certResolver": "a"}, `sessions.tls.certResolver is "a", but sessions.tls.mode is Wildcard, which ignores it: set the mode to CertResolver`},
		"two ways to TLS":    {map[string]string{"sessions.tls.mode": "CertResolver", "sessions.tls.secretName": "a"}, "sessions.tls.secretName is set, but sessions.tls.mode is CertResolver"},
		"OIDC, no issuer":    {map[string]string{"access.mode": "OIDC"}, "access.oidc.issuerURL is required when access.mode is OIDC: the URL of your identity provider"},
		"OIDC, no client":    {map[string]string{"access.mode": "OIDC", "access.oidc.issuerURL": "https://a"}, "access.oidc.clientID is required when access.mode is OIDC: the client registered"},
		"OIDC, no secret":    {without("access.oidc.clientSecret.name"), "access.oidc.clientSecret.name is required when access.mode is OIDC: the Secret in the release namespace"},
		"OIDC, no key":       {without("access.oidc.clientSecret.key"), "access.oidc.clientSecret.key is required when access.mode is OIDC"},
		"OIDC, no claim":     {without("access.oidc.userClaim"), "access.oidc.userClaim is required when access.mode is OIDC: the claim that equals a session's spec.user"},
		"OIDC, plain http":   {map[string]string{"access.oidc.issuerURL": "http://a"}, `access.oidc.issuerURL is "http://a", which is no https address: write e.g. https://login.example.com/realms/vdi`},
		"OIDC, no openid":    {map[string]string{"access.mode": "OIDC", "access.oidc.issuerURL": "https://a", "access.oidc.clientID": "a", "access.oidc.clientSecret.name": "a", "access.oidc.scopes": "{email}"}, "access.oidc.scopes lacks openid"},
		"OIDC, no routes":    {map[string]string{"access.mode": "OIDC", "access.oidc.issuerURL": "https://a", "access.oidc.clientID": "a", "access.oidc.clientSecret.name": "a", "frontDoor.routes": "Never"}, "frontDoor.routes is Never, but access.mode is OIDC: people log in at auth.vdi.example.com"},
		"no front door":      {map[string]string{"frontDoor.replicas": "0"}, "frontDoor.replicas is 0: suspended desktops could not be resumed"},
		"OIDC by half":       {map[string]string{"access.oidc.clientID": "vdi"}, "access.oidc.clientID is set, but access.mode is Password, which ignores it: set access.mode to OIDC"},
		"relay unreached":    {map[string]string{"sessions.turn.host": "turn.example.com", "sessions.network.internet": "false"}, "sessions.turn.ranges is required while sessions.network.internet is off and sessions.turn.host is a name"},
		"ranges, no relay":   {map[string]string{"sessions.turn.ranges": "{192.0.2.1/32}"}, "sessions.turn.ranges is set, but sessions.turn.host is empty, so there is no relay"},
		"relay over SCTP":    {map[string]string{"sessions.turn.transports": "{sctp}"}, "at '/sessions/turn/transports/0': value must be one of 'udp', 'tcp'"},
		"no relay secret":    {map[string]string{"sessions.turn.secretName": ""}, "at '/sessions/turn/secretName': minLength"},
		"unknown mode":       {map[string]string{"access.mode": "oidc"}, "at '/access/mode': value must be one of 'Password', 'OIDC', 'Local'"},
		"two domains":        {map[string]string{"global.domain": "a.example.com"}, `sessions.domain is "vdi.example.com", but global.domain is "a.example.com": leave one of them out`},
		"rolling leaders":    {map[string]string{"leaderElection.enabled": "false", "strategy.type": "RollingUpdate"}, "strategy asks for a rolling update, but leaderElection.enabled is off"},
		"scaled below least": {map[string]string{"frontDoor.autoscaling.enabled": "true", "frontDoor.autoscaling.maxReplicas": "1"}, "frontDoor.autoscaling.maxReplicas is 1, but frontDoor.autoscaling.minReplicas is 2: make it as great"},
		"scaled by nothing":  {map[string]string{"frontDoor.autoscaling.enabled": "true", "frontDoor.resources.requests.cpu": "null"}, "frontDoor.autoscaling.enabled is on, but frontDoor.resources.requests.cpu is not set"},
		"unknown log level":  {map[string]string{"logLevel": "loud"}, "at '/logLevel': value must be one of 'debug', 'info', 'warn', 'error'"},
		"scheme in domain":   {map[string]string{"sessions.domain": "https://vdi.example.com"}, `sessions.domain is "https://vdi.example.com", which is no DNS name`},
		"capital in domain":  {map[string]string{"sessions.domain": "VDI.example.com"}, `sessions.domain is "VDI.example.com", which is no DNS name in lower case`},
		"one label":          {map[string]string{"sessions.domain": "vdi"}, `sessions.domain is "vdi", which is no DNS name`},
		"one host for all":   {map[string]string{"sessions.hostTemplate": "desk"}, `sessions.hostTemplate is "desk", which gives every session the same host: write e.g. {user}-{id}`},
		"lifetime in words":  {map[string]string{"frontDoor.loginLifetime": "8 hours"}, `frontDoor.loginLifetime is "8 hours", which is no duration: write e.g. 8h`},
		"interval in words":  {map[string]string{"serviceMonitor.interval": "half a minute"}, `serviceMonitor.interval is "half a minute", which is no duration: write e.g. 30s`},
		"timeout in words":   {map[string]string{"serviceMonitor.scrapeTimeout": "long"}, `serviceMonitor.scrapeTimeout is "long", which is no duration: write e.g. 10s`},
		"stuck in words":     {map[string]string{"prometheusRule.stuckAfter": "soon"}, `prometheusRule.stuckAfter is "soon", which is no duration: write e.g. 30m`},
		"tag in repository":  {map[string]string{"image.repository": "ghcr.io/x/y:1"}, `image.repository is "ghcr.io/x/y:1", which holds a tag or digest, for which there are image.tag and image.digest`},
		"registry with path": {map[string]string{"global.imageRegistry": "https://registry.example.com/vdi"}, `global.imageRegistry is "https://registry.example.com/vdi", which is no registry with a path in lower case, without https:// and a / at its end: write e.g. registry.example.com/vdi`},
		"allowed range":      {map[string]string{"sessions.network.allowedRanges": "{192.0.2.0/24,10.0.0.0/33}"}, `sessions.network.allowedRanges[1] is "10.0.0.0/33", which is no range of addresses in CIDR notation: write e.g. 10.0.0.0/8`},
		"denied address":     {map[string]string{"sessions.network.deniedRanges": "{10.0.0.1}"}, `sessions.network.deniedRanges[0] is "10.0.0.1", which is no range`},
		"DNS by name":        {map[string]string{"sessions.network.dnsRanges": "{dns.example.com}"}, `sessions.network.dnsRanges[0] is "dns.example.com", which is no range`},
		"relay's range":      {map[string]string{"sessions.turn.host": "turn.example.com", "sessions.turn.ranges": "{fe80::/129}"}, `sessions.turn.ranges[0] is "fe80::/129", which is no range`},
		"proxy everywhere":   {map[string]string{"sessions.proxy.ranges": "{192.0.2.0/24,0.0.0.0/0}"}, `sessions.proxy.ranges[1] is "0.0.0.0/0", which admits everybody: give the ranges of the proxy's nodes or of the load balancer alone`},
		"IPv6 everywhere":    {map[string]string{"sessions.proxy.ranges": "{::/0}"}, `sessions.proxy.ranges[0] is "::/0", which admits everybody`},
		"proxy of no scheme": {map[string]string{"sessions.egress.httpProxy": "proxy.example.com:3128"}, `sessions.egress.httpProxy is "proxy.example.com:3128", which is no address of a proxy with http:// or https://: write e.g. http://proxy.example.com:3128`},
		"proxy with login":   {map[string]string{"sessions.egress.httpsProxy": "http://me:secret@proxy.example.com"}, "sessions.egress.httpsProxy holds a login, which everybody who sees a desktop's pod could read"},
		"any proxy pod":      {map[string]string{"sessions.proxy.podLabels": "null"}, "sessions.proxy.podLabels is empty: say which pods of vdi-system are the proxy's"},
		"foreign overlay":    {map[string]string{"sessions.overlay[0].kind": "Deployment", "sessions.overlay[0].merge.a": "b"}, `sessions.overlay[0].kind is "Deployment", which is no kind of a session's objects: write one of NetworkPolicy, `},
		"unknown patch":      {map[string]string{"sessions.overlay[0].kind": "Pod", "sessions.overlay[0].jsonPatch[0].op": "ad"}, `sessions.overlay[0].jsonPatch[0].op is "ad": write add, remove, replace, move, copy or test`},
		"deadline in words":  {map[string]string{"hooks.deadline": "5 minutes"}, `hooks.deadline is "5 minutes", which is no duration of one unit: write e.g. 5m`},
		"octal deadline":     {map[string]string{"hooks.deadline": "08m"}, `hooks.deadline is "08m", which is no duration of one unit: write e.g. 5m`},
		"endless deadline":   {map[string]string{"hooks.deadline": "99999999999999999999m"}, `hooks.deadline is "99999999999999999999m", which is no duration of one unit`},
		"no deadline":        {map[string]string{"hooks.deadline": "10s"}, `hooks.deadline is "10s", which leaves a Job no time: write e.g. 5m`},
		"class, not name":    {map[string]string{"priorityClass": "high"}, "at '/priorityClass': value must be 'under priorityClassName, since there is no such key'"},
		"replicas of slices": {map[string]string{"gpuSharing.replicas": "4"}, "at '/gpuSharing/replicas': value must be 'under gpuSharing.configs.KEY.replicas, or, where the umbrella installs the GPU Operator, gpu-operator.devicePlugin.config.data, since there is no such key'"},
		"count of replicas":  {map[string]string{"replicaCount": "2"}, "at '/replicaCount': value must be 'under replicas, since"},
		"domain on top":      {map[string]string{"domain": "a"}, "at '/domain': value must be 'under sessions.domain, since"},
		"one of several":     {map[string]string{"sessions.network.dnsPort": "5353"}, "at '/sessions/network/dnsPort': value must be 'under dnsPorts, since"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := render(t, operator(c.set))
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "does not match pattern", "a regular expression is no sentence")
		})
	}
}

// withRelay is the umbrella with its relay, and one key of it changed.
func withRelay(key, value string) map[string]string {
	set := map[string]string{"coturn.enabled": "true", "coturn.realm": "turn.example.com", "vdi-operator.sessions.turn.host": "turn.example.com"}
	set[key] = value
	return set
}

// everybodysRoutes is a proxy that reads what anybody writes, and some keys with a name.
func everybodysRoutes(keys ...string) map[string]string {
	set := map[string]string{"traefik.providers.kubernetesCRD.labelSelector": "", "vdi-operator.sessions.proxy.reads": "{IngressRoute}"}
	for _, key := range keys {
		set[key] = "a"
	}
	return set
}

// without is a complete single sign-on less some keys.
func without(keys ...string) map[string]string {
	set := map[string]string{
		"access.mode": "OIDC", "access.oidc.issuerURL": "https://login.example.com/realms/vdi", "access.oidc.clientID": "vdi",
		"access.oidc.clientSecret.name": "vdi-oidc", "access.oidc.clientSecret.key": "client-secret", "access.oidc.userClaim": "email",
	}
	for _, key := range keys {
		set[key] = ""
	}
	return set
}

// TestPlatformRefuses: combinations of parts that cannot work. In the umbrella
// every message names the value as it must be written there.
func TestPlatformRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set  map[string]string
		want string
	}{
		"no domain":             {map[string]string{"vdi-operator.sessions.domain": ""}, "vdi-operator.sessions.domain is required: the DNS domain"},
		"nothing":               {map[string]string{"vdi-operator.enabled": "false", "traefik.enabled": "false"}, "vdi-operator.enabled and traefik.enabled are both off"},
		"no proxy":              {map[string]string{"traefik.enabled": "false"}, "vdi-operator.sessions.proxy.namespace is required while traefik.enabled is off"},
		"another proxy":         {map[string]string{"vdi-operator.sessions.proxy.service": "traefik"}, `vdi-operator.sessions.proxy.service is "traefik", but traefik.fullnameOverride names the proxy "vdi-traefik"`},
		"another namespace":     {map[string]string{"vdi-operator.sessions.proxy.namespace": "ingress"}, `vdi-operator.sessions.proxy.namespace is "ingress", but traefik.enabled puts the proxy into "vdi-system"`},
		"another port":          {map[string]string{"traefik.ports.websecure.exposedPort": "8443"}, "vdi-operator.sessions.proxy.port is 443, but traefik.ports.websecure.exposedPort is 8443"},
		"unknown resolver":      {map[string]string{"vdi-operator.sessions.tls.mode": "CertResolver", "vdi-operator.sessions.tls.certResolver": "letsencrypt"}, `vdi-operator.sessions.tls.certResolver is "letsencrypt", but traefik.certificatesResolvers does not hold it`},
		"no IngressRoutes":      {map[string]string{"traefik.providers.kubernetesCRD.enabled": "false"}, "traefik.providers.kubernetesCRD.enabled is off: sessions are IngressRoutes"},
		"no TLS":                {map[string]string{"traefik.ports.websecure.http.tls.enabled": "false"}, "traefik.ports.websecure.http.tls.enabled is off"},
		"narrow proxy":          {map[string]string{"traefik.providers.kubernetesCRD.namespaces": "{team-a}"}, "traefik.providers.kubernetesCRD.namespaces limits the proxy, but vdi-operator.watchNamespaces does not"},
		"narrower proxy":        {map[string]string{"traefik.providers.kubernetesCRD.namespaces": "{team-a}", "vdi-operator.watchNamespaces": "{team-a,team-b}"}, `vdi-operator.watchNamespaces holds "team-b"`},
		"certificate elsewhere": {map[string]string{"traefik.providers.kubernetesCRD.defaultTLSResourcesNamespace": "certs", "tlsStore.default.defaultCertificate.secretName": "a"}, `traefik.providers.kubernetesCRD.defaultTLSResourcesNamespace is "certs"`},
		"two GPU writers":       {map[string]string{"vdi-operator.gpuSharing.managePolicy": "true"}, "gpu-operator.enabled and vdi-operator.gpuSharing.managePolicy are both on: two would write the same configuration"},
		"GPUs elsewhere":        {map[string]string{"vdi-operator.gpuSharing.namespace": "gpus"}, `vdi-operator.gpuSharing.namespace is "gpus", but gpu-operator.enabled puts the GPU Operator into "vdi-system"`},
		"GPUs nowhere":          {map[string]string{"gpu-operator.enabled": "false"}, "vdi-operator.gpuSharing.namespace is required while gpu-operator.enabled is off"},
		"another GPU config":    {map[string]string{"gpu-operator.devicePlugin.config.name": "mine"}, `vdi-operator.gpuSharing.configMap is "time-slicing-config", but gpu-operator.devicePlugin.config.name is "mine"`},
		"another GPU default":   {map[string]string{"vdi-operator.gpuSharing.default": "some"}, `vdi-operator.gpuSharing.default is "some", but gpu-operator.devicePlugin.config.default is "any"`},
		"no GPU default":        {theirConfig("gpu-operator.devicePlugin.config.default", "some", "vdi-operator.gpuSharing.default", "some"), "every GPU node would lose its GPUs"},
		"no GPU configuration":  {map[string]string{"gpu-operator.devicePlugin.config.data.any": "replicas: 4"}, "gpu-operator.devicePlugin.config.data.any is no configuration of the device plugin"},
		"no GPU slices":         {map[string]string{"gpu-operator.devicePlugin.config.data.any": noSlices}, "gpu-operator.devicePlugin.config.data.any gives nvidia.com/gpu 0 replicas, which the device plugin refuses: write 2 or more slices, or leave the sharing section out for whole GPUs"},
		"unknown pool":          {theirConfig("vdi-operator.gpuSharing.dedicated", "{a}"), `vdi-operator.gpuSharing.dedicated holds "a", but gpu-operator.devicePlugin.config.data does not: add the configuration`},
		"shared pool":           {theirConfig("vdi-operator.gpuSharing.dedicated", "{any}"), `vdi-operator.gpuSharing.dedicated holds "any", but gpu-operator.devicePlugin.config.data.any shares GPUs`},
		"two kinds of slices":   {theirConfig("gpu-operator.devicePlugin.config.create", "false", "slicesPerGPU", "6"), "slicesPerGPU is 6, but gpu-operator.devicePlugin.config.data.any takes its place: leave one of them out"},
		"pools unread":          {theirConfig("gpuPools.small", "4"), "gpuPools is set, but gpu-operator.devicePlugin.config.create lets another chart make the ConfigMap"},
		"pool of no label":      {map[string]string{"gpuPools.any": "4"}, "gpuPools.any is the key of nodes without a label (gpu-operator.devicePlugin.config.default), which slicesPerGPU is for: set slicesPerGPU"},
		"pool cut and whole":    {map[string]string{"gpuPools.a": "4", "vdi-operator.gpuSharing.dedicated": "{a}"}, `gpuPools slices the pool "a", but vdi-operator.gpuSharing.dedicated keeps its GPUs whole`},
		"one slice":             {map[string]string{"slicesPerGPU": "1"}, "at '/slicesPerGPU': minimum"},
		"two domains":           {map[string]string{"global.domain": "other.example.com"}, `vdi-operator.sessions.domain is "vdi.example.com", but global.domain is "other.example.com": leave one of them out`},
		"no issuer":             {map[string]string{"certificate.enabled": "true"}, "certificate.issuerRef.name is required while certificate.enabled is on"},
		"certificate in days":   {certified("certificate.duration", "90d"), `certificate.duration is "90d", which is no duration of hours, minutes and seconds: write e.g. 2160h`},
		"renewal in days":       {certified("certificate.renewBefore", "15d"), `certificate.renewBefore is "15d", which is no duration of hours, minutes and seconds: write e.g. 360h`},
		"unseen certificate":    {certified("traefik.enabled", "false", "vdi-operator.sessions.proxy.namespace", "a"), "certificate.enabled is on, but traefik.enabled is off"},
		"another certificate":   {certified("tlsStore.default.defaultCertificate.secretName", "a"), `tlsStore.default.defaultCertificate.secretName is "a", but certificate.secretName is "vdi-wildcard"`},
		"another tool":          {withRelay("coturn.tool.image.tag", "v2"), `coturn.tool.image gives "ghcr.io/vdi-platform/vdi-operator:v2", but vdi-operator.image gives "ghcr.io/vdi-platform/vdi-operator:0.1.0"`},
		"ACME twice":            {map[string]string{"traefik.certificatesResolvers.le.acme.email": "a@example.com", "traefik.deployment.replicas": "2"}, "traefik.certificatesResolvers holds le, but traefik.deployment.replicas is 2: every pod would ask for certificates of its own"},
		"unknown host pods":     {map[string]string{"traefik.hostNetwork": "true"}, "traefik.hostNetwork is on, but vdi-operator.sessions.proxy.ranges is empty"},
		"another record":        {map[string]string{`traefik.service.annotations.external-dns\.alpha\.kubernetes\.io/hostname`: `a.example.com\,*.example.com`}, "traefik.service.annotations holds external-dns.alpha.kubernetes.io/hostname: a.example.com,*.example.com, but global.domain makes hosts under *.vdi.example.com: name that"},
		"proxy's pull secret":   {map[string]string{"global.imageRegistry": "registry.example.com", "global.imagePullSecrets[0].name": "a"}, `global.imagePullSecrets holds "a", but traefik.deployment.imagePullSecrets does not`},
		"half of the GPU parts": {map[string]string{"global.imageRegistry": "registry.example.com", "gpu-operator.driver.repository": "registry.example.com/nvidia"}, `global.imageRegistry is "registry.example.com", and some images of the GPU Operator come from there, but not those of gpu-operator.ccManager.repository=nvcr.io/nvidia/cloud-native, `},
		"two certificates":      {map[string]string{"tlsStore.default.defaultCertificate.secretName": "a", "tlsStore.default.defaultGeneratedCert.resolver": "b"}, "tlsStore.default has both defaultCertificate and defaultGeneratedCert: keep one"},
		"unread store":          {map[string]string{"traefik.tlsStore.default.defaultCertificate.secretName": "a"}, "traefik.tlsStore is set, but with traefik.providers.kubernetesCRD.labelSelector the proxy does not read what Traefik's chart makes of it: move it up to tlsStore"},
		"unread options":        {map[string]string{"traefik.tlsOptions.default.sniStrict": "true"}, "traefik.tlsOptions is set, but with"},
		"unread dashboard":      {map[string]string{"traefik.ingressRoute.dashboard.enabled": "true"}, `add vdi.kasm.io/proxy: "true" to traefik.ingressRoute.dashboard.labels`},
		"store made twice":      {everybodysRoutes("traefik.tlsStore.default.defaultCertificate.secretName", "tlsStore.default.defaultCertificate.secretName"), "tlsStore.default and traefik.tlsStore.default are the same object"},
		"label on pods":         {map[string]string{`traefik.commonLabels.vdi\.kasm\.io/proxy`: "yes"}, "traefik.commonLabels holds vdi.kasm.io/proxy"},
		"unjudged routes":       {map[string]string{"traefik.providers.kubernetesCRD.labelSelector": ""}, "add IngressRoute to vdi-operator.sessions.proxy.reads, by which admission judges that"},
		"unjudged Ingresses":    {map[string]string{"traefik.providers.kubernetesIngress.enabled": "true"}, "add Ingress to vdi-operator.sessions.proxy.reads"},
		"unjudged Gateways":     {map[string]string{"traefik.providers.kubernetesGateway.enabled": "true"}, "add Gateway to vdi-operator.sessions.proxy.reads"},
		"no operator":           {map[string]string{"vdi-operator.replicas": "0"}, "vdi-operator.replicas is 0: nothing would serve sessions"},
		"half OIDC":             {map[string]string{"vdi-operator.access.mode": "OIDC"}, "vdi-operator.access.oidc.issuerURL is required when access.mode is OIDC"},
		"no front door":         {map[string]string{"vdi-operator.frontDoor.replicas": "0"}, "vdi-operator.frontDoor.replicas is 0"},
		"door left out":         {map[string]string{"traefik.providers.kubernetesCRD.namespaces": "{team-a}", "vdi-operator.watchNamespaces": "{team-a}"}, `traefik.providers.kubernetesCRD.namespaces leaves out the release namespace "vdi-system"`},
		"relay nobody uses":     {withRelay("vdi-operator.sessions.turn.host", ""), "vdi-operator.sessions.turn.host is required while coturn.enabled is on: the name or address by which browsers and desktops reach the relay, e.g. turn.example.com"},
		"another relay secret":  {withRelay("vdi-operator.sessions.turn.secretName", "mine"), `vdi-operator.sessions.turn.secretName is "mine", but the relay's shared secret is "vdi-coturn-secret"`},
		"another relay port":    {withRelay("coturn.ports.turn", "3479"), "vdi-operator.sessions.turn.port is 3478, but coturn.ports.turn is 3479"},
		"no relay TLS":          {withRelay("vdi-operator.sessions.turn.tlsPort", "5349"), "vdi-operator.sessions.turn.tlsPort is set, but coturn.tls.enabled is off"},
		"unread GPU slices":     {map[string]string{"vdi-operator.gpuSharing.configs.any.replicas": "4"}, "set gpu-operator.devicePlugin.config.data instead"},
		"unknown GPU key":       {map[string]string{"gpu-operator.devicePlugins.enabled": "true"}, "additional properties 'devicePlugins' not allowed"},
		"unknown top key":       {map[string]string{"sessions.domain": "a"}, "at '/sessions': value must be 'under vdi-operator.sessions, since there is no such key'"},
		"hooks by half":         {withRelay("vdi-operator.hooks.enabled", "false"), "vdi-operator.hooks.enabled is false, but coturn.hooks.enabled is true: give both the same value"},
		"relay's address":       {withRelay("coturn.address.external", "turn.example.com"), `coturn.address.external is "turn.example.com", which is no list of addresses: write e.g. 192.0.2.7`},
		"relay's realm":         {withRelay("coturn.realm", "turn example"), `coturn.realm is "turn example", which is no DNS name: write e.g. turn.vdi.example.com`},
		"registry with scheme":  {map[string]string{"global.imageRegistry": "http://a"}, `global.imageRegistry is "http://a", which is no registry`},
		"domain below operator": {map[string]string{"vdi-operator.sessions.domain": "vdi.example.com."}, `vdi-operator.sessions.domain is "vdi.example.com.", which is no DNS name`},
		"unknown operator key":  {map[string]string{"vdi-operator.sessions.domian": "a"}, "additional properties 'domian' not allowed"},
		"unknown traefik key":   {map[string]string{"traefik.prots.web.port": "1"}, "additional properties 'prots' not allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := render(t, platformChart(c.set))
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "does not match pattern", "a regular expression is no sentence")
		})
	}
}

// TestRecordsThatAgree: the wildcard as DNS writes it, and names of other hosts.
func TestRecordsThatAgree(t *testing.T) {
	t.Parallel()
	for _, names := range []string{"proxy.example.com", "*.vdi.example.com.", "*.VDI.example.com", `proxy.example.com\, *.vdi.example.com`, `*.vdi.example.com\,*.apps.example.com`} {
		_, err := render(t, platformChart(map[string]string{`traefik.service.annotations.external-dns\.alpha\.kubernetes\.io/hostname`: names}))
		require.NoError(t, err, names)
	}
}

// certified is a certificate by cert-manager, and more keys with their values.
func certified(more ...string) map[string]string {
	set := map[string]string{"certificate.enabled": "true", "certificate.issuerRef.name": "letsencrypt"}
	for i := 0; i < len(more); i += 2 {
		set[more[i]] = more[i+1]
	}
	return set
}

// theirConfig is a ConfigMap that the GPU Operator's chart makes of its own values, and more keys
// with their values.
func theirConfig(more ...string) map[string]string {
	set := map[string]string{"gpu-operator.devicePlugin.config.create": "true", "gpu-operator.devicePlugin.config.data.any": strings.Replace(noSlices, "replicas: 0", "replicas: 4", 1)}
	for i := 0; i < len(more); i += 2 {
		set[more[i]] = more[i+1]
	}
	return set
}

// noSlices is a configuration that the device plugin refuses, as one line for --set.
const noSlices = "version: v1\nsharing: {timeSlicing: {resources: [{name: nvidia.com/gpu\\, replicas: 0}]}}"

// TestGlobal: both charts can be part of someone else's umbrella.
func TestGlobal(t *testing.T) {
	t.Parallel()
	set := map[string]string{"global.imageRegistry": "registry.example.com"}
	_, err := render(t, operator(set))
	require.NoError(t, err)
	s := platformChart(nil)
	s.set = map[string]string{"global.checkNewVersion": "false"}
	_, err = render(t, s)
	require.NoError(t, err)
}

// TestOldTLSStore: on a proxy that serves everybody's routes the former key still counts.
func TestOldTLSStore(t *testing.T) {
	t.Parallel()
	objs := objects(t, platformChart(everybodysRoutes("traefik.tlsStore.default.defaultCertificate.secretName")))
	require.Len(t, ofKind(objs, "TLSStore"), 1)
	stores := ofKind(objects(t, platformChart(map[string]string{"tlsStore.default.defaultCertificate.secretName": "a"})), "TLSStore")
	require.Len(t, stores, 1)
	require.Equal(t, "true", stores[0].GetLabels()["vdi.kasm.io/proxy"])
	require.Equal(t, "vdi-system", stores[0].GetNamespace())
}

// TestProxyLabelNeverOnPods: admission takes pods with labels of ours for desktops.
func TestProxyLabelNeverOnPods(t *testing.T) {
	t.Parallel()
	for name, s := range scenarios(t) {
		for _, obj := range ofKind(objects(t, s), "Deployment", "Job", "Pod") {
			require.NotContains(t, podOf(t, obj).Labels, "vdi.kasm.io/proxy", "%s: %s", name, key(obj))
		}
	}
}
